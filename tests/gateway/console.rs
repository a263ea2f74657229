//! The console on the admin listener: who may see it, and what it never shows.

use std::time::Duration;

use crate::support::{
    Client, Gateway, Mock, PROTOCOLS, Response, config, eventually, free_port, get, json, member, post,
};

/// Gets a path as somebody who calls the gateway `host`.
fn look(gateway: &Gateway, path: &str, host: &str, headers: &str) -> Response {
    let mut client = Client::connect(gateway.admin);
    client.send(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n").as_bytes());
    client.receive_for("GET")
}

fn figures(gateway: &Gateway, query: &str) -> String {
    let answer = look(gateway, &format!("/console.json?{query}"), "localhost", "");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    answer.body
}

/// The parts of an array, each as JSON.
fn parts(json: &str, path: &str) -> Vec<String> {
    (0..).map(|n| member(json, &format!("{path}.{n}"))).take_while(|part| !part.is_empty()).collect()
}

const DEMO: &str = "providers: {demo: {}}\n";

#[test]
fn the_page_and_its_files_come_from_the_gateway_alone() {
    let gateway = Gateway::start(DEMO);
    let page = look(&gateway, "/", "127.0.0.1:9090", "");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let linked = page.body.split(['"']).filter(|text| text.starts_with("/console/"));
    let scripts = ["format", "plot", "source", "table"].map(|name| format!("/console/{name}.js"));
    let files: Vec<_> = linked.map(str::to_owned).chain(scripts).collect();
    assert_eq!(files.len(), 7);
    for file in files {
        let answer = look(&gateway, &file, "localhost:9090", "");
        assert_eq!((answer.status, answer.body.is_empty()), (200, false), "{file}");
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{file}");
        }
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
        for outside in ["http://", "https://", "//cdn"] {
            let known = answer.body.replace("http://www.w3.org/2000/svg", "");
            assert!(!known.contains(outside), "{file} names {outside}");
        }
    }
    for inline in ["<style", "style=", " onclick", " onload"] {
        assert!(!page.body.contains(inline), "{inline}");
    }
    assert_eq!(look(&gateway, "/console/other.js", "localhost", "").status, 404);
}

#[test]
fn the_figures_say_what_has_happened() {
    let mock = Mock::scripted(|_, _| json(200, "", PROTOCOLS[0].2));
    let dead = free_port();
    let lost = format!(
        "  away: {{base_url: \"http://127.0.0.1:{dead}/v1\", auth: none, breaker_failures: 2, protocols: [chat]}}\n"
    );
    let text = config(mock.port).replace("models:\n", &format!("{lost}models:\n"))
        + "  - {id: v/lost, targets: [{provider: away, model: x}]}\n";
    let gateway = Gateway::start_with(&text, &["--name", "team <b>\"1\"</b>", "--spending-limit", "2"], &[]);
    let ask = |model: &str| post(&gateway, PROTOCOLS[0].0, &PROTOCOLS[0].1.replace("v/model", model)).status;
    assert_eq!(
        [ask("v/model"), ask("v/model"), ask("v/lost"), ask("v/lost"), ask("v/none")],
        [200, 200, 502, 502, 404]
    );
    let mut body = String::new();
    let seen = eventually(Duration::from_secs(10), || {
        body = figures(&gateway, "");
        member(&body, "minute.requests") == "5"
    });
    assert!(seen, "{body}");
    assert_eq!((member(&body, "minute.failed"), member(&body, "minute.refused")), ("2".into(), "1".into()));
    assert!(
        !member(&body, "minute.first_byte.p95").is_empty()
            && !member(&body, "minute.duration.p50").is_empty()
    );
    let models = parts(&body, "models.shown");
    let model = models.iter().find(|model| member(model, "id") == "v/model").unwrap();
    assert_eq!(
        (member(model, "input"), member(model, "output"), member(model, "recent_tokens")),
        ("6".into(), "4".into(), "10".into())
    );
    // What is not well comes first.
    let target = parts(&body, "targets.shown").remove(0);
    assert_eq!(
        (member(&target, "model"), member(&target, "provider"), member(&target, "failures")),
        ("v/lost".into(), "away".into(), "2".into())
    );
    assert!(["open", "half_open"].contains(&member(&target, "circuit").as_str()));
    assert!(!member(&target, "since").is_empty());
    let key = parts(&body, "keys.shown").remove(0);
    assert_eq!((member(&key, "name"), member(&key, "state")), ("team <b>\"1\"</b>".into(), "active".into()));
    assert_eq!((member(&key, "requests.used"), member(&key, "requests.limit")), ("5".into(), String::new()));
    assert_eq!(
        (member(&key, "spent_micro"), member(&key, "spending_limit_micro")),
        ("0".into(), "2000000".into())
    );
    assert_eq!([member(&key, "budgets.0.limit_usd"), member(&key, "expires")], ["2.00", ""]);
    assert_eq!(member(&key, "hint"), gateway.key[gateway.key.len() - 4..]);
    assert!(!member(&key, "last_used").is_empty());
    let change = parts(&body, "changes").remove(0);
    assert_eq!([member(&change, "action"), member(&change, "actor")], ["key.create", "cli"]);
    assert!(member(&change, "members.0") == "account" && !change.contains(&gateway.key), "{change}");
    assert_eq!(member(&body, "config.in_force.trigger"), "start");
    let account = parts(&body, "accounts").remove(0);
    assert_eq!(member(&account, "id"), member(&key, "account"));
    assert!(!member(&account, "daily.request_count").is_empty());
    let outcomes: Vec<_> = parts(&body, "outcomes").iter().map(|row| member(row, "outcome")).collect();
    assert_eq!(outcomes, ["answered", "refused", "failed"]);
    let failure = parts(&body, "failures").remove(0);
    assert_eq!((member(&failure, "provider"), member(&failure, "kind")), ("away".into(), "connect".into()));
}

