//! Targets that fail, and what calls do then: they go to the next one, unseen, as long as nothing of an answer has
//! gone to the client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::streams::{STREAMS, streaming};
use crate::support::{
    Act, Client, Gate, Gateway, Mock, PROTOCOLS, Response, Seen, eventually, free_port, json, member, open,
    post, request, sse,
};

/// Providers at these ports, each with the protocols that it speaks, and a model that all of them serve, the
/// first one first.
fn config(providers: &[(u16, &str)], more: &str) -> String {
    let mut text = "providers:\n".to_owned();
    let mut targets = Vec::new();
    for (n, (port, protocols)) in providers.iter().enumerate() {
        text += &format!(
            "  p{n}: {{base_url: \"http://127.0.0.1:{port}/v1\", key: \"env:UPSTREAM_KEY\", protocols: [{protocols}]}}\n"
        );
        targets.push(format!("{{provider: p{n}, model: real-{n}, priority: {n}{more}}}"));
    }
    format!("{text}models:\n  - {{id: v/model, targets: [{}]}}\n", targets.join(", "))
}

fn asked(seen: &Seen) -> usize {
    PROTOCOLS.iter().position(|(path, _, _)| seen.request_line().contains(path)).unwrap()
}

/// A provider that answers everything well.
fn good() -> Mock {
    Mock::scripted(|seen, _| match (asked(seen), seen.text().contains("\"stream\":true")) {
        (protocol, true) => sse([STREAMS[protocol].as_bytes()]),
        (protocol, false) => json(200, "", PROTOCOLS[protocol].2),
    })
}

fn call(gateway: &Gateway, protocol: usize, stream: bool) -> Response {
    let body = if stream { streaming(protocol) } else { PROTOCOLS[protocol].1.to_owned() };
    post(gateway, PROTOCOLS[protocol].0, &body)
}

/// Ways to fail before anything of an answer is there.
fn failures() -> Vec<(&'static str, Vec<Act>)> {
    let error = r#"{"error":{"message":"x","type":"server_error"}}"#;
    vec![
        ("closes", vec![Act::Close]),
        ("500", json(500, "", error)),
        ("503 without a body", json(503, "", "")),
        ("529", json(529, "", error)),
        ("429", json(429, "retry-after: 7\r\n", error)),
        ("401", json(401, "", error)),
        ("402", json(402, "", error)),
        ("redirect", json(302, "location: http://127.0.0.1:1/\r\n", "")),
        ("html", json(200, "", "<html>")),
        ("an error with a good status", json(200, "", error)),
    ]
}

#[test]
fn the_next_target_answers_whatever_the_first_one_does() {
    for (name, acts) in failures() {
        // The second target speaks the client's protocol, or another one.
        for (first, second) in
            [("chat", "chat"), ("chat", "messages"), ("messages", "chat"), ("messages", "messages")]
        {
            let bad = Mock::new(acts.clone());
            let better = good();
            let gateway = Gateway::start(&config(&[(bad.port, first), (better.port, second)], ""));
            for stream in [false, true] {
                let response = call(&gateway, 0, stream);
                let what = format!("{name}, {first} then {second}, stream {stream}");
                assert_eq!((response.status, response.complete), (200, true), "{what}: {}", response.body);
                assert!(
                    response.body.contains("v/model")
                        && !response.body.contains("real-0")
                        && !response.body.contains("real-1"),
                    "{what}"
                );
                assert!(!stream || response.body.ends_with("data: [DONE]\n\n"), "{what}: {}", response.body);
            }
            // One that asks for some time is not asked again so soon.
            let times = if name == "429" { 1 } else { 2 };
            assert_eq!((bad.seen().len(), better.seen().len()), (times, 2), "{name}, {first} then {second}");
            let model = member(&better.last().text(), "model");
            assert_eq!(model, "real-1", "it is asked for its own name of the model");
            let lines = gateway.access_log(2);
            let attempts = format!("\"attempts\":{}", if name == "429" { 1 } else { 2 });
            let last = lines.last().unwrap();
            assert!(last.contains(&attempts) && last.contains("\"p1\""), "{last}");
        }
    }
}

