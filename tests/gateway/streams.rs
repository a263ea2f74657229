//! Streams: passed on as they come, byte for byte but for the listed edits, however they are cut.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::support::{
    Act, Client, End, Gate, Gateway, H2Mock, Mock, PROTOCOLS, Response, chunk, config, config_with,
    eventually, h2_post, json, member, open, post, request, sse,
};

/// A whole stream of each protocol, with odd spacing and with texts that look like what a relay edits.
/// The model stands in it as `@`.
pub(crate) const STREAMS: [&str; 3] = [
    concat!(
        ": first a comment\n\n",
        "data: {\"id\":\"c\",\"model\":\"@\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
        "data:{ \"model\" : \"@\" , \"x\":1.50,\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\\"model\\\":\\\"real-model\\\" \u{e9}\"},\"model\":\"real-model\"}]}\n\n",
        "id: 7\ndata: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\ndata: \"model\":\"@\"}\n\n",
        "data: [DONE]\n\n",
    ),
    concat!(
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"model\":\"@\",\"metadata\":{\"model\":\"real-model\"}}}\n\n",
        "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"\\\"model\\\":\\\"real-model\\\" \u{e9}\",\"model\":\"real-model\"}\n\n",
        "event: response.completed\ndata: {\"response\":{\"usage\":{\"input_tokens\":1,\"output_tokens\":2},\"model\" : \"@\"},\"type\":\"response.completed\"}\n\n",
    ),
    concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"content\":[{\"model\":\"real-model\"}],\"model\":\"@\",\"usage\":{\"input_tokens\":3}}}\n\n",
        "event: ping\ndata: {\"type\": \"ping\"}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"\\\"model\\\":\\\"real-model\\\" \u{e9}\"},\"model\":\"real-model\"}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    ),
];

/// The request of the protocol `n` for a stream.
pub(crate) fn streaming(n: usize) -> String {
    PROTOCOLS[n].1.replacen('{', "{\"stream\":true,", 1)
}

fn ask(gateway: &Gateway, n: usize) -> Response {
    let response = post(gateway, PROTOCOLS[n].0, &streaming(n));
    assert_eq!(response.status, 200, "{}", response.body);
    assert!(response.complete);
    response
}

#[test]
fn any_cut_and_any_line_end_give_the_same_bytes() {
    let cases = (0..3).flat_map(|n| ["\n", "\r\n", "\r"].map(|line_end| (n, line_end)));
    let cases: Vec<_> =
        cases.flat_map(|(n, line_end)| [usize::MAX, 1, 7].map(|size| (n, line_end, size))).collect();
    let script = cases.clone();
    let mock = Mock::scripted(move |_, number| {
        let (n, line_end, size) = script[number % script.len()];
        let sent = STREAMS[n].replace('\n', line_end).replace('@', "real-model-0613");
        sse(sent.as_bytes().chunks(size))
    });
    let gateway = Gateway::start(&config_with(mock.port, ""));
    for (n, line_end, size) in &cases {
        let expected = STREAMS[*n].replace('\n', line_end).replace('@', "v/model");
        assert_eq!(ask(&gateway, *n).body, expected, "{line_end:?}, pieces of {size}");
    }
}

#[test]
fn the_models_name_is_found_across_chunks() {
    let stream = STREAMS[0].replace('@', "real-model-0613");
    let first = stream.find("real-model-0613").unwrap();
    let gate = Gate::new();
    let between = gate.clone();
    let mock = Mock::scripted(move |_, number| {
        let (start, rest) = stream.split_at(first - 2 + number);
        let mut acts = open([start.as_bytes()]);
        acts.extend([Act::Await(between.clone()), chunk(rest.as_bytes()), Act::Send(b"0\r\n\r\n".to_vec())]);
        acts
    });
    let gateway = Gateway::start(&config(mock.port));
    for _ in 0.."\"real-model-0613\":".len() {
        gate.open();
        assert_eq!(ask(&gateway, 0).body, STREAMS[0].replace('@', "v/model"));
    }
}

#[test]
fn http2_brings_the_same_bytes() {
    for (n, stream) in STREAMS.iter().enumerate() {
        let sent = stream.replace('@', "real-model");
        let chunks = |size| sent.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect::<Vec<_>>();
        for (size, end) in [(5, End::Frame), (10_000, End::Trailers)] {
            let mock = H2Mock::ending("text/event-stream", chunks(size), end);
            let gateway = Gateway::start(&config_with(mock.port, ", http: h2"));
            let expected = stream.replace('@', "v/model");
            let response = h2_post(gateway.port, PROTOCOLS[n].0, &gateway.key, streaming(n).into(), true);
            assert_eq!(response.body, expected, "{end:?}");
            assert_eq!(ask(&gateway, n).body, expected, "{end:?}");
        }
    }
}

