//! The admin API: who may do what, what is changed once, and what the audit log says of it.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::support::{Client, Gateway, Response, eventually, get, member};

/// Credentials of the file with the roles `admin` and `read`.
pub(crate) const ADMIN: &str = "operator-token-with-all-the-rights-0001";
pub(crate) const READER: &str = "operator-token-that-only-reads-things-02";

/// A gateway whose file has the digests of both.
pub(crate) fn start() -> Gateway {
    start_with("providers: {demo: {}}\n")
}

/// The same with this configuration, which has no section `admin`.
pub(crate) fn start_with(config: &str) -> Gateway {
    Gateway::start(&format!("{config}{}", operators()))
}

/// The section `admin` with the digests of both.
pub(crate) fn operators() -> String {
    let digest = |token: &str| -> String {
        Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    format!(
        "admin:\n  address: 127.0.0.1:@ADMIN@\n  tokens:\n    \
         - {{name: ops, role: admin, sha256: {}}}\n    - {{name: seer, role: read, sha256: {}}}\n",
        digest(ADMIN),
        digest(READER)
    )
}

pub(crate) fn ask(gateway: &Gateway, (method, path): (&str, &str), headers: &str, body: &str) -> Response {
    let mut client = Client::connect(gateway.admin);
    let head = format!("{method} /admin/v1{path} HTTP/1.1\r\nhost: localhost\r\n{headers}");
    client.send(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes());
    client.receive_for(method)
}

pub(crate) fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

/// Sends JSON with a credential.
pub(crate) fn send(gateway: &Gateway, route: (&str, &str), token: &str, body: &str) -> Response {
    ask(gateway, route, &format!("{}content-type: application/json\r\n", bearer(token)), body)
}

pub(crate) fn refusal(response: &Response) -> (u16, String) {
    (response.status, member(&response.body, "error.code"))
}

/// The status of a call with a key.
fn call(gateway: &Gateway, secret: &str) -> u16 {
    get(gateway.port, "/v1/models", &bearer(secret)).status
}

/// Waits until a call with a key has this status.
fn becomes(gateway: &Gateway, secret: &str, status: u16) -> bool {
    eventually(Duration::from_secs(5), || call(gateway, secret) == status)
}

#[test]
fn each_route_takes_its_role_and_nothing_is_changed_without() {
    let gateway = start();
    let made = send(&gateway, ("POST", "/keys"), ADMIN, "{}");
    assert_eq!(made.status, 201, "{}", made.body);
    let id = member(&made.body, "id");
    let portal = send(&gateway, ("POST", "/tokens"), ADMIN, r#"{"name":"portal","role":"keys"}"#);
    let portal = member(&portal.body, "secret");
    assert!(portal.starts_with("cma-"), "{portal}");
    let key = format!("/keys/{id}");
    let rotate = format!("/keys/{id}/rotate");
    // The answers for a reader, for the role `keys` and for an operator.
    for (method, path, body, statuses) in [
        ("GET", "/keys", "", [200, 200, 200]),
        ("GET", key.as_str(), "", [200, 200, 200]),
        ("GET", "/accounts", "", [200, 200, 200]),
        ("GET", "/accounts/default", "", [200, 200, 200]),
        ("GET", "/audit", "", [200, 200, 200]),
        ("GET", "/status", "", [200, 200, 200]),
        ("GET", "/models", "", [200, 200, 200]),
        ("GET", "/tokens", "", [403, 403, 200]),
        ("POST", "/keys/lookup", r#"{"hint":"none"}"#, [200, 200, 200]),
        ("POST", "/keys", "{}", [403, 201, 201]),
        ("PATCH", key.as_str(), "{}", [403, 200, 200]),
        ("POST", rotate.as_str(), "{}", [403, 200, 200]),
        ("POST", "/accounts", r#"{"id":"team"}"#, [403, 403, 201]),
        ("PATCH", "/accounts/default", "{}", [403, 403, 200]),
        ("POST", "/accounts/default/top-ups", r#"{"amount_usd":"1"}"#, [403, 403, 201]),
        ("POST", "/tokens", r#"{"name":"x"}"#, [403, 403, 201]),
        ("DELETE", "/tokens/config:ops", "", [403, 403, 409]),
        ("DELETE", "/accounts/team", "", [403, 403, 204]),
    ] {
        let route = (method, path);
        for (token, status) in [READER, portal.as_str(), ADMIN].into_iter().zip(statuses) {
            let answer = send(&gateway, route, token, body);
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        }
        for headers in [String::new(), "authorization: Basic b3BzOng=\r\n".to_owned(), bearer(&gateway.key)] {
            let headers = format!("{headers}content-type: application/json\r\n");
            let answer = ask(&gateway, route, &headers, body);
            assert!(matches!(answer.status, 401 | 429), "{method} {path}: {}", answer.body);
        }
    }
    assert_eq!(get(gateway.port, "/admin/v1/keys", &bearer(ADMIN)).status, 404, "clients have no such path");
    assert_eq!(get(gateway.admin, "/metrics", &bearer(READER)).status, 200);
}

#[test]
fn operators_without_a_token_learn_the_process_and_the_document_and_no_more() {
    let gateway = start();
    let instance = ask(&gateway, ("GET", "/instance"), "", "");
    assert_eq!(instance.status, 200, "{}", instance.body);
    assert!(member(&instance.body, "data").ends_with("/data"), "{}", instance.body);
    let mut client = Client::connect(gateway.admin);
    client.send(b"GET /admin/v1/instance HTTP/1.1\r\nhost: evil.example\r\n\r\n");
    assert_eq!(client.receive().status, 403);
    let document = ask(&gateway, ("GET", "/openapi.json"), "", "");
    assert_eq!(document.body, include_str!("../../conf/openapi.json"));
    for name in ["x-request-id", "cache-control"] {
        assert!(document.header(name).is_some(), "{name}");
    }
    // Twenty wrong credentials close the door, for right ones as well.
    for _ in 0..20 {
        assert_eq!(
            refusal(&ask(&gateway, ("GET", "/keys"), &bearer("wrong"), "")),
            (401, "unauthorized".into())
        );
    }
    let closed = ask(&gateway, ("GET", "/keys"), &bearer(ADMIN), "");
    assert_eq!((refusal(&closed), closed.header("retry-after")), ((429, "rate_limited".into()), Some("60")));
}

#[test]
fn a_key_lives_over_http_and_the_gateway_follows() {
    let gateway = start();
    let body = r#"{"name":"ci","models":["demo/*","nope"],"rpm":600,"expires_in":"90d","spending_limit_usd":2.5,"tags":{"team":"a"}}"#;
    let made = send(&gateway, ("POST", "/keys"), ADMIN, body);
    let of = |body: &str, names: &[&str]| names.iter().map(|name| member(body, name)).collect::<Vec<_>>();
    let names = ["name", "rpm", "spending_limit_usd", "tags.team", "created_by", "warnings.0", "origin"];
    let expected = ["ci", "600", "2.50", "a", "token:ops", "no model matches 'nope'", "api"];
    assert_eq!(of(&made.body, &names), expected, "{}", made.body);
    let (id, secret) = (member(&made.body, "id"), member(&made.body, "secret"));
    let path = format!("/keys/{id}");
    assert!(becomes(&gateway, &secret, 200));
    let etag = made.header("etag").unwrap().to_owned();
    let conditional = |etag: &str, body: &str| {
        let headers = format!("{}content-type: application/json\r\nif-match: {etag}\r\n", bearer(ADMIN));
        ask(&gateway, ("PATCH", &path), &headers, body)
    };
    let changed = conditional(&etag, r#"{"rpm":null,"name":"other"}"#);
    assert_eq!(
        (changed.status, of(&changed.body, &["rpm", "name"])),
        (200, vec![String::new(), "other".into()])
    );
    let stale = conditional(&etag, r#"{"name":"third"}"#);
    assert_eq!(refusal(&stale), (412, "precondition_failed".into()));

    let rotated = send(&gateway, ("POST", &format!("{path}/rotate")), ADMIN, r#"{"overlap":"1h"}"#);
    let fresh = member(&rotated.body, "secret");
    assert!(becomes(&gateway, &fresh, 200) && call(&gateway, &secret) == 200, "both work for an hour");
    let rotated = send(&gateway, ("POST", &format!("{path}/rotate")), ADMIN, r#"{"overlap":"0s"}"#);
    let last = member(&rotated.body, "secret");
    assert!(
        becomes(&gateway, &last, 200) && becomes(&gateway, &fresh, 401) && call(&gateway, &secret) == 401
    );
    send(&gateway, ("PATCH", &path), ADMIN, r#"{"status":"disabled"}"#);
    assert!(becomes(&gateway, &last, 401));
    send(&gateway, ("PATCH", &path), ADMIN, r#"{"status":"active","expires_at":"2020-01-01"}"#);
    let expired = || get(gateway.port, "/v1/models", &bearer(&last)).body;
    let said = "The API key expired on 2020-01-01.";
    assert!(eventually(Duration::from_secs(5), || expired().contains(said)), "{}", expired());
    assert_eq!(send(&gateway, ("DELETE", &path), ADMIN, "").status, 204);
    assert_eq!(refusal(&send(&gateway, ("GET", &path), ADMIN, "")), (404, "not_found".into()));
    let audit = send(&gateway, ("GET", &format!("/audit?subject={id}")), READER, "").body;
    let actions: Vec<_> = (0..7).map(|n| member(&audit, &format!("data.{n}.action"))).collect();
    let rest = ["key.update", "key.update", "key.rotate", "key.rotate", "key.update", "key.update"];
    assert_eq!(actions, [&["key.delete"][..], &rest].concat(), "{audit}");
    assert_eq!(member(&audit, "data.5.outcome"), "precondition_failed");
    for secret in [&secret, &fresh, &last] {
        assert!(!audit.contains(secret.as_str()), "{audit}");
    }
}

#[test]
fn a_request_that_is_repeated_has_its_effect_once() {
    let mut gateway = start();
    let repeat = |gateway: &Gateway, path: &str, key: &str, body: &str| {
        let headers =
            format!("{}content-type: application/json\r\nidempotency-key: {key}\r\n", bearer(ADMIN));
        ask(gateway, ("POST", path), &headers, body)
    };
    let first = repeat(&gateway, "/keys", "one", r#"{"name":"once"}"#);
    let again = repeat(&gateway, "/keys", "one", r#"{"name":"once"}"#);
    assert_eq!(
        (first.header("idempotency-replayed"), again.header("idempotency-replayed")),
        (None, Some("true"))
    );
    for name in ["id", "secret", "etag"] {
        assert_eq!(member(&first.body, name), member(&again.body, name), "{name}");
    }
    assert_eq!(again.status, 201);
    let other = repeat(&gateway, "/keys", "one", r#"{"name":"twice"}"#);
    assert_eq!(refusal(&other), (409, "idempotency_mismatch".into()));
    let top_up =
        |gateway: &Gateway| repeat(gateway, "/accounts/default/top-ups", "pay", r#"{"amount_usd":"2.5"}"#);
    for _ in 0..2 {
        assert_eq!(
            (top_up(&gateway).status, member(&top_up(&gateway).body, "balance_usd")),
            (201, "2.50".into())
        );
    }
    // The process that knew the secret is gone, and what was done is not.
    gateway.restart();
    let later = repeat(&gateway, "/keys", "one", r#"{"name":"once"}"#);
    assert_eq!(member(&later.body, "id"), member(&first.body, "id"));
    assert_eq!(
        (member(&later.body, "secret"), member(&later.body, "hint").is_empty()),
        (String::new(), false)
    );
    assert_eq!(member(&top_up(&gateway).body, "balance_usd"), "2.50");
}

#[test]
fn what_web_pages_can_send_changes_nothing() {
    let gateway = start();
    let count = || send(&gateway, ("GET", "/audit"), READER, "").body.matches("\"seq\"").count();
    let before = count();
    for kind in ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", ""] {
        let headers = format!("{}content-type: {kind}\r\norigin: https://evil.example\r\n", bearer(ADMIN));
        let answer = ask(&gateway, ("POST", "/keys"), &headers, "{}");
        assert_eq!(refusal(&answer), (415, "unsupported_media_type".into()), "{kind}");
        assert!(answer.header("access-control-allow-origin").is_none());
    }
    let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(65 << 10));
    assert_eq!(refusal(&send(&gateway, ("POST", "/keys"), ADMIN, &long)), (413, "too_large".into()));
    assert_eq!(count(), before);
}

#[test]
fn mistakes_are_named_all_at_once() {
    let gateway = start();
    let answer = send(&gateway, ("POST", "/keys"), ADMIN, r#"{"rpm":"many","nmae":"x","expires_in":"soon"}"#);
    assert_eq!(refusal(&answer), (400, "invalid_request".into()), "{}", answer.body);
    let details: Vec<_> = (0..3).map(|n| member(&answer.body, &format!("error.details.{n}.param"))).collect();
    assert_eq!(details, ["expires_in", "nmae", "rpm"]);
    assert_eq!(member(&answer.body, "error.details.1.message"), "there is no such field");
    let method = send(&gateway, ("PUT", "/keys"), ADMIN, "{}");
    assert_eq!((method.status, method.header("allow")), (405, Some("GET, POST")));
    let path = send(&gateway, ("GET", "/keyz"), ADMIN, "");
    assert!(path.status == 404 && path.body.contains("the nearest is /admin/v1/keys"), "{}", path.body);
    let cursor = send(&gateway, ("GET", "/keys?cursor=x"), ADMIN, "");
    assert_eq!(refusal(&cursor), (400, "invalid_cursor".into()));
    let limit = send(&gateway, ("GET", "/keys?limit=0&colour=red"), ADMIN, "");
    assert_eq!(member(&limit.body, "error.param"), "colour", "{}", limit.body);
}

#[test]
fn the_command_line_shares_the_operations_and_the_audit_log() {
    let gateway = start();
    let id =
        member(&gateway.command(&["key", "create", "--name", "cli", "--expires", "90d", "--json"]), "id");
    let secret = gateway.command(&["key", "rotate", &id]).lines().next().unwrap().to_owned();
    let hint = &secret[secret.len() - 4..];
    assert!(gateway.command(&["key", "find", hint, "--json"]).contains(&id));
    // A leaked secret ends at once if its operator says so.
    let leaked = secret.clone();
    let secret =
        gateway.command(&["key", "rotate", &id, "--overlap", "0s"]).lines().next().unwrap().to_owned();
    assert!(becomes(&gateway, &leaked, 401) && becomes(&gateway, &secret, 200));
    let token = gateway.command(&["token", "create", "--name", "portal", "--role", "keys"]);
    let token = token.lines().next().unwrap().to_owned();
    assert_eq!(send(&gateway, ("GET", &format!("/keys/{id}")), &token, "").status, 200);
    let audit = gateway.command(&["audit", "--subject", &id, "--json"]);
    assert_eq!(
        ["0.action", "1.action", "0.actor"].map(|path| member(&audit, path)),
        ["key.create", "key.rotate", &format!("local:{}", rustix::process::geteuid().as_raw())]
    );
    // The last use is known within the next transaction of the ledger.
    assert!(becomes(&gateway, &secret, 200));
    let body = r#"{"model":"demo/chat","messages":[{"role":"user","content":"Hello!"}]}"#;
    let mut client = Client::connect(gateway.port);
    client.send(crate::support::request("/v1/chat/completions", &secret, body).as_bytes());
    assert_eq!(client.receive().status, 200);
    let used = || gateway.command(&["key", "show", &id, "--json"]).contains("\"last_used_at\":\"2");
    assert!(eventually(Duration::from_secs(5), used));
}
