//! Credentials: where they are read, what they open, and how soon a change counts.

use crate::support::{Client, Gateway, Mock, PROTOCOLS, Response, config, json, member, post};

fn call(gateway: &Gateway, path: &str, headers: &str) -> Response {
    let body = PROTOCOLS.iter().find(|(p, _, _)| *p == path).unwrap().1;
    let mut client = Client::connect(gateway.port);
    let head = format!("POST {path} HTTP/1.1\r\nhost: g\r\n{headers}content-length: {}\r\n\r\n", body.len());
    client.send(format!("{head}{body}").as_bytes());
    client.receive()
}

fn gateway() -> (Mock, Gateway) {
    let mock = Mock::scripted(|seen, _| {
        let answer = PROTOCOLS.iter().find(|(path, _, _)| seen.request_line().contains(path)).unwrap().2;
        json(200, "", answer)
    });
    let gateway = Gateway::start(&config(mock.port));
    (mock, gateway)
}

#[test]
fn the_four_refusals_in_both_envelopes() {
    let (mock, gateway) = gateway();
    let key = format!("authorization: Bearer {}\r\n", gateway.key);
    let expect = |headers: &str, code: &str, openai: &str, anthropic: &str| {
        let response = call(&gateway, "/v1/chat/completions", headers);
        let expected = format!(
            r#"{{"error":{{"message":"{openai}","type":"authentication_error","param":null,"code":"{code}"}}}}"#
        );
        assert_eq!((response.status, response.body), (401, expected));
        let response = call(&gateway, "/v1/messages", headers);
        let start = format!(
            r#"{{"type":"error","error":{{"type":"authentication_error","message":"{anthropic}"}},"request_id":"req_cm_"#
        );
        assert!(response.status == 401 && response.body.starts_with(&start), "{}", response.body);
    };
    expect("", "missing_api_key", "Missing Bearer token in Authorization header.", "Missing API key.");
    let invalid = "The API key is not valid.";
    for wrong in ["cm-short", "sk-0123456789", "Bearer", "' OR 1=1 --", &"x".repeat(4000)] {
        expect(&format!("authorization: Bearer {wrong}\r\n"), "invalid_api_key", invalid, invalid);
    }
    let unknown = format!("cm-{}", "a".repeat(40));
    expect(&format!("authorization: Bearer {unknown}\r\n"), "invalid_api_key", invalid, invalid);
    let id = member(&gateway.command(&["key", "list", "--json"]), "0.id");
    gateway.command(&["key", "disable", &id]);
    soon(|| call(&gateway, "/v1/responses", &key).status == 401);
    let inactive = "The API key is disabled.";
    expect(&key, "api_key_inactive", inactive, inactive);
    gateway.command(&["key", "enable", &id]);
    gateway.command(&["account", "disable", "default"]);
    let inactive = "The account of this API key is inactive.";
    soon(|| call(&gateway, "/v1/responses", &key).body.contains(inactive));
    expect(&key, "user_inactive", inactive, inactive);
    gateway.command(&["account", "enable", "default"]);
    soon(|| call(&gateway, "/v1/responses", &key).status == 200);
    gateway.command(&["key", "delete", &id]);
    soon(|| call(&gateway, "/v1/responses", &key).status == 401);
    expect(&key, "invalid_api_key", invalid, invalid);
    assert!(
        mock.seen().iter().all(|seen| seen.request_line().contains("/responses")),
        "nothing refused went upstream"
    );
}

/// A change counts within a second.
fn soon(mut holds: impl FnMut() -> bool) {
    for _ in 0..50 {
        if holds() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("not within a second");
}

#[test]
fn the_endpoints_own_header_decides() {
    let (_mock, gateway) = gateway();
    let (good, bad) = (gateway.key.as_str(), "cm-bad");
    let bearer = |key: &str| format!("authorization: Bearer {key}\r\n");
    let named = |key: &str| format!("x-api-key: {key}\r\n");
    for (path, own, other) in [
        ("/v1/chat/completions", bearer as fn(&str) -> String, named as fn(&str) -> String),
        ("/v1/responses", bearer, named),
        ("/v1/messages", named, bearer),
    ] {
        let status = |headers: &str| call(&gateway, path, headers).status;
        assert_eq!(status(&own(good)), 200, "{path}");
        assert_eq!(status(&other(good)), 200, "{path}");
        assert_eq!(status(&format!("{}{}", own(good), other(bad))), 200, "{path}");
        assert_eq!(status(&format!("{}{}", own(bad), other(good))), 401, "{path}: never a second try");
        assert_eq!(status(&format!("{}{}", own(""), other(good))), 200, "{path}: empty is absent");
    }
    let mut client = Client::connect(gateway.port);
    client.send(format!("GET /v1/models?key={good}&api_key={good} HTTP/1.1\r\nhost: g\r\n\r\n").as_bytes());
    assert_eq!(client.receive().status, 401, "a key in a query is none");
}

#[test]
fn credentials_are_exchanged_and_never_cross() {
    let (mock, gateway) = gateway();
    for (path, ours, theirs) in [
        ("/v1/chat/completions", "authorization", "Bearer sk-upstream-canary"),
        ("/v1/responses", "authorization", "Bearer sk-upstream-canary"),
        ("/v1/messages", "x-api-key", "sk-upstream-canary"),
    ] {
        let headers = format!(
            "authorization: Bearer {0}\r\nx-api-key: {0}\r\napi-key: {0}\r\ncookie: k={0}\r\nconnection: {ours}\r\nx-custom: {0}\r\n",
            gateway.key
        );
        let response = call(&gateway, path, &headers);
        assert_eq!(response.status, 200);
        let seen = mock.seen().pop().unwrap();
        assert_eq!(seen.header(ours), Some(theirs), "{path}");
        assert!(!seen.head.contains(&gateway.key), "{}", seen.head);
        assert!(!format!("{response:?}").contains("canary"));
        assert_eq!(seen.head.matches("canary").count(), 1, "one credential only: {}", seen.head);
    }
}

#[test]
fn aliases_of_keys_outrank_those_of_all_and_both_outrank_ids() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let config = "providers: {up: {base_url: \"http://127.0.0.1:PORT\", auth: none, protocols: [chat]}}\n\
        models:\n  - {id: v/a, targets: [{provider: up}]}\n  - {id: v/b, targets: [{provider: up}]}\n  - {id: w/*, targets: [{provider: up}]}\n\
        aliases: {\"gpt-*\": v/a, fast: v/a}\n";
    let keys = ["--alias", "fast=v/b", "--alias", "v/a=w/c", "--alias", "all-*=w/*"];
    let gateway = Gateway::start_with(&config.replace("PORT", &mock.port.to_string()), &keys, &[]);
    for (name, upstream) in
        [("gpt-4o", "a"), ("fast", "b"), ("v/a", "c"), ("v/b", "b"), ("all-x", "x"), ("w/d", "d")]
    {
        let response =
            post(&gateway, "/v1/chat/completions", &format!(r#"{{"model":"{name}","messages":[]}}"#));
        assert_eq!(response.status, 200, "{name}");
        assert!(
            response.body.contains(&format!(r#""model":"{name}""#)),
            "the name that was asked for comes back"
        );
        assert_eq!(mock.seen().pop().unwrap().text(), format!(r#"{{"model":"{upstream}","messages":[]}}"#));
    }
}
