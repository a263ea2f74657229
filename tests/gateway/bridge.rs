//! Calls whose provider speaks another protocol, end to end. What each member becomes is tested elsewhere; here
//! it is about connections, statuses, and the time at which things are said.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::{
    Act, Client, Gate, Gateway, Mock, PROTOCOLS, Response, ask, chunk, config_with, eventually, json, open,
    post, request,
};

/// Path, body and a text in the answer for each kind of client.
const CLIENTS: [(&str, &str); 3] = [
    ("/v1/chat/completions", r#"{"model":"MODEL","messages":[{"role":"user","content":"SAID"}]"#),
    ("/v1/responses", r#"{"model":"MODEL","input":"SAID""#),
    ("/v1/messages", r#"{"model":"MODEL","max_tokens":4096,"messages":[{"role":"user","content":"SAID"}]"#),
];

fn ask_with(gateway: &Gateway, client: usize, model: &str, said: &str, more: &str) -> Response {
    let (path, body) = CLIENTS[client];
    post(gateway, path, &format!("{}{more}}}", body.replace("MODEL", model).replace("SAID", said)))
}

/// A gateway in front of one provider that speaks Chat only.
fn in_front_of(mock: &Mock) -> Gateway {
    let port = mock.port;
    Gateway::start(&format!(
        "providers: {{up: {{base_url: \"http://127.0.0.1:{port}\", key: \"env:UPSTREAM_KEY\", breaker_failures: 0, protocols: [chat]}}}}\n\
         models: [{{id: v/model, targets: [{{provider: up, model: real-model}}]}}]\n"
    ))
}

/// One word of a Chat stream.
fn word(text: &str) -> Act {
    let choices = format!(r#"[{{"index":0,"delta":{{"content":"{text}"}}}}]"#);
    chunk(format!("data: {{\"id\":\"c1\",\"choices\":{choices}}}\n\n").as_bytes())
}

/// The end of a Chat stream.
fn last_words() -> [Act; 2] {
    let end =
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    [chunk(end.as_bytes()), Act::Send(b"0\r\n\r\n".to_vec())]
}

#[test]
fn all_nine_paths_answer_unary_and_streamed() {
    let gateway = Gateway::start("providers: {demo: {}}\n");
    for (client, (path, _)) in CLIENTS.iter().enumerate() {
        for model in ["demo/chat", "demo/responses", "demo/messages"] {
            for stream in ["", ",\"stream\":true"] {
                let response = ask_with(&gateway, client, model, "hi there", stream);
                let pair = format!("{path} {model} {stream}");
                assert_eq!(response.status, 200, "{pair}: {}", response.body);
                assert!(response.complete, "{pair}");
                assert!(
                    response.body.contains(&format!("\"model\":\"{model}\"")),
                    "{pair}: {}",
                    response.body
                );
                assert!(!response.body.contains("-2026-01-01"), "{pair}: the provider's name shows");
                for word in ["You ", "said: ", "there"] {
                    assert!(response.body.contains(word), "{pair}: {}", response.body);
                }
                assert_eq!(response.header("x-crossmodel-model"), Some(model), "{pair}");
            }
        }
    }
    let log = gateway.access_log(18);
    let count =
        |route: &str| log.iter().filter(|line| line.contains(&format!("\"route\":\"{route}\""))).count();
    assert_eq!((count("relay"), count("translation")), (6, 12));
    assert!(log.iter().all(|line| line.contains("\"prompt_tokens\":")), "{log:?}");
}

#[test]
fn credentials_are_the_providers_and_nothing_of_the_client_goes_on() {
    let mock =
        Mock::new(json(200, "", r#"{"choices":[{"message":{"content":"ok"},"finish_reason":"stop"}]}"#));
    let gateway = in_front_of(&mock);
    let response = ask_with(&gateway, 2, "v/model", "hi", ",\"top_k\":5,\"metadata\":{\"user_id\":\"u\"}");
    assert_eq!(response.status, 200, "{}", response.body);
    let seen = mock.one();
    assert!(seen.request_line().starts_with("POST /v1/chat/completions HTTP"), "{}", seen.head);
    assert_eq!(seen.header("authorization"), Some("Bearer sk-upstream-canary"));
    assert!(!seen.head.contains(&gateway.key) && seen.header("anthropic-version").is_none(), "{}", seen.head);
    assert!(seen.text().contains(r#""model":"real-model""#), "{}", seen.text());
}

#[test]
fn the_profile_names_the_version_and_adds_members() {
    let mock = Mock::new(json(200, "", PROTOCOLS[2].2));
    let profile = ", profile: {anthropic_version: 2026-10-21, extra_body: {max_tokens: 1, a: {b: [1, x]}}}";
    let gateway = Gateway::start(&config_with(mock.port, profile).replace("chat, responses, ", ""));
    let response = ask_with(&gateway, 0, "v/model", "hi", ",\"max_tokens\":7,\"temperature\":0.5");
    assert_eq!(response.status, 200, "{}", response.body);
    assert_eq!(response.header("x-crossmodel-dropped"), Some("temperature"));
    let seen = mock.one();
    assert_eq!(seen.header("anthropic-version"), Some("2026-10-21"));
    assert!(seen.text().contains(r#""max_tokens":7"#), "{}", seen.text());
    assert!(seen.text().ends_with(r#","a":{"b":[1,"x"]}}"#), "{}", seen.text());
}

#[test]
fn losses_are_listed_and_refused_on_demand() {
    let gateway = Gateway::start("providers: {demo: {}}\n");
    let response = ask_with(&gateway, 0, "demo/messages", "hi", ",\"seed\":7,\"logit_bias\":{\"1\":2}");
    assert_eq!(response.header("x-crossmodel-dropped"), Some("seed, logit_bias"));
    let none = ask_with(&gateway, 0, "demo/messages", "hi", ",\"n\":1");
    assert_eq!(none.header("x-crossmodel-dropped"), None);
    let body = r#"{"model":"demo/messages","messages":[{"role":"user","content":"x"}],"seed":7}"#;
    let strict = request("/v1/chat/completions", &gateway.key, body)
        .replace("\r\n\r\n", "\r\nx-crossmodel-strict: 1\r\n\r\n");
    let mut client = Client::connect(gateway.port);
    client.send(strict.as_bytes());
    let refused = client.receive();
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains(r#""param":"seed","code":"unsupported_parameter""#), "{}", refused.body);
    let log = gateway.access_log(3);
    assert!(log[0].contains("\"dropped\":\"seed, logit_bias\"") && !log[1].contains("dropped"), "{log:?}");
    let metrics = ask(gateway.admin, "GET", "/metrics", "").body;
    let counted = "crossmodel_losses_total{client=\"chat\",upstream=\"messages\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn what_can_not_be_shown_is_named_by_its_place() {
    let gateway = Gateway::start("providers: {demo: {}}\n");
    let svg = "data:image/svg+xml;base64,PHN2Zz4=";
    let speech = r#"{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}}"#;
    for (client, part, param) in [
        (
            0,
            format!(r#"{{"type":"image_url","image_url":{{"url":"{svg}"}}}}"#),
            "messages[0].content[0].image_url",
        ),
        (0, speech.to_owned(), "messages[0].content[0].input_audio"),
        (1, format!(r#"{{"type":"input_image","image_url":"{svg}"}}"#), "input[0].content[0].image_url"),
        (1, speech.to_owned(), "input[0].content[0].input_audio"),
    ] {
        let (path, _) = CLIENTS[client];
        let member = if client == 0 { "messages" } else { "input" };
        let body =
            format!(r#"{{"model":"demo/messages","{member}":[{{"role":"user","content":[{part}]}}]}}"#);
        let refused = post(&gateway, path, &body);
        assert_eq!(refused.status, 400, "{}", refused.body);
        assert!(refused.body.contains(&format!(r#""param":"{param}""#)), "{}", refused.body);
    }
}

#[test]
fn a_failure_before_the_first_word_is_a_status() {
    let gateway = Gateway::start("providers: {demo: {}}\n");
    for (client, (path, _)) in CLIENTS.iter().enumerate() {
        for model in ["demo/chat", "demo/responses", "demo/messages"] {
            for stream in ["", ",\"stream\":true"] {
                let overloaded = "[demo:error-first][demo:code=overloaded_error]";
                let response = ask_with(&gateway, client, model, overloaded, stream);
                let pair = format!("{} {model} {stream}: {}", path, response.body);
                assert_eq!(response.status, 503, "{pair}");
                assert!(response.header("retry-after").is_some(), "{pair}");
                let limited = ask_with(&gateway, client, model, "[demo:status=429]", stream);
                assert_eq!((limited.status, limited.header("retry-after")), (429, Some("7")), "{pair}");
                let secret = ask_with(&gateway, client, model, "[demo:status=401]", stream);
                assert_eq!(secret.status, 502, "{pair}");
            }
        }
    }
}

#[test]
fn a_stream_that_is_cut_never_ends_like_a_good_one() {
    let gateway = Gateway::start("providers: {demo: {}}\n");
    let ends = ["[DONE]", "response.completed", "message_stop"];
    let fails = ["\"error\":{", "response.failed", "event: error"];
    for (client, (path, _)) in CLIENTS.iter().enumerate() {
        for model in ["demo/chat", "demo/responses", "demo/messages"] {
            for fault in ["[demo:cut=3]", "[demo:end=3]", "[demo:error=3]"] {
                let response = ask_with(&gateway, client, model, fault, ",\"stream\":true");
                let pair = format!("{} {model} {fault}: {}", path, response.body);
                assert_eq!(response.status, 200, "{pair}");
                assert!(response.complete && response.body.contains(fails[client]), "{pair}");
                assert!(!response.body.contains(ends[client]), "{pair}");
            }
            let unary = ask_with(&gateway, client, model, "[demo:cut=30]", "");
            assert_eq!(unary.status, 502, "{}", unary.body);
        }
    }
}

#[test]
fn words_are_passed_on_as_they_come() {
    let gate = Gate::new();
    let script =
        [open([]), vec![word("one"), Act::Await(Arc::clone(&gate)), word("two")], last_words().into()]
            .concat();
    let gateway = in_front_of(&Mock::new(script));
    let mut client = Client::connect(gateway.port);
    let (path, body) = CLIENTS[2];
    let body = format!("{},\"stream\":true}}", body.replace("MODEL", "v/model").replace("SAID", "hi"));
    client.send(request(path, &gateway.key, &body).as_bytes());
    assert_eq!(client.head().0, 200);
    let mut first = String::new();
    while !first.contains("one") {
        first.push_str(&String::from_utf8(client.chunk().unwrap()).unwrap());
    }
    assert!(first.contains("message_start") && !first.contains("two"), "{first}");
    gate.open();
    let mut rest = String::new();
    while let Some(chunk) = client.chunk().filter(|chunk| !chunk.is_empty()) {
        rest.push_str(&String::from_utf8(chunk).unwrap());
    }
    assert!(
        rest.contains("two") && rest.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"),
        "{rest}"
    );
}

#[test]
fn a_client_that_goes_takes_the_providers_connection_with_it() {
    for first in [Vec::new(), [open([]), vec![word("one")]].concat()] {
        let waits = first.is_empty();
        let mock = Mock::new([first, vec![Act::Hold]].concat());
        let gateway = in_front_of(&mock);
        let (path, body) = CLIENTS[2];
        let body = format!("{},\"stream\":true}}", body.replace("MODEL", "v/model").replace("SAID", "hi"));
        let mut client = Client::connect(gateway.port);
        client.send(request(path, &gateway.key, &body).as_bytes());
        assert!(eventually(Duration::from_secs(5), || mock.seen().len() == 1));
        if !waits {
            assert_eq!(client.head().0, 200);
        }
        drop(client);
        assert!(eventually(Duration::from_secs(5), || mock.left() == 1), "waits: {waits}");
        let log = gateway.access_log(1);
        assert!(log[0].contains("\"client_gone\":true"), "{log:?}");
    }
}

#[test]
fn connections_to_providers_are_used_again_and_stale_ones_replaced() {
    let answer = r#"{"choices":[{"message":{"content":"ok"},"finish_reason":"stop"}]}"#;
    let mock = Mock::scripted(move |_, number| {
        let mut acts = json(200, "", answer);
        if number % 3 == 2 {
            acts.push(Act::Close);
        }
        acts
    });
    let gateway = in_front_of(&mock);
    for _ in 0..9 {
        assert_eq!(ask_with(&gateway, 2, "v/model", "hi", "").status, 200);
    }
    assert_eq!(mock.seen().len(), 9);
    // On a busy machine one or the other is not back in time.
    assert!(mock.connections() <= 6, "{} connections", mock.connections());
}

#[test]
fn a_client_that_wants_a_stream_gets_one_from_a_provider_that_does_not() {
    let answer = r#"{"id":"chatcmpl-1","choices":[{"message":{"content":"whole"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    let gateway = in_front_of(&Mock::new(json(200, "", answer)));
    let response = ask_with(&gateway, 2, "v/model", "hi", ",\"stream\":true");
    assert!(
        response.body.contains("\"text\":\"whole\"") && response.body.contains("message_stop"),
        "{}",
        response.body
    );
    let events = Mock::new([open([]), vec![word("bits")], last_words().into()].concat());
    let gateway = in_front_of(&events);
    let response = ask_with(&gateway, 2, "v/model", "hi", "");
    assert!(response.body.starts_with('{') && response.body.contains("bits"), "{}", response.body);
}

#[test]
fn tokens_are_counted_or_estimated() {
    let gateway = Gateway::start("providers: {demo: {}}\n");
    let messages = r#"{"model":"MODEL","messages":[{"role":"user","content":"12345678"}]}"#;
    let responses = r#"{"model":"MODEL","input":"12345678"}"#;
    for (path, body, model, estimated) in [
        ("/v1/messages/count_tokens", messages, "demo/chat", true),
        ("/v1/messages/count_tokens", messages, "demo/responses", false),
        ("/v1/responses/input_tokens", responses, "demo/chat", true),
        ("/v1/responses/input_tokens", responses, "demo/messages", false),
    ] {
        let response = post(&gateway, path, &body.replace("MODEL", model));
        assert_eq!(response.status, 200, "{path} {model}: {}", response.body);
        assert_eq!(response.header("x-crossmodel-estimated"), estimated.then_some("true"), "{path} {model}");
        assert!(response.body.contains("\"input_tokens\":"), "{}", response.body);
        if estimated {
            assert!(response.body.ends_with("\"input_tokens\":2}"), "{}", response.body);
        }
    }
}

#[test]
fn a_silent_provider_is_waited_for_with_the_head_sent() {
    let gate = Gate::new();
    let role = br#"data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#;
    let begin = open([[role, b"\n\n".as_slice()].concat().as_slice()]);
    let script = [begin, vec![Act::Await(Arc::clone(&gate)), word("late")], last_words().into()].concat();
    let gateway = in_front_of(&Mock::new(script));
    let mut client = Client::connect(gateway.port);
    let (path, body) = CLIENTS[1];
    let body = format!("{},\"stream\":true}}", body.replace("MODEL", "v/model").replace("SAID", "hi"));
    let start = Instant::now();
    client.send(request(path, &gateway.key, &body).as_bytes());
    assert_eq!(client.head().0, 200);
    // Soon after the first sign of life, and long before the first word.
    assert!(start.elapsed() < Duration::from_secs(4));
    gate.open();
    let mut all = String::new();
    while let Some(chunk) = client.chunk().filter(|chunk| !chunk.is_empty()) {
        all.push_str(&String::from_utf8(chunk).unwrap());
    }
    assert!(
        all.contains("response.created") && all.contains("late") && all.contains("response.completed"),
        "{all}"
    );
}