#[test]
fn each_event_reaches_the_client_before_the_next_is_sent() {
    let stream = STREAMS[2].replace('@', "real-model");
    let events: Vec<_> = stream.split_inclusive("\n\n").map(str::to_owned).collect();
    let gate = Gate::new();
    let mut acts = open([]);
    for event in &events {
        acts.extend([chunk(event.as_bytes()), Act::Await(gate.clone())]);
    }
    acts.push(Act::Send(b"0\r\n\r\n".to_vec()));
    let mock = Mock::new(acts);
    let gateway = Gateway::start(&config(mock.port));
    let mut client = Client::connect(gateway.port);
    client.send(request(PROTOCOLS[2].0, &gateway.key, &streaming(2)).as_bytes());
    let (status, headers) = client.head();
    let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    assert_eq!((status, header("content-type")), (200, Some("text/event-stream; charset=utf-8")));
    assert_eq!((header("cache-control"), header("x-accel-buffering")), (Some("no-cache"), Some("no")));
    assert_eq!((header("content-length"), header("transfer-encoding")), (None, Some("chunked")));
    for event in &events {
        let chunk = client.chunk().expect("an event");
        assert_eq!(
            String::from_utf8(chunk).unwrap(),
            event.replace("\"real-model\",\"usage", "\"v/model\",\"usage")
        );
        gate.open();
    }
    assert_eq!(client.chunk(), Some(Vec::new()));
}

/// A Chat stream with usage, and the chunk that holds it.
fn chat_with_usage() -> (String, &'static str) {
    let usage = "data: {\"model\":\"@\",\"choices\":[],\"usage\":{\"prompt_tokens\":30,\"completion_tokens\":2,\"total_tokens\":32,\"prompt_tokens_details\":{\"cached_tokens\":10}}}\n\n";
    (STREAMS[0].replace("data: [DONE]", &format!("{usage}data: [DONE]")), usage)
}

