//! Limits of an account, which bind all its keys together.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{
    Act, Client, Gate, Gateway, Mock, PROTOCOLS, Response, config, eventually, json, member, request,
};

/// A time in which a change counts.
const SOON: Duration = Duration::from_secs(2);

/// A gateway, and the secrets of two keys of the account `team`, which has some limits.
fn start(text: &str, limits: &[&str]) -> (Gateway, [String; 2]) {
    let gateway = Gateway::start(text);
    gateway.command(&[&["account", "create", "team"], limits].concat());
    let key = || gateway.command(&["key", "create", "--account", "team"]).trim().to_owned();
    let keys = [key(), key()];
    assert!(eventually(SOON, || get_models(&gateway, &keys[1]).status == 200));
    (gateway, keys)
}

fn get_models(gateway: &Gateway, key: &str) -> Response {
    let mut client = Client::connect(gateway.port);
    client.send(
        format!("GET /v1/models HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {key}\r\n\r\n").as_bytes(),
    );
    client.receive()
}

fn call(gateway: &Gateway, key: &str) -> Response {
    let mut client = Client::connect(gateway.port);
    client.send(request(PROTOCOLS[0].0, key, PROTOCOLS[0].1).as_bytes());
    client.receive()
}

/// Whether the access log has a call that was refused by a limit.
fn is_logged(gateway: &Gateway, limit: &str) -> bool {
    let has_line = || gateway.access_log(1).iter().any(|line| member(line, "limit") == limit);
    eventually(SOON, has_line)
}

fn good() -> Mock {
    Mock::new(json(200, "", PROTOCOLS[0].2))
}

#[test]
fn the_keys_of_an_account_share_its_requests_per_minute() {
    let mock = good();
    let (gateway, [one, two]) = start(&config(mock.port), &["--rpm", "2"]);
    assert_eq!([call(&gateway, &one).status, call(&gateway, &two).status], [200, 200]);
    for key in [&one, &two] {
        let refused = call(&gateway, key);
        assert_eq!(refused.status, 429);
        assert_eq!(
            refused.text("error.message"),
            "Rate limit exceeded: max 2 requests per minute for the account."
        );
        assert_eq!(refused.header("x-ratelimit-limit-requests"), Some("2"));
    }
    assert_eq!(call(&gateway, &gateway.key).status, 200, "other accounts are not concerned");
    assert!(is_logged(&gateway, "account.rpm"));
    let shown = gateway.command(&["account", "set", "team", "--rpm", "unlimited", "--tpm", "1000000"]);
    assert!(shown.contains("1000000 tpm") && !shown.contains("rpm"), "{shown}");
    assert!(eventually(SOON, || call(&gateway, &one).status == 200));
    let audit = gateway.command(&["audit", "--subject", "team", "--json"]);
    assert!(audit.contains("\"before\":{\"rpm\":2,\"tpm\":null}"), "{audit}");
}

#[test]
fn the_keys_of_an_account_share_its_tokens_per_minute() {
    let mock = good();
    let (gateway, [one, two]) = start(&config(mock.port), &["--tpm", "1"]);
    assert_eq!(call(&gateway, &one).status, 200, "no call is too large");
    let refused = call(&gateway, &two);
    assert_eq!(refused.status, 429);
    let message = "Rate limit exceeded: max 1 tokens per minute for the account.";
    assert_eq!(refused.text("error.message"), message);
    assert_eq!(mock.seen().len(), 1);
    assert!(is_logged(&gateway, "account.tpm"));
}

#[test]
fn the_keys_of_an_account_share_its_calls_at_once() {
    let gate = Gate::new();
    let waits = Arc::clone(&gate);
    let mock = Mock::scripted(move |_, n| {
        let wait = (n < 1).then(|| Act::Await(Arc::clone(&waits)));
        let mut acts: Vec<_> = wait.into_iter().collect();
        acts.extend(json(200, "", PROTOCOLS[0].2));
        acts
    });
    let (gateway, [one, two]) = start(&config(mock.port), &["--max-concurrent", "1"]);
    let mut running = Client::connect(gateway.port);
    running.send(request(PROTOCOLS[0].0, &one, PROTOCOLS[0].1).as_bytes());
    assert!(eventually(SOON, || mock.seen().len() == 1));
    let refused = call(&gateway, &two);
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    let message = "Rate limit exceeded: max 1 concurrent requests for the account.";
    assert_eq!(refused.text("error.message"), message);
    assert_eq!(call(&gateway, &gateway.key).status, 200, "other accounts are not concerned");
    gate.open();
    assert_eq!(running.receive().status, 200);
    assert!(eventually(SOON, || call(&gateway, &two).status == 200));
    assert!(is_logged(&gateway, "account.max_concurrent"));
}

#[test]
fn a_call_needs_the_permission_of_the_key_and_of_its_account() {
    let mock = good();
    let (gateway, [one, _]) = start(&config(mock.port), &["--model", "other/*"]);
    assert_eq!((call(&gateway, &one).status, mock.seen().len()), (404, 0));
    assert!(!get_models(&gateway, &one).body.contains("v/model"));
    gateway.command(&["account", "set", "team", "--model", "v/*"]);
    assert!(eventually(SOON, || call(&gateway, &one).status == 200));
    assert!(get_models(&gateway, &one).body.contains("v/model"));
}

#[test]
fn a_limit_of_an_account_is_checked_before_it_is_kept() {
    let gateway = Gateway::start(&config(good().port));
    let refused = |arguments: &[&str]| {
        let output = crate::support::run(&gateway.data(), arguments);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (done, said) = refused(&["account", "create", "team", "--rpm", "0"]);
    assert!(!done && said.contains("is 0; to stop the account, disable it"), "{said}");
    let (done, said) = refused(&["account", "set", "default", "--max-concurrent", "0"]);
    assert!(!done && said.contains("is 0; to stop the account, disable it"), "{said}");
}
