//! Requests and tokens per minute: who is over them, is told so in words that its SDK knows, and keeps nobody else away.

use std::time::Duration;

use crate::money::{MODELS, body, call, gateway, good};
use crate::support::{Client, Gateway, Mock, PROTOCOLS, get, member, request};

/// Limits.
fn limited(mock: &Mock, rpm: &str, tpm: &str) -> Gateway {
    let gateway = gateway(mock, "1");
    let id = member(&gateway.command(&["key", "list", "--json"]), "0.id");
    gateway.command(&["key", "set", &id, "--rpm", rpm, "--tpm", tpm]);
    std::thread::sleep(Duration::from_millis(100));
    gateway
}

#[test]
fn requests_per_minute_are_limited_and_clients_know_how_they_stand() {
    let mock = good();
    let gateway = limited(&mock, "3", "100000");
    for (client, (model, left)) in MODELS.into_iter().zip(["2", "1", "0"]).enumerate() {
        let response = call(&gateway, client, model, "");
        assert_eq!(response.status, 200);
        let names = match client {
            2 => ["anthropic-ratelimit-requests-limit", "anthropic-ratelimit-requests-remaining"],
            _ => ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests"],
        };
        assert_eq!(
            names.map(|name| response.header(name)),
            [Some("3"), Some(left)],
            "{:?}",
            response.headers
        );
    }
    for (client, model) in MODELS.into_iter().enumerate() {
        let response = call(&gateway, client, model, "");
        assert_eq!(response.status, 429);
        let wait: u64 = response.header("retry-after").unwrap().parse().unwrap();
        assert!((55..=61).contains(&wait));
        assert!(response.body.contains("Rate limit exceeded: max 3 requests per minute."));
        assert!(response.body.contains("rate_limit_error"));
        if client < 2 {
            assert_eq!(member(&response.body, "error.code"), "rate_limit_exceeded");
            assert_eq!(response.header("x-ratelimit-remaining-requests"), Some("0"));
            assert!(response.header("x-ratelimit-reset-requests").unwrap().ends_with('s'));
        } else {
            assert!(response.header("anthropic-ratelimit-requests-reset").unwrap().ends_with('Z'));
        }
    }
    // What is only asked for counts towards nothing.
    for _ in 0..5 {
        assert_eq!(get(gateway.port, "/v1/models", &format!("x-api-key: {}\r\n", gateway.key)).status, 200);
    }
    assert_eq!(mock.seen().len(), 3);
}

#[test]
fn tokens_per_minute_are_reserved_and_made_good() {
    let mock = good();
    // Each call uses 5 tokens, and reserves 100 for its answer beside those for its prompt.
    let prompt = body(0, "v/chat", "").len().div_ceil(4);
    let limit = (prompt + 100 + 22).to_string();
    let gateway = limited(&mock, "unlimited", &limit);
    for _ in 0..5 {
        assert_eq!(call(&gateway, 0, "v/chat", "").status, 200);
    }
    let response = call(&gateway, 0, "v/chat", "");
    assert_eq!(response.status, 429, "25 are used");
    assert!(response.body.contains(&format!("Rate limit exceeded: max {limit} tokens per minute.")));
    let left: usize = response.header("x-ratelimit-remaining-tokens").unwrap().parse().unwrap();
    assert_eq!(left, prompt + 97);
    assert_eq!(mock.seen().len(), 5);
}

/// A key that sends ten times as much as it may does not slow others down.
#[test]
fn a_noisy_key_is_alone_with_its_noise() {
    let mock = good();
    let gateway = limited(&mock, "5", "unlimited");
    let quiet = gateway.command(&["key", "create", "--rpm", "unlimited"]).lines().next().unwrap().to_owned();
    let noisy = (0..50).filter(|_| call(&gateway, 0, "v/free", "").status == 429).count();
    assert_eq!(noisy, 45);
    let mut client = Client::connect(gateway.port);
    for _ in 0..20 {
        client.send(request(PROTOCOLS[0].0, &quiet, &body(0, "v/free", "")).as_bytes());
        assert_eq!(client.receive().status, 200);
    }
}
