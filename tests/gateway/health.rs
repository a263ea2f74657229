//! The health of targets: a model's failures are its own, and the failures that a client brings about by what it
//! asks takes no model from others.

use std::time::Duration;

use crate::support::{
    Client, Gateway, Mock, PROTOCOLS, Response, UPSTREAM_KEY, eventually, json, member, request,
};

/// A wildcard at a provider, and a second account with a key of its own.
fn wildcard(mock: &Mock, more: &str) -> (Gateway, String) {
    let gateway = Gateway::start(&format!(
        "providers: {{up: {{base_url: \"http://127.0.0.1:{}/v1\", key: \"env:UPSTREAM_KEY\", protocols: [chat]{more}}}}}\n\
         models: [{{id: wild/*, targets: [{{provider: up}}]}}]\n",
        mock.port
    ));
    gateway.command(&["account", "create", "other"]);
    let made = gateway.command(&["key", "create", "--account", "other", "--rpm", "unlimited", "--json"]);
    let other = member(&made, "secret");
    let known = || call(&gateway, &other, "known", "hi").status != 401;
    assert!(eventually(Duration::from_secs(5), known), "{made}");
    (gateway, other)
}

fn send(gateway: &Gateway, key: &str, body: &str) -> Response {
    let mut client = Client::connect(gateway.port);
    client.send(request(PROTOCOLS[0].0, key, body).as_bytes());
    client.receive()
}

fn call(gateway: &Gateway, key: &str, model: &str, text: &str) -> Response {
    let body =
        format!("{{\"model\":\"wild/{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"{text}\"}}]}}");
    send(gateway, key, &body)
}

/// A provider that fails as its model's name says, and answers all other models well.
fn obedient() -> Mock {
    Mock::scripted(|seen, _| {
        let model = member(&seen.text(), "model");
        let error = |message: &str| format!("{{\"error\":{{\"message\":\"{message}\",\"code\":null}}}}");
        let Some((status, message)) = model
            .split_once('-')
            .and_then(|(status, text)| Some((status.parse::<u16>().ok()?, text.replace('_', " "))))
        else {
            return json(200, "", PROTOCOLS[0].2);
        };
        json(status, "", &error(&message))
    })
}

#[test]
fn what_a_client_brings_about_takes_a_model_from_nobody() {
    let mock = obedient();
    let (gateway, other) = wildcard(&mock, "");
    for model in [
        "400-bad",
        "402-This_request_requires_more_credits,_or_fewer_max_tokens",
        "403-Your_input_was_flagged",
        "403-blocked_by_a_filter",
        "404-no_such_model",
        "409-conflict",
        "413-large",
        "422-bad",
        "451-not_here",
        "501-not_that",
    ] {
        let before = mock.seen().len();
        for key in [&gateway.key, &other].repeat(6) {
            call(&gateway, key, model, "hi");
        }
        assert_eq!(mock.seen().len() - before, 12, "{model}: each is asked");
    }
    assert!(gateway.metric("crossmodel_target_open{model=\"wild/*\",provider=\"up\"}").abs() < 0.1);
}

#[test]
fn what_is_the_targets_fault_takes_that_model_away_and_no_other() {
    let mock = obedient();
    let (gateway, other) = wildcard(&mock, "");
    for model in
        ["500-broken", "401-bad_key", "402-Insufficient_Balance", "403-Your_API_key_is_not_valid", "408-late"]
    {
        let before = mock.seen().len();
        for key in [&gateway.key, &other].repeat(2) {
            assert_ne!(call(&gateway, key, model, "hi").header("retry-after"), Some("2"), "{model}");
        }
        call(&gateway, &gateway.key, model, "hi");
        assert_eq!(mock.seen().len() - before, 5, "{model}");
        // Whoever comes next waits.
        for key in [&gateway.key, &other] {
            let refused = call(&gateway, key, model, "hi");
            let asked_again = mock.seen().len() - before > 5;
            assert!(refused.status == 503 || asked_again, "{model}: {refused:?}");
            assert_eq!(call(&gateway, key, "well", "hi").status, 200, "{model}");
        }
    }
    assert!((gateway.metric("crossmodel_target_open{model=\"wild/*\",provider=\"up\"}") - 1.0).abs() < 0.1);
}

#[test]
fn what_fails_for_one_account_alone_stays_open_to_others() {
    let mock = Mock::scripted(|seen, _| match seen.text().contains("poison") {
        true => json(500, "", "{}"),
        false => json(200, "", PROTOCOLS[0].2),
    });
    let (gateway, other) = wildcard(&mock, ", breaker_failures: 2");
    let before = mock.seen().len();
    // Alone, it keeps itself away; the pause grows, so that the last of these is sure to come into one.
    let refused = || {
        call(&gateway, &gateway.key, "m", "poison");
        call(&gateway, &gateway.key, "m", "poison").status == 503
    };
    assert!(eventually(Duration::from_secs(10), refused));
    assert!(mock.seen().len() - before >= 2);
    assert_eq!(call(&gateway, &other, "m", "hi").status, 200);
    // That has shown that it is well: it is nobody's to wait any more.
    assert_eq!(call(&gateway, &gateway.key, "m", "hi").status, 200);
}

#[test]
fn a_form_that_only_one_request_asks_for_is_no_failure_of_the_target() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let (gateway, other) = wildcard(&mock, "");
    let body = r#"{"model":"wild/m","n":2,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    for key in [&gateway.key, &other].repeat(4) {
        assert_eq!(send(&gateway, key, body).status, 502);
    }
    assert_eq!(call(&gateway, &other, "m", "hi").status, 200);
}

#[test]
fn a_request_that_one_target_refuses_goes_to_the_next_and_leaves_the_first_as_it_was() {
    for (status, message) in [(403, "Your input was flagged"), (402, "or fewer max_tokens"), (451, "")] {
        let error = format!("{{\"error\":{{\"message\":\"{message}\"}}}}");
        let (first, second) = (Mock::new(json(status, "", &error)), Mock::new(json(200, "", PROTOCOLS[0].2)));
        let provider = |name: &str, port| {
            format!(
                "  {name}: {{base_url: \"http://127.0.0.1:{port}/v1\", key: \"env:UPSTREAM_KEY\", protocols: [chat]}}\n"
            )
        };
        let gateway = Gateway::start(&format!(
            "providers:\n{}{}models: [{{id: wild/m, targets: [{{provider: a}}, {{provider: b, priority: 1}}]}}]\n",
            provider("a", first.port),
            provider("b", second.port)
        ));
        for _ in 0..8 {
            assert_eq!(call(&gateway, &gateway.key, "m", "hi").status, 200, "{status}");
        }
        assert_eq!((first.seen().len(), second.seen().len()), (8, 8), "{status}");
        assert!(!gateway.stderr().contains(UPSTREAM_KEY));
    }
}