#[test]
fn every_target_is_asked_whatever_it_speaks() {
    // A relay after a translation, too.
    let bad = || Mock::new(vec![Act::Close]);
    for protocols in [["chat", "messages", "chat"], ["messages", "chat", "chat"], ["chat", "chat", "chat"]] {
        let (all, better) = ([bad(), bad(), bad()], good());
        let mut targets: Vec<_> =
            all.iter().zip(protocols).map(|(mock, speaks)| (mock.port, speaks)).collect();
        targets.push((better.port, "chat"));
        let gateway = Gateway::start(&config(&targets, ""));
        for stream in [false, true] {
            let response = call(&gateway, 0, stream);
            assert_eq!((response.status, response.complete), (200, true), "{protocols:?}: {response:?}");
            assert!(!stream || response.body.ends_with("data: [DONE]\n\n"), "{}", response.body);
            let told = (0..4).any(|n| response.body.contains(&format!("real-{n}")));
            assert!(response.body.contains("v/model") && !told, "{}", response.body);
        }
        assert!(all.iter().all(|mock| mock.seen().len() == 2) && better.seen().len() == 2, "{protocols:?}");
        assert!(gateway.access_log(2)[1].contains("\"attempts\":4"), "{protocols:?}");
    }
}

/// The body that belongs to it may never come.
#[test]
fn a_status_that_says_enough_is_acted_upon_at_once() {
    for first in ["chat", "messages"] {
        let never = Gate::new();
        let head = "HTTP/1.1 500 X\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{";
        let bad = Mock::new(vec![Act::Send(head.into()), Act::Await(Arc::clone(&never))]);
        let better = good();
        let gateway = Gateway::start(&config(&[(bad.port, first), (better.port, "chat")], ""));
        for stream in [false, true] {
            let response = call(&gateway, 0, stream);
            assert_eq!((response.status, response.complete), (200, true), "{first}: {response:?}");
        }
        assert_eq!((bad.seen().len(), better.seen().len()), (2, 2), "{first}");
        never.open();
    }
}

#[test]
fn a_target_that_can_not_be_reached_is_passed_over() {
    let better = good();
    for first in ["chat", "messages"] {
        let gateway = Gateway::start(&config(&[(free_port(), first), (better.port, "chat")], ""));
        for stream in [false, true] {
            assert_eq!(call(&gateway, 0, stream).status, 200);
        }
    }
}

#[test]
fn the_last_failure_is_told_and_a_fault_of_the_client_is_nobody_elses() {
    let refused = |status| {
        let error = format!(r#"{{"error":{{"message":"m{status}","type":"invalid_request_error"}}}}"#);
        Mock::new(json(status, "", &error))
    };
    let (first, second) = (refused(500), refused(429));
    let gateway = Gateway::start(&config(&[(first.port, "chat"), (second.port, "chat")], ""));
    assert_eq!(call(&gateway, 0, false).status, 429);
    let (first, second) = (refused(400), good());
    let gateway = Gateway::start(&config(&[(first.port, "chat"), (second.port, "chat")], ""));
    let response = call(&gateway, 0, false);
    assert!(response.status == 400 && response.body.contains("m400"), "{}", response.body);
    assert!(second.seen().is_empty());
}

#[test]
fn nothing_is_asked_twice_once_the_client_has_something() {
    let chat = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word\"}}]}\n\n";
    let messages = concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":3}}}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"word\"}}\n\n",
    );
    for (first, begun) in [("chat", chat), ("messages", messages)] {
        let gate = Gate::new();
        let close = vec![Act::Await(Arc::clone(&gate)), Act::Close];
        let broken = Mock::new([open([begun.as_bytes()]), close].concat());
        let better = good();
        let gateway = Gateway::start(&config(&[(broken.port, first), (better.port, "chat")], ""));
        let mut client = Client::connect(gateway.port);
        client.send(request(PROTOCOLS[0].0, &gateway.key, &streaming(0)).as_bytes());
        assert_eq!(client.head().0, 200);
        let mut seen = client.chunk().unwrap();
        gate.open();
        while let Some(chunk) = client.chunk().filter(|chunk| !chunk.is_empty()) {
            seen.extend(chunk);
        }
        let seen = String::from_utf8(seen).unwrap();
        assert!(seen.contains("\"error\"") && !seen.contains("[DONE]"), "{seen}");
        assert!(better.seen().is_empty());
    }
}

