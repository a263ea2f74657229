//! Guards: services that are asked about requests before these cost anything or go anywhere.

use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::support::{
    Act, Client, Gateway, Mock, PROTOCOLS, Seen, create_store, free_port, json, member, post, request, run,
    sse, whole,
};

const SECRET: &str = "a-secret-of-24-characters";

/// A provider, and a guard at this port with these further settings.
fn config(provider: u16, guard: u16, more: &str) -> String {
    format!(
        "guards: [{{name: pii, url: \"http://127.0.0.1:{guard}/check\"{more}}}]\n\
         providers:\n  up: {{base_url: \"http://127.0.0.1:{provider}/v1\", key: \"env:UPSTREAM_KEY\", \
         protocols: [chat, responses, messages]}}\n\
         models:\n  - {{id: v/model, targets: [{{provider: up, model: real-model}}], \
         prices: [{{input: 1000000, output: 1000000}}]}}\n  \
         - {{id: w/model, targets: [{{provider: up, model: real-model}}]}}\n"
    )
}

/// A provider that answers in each protocol.
fn provider() -> Mock {
    Mock::scripted(|seen, _| {
        let protocol = PROTOCOLS.iter().position(|(path, ..)| seen.request_line().contains(path)).unwrap();
        json(200, "", PROTOCOLS[protocol].2)
    })
}

fn saying(answer: &'static str) -> Mock {
    Mock::new(json(200, "", answer))
}

fn start(provider: &Mock, guard: u16, more: &str) -> Gateway {
    let gateway = Gateway::start_with(&config(provider.port, guard, more), &[], &[("GUARD_SECRET", SECRET)]);
    gateway.command(&["account", "top-up", "default", "10"]);
    gateway
}

fn code(seen: &Seen) -> String {
    let mut code = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    for part in [seen.header("webhook-id").unwrap(), ".", seen.header("webhook-timestamp").unwrap(), "."] {
        code.update(part.as_bytes());
    }
    code.update(&seen.body);
    format!("v1,{}", base64::engine::general_purpose::STANDARD.encode(code.finalize().into_bytes()))
}

