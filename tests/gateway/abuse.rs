//! What clients put into requests in the hope that somebody believes it: bodies, names, headers.

use std::time::{Duration, Instant};

use crate::support::{
    Client, Gateway, Mock, PROTOCOLS, Response, config, eventually, get, json, member, post, request,
};

const PATH: &str = PROTOCOLS[0].0;
const BODY: &str = PROTOCOLS[0].1;

fn start() -> (Gateway, Mock) {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    (Gateway::start(&config(mock.port)), mock)
}

fn with_headers(gateway: &Gateway, headers: &str, body: &str) -> Response {
    let mut client = Client::connect(gateway.port);
    client.send(request(PATH, &gateway.key, body).replacen("\r\n", &format!("\r\n{headers}"), 1).as_bytes());
    client.receive()
}

/// A body in every encoding but the one that JSON has (RFC 8259, 8.1) is no request.
#[test]
fn a_body_in_another_alphabet_is_refused() {
    let (gateway, mock) = start();
    let wide: Vec<u8> = BODY.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [wide, vec![0; 100]] {
        let head = request(PATH, &gateway.key, "").replace("length: 0", &format!("length: {}", bytes.len()));
        let mut client = Client::connect(gateway.port);
        client.send(&[head.as_bytes(), &bytes].concat());
        let response = client.receive();
        assert_eq!(response.status, 400, "{}", bytes.escape_ascii());
        assert_eq!(response.text("error.type"), "invalid_request_error");
    }
    assert!(mock.seen().is_empty());
    // A mark of the byte order may be passed over (RFC 8259, 8.1); what stands behind it is read as it is.
    let marked = BODY.replacen('{', "\u{feff}{", 1);
    assert_eq!(post(&gateway, PATH, &marked).status, 200);
    assert!(mock.one().text().ends_with(&BODY.replace("v/model", "real-model")));
}

