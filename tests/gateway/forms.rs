//! Providers that answer in another form than they were asked for: with a whole answer where a stream was wanted, or
//! the reverse. Between equal protocols that is no relay any more; the client gets what it wants.

use crate::money::credits;
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

fn protocol(path: &str) -> usize {
    PROTOCOLS.iter().position(|protocol| path.contains(protocol.0)).unwrap()
}

#[test]
fn a_whole_answer_to_a_request_for_a_stream_becomes_one() {
    let mock = Mock::scripted(|seen, _| json(200, "", WHOLE[protocol(&seen.head)]));
    let gateway = Gateway::start(&config_with(mock.port, ""));
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
        assert_eq!((member(&line, "stream").as_str(), member(&line, "route").as_str()), ("true", "relay"));
        assert_eq!(member(&line, "completion_tokens"), "200");
    }
}

#[test]
fn a_stream_for_a_client_that_wants_none_becomes_a_whole_answer() {
    let mock = Mock::scripted(|seen, _| {
        let n = protocol(&seen.head);
        sse([BEGUN[n].as_bytes(), ENDED[n].as_bytes()])
    });
    let gateway = Gateway::start(&config_with(mock.port, ""));
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

#[test]
fn what_only_a_relay_can_carry_is_the_providers_failure() {
    let mock = Mock::scripted(|seen, _| match seen.text().contains("\"stream\":true") {
        true => json(200, "", WHOLE[0]),
        false => sse([BEGUN[0].as_bytes(), ENDED[0].as_bytes()]),
    });
    let gateway = Gateway::start(&config_with(mock.port, ""));
    for body in [streaming(0), PROTOCOLS[0].1.to_owned()] {
        let body = body.replacen('{', "{\"n\":2,", 1);
        let response = post(&gateway, PROTOCOLS[0].0, &body);
        assert_eq!((response.status, response.complete), (502, true), "{body} {}", response.body);
    }
}

#[test]
fn a_tool_that_only_the_provider_knows_stands_in_nobodys_way() {
    let mock = Mock::new(json(200, "", WHOLE[2]));
    let gateway = Gateway::start(&config_with(mock.port, ""));
    let tool = r#"{"tools":[{"type":"web_search_20250305","name":"web_search"}],"#;
    let response = post(&gateway, PROTOCOLS[2].0, &streaming(2).replacen('{', tool, 1));
    assert_eq!(response.status, 200, "{}", response.body);
    assert!(response.body.contains("event: message_stop"), "{}", response.body);
}

#[test]
fn without_usage_what_was_said_is_charged_in_either_form() {
    let (stop, told) = (WHOLE.map(|whole| whole.find("\"usage\"").unwrap()), "word ".repeat(800));
    let mock = Mock::scripted(move |seen, _| {
        let n = protocol(&seen.head);
        json(200, "", &(WHOLE[n][..stop[n]].trim_end_matches(',').replace("word", &told) + "}"))
    });
    let prices = "{id: v/model, prices: [{input: 0, output: 4000000}], ";
    let gateway = Gateway::start(&config_with(mock.port, "").replace("{id: v/model, ", prices));
    gateway.command(&["account", "top-up", "default", "10"]);
    for (n, protocol) in PROTOCOLS.iter().enumerate() {
        let mut costs = Vec::new();
        for body in [protocol.1.to_owned(), streaming(n)] {
            let (before, _) = credits(&gateway);
            let body = body.replace("\"max_tokens\":9", "\"max_tokens\":9000");
            assert_eq!(post(&gateway, protocol.0, &body).status, 200);
            costs.push(before - credits(&gateway).0);
        }
        // 4 micro-USD a token of 4 bytes; a whole answer counts with its braces.
        assert!((4000..4600).contains(&costs[0]) && (3900..4600).contains(&costs[1]), "{n} {costs:?}");
    }
}

#[test]
fn half_of_a_stream_is_no_answer() {
    let mock = Mock::scripted(|seen, _| sse([BEGUN[protocol(&seen.head)].as_bytes()]));
    let gateway = Gateway::start(&config_with(mock.port, ""));
    for (path, body, _) in PROTOCOLS {
        let response = post(&gateway, path, body);
        assert_eq!((response.status, response.complete), (502, true), "{}", response.body);
    }
}