#[test]
fn a_guard_sees_the_tags_of_a_call() {
    let (up, guard) = (provider(), saying(r#"{"action":"allow"}"#));
    let gateway = start(&up, guard.port, "");
    let (path, body, _) = PROTOCOLS[0];
    let tagged = request(path, &gateway.key, body).replacen("\r\n", "\r\nx-crossmodel-tags: env=prod\r\n", 1);
    let mut client = Client::connect(gateway.port);
    client.send(tagged.as_bytes());
    assert_eq!(client.receive().status, 200);
    assert_eq!(member(&guard.take().pop().unwrap().text(), "tags.env"), "prod");
}

#[test]
fn a_guard_sees_the_request_and_lets_it_go_on() {
    let (up, guard) = (provider(), saying(r#"{"action":"allow"}"#));
    let gateway = start(&up, guard.port, ", secret: env:GUARD_SECRET");
    for (n, (path, body, _)) in PROTOCOLS.into_iter().enumerate() {
        assert_eq!(post(&gateway, path, body).status, 200);
        let seen = guard.take().pop().unwrap();
        assert_eq!(seen.request_line(), "POST /check HTTP/1.1");
        let text = seen.text();
        assert!(text.contains(&format!("\"body\":{body}")), "{text}");
        assert_eq!(member(&text, "at"), "request");
        assert_eq!(member(&text, "account"), "default");
        assert_eq!(member(&text, "model"), "v/model");
        assert_eq!(member(&text, "protocol"), ["chat", "responses", "messages"][n]);
        let line = gateway.access_log(n + 1).pop().unwrap();
        assert_eq!(member(&text, "id"), member(&line, "request_id"));
        assert_eq!(member(&text, "key"), member(&line, "key"));
        assert_eq!(
            (member(&line, "guard.0.name"), member(&line, "guard.0.action")),
            ("pii".into(), "allow".into())
        );
        assert_eq!(seen.header("webhook-signature"), Some(&*code(&seen)));
        for name in ["authorization", "x-api-key", "cookie"] {
            assert_eq!(seen.header(name), None);
        }
        assert!(!seen.head.contains(&gateway.key) && !text.contains(&gateway.key));
    }
    assert_eq!(guard.connections(), 1, "its connection is used again");
    let counted = gateway.metric("crossmodel_guard_requests_total{action=\"allow\",guard=\"pii\"}");
    assert!(counted == 3.0, "{counted}");
}

#[test]
fn what_is_denied_reaches_nobody_and_costs_nothing() {
    let up = provider();
    let guard = saying(r#"{"action":"deny","message":"No names, please."}"#);
    let gateway = start(&up, guard.port, "");
    for (path, body, _) in PROTOCOLS {
        for body in [body.to_owned(), body.replacen('{', "{\"stream\":true,", 1)] {
            let response = post(&gateway, path, &body);
            assert_eq!(response.status, 400, "{response:?}");
            assert_eq!(response.text("error.message"), "No names, please.");
        }
    }
    assert_eq!(post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1).text("error.code"), "content_policy_violation");
    assert!(up.seen().is_empty());
    assert!(gateway.metric("crossmodel_ledger_open_holds") == 0.0);
    assert!(gateway.command(&["account", "show", "default"]).contains("10"));
    gateway.audit();
}

#[test]
fn a_body_in_the_place_of_the_clients_goes_on_and_is_checked() {
    let up = provider();
    let guard = Mock::scripted(|seen, _| {
        let body = member(&seen.text(), "body").replace("hi", "[redacted]");
        json(200, "", &format!(r#"{{"action":"replace","body":{body}}}"#))
    });
    let gateway = start(&up, guard.port, "");
    for (path, body, _) in PROTOCOLS {
        assert_eq!(post(&gateway, path, body).status, 200);
        let text = up.take().pop().unwrap().text();
        assert!(
            text.contains("[redacted]") && text.contains("real-model") && !text.contains("\"hi\""),
            "{text}"
        );
    }
    for (answer, status) in [
        (
            r#"{"action":"replace","body":{"model":"w/model","messages":[{"role":"user","content":"x"}]}}"#,
            503,
        ),
        (r#"{"action":"replace","body":[]}"#, 503),
        (r#"{"action":"replace","body":{"model":"v/model"}}"#, 503),
    ] {
        let guard = saying(answer);
        let gateway = start(&up, guard.port, "");
        let response = post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1);
        assert_eq!(response.status, status, "{answer}: {response:?}");
        gateway.audit();
    }
}

#[test]
fn a_guard_that_fails_closes_or_opens_the_way_as_the_settings_say() {
    let huge = format!("\"{}\"", "x".repeat(33 << 20));
    let ways: [(&str, Vec<Act>); 6] = [
        ("slow", vec![Act::Hold]),
        ("dead", vec![Act::Close]),
        ("status", json(500, "", r#"{"action":"allow"}"#)),
        ("redirect", whole(302, "location: http://127.0.0.1:1/\r\n", b"")),
        ("nonsense", json(200, "", "allow")),
        ("huge", json(200, "", &huge)),
    ];
    let up = provider();
    for (what, acts) in ways {
        for (fallback, status) in [("deny", 503), ("allow", 200)] {
            let guard = Mock::new(acts.clone());
            let gateway = start(&up, guard.port, &format!(", on_error: {fallback}, timeout_ms: 300"));
            let response = post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1);
            assert_eq!(response.status, status, "{what}, {fallback}: {response:?}");
            if status == 503 {
                assert_eq!(response.text("error.code"), "guard_unavailable");
                assert_eq!(response.header("retry-after"), Some("1"));
                assert!(!response.body.contains("pii"), "{response:?}");
            }
            let line = &gateway.access_log(1)[0];
            assert_eq!(member(line, "guard.0.action"), "error", "{what}: {line}");
            assert!(!member(line, "guard.0.detail").is_empty(), "{what}: {line}");
            assert_eq!(up.take().len(), usize::from(status == 200), "{what}, {fallback}");
        }
    }
}

#[test]
fn a_guard_that_keeps_failing_is_left_alone_for_a_while() {
    let (up, port) = (provider(), free_port());
    let gateway = start(&up, port, ", on_error: allow");
    for _ in 0..8 {
        assert_eq!(post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1).status, 200);
    }
    let lines = gateway.access_log(8);
    let open = lines.iter().filter(|line| line.contains("its circuit is open")).count();
    assert!(open >= 1, "{lines:?}");
}

#[test]
fn guards_see_only_their_models_and_what_the_settings_allow() {
    let (up, guard) = (provider(), saying(r#"{"action":"deny"}"#));
    let gateway = start(&up, guard.port, ", models: [\"w/*\"], send: metadata");
    assert_eq!(post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1).status, 200);
    assert!(guard.take().is_empty());
    let other = PROTOCOLS[0].1.replace("v/model", "w/model");
    assert_eq!(post(&gateway, PROTOCOLS[0].0, &other).status, 400);
    let text = guard.take().pop().unwrap().text();
    assert!(!text.contains("body") && !text.contains("hi\""), "{text}");
    let unknown = PROTOCOLS[0].1.replace("v/model", "w/other");
    assert_eq!(post(&gateway, PROTOCOLS[0].0, &unknown).status, 404);
    assert!(guard.take().is_empty(), "a model that there is not is nobody's business");
}

#[test]
fn streams_begin_behind_the_guard() {
    let up = Mock::new(sse([crate::streams::STREAMS[0].as_bytes()]));
    let guard = saying(r#"{"action":"allow"}"#);
    let gateway = start(&up, guard.port, "");
    let response = post(&gateway, PROTOCOLS[0].0, &crate::streams::streaming(0));
    assert!(response.status == 200 && response.body.ends_with("data: [DONE]\n\n"), "{response:?}");
    assert_eq!(guard.seen().len(), 1);
}

#[test]
fn an_answer_is_denied_or_replaced_before_the_client_gets_it() {
    let up = provider();
    let own = r#"{"id":"of the guard"}"#;
    let replace: &'static str = r#"{"action":"replace","body":{"id":"of the guard"}}"#;
    let deny: &'static str = r#"{"action":"deny","message":"No such words."}"#;
    for (answer, status) in [(r#"{"action":"allow"}"#, 200), (replace, 200), (deny, 400), ("?", 503)] {
        let guard = saying(answer);
        let gateway = start(&up, guard.port, ", at: answer");
        for (n, (path, body, given)) in PROTOCOLS.into_iter().enumerate() {
            let response = post(&gateway, path, body);
            assert_eq!(response.status, status, "{answer}: {response:?}");
            let text = guard.take().pop().unwrap().text();
            assert_eq!(member(&text, "at"), "answer");
            assert_eq!(member(&text, "model"), "v/model");
            assert_eq!(member(&member(&text, "body"), "model"), "v/model", "{text}");
            assert_eq!(member(&member(&text, "body"), "id"), member(given, "id"));
            match answer {
                _ if answer == replace => assert_eq!(response.body, own),
                _ if answer == deny => assert_eq!(response.text("error.message"), "No such words."),
                "?" => assert!(response.body.contains("cannot check this answer"), "{response:?}"),
                _ => assert_eq!(member(&response.body, "id"), member(given, "id")),
            }
            let line = gateway.access_log(n + 1).pop().unwrap();
            assert_eq!(member(&line, "guard.0.name"), "pii");
            assert_eq!(member(&line, "cost_nano"), "5000", "the provider has answered: {line}");
        }
        assert!(gateway.metric("crossmodel_ledger_open_holds") == 0.0);
        gateway.audit();
        up.take();
    }
}

#[test]
fn a_translated_answer_is_guarded_in_the_protocol_of_the_client() {
    let up = Mock::new(json(200, "", PROTOCOLS[2].2));
    let guard = saying(r#"{"action":"deny","message":"No."}"#);
    let config =
        config(up.port, guard.port, ", at: answer").replace("[chat, responses, messages]", "[messages]");
    let gateway = Gateway::start(&config);
    gateway.command(&["account", "top-up", "default", "10"]);
    let response = post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1);
    assert_eq!((response.status, response.text("error.message")), (400, "No.".to_owned()), "{response:?}");
    let text = guard.take().pop().unwrap().text();
    assert_eq!(member(&member(&text, "body"), "object"), "chat.completion", "{text}");
    gateway.audit();
}

#[test]
fn a_stream_is_shown_to_the_guard_after_its_end() {
    for (n, stream) in crate::streams::STREAMS.into_iter().enumerate() {
        let up = Mock::new(sse([stream.as_bytes()]));
        for answer in [r#"{"action":"deny"}"#, "?"] {
            let guard = saying(answer);
            let gateway = start(&up, guard.port, ", at: answer");
            let response = post(&gateway, PROTOCOLS[n].0, &crate::streams::streaming(n));
            assert_eq!(response.status, 200);
            let line = gateway.access_log(1).pop().unwrap();
            let action = if answer == "?" { "error" } else { "deny" };
            assert_eq!(member(&line, "guard.0.action"), action, "{line}");
            let text = guard.take().pop().unwrap().text();
            assert_eq!(
                (member(&text, "at"), member(&text, "body")),
                ("answer".into(), response.body),
                "{text}"
            );
        }
    }
}

#[test]
fn mistakes_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    create_store(&data);
    for (guard, expected) in [
        ("name: 'a b', url: 'http://g'", "guards[0]: 'a b' is no name for a guard"),
        ("name: a, url: 'ftp://g'", "guards[0]: url must begin with https:// or http://"),
        ("name: a, url: 'http://g', timeout_ms: 10001", "guards[0]: timeout_ms: write 1 to 10000"),
        (
            "name: a, url: 'http://g', secret: 'env:NOT_SET'",
            "guards[0].secret: the variable NOT_SET is not set",
        ),
        ("name: a, url: 'http://g', secret: 'env:UPSTREAM_KEY'", "fewer than 24 bytes"),
    ] {
        let file = folder.path().join("conf.yaml");
        std::fs::write(&file, format!("guards: [{{{guard}}}]\n")).unwrap();
        let output = run(&data, &["check", "-c", file.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(expected), "{guard}: {said}");
    }
}
