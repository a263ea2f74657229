//! Requests that two servers might understand in two ways, and paths that two layers might: what is not
//! clear goes nowhere.

use crate::support::{Client, Gateway, Mock, PROTOCOLS, config, json};

const BODY: &str = PROTOCOLS[0].1;

fn start() -> (Gateway, Mock) {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    (Gateway::start(&config(mock.port)), mock)
}

/// What would be a second request, if the first one ended before it.
fn smuggled(key: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {key}\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    )
}

/// Sends a head and what follows, then a request that must not be answered. `@` is the credential, `#` the
/// length of the body.
fn send(gateway: &Gateway, head: &str, rest: &str) -> (u16, Client) {
    let head = head.replace('@', &format!("host: g\r\nauthorization: Bearer {}\r\n", gateway.key));
    let head = head.replace('#', &BODY.len().to_string());
    let mut client = Client::connect(gateway.port);
    client.try_send(format!("{head}{rest}{}", smuggled(&gateway.key)).as_bytes());
    (client.receive().status, client)
}

const POST: &str = "POST /v1/chat/completions HTTP/1.1\r\n";

#[test]
fn ambiguous_heads_go_nowhere() {
    let (gateway, mock) = start();
    let chunked = format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len());
    for fields in [
        "@content-length: #\r\ntransfer-encoding: chunked\r\n",
        "@transfer-encoding: chunked\r\ncontent-length: 6\r\n",
        "@transfer-encoding: xchunked\r\n",
        "@transfer-encoding: chunked, identity\r\n",
        "@transfer-encoding: identity, chunked\r\n",
        "@transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "@transfer-encoding : chunked\r\n",
        "@transfer-encoding:\x0bchunked\r\n",
        "@content-length: #\r\ncontent-length: 1\r\n",
        "@content-length: #\r\ncontent-length: #\r\n",
        "@content-length: #, #\r\n",
        "@content-length: +#\r\n",
        "@content-length: -1\r\n",
        "@content-length: 0x5\r\n",
        "@content-length: 00000000000000000005\r\n",
        "@content-length: 5 5\r\n",
        "@x: a\r\n content-length: 3\r\ncontent-length: #\r\n",
        "@x: a\0b\r\ncontent-length: #\r\n",
        "@x: a\rcontent-length: 3\r\ncontent-length: #\r\n",
        "@x: a\ncontent-length: #\r\n",
        "@host: other\r\ncontent-length: #\r\n",
        "@x y: a\r\ncontent-length: #\r\n",
        "@x\r\ncontent-length: #\r\n",
    ] {
        let rest = if fields.contains("chunked") { &chunked } else { BODY };
        let (status, mut client) = send(&gateway, &format!("{POST}{fields}\r\n"), rest);
        assert_eq!(status, 400, "{fields:?}");
        assert!(client.ends(), "{fields:?}");
    }
    for line in [
        "POST  /v1/chat/completions HTTP/1.1\r\n",
        "POST /v1/chat/completions  HTTP/1.1\r\n",
        "POST /v1/chat/completions HTTP/1.1 \r\n",
        "POST /v1/chat/completions x HTTP/1.1\r\n",
        "POST /v1/chat/completions\u{e9} HTTP/1.1\r\n",
        "POST /v1/chat/completions\r\n",
        "POST /v1/chat/completions HTTP/1.1\rx HTTP/1.1\r\n",
        "POST /v1/chat/completions HTTP/1.2\r\n",
        "POST /v1/chat/completions HTTP/0.9\r\n",
        "POST /v1/chat/completions HTTP/1.1\n",
    ] {
        let (status, mut client) = send(&gateway, &format!("{line}@content-length: #\r\n\r\n"), BODY);
        assert_eq!(status, 400, "{line:?}");
        assert!(client.ends(), "{line:?}");
    }
    let (status, _) =
        send(&gateway, "POST /v1/chat/completions HTTP/1.0\r\n@transfer-encoding: chunked\r\n\r\n", &chunked);
    assert_eq!(status, 400);
    let (status, _) = send(&gateway, &POST.replace("HTTP", "host: x\r\n HTTP"), "");
    assert_eq!(status, 400);
    assert!(mock.seen().is_empty(), "{:?}", mock.seen());
}

