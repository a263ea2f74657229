//! The protocol in which a request goes to a provider that speaks several.

use crate::streams::STREAMS;
use crate::support::{Gateway, Mock, PROTOCOLS, config, json, member, post, sse};

/// A provider with all habits of OpenAI, and a model of this name there.
fn openai(port: u16, model: &str) -> String {
    config(port)
        .replace("[chat, responses, messages]", "[responses, chat]")
        .replace("{base_url", "{profile: {is_openai: true}, base_url")
        .replace("model: real-model", &format!("model: {model}"))
}

/// A provider that answers in the protocol that it is asked in.
fn answering() -> Mock {
    Mock::scripted(|seen, _| {
        let asked = PROTOCOLS.iter().position(|(path, _, _)| seen.request_line().contains(path)).unwrap();
        match seen.text().contains("\"stream\":true") {
            true => sse([STREAMS[asked].as_bytes()]),
            false => json(200, "", PROTOCOLS[asked].2),
        }
    })
}

const TOOLS: &str = r#","tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}}}}]"#;

#[test]
fn chat_requests_go_to_responses_where_the_model_takes_them_only_there() {
    for (model, more, goes) in [
        ("gpt-6-astra", TOOLS.to_owned(), true),
        ("gpt-5.6-luna", TOOLS.to_owned(), true),
        ("gpt-5.6-luna", format!(r#"{TOOLS},"reasoning_effort":"none""#), false),
        ("gpt-5.4", TOOLS.to_owned(), false),
        ("gpt-5.4", format!(r#"{TOOLS},"reasoning_effort":"low""#), true),
        ("gpt-5.4", format!(r#"{TOOLS},"reasoning":{{"effort":"low"}}"#), true),
        ("gpt-5.2", format!(r#"{TOOLS},"reasoning_effort":"high""#), false),
        ("gpt-6-astra", r#","tools":[ ],"reasoning_effort":"high""#.to_owned(), false),
        ("gpt-6-astra", format!(r#"{TOOLS},"n":2"#), false),
        ("gpt-6-astra", format!(r#"{TOOLS},"logprobs":true"#), false),
        ("gpt-6-astra", format!(r#"{TOOLS},"modalities":["text","audio"]"#), false),
        ("gpt-5.3-codex", String::new(), true),
        ("gpt-5.2", r#","web_search_options":{}"#.to_owned(), true),
        ("gpt-4o-search-preview", r#","web_search_options":{}"#.to_owned(), false),
    ] {
        let mock = answering();
        let gateway = Gateway::start(&openai(mock.port, model));
        let body = format!(r#"{{"model":"v/model","messages":[{{"role":"user","content":"hi"}}]{more}}}"#);
        let response = post(&gateway, "/v1/chat/completions", &body);
        let seen = mock.one();
        let what = format!("{model} {more}: {}", response.body);
        assert_eq!(response.status, 200, "{what}");
        assert_eq!(member(&response.body, "object"), "chat.completion", "{what}");
        let path = if goes { "/v1/responses" } else { "/v1/chat/completions" };
        assert_eq!(seen.request_line(), format!("POST {path} HTTP/1.1"), "{what}");
        if !goes {
            assert_eq!(seen.text(), body.replace("v/model", model), "{what}");
        }
    }
}

#[test]
fn a_function_of_chat_is_one_of_responses_with_its_own_strictness() {
    let mock = answering();
    let gateway = Gateway::start(&openai(mock.port, "gpt-5.4"));
    let body = format!(
        r#"{{"model":"v/model","messages":[{{"role":"user","content":"hi"}}]{TOOLS},"reasoning_effort":"low"}}"#
    );
    assert_eq!(post(&gateway, "/v1/chat/completions", &body).status, 200);
    let sent = mock.one().text();
    assert!(sent.contains(r#""tools":[{"type":"function","name":"f""#), "{sent}");
    assert!(sent.contains(r#""strict":false"#), "{sent}");
    assert!(sent.contains(r#""reasoning":{"effort":"low","summary":"auto"}"#), "{sent}");
    let streamed = post(&gateway, "/v1/chat/completions", &body.replacen('{', r#"{"stream":true,"#, 1));
    assert!(streamed.body.contains("chat.completion.chunk"), "{}", streamed.body);
    assert!(!streamed.body.contains("\"usage\":{"), "nobody has asked for it: {}", streamed.body);
}

#[test]
fn a_model_without_tools_in_chat_is_refused_at_a_provider_of_chat_alone() {
    let mock = answering();
    let config = openai(mock.port, "gpt-6.1-sol").replace("[responses, chat]", "[chat]");
    let gateway = Gateway::start(&config);
    let body = r#"{"model":"v/model","input":"hi","tools":[{"type":"function","name":"f"}]}"#;
    let refused = post(&gateway, "/v1/responses", body);
    assert_eq!((refused.status, refused.text("error.param").as_str()), (400, "tools"), "{}", refused.body);
    assert!(refused.text("error.message").contains("Responses"), "{}", refused.body);
    let chat = format!(r#"{{"model":"v/model","messages":[{{"role":"user","content":"hi"}}]{TOOLS}}}"#);
    assert_eq!(post(&gateway, "/v1/chat/completions", &chat).status, 200, "a relay is the provider's affair");
}

/// A provider of a preset at an address of its own.
fn preset(name: &str, port: u16) -> String {
    format!(
        "providers:\n  up: {{preset: {name}, base_url: \"http://127.0.0.1:{port}/v1\", key: \"env:UPSTREAM_KEY\", \
         breaker_failures: 0}}\nmodels:\n  - {{id: v/model, targets: [{{provider: up, model: real-model}}]}}\n"
    )
}

#[test]
fn a_protocol_without_an_endpoint_is_left_and_not_tried_again() {
    for (status, stream) in [(404, false), (405, false), (404, true)] {
        let mock = Mock::scripted(move |seen, _| match seen.request_line().contains("/chat/") {
            true if seen.text().contains("\"stream\":true") => sse([STREAMS[0].as_bytes()]),
            true => json(200, "", PROTOCOLS[0].2),
            false => json(status, "", r#"{"detail":"Not Found"}"#),
        });
        let gateway = Gateway::start(&preset("vllm", mock.port));
        let more = if stream { r#"{"stream":true,"# } else { "{" };
        let body = PROTOCOLS[2].1.replacen('{', more, 1);
        for _ in 0..2 {
            let response = post(&gateway, "/v1/messages", &body);
            assert_eq!((response.status, response.complete), (200, true), "{}", response.body);
        }
        let asked: Vec<_> = mock.seen().iter().map(|seen| seen.request_line().to_owned()).collect();
        let lines = ["/v1/messages", "/v1/chat/completions", "/v1/chat/completions"];
        assert_eq!(asked, lines.map(|path| format!("POST {path} HTTP/1.1")));
    }
}

#[test]
fn an_unknown_model_does_not_cost_a_protocol_its_endpoint() {
    let error = r#"{"error":{"message":"The model `real-model` does not exist.","type":"NotFoundError"}}"#;
    let mock = Mock::new(json(404, "", error));
    let gateway = Gateway::start(&preset("vllm", mock.port));
    for times in 1..3 {
        assert_eq!(post(&gateway, "/v1/messages", PROTOCOLS[2].1).status, 502);
        assert_eq!(mock.seen().len(), times, "nothing else is tried");
    }
    assert!(mock.seen().iter().all(|seen| seen.request_line().contains("/messages")));
}

#[test]
fn a_protocol_that_the_configuration_names_is_kept() {
    let mock = Mock::new(json(404, "", r#"{"detail":"Not Found"}"#));
    let config = preset("vllm", mock.port).replace("breaker_failures: 0", "protocols: [chat, messages]");
    let gateway = Gateway::start(&config);
    assert_ne!(post(&gateway, "/v1/messages", PROTOCOLS[2].1).status, 200);
    assert_eq!(mock.seen().len(), 1);
}

#[test]
fn clients_of_a_protocol_that_the_preset_lacks_go_by_its_first_one() {
    let mock = answering();
    let gateway = Gateway::start(&preset("xai", mock.port));
    assert_eq!(post(&gateway, "/v1/messages", PROTOCOLS[2].1).status, 200);
    assert_eq!(mock.one().request_line(), "POST /v1/responses HTTP/1.1");
}

#[test]
fn the_protocol_is_that_of_the_target_that_is_asked_when_an_earlier_one_is_passed_over() {
    let (first, second) = (answering(), answering());
    let provider = |name: &str, port: u16, more: &str| {
        format!("  {name}: {{base_url: \"http://127.0.0.1:{port}/v1\", key: \"env:UPSTREAM_KEY\", {more}}}\n")
    };
    let openai = "protocols: [responses, chat], profile: {is_openai: true}";
    let targets = "- {provider: plain, model: m, prices: [{input: 1, output: 1}]}\n    \
        - {provider: dear, model: gpt-5.3-codex, priority: 1, prices: [{input: 1, output: 1, rates: {priority: 200}}]}";
    let gateway = Gateway::start(&format!(
        "providers:\n{}{}models:\n- id: v/model\n  targets:\n    {targets}\n",
        provider("plain", first.port, "protocols: [chat]"),
        provider("dear", second.port, openai),
    ));
    gateway.command(&["account", "top-up", "default", "10"]);
    let body = PROTOCOLS[0].1.replacen('{', r#"{"service_tier":"priority","#, 1);
    assert_eq!(post(&gateway, PROTOCOLS[0].0, &body).status, 200);
    assert_eq!(second.one().request_line(), "POST /v1/responses HTTP/1.1");
    assert!(first.seen().is_empty());
}
