//! The admin API about the running gateway: usage, limits, targets, failures, the configuration and its state.

use std::time::Duration;

use crate::admin_api::{ADMIN, READER, bearer, operators, refusal, send, start, start_with};
use crate::support::{Client, Gateway, Mock, PROTOCOLS, config, eventually, json, member, post, request};

const SOON: Duration = Duration::from_secs(5);
const PATH: &str = PROTOCOLS[0].0;
const BODY: &str = PROTOCOLS[0].1;
const DEMO: &str = r#"{"model":"demo/chat","messages":[{"role":"user","content":"Hello!"}]}"#;
const TARGET: &str = "/targets/v%2Fmodel@up";

fn read(gateway: &Gateway, path: &str) -> String {
    let answer = send(gateway, ("GET", path), READER, "");
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.body
}

fn members(body: &str, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| member(body, name)).collect()
}

/// A gateway with one model at a provider that answers well.
fn with_target() -> (Mock, Gateway) {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let gateway = start_with(&config(mock.port));
    (mock, gateway)
}

#[test]
fn usage_has_every_call_that_has_ended() {
    let gateway = start();
    for _ in 0..3 {
        assert_eq!(post(&gateway, PATH, DEMO).status, 200);
    }
    let usage = read(&gateway, "/usage?group_by=account,key,model,provider,month");
    let names =
        ["object", "data.0.account", "data.0.model", "data.0.provider", "data.0.requests", "total.requests"];
    assert_eq!(members(&usage, &names), ["list", "default", "demo/chat", "demo", "3", "3"], "{usage}");
    assert_eq!(members(&usage, &["has_more", "next_cursor", "data.0.cost_usd"]), ["false", "", "0.00"]);
    let sums = read(&gateway, "/usage");
    assert_eq!(members(&sums, &["data.0.requests", "data.0.account", "data.0.start"]), ["3", "", ""]);
    let none = read(&gateway, "/usage?from=2020-01-01&to=2020-02-01&account=nobody");
    assert_eq!(members(&none, &["data", "total.requests", "from"]), ["[]", "0", "2020-01-01T00:00:00Z"]);
    let csv = send(&gateway, ("GET", "/usage?group_by=model&format=csv"), READER, "");
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    let lines: Vec<_> = csv.body.split("\r\n").collect();
    assert!(
        lines[0].starts_with("start,account,key,") && lines[1].starts_with(",,,,demo/chat,,3,3,"),
        "{lines:?}"
    );
    for (query, param) in [
        ("group_by=day,hour", "group_by"),
        ("group_by=colour", "group_by"),
        ("format=xml", "format"),
        ("from=2026-01-01T00:30:00Z", "from"),
        ("from=2026-02-01&to=2026-01-01", "to"),
    ] {
        let answer = send(&gateway, ("GET", &format!("/usage?{query}")), READER, "");
        assert_eq!((answer.status, member(&answer.body, "error.param")), (400, param.to_owned()), "{query}");
    }
}

#[test]
fn the_limits_of_a_key_tell_what_is_used() {
    let gateway = start();
    let body = r#"{"name":"x","rpm":5,"tpm":100000,"max_concurrent":3}"#;
    let made = send(&gateway, ("POST", "/keys"), ADMIN, body);
    let id = member(&made.body, "id");
    let mut client = Client::connect(gateway.port);
    client.send(request(PATH, &member(&made.body, "secret"), DEMO).as_bytes());
    assert_eq!(client.receive().status, 200);
    let path = format!("/keys/{id}/limits");
    // The call's place is free again when its record is written.
    assert!(eventually(SOON, || member(&read(&gateway, &path), "concurrent.used") == "0"));
    let limits = read(&gateway, &path);
    let names =
        ["key", "requests.used", "requests.limit", "tokens.limit", "concurrent.used", "concurrent.limit"];
    assert_eq!(members(&limits, &names), [id.as_str(), "1", "5", "100000", "0", "3"], "{limits}");
    assert!(member(&limits, "tokens.used").parse::<u64>().unwrap() > 0);
    assert_eq!(send(&gateway, ("GET", "/keys/key_none/limits"), READER, "").status, 404);
}

