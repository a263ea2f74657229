//! How answers may be framed, and how they may end: what is whole is passed on as such, and only that.

use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Builder;

use crate::streams::{STREAMS, streaming};
use crate::support::{
    Act, End, Gate, Gateway, H2Mock, Mock, PROTOCOLS, Response, chunk, config, config_with, h2_post, member,
    open, post, sse, whole,
};

/// The events that tell clients in mid-stream that the answer has failed.
const FAILURES: [&str; 3] = ["data: {\"error\":", "event: response.failed", "event: error"];

fn from_provider(stream: &str) -> String {
    stream.replace('@', "real-model-0613")
}

fn to_client(stream: &str) -> String {
    stream.replace('@', "v/model")
}

fn stream(gateway: &Gateway, protocol: usize) -> Response {
    post(gateway, PROTOCOLS[protocol].0, &streaming(protocol))
}

/// Does the client know that it has no answer? Whether the first bytes of an answer are out when a provider
/// fails at once is a matter of chance.
fn is_told(response: &Response, protocol: usize) -> bool {
    match response.status {
        200 => response.body.contains(FAILURES[protocol]),
        _ => is_refused(response),
    }
}

/// Is the client told by the status?
fn is_refused(response: &Response) -> bool {
    response.status == 502 && response.header("content-type") == Some("application/json")
}

/// Asks for a stream over HTTP/2: its body, and the way to reset it.
async fn open_stream(gateway: &Gateway) -> (h2::RecvStream, h2::SendStream<Bytes>) {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let head = http::Request::post("http://g/v1/messages").header("x-api-key", &gateway.key);
    let (answer, mut out) = client.send_request(head.body(()).unwrap(), false).unwrap();
    out.send_data(streaming(2).into(), true).unwrap();
    (answer.await.unwrap().into_body(), out)
}

#[test]
fn events_are_passed_on_as_they_come_over_http2() {
    let gate = Gate::new();
    let events: Vec<_> = STREAMS[2].split_inclusive("\n\n").map(str::to_owned).collect();
    let mut script = open([]);
    for event in &events {
        script.extend([Act::Await(gate.clone()), chunk(from_provider(event).as_bytes())]);
    }
    script.push(Act::Send(b"0\r\n\r\n".to_vec()));
    let mock = Mock::new(script);
    let gateway = Gateway::start(&config(mock.port));
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let (mut body, _out) = open_stream(&gateway).await;
        for event in &events {
            gate.open();
            assert_eq!(body.data().await.unwrap().unwrap(), to_client(event));
        }
        while let Some(rest) = body.data().await {
            assert_eq!(rest.unwrap(), "");
        }
    });
}

#[test]
fn bodies_framed_in_other_ways_are_streams_too() {
    for (protocol, text) in STREAMS.into_iter().enumerate() {
        let body = from_provider(text);
        let sized = whole(200, "content-type: Text/Event-Stream;charset=utf-8\r\n", body.as_bytes());
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        let closed = vec![Act::Send(format!("{head}{body}").into_bytes()), Act::Close];
        for script in [sized, closed] {
            let mock = Mock::new(script);
            let gateway = Gateway::start(&config(mock.port));
            let response = stream(&gateway, protocol);
            assert_eq!((response.body, response.complete), (to_client(text), true), "protocol {protocol}");
        }
    }
}

#[test]
fn over_http2_a_provider_may_end_in_any_way_that_http2_has() {
    for (protocol, text) in STREAMS.into_iter().enumerate() {
        let body = from_provider(text);
        let chunks: Vec<_> = body.as_bytes().chunks(50).map(Bytes::copy_from_slice).collect();
        for end in [End::Frame, End::Trailers] {
            let mock = H2Mock::ending("text/event-stream", chunks.clone(), end);
            let gateway = Gateway::start(&config_with(mock.port, ", http: h2"));
            let over_h1 = stream(&gateway, protocol);
            assert_eq!((over_h1.body, over_h1.complete), (to_client(text), true), "{end:?}");
            let path = PROTOCOLS[protocol].0;
            let over_h2 = h2_post(gateway.port, path, &gateway.key, streaming(protocol).into(), true);
            assert_eq!((over_h2.body, over_h2.complete), (to_client(text), true), "{end:?}");
        }
        // An end before the end is one that the client is told of, however it came.
        let half = chunks[..2].to_vec();
        for end in [End::Frame, End::Trailers, End::Reset] {
            let mock = H2Mock::ending("text/event-stream", half.clone(), end);
            let gateway = Gateway::start(&config_with(mock.port, ", http: h2"));
            let response = stream(&gateway, protocol);
            assert!(is_told(&response, protocol), "{end:?}: {response:?}");
        }
    }
}

