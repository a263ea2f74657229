//! Bodies with a content encoding: providers get those of requests as plain JSON, whatever the client does, and clients get
//! those of answers without it.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use tokio::runtime::Builder;

use crate::streams::{STREAMS, streaming};
use crate::support::{Client, Gateway, Mock, PROTOCOLS, Response, config, config_with, json, post, whole};

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zstd(body: &[u8]) -> Vec<u8> {
    ::zstd::stream::encode_all(body, 3).unwrap()
}

type Encode = fn(&[u8]) -> Vec<u8>;

/// The encodings, by the names that clients give them.
const ENCODINGS: [(&str, Encode); 5] =
    [("zstd", zstd), ("gzip", gzip), ("x-gzip", gzip), ("deflate", zlib), ("deflate", deflate)];

fn send(gateway: &Gateway, path: &str, coding: &str, body: &[u8], chunked: bool) -> Response {
    let mut client = Client::connect(gateway.port);
    let framing = match chunked {
        true => "transfer-encoding: chunked".to_owned(),
        false => format!("content-length: {}", body.len()),
    };
    let key = &gateway.key;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {key}\r\ncontent-encoding: {coding}\r\n{framing}\r\n\r\n"
    );
    client.send(head.as_bytes());
    if chunked {
        for part in body.chunks(1000) {
            client.try_send(&[format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat());
        }
        client.try_send(b"0\r\n\r\n");
    } else {
        client.try_send(body);
    }
    client.receive()
}

#[test]
fn encoded_bodies_reach_the_provider_as_plain_json() {
    let mock = Mock::scripted(|seen, _| {
        let of = PROTOCOLS.into_iter().find(|(path, ..)| seen.request_line().contains(path));
        json(200, "", of.unwrap().2)
    });
    let gateway = Gateway::start(&config(mock.port));
    for (path, body, _) in PROTOCOLS {
        let long = body.replace("hi", &"word ".repeat(50_000));
        for (coding, encode) in ENCODINGS {
            for (body, chunked) in [(body, false), (body, true), (&*long, false), (&*long, true)] {
                let response = send(&gateway, path, coding, &encode(body.as_bytes()), chunked);
                assert_eq!(response.status, 200, "{path} {coding}: {response:?}");
                let seen = mock.take().pop().unwrap();
                let expected = body.replace("v/model", "real-model");
                assert!(seen.text() == expected, "{path} {coding} {chunked}");
                assert_eq!(seen.header("content-encoding"), None);
                assert_eq!(seen.header("content-length"), Some(&*expected.len().to_string()));
            }
        }
    }
}

#[test]
fn encoded_bodies_arrive_over_http2() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let gateway = Gateway::start(&config(mock.port));
    let (path, body, _) = PROTOCOLS[0];
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        for (coding, encode) in ENCODINGS {
            let stream = tokio::net::TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap();
            let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            let head = http::Request::post(format!("http://g{path}"))
                .header("authorization", format!("Bearer {}", gateway.key))
                .header("content-encoding", coding);
            let (answer, mut out) = client.send_request(head.body(()).unwrap(), false).unwrap();
            out.send_data(encode(body.as_bytes()).into(), true).unwrap();
            assert_eq!(answer.await.unwrap().status(), 200, "{coding}");
            assert_eq!(mock.take().pop().unwrap().text(), body.replace("v/model", "real-model"), "{coding}");
        }
    });
}

#[test]
fn bodies_that_expand_too_much_are_refused_with_little_memory() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let gateway = Gateway::start(&format!("limits: {{body_bytes: 2000000}}\n{}", config(mock.port)));
    let bomb = vec![b' '; 48 << 20];
    for (coding, encode) in ENCODINGS {
        let body = encode(&bomb);
        let before = gateway.peak_memory();
        for chunked in [false, true] {
            let response = send(&gateway, PROTOCOLS[0].0, coding, &body, chunked);
            assert_eq!(response.status, 413, "{coding}: {response:?}");
        }
        let taken = gateway.peak_memory().saturating_sub(before);
        assert!(taken < 24 << 20, "{coding}: {taken} bytes");
    }
    assert!(mock.seen().is_empty());
}

