//! The little that anybody can make the gateway keep, with a key or without.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use crate::support::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, SETTINGS, Told, WINDOW_UPDATE, block, frame,
    literal,
};
use crate::support::{
    Act, Client, Gate, Gateway, Mock, PROTOCOLS, ask, chunk, config, eventually, get, json, member, open,
    post, request,
};

const TIME: Duration = Duration::from_secs(5);

/// So many requests for the root on one connection, whose client gives no room for any answer. All but the first have
/// `fields` fields, each of which takes one byte.
fn without_room(gateway: &Gateway, streams: u32, fields: usize) -> Frames {
    let mut client = Frames::connect(gateway.port);
    let mut bytes = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let target: &[(&str, &str)] =
        &[(":method", "GET"), (":scheme", "http"), (":authority", "g"), (":path", "/")];
    let first = [block(target), literal(0x40, b"x-a", b"b")].concat();
    let later = [block(target), vec![0xbe; fields]].concat();
    for stream in 0..streams {
        let head = if stream == 0 { &first } else { &later };
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 2 * stream + 1, head));
    }
    assert!(client.send(&bytes));
    client
}

#[test]
fn requests_end_also_when_their_client_gives_no_room_for_the_answer() {
    let gateway = Gateway::start("providers: {demo: {}}\n");
    let mut logged = 0;
    for (fields, status) in [(0, "200"), (90, "200"), (1800, "431")] {
        let mut client = without_room(&gateway, 100, fields);
        // A request is logged when nothing is kept for it any more.
        logged += 100;
        let lines = gateway.access_log(logged);
        let of = |status: &str| {
            lines[logged - 100..].iter().filter(|line| member(line, "status") == status).count()
        };
        assert_eq!(of(status), if fields > 100 { 99 } else { 100 }, "{fields}");
        // Few answers wait until there is room, and go out then.
        let (mut reset, mut begun) = (BTreeSet::new(), BTreeSet::new());
        while reset.len() < 92 {
            match client.next() {
                Ok(Some((HEADERS, stream, _))) => drop(begun.insert(stream)),
                Ok(Some((RST_STREAM, stream, _))) => drop(reset.insert(stream)),
                Ok(Some(_)) => {}
                other => panic!("{other:?} after {} resets", reset.len()),
            }
        }
        let waiting: Vec<_> = begun.difference(&reset).copied().collect();
        assert_eq!((begun.len(), waiting.len()), (100, 8));
        for stream in &waiting {
            assert!(client.send(&frame(WINDOW_UPDATE, 0, *stream, &65535_u32.to_be_bytes())));
        }
        let mut answered = BTreeSet::new();
        while answered.len() < waiting.len() {
            match client.next() {
                Ok(Some((DATA, stream, _))) => drop(answered.insert(stream)),
                Ok(Some(_)) => {}
                other => panic!("{other:?} after {} answers", answered.len()),
            }
        }
    }
}

#[test]
fn a_reload_changes_the_bound_of_heads_over_http2() {
    let limited = |bytes: u32| format!("limits: {{head_bytes: {bytes}}}\nproviders: {{demo: {{}}}}\n");
    let gateway = Gateway::start(&limited(5_000));
    let target = block(&[(":method", "GET"), (":scheme", "http"), (":authority", "g"), (":path", "/")]);
    // 71 fields of 140 bytes, of which all but the first take one.
    let head = [target, literal(0x40, b"x-a", &[b'b'; 100]), vec![0xbe; 70]].concat();
    let is_served = || {
        let mut client = Frames::connect(gateway.port);
        assert!(client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head)));
        let Told::Answer(answer) = client.told(1) else { panic!("there is no answer") };
        answer.first() == Some(&0x88)
    };
    assert!(!is_served());
    gateway.configure(&limited(20_000));
    gateway.signal("HUP");
    assert!(eventually(TIME, is_served));
    gateway.configure(&limited(5_000));
    gateway.signal("HUP");
    assert!(eventually(TIME, || !is_served()));
}

#[test]
fn connections_whose_clients_give_no_room_take_little_memory() {
    let gateway = Gateway::start("providers: {demo: {}}\n");
    drop(without_room(&gateway, 100, 1800));
    gateway.access_log(100);
    let before = gateway.memory();
    let mut held = Vec::new();
    held.resize_with(20, || without_room(&gateway, 100, 1800));
    gateway.access_log(2100);
    let grown = gateway.memory().saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB for {} connections", held.len());
}