#[test]
fn whole_answers_over_http2_may_have_trailers() {
    for (path, body, answer) in PROTOCOLS {
        let mock = H2Mock::ending("application/json", vec![Bytes::from(answer)], End::Trailers);
        let gateway = Gateway::start(&config_with(mock.port, ", http: h2"));
        let expected = answer.replace("real-model-0613", "v/model");
        assert_eq!(post(&gateway, path, body).body, expected);
        let over_h2 = h2_post(gateway.port, path, &gateway.key, body.into(), true);
        assert_eq!((over_h2.status, over_h2.body, over_h2.complete), (200, expected, true));
    }
}

#[test]
fn a_stream_of_nothing_is_no_success() {
    for protocol in 0..3 {
        let sized = whole(200, "content-type: text/event-stream\r\n", b"");
        let chunked = sse([]);
        let comment = sse([&b": hello\n\n"[..]]);
        for (n, script) in [sized, chunked, comment].into_iter().enumerate() {
            let mock = Mock::new(script);
            let gateway = Gateway::start(&config(mock.port));
            let response = stream(&gateway, protocol);
            assert!(is_refused(&response) && response.complete, "case {n}: {response:?}");
            let line = gateway.access_log(1).remove(0);
            assert_eq!(member(&line, "error"), "provider_error", "{line}");
        }
    }
}

#[test]
fn what_is_compressed_all_the_same_is_not_passed_on_as_text() {
    for protocol in 0..3 {
        for kind in ["text/event-stream", "application/json"] {
            let head = format!("content-type: {kind}\r\ncontent-encoding: gzip\r\n");
            let mock = Mock::new(whole(200, &head, b"\x1f\x8b\x08\x00\x00\x00\x00\x00"));
            let gateway = Gateway::start(&config(mock.port));
            let response = stream(&gateway, protocol);
            assert_eq!((response.status, response.header("content-encoding")), (502, None), "{response:?}");
        }
    }
}

#[test]
fn streams_may_end_without_a_word_where_that_is_usual() {
    let body =
        "data: {\"model\":\"real-model\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n";
    let mock = Mock::new(sse([body.as_bytes()]));
    let gateway = Gateway::start(&config_with(mock.port, ", profile: {finish_optional: true}"));
    assert_eq!(stream(&gateway, 0).body, body.replace("real-model", "v/model"));
    let gateway = Gateway::start(&config(mock.port));
    assert!(stream(&gateway, 0).body.contains("\"code\":\"provider_error\""));
}

#[test]
fn a_client_that_resets_its_stream_takes_the_providers_connection_with_it() {
    let mock = Mock::new([open([&b": hello\n\n"[..]]), vec![Act::Hold]].concat());
    let gateway = Gateway::start(&config(mock.port));
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let (mut body, mut out) = open_stream(&gateway).await;
        body.data().await.unwrap().unwrap();
        out.send_reset(h2::Reason::CANCEL);
        // The connection has to live on to send the reset.
        for _ in 0..500 {
            if mock.left() == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the provider's connection is still open");
    });
    assert_eq!(member(&gateway.access_log(1)[0], "client_gone"), "true");
}

/// A Chat stream whose last event is its finish reason.
const FINISHED: &str = concat!(
    "data: {\"id\":\"c\",\"model\":\"@\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"c\",\"model\":\"@\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n",
);

