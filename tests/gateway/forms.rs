//! Providers that answer in another form than they were asked for: with a whole answer where a stream was wanted, or
//! the reverse. Between equal protocols that is no relay any more; the client gets what it wants.

use crate::patience::{BEGUN, ENDED};
use crate::streams::streaming;
use crate::support::{Gateway, Mock, PROTOCOLS, config_with, json, member, post, sse};

/// Whole answers with 300 tokens in and 200 out.
const WHOLE: [&str; 3] = [
    r#"{"id":"c","object":"chat.completion","model":"real-model","choices":[{"index":0,"message":{"role":"assistant","content":"word"},"finish_reason":"stop"}],"usage":{"prompt_tokens":300,"completion_tokens":200,"total_tokens":500}}"#,
    r#"{"id":"resp_1","object":"response","status":"completed","model":"real-model","output":[{"type":"message","id":"i","role":"assistant","status":"completed","content":[{"type":"output_text","text":"word","annotations":[]}]}],"usage":{"input_tokens":300,"output_tokens":200,"total_tokens":500}}"#,
    r#"{"id":"msg_1","type":"message","role":"assistant","model":"real-model","content":[{"type":"text","text":"word"}],"stop_reason":"end_turn","usage":{"input_tokens":300,"output_tokens":200}}"#,
];

/// What a client's stream has to say, in this order.
const SAYS: [&[&str]; 3] = [
    &[r#""model":"v/model""#, r#""content":"word""#, r#""finish_reason":"stop""#, "data: [DONE]\n\n"],
    &[
        "event: response.created\n",
        r#""model":"v/model""#,
        "event: response.output_text.delta\n",
        r#""delta":"word""#,
        "event: response.completed\n",
        r#""output_tokens":200"#,
    ],
    &[
        "event: message_start\n",
        r#""model":"v/model""#,
        r#""text":"word""#,
        r#""stop_reason":"end_turn""#,
        "event: message_stop\n",
    ],
];

/// Where a client finds text and usage of a whole answer.
const FINDS: [[&str; 2]; 3] = [
    ["choices.0.message.content", "usage.completion_tokens"],
    ["output.0.content.0.text", "usage.output_tokens"],
    ["content.0.text", "usage.output_tokens"],
];

/// Carried by Pingora, and by the gateway itself.
const WAYS: [&str; 2] = ["", ", timeouts: {first_byte: 599}"];

fn protocol(path: &str) -> usize {
    PROTOCOLS.iter().position(|protocol| path.contains(protocol.0)).unwrap()
}

#[test]
fn a_whole_answer_to_a_request_for_a_stream_becomes_one() {
    let mock = Mock::scripted(|seen, _| json(200, "", WHOLE[protocol(&seen.head)]));
    for way in WAYS {
        let gateway = Gateway::start(&config_with(mock.port, way));
        for (n, says) in SAYS.iter().enumerate() {
            let response = post(&gateway, PROTOCOLS[n].0, &streaming(n));
            assert_eq!((response.status, response.complete), (200, true), "{}", response.body);
            assert_eq!(response.header("content-type"), Some("text/event-stream; charset=utf-8"));
            let mut rest = response.body.as_str();
            for part in *says {
                rest = rest.split_once(part).unwrap_or_else(|| panic!("{part}: {}", response.body)).1;
            }
            // Nobody has asked for the usage that the gateway itself wants to know.
            assert_eq!(response.body.contains("200"), n != 0, "{}", response.body);
        }
        for line in gateway.access_log(3) {
            assert_eq!(
                (member(&line, "stream").as_str(), member(&line, "route").as_str()),
                ("true", "relay")
            );
            assert_eq!(member(&line, "completion_tokens"), "200");
        }
    }
}

#[test]
fn a_stream_for_a_client_that_wants_none_becomes_a_whole_answer() {
    let mock = Mock::scripted(|seen, _| {
        let n = protocol(&seen.head);
        sse([BEGUN[n].as_bytes(), ENDED[n].as_bytes()])
    });
    for way in WAYS {
        let gateway = Gateway::start(&config_with(mock.port, way));
        for (n, [text, tokens]) in FINDS.into_iter().enumerate() {
            let response = post(&gateway, PROTOCOLS[n].0, PROTOCOLS[n].1);
            assert_eq!((response.status, response.complete), (200, true), "{}", response.body);
            assert_eq!(response.header("content-type"), Some("application/json"));
            assert_eq!(member(&response.body, "model"), "v/model");
            assert_eq!(member(&response.body, text), "word", "{}", response.body);
            assert_eq!(member(&response.body, tokens), "200");
        }
        for line in gateway.access_log(3) {
            assert_eq!(
                (member(&line, "stream").as_str(), member(&line, "prompt_tokens").as_str()),
                ("false", "300")
            );
        }
    }
}

#[test]
fn half_of_a_stream_is_no_answer() {
    let mock = Mock::scripted(|seen, _| sse([BEGUN[protocol(&seen.head)].as_bytes()]));
    for way in WAYS {
        let gateway = Gateway::start(&config_with(mock.port, way));
        for (path, body, _) in PROTOCOLS {
            let response = post(&gateway, path, body);
            assert_eq!((response.status, response.complete), (502, true), "{}", response.body);
        }
    }
}
