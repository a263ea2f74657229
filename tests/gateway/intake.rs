//! Bodies of any size and framing arrive whole, over every pair of HTTP versions.

use bytes::Bytes;

use crate::support::{
    Client, Gateway, H2Mock, Mock, PROTOCOLS, Response, config, config_with, h2_post, json, post,
};

/// How a body is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Framing {
    Length,
    Expect,
    Chunked,
    H2,
    H2Sized,
}

const FRAMINGS: [Framing; 5] =
    [Framing::Length, Framing::Expect, Framing::Chunked, Framing::H2, Framing::H2Sized];

/// A request of exactly `size` bytes.
fn body(size: usize) -> String {
    let shell = r#"{"messages":[{"role":"user","content":""}],"model":"v/model"}"#;
    let text: String = ('a'..='z').cycle().take(size.saturating_sub(shell.len())).collect();
    shell.replace("\"\"", &format!("\"{text}\""))
}

fn send(gateway: &Gateway, framing: Framing, body: &str) -> Response {
    let path = "/v1/chat/completions";
    if matches!(framing, Framing::H2 | Framing::H2Sized) {
        return h2_post(gateway.port, path, &gateway.key, body.into(), framing == Framing::H2Sized);
    }
    let mut client = Client::connect(gateway.port);
    let head = format!("POST {path} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {}\r\n", gateway.key);
    match framing {
        Framing::Length => {
            client.send(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes());
        }
        Framing::Expect => {
            client.send(
                format!("{head}expect: 100-continue\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(),
            );
            assert_eq!(client.head().0, 100, "the answer to `expect` comes before the body");
            client.send(body.as_bytes());
        }
        _ => {
            client.send(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes());
            for piece in body.as_bytes().chunks(10_000) {
                client.send(&[format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
            }
            client.send(b"0\r\n\r\n");
        }
    }
    let response = client.receive();
    // The connection lives on, whatever was done to the session to read the body.
    assert_eq!(response.header("connection"), Some("keep-alive"), "{framing:?}");
    client.send(b"GET /v1/models HTTP/1.1\r\nhost: g\r\n\r\n");
    assert_eq!(client.receive().status, 401);
    response
}

#[test]
fn bodies_arrive_whole() {
    let (h1, h2) = (
        Mock::new(json(200, "", PROTOCOLS[0].2)),
        H2Mock::new("application/json", vec![Bytes::from(PROTOCOLS[0].2)]),
    );
    let to_h1 = Gateway::start(&config(h1.port));
    let to_h2 = Gateway::start(&config_with(h2.port, ", http: h2"));
    for size in [100, 4 << 10, (4 << 10) + 1, 64 << 10, (64 << 10) + 1, 300 << 10, 20 << 20] {
        let body = body(size);
        assert_eq!(body.len(), size);
        let expected = body.replace("v/model", "real-model");
        for framing in FRAMINGS {
            let case = format!("{size} {framing:?}");
            assert_eq!(send(&to_h1, framing, &body).status, 200, "{case}");
            assert_eq!(send(&to_h2, framing, &body).status, 200, "{case}");
            let arrived = [h1.take(), h2.take()];
            assert_eq!(arrived.each_ref().map(Vec::len), [1, 1], "{case}");
            for seen in arrived.into_iter().flatten() {
                assert!(seen.body == expected.as_bytes(), "{case}: {} bytes arrived", seen.body.len());
                assert_eq!(
                    seen.header("content-length"),
                    Some(expected.len().to_string().as_str()),
                    "{case}"
                );
                assert_eq!((seen.header("expect"), seen.header("transfer-encoding")), (None, None), "{case}");
            }
        }
    }
}

#[test]
fn who_wants_the_connection_closed_gets_that_after_any_body() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let gateway = Gateway::start(&config(mock.port));
    for size in [100, 100 << 10] {
        for (version, close) in [("1.0", ""), ("1.1", "connection: close\r\n")] {
            let body = body(size);
            let mut client = Client::connect(gateway.port);
            client.send(
                format!(
                    "POST /v1/chat/completions HTTP/{version}\r\nhost: g\r\nauthorization: Bearer {}\r\n\
                     {close}content-length: {size}\r\n\r\n{body}",
                    gateway.key
                )
                .as_bytes(),
            );
            let response = client.receive();
            assert_eq!((response.status, response.header("connection")), (200, Some("close")), "{version}");
            assert!(client.ends(), "{version} {size}");
            assert_eq!(mock.one().body.len(), body.len() + "real-model".len() - "v/model".len());
            mock.take();
        }
    }
}

#[test]
fn bodies_that_are_no_request_go_nowhere() {
    let mock = Mock::new(json(200, "", "{}"));
    let gateway = Gateway::start(&config(mock.port));
    for framing in FRAMINGS.into_iter().filter(|framing| *framing != Framing::Expect) {
        for body in [
            "",
            "x",
            "{",
            "null",
            "[]",
            "{\"model\":\"v/model\"}",
            "\u{feff}",
            "{\"model\":1,\"messages\":[]}",
        ] {
            let response = send(&gateway, framing, body);
            assert_eq!(response.status, 400, "{framing:?} {body:?}");
            assert!(response.body.starts_with("{\"error\":{\"message\":\""), "{}", response.body);
        }
    }
    let deep = format!("{{\"model\":\"v/model\",\"messages\":{}", "[".repeat(100_000));
    assert_eq!(send(&gateway, Framing::Length, &deep).status, 400);
    assert!(mock.seen().is_empty());
}

#[test]
fn too_large_bodies_are_refused_in_bounded_memory() {
    let mock = Mock::new(json(200, "", "{}"));
    let gateway = Gateway::start(&config(mock.port));
    let declared =
        "POST /v1/messages HTTP/1.1\r\nhost: g\r\nx-api-key: K\r\ncontent-length: 34603008\r\n\r\n";
    let mut client = Client::connect(gateway.port);
    client.send(declared.replace('K', &gateway.key).as_bytes());
    let response = client.receive();
    assert_eq!(response.status, 413, "as soon as it is known");
    assert!(response.body.contains(r#""error":{"type":"request_too_large","#), "{}", response.body);

    let body = body(33 << 20);
    let mut client = Client::connect(gateway.port);
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {}\r\ntransfer-encoding: chunked\r\n\r\n",
        gateway.key
    );
    client.send(head.as_bytes());
    for piece in body.as_bytes().chunks(1 << 20) {
        if !client.try_send(&[format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()) {
            break;
        }
    }
    assert_eq!(client.receive().status, 413);
    let peak = gateway.peak_memory();
    assert!(peak < 2 * (32 << 10), "{peak} KiB");

    let gateway = Gateway::start(&config(mock.port));
    assert_eq!(h2_post(gateway.port, "/v1/chat/completions", &gateway.key, body.into(), false).status, 413);
    let peak = gateway.peak_memory();
    assert!(peak < 2 * (32 << 10), "{peak} KiB over HTTP/2");
    assert!(mock.seen().is_empty());
}

#[test]
fn slow_and_encoded_bodies_are_refused() {
    let mock = Mock::new(json(200, "", "{}"));
    let gateway = Gateway::start(&format!("limits: {{body_seconds: 1}}\n{}", config(mock.port)));
    let mut client = Client::connect(gateway.port);
    let head =
        "POST /v1/messages HTTP/1.1\r\nhost: g\r\nx-api-key: K\r\ncontent-length: 100\r\n\r\n{\"model\"";
    client.send(head.replace('K', &gateway.key).as_bytes());
    let response = client.receive();
    assert_eq!(response.status, 408);
    assert!(response.body.contains("invalid_request_error"), "{}", response.body);

    let mut client = Client::connect(gateway.port);
    let head = "POST /v1/responses HTTP/1.1\r\nhost: g\r\nauthorization: Bearer K\r\ncontent-encoding: br\r\ncontent-length: 1\r\n\r\nx";
    client.send(head.replace('K', &gateway.key).as_bytes());
    let response = client.receive();
    assert_eq!(response.status, 415);
    assert!(response.body.contains(r#""code":"unsupported_encoding""#), "{}", response.body);
    assert!(mock.seen().is_empty());
}

#[test]
fn of_a_member_that_stands_twice_only_one_reading_goes_on() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let gateway = Gateway::start(&config(mock.port));
    for (sent, expected) in [
        (
            r#"{"model":"x/other","messages":[],"model":"v/model"}"#,
            r#"{"model":"real-model","messages":[],"model":"real-model"}"#,
        ),
        (r#"{"mod\u0065l":"v\/model","messages":[]}"#, r#"{"mod\u0065l":"real-model","messages":[]}"#),
        (
            r#"{"stream":true,"model":"v/model","messages":[],"stream":false}"#,
            r#"{"stream":false,"model":"real-model","messages":[],"stream":false}"#,
        ),
    ] {
        assert_eq!(post(&gateway, "/v1/chat/completions", sent).status, 200, "{sent}");
        assert_eq!(mock.seen().pop().unwrap().text(), expected);
    }
    let before = mock.seen().len();
    for (sent, status) in [
        (r#"{"model":"v/model","messages":[],"model":"x/other"}"#, 404),
        (r#"{"Model":"v/model","messages":[]}"#, 400),
        (r#"{"model":"v/model","messages":[],"\u004dodel":"x"}"#, 400),
        (r#"{"model":"v/model","messages":[],"MODEL":"x"}"#, 400),
        (r#"{"model":"v/model\u0000","messages":[]}"#, 404),
    ] {
        assert_eq!(post(&gateway, "/v1/chat/completions", sent).status, status, "{sent}");
    }
    assert_eq!(mock.seen().len(), before);
}
