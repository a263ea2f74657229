//! The gateway's own keys, which providers repeat in what they say of failures: no client and no log sees them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::streams::streaming;
use crate::support::{Act, Gateway, Mock, PROTOCOLS, UPSTREAM_KEY, json, post, sse};

/// The key of a provider that is not asked, for instance of one behind the one that is.
const OTHER_KEY: &str = "AIzaSyOther-51c0ffee9d";

fn config(port: u16, speaks: &str) -> String {
    format!(
        "providers:\n  up: {{base_url: \"http://127.0.0.1:{port}/v1\", key: \"env:UPSTREAM_KEY\", breaker_failures: 0, protocols: [{speaks}]}}\n  \
         other: {{base_url: \"http://127.0.0.1:1/v1\", key: \"env:OTHER_KEY\", protocols: [chat]}}\n\
         models: [{{id: v/model, targets: [{{provider: up, model: real-model}}]}}]\n"
    )
}

/// Spellings of a key, as they stand in a JSON string.
fn spellings(key: &str) -> Vec<String> {
    let escaped: String = key.chars().map(|c| format!("\\u{:04X}", u32::from(c))).collect();
    vec![
        key.to_owned(),
        format!("sk-x{key}y"),
        format!("{}...", &key[..15]),
        format!("...{}", &key[3..]),
        key.to_uppercase(),
        escaped,
        STANDARD.encode(format!("user:{key}")),
    ]
}