#[test]
fn what_is_refused_by_its_head_has_an_access_line() {
    let gateway = Gateway::start("providers: {demo: {}}\n");
    let refused = [
        (
            "POST /v1/messages HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
            "POST",
            "messages",
            "400",
            "invalid_http",
        ),
        ("CONNECT g:443 HTTP/1.1\r\nhost: g:443\r\n\r\n", "CONNECT", "unknown", "405", "method_not_allowed"),
        ("nonsense\r\n\r\n", "", "unknown", "400", "invalid_http"),
    ];
    for (at, (sent, method, endpoint, status, error)) in refused.into_iter().enumerate() {
        let mut client = Client::connect(gateway.port);
        client.send(sent.as_bytes());
        let answer = client.receive();
        assert_eq!(answer.status.to_string(), status);
        let line = gateway.access_log(at + 1).pop().unwrap();
        let of = |name: &str| member(&line, name);
        let said = ["method", "endpoint", "status", "error"].map(of);
        assert_eq!(said, [method, endpoint, status, error], "{sent:?}");
        assert_eq!(Some(of("request_id").as_str()), answer.header("x-request-id"));
    }
}

#[test]
fn what_comes_behind_a_body_does_not_cost_its_answer() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let gateway = Gateway::start(&config(mock.port));
    let (path, body, _) = PROTOCOLS[0];
    let mut logged = 0;
    for size in [10, 5000, 100_000] {
        let body = body.replace("hi", &"h".repeat(size));
        let sized = request(path, &gateway.key, &body);
        let (head, _) = sized.split_once("\r\n\r\n").unwrap();
        let length = format!("content-length: {}", body.len());
        let head = head.replace(&length, "transfer-encoding: chunked");
        let chunked = format!("{head}\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        for request in [&sized, &chunked] {
            for behind in ["\r", "\r\n\r\n", "x", request] {
                let mut client = Client::connect(gateway.port);
                client.send(format!("{request}{behind}").as_bytes());
                assert_eq!(client.receive().status, 200, "{size} {}", behind.len());
                assert!(client.ends());
                assert_eq!(mock.take().len(), 1);
                logged += 1;
                assert_eq!(member(&gateway.access_log(logged)[logged - 1], "status"), "200");
            }
        }
    }
}

#[test]
fn an_empty_line_behind_a_body_is_none_of_a_request() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let gateway = Gateway::start(&config(mock.port));
    let (path, body, _) = PROTOCOLS[0];
    let mut client = Client::connect(gateway.port);
    for (number, size) in [10, 100_000, 10].into_iter().enumerate() {
        let request = request(path, &gateway.key, &body.replace("hi", &"h".repeat(size)));
        client.send(format!("{request}\r\n").as_bytes());
        assert_eq!(client.receive().status, 200, "{size}");
        // And when it comes late, whole or in parts.
        if number == 0 {
            client.send(b"\r\n");
        } else {
            client.send(b"\r");
            client.send(b"\n");
        }
    }
    client.send(b"\r\n\r\n");
    assert_eq!(client.receive().status, 400, "two are too many");
    assert!(client.ends());
    assert_eq!(mock.take().len(), 3);
}

#[test]
fn answers_that_nobody_takes_leave_operators_their_connections() {
    let gateway = Gateway::start("providers: {demo: {}}\n");
    // Each is answered, and seen off for as long as it does not go.
    let held: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", gateway.admin)).unwrap();
            let ask = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
            stream.write_all(&ask.repeat(3)).unwrap();
            stream
        })
        .collect();
    for _ in 0..3 {
        assert_eq!(get(gateway.admin, "/healthz", "").status, 200, "a probe finds a place");
    }
    drop(held);
}

#[test]
fn operators_have_few_connections_and_the_oldest_that_waits_makes_room() {
    let gateway = Gateway::start("providers: {demo: {}}\n");
    let before = gateway.files();
    let mut held: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", gateway.admin)).unwrap();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ").unwrap();
            stream
        })
        .collect();
    assert_eq!(get(gateway.admin, "/healthz", "").status, 200, "a probe finds a place");
    assert_eq!(get(gateway.admin, "/metrics", "").status, 200);
    assert!(eventually(TIME, || gateway.files() <= before + 64), "{} files", gateway.files() - before);
    // The newest of them is still listened to.
    let mut last = held.pop().unwrap();
    last.write_all(b"y\r\n\r\n").unwrap();
    let mut client = Client::over(last);
    assert_eq!(client.receive().status, 200);
    let mut broken = Client::connect(gateway.admin);
    broken.send(b"GET /healthz HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n");
    assert_eq!(broken.receive().status, 400);
}

