//! Gemini clients and Gemini providers, end to end.

use crate::support::{Gateway, Mock, Response, get, json, post, sse};

/// A gateway in front of one provider that speaks these protocols.
fn in_front_of(mock: &Mock, protocols: &str) -> Gateway {
    let port = mock.port;
    Gateway::start(&format!(
        "providers: {{up: {{base_url: \"http://127.0.0.1:{port}/v1beta\", key: \"env:UPSTREAM_KEY\", breaker_failures: 0, protocols: [{protocols}], profile: {{call_state_required: true}}}}}}\n\
         models: [{{id: v/model, targets: [{{provider: up, model: gemini-3-flash-preview}}]}}]\n"
    ))
}

fn contents(said: &str) -> String {
    format!(r#"{{ "contents":[{{"role":"user","parts":[{{"text":"{said}"}}]}}] }}"#)
}

/// A stream of one event.
pub(crate) fn event() -> String {
    format!("data: {WHOLE}\n\n")
}

pub(crate) const WHOLE: &str = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"Hello"}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":2,"totalTokenCount":9},"modelVersion":"gemini-3-flash-preview","responseId":"r"}"#;

const CHAT: (&str, &str) =
    ("/v1/chat/completions", r#"{"model":"v/model","messages":[{"role":"user","content":"hi"}]"#);

fn is_ok(response: &Response) {
    assert_eq!(response.status, 200, "{}", response.body);
}

#[test]
fn a_provider_is_called_by_the_path_of_its_model() {
    let mock = Mock::new(json(200, "", WHOLE));
    let gateway = in_front_of(&mock, "gemini");
    let response = post(&gateway, CHAT.0, &format!("{}}}", CHAT.1));
    is_ok(&response);
    assert!(response.body.contains(r#""content":"Hello""#) && response.body.contains(r#""model":"v/model""#));
    let seen = mock.one();
    let line = "POST /v1beta/models/gemini-3-flash-preview:generateContent HTTP";
    assert!(seen.request_line().starts_with(line), "{}", seen.head);
    assert_eq!(seen.header("x-goog-api-key"), Some("sk-upstream-canary"));
    assert!(seen.header("authorization").is_none());
    assert_eq!(seen.text(), r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#);
    let log = gateway.access_log(1);
    assert!(
        log[0].contains(r#""prompt_tokens":7"#) && log[0].contains(r#""completion_tokens":2"#),
        "{log:?}"
    );
}

#[test]
fn a_stream_is_asked_for_as_events() {
    let mock = Mock::new(sse([event().as_bytes()]));
    let gateway = in_front_of(&mock, "gemini");
    let response = post(&gateway, CHAT.0, &format!("{},\"stream\":true}}", CHAT.1));
    is_ok(&response);
    assert!(response.body.contains(r#""content":"Hello""#) && response.body.ends_with("data: [DONE]\n\n"));
    let line = "POST /v1beta/models/gemini-3-flash-preview:streamGenerateContent?alt=sse HTTP";
    assert!(mock.one().request_line().starts_with(line));
}

#[test]
fn a_relay_changes_nothing_but_the_models_name() {
    let mock = Mock::new(json(200, "", WHOLE));
    let gateway = in_front_of(&mock, "gemini");
    let body = contents("hi");
    for path in [
        "/v1beta/models/v/model:generateContent",
        "/v1/models/v%2Fmodel:generateContent?key=other",
        "/v1beta/v/model:generateContent",
        "/v1beta1/publishers/v/models/model:generateContent",
    ] {
        let response = post(&gateway, path, &body);
        is_ok(&response);
        assert_eq!(response.body, WHOLE.replace("gemini-3-flash-preview", "v/model"));
        let seen = mock.last();
        assert_eq!(seen.text(), body, "{path}");
        let line = "POST /v1beta/models/gemini-3-flash-preview:generateContent HTTP";
        assert!(seen.request_line().starts_with(line), "{}", seen.head);
    }
    let log = gateway.access_log(4);
    assert!(
        log.iter().all(|line| line.contains(r#""route":"relay""#) && line.contains(r#""prompt_tokens":7"#))
    );
}

#[test]
fn a_relayed_stream_keeps_its_events() {
    let first = r#"data: {"candidates": [{"content": {"parts": [{"text": "Hel"}]}}],"modelVersion": "gemini-3-flash-preview"}"#;
    let events = format!("{first}\r\n\r\ndata: {WHOLE}\r\n\r\n");
    let mock = Mock::new(sse([events.as_bytes()]));
    let gateway = in_front_of(&mock, "gemini");
    let path = "/v1beta/models/v/model:streamGenerateContent?alt=sse";
    let response = post(&gateway, path, &contents("hi"));
    is_ok(&response);
    assert_eq!(response.body, events.replace("gemini-3-flash-preview", "v/model"));
    assert!(response.complete);
    let refused = post(&gateway, "/v1beta/models/v/model:streamGenerateContent", &contents("hi"));
    assert!(refused.status == 400 && refused.body.contains("?alt=sse"), "{}", refused.body);
}

#[test]
fn a_client_is_answered_by_providers_of_other_protocols() {
    let gateway = Gateway::start("providers: {demo: {}}\n");
    for model in ["demo/chat", "demo/responses", "demo/messages"] {
        let whole = post(&gateway, &format!("/v1beta/models/{model}:generateContent"), &contents("hi there"));
        is_ok(&whole);
        assert!(
            whole.text("candidates.0.content.parts.0.text").contains("You said: hi there"),
            "{}",
            whole.body
        );
        assert_eq!(whole.text("candidates.0.finishReason"), "STOP");
        assert_eq!(whole.text("modelVersion"), model);
        let path = format!("/v1beta/models/{model}:streamGenerateContent?alt=sse");
        let stream = post(&gateway, &path, &contents("hi there"));
        is_ok(&stream);
        assert!(stream.complete && stream.body.starts_with("data: {\"candidates\":["), "{}", stream.body);
        assert_eq!(stream.body.matches("\"finishReason\":\"STOP\"").count(), 1, "{}", stream.body);
        let counted = post(&gateway, &format!("/v1beta/models/{model}:countTokens"), &contents("hi there"));
        is_ok(&counted);
        assert!(
            counted.text("totalTokens").parse::<u64>().is_ok_and(|tokens| tokens > 0),
            "{}",
            counted.body
        );
    }
}

#[test]
fn tokens_are_counted_by_the_provider() {
    let mock = Mock::new(json(200, "", r#"{"totalTokens":31}"#));
    let gateway = in_front_of(&mock, "gemini");
    let body = r#"{"model":"v/model","system":"S","messages":[{"role":"user","content":"hi"}]}"#;
    let response = post(&gateway, "/v1/messages/count_tokens", body);
    assert_eq!(response.body, r#"{"input_tokens":31}"#);
    let seen = mock.last();
    assert!(seen.request_line().starts_with("POST /v1beta/models/gemini-3-flash-preview:countTokens HTTP"));
    let prefix = r#"{"generateContentRequest":{"model":"models/gemini-3-flash-preview","systemInstruction""#;
    assert!(seen.text().starts_with(prefix), "{}", seen.text());
    let response = post(&gateway, "/v1beta/models/v/model:countTokens", &contents("hi"));
    assert_eq!(response.body, r#"{"totalTokens":31}"#);
    assert_eq!(mock.last().text(), contents("hi"));
}

#[test]
fn keys_come_in_a_header_and_errors_in_googles_form() {
    let gateway = Gateway::start("providers: {demo: {}}\n");
    let key = format!("x-goog-api-key: {}\r\n", gateway.key);
    let path = "/v1beta/models/demo/chat:generateContent";
    let body = contents("hi");
    let ask = |path: &str, headers: &str| {
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: g\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
        let mut client = crate::support::Client::connect(gateway.port);
        client.send(head.as_bytes());
        client.receive()
    };
    is_ok(&ask(path, &key));
    let refused = ask(&format!("{path}?key={}", gateway.key), "");
    assert_eq!((refused.status, refused.text("error.status").as_str()), (401, "UNAUTHENTICATED"));
    assert!(refused.body.contains("x-goog-api-key"), "{}", refused.body);
    let unknown = ask("/v1beta/models/x:embedContent", &key);
    assert_eq!((unknown.status, unknown.text("error.status").as_str()), (404, "NOT_FOUND"));
    let missing = ask("/v1beta/models/no/model:generateContent", &key);
    assert_eq!((missing.status, missing.text("error.details.0.reason").as_str()), (404, "MODEL_NOT_FOUND"));
    assert_eq!(get(gateway.port, path, &key).status, 405);
    assert!(!gateway.stdout().contains(&gateway.key));
}

#[test]
fn models_are_listed_in_googles_form() {
    let gateway = Gateway::start("providers: {demo: {}}\n");
    let key = format!("x-goog-api-key: {}\r\n", gateway.key);
    let list = get(gateway.port, "/v1/models?pageSize=2", &key);
    is_ok(&list);
    assert_eq!(list.text("models.0.name"), "models/demo/chat");
    assert_eq!(list.text("models.0.supportedGenerationMethods.0"), "generateContent");
    let token = list.text("nextPageToken");
    let rest = get(gateway.port, &format!("/v1beta/models?pageToken={token}"), &key);
    assert_eq!(rest.text("models.0.name"), "models/demo/messages");
    let one = get(gateway.port, "/v1beta/models/demo/chat", &key);
    assert_eq!(one.text("name"), "models/demo/chat");
    let bearer = format!("authorization: Bearer {}\r\n", gateway.key);
    assert_eq!(get(gateway.port, "/v1/models", &bearer).text("object"), "list");
    assert_eq!(get(gateway.port, "/v1beta/models?pageSize=0", &key).text("error.status"), "INVALID_ARGUMENT");
}

#[test]
fn a_limit_of_the_balance_stands_inside_of_the_configuration() {
    let mock = Mock::new(json(200, "", WHOLE));
    let port = mock.port;
    let gateway = Gateway::start(&format!(
        "providers: {{up: {{base_url: \"http://127.0.0.1:{port}/v1beta\", key: \"env:UPSTREAM_KEY\", protocols: [gemini]}}}}\n\
         models: [{{id: v/model, max_output: 1000, prices: [{{input: 1, output: 1000}}], targets: [{{provider: up, model: m}}]}}]\n"
    ));
    gateway.command(&["account", "top-up", "default", "0.5"]);
    let body = r#"{"contents":[{"parts":[{"text":"hi"}]}],"generationConfig":{"temperature":1}}"#;
    let response = post(&gateway, "/v1beta/models/v/model:generateContent", body);
    is_ok(&response);
    let sent = mock.one().text();
    assert!(sent.contains(r#""generationConfig":{"maxOutputTokens":"#), "{sent}");
}

#[test]
fn signatures_come_back_byte_for_byte_through_another_protocol() {
    let signed = WHOLE.replace(
        r#"{"text":"Hello"}"#,
        r#"{"text":"T","thought":true},{"functionCall":{"id":"c1","name":"f","args":{"a":1}},"thoughtSignature":"U2ln+/=="}"#,
    );
    let mock = Mock::new(json(200, "", &signed));
    let gateway = in_front_of(&mock, "gemini");
    let tools = r#""max_tokens":2000,"tools":[{"name":"f","input_schema":{"type":"object"}}]"#;
    let ask = |messages: &str| {
        post(&gateway, "/v1/messages", &format!(r#"{{"model":"v/model",{tools},"messages":[{messages}]}}"#))
    };
    let user = r#"{"role":"user","content":"hi"}"#;
    let first = ask(user);
    is_ok(&first);
    let content =
        first.body.split_once(r#""content":"#).and_then(|(_, rest)| rest.split_once(r#","stop_reason""#));
    let content = content.map(|(content, _)| content).unwrap_or_default();
    let result = r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"ok"}]}"#;
    is_ok(&ask(&format!(r#"{user},{{"role":"assistant","content":{content}}},{result}"#)));
    let sent = mock.last().text();
    let call = r#"{"functionCall":{"id":"c1","name":"f","args":{"a":1}},"thoughtSignature":"U2ln+/=="}"#;
    assert!(sent.contains(call), "{sent}");
    assert!(!sent.contains("\"thought\":true"), "{sent}");
}

#[test]
fn thinking_of_another_provider_comes_back_from_a_client_that_keeps_signatures_only() {
    let answer = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[{"type":"thinking","thinking":"T","signature":"S+/=="},{"type":"tool_use","id":"toolu_1","name":"f","input":{"a":1}}],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":2}}"#;
    let mock = Mock::new(json(200, "", answer));
    let gateway = in_front_of(&mock, "messages");
    let tools = r#""tools":[{"functionDeclarations":[{"name":"f"}]}]"#;
    let ask = |contents: &str| {
        let body = format!(r#"{{"contents":[{contents}],{tools}}}"#);
        post(&gateway, "/v1beta/models/v/model:generateContent", &body)
    };
    let user = r#"{"role":"user","parts":[{"text":"hi"}]}"#;
    let first = ask(user);
    is_ok(&first);
    let signature = first.text("candidates.0.content.parts.0.thoughtSignature");
    let result = r#"{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"result":"ok"}}}]}"#;
    let in_urls = signature.replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned();
    for signature in [signature, in_urls] {
        let call = format!(
            r#"{{"role":"model","parts":[{{"functionCall":{{"id":"toolu_1","name":"f","args":{{"a":1}}}},"thought_signature":"{signature}"}}]}}"#
        );
        is_ok(&ask(&format!("{user},{call},{result}")));
        let sent = mock.last().text();
        let thinking =
            r#"[{"type":"thinking","thinking":"T","signature":"S+/=="},{"type":"tool_use","id":"toolu_1""#;
        assert!(sent.contains(thinking), "{sent}");
    }
}

#[test]
fn a_relay_replaces_the_state_of_other_providers() {
    let mock = Mock::new(json(200, "", WHOLE));
    let gateway = in_front_of(&mock, "gemini");
    let user = r#"{"role":"user","parts":[{"text":"hi"}]}"#;
    let parts = r#"{"text":"a","thoughtSignature":"Y20yLkFB"},{"functionCall":{"id":"c","name":"f","args":{}},"thoughtSignature":"Y20yLkFB"}"#;
    let result = r#"{"role":"user","parts":[{"functionResponse":{"id":"c","name":"f","response":{}}}]}"#;
    let body = format!(r#"{{"contents":[{user},{{"role":"model","parts":[{parts}]}},{result}]}}"#);
    is_ok(&post(&gateway, "/v1beta/models/v/model:generateContent", &body));
    let signature = r#","thoughtSignature":"Y20yLkFB""#;
    let expected = body.replacen(signature, "", 1).replace("Y20yLkFB", "skip_thought_signature_validator");
    assert_eq!(mock.one().text(), expected);
}

#[test]
fn state_of_the_provider_is_refused_in_a_relay_too() {
    let mock = Mock::new(json(200, "", WHOLE));
    let gateway = in_front_of(&mock, "gemini");
    let file =
        r#"{"contents":[{"parts":[{"fileData":{"fileUri":"gs://bucket/x.png","mimeType":"image/png"}}]}]}"#;
    let stored = r#"{"contents":[{"parts":[{"file_data":{"file_uri":"https://generativelanguage.googleapis.com/v1beta/files/x"}}]}]}"#;
    let cached = r#"{"contents":[{"parts":[{"text":"hi"}]}],"cachedContent":"cachedContents/c"}"#;
    for body in [file, stored, cached] {
        let refused = post(&gateway, "/v1beta/models/v/model:generateContent", body);
        assert_eq!(
            (refused.status, refused.text("error.status").as_str()),
            (400, "INVALID_ARGUMENT"),
            "{body}"
        );
    }
    assert!(mock.seen().is_empty());
}

#[test]
fn a_providers_delay_is_told_in_both_places() {
    let busy = r#"{"error":{"code":429,"message":"Slow down.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.4s"}]}}"#;
    let mock = Mock::new(json(429, "", busy));
    let gateway = in_front_of(&mock, "gemini");
    let response = post(&gateway, "/v1beta/models/v/model:generateContent", &contents("hi"));
    assert_eq!((response.status, response.header("retry-after")), (429, Some("35")));
    assert!(response.body.contains(r#""retryDelay":"35s""#), "{}", response.body);
}