#[test]
fn a_stream_that_begins_with_a_failure_is_begun_elsewhere() {
    let chat = "data: {\"error\":{\"message\":\"x\",\"type\":\"server_error\"}}\n\n";
    let role = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    let created = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"model\":\"m\"}}\n\n";
    let failed = "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"id\":\"resp_1\",\"model\":\"m\",\"error\":{\"code\":\"server_error\",\"message\":\"x\"}}}\n\n";
    let warned = "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"x\"}\n\n";
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":3}}}\n\n";
    let messages =
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"x\"}}\n\n";
    let names = ["chat", "responses", "messages"];
    for (n, events) in [
        (0, &[chat][..]),
        (0, &[role, chat]),
        (1, &[failed]),
        (1, &[created, failed]),
        (1, &[created, warned]),
        (2, &[messages]),
        (2, &[start, messages]),
    ] {
        let (bad, better) = (Mock::new(sse(events.iter().map(|event| event.as_bytes()))), good());
        let gateway = Gateway::start(&config(&[(bad.port, names[n]), (better.port, "chat")], ""));
        let response = call(&gateway, n, true);
        assert_eq!(response.status, 200, "{events:?}: {}", response.body);
        assert!(!response.body.contains("error\":{") && bad.seen().len() == 1, "{}", response.body);
        assert_eq!(better.seen().len(), 1, "{events:?}");
    }
}

/// A provider that fails for as long as it is told to.
fn moody() -> (Mock, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(true));
    let mood = Arc::clone(&fails);
    let mock = Mock::scripted(move |seen, _| match mood.load(Ordering::SeqCst) {
        true => json(500, "", r#"{"error":{"message":"x"}}"#),
        false => json(200, "", PROTOCOLS[asked(seen)].2),
    });
    (mock, fails)
}

#[test]
fn a_target_that_keeps_failing_is_left_alone_until_it_is_back() {
    let (first, fails) = moody();
    let second = good();
    let gateway = Gateway::start(&config(&[(first.port, "chat"), (second.port, "chat")], ""));
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(call(&gateway, 0, false).status, 200);
    }
    let asked = first.seen().len();
    assert!(begun.elapsed() > Duration::from_secs(1) || asked == 5, "it was asked {asked} times");
    assert!((gateway.metric("crossmodel_target_open{model=\"v/model\",provider=\"p0\"}") - 1.0).abs() < 0.1);
    fails.store(false, Ordering::SeqCst);
    let back = || {
        assert_eq!(call(&gateway, 0, false).status, 200);
        first.seen().len() >= asked + 3
    };
    assert!(eventually(Duration::from_secs(5), back), "it is asked again");
    assert!(gateway.metric("crossmodel_target_open{model=\"v/model\",provider=\"p0\"}").abs() < 0.1);
}

#[test]
fn a_model_without_a_target_is_unavailable_and_says_for_how_long() {
    let (only, fails) = moody();
    let gateway = Gateway::start(&config(&[(only.port, "chat")], ""));
    for _ in 0..5 {
        assert_eq!(call(&gateway, 0, false).status, 502);
    }
    let refused = call(&gateway, 2, false);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(member(&refused.body, "error.type"), "overloaded_error");
    assert_eq!(only.seen().len(), 5);
    fails.store(false, Ordering::SeqCst);
    assert!(eventually(Duration::from_secs(5), || call(&gateway, 0, false).status == 200));
}