/// The ports on which the gateway listens that are in no file.
fn hidden_ports(gateway: &Gateway) -> Vec<u16> {
    let sockets = gateway.sockets();
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let own = lines.filter(|line| line[3] == "0A" && sockets.contains(&format!("socket:[{}]", line[9])));
    let ports = own.map(|line| u16::from_str_radix(line[1].rsplit_once(':').unwrap().1, 16).unwrap());
    ports.filter(|port| ![gateway.port, gateway.admin].contains(port)).collect()
}

#[test]
fn the_built_in_provider_answers_the_gateway_alone_and_not_without_end() {
    let gateway = Gateway::start("providers: {demo: {}}\n");
    let said = |marker: &str| {
        format!(r#"{{"model":"demo/chat","messages":[{{"role":"user","content":"{marker}"}}]}}"#)
    };
    let ports = hidden_ports(&gateway);
    assert_eq!(ports.len(), 1);
    for headers in ["", "authorization: Bearer demo-x\r\n", "x-api-key: demo\r\n"] {
        assert_eq!(ask(ports[0], "GET", "/v1/models", headers).status, 401, "{headers}");
    }
    let mut foreign = Client::connect(ports[0]);
    foreign.send(request(PROTOCOLS[0].0, &gateway.key, &said("[demo:huge=1000]")).as_bytes());
    assert_eq!(foreign.receive().status, 401);
    for (marker, most) in [("[demo:huge=67108864]", 1 << 20), ("[demo:words=99999999]", 200_000)] {
        let answer = post(&gateway, PROTOCOLS[0].0, &said(marker));
        assert_eq!(answer.status, 200);
        let length = answer.text("choices.0.message.content").len();
        assert!((50_000..=most).contains(&length), "{marker}: {length}");
    }
}

/// Texts that cannot be a model's name.
fn odd_names() -> [String; 6] {
    let names = ["w/a\\r\\nx: y", "w/a\\u0000", "w/a\\u007f", "w/a b", "w/\u{e9}"].map(str::to_owned);
    let [a, b, c, d, e] = names;
    [a, b, c, d, e, format!("w/{}", "x".repeat(300_000))]
}

#[test]
fn what_can_be_no_models_name_is_kept_nowhere() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let gateway = Gateway::start(&wild(mock.port));
    gateway.command(&["account", "top-up", "default", "10"]);
    let mut logged = 0;
    for name in odd_names() {
        for (path, body, _) in PROTOCOLS {
            let answer = post(&gateway, path, &body.replace("v/model", &name));
            assert_eq!(answer.status, 404, "{name:.50} {}", answer.body);
            assert!(answer.body.len() < 500 && answer.body.is_ascii(), "{:.900}", answer.body);
            logged += 1;
            let line = gateway.access_log(logged).pop().unwrap();
            assert!(line.len() < 800 && member(&line, "requested_model").is_empty(), "{line:.900}");
        }
    }
    for name in ["w/a%0d%0ax:%20y", "w/%00", &format!("w/{}", "x".repeat(300))] {
        let answer = get(gateway.port, &format!("/v1/models/{name}"), &bearer(&gateway));
        assert_eq!(answer.status, 404, "{name}");
        assert!(answer.body.len() < 500, "{}", answer.body);
    }
    // An alias that carries the rest of a name over makes it longer.
    let longest = |prefix: &str| PROTOCOLS[0].1.replace("v/model", &format!("{prefix}{}", "y".repeat(198)));
    assert_eq!(post(&gateway, PROTOCOLS[0].0, &longest("w/")).status, 200);
    assert_eq!(post(&gateway, PROTOCOLS[0].0, &longest("a-")).status, 404);
    assert_eq!(mock.seen().len(), 1);
}