#[test]
fn a_finish_reason_ends_the_stream_although_comments_follow() {
    let heartbeat = [chunk(b": still working\n\n"), Act::Pause(Duration::from_millis(100))];
    let mut script = open([from_provider(FINISHED).as_bytes()]);
    // For longer than the client waits.
    script.extend(std::iter::repeat_n(heartbeat, 600).flatten());
    let mock = Mock::new(script);
    let relayed = Gateway::start(&config(mock.port));
    let translated = Gateway::start(&config(mock.port).replace("chat, responses, messages", "chat"));
    std::thread::scope(|scope| {
        let relay = scope.spawn(|| stream(&relayed, 0));
        let responses = scope.spawn(|| stream(&translated, 1));
        let messages = stream(&translated, 2);
        assert!(messages.complete && messages.body.contains("\"stop_reason\":\"tool_use\""), "{messages:?}");
        assert!(messages.body.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
        let responses = responses.join().unwrap();
        assert!(responses.complete && responses.body.contains("event: response.completed"), "{responses:?}");
        let relay = relay.join().unwrap();
        let events = relay.body.replace(": still working\n\n", "");
        assert!(relay.complete && events == to_client(FINISHED), "{relay:?}");
    });
    // The provider's connections are not used again.
    assert!(mock.seen().iter().all(|seen| seen.before == 0));
    assert_eq!(mock.connections(), 3);
    for gateway in [&relayed, &translated] {
        assert!(gateway.access_log(1).iter().all(|line| member(line, "error").is_empty()));
    }
}

#[test]
fn the_last_event_ends_the_stream_although_the_provider_stays() {
    for (protocol, text) in STREAMS.into_iter().enumerate() {
        let mock = Mock::new([open([from_provider(text).as_bytes()]), vec![Act::Hold]].concat());
        let relayed = Gateway::start(&config(mock.port));
        let response = stream(&relayed, protocol);
        assert_eq!((response.body, response.complete), (to_client(text), true), "protocol {protocol}");
        let name = ["chat", "responses", "messages"][protocol];
        let translated = Gateway::start(&config(mock.port).replace("chat, responses, messages", name));
        let response = stream(&translated, (protocol + 1) % 3);
        assert!(response.status == 200 && response.complete, "{response:?}");
        assert_eq!(member(&translated.access_log(1)[0], "error"), "");
    }
}

/// Clients take a member of this name for a failure, wherever it stands, and would read the provider's own words.
#[test]
fn an_error_inside_an_event_of_another_kind_is_told_as_a_failure() {
    const ERROR: &str = r#""error":{"type":"server_error","code":"server_error","message":"canary"}"#;
    let events = [
        [
            format!(
                r#"{{"id":"c","model":"m","choices":[{{"index":0,"delta":{{"content":"x"}}}}],{ERROR}}}"#
            ),
            format!(r#"{{"id":"c","choices":[{{"index":0,"delta":{{"content":"x"}}}}]}}{{{ERROR}}}"#),
        ],
        [
            format!(r#"{{"type":"response.output_text.delta","delta":"x",{ERROR}}}"#),
            format!(r#"{{"type":"response.output_text.delta","delta":"x"}}{{"type":"error",{ERROR}}}"#),
        ],
        [
            format!(r#"{{"type":"message_delta","delta":{{}},"usage":{{"output_tokens":1}},{ERROR}}}"#),
            format!(r#"{{"type":"content_block_delta","index":0{{"type":"error",{ERROR}"#),
        ],
    ];
    for (protocol, events) in events.iter().enumerate() {
        for event in events {
            let begun = from_provider(STREAMS[protocol].rsplitn(4, "\n\n").last().unwrap()) + "\n\n";
            let odd = format!("data: {event}\n\n");
            let mut script = open([begun.as_bytes()]);
            script.extend([Act::Pause(Duration::from_millis(100)), chunk(odd.as_bytes()), Act::Hold]);
            let mock = Mock::new(script);
            let gateway = Gateway::start(&config(mock.port));
            let response = stream(&gateway, protocol);
            assert!(
                response.body.contains(FAILURES[protocol]) && response.complete,
                "{event}: {}",
                response.body
            );
            assert!(!response.body.contains("canary"), "{event}: {}", response.body);
        }
    }
}