#[test]
fn what_is_refused_by_its_head_is_told_in_the_clients_words() {
    let (gateway, _mock) = start();
    for (path, member, value) in [
        ("/v1/messages", "type", "error"),
        ("/v1/messages?beta=true", "error.type", "invalid_request_error"),
        ("/v1/chat/completions", "error.code", "invalid_http"),
        ("/v1/responses", "error.code", "invalid_http"),
        ("/", "error.code", "invalid_http"),
    ] {
        let mut client = Client::connect(gateway.port);
        client.send(format!("POST {path} HTTP/1.1\r\nhost: g\r\nhost: h\r\n\r\n").as_bytes());
        let response = client.receive();
        assert_eq!((response.status, response.text(member).as_str()), (400, value), "{path}");
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert!(response.header("x-request-id").unwrap().starts_with("req_cm_"));
        assert!(client.ends());
    }
    let name = "crossmodel_heads_refused_total{reason=\"malformed\"}";
    assert_eq!(gateway.metric(name), 5.0);
}

#[test]
fn bad_chunks_go_nowhere() {
    let (gateway, mock) = start();
    let size = format!("{:x}", BODY.len());
    for body in [
        format!("zz\r\n{BODY}\r\n0\r\n\r\n"),
        format!("FFFFFFFFFFFFFFFFF\r\n{BODY}\r\n0\r\n\r\n"),
        format!("-{size}\r\n{BODY}\r\n0\r\n\r\n"),
        format!("{size}\r\n{BODY}junk\r\n0\r\n\r\n"),
        // What one reader takes for a part of an extension ends the line for another.
        format!("{size};a\nb\r\n{BODY}\r\n0\r\n\r\n"),
        format!("{size};a\rb\r\n{BODY}\r\n0\r\n\r\n"),
        format!("{size}\r\n{BODY}\r\n0;\n\r\n\r\n"),
        format!("{size}\r\n{BODY}\r\n0\r\nx: y\nz: w\r\n\r\n"),
        format!("\r\n{BODY}\r\n0\r\n\r\n"),
    ] {
        let (status, mut client) =
            send(&gateway, &format!("{POST}@transfer-encoding: chunked\r\n\r\n"), &body);
        assert_eq!(status, 400, "{body:?}");
        assert!(client.ends(), "{body:?}");
    }
    assert!(mock.seen().is_empty(), "{:?}", mock.seen());
    // What is only odd is the same request to the provider, and the trailers stay here.
    for body in [
        format!("{size};x=\"y\"\r\n{BODY}\r\n0\r\n\r\n"),
        format!("{size}\r\n{BODY}\r\n0\r\ncontent-length: 3\r\nauthorization: Bearer x\r\n\r\n"),
    ] {
        let head = format!(
            "{POST}host: g\r\nauthorization: Bearer {}\r\ntransfer-encoding: chunked\r\n\r\n",
            gateway.key
        );
        let mut client = Client::connect(gateway.port);
        client.send(format!("{head}{body}").as_bytes());
        let status = client.receive().status;
        for seen in mock.take() {
            assert_eq!(seen.text(), BODY.replace("v/model", "real-model"));
            assert_eq!(seen.header("authorization"), Some("Bearer sk-upstream-canary"));
        }
        assert!([200, 400].contains(&status), "{status}");
    }
}

#[test]
fn of_pipelined_requests_only_the_first_goes_on() {
    let (gateway, mock) = start();
    let mut client = Client::connect(gateway.port);
    client.send(smuggled(&gateway.key).repeat(3).as_bytes());
    assert_eq!(client.receive().status, 200);
    assert!(client.ends());
    assert_eq!(mock.take().len(), 1);
    // Neither when the first has a body after which it gets another session.
    let large = BODY.replace("hi", &"h".repeat(9000));
    let framed = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let (status, mut client) = send(&gateway, &format!("{POST}@transfer-encoding: chunked\r\n\r\n"), &framed);
    assert_eq!(status, 200);
    assert!(client.ends());
    assert_eq!(mock.take().len(), 1);
    // A client that goes on sending is left, perhaps without an answer.
    let mut client = Client::connect(gateway.port);
    client.try_send(smuggled(&gateway.key).repeat(1000).as_bytes());
    client.ends();
    assert!(mock.seen().len() <= 1);
}