#[test]
fn usage_is_asked_for_and_withheld_from_who_did_not_ask() {
    let (stream, usage) = chat_with_usage();
    for line_end in ["\n", "\r\n", "\r"] {
        let sent = stream.replace('@', "real-model").replace('\n', line_end);
        for size in [usize::MAX, 1] {
            let mock = Mock::new(sse(sent.as_bytes().chunks(size)));
            let gateway = Gateway::start(&config(mock.port));
            let all = stream.replace('@', "v/model").replace('\n', line_end);
            let without = stream.replace(usage, "").replace('@', "v/model").replace('\n', line_end);
            let streaming = streaming(0);
            for (options, asked, expected) in [
                ("", r#"{"stream_options":{"include_usage":true},"#, &without),
                (r#""stream_options":null,"#, r#"{"stream_options":{"include_usage":true},"#, &without),
                (
                    r#""stream_options":{"include_usage":false},"#,
                    r#"{"stream_options":{"include_usage":true},"#,
                    &without,
                ),
                (
                    r#""stream_options":{"include_usage":true},"#,
                    r#"{"stream_options":{"include_usage":true},"#,
                    &all,
                ),
            ] {
                let body = streaming.replacen('{', &format!("{{{options}"), 1);
                assert_eq!(
                    &post(&gateway, PROTOCOLS[0].0, &body).body,
                    expected,
                    "{options} {size} {line_end:?}"
                );
                let seen = mock.take().remove(0).text();
                assert_eq!(seen, streaming.replacen('{', asked, 1).replace("v/model", "real-model"));
            }
            let line = gateway.access_log(4).remove(0);
            let count = |name: &str| member(&line, name);
            assert_eq!(
                (count("prompt_tokens").as_str(), count("cached_tokens").as_str()),
                ("30", "10"),
                "{line}"
            );
        }
    }
}

#[test]
fn usage_is_left_alone_where_it_comes_by_itself() {
    let (stream, _) = chat_with_usage();
    let mock = Mock::new(sse([stream.replace('@', "real-model").as_bytes()]));
    let gateway = Gateway::start(&config_with(mock.port, ", profile: {stream_usage: always}"));
    assert_eq!(ask(&gateway, 0).body, stream.replace('@', "v/model"));
    assert_eq!(mock.one().text(), streaming(0).replace("v/model", "real-model"));

    // A request without a stream has no such option.
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let gateway = Gateway::start(&config(mock.port));
    post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1);
    assert_eq!(mock.one().text(), PROTOCOLS[0].1.replace("v/model", "real-model"));
}

#[test]
fn a_client_that_leaves_takes_the_providers_request_with_it() {
    for (n, stream) in STREAMS.iter().enumerate() {
        let (first, _) = stream.split_once("\n\n").unwrap();
        let begun = format!("{first}\n\n");
        let silent = vec![Act::Hold];
        let mut streams = open([begun.as_bytes()]);
        streams.push(Act::Hold);
        for (acts, begins) in [(streams, true), (silent, false)] {
            let mock = Mock::new(acts);
            let gateway = Gateway::start(&config(mock.port));
            let mut client = Client::connect(gateway.port);
            client.send(request(PROTOCOLS[n].0, &gateway.key, &streaming(n)).as_bytes());
            if begins {
                client.head();
                client.chunk().expect("the first event");
            }
            assert!(eventually(Duration::from_secs(5), || mock.seen().len() == 1));
            assert_eq!(mock.left(), 0);
            let start = Instant::now();
            drop(client);
            assert!(eventually(Duration::from_secs(2), || mock.left() == 1), "protocol {n}");
            assert!(start.elapsed() < Duration::from_secs(2));
            let line = gateway.access_log(1).remove(0);
            assert_eq!(member(&line, "client_gone"), "true", "{line}");
        }
    }
}

#[test]
fn huge_events_pass_up_to_the_limit() {
    let text = "0123456789".repeat(400_000);
    let event =
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}],\"model\":\"@\"}}\n\n");
    let stream = STREAMS[0].replace(": first a comment\n\n", &event);
    let sent = stream.replace('@', "real-model");
    let mock = Mock::new(sse(sent.as_bytes().chunks(50_000)));
    let gateway = Gateway::start(&config(mock.port));
    assert!(ask(&gateway, 0).body == stream.replace('@', "v/model"), "4 MB");

    let gateway = Gateway::start(&format!("limits: {{event_bytes: 100000}}\n{}", config(mock.port)));
    let response = post(&gateway, PROTOCOLS[0].0, &streaming(0));
    // Whether the head is out when the limit is met is a matter of chance.
    assert!(matches!(response.status, 200 | 502), "{}", response.status);
    assert!(response.complete && response.body.contains("\"code\":\"provider_error\""), "{}", response.body);
    assert!(response.body.len() < 1_000 && !response.body.contains("0123"), "nothing of the event");
}

#[test]
fn a_missing_last_line_end_is_made_up_for() {
    for (n, stream) in STREAMS.iter().enumerate() {
        let stream = stream.replace('@', "v/model");
        for cut in ["\n", "\n\n"] {
            let sent = stream.strip_suffix(cut).unwrap();
            let mock = Mock::new(sse([sent.as_bytes()]));
            let gateway = Gateway::start(&config(mock.port));
            let body = ask(&gateway, n).body;
            assert_eq!(body.trim_end(), stream.trim_end(), "the event counts");
            assert!(body.ends_with("\n\n"), "and is whole: {body}");
        }
    }
}

#[test]
fn what_follows_the_end_does_not_undo_it() {
    let mock = Mock::new({
        let mut acts = open([STREAMS[2].replace('@', "real-model").as_bytes()]);
        acts.push(Act::Close);
        acts
    });
    let gateway = Gateway::start(&config(mock.port));
    let response = post(&gateway, PROTOCOLS[2].0, &streaming(2));
    assert_eq!(response.body, STREAMS[2].replace('@', "v/model"), "cut after its last event: no error");
    assert!(response.complete);
}

#[test]
fn a_finish_that_hides_calls_is_repaired_on_demand() {
    let stream = concat!(
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\"}]}}],\"model\":\"@\"}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"model\":\"@\"}\n\n",
        "data: [DONE]\n\n",
    );
    let sent = stream.replace('@', "real-model-0613");
    let mock = Mock::scripted(move |_, _| sse(sent.as_bytes().chunks(7)));
    for (profile, expected) in [("", "stop"), (", profile: {repair_finish: true}", "tool_calls")] {
        let gateway = Gateway::start(&config_with(mock.port, profile));
        assert_eq!(ask(&gateway, 0).body, stream.replace('@', "v/model").replace("stop", expected));
    }
}