#[test]
fn a_page_gets_only_the_samples_that_it_lacks() {
    let gateway = Gateway::start(DEMO);
    let count = |body: &str| parts(body, "series.requests").len();
    let mut all = String::new();
    assert!(eventually(Duration::from_secs(10), || {
        all = figures(&gateway, "");
        count(&all) >= 2
    }));
    let next = member(&all, "series.first").parse::<usize>().unwrap() + count(&all);
    let instance = member(&all, "instance");
    let rest = figures(&gateway, &format!("instance={instance}&since={next}"));
    assert_eq!(member(&rest, "series.first"), next.to_string());
    assert!(count(&rest) <= 2 && count(&figures(&gateway, &format!("instance=other&since={next}"))) >= 2);
}

#[test]
fn of_many_keys_those_are_shown_that_matter_or_are_asked_for() {
    let gateway = Gateway::start(DEMO);
    gateway.command(&["account", "create", "sales"]);
    for name in ["zoë & co", "alpha"] {
        gateway.command(&["key", "create", "--account", "sales", "--name", name]);
    }
    let names = |query: &str| {
        let body = figures(&gateway, query);
        assert_eq!(member(&body, "keys.total"), "3");
        parts(&body, "keys.shown").iter().map(|key| member(key, "name")).collect::<Vec<_>>()
    };
    assert_eq!(names("keys=ZO%C3%8B%20%26"), ["zoë & co"]);
    assert_eq!(names("keys=sales&sort=name"), ["alpha", "zoë & co"]);
    assert!(names("keys=nobody").is_empty());
    assert_eq!(parts(&figures(&gateway, "keys=sales"), "accounts").len(), 1);
}

#[test]
fn no_secret_is_in_the_figures() {
    let gateway = Gateway::start_with(
        &format!("admin: {{address: \"127.0.0.1:@ADMIN@\", token: \"env:ADMIN_TOKEN\"}}\n{DEMO}"),
        &[],
        &[("ADMIN_TOKEN", TOKEN)],
    );
    let answer = look(&gateway, "/console.json", "localhost", &bearer(TOKEN));
    assert_eq!(answer.status, 200);
    for secret in [gateway.key.as_str(), TOKEN, "digest", crate::support::UPSTREAM_KEY] {
        assert!(!answer.body.contains(secret));
    }
    assert!(!gateway.stderr().contains(TOKEN) && !gateway.stdout().contains(TOKEN));
}

#[test]
fn a_token_stands_before_figures_and_metrics() {
    let gateway = Gateway::start_with(
        &format!("admin: {{address: \"127.0.0.1:@ADMIN@\", token: \"env:ADMIN_TOKEN\"}}\n{DEMO}"),
        &[],
        &[("ADMIN_TOKEN", TOKEN)],
    );
    let status = |path: &str, headers: &str| look(&gateway, path, "gateway.internal", headers).status;
    for path in ["/console.json", "/metrics"] {
        let refused = look(&gateway, path, "g", "");
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
        assert_eq!((status(path, &bearer("wrong")), status(path, &bearer(TOKEN))), (401, 200));
        assert_eq!(status(&format!("{path}?token={TOKEN}"), ""), 401);
    }
    // The page has no figures, and probes have no token.
    for path in ["/", "/console/main.js", "/healthz", "/readyz"] {
        assert_eq!(status(path, ""), 200, "{path}");
    }
}

#[test]
fn without_a_token_the_console_is_for_this_machine() {
    let gateway = Gateway::start(DEMO);
    for host in ["evil.example", "evil.example:9090", "localhost.evil.example"] {
        let refused = look(&gateway, "/console.json", host, "");
        assert_eq!((refused.status, refused.body.contains("this machine")), (403, true), "{host}");
        assert_eq!(look(&gateway, "/", host, "").status, 403);
        assert_eq!(look(&gateway, "/metrics", host, "").status, 403, "{host}");
        assert_eq!(look(&gateway, "/healthz", host, "").status, 200, "{host}");
    }
    let open = Gateway::start(&format!("admin: \"0.0.0.0:@ADMIN@\"\n{DEMO}"));
    for path in ["/", "/console.json", "/console/main.js"] {
        let refused = look(&open, path, "127.0.0.1", "");
        assert_eq!((refused.status, refused.body.contains("admin.token")), (403, true), "{path}");
    }
    assert_eq!(["/metrics", "/healthz"].map(|path| get(open.admin, path, "").status), [200, 200]);
    // As Prometheus asks a pod; and as a page asks that has made its own name lead here.
    assert_eq!(look(&open, "/metrics", "10.244.1.7:9090", "").status, 200);
    assert_eq!(look(&open, "/metrics", "evil.example:9090", "").status, 403);
    let named = Gateway::start(&format!("admin: {{address: \"0.0.0.0:@ADMIN@\", hosts: [Monitor]}}\n{DEMO}"));
    assert_eq!(
        ["monitor:9090", "monitor.evil.example"].map(|host| look(&named, "/metrics", host, "").status),
        [200, 403]
    );
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

const TOKEN: &str = "operators-token-canary";