/// Digits, escapes and odd texts go on as they are; what is only deep or large is refused or passed on in time.
#[test]
fn odd_bodies_keep_their_bytes() {
    let (gateway, mock) = start();
    let odd = [
        r#""x":1e999999"#.to_owned(),
        format!(r#""x":{}"#, "9".repeat(10_000)),
        r#""x":-0"#.to_owned(),
        r#""x":"\ud800 \u0000 \udc00""#.to_owned(),
        r##""tools":[{"type":"function","function":{"name":"a\"\n","parameters":{"$ref":"#"}}}]"##.to_owned(),
        format!(r#""x":{}1{}"#, "[".repeat(100), "]".repeat(100)),
        format!(r#""x":[{}1]"#, "1,".repeat(1_000_000)),
        format!(r#""x":"{}""#, "y".repeat(10 << 20)),
        r##""y":[{"type":"image_url","image_url":{"url":"http://169.254.169.254/latest"}},{"url":"file:///etc/passwd"}]"##
            .to_owned(),
    ];
    for more in odd {
        let body = BODY.replacen('{', &format!("{{{more},"), 1);
        let begun = Instant::now();
        let response = post(&gateway, PATH, &body);
        assert_eq!(response.status, 200, "{} {response:?}", &more[..more.len().min(80)]);
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        let seen = mock.take();
        assert_eq!(seen.len(), 1);
        assert!(seen[0].text() == body.replace("v/model", "real-model"), "{}", &more[..more.len().min(80)]);
    }
    for nested in ["[", "{\"a\":", "{\"content\":[", "{\"properties\":{\"a\":"] {
        let body = BODY.replace("\"hi\"", &nested.repeat(100_000));
        for (client, path) in [(0, PATH), (2, PROTOCOLS[2].0)] {
            assert_eq!(post(&gateway, path, &body).status, 400, "{nested} {client}");
        }
    }
    assert!(mock.seen().is_empty());
}

/// Whatever is compressed is refused by its name, and not looked at.
#[test]
fn unknown_encodings_are_refused_unread() {
    let (gateway, mock) = start();
    for coding in ["br", "gzip, gzip", "deflate, zstd", "x-unknown"] {
        let response = with_headers(&gateway, &format!("content-encoding: {coding}\r\n"), BODY);
        assert_eq!((response.status, response.text("error.code").as_str()), (415, "unsupported_encoding"));
    }
    for kind in ["text/plain", "application/json; charset=utf-16", "multipart/form-data; boundary=x", ""] {
        let response = with_headers(&gateway, &format!("content-type: {kind}\r\n"), BODY);
        assert_eq!(response.status, 200, "what a body is, it says itself: {kind}");
        let seen = mock.take();
        assert_eq!(seen[0].header("content-type"), Some("application/json"), "{kind}");
    }
}

/// Nothing in a request says where to, or with which credential.
#[test]
fn no_request_says_where_it_goes() {
    let (gateway, mock) = start();
    let evil = Mock::new(json(200, "", PROTOCOLS[0].2));
    let there = format!("http://127.0.0.1:{}/v1", evil.port);
    let headers = [
        "x-portkey-custom-host",
        "x-litellm-api-base",
        "helicone-target-url",
        "x-forwarded-host",
        "forwarded",
        "x-upstream",
        "openai-base-url",
    ];
    for name in headers {
        let value = if name == "forwarded" { format!("host=127.0.0.1:{}", evil.port) } else { there.clone() };
        assert_eq!(with_headers(&gateway, &format!("{name}: {value}\r\n"), BODY).status, 200, "{name}");
    }
    for name in ["api_base", "base_url", "custom_llm_provider", "api_key", "extra_headers", "user_config"] {
        let body = BODY.replacen('{', &format!("{{\"{name}\":\"{there}\","), 1);
        let response = post(&gateway, PATH, &body);
        assert_eq!((response.status, response.text("error.param").as_str()), (400, name));
    }
    let response = with_headers(&gateway, "", BODY);
    assert_eq!(response.status, 200);
    let query = request(&format!("{PATH}?api_base={there}&model=x"), &gateway.key, BODY);
    let mut client = Client::connect(gateway.port);
    client.send(query.as_bytes());
    client.receive();
    assert_eq!(evil.connections(), 0);
    for seen in mock.seen() {
        assert_eq!(seen.request_line(), "POST /v1/chat/completions HTTP/1.1");
        assert_eq!(seen.header("authorization"), Some("Bearer sk-upstream-canary"));
        assert!(!seen.head.contains(&evil.port.to_string()), "{}", seen.head);
    }
}

/// Models that there are not, however many, and whatever they are called, are 404 and make no series of metrics.
#[test]
fn models_that_there_are_not_leave_nothing_behind() {
    let (gateway, mock) = start();
    let page = |gateway: &Gateway| get(gateway.admin, "/metrics", "").body.lines().count();
    for name in [
        "v",
        "v/",
        "/model",
        "../v/model",
        "v/../v/model",
        "v/mode\u{2113}",
        "V/MODEL",
        "v/model ",
        "v//model",
    ] {
        let response = post(&gateway, PATH, &BODY.replace("v/model", name));
        assert_eq!(
            (response.status, response.text("error.code").as_str()),
            (404, "model_not_found"),
            "{name:?}"
        );
        let response = post(&gateway, PROTOCOLS[2].0, &PROTOCOLS[2].1.replace("v/model", name));
        assert_eq!(
            (response.status, response.text("error.type").as_str()),
            (404, "not_found_error"),
            "{name:?}"
        );
    }
    let long = post(&gateway, PATH, &BODY.replace("v/model", &"m".repeat(1 << 20)));
    assert!(long.status == 404 && long.body.len() < 4096, "{} {}", long.status, long.body.len());
    let before = page(&gateway);
    let mut client = Client::connect(gateway.port);
    for n in 0..1000 {
        client.send(request(PATH, &gateway.key, &BODY.replace("v/model", &format!("x/{n}"))).as_bytes());
        assert_eq!(client.receive().status, 404);
    }
    assert!(page(&gateway) <= before, "{before} lines of metrics, then {}", page(&gateway));
    assert!(mock.seen().is_empty());
}

/// Credentials that there are not take no memory, and no place.
#[test]
fn unknown_keys_leave_nothing_behind() {
    let (gateway, mock) = start();
    let ask = |count: u32| {
        let mut client = Client::connect(gateway.port);
        for n in 0..count {
            let line =
                format!("GET /v1/models HTTP/1.1\r\nhost: g\r\nauthorization: Bearer cm-{n:040}\r\n\r\n");
            client.send(line.as_bytes());
            assert_eq!(client.receive().status, 401);
        }
    };
    ask(2000);
    let before = gateway.memory();
    ask(8000);
    let grown = gateway.memory().saturating_sub(before);
    assert!(grown < 1 << 10, "{grown} KiB for 8000 keys");
    // Another key that begins alike is another key.
    let mut near = gateway.key.clone();
    let last = near.pop().unwrap();
    near.push(if last == 'a' { 'b' } else { 'a' });
    for wrong in [near.as_str(), &gateway.key[..gateway.key.len() - 1], &format!("{}x", gateway.key)] {
        let response = get(gateway.port, "/v1/models", &format!("authorization: Bearer {wrong}\r\n"));
        assert_eq!(response.status, 401);
        assert!(!response.body.contains(wrong));
    }
    assert!(mock.seen().is_empty());
}

/// Of pipelined requests no more than the first is answered, also if it is a bad one.
#[test]
fn a_bad_request_ends_what_is_pipelined_behind_it() {
    let (gateway, mock) = start();
    let good = request(PATH, &gateway.key, BODY);
    for bad in
        ["POST / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "nonsense\r\n\r\n", "GET / HTTP/1.1\nhost: g\n\n"]
    {
        let mut client = Client::connect(gateway.port);
        client.try_send(format!("{bad}{}", good.repeat(99)).as_bytes());
        assert_eq!(client.receive().status, 400, "{bad:?}");
        assert!(client.ends(), "{bad:?}");
    }
    assert!(mock.seen().is_empty());
}

/// A client that says it has nothing more to say still gets its answer, or is taken for gone; nothing hangs.
#[test]
fn a_half_closed_connection_comes_to_an_end() {
    let (gateway, mock) = start();
    let stream = std::net::TcpStream::connect(("127.0.0.1", gateway.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    std::io::Write::write_all(&mut &stream, request(PATH, &gateway.key, BODY).as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut &stream, &mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
    assert!(eventually(Duration::from_secs(5), || gateway.metric("crossmodel_requests_in_flight") == 0.0));
    assert!(mock.seen().len() <= 1);
}

/// Values that are copied into an answer or into a request to a provider stay on their line.
#[test]
fn nothing_breaks_out_of_a_header() {
    let (gateway, mock) = start();
    let body = BODY.replace("v/model", r"v/model\r\nx-evil: 1");
    let response = post(&gateway, PATH, &body);
    assert_eq!(response.status, 404);
    assert!(response.header("x-evil").is_none());
    let response = with_headers(&gateway, "x-request-id: a\r\nx-evil: 1\r\ncookie: canary\r\n", BODY);
    assert_eq!((response.status, response.header("x-evil")), (200, None));
    let seen = mock.one();
    assert!(seen.header("x-evil").is_none() && seen.header("cookie").is_none(), "{}", seen.head);
    assert_eq!(member(&response.body, "model"), "v/model");
}

/// A process that was stopped for a while goes on where it was.
#[test]
fn a_process_that_stood_still_goes_on() {
    let (mock, gate) = crate::overload::gated();
    let gateway = Gateway::start(&config(mock.port));
    let mut client = Client::connect(gateway.port);
    client.send(request(PATH, &gateway.key, BODY).as_bytes());
    assert!(eventually(Duration::from_secs(5), || mock.seen().len() == 1));
    gateway.signal("STOP");
    gate.open();
    let mut late = Client::connect(gateway.port);
    late.send(request(PATH, &gateway.key, BODY).as_bytes());
    std::thread::sleep(Duration::from_secs(3));
    gateway.signal("CONT");
    gate.open();
    assert_eq!((client.receive().status, late.receive().status), (200, 200));
    assert_eq!(mock.seen().len(), 2, "nothing was asked twice");
}
