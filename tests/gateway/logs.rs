//! What is written about requests, and what never is.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::streams::{STREAMS, streaming};
use crate::support::{
    Act, Client, Gate, Gateway, Mock, PROTOCOLS, UPSTREAM_KEY, ask, chunk, config, eventually, h2_post, json,
    member, open, post, request, sse, whole,
};

const PROMPT: &str = "prompt-canary-5d1f";
const ANSWER: &str = "answer-canary-77ab";

const DEMO: &str = "providers: {demo: {}}\naliases: {fast: demo/chat}\n";

fn line(gateway: &Gateway, number: usize) -> String {
    let lines = gateway.access_log(number + 1);
    lines.get(number).unwrap_or_else(|| panic!("no line {number} in {lines:?}")).clone()
}

fn members(line: &str, paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| member(line, path)).collect()
}

#[test]
fn an_access_line_says_what_happened() {
    let gateway = Gateway::start(DEMO);
    let id = member(&gateway.command(&["key", "list", "--json"]), "0.id");
    let names =
        ["key", "method", "endpoint", "protocol", "requested_model", "model", "provider", "route", "status"];
    for (number, (path, kind, stream)) in [
        ("/v1/chat/completions", "chat", false),
        ("/v1/responses", "responses", false),
        ("/v1/messages", "messages", false),
        ("/v1/chat/completions", "chat", true),
        ("/v1/responses", "responses", true),
        ("/v1/messages", "messages", true),
    ]
    .into_iter()
    .enumerate()
    {
        let input = if kind == "responses" { "input" } else { "messages" };
        let body = format!(
            r#"{{"model":"demo/{kind}","max_tokens":9,"stream":{stream},"{input}":[{{"role":"user","content":"hi"}}]}}"#
        );
        let response = post(&gateway, path, &body);
        assert_eq!(response.status, 200, "{}", response.body);
        let line = line(&gateway, number);
        let model = format!("demo/{kind}");
        assert_eq!(
            members(&line, &names),
            [id.as_str(), "POST", kind, kind, &model, &model, "demo", "relay", "200"],
            "{line}"
        );
        assert_eq!(member(&line, "request_id"), response.header("x-request-id").unwrap());
        assert_eq!(
            members(&line, &["stream", "client_gone", "attempts"]),
            [&stream.to_string(), "false", "1"],
            "{line}"
        );
        let bytes = [body.len().to_string(), response.body.len().to_string()];
        assert_eq!(members(&line, &["bytes_in", "bytes_out"]), bytes, "{line}");
        assert_eq!(members(&line, &["error", "detail"]), ["", ""], "{line}");
        let number =
            |name: &str| member(&line, name).parse::<f64>().unwrap_or_else(|_| panic!("{name}: {line}"));
        assert!(number("first_byte_ms") > 0.0 && number("total_ms") >= number("first_byte_ms"), "{line}");
        assert!(number("prompt_tokens") > 0.0 && number("completion_tokens") == 3.0, "{line}");
        assert!(number("cached_tokens") <= number("prompt_tokens"), "{line}");
        assert!(member(&line, "time").starts_with("20") && member(&line, "time").ends_with('Z'), "{line}");
    }
}

/// Models answer by other names than they were asked by: aliases stand for versions, and routers choose.
#[test]
fn a_line_says_which_model_has_answered_if_it_is_not_the_one_that_was_asked() {
    for (served, told) in
        [("real-model-2026-01-01", "real-model-2026-01-01"), ("real-model", ""), ("a secret answer", "")]
    {
        let mock = Mock::scripted(move |seen, _| match seen.text().contains("\"stream\":true") {
            true => sse([STREAMS[0].replace('@', served).as_bytes()]),
            false => json(200, "", &PROTOCOLS[0].2.replace("real-model-0613", served)),
        });
        let gateway = Gateway::start(&config(mock.port).replace("chat, responses, messages", "chat"));
        for (n, (path, whole, _)) in PROTOCOLS.into_iter().enumerate() {
            for (m, body) in [whole.to_owned(), streaming(n)].into_iter().enumerate() {
                let response = post(&gateway, path, &body);
                assert_eq!(response.status, 200, "{}", response.body);
                let line = line(&gateway, 2 * n + m);
                let names = ["upstream_model", "served_model", "route"];
                let route = if n == 0 { "relay" } else { "translation" };
                assert_eq!(members(&line, &names), ["real-model", told, route], "{line}");
            }
        }
    }
}

