//! What the gateway answers by itself.

use std::time::Duration;

use crate::support::{
    self, Client, Gateway, Mock, PROTOCOLS, Response, config, eventually, json, post, request,
};

fn get(gateway: &Gateway, path: &str, headers: &str) -> Response {
    support::get(gateway.port, path, headers)
}

fn ask(gateway: &Gateway, method: &str, path: &str, headers: &str) -> Response {
    support::ask(gateway.port, method, path, headers)
}

fn bearer(gateway: &Gateway) -> String {
    format!("authorization: Bearer {}\r\n", gateway.key)
}

#[test]
fn models_are_listed_and_retrieved_for_both_sdks() {
    let gateway = Gateway::start(
        "providers: {up: {base_url: \"http://127.0.0.1:1\", auth: none, protocols: [chat]}}\n\
         models:\n\
         \x20 - {id: v/a, name: A, created: 2026-01-01, context_window: 200000, max_output: 64000, targets: [{provider: up}]}\n\
         \x20 - {id: v/b, targets: [{provider: up}]}\n\
         \x20 - {id: v/hidden, status: hidden, targets: [{provider: up}]}\n\
         \x20 - {id: v/down, status: down, targets: [{provider: up}]}\n\
         \x20 - {id: w/*, targets: [{provider: up}]}\n\
         aliases: {fast: v/a, \"claude-*\": v/b}\n",
    );
    let list = get(&gateway, "/v1/models", &bearer(&gateway));
    assert_eq!(list.status, 200);
    let a = r#"{"id":"v/a","object":"model","created":1767225600,"owned_by":"v","type":"model","display_name":"A","created_at":"2026-01-01T00:00:00Z","lifecycle":"active","max_input_tokens":200000,"max_tokens":64000}"#;
    assert!(list.body.starts_with(&format!(r#"{{"object":"list","data":[{a},"#)), "{}", list.body);
    assert!(list.body.ends_with(r#""has_more":false,"first_id":"v/a","last_id":"fast"}"#), "{}", list.body);
    let ids: Vec<_> =
        list.body.split("\"id\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(ids, ["v/a", "v/b", "v/down", "claude-", "fast"]);
    assert_eq!(list.header("cache-control"), Some("private, max-age=60"));

    for path in ["/v1/models/v/a", "/v1/models/v%2Fa", "/models/v/a/", "/v1/models/v%2fa/"] {
        assert_eq!(get(&gateway, path, &bearer(&gateway)).body, a, "{path}");
    }
    assert!(get(&gateway, "/v1/models/w/any", &bearer(&gateway)).body.starts_with(r#"{"id":"w/any","#));
    assert_eq!(get(&gateway, "/v1/models/v/down", &bearer(&gateway)).status, 200);
    let page = get(&gateway, "/v1/models?limit=1&after_id=v%2Fa", &format!("x-api-key: {}\r\n", gateway.key));
    assert!(page.body.ends_with(r#""has_more":true,"first_id":"v/b","last_id":"v/b"}"#), "{}", page.body);
    for (path, status) in
        [("/v1/models?limit=0", 400), ("/v1/models/v/hidden", 404), ("/v1/models/v%252Fa", 404)]
    {
        assert_eq!(get(&gateway, path, &bearer(&gateway)).status, status, "{path}");
    }
    let missing = get(&gateway, "/v1/models/x/y", &bearer(&gateway)).body;
    assert_eq!(
        missing,
        r#"{"error":{"message":"Model 'x/y' was not found or is unavailable. GET /v1/models lists the models of this key.","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#
    );
}

#[test]
fn a_keys_models_are_all_it_sees() {
    let gateway = Gateway::start_with(&config(1), &["--model", "w/*", "--alias", "mine=v/model"], &[]);
    assert!(get(&gateway, "/v1/models", &bearer(&gateway)).body.contains(r#""data":[]"#));
    let response = post(&gateway, "/v1/chat/completions", r#"{"model":"mine","messages":[]}"#);
    assert_eq!(response.status, 404, "an alias opens no door");
}

#[test]
fn probes_and_wrong_turns() {
    let gateway = Gateway::start(&config(1));
    let head = ask(&gateway, "HEAD", "/", "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(get(&gateway, "/", "").body.starts_with(r#"{"name":"crossmodel","version":""#));

    let unknown = get(&gateway, "/v1/completions", "");
    assert_eq!((unknown.status, unknown.body.contains(r#""code":"unknown_url""#)), (404, true));
    let anthropic = get(&gateway, "/v1/complete", "anthropic-version: 2023-06-01\r\n");
    assert!(
        anthropic.body.starts_with(r#"{"type":"error","error":{"type":"not_found_error","#),
        "{}",
        anthropic.body
    );
    assert!(
        anthropic.body.ends_with(&format!(r#""request_id":"{}"}}"#, anthropic.header("request-id").unwrap()))
    );

    for (method, path, allow) in [
        ("GET", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/models/v/model", "GET, HEAD"),
        ("OPTIONS", "/v1/messages", "POST"),
        ("TRACE", "/v1/messages", "POST"),
        ("PUT", "/", "GET, HEAD"),
    ] {
        let response = ask(&gateway, method, path, "");
        assert_eq!((response.status, response.header("allow")), (405, Some(allow)), "{method} {path}");
        assert!(response.body.contains("invalid_request_error"), "{}", response.body);
    }
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n";
    assert_eq!(get(&gateway, "/v1/responses", upgrade).status, 426);
    assert_eq!(get(&gateway, "/v1/responses", "").status, 405);
}

#[test]
fn every_answer_has_an_id_and_connections_survive() {
    let mock = Mock::new(json(200, "x-request-id: up-1\r\n", PROTOCOLS[0].2));
    let gateway = Gateway::start(&config(mock.port));
    let mut client = Client::connect(gateway.port);
    let body = PROTOCOLS[0].1;
    let mut ids = std::collections::BTreeSet::new();
    for (bytes, status) in [
        ("GET /nowhere HTTP/1.1\r\nhost: g\r\n\r\n".to_owned(), 404),
        (request("/v1/chat/completions", "cm-wrong", body), 401),
        (request("/v1/chat/completions", &gateway.key, "{"), 400),
        (request("/v1/chat/completions", &gateway.key, body), 200),
        (request("/v1/chat/completions", &gateway.key, &body.replace("v/", "x/")), 404),
        (format!("GET /v1/models HTTP/1.1\r\nhost: g\r\n{}\r\n", bearer(&gateway)), 200),
        (request("/v1/messages", &gateway.key, &body.replace("v/", "x/")), 404),
    ] {
        client.send(bytes.as_bytes());
        let response = client.receive();
        assert_eq!(response.status, status, "{bytes}");
        assert_eq!(response.header("connection"), Some("keep-alive"), "{bytes}");
        let id = response.header("x-request-id").unwrap().to_owned();
        assert_eq!(response.header("request-id"), Some(id.as_str()));
        assert!(id.starts_with("req_cm_") && id.len() == 31, "{id}");
        assert!(ids.insert(id), "ids differ");
        if status == 200 && bytes.starts_with("POST") {
            assert_eq!(response.header("x-upstream-request-id"), Some("up-1"));
            assert_eq!(response.header("x-crossmodel-model"), Some("v/model"));
        }
    }
}

#[test]
fn large_heads_are_refused() {
    let gateway = Gateway::start(&config(1));
    let long = format!("x-long: {}\r\n{}", "x".repeat(70_000), bearer(&gateway));
    assert_eq!(get(&gateway, "/v1/models", &long).status, 431);
    let many: String = (0..101).map(|n| format!("x-{n}: y\r\n")).collect();
    assert_eq!(get(&gateway, "/v1/models", &many).status, 431);
}

#[test]
fn operators_have_an_address_of_their_own() {
    let gateway = Gateway::start(&config(1));
    let admin = |path: &str| support::get(gateway.admin, path, "");
    get(&gateway, "/v1/models", &bearer(&gateway));
    get(&gateway, "/v1/models", "");
    for line in [
        r#"crossmodel_requests_total{code="",endpoint="models",status="200"}"#,
        r#"crossmodel_requests_total{code="missing_api_key",endpoint="models",status="401"}"#,
    ] {
        // A request is counted when it is over, which is after its answer was read.
        assert!(eventually(Duration::from_secs(5), || gateway.metric(line) == 1.0), "{line}");
    }
    assert_eq!(gateway.metric("crossmodel_requests_in_flight"), 0.0);
    assert_eq!(
        (admin("/healthz").status, admin("/readyz").status, admin("/v1/models").status),
        (200, 200, 404)
    );
    assert_eq!(get(&gateway, "/metrics", "").status, 404, "not on the clients' address");
}

#[test]
fn an_unknown_model_is_answered_with_those_that_were_probably_meant() {
    let gateway = Gateway::start_with(&config(1), &["--model", "v/*", "--alias", "quick=v/model"], &[]);
    let told = |name: &str| -> Vec<String> {
        let told = PROTOCOLS.iter().map(|(path, body, _)| {
            let answer = post(&gateway, path, &body.replace("v/model", name));
            assert_eq!(answer.status, 404, "{}", answer.body);
            answer.text("error.message")
        });
        told.collect()
    };
    for (name, advice) in [
        ("v/modle", "Did you mean 'v/model'?"),
        ("V/Model", "Did you mean 'v/model'?"),
        ("other/model", "Did you mean 'v/model'?"),
        ("model", "Model ids are vendor/model; did you mean 'v/model'?"),
        ("quikc", "Model ids are vendor/model; did you mean 'quick'?"),
        ("nothing/like-it", "GET /v1/models lists the models of this key."),
    ] {
        let message = format!("Model '{name}' was not found or is unavailable. {advice}");
        assert_eq!(told(name), vec![message; PROTOCOLS.len()]);
    }
    let retrieved = get(&gateway, "/v1/models/v/modell", &bearer(&gateway));
    assert!(retrieved.status == 404 && retrieved.text("error.message").ends_with("Did you mean 'v/model'?"));
    // What a key may not call does not show.
    let closed = Gateway::start_with(&config(1), &["--model", "w/*"], &[]);
    let answer = post(&closed, PROTOCOLS[0].0, &PROTOCOLS[0].1.replace("v/model", "v/modle"));
    assert!(
        answer.text("error.message").ends_with("GET /v1/models lists the models of this key."),
        "{}",
        answer.body
    );
    let without = support::get(closed.port, "/v1/models/v/modle", "");
    assert!(without.status == 401 && !without.body.contains("v/model"), "{}", without.body);
}