#[test]
fn the_books_know_a_wildcard_by_its_entry() {
    let mock = Mock::scripted(|_, _| json(404, "", r#"{"error":{"message":"no","code":"model_not_found"}}"#));
    let gateway = Gateway::start(&wild(mock.port));
    gateway.command(&["account", "top-up", "default", "10"]);
    for n in 0..20 {
        let body = PROTOCOLS[0].1.replace("v/model", &format!("w/model-{n}"));
        assert_ne!(post(&gateway, PROTOCOLS[0].0, &body).status, 200);
    }
    assert_eq!(mock.seen().len(), 20);
    let books = rusqlite::Connection::open(gateway.data().join("crossmodel.db")).unwrap();
    let tabs = || {
        let mut query = books.prepare("SELECT model FROM tabs").unwrap();
        let rows = query.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.collect::<Result<Vec<_>, _>>().unwrap()
    };
    assert!(eventually(TIME, || tabs() == ["w/*"]), "{:?}", tabs());
}

/// All models of one provider, and an alias that makes their names longer.
fn wild(port: u16) -> String {
    let prices = "prices: [{input: 1000000, output: 2000000}]";
    let model = format!("{{id: w/*, targets: [{{provider: up}}], max_output: 1000, {prices}}}");
    config(port).replace(
        "models:\n",
        &format!("aliases: {{\"a-*\": \"w/long-*\"}}\nbilling: on\nmodels:\n  - {model}\n"),
    )
}

fn bearer(gateway: &Gateway) -> String {
    format!("authorization: Bearer {}\r\n", gateway.key)
}

#[test]
fn two_credentials_are_none() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let gateway = Gateway::start(&config(mock.port));
    let key = &gateway.key;
    for name in ["authorization", "x-api-key", "api-key"] {
        let value = if name == "authorization" { format!("Bearer {key}") } else { key.clone() };
        for other in ["x", value.as_str()] {
            let answer = get(
                gateway.port,
                "/v1/models",
                &format!("{name}: {value}\r\n{}: {other}\r\n", name.to_uppercase()),
            );
            assert_eq!(answer.status, 400, "{name}");
            assert!(answer.text("error.message").contains(name), "{}", answer.body);
        }
        let mut client = Frames::connect(gateway.port);
        let fields = block(&[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "g"),
            (":path", "/v1/models"),
            (name, &value),
            (name, &value),
        ]);
        assert!(client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields)));
        let Told::Answer(head) = client.told(1) else { panic!("{name}") };
        assert_eq!(head.first(), Some(&0x8c), "{name}");
    }
}

/// A Responses request that is translated, whose instructions are large, and its stream.
#[test]
fn what_an_answer_repeats_of_its_request_is_counted_and_sent_whole() {
    const BYTES: &str = "crossmodel_request_bytes_in_flight";
    let (begin, end) = (Gate::new(), Gate::new());
    let delta = |delta: &str, finish: &str| {
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n")
    };
    let first = delta(r#"{"role":"assistant","content":"x"}"#, "null");
    let last = format!("{}data: [DONE]\n\n", delta("{}", "\"stop\""));
    let acts = [
        vec![Act::Await(Arc::clone(&begin))],
        open([first.as_bytes()]),
        vec![Act::Await(Arc::clone(&end)), chunk(last.as_bytes()), Act::Send(b"0\r\n\r\n".to_vec())],
    ];
    let mock = Mock::new(acts.concat());
    let gateway = Gateway::start(&config(mock.port).replace("[chat, responses, messages]", "[chat]"));
    let instructions = "i".repeat(1_000_000);
    let body = format!(r#"{{"model":"v/model","stream":true,"input":"hi","instructions":"{instructions}"}}"#);
    let mut client = Client::connect(gateway.port);
    client.send(request("/v1/responses", &gateway.key, &body).as_bytes());
    // While it waits: what went to the provider, and what the answer will repeat.
    assert!(eventually(TIME, || (2e6..2.1e6).contains(&gateway.metric(BYTES))), "{}", gateway.metric(BYTES));
    begin.open();
    assert_eq!(client.head().0, 200);
    let mut told = client.chunk().unwrap();
    let held = gateway.metric(BYTES);
    assert!((1e6..1.1e6).contains(&held), "{held} while the stream lasts");
    end.open();
    while let Some(chunk) = client.chunk().filter(|chunk| !chunk.is_empty()) {
        told.extend(chunk);
    }
    let told = String::from_utf8(told).unwrap();
    let echoes = told.matches(&format!("\"instructions\":\"{instructions}\"")).count();
    assert_eq!((echoes, told.contains('\0')), (3, false), "created, in_progress, completed");
    assert!(told.lines().filter_map(|line| line.strip_prefix("data: ")).all(is_json));
    assert!(eventually(TIME, || gateway.metric(BYTES) == 0.0));
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}