#[test]
fn a_line_says_which_http_the_client_spoke() {
    let gateway = Gateway::start(DEMO);
    let (path, body) =
        ("/v1/chat/completions", r#"{"model":"fast","messages":[{"role":"user","content":"hi"}]}"#);
    let version = |number| members(&line(&gateway, number), &["client_protocol_version", "status"]);
    post(&gateway, path, body);
    assert_eq!(version(0), ["HTTP/1.1", "200"]);
    h2_post(gateway.port, path, &gateway.key, body.into(), true);
    assert_eq!(version(1), ["HTTP/2", "200"]);
    let raw = |text: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", gateway.port)).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    };
    raw("GET /v1/models HTTP/1.0\r\n\r\n");
    assert_eq!(version(2), ["HTTP/1.0", "401"]);
    // The others are refused because of their heads.
    raw("CONNECT g:443 HTTP/1.1\r\nhost: g:443\r\n\r\n");
    assert_eq!(version(3), ["HTTP/1.1", "405"]);
    raw("GET /v1/models HTTP/9.9\r\nhost: g\r\n\r\n");
    assert_eq!(version(4), ["", "400"], "it is none that there is");
    let narrow = Gateway::start(&format!("{DEMO}limits: {{head_fields: 1}}\n"));
    h2_post(narrow.port, path, &narrow.key, body.into(), true);
    let refused = members(&line(&narrow, 0), &["client_protocol_version", "status"]);
    assert_eq!(refused, ["HTTP/2", "431"]);
}

#[test]
fn failures_have_a_line_each() {
    let gate = Gate::new();
    let held = gate.clone();
    let mock = Mock::scripted(move |_, n| match n {
        0 => json(401, "", r#"{"error":{"message":"bad key","type":"authentication_error","code":"x"}}"#),
        1 => {
            let event = &b"data: {\"choices\":[]}\n\n"[..];
            open([event]).into_iter().chain([Act::Await(held.clone()), Act::Close]).collect()
        }
        _ => vec![Act::Close],
    });
    let gateway = Gateway::start(&config(mock.port));
    let body = PROTOCOLS[0].1;
    let path = PROTOCOLS[0].0;
    // Lines are written when requests are over, so each waits for the one before.
    ask(gateway.port, "GET", "/v1/nowhere?key=x", "");
    gateway.access_log(1);
    ask(gateway.port, "GET", "/v1/models", "");
    for (number, body) in ["{", &body.replace("v/model", "v/unknown"), body].into_iter().enumerate() {
        gateway.access_log(number + 2);
        post(&gateway, path, body);
    }
    gateway.access_log(5);
    let mut client = Client::connect(gateway.port);
    client.send(request(path, &gateway.key, &body.replacen('{', "{\"stream\":true,", 1)).as_bytes());
    assert_eq!(client.head().0, 200);
    gate.open();
    gateway.access_log(6);
    post(&gateway, path, body);
    let names = ["endpoint", "status", "error", "requested_model", "provider"];
    let lines: Vec<_> = gateway.access_log(7).iter().map(|line| members(line, &names)).collect();
    assert_eq!(
        lines,
        [
            ["unknown", "404", "unknown_url", "", ""],
            ["models", "401", "missing_api_key", "", ""],
            ["chat", "400", "invalid_json", "", ""],
            ["chat", "404", "model_not_found", "v/unknown", ""],
            ["chat", "502", "provider_error", "v/model", "up"],
            // Its status had been sent, and the line still says that it failed.
            ["chat", "200", "provider_error", "v/model", "up"],
            ["chat", "502", "provider_error", "v/model", "up"],
        ]
    );
}

#[test]
fn a_line_names_the_caller_and_what_was_tried() {
    let (bad, better) = (Mock::new(json(500, "", "{}")), Mock::new(json(200, "", PROTOCOLS[0].2)));
    let provider = |name: &str, port: u16| {
        format!(
            "  {name}: {{base_url: \"http://127.0.0.1:{port}/v1\", key: \"env:UPSTREAM_KEY\", protocols: [chat]}}\n"
        )
    };
    let text = format!(
        "providers:\n{}{}models: [{{id: v/model, targets: [{{provider: a, model: one}}, {{provider: b, model: two, priority: 1}}]}}]\n",
        provider("a", bad.port),
        provider("b", better.port)
    );
    let gateway = Gateway::start(&text);
    let (path, body) = (PROTOCOLS[0].0, PROTOCOLS[0].1);
    assert_eq!(post(&gateway, path, body).status, 200);
    let first = line(&gateway, 0);
    let listener = format!("127.0.0.1:{}", gateway.port);
    let account = member(&gateway.command(&["key", "list", "--json"]), "0.account");
    assert_eq!(
        members(&first, &["client", "listener", "account"]),
        ["127.0.0.1", &listener, &account],
        "{first}"
    );
    let tries = ["provider", "model", "status", "error", "detail"];
    let of = |line: &str, n: usize| {
        members(line, &tries.map(|name| format!("tries.{n}.{name}")).each_ref().map(String::as_str))
    };
    assert_eq!(of(&first, 0), ["a", "one", "500", "server", "500"], "{first}");
    assert_eq!(of(&first, 1), ["b", "two", "200", "", ""], "{first}");
    assert!(member(&first, "tries.0.ms").parse::<f64>().unwrap() > 0.0);

    // A credential that nobody knows, one that is none, and an endpoint that there is not.
    let unknown = format!("{}wxyz", &gateway.key[..gateway.key.len() - 4]);
    for (number, (path, key)) in [
        (path, unknown.as_str()),
        (path, "sk-nothing"),
        ("/v1/chat/mesages?x=y", ""),
        (&format!("/{unknown}"), ""),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = Client::connect(gateway.port);
        client.send(request(path, key, body).as_bytes());
        assert!([401, 404].contains(&client.receive().status));
        gateway.access_log(number + 2);
    }
    let hints = |n| members(&line(&gateway, n), &["status", "key_hint", "path", "account"]);
    assert_eq!(hints(1), ["401", "wxyz", "", ""]);
    assert_eq!(hints(2), ["401", "", "", ""]);
    assert_eq!(hints(3), ["404", "", "/v1/chat/mesages", ""]);
    assert_eq!(hints(4), ["404", "", "", ""], "a path that holds a secret is not written");
}

#[test]
fn a_line_tells_the_limit_and_no_more_of_the_client_than_it_may() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let text =
        format!("access_log: {{to: \"@FOLDER@/access.log\", client: truncated}}\n{}", config(mock.port));
    let mut gateway = Gateway::start(&text);
    let made = gateway.command(&["key", "create", "--rpm", "1"]);
    gateway.key = made.lines().next().unwrap().to_owned();
    let call = || post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1).status;
    assert_eq!([call(), call()], [200, 429]);
    let facts = |n| members(&line(&gateway, n), &["status", "limit", "client"]);
    assert_eq!(facts(0), ["200", "", "127.0.0.0"]);
    assert_eq!(facts(1), ["429", "key.rpm", "127.0.0.0"]);
}