/// Error bodies that hold a text in each of their members.
fn errors(text: &str) -> Vec<String> {
    vec![
        format!(
            r#"{{"error":{{"message":"Key {text} is bad","type":"invalid_request_error","param":null,"code":null}}}}"#
        ),
        format!(
            r#"{{"error":{{"message":"m","type":"invalid_request_error","param":"{text}","code":"{text}"}}}}"#
        ),
        format!(r#"{{"error":{{"message":"m","type":"{text}","param":null,"code":null}}}}"#),
        format!(
            r#"{{"error":{{"message":"m","type":"invalid_request_error","param":null,"code":null,"details":[{{"{text}":"{text}"}}]}},"more":"{text}"}}"#
        ),
        format!(
            r#"{{"type":"error","error":{{"type":"invalid_request_error","message":"Key {text}"}},"request_id":"{text}"}}"#
        ),
        format!(r#"{{"detail":[{{"loc":["{text}"],"msg":"{text}"}}]}}"#),
        format!(r#"{{"error":"{text}"}}"#),
        text.to_owned(),
    ]
}

/// Streams of each protocol that begin well, or not, and fail.
fn streams(n: usize, text: &str) -> Vec<String> {
    let error = |kind: &str| {
        format!(
            r#"{{"message":"Key {text}","type":"{kind}","code":"invalid_prompt","param":"{text}","x":"{text}"}}"#
        )
    };
    let begin = [
        "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word\"}}]}\n\n",
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"model\":\"m\"}}\n\n\
         event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"item_id\":\"i\",\"output_index\":0,\"content_index\":0,\"delta\":\"word\"}\n\n",
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"m\",\"usage\":{\"input_tokens\":3}}}\n\n\
         event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
         event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"word\"}}\n\n",
    ][n];
    // What another protocol says, or none.
    let mut foreign = vec![
        format!("data: {{\"error\":{}}}\n\n", error("server_error")),
        format!("event: odd\ndata: {{\"error\":\ndata: {}}}\n\n", error("server_error")),
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"error\",\"error\":{}}}]}}\n\n",
            error("server_error")
        ),
    ];
    if !text.contains('\\') {
        foreign.extend([
            format!("data: error {text}\n\n"),
            format!(": {text}\nevent: {text}\nid: {text}\ndata: {{}}\n\n"),
            format!(": {text}\n\n"),
            format!("{text}\n\n"),
        ]);
    }
    let ends = match n {
        0 => Vec::new(),
        1 => vec![
            format!(
                "event: error\ndata: {{\"type\":\"error\",\"code\":\"{text}\",\"message\":\"{text}\",\"param\":\"{text}\"}}\n\n"
            ),
            format!(
                "event: response.failed\ndata: {{\"type\":\"response.failed\",\"response\":{{\"id\":\"r\",\"model\":\"m\",\"status\":\"failed\",\"metadata\":{{\"k\":\"{text}\"}},\"error\":{}}},\"k\":\"{text}\"}}\n\n",
                error("invalid_request_error")
            ),
            format!(
                "event: response.failed\ndata: {{\"type\":\"response.failed\",\"response\":{{\"id\":\"r\",\"model\":\"m\",\"status\":\"failed\",\"error\":{{\"code\":\"{text}\",\"message\":\"Key {text}\"}}}}}}\n\n"
            ),
            format!(
                "event: response.failed\ndata: {{\"type\":\"response.failed\",\"response\":{{\"id\":\"r\",\"error\":null,\"note\":\"{text}\"}}}}\n\n"
            ),
        ],
        _ => vec![format!(
            "event: error\ndata: {{\"type\":\"error\",\"error\":{}}}\n\n",
            error("invalid_request_error")
        )],
    };
    ends.into_iter().chain(foreign).flat_map(|end| [format!("{begin}{end}"), end]).collect()
}

/// All answers of a provider of protocol `n` that repeat a text.
fn answers(n: usize, text: &str) -> Vec<(bool, Vec<Act>)> {
    let mut all = Vec::new();
    for (number, body) in errors(text).into_iter().enumerate() {
        let status = [400, 401, 402, 403, 404, 409, 413, 422, 429, 500, 503][number % 11];
        all.extend([status, 400, 404, 200].map(|status| (false, json(status, "", &body))));
        all.push((true, json(400, "", &body)));
    }
    all.extend(streams(n, text).into_iter().map(|stream| (true, sse([stream.as_bytes()]))));
    let header = |name: &str| (false, json(200, &format!("{name}: {text}\r\n"), PROTOCOLS[n].2));
    if !text.contains('\\') {
        all.extend(["x-request-id", "request-id"].map(header));
    }
    all
}

/// Pieces of the keys, any of which is too much.
fn pieces() -> Vec<String> {
    let all = |key: &str| {
        key.as_bytes().windows(12).map(|piece| String::from_utf8(piece.to_vec()).unwrap()).collect::<Vec<_>>()
    };
    [all(UPSTREAM_KEY), all(OTHER_KEY)].concat()
}

#[test]
fn no_key_of_the_gateways_gets_to_a_client_or_a_log() {
    let pieces = pieces();
    let leaks = |text: &str| {
        // As a client reads it, and as it stands there.
        let plain = text.to_lowercase();
        let coded =
            [UPSTREAM_KEY, OTHER_KEY].map(|key| STANDARD.encode(format!("user:{key}")).to_lowercase());
        pieces.iter().any(|piece| plain.contains(&piece.to_lowercase()))
            || coded.iter().any(|coded| plain.contains(coded))
            || plain.contains("\\u0073\\u006b\\u002d")
            || plain.contains("\\u0041\\u0049\\u007a")
    };
    for (n, speaks) in ["chat", "responses", "messages"].into_iter().enumerate() {
        let texts = spellings(UPSTREAM_KEY).into_iter().chain([OTHER_KEY.to_owned()]);
        let all: Vec<_> = texts.flat_map(|text| answers(n, &text)).collect();
        let script: Vec<_> = all.iter().map(|(_, acts)| acts.clone()).collect();
        let mock = Mock::scripted(move |_, number| script[number / 3].clone());
        let gateway = Gateway::start_with(&config(mock.port, speaks), &[], &[("OTHER_KEY", OTHER_KEY)]);
        for (number, (stream, acts)) in all.iter().enumerate() {
            for (client, (path, body, _)) in PROTOCOLS.iter().enumerate() {
                let body = if *stream { streaming(client) } else { (*body).to_owned() };
                let response = post(&gateway, path, &body);
                let told = format!("{response:?}");
                assert!(!leaks(&told), "{speaks} to {path}, {acts:?}: {told}");
                assert_eq!(mock.seen().len(), number * 3 + client + 1);
            }
        }
        let log = gateway.access_log(all.len() * 3).concat();
        assert!(!leaks(&log) && !leaks(&gateway.stderr()) && !leaks(&gateway.stdout()), "{log}");
    }
}

#[test]
fn what_is_no_key_is_told_as_the_provider_says_it() {
    let body = r#"{"error":{"message":"The word stream-cana is \"quoted\" \u00e9, as is upstream.","type":"invalid_request_error","param":"input[0]","code":"bad_thing","more":[1.50]}}"#;
    let mock = Mock::new(json(400, "x-request-id: req_1\r\n", body));
    let gateway = Gateway::start_with(&config(mock.port, "chat"), &[], &[("OTHER_KEY", OTHER_KEY)]);
    let response = post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1);
    assert_eq!((response.status, response.body.as_str()), (400, body));
    assert_eq!(response.header("x-upstream-request-id"), Some("req_1"));
}