#[test]
fn what_is_the_clients_fault_takes_no_target_away() {
    let refusing = |status: u16| Mock::new(json(status, "", r#"{"error":{"message":"no such model"}}"#));
    for status in [400, 404, 422] {
        let mock = refusing(status);
        let gateway = Gateway::start(&config(&[(mock.port, "chat")], ""));
        for _ in 0..12 {
            assert_ne!(call(&gateway, 0, false).status, 503);
        }
        assert_eq!(mock.seen().len(), 12, "{status}");
    }
}

#[test]
fn the_calls_of_a_conversation_stay_together() {
    let (first, second) = (good(), good());
    let text =
        config(&[(first.port, "chat"), (second.port, "chat")], "").replace("priority: 1", "priority: 0");
    let gateway = Gateway::start(&text);
    let mut used = [false, false];
    for session in 0..16 {
        let (before, other) = (first.seen().len(), second.seen().len());
        for _ in 0..4 {
            let mut client = Client::connect(gateway.port);
            let request = request(PROTOCOLS[0].0, &gateway.key, PROTOCOLS[0].1);
            let hint = format!("\r\nx-session-id: s{session}\r\n");
            client.send(request.replacen("\r\n", &hint, 1).as_bytes());
            assert_eq!(client.receive().status, 200);
        }
        let (here, there) = (first.seen().len() - before, second.seen().len() - other);
        assert!(matches!((here, there), (4, 0) | (0, 4)), "{here} and {there}");
        used[usize::from(here == 0)] = true;
    }
    assert_eq!(used, [true, true], "other conversations go elsewhere");
}

#[test]
fn the_dearest_target_is_held_and_the_one_that_answers_is_charged() {
    let (bad, better) = (Mock::new(json(500, "", "{}")), good());
    let text = config(&[(bad.port, "chat"), (better.port, "messages")], "")
        .replace("priority: 0", "priority: 0, prices: [{input: 9000000, output: 9000000}]")
        .replace("priority: 1", "priority: 1, prices: [{input: 1000000, output: 2000000}]");
    let gateway = Gateway::start(&text);
    gateway.command(&["account", "top-up", "default", "1"]);
    for stream in [false, true] {
        assert_eq!(call(&gateway, 0, stream).status, 200);
    }
    let balance = || {
        let shown = gateway.command(&["account", "show", "default", "--json"]);
        member(&shown, "wallet.balance_usd")
    };
    // 3 tokens in and 2 out, twice.
    assert!(eventually(Duration::from_secs(2), || balance() == "0.999986"), "{}", balance());
    gateway.command(&["ledger", "audit"]);
}

#[test]
fn an_answer_that_costs_nothing_is_not_limited_by_the_price_that_it_has_elsewhere() {
    let (priced, free) = (Mock::new(json(500, "", "{}")), good());
    let text = config(&[(priced.port, "chat"), (free.port, "chat")], "")
        .replacen("protocols: [chat]", "protocols: [chat], breaker_failures: 1", 1)
        .replace("priority: 0", "priority: 0, prices: [{input: 1, output: 1}]");
    let gateway = Gateway::start(&text);
    gateway.command(&["account", "top-up", "default", "1"]);
    let limit = || member(&free.last().text(), "max_tokens");
    assert_eq!(call(&gateway, 0, false).status, 200);
    assert!(!limit().is_empty(), "money was set aside for the first target");
    // That one is left alone, for longer each time.
    let alone = || {
        let asked = priced.seen().len();
        call(&gateway, 0, false).status == 200 && priced.seen().len() == asked
    };
    assert!(eventually(Duration::from_secs(10), alone));
    assert_eq!(limit(), "");
}

#[test]
fn the_settings_say_after_which_failures_a_call_goes_on_and_to_how_many_targets() {
    let error = r#"{"error":{"message":"x","type":"server_error"}}"#;
    let (first, second, third) = (Mock::new(json(503, "", error)), Mock::new(json(503, "", error)), good());
    let targets = [(first.port, "chat"), (second.port, "chat"), (third.port, "chat")];
    let file = config(&targets, "");
    let own = |rules: &str| {
        file.replacen("protocols: [chat]}", &format!("protocols: [chat], retry: {{{rules}}}}}"), 1)
    };
    for (text, asked) in [
        (file.clone(), [1, 1, 1]),
        (format!("retry: {{targets: 2}}\n{file}"), [1, 1, 0]),
        (format!("retry: {{targets: 1}}\n{file}"), [1, 0, 0]),
        (format!("retry: {{on: [connect, timeout]}}\n{file}"), [1, 0, 0]),
        (format!("retry: {{budget: {{percent: 0, min: 1, window: 1h}}}}\n{file}"), [1, 1, 0]),
        (own("targets: 1"), [1, 0, 0]),
        (own("on: [rate_limited]"), [1, 0, 0]),
        (format!("retry: {{on: [connect]}}\n{}", own("on: [server]")), [1, 1, 0]),
    ] {
        let gateway = Gateway::start(&text);
        let status = call(&gateway, 0, false).status;
        assert_eq!(status == 200, asked[2] == 1, "{text}");
        assert_eq!([&first, &second, &third].map(|mock| mock.take().len()), asked, "{text}");
    }
}