#[test]
fn damaged_and_unknown_encodings_are_refused() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let gateway = Gateway::start(&config(mock.port));
    for (path, body, _) in PROTOCOLS {
        for (coding, encode) in ENCODINGS {
            let whole = encode(body.as_bytes());
            for wrong in [&whole[..whole.len() / 2], body.as_bytes(), b""] {
                let response = send(&gateway, path, coding, wrong, false);
                let code = if path.ends_with("messages") { "error.type" } else { "error.code" };
                let expected =
                    if path.ends_with("messages") { "invalid_request_error" } else { "invalid_json" };
                assert_eq!(
                    (response.status, response.text(code).as_str()),
                    (400, expected),
                    "{path} {coding}"
                );
            }
        }
        for coding in ["br", "gzip, gzip", "x-unknown"] {
            let response = send(&gateway, path, coding, body.as_bytes(), false);
            assert_eq!(response.status, 415, "{coding}");
            assert_eq!(response.header("accept-encoding"), Some("zstd, gzip, deflate, identity"));
        }
    }
    assert!(mock.seen().is_empty(), "{:?}", mock.seen());
}

/// A provider whose answers have this encoding.
fn encoding(coding: &'static str, encode: Encode) -> Mock {
    Mock::scripted(move |seen, _| {
        let path = PROTOCOLS.iter().position(|(path, ..)| seen.request_line().contains(path)).unwrap();
        let (kind, body) = match seen.text().contains("\"stream\":true") {
            true => ("text/event-stream", STREAMS[path].replace('@', "real-model-0613")),
            false => ("application/json", PROTOCOLS[path].2.to_owned()),
        };
        let head = format!("content-type: {kind}\r\ncontent-encoding: {coding}\r\n");
        whole(200, &head, &encode(body.as_bytes()))
    })
}

#[test]
fn answers_that_are_encoded_all_the_same_reach_the_client_without_it() {
    for (coding, encode) in ENCODINGS.into_iter().chain([("identity", <[u8]>::to_vec as Encode)]) {
        let mock = encoding(coding, encode);
        let gateway = Gateway::start(&config(mock.port));
        for (protocol, (path, body, answer)) in PROTOCOLS.into_iter().enumerate() {
            let response = post(&gateway, path, &streaming(protocol));
            assert_eq!((response.status, response.header("content-encoding")), (200, None), "{response:?}");
            assert_eq!(response.body, STREAMS[protocol].replace('@', "v/model"), "{coding}");
            let response = post(&gateway, path, body);
            assert_eq!((response.status, response.header("content-encoding")), (200, None), "{response:?}");
            assert_eq!(response.body, answer.replace("real-model-0613", "v/model"), "{coding}");
        }
        let translating = Gateway::start(&config_with(mock.port, "").replace(", responses, messages", ""));
        let response = post(&translating, PROTOCOLS[2].0, &streaming(2));
        assert!(response.body.ends_with("data: {\"type\":\"message_stop\"}\n\n"), "{coding}: {response:?}");
        let response = post(&translating, PROTOCOLS[2].0, PROTOCOLS[2].1);
        assert!(response.body.contains("\"stop_reason\""), "{coding}: {response:?}");
    }
}

#[test]
fn answers_that_cannot_be_decoded_are_failures() {
    let cut: Encode = |body| gzip(body)[..40].to_vec();
    for (coding, encode) in [("br", gzip as Encode), ("gzip, gzip", gzip), ("gzip", cut), ("zstd", gzip)] {
        let mock = encoding(coding, encode);
        let gateway = Gateway::start(&config(mock.port));
        for (protocol, (path, body, _)) in PROTOCOLS.into_iter().enumerate() {
            for body in [&*streaming(protocol), body] {
                assert_eq!(post(&gateway, path, body).status, 502, "{coding} {path}");
            }
        }
    }
}