#[test]
fn a_target_rests_until_it_is_enabled_whatever_happens_to_the_process() {
    let (mock, mut gateway) = with_target();
    let shown = |gateway: &Gateway| read(gateway, TARGET);
    let names = ["object", "id", "state", "rested", "provider"];
    assert_eq!(members(&shown(&gateway), &names), ["target", "v/model@up", "closed", "", "up"]);
    for (body, param) in [
        ("{}", "for"),
        (r#"{"for":"31d"}"#, "for"),
        (r#"{"for":"0s"}"#, "for"),
        (r#"{"for":"1h","reason":"a\nb"}"#, "reason"),
    ] {
        let answer = send(&gateway, ("POST", &format!("{TARGET}/rest")), ADMIN, body);
        assert_eq!((answer.status, member(&answer.body, "error.param")), (400, param.to_owned()), "{body}");
    }
    assert_eq!(send(&gateway, ("POST", &format!("{TARGET}/rest")), READER, r#"{"for":"1h"}"#).status, 403);
    let unknown = send(&gateway, ("POST", "/targets/v%2Fother@up/rest"), ADMIN, r#"{"for":"1h"}"#);
    assert_eq!(refusal(&unknown), (404, "not_found".into()));

    let body = r#"{"for":"1h","reason":"new cooling"}"#;
    let rested = send(&gateway, ("POST", &format!("{TARGET}/rest")), ADMIN, body);
    let names = ["state", "rested.reason", "rested.actor", "reason"];
    let expected = ["rested", "new cooling", "token:ops", "rested by token:ops: new cooling"];
    assert_eq!(members(&rested.body, &names), expected, "{}", rested.body);
    let refused = post(&gateway, PATH, BODY);
    assert_eq!((refused.status, member(&refused.body, "error.code")), (503, "model_unavailable".into()));
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((3_500..=3_601).contains(&seconds), "{seconds}");
    assert_eq!(mock.seen().len(), 0);

    gateway.configure(&format!(
        "{}{}",
        config(mock.port).replace("breaker_failures: 0", "breaker_failures: 4"),
        operators()
    ));
    gateway.signal("HUP");
    assert!(eventually(SOON, || gateway.metric("crossmodel_config_reloads_total{result=\"ok\"}") >= 1.0));
    assert_eq!(
        (member(&shown(&gateway), "state"), post(&gateway, PATH, BODY).status),
        ("rested".into(), 503)
    );
    gateway.restart();
    assert_eq!(
        (member(&shown(&gateway), "state"), post(&gateway, PATH, BODY).status),
        ("rested".into(), 503)
    );
    gateway.upgrade();
    assert_eq!(
        (member(&shown(&gateway), "state"), post(&gateway, PATH, BODY).status),
        ("rested".into(), 503)
    );

    let enabled = send(&gateway, ("POST", &format!("{TARGET}/enable")), ADMIN, "");
    assert_eq!(members(&enabled.body, &["state", "rested"]), ["closed", ""], "{}", enabled.body);
    assert_eq!(post(&gateway, PATH, BODY).status, 200);
    let audit = read(&gateway, "/audit?subject=v%2Fmodel@up");
    let names = ["data.0.action", "data.1.action", "data.1.outcome", "data.1.after.reason", "data.2.outcome"];
    let expected = ["target.enable", "target.rest", "applied", "new cooling", "forbidden"];
    assert_eq!(members(&audit, &names), expected, "{audit}");
}

#[test]
fn all_gateways_of_a_store_follow_and_an_order_to_serve_closes_the_circuit() {
    let mock = Mock::new(json(500, "", r#"{"error":{"message":"x"}}"#));
    let text = config(mock.port).replace("breaker_failures: 0", "breaker_failures: 1");
    let gateway = start_with(&text);
    let store = gateway.data();
    let other = Gateway::start(&format!("data: {}\n{text}{}", store.display(), operators()));
    let state = |gateway: &Gateway| member(&read(gateway, TARGET), "state");
    assert_eq!(send(&other, ("POST", &format!("{TARGET}/rest")), ADMIN, r#"{"for":"10m"}"#).status, 200);
    assert!(eventually(SOON, || state(&gateway) == "rested"));
    assert_eq!(send(&other, ("POST", &format!("{TARGET}/enable")), ADMIN, "").status, 200);
    assert!(eventually(SOON, || state(&gateway) == "closed"));
    for _ in 0..3 {
        post(&gateway, PATH, BODY);
    }
    assert!(matches!(state(&gateway).as_str(), "open" | "half_open"), "{}", state(&gateway));
    // A second later, so that it is another order.
    let again = || send(&other, ("POST", &format!("{TARGET}/enable")), ADMIN, "").status == 200;
    assert!(eventually(SOON, || again() && state(&gateway) == "closed"));
}

#[test]
fn failures_and_refusals_are_listed_apart() {
    let mock = Mock::new(json(500, "", r#"{"error":{"message":"broken"}}"#));
    let gateway = start_with(&config(mock.port));
    assert_eq!(post(&gateway, PATH, BODY).status, 502);
    let unknown = crate::support::get(gateway.port, "/v1/models", "authorization: Bearer cm-wrong\r\n");
    assert_eq!(unknown.status, 401);
    let list = || read(&gateway, "/failures");
    assert!(eventually(SOON, || !member(&list(), "failed.0.status").is_empty()));
    let target = read(&gateway, TARGET);
    assert_eq!(members(&target, &["last_10m.requests", "last_10m.error_share"]), ["1", "1.0"], "{target}");
    let names = [
        "failed.0.status",
        "failed.0.model",
        "failed.0.provider",
        "failed.0.tries.0.status",
        "failed.0.endpoint",
    ];
    assert_eq!(members(&list(), &names), ["502", "v/model", "up", "500", "chat"], "{}", list());
    assert_eq!(members(&list(), &["refused.0.status", "failed.1"]), ["401", ""], "{}", list());
}

#[test]
fn the_configuration_is_told_and_read_again_on_request() {
    let (mock, gateway) = with_target();
    let names = ["in_force.trigger", "refused", "restart_required"];
    assert_eq!(members(&read(&gateway, "/config"), &names), ["start", "", "[]"]);
    let reload = || send(&gateway, ("POST", "/config/reload"), ADMIN, "");
    assert_eq!(reload().status, 200);
    assert_eq!(send(&gateway, ("POST", "/config/reload"), READER, "").status, 403);
    let actions = || {
        let audit = read(&gateway, "/audit");
        let row = |n: usize| {
            members(&audit, &[&format!("data.{n}.action"), &format!("data.{n}.outcome")]).join(" ")
        };
        (0..9).map(row).filter(|row| row.starts_with("config.")).collect::<Vec<_>>()
    };
    assert_eq!(actions(), ["config.reload forbidden"], "nothing was changed");
    let text = |more: &str| format!("{}{more}{}", config(mock.port), operators());
    gateway.configure(&text("limits: {calls: 77}\n"));
    let answer = reload();
    assert_eq!((answer.status, member(&answer.body, "refused")), (200, String::new()), "{}", answer.body);
    // The watch of the file may have been first.
    assert!(matches!(member(&answer.body, "in_force.trigger").as_str(), "api" | "watch"), "{}", answer.body);
    assert_eq!(actions(), ["config.reload applied", "config.reload forbidden"]);
    gateway.configure(&text("nonsense: 1\n"));
    let refused = reload();
    assert_eq!(refusal(&refused), (409, "conflict".into()), "{}", refused.body);
    assert!(member(&refused.body, "error.details.0.message").contains("nonsense"), "{}", refused.body);
    assert!(member(&read(&gateway, "/config"), "refused.problems.0").contains("nonsense"));
    assert_eq!(actions()[0], "config.refused invalid_request", "{:?}", actions());
}

/// A credential that is only for some accounts.
const PORTAL: &str = "operator-token-of-one-account-only-00003";

#[test]
fn a_token_for_some_accounts_sees_and_changes_nothing_else() {
    let gateway = start();
    for account in ["search", "other"] {
        let body = format!(r#"{{"id":"{account}"}}"#);
        assert_eq!(send(&gateway, ("POST", "/accounts"), ADMIN, &body).status, 201);
    }
    let key = |account: &str| {
        let body = format!(r#"{{"name":"k","account":"{account}"}}"#);
        let made = send(&gateway, ("POST", "/keys"), ADMIN, &body);
        (member(&made.body, "id"), member(&made.body, "secret"))
    };
    let ((own, _), (foreign, secret)) = (key("search"), key("other"));
    let made = send(
        &gateway,
        ("POST", "/tokens"),
        ADMIN,
        r#"{"name":"portal","role":"admin","accounts":["search"]}"#,
    );
    assert_eq!(member(&made.body, "accounts"), r#"["search"]"#, "{}", made.body);
    let token = member(&made.body, "secret");
    let ask = |method: &str, path: &str, body: &str| send(&gateway, (method, path), &token, body);
    for (method, path, body, status) in [
        ("GET", format!("/keys/{own}"), "", 200),
        ("GET", format!("/keys/{foreign}"), "", 404),
        ("PATCH", format!("/keys/{own}"), r#"{"name":"n"}"#, 200),
        ("PATCH", format!("/keys/{own}"), r#"{"account":"other"}"#, 404),
        ("PATCH", format!("/keys/{foreign}"), r#"{"name":"n"}"#, 404),
        ("POST", format!("/keys/{foreign}/rotate"), "", 404),
        ("DELETE", format!("/keys/{foreign}"), "", 404),
        ("GET", format!("/keys/{foreign}/limits"), "", 404),
        ("PUT", format!("/keys/{foreign}/budgets"), "{}", 404),
        ("POST", "/keys".into(), r#"{"account":"search"}"#, 201),
        ("POST", "/keys".into(), r#"{"account":"other"}"#, 404),
        ("POST", "/keys".into(), "{}", 404),
        ("GET", "/accounts/search".into(), "", 200),
        ("GET", "/accounts/other".into(), "", 404),
        ("POST", "/accounts/other/top-ups".into(), r#"{"amount_usd":"1"}"#, 404),
        ("POST", "/accounts".into(), r#"{"id":"third"}"#, 403),
        ("GET", "/tokens".into(), "", 403),
        ("POST", "/tokens".into(), r#"{"name":"x"}"#, 403),
        ("POST", "/config/reload".into(), "", 403),
        ("POST", "/targets/demo%2Fchat@demo/rest".into(), r#"{"for":"1h"}"#, 403),
    ] {
        let answer = ask(method, &path, body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
    }
    let seen = |path: &str| ask("GET", path, "").body;
    assert_eq!(members(&seen("/accounts"), &["data.0.id", "data.1"]), ["search", ""]);
    assert!(!seen("/keys").contains(&foreign) && seen("/keys").contains(&own));
    assert!(!seen("/audit").contains("\"other\"") && seen("/audit").contains(&own));
    let hint = format!(r#"{{"hint":"{}"}}"#, &secret[secret.len() - 4..]);
    assert_eq!(member(&ask("POST", "/keys/lookup", &hint).body, "data"), "[]");
    let mut client = Client::connect(gateway.port);
    client.send(request(PATH, &secret, DEMO).as_bytes());
    assert_eq!(client.receive().status, 200);
    assert_eq!(member(&read(&gateway, "/usage"), "total.requests"), "1");
    for query in ["", "?account=other", "?group_by=account"] {
        assert_eq!(member(&seen(&format!("/usage{query}")), "total.requests"), "0", "{query}");
    }
    let bearer = format!("authorization: Bearer {token}\r\n");
    for path in ["/metrics", "/console.json"] {
        let open = crate::support::get(gateway.admin, path, "").status;
        let host = format!("{bearer}x-none: 1\r\n");
        assert_eq!(
            crate::support::get(gateway.admin, path, &host).status,
            open,
            "the token opens nothing: {path}"
        );
    }
}

#[test]
fn tokens_of_the_file_have_accounts_too() {
    use sha2::{Digest as _, Sha256};
    let digest: String = Sha256::digest(PORTAL.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let portal = format!("    - {{name: portal, role: keys, sha256: {digest}, accounts: [search]}}\n");
    let gateway = Gateway::start(&format!("providers: {{demo: {{}}}}\n{}{portal}", operators()));
    let body = r#"{"id":"search"}"#;
    assert_eq!(send(&gateway, ("POST", "/accounts"), ADMIN, body).status, 201);
    assert_eq!(send(&gateway, ("POST", "/keys"), PORTAL, r#"{"account":"search"}"#).status, 201);
    assert_eq!(send(&gateway, ("GET", "/accounts/default"), PORTAL, "").status, 404);
    let tokens = send(&gateway, ("GET", "/tokens"), ADMIN, "").body;
    assert!(tokens.contains(r#""accounts":["search"]"#), "{tokens}");
}

/// A file with a token for metrics, and these tokens.
fn with_metrics_token(tokens: &str) -> Gateway {
    let operators = operators().replace("  tokens:", "  token: env:METRICS_TOKEN\n  tokens:");
    let config = format!("providers: {{demo: {{}}}}\n{operators}{tokens}");
    Gateway::start_with(&config, &[], &[("METRICS_TOKEN", "a-token-for-metrics-and-the-console-0004")])
}

#[test]
fn figures_of_all_accounts_are_for_credentials_of_all_accounts() {
    use sha2::{Digest as _, Sha256};
    let digest: String = Sha256::digest(PORTAL.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let portal = format!("    - {{name: portal, role: keys, sha256: {digest}, accounts: [search]}}\n");
    let gateway = with_metrics_token(&portal);
    for path in ["/metrics", "/console.json"] {
        let status = |token| crate::support::get(gateway.admin, path, &bearer(token)).status;
        assert_eq!([READER, ADMIN, PORTAL].map(status), [200, 200, 401], "{path}");
    }
}

#[test]
fn credentials_cannot_be_guessed_at_the_console_either() {
    let gateway = with_metrics_token("");
    let status = |path: &str, token: &str| crate::support::get(gateway.admin, path, &bearer(token)).status;
    let wrong: Vec<_> = (0..24).map(|n| status(["/metrics", "/console.json"][n % 2], "wrong")).collect();
    assert_eq!(wrong.iter().filter(|status| **status == 401).count(), 20, "{wrong:?}");
    assert!(wrong.ends_with(&[429; 4]), "{wrong:?}");
    assert_eq!(refusal(&send(&gateway, ("GET", "/status"), "wrong", "")).0, 429, "it is the same count");
    assert_eq!(status("/metrics", READER), 429, "or a guess could be told from the others");
    let open = |path: &str| crate::support::get(gateway.admin, path, "").status;
    assert_eq!((open("/"), open("/healthz"), open("/metrics")), (200, 200, 401));
}

#[test]
fn budgets_are_members_of_keys_and_accounts() {
    let gateway = start();
    let body = r#"{"id":"team","budgets":[{"period":"month","limit_usd":"5","alert_at":[50]}]}"#;
    let made = send(&gateway, ("POST", "/accounts"), ADMIN, body);
    let names = ["budgets.0.period", "budgets.0.limit_usd", "budgets.0.alert_at", "budgets.0.spent_usd"];
    assert_eq!(members(&made.body, &names), ["month", "5.00", "[50]", "0.00"], "{}", made.body);
    let body = r#"{"account":"team","spending_limit_usd":"9","budgets":[{"period":"day","limit_usd":2}]}"#;
    let made = send(&gateway, ("POST", "/keys"), ADMIN, body);
    let id = member(&made.body, "id");
    let periods = |body: &str| {
        let mut all: Vec<_> = (0..3)
            .map(|n| member(body, &format!("budgets.{n}.period")))
            .filter(|period| !period.is_empty())
            .collect();
        all.sort();
        all
    };
    assert_eq!(
        (periods(&made.body), member(&made.body, "spending_limit_usd")),
        (vec!["day".to_owned(), "total".into()], "9.00".into())
    );
    let path = format!("/keys/{id}");
    let patch = |body: &str| send(&gateway, ("PATCH", &path), ADMIN, body);
    let changed = patch(r#"{"budgets":[{"period":"week","limit_usd":"3"}]}"#);
    assert_eq!(
        (periods(&changed.body), member(&changed.body, "spending_limit_usd")),
        (vec!["week".to_owned()], String::new())
    );
    assert_eq!(periods(&patch(r#"{"name":"n"}"#).body), ["week"]);
    let changed = patch(r#"{"budgets":[{"period":"total","limit_usd":"4"}]}"#);
    assert_eq!(
        (periods(&changed.body), member(&changed.body, "spending_limit_usd")),
        (vec!["total".to_owned()], "4.00".into())
    );
    assert_eq!(periods(&patch(r#"{"budgets":null}"#).body), Vec::<String>::new());
    let twice = r#"{"spending_limit_usd":"1","budgets":[{"period":"total","limit_usd":"1"}]}"#;
    assert_eq!(send(&gateway, ("POST", "/keys"), ADMIN, twice).status, 400);
    let audit = read(&gateway, &format!("/audit?subject={id}"));
    assert!(
        audit.contains(r#""budgets":[{"alert_at":[80],"hard":true,"limit_usd":"3.00","period":"week"}"#),
        "{audit}"
    );
    assert!(!audit.contains("spent_usd"), "{audit}");
}

#[test]
fn a_client_reads_its_own_key() {
    let gateway = start();
    let body = r#"{"name":"own","rpm":5,"models":["demo/*"],"expires_at":"2099-01-01","budgets":[{"period":"day","limit_usd":"2"}],"notes":"private"}"#;
    let made = send(&gateway, ("POST", "/keys"), ADMIN, body);
    let bearer = format!("authorization: Bearer {}\r\n", member(&made.body, "secret"));
    let own = || crate::support::get(gateway.port, "/v1/key", &bearer);
    assert!(eventually(SOON, || own().status == 200));
    let names = [
        "object",
        "name",
        "rpm",
        "tpm",
        "models",
        "expires_at",
        "budgets.0.of",
        "budgets.0.limit_usd",
        "notes",
    ];
    let expected = ["key", "own", "5", "", r#"["demo/*"]"#, "2099-01-01T00:00:00Z", "key", "2.00", ""];
    assert_eq!(members(&own().body, &names), expected, "{}", own().body);
    assert_eq!(crate::support::get(gateway.port, "/v1/key", "").status, 401);
}

#[test]
fn conditions_say_what_holds_and_since_when() {
    let (mock, gateway) = with_target();
    let condition = |name: &str, part: &str| {
        let status = read(&gateway, "/status");
        (0..12)
            .find(|n| member(&status, &format!("conditions.{n}.type")) == name)
            .map(|n| member(&status, &format!("conditions.{n}.{part}")))
            .unwrap_or_default()
    };
    for name in [
        "Ready",
        "StoreWritable",
        "ConfigurationCurrent",
        "NoRestartRequired",
        "CertificatesValid",
        "TargetsAvailable",
        "CredentialsAccepted",
        "WebhooksDelivering",
    ] {
        assert_eq!(condition(name, "status"), "True", "{name}");
    }
    assert_eq!(
        (condition("CatalogueFresh", "status"), condition("Ready", "message")),
        ("Unknown".into(), "1 listener accepts".into())
    );
    let since = condition("TargetsAvailable", "last_transition_time");
    assert_eq!(send(&gateway, ("POST", &format!("{TARGET}/rest")), ADMIN, r#"{"for":"1h"}"#).status, 200);
    assert_eq!(condition("TargetsAvailable", "status"), "False");
    let message = condition("TargetsAvailable", "message");
    assert_eq!(message, "v/model has no available target (up: rested by token:ops)");
    assert!(condition("TargetsAvailable", "last_transition_time") >= since);
    gateway.configure(&format!("{}threads: 3\n{}", config(mock.port), operators()));
    assert!(eventually(SOON, || condition("NoRestartRequired", "message") == "threads: needs a new process"));
    gateway.configure(&format!("nonsense: 1\n{}", operators()));
    assert!(eventually(SOON, || condition("ConfigurationCurrent", "reason") == "Refused"));
}

#[test]
fn a_gateway_that_drains_answers_and_changes_nothing() {
    let gate = crate::support::Gate::new();
    let acts = vec![crate::support::Act::Await(std::sync::Arc::clone(&gate))];
    let mock = Mock::new(acts.into_iter().chain(json(200, "", PROTOCOLS[0].2)).collect());
    let gateway = start_with(&config(mock.port));
    let mut client = Client::connect(gateway.port);
    client.send(request(PATH, &gateway.key, BODY).as_bytes());
    assert!(eventually(SOON, || !mock.seen().is_empty()));
    gateway.signal("TERM");
    let ready = || read(&gateway, "/status");
    assert!(eventually(SOON, || member(&ready(), "conditions.0.reason") == "Draining"));
    assert_eq!(refusal(&send(&gateway, ("POST", "/keys"), ADMIN, "{}")), (503, "draining".into()));
    assert_eq!(send(&gateway, ("GET", "/keys"), ADMIN, "").status, 200);
    gate.open();
    assert_eq!(client.receive().status, 200);
}

#[test]
fn every_refused_change_of_a_known_object_has_a_row() {
    let gateway = start();
    let made = send(&gateway, ("POST", "/keys"), ADMIN, "{}");
    let path = format!("/keys/{}", member(&made.body, "id"));
    for (method, path, token, body) in [
        ("PATCH", path.as_str(), ADMIN, r#"{"nmae":"x"}"#),
        ("PATCH", path.as_str(), ADMIN, r#"{"rpm":0}"#),
        ("PATCH", path.as_str(), READER, r#"{"rpm":5}"#),
        ("PATCH", path.as_str(), ADMIN, r#"{"budgets":[{"period":"day","limit_usd":"0"}]}"#),
        ("DELETE", "/keys/key_none", READER, ""),
    ] {
        assert!(send(&gateway, (method, path), token, body).status >= 400, "{method} {body}");
    }
    let audit = read(&gateway, &format!("/audit?subject={}", member(&made.body, "id")));
    let names =
        ["data.0.outcome", "data.1.outcome", "data.2.outcome", "data.3.outcome", "data.4.outcome", "data.5"];
    let expected = ["invalid_request", "forbidden", "invalid_request", "invalid_request", "applied", ""];
    assert_eq!(members(&audit, &names), expected, "{audit}");
    assert!(!read(&gateway, "/audit").contains("key_none"));
}

#[test]
fn models_are_shown_with_their_prices_and_sizes() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let prices = "prices: [{input: 1250000, output: 10000000, cache_read: 125000}]";
    let text = config(mock.port)
        .replace("{id: v/model,", &format!("{{id: v/model, context_window: 4000, {prices},"));
    let gateway = start_with(&text);
    let model = read(&gateway, "/models/v%2Fmodel");
    let names = ["object", "id", "status", "context_window", "max_output", "targets.0.prices.source"];
    assert_eq!(members(&model, &names), ["model", "v/model", "active", "4000", "", "config"], "{model}");
    let tier = ["input_usd", "output_usd", "cache_read_usd", "cache_write_usd"];
    let tier = tier.map(|name| member(&model, &format!("targets.0.prices.tiers.0.{name}")));
    assert_eq!(tier, ["1.25", "10.00", "0.125", "1.25"], "{model}");
}

#[test]
fn the_state_of_the_configuration_tells_where_content_goes() {
    let gateway = start_with(
        "providers:\n  demo: {}\n  up: {base_url: \"https://up.example/v1\", auth: none, protocols: [chat], proxy: \"http://127.0.0.1:1\"}\n\
         guards: [{name: pii, url: \"http://127.0.0.1:1/check\"}]\ncontent_log: {to: \"@FOLDER@/content.log\"}\n",
    );
    let config = read(&gateway, "/config");
    assert_eq!(members(&config, &["proxies.up", "guards.0"]), ["127.0.0.1:1", "pii"], "{config}");
    assert!(member(&config, "content_log").ends_with("/content.log"), "{config}");
    let shown = gateway.command(&["config", "status"]);
    assert!(shown.contains("up through 127.0.0.1:1") && shown.contains("content log"), "{shown}");
}

#[test]
fn the_configuration_names_only_the_operators_own_objects() {
    use sha2::{Digest as _, Sha256};
    let hex = |text: &str| -> String {
        Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let portal = format!("    - {{name: portal, role: keys, sha256: {}, accounts: [search]}}\n", hex(PORTAL));
    let keys = ["search", "other"]
        .map(|account| format!("  - {{id: key_{account}, account: {account}, sha256: {}}}\n", hex(account)));
    let declared = format!("accounts: [{{id: search}}, {{id: other}}]\nkeys:\n{}", keys.concat());
    let gateway = Gateway::start(&format!("providers: {{demo: {{}}}}\n{}{portal}{declared}", operators()));
    for path in ["/keys/key_search", "/keys/key_other", "/accounts/other"] {
        assert_eq!(send(&gateway, ("PATCH", path), ADMIN, r#"{"status":"disabled"}"#).status, 200, "{path}");
    }
    let disabled = |token| {
        let status = send(&gateway, ("GET", "/config"), token, "").body;
        member(&status, "declared.disabled_although_declared")
    };
    assert_eq!(disabled(ADMIN), r#"["other","key_search","key_other"]"#);
    assert_eq!(disabled(PORTAL), r#"["key_search"]"#);
}
