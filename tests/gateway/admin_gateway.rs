//! The admin API about the running gateway: usage, limits, targets, failures, the configuration and its state.

use std::time::Duration;

use crate::admin_api::{ADMIN, READER, operators, refusal, send, start, start_with};
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
    let body = r#"{"name":"x","rpm":5,"tpm":100000}"#;
    let made = send(&gateway, ("POST", "/keys"), ADMIN, body);
    let id = member(&made.body, "id");
    let mut client = Client::connect(gateway.port);
    client.send(request(PATH, &member(&made.body, "secret"), DEMO).as_bytes());
    assert_eq!(client.receive().status, 200);
    let limits = read(&gateway, &format!("/keys/{id}/limits"));
    let names =
        ["key", "requests.used", "requests.limit", "tokens.limit", "concurrent.used", "concurrent.limit"];
    assert_eq!(members(&limits, &names), [id.as_str(), "1", "5", "100000", "0", ""], "{limits}");
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
        (0..9)
            .map(|n| member(&audit, &format!("data.{n}.action")))
            .filter(|action| action.starts_with("config."))
            .collect::<Vec<_>>()
    };
    assert_eq!(actions(), Vec::<String>::new(), "nothing was changed");
    let text = |more: &str| format!("{}{more}{}", config(mock.port), operators());
    gateway.configure(&text("limits: {calls: 77}\n"));
    let answer = reload();
    assert_eq!((answer.status, member(&answer.body, "refused")), (200, String::new()), "{}", answer.body);
    // The watch of the file may have been first.
    assert!(matches!(member(&answer.body, "in_force.trigger").as_str(), "api" | "watch"), "{}", answer.body);
    assert_eq!(actions(), ["config.reload"]);
    gateway.configure(&text("nonsense: 1\n"));
    let refused = reload();
    assert_eq!(refusal(&refused), (409, "conflict".into()), "{}", refused.body);
    assert!(member(&refused.body, "error.details.0.message").contains("nonsense"), "{}", refused.body);
    assert!(member(&read(&gateway, "/config"), "refused.problems.0").contains("nonsense"));
    assert!(actions().contains(&"config.refused".to_owned()), "{:?}", actions());
}