#[test]
fn a_client_that_goes_is_noted_and_its_provider_is_released() {
    let mock = Mock::new(open([&b"data: {\"choices\":[]}\n\n"[..]]).into_iter().chain([Act::Hold]).collect());
    let gateway = Gateway::start(&config(mock.port));
    let mut client = Client::connect(gateway.port);
    let body = PROTOCOLS[0].1.replacen('{', "{\"stream\":true,", 1);
    client.send(request(PROTOCOLS[0].0, &gateway.key, &body).as_bytes());
    assert_eq!(client.head().0, 200);
    assert!(client.chunk().is_some());
    drop(client);
    let line = line(&gateway, 0);
    assert_eq!(members(&line, &["client_gone", "stream", "status"]), ["true", "true", "200"], "{line}");
    assert!(eventually(Duration::from_secs(5), || mock.left() == 1), "the provider goes on for nobody");
}

/// A provider that puts everything that must not be logged into each kind of answer it can give.
fn indiscreet() -> Mock {
    let told = format!("{PROMPT} {ANSWER} {UPSTREAM_KEY}");
    let error = format!(r#"{{"error":{{"message":"{told}","type":"{told}","code":"{told}"}}}}"#);
    let event = format!("data: {{\"model\":\"m\",\"choices\":[],\"x\":\"{told}\"}}\n\n");
    let broken = format!("data: {{\"error\":{{\"message\":\"{told}\",\"code\":\"server_error\"}}}}\n\n");
    let headers = format!("x-request-id: {UPSTREAM_KEY}\r\nset-cookie: {told}\r\n");
    Mock::scripted(move |_, n| match n {
        0 => json(200, &headers, &format!(r#"{{"model":"m","choices":[],"x":"{told}"}}"#)),
        1 => sse([event.as_bytes(), b"data: [DONE]\n\n"]),
        2 => json(400, &headers, &error),
        3 => json(401, &headers, &error),
        4 => json(429, &headers, &error),
        5 => json(500, &headers, &error),
        6 => json(200, "", &error),
        7 => json(200, "", &told),
        8 => whole(502, "content-type: text/html\r\n", told.as_bytes()),
        9 => open([event.as_bytes()]).into_iter().chain([Act::Close]).collect(),
        10 => {
            open([event.as_bytes(), broken.as_bytes()]).into_iter().chain([chunk(b""), Act::Close]).collect()
        }
        11 => vec![
            Act::Send(format!("HTTP/1.1 200 {told}\r\nx-{told}\x01: {told}\r\n\r\n").into_bytes()),
            Act::Close,
        ],
        12 => vec![Act::Send(told.clone().into_bytes()), Act::Close],
        13 => whole(302, &format!("location: http://127.0.0.1:1/{UPSTREAM_KEY}\r\n"), b""),
        _ => vec![Act::Close],
    })
}

/// Requests that go wrong before a provider sees them, each full of what must not be logged.
fn clumsy(gateway: &Gateway) -> Vec<String> {
    let (path, key) = (PROTOCOLS[0].0, gateway.key.as_str());
    vec![
        request(path, &format!("{key}x"), PROMPT),
        request(path, key, &format!("{{\"model\":\"v/model\",\"messages\":\"{PROMPT}")),
        request(path, key, &format!("[\"{PROMPT}\"]")),
        request(path, key, &format!("{{\"model\":{{\"a\":\"{PROMPT}\"}}}}")),
        request(path, key, &format!("{{\"model\":\"v/model\",\"stream\":\"{PROMPT}\",\"messages\":[]}}")),
        request(&format!("/v1/nowhere/{key}?key={key}&prompt={PROMPT}"), key, PROMPT),
        format!("GET /v1/models?after_id={PROMPT}&key={key} HTTP/1.1\r\nhost: g\r\nx-api-key: {key}\r\n\r\n"),
        format!(
            "POST {path} HTTP/1.1\r\nhost: g\r\nauthorization: Basic {key}\r\ncookie: {key}\r\ncontent-length: 2\r\n\r\n{{}}"
        ),
        format!("POST {path} HTTP/1.1\r\nhost: g\r\nx-api-key: {key}\r\nx-{key}\x01: {PROMPT}\r\n\r\n"),
        format!(
            "POST {path} HTTP/1.1\r\nhost: {key}\r\nx-api-key: {key}\r\ntransfer-encoding: {PROMPT}\r\n\r\n{PROMPT}"
        ),
        format!("{PROMPT} {key}\r\n\r\n"),
        format!(
            "POST {path} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {key}\r\ncontent-encoding: {PROMPT}\r\ncontent-length: 2\r\n\r\n{{}}"
        ),
    ]
}

#[test]
fn no_level_of_logging_shows_a_secret_a_prompt_or_an_answer() {
    let mock = indiscreet();
    let gateway = Gateway::start_with(&config(mock.port), &[], &[("RUST_LOG", "trace")]);
    for number in 0..15 {
        let stream = matches!(number, 1 | 9 | 10);
        let body = format!(
            r#"{{"model":"v/model","stream":{stream},"messages":[{{"role":"user","content":"{PROMPT}"}}]}}"#
        );
        post(&gateway, PROTOCOLS[0].0, &body);
    }
    let seen = mock.seen();
    assert!(seen.len() >= 15 && seen.iter().all(|seen| seen.text().contains(PROMPT)), "{}", seen.len());
    assert_eq!(seen[0].header("authorization"), Some(format!("Bearer {UPSTREAM_KEY}").as_str()));
    for bytes in clumsy(&gateway) {
        let mut stream = TcpStream::connect(("127.0.0.1", gateway.port)).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        // Some of these are answered, all end; a reset is an end, too.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    h2_post(gateway.port, PROTOCOLS[0].0, &gateway.key, format!("{{\"x\":\"{PROMPT}\"").into(), true);
    gateway.signal("HUP");
    assert!(
        eventually(Duration::from_secs(5), || gateway.stderr().contains("has not changed")),
        "it does log"
    );

    let lines = gateway.access_log(15 + 8).join("\n");
    assert!(lines.lines().count() >= 15 + 8, "{lines}");
    let metrics = crate::support::get(gateway.admin, "/metrics", "").body;
    for (name, text) in [
        ("stderr", gateway.stderr()),
        ("stdout", gateway.stdout()),
        ("access log", lines),
        ("metrics", metrics),
    ] {
        for secret in [PROMPT, ANSWER, UPSTREAM_KEY, &gateway.key, &gateway.key[3..]] {
            let found = text.lines().find(|line| line.contains(secret));
            assert!(found.is_none(), "{secret} in {name}: {found:?}");
        }
    }
}

/// Calls that are answered whatever becomes of their lines, which are more than a pipe takes.
fn calls(gateway: &Gateway, count: usize) {
    let mut client = Client::connect(gateway.port);
    for n in 0..count {
        client.send(request(PROTOCOLS[0].0, &gateway.key, PROTOCOLS[0].1).as_bytes());
        assert_eq!(client.receive().status, 200, "{n}");
    }
}

#[test]
fn readers_that_stop_or_go_and_full_disks_hold_nobody_up() {
    const DROPPED: &str = "crossmodel_access_lines_dropped_total";
    const OK: &str = "crossmodel_config_reloads_total{result=\"ok\"}";
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let good = format!("access_log: stdout\n{}", config(mock.port));
    let (mut gateway, stdout, stderr) = Gateway::unread(&good);
    // More on standard error than a pipe takes, and then something that has to be done all the same.
    let wrong: String = (0..4000).map(|n| format!("no-such-setting-{n}: 1\n")).collect();
    gateway.configure(&format!("{wrong}{good}"));
    gateway.signal("HUP");
    assert!(eventually(SOON, || gateway.metric(&OK.replace("ok", "refused")) >= 1.0));
    gateway.configure(&good);
    for n in 1..=3 {
        gateway.signal("HUP");
        assert!(eventually(SOON, || gateway.metric(OK) >= f64::from(n)), "{n}");
    }
    // Nobody reads either pipe, and lines wait in memory.
    calls(&gateway, 400);
    assert_eq!(gateway.metric(DROPPED), 0.0);
    drop((stdout, stderr));
    calls(&gateway, 20);
    assert!(eventually(SOON, || gateway.metric(DROPPED) > 0.0), "what nobody can read any more is lost");
    gateway.signal("TERM");
    assert_eq!(gateway.await_end(Duration::from_secs(60)), Some(0));

    if std::path::Path::new("/dev/full").exists() {
        let full = Gateway::start(&format!("access_log: /dev/full\n{}", config(mock.port)));
        calls(&full, 20);
        assert!(eventually(SOON, || full.metric(DROPPED) >= 20.0), "{}", full.metric(DROPPED));
    }
}

#[test]
fn a_gateway_that_nobody_listens_to_still_ends() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let (mut gateway, _stdout, _stderr) =
        Gateway::unread(&format!("access_log: stdout\n{}", config(mock.port)));
    calls(&gateway, 400);
    gateway.signal("TERM");
    assert_eq!(gateway.await_end(Duration::from_secs(60)), Some(0));
}

/// For what happens at once; the rest is for slow machines.
const SOON: Duration = Duration::from_secs(20);