#[test]
fn old_clients_and_would_be_tunnels_stay_requests() {
    let (gateway, mock) = start();
    // HTTP/1.0: a body without a length is none.
    let (status, mut client) = send(&gateway, "POST /v1/chat/completions HTTP/1.0\r\n@\r\n", BODY);
    assert_eq!(status, 400);
    assert!(client.ends());
    assert!(mock.seen().is_empty());
    for upgrade in ["foo", "websocket", "h2c"] {
        let fields = format!("@connection: upgrade\r\nupgrade: {upgrade}\r\ncontent-length: #\r\n\r\n");
        let (status, mut client) = send(&gateway, &format!("{POST}{fields}"), BODY);
        assert_eq!(status, 200, "{upgrade}");
        assert!(client.ends(), "{upgrade}");
        let seen = mock.take();
        assert_eq!(seen.len(), 1, "{upgrade}");
        assert_eq!((seen[0].header("upgrade"), seen[0].header("connection")), (None, None), "{upgrade}");
    }
    let (status, mut client) =
        send(&gateway, "CONNECT provider:443 HTTP/1.1\r\nhost: provider:443\r\n\r\n", "");
    assert_eq!(status, 405);
    assert!(client.ends() && mock.seen().is_empty());
}

#[test]
fn only_the_paths_of_the_api_lead_to_a_provider() {
    let (gateway, mock) = start();
    for path in [
        "///v1/chat/completions",
        "/v1//chat/completions",
        "/v1/../v1/chat/completions",
        "/x/../v1/chat/completions",
        "/v1/./chat/completions",
        "/v1/chat%2fcompletions",
        "/v1/%63hat/completions",
        "/%2e%2e/v1/chat/completions",
        "/v1/chat/completions;x",
        "/v1/chat/completions/",
        "/v1/chat/completions%00",
        "\\v1\\chat\\completions",
        "/V1/chat/completions",
        "v1/chat/completions",
        "*",
    ] {
        let (status, _) =
            send(&gateway, &format!("POST {path} HTTP/1.1\r\n@content-length: #\r\n\r\n"), BODY);
        assert!([400, 404].contains(&status), "{path}: {status}");
    }
    for (target, host) in [
        ("http://evil/v1/chat/completions", "g"),
        ("http://g@evil/v1/chat/completions", "g"),
        ("file:///v1/chat/completions", "g"),
        ("/v1/chat/completions", "g, evil"),
        ("/v1/chat/completions", "g/../evil"),
    ] {
        let head = format!(
            "POST {target} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\ncontent-length: #\r\n\r\n",
            gateway.key
        );
        let (status, _) = send(&gateway, &head, BODY);
        assert!([400, 404].contains(&status), "{target} {host}: {status}");
    }
    assert!(mock.seen().is_empty(), "{:?}", mock.seen());
    // Whatever else names a path or a method, the request line says both, for the key as for the way.
    let names = "x-original-url: /admin\r\nx-forwarded-prefix: /admin\r\nx-http-method-override: GET\r\nx-rewrite-url: /\r\n";
    for (line, host) in [
        ("POST /v1/chat/completions", "admin"),
        ("POST /v1/chat/completions", "127.0.0.1:9090"),
        ("POST http://g/v1/chat/completions", "g"),
    ] {
        for (key, status) in [(gateway.key.as_str(), 200), ("sk-wrong", 401)] {
            let head = format!(
                "{line} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n{names}content-length: #\r\n\r\n"
            );
            assert_eq!(send(&gateway, &head, BODY).0, status, "{line} {host}");
            assert_eq!(mock.take().len(), usize::from(status == 200), "{line} {host}");
        }
    }
}
