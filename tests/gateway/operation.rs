//! What operators rely on: an orderly end, memory that does not follow the size of answers, tokens counted.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::streams::{STREAMS, streaming};
use crate::support::{
    Act, Client, Gate, Gateway, Mock, PROTOCOLS, chunk, config, eventually, json, member, open, post,
    request, sse,
};

#[test]
fn told_to_stop_it_lets_running_streams_end() {
    let gate = Gate::new();
    let events = STREAMS[2].replace('@', "real-model");
    let (first, rest) = events.split_at(events.find("\n\n").unwrap() + 2);
    let mut script = open([first.as_bytes()]);
    script.extend([Act::Await(gate.clone()), chunk(rest.as_bytes()), Act::Send(b"0\r\n\r\n".to_vec())]);
    let mock = Mock::new(script);
    let mut gateway = Gateway::start(&format!("timeouts: {{drain: 600}}\n{}", config(mock.port)));
    let mut client = Client::connect(gateway.port);
    client.send(request(PROTOCOLS[2].0, &gateway.key, &streaming(2)).as_bytes());
    assert_eq!(client.head().0, 200);
    let mut body = client.chunk().unwrap();
    gateway.signal("TERM");
    let refuses = || TcpStream::connect(("127.0.0.1", gateway.port)).is_err();
    assert!(eventually(Duration::from_secs(2), refuses), "no new connections");
    gate.open();
    while let Some(part) = client.chunk().filter(|part| !part.is_empty()) {
        body.extend(part);
    }
    assert_eq!(String::from_utf8(body).unwrap(), STREAMS[2].replace('@', "v/model"));
    assert_eq!(gateway.await_end(Duration::from_secs(60)), Some(0), "{}", gateway.stderr());
    let line = gateway.access_log(1).remove(0);
    assert_eq!(
        (member(&line, "status"), member(&line, "client_gone")),
        ("200".to_owned(), "false".to_owned())
    );
}

#[test]
fn told_to_stop_it_answers_once_more_on_idle_connections_and_does_not_wait_for_them() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let mut gateway = Gateway::start(&format!("timeouts: {{drain: 600}}\n{}", config(mock.port)));
    let text = request(PROTOCOLS[0].0, &gateway.key, PROTOCOLS[0].1);
    let mut clients = [Client::connect(gateway.port), Client::connect(gateway.port)];
    for client in &mut clients {
        client.send(text.as_bytes());
        let answer = client.receive();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("keep-alive")));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let port = gateway.port;
    let (_h2, connection) = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (client, mut connection) = h2::client::handshake(stream).await.unwrap();
        let client = client.ready();
        let client =
            tokio::select! { client = client => client.unwrap(), end = &mut connection => panic!("{end:?}") };
        // Until the gateway knows that this is HTTP/2.
        let _ = tokio::time::timeout(Duration::from_millis(200), &mut connection).await;
        (client, connection)
    });
    gateway.signal("TERM");
    // It has heard the signal when it does not accept any more.
    let soon = Duration::from_secs(20);
    assert!(eventually(soon, || TcpStream::connect(("127.0.0.1", port)).is_err()));
    clients[0].send(text.as_bytes());
    let answer = clients[0].receive();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    let ended = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), connection).await });
    assert!(ended.is_ok_and(|end| end.is_ok()), "it is told to go, and not cut off");
    assert!(clients.iter_mut().all(Client::ends));
    assert_eq!(gateway.await_end(Duration::from_secs(60)), Some(0), "{}", gateway.stderr());
    assert_eq!(gateway.access_log(3).len(), 3);
}

#[test]
fn streams_that_are_still_running_at_the_end_are_told_so() {
    let word = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n";
    const WORDS: usize = 60;
    let gate = Gate::new();
    let held = gate.clone();
    let mock = Mock::scripted(move |_, n| {
        let mut script = open([word.as_bytes()]);
        // The one that is relayed says something more, the one that is translated does not.
        script.extend(match n {
            0 => (0..WORDS).flat_map(|_| [Act::Await(held.clone()), chunk(word.as_bytes())]).collect(),
            _ => Vec::new(),
        });
        script.push(Act::Hold);
        script
    });
    let chat = config(mock.port).replace("[chat, responses, messages]", "[chat]");
    let mut gateway = Gateway::start(&format!("timeouts: {{drain: 0}}\n{chat}"));
    let mut streams: Vec<_> = [0, 2]
        .map(|protocol| {
            let mut client = Client::connect(gateway.port);
            client.send(request(PROTOCOLS[protocol].0, &gateway.key, &streaming(protocol)).as_bytes());
            assert_eq!(client.head().0, 200);
            assert!(client.chunk().is_some());
            client
        })
        .into();
    gateway.signal("TERM");
    let speaking = std::thread::spawn(move || {
        for _ in 0..WORDS {
            gate.open();
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    for client in &mut streams {
        let mut rest = Vec::new();
        while let Some(part) = client.chunk().filter(|part| !part.is_empty()) {
            rest.extend(part);
        }
        let rest = String::from_utf8(rest).unwrap();
        assert!(rest.contains("The gateway is being stopped"), "{rest}");
    }
    assert_eq!(gateway.await_end(Duration::from_secs(60)), Some(0), "{}", gateway.stderr());
    for line in gateway.access_log(2) {
        assert_eq!(member(&line, "error"), "shutting_down", "{line}");
    }
    speaking.join().unwrap();
}

#[test]
fn an_interrupt_ends_it_at_once_and_the_log_is_whole() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let mut gateway = Gateway::start(&config(mock.port));
    for _ in 0..20 {
        assert_eq!(post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1).status, 200);
    }
    gateway.signal("INT");
    assert_eq!(gateway.await_end(Duration::from_secs(10)), Some(0), "{}", gateway.stderr());
    assert_eq!(gateway.access_log(20).len(), 20);
}

#[test]
fn a_client_that_does_not_read_holds_the_provider_back() {
    // Events that are larger in all than what sockets and gateway may keep between them.
    let event = format!(": {}\n\n", "x".repeat(64 << 10));
    let count = 1_000;
    let end = STREAMS[2].replace('@', "real-model");
    let mut script = sse(std::iter::repeat_n(event.as_bytes(), count).chain([end.as_bytes()]));
    script.push(Act::Close);
    let mock = Mock::new(script);
    let gateway = Gateway::start(&config(mock.port));
    let before = gateway.peak_memory();
    let mut client = Client::connect(gateway.port);
    client.send(request(PROTOCOLS[2].0, &gateway.key, &streaming(2)).as_bytes());
    assert_eq!(client.head().0, 200);
    // Memory stands still although the provider has more to say.
    let mut seen = gateway.peak_memory();
    let still = eventually(Duration::from_secs(5), || {
        std::thread::sleep(Duration::from_millis(200));
        std::mem::replace(&mut seen, gateway.peak_memory()) == seen
    });
    assert!(still && seen - before < 16 << 10, "{before} KiB, then {seen} KiB");
    let mut received = 0;
    while let Some(part) = client.chunk().filter(|part| !part.is_empty()) {
        received += part.len();
    }
    assert_eq!(received, count * event.len() + STREAMS[2].replace('@', "v/model").len());
    assert!(gateway.peak_memory() - before < 16 << 10, "{} KiB", gateway.peak_memory());
}

#[test]
fn tokens_are_counted_by_model_and_kind() {
    let usage = r#""usage":{"input_tokens":7,"cache_read_input_tokens":5,"cache_creation_input_tokens":3,"output_tokens":2}"#;
    let answer = PROTOCOLS[2].2.replace(r#""usage":{"input_tokens":3,"output_tokens":2}"#, usage);
    let mock = Mock::new(json(200, "", &answer));
    let gateway = Gateway::start(&format!("aliases: {{mine: v/model}}\n{}", config(mock.port)));
    for _ in 0..2 {
        let response = post(&gateway, PROTOCOLS[2].0, &PROTOCOLS[2].1.replace("v/model", "mine"));
        assert_eq!(response.text("model"), "mine");
    }
    let count =
        |kind: &str| gateway.metric(&format!("crossmodel_tokens_total{{kind=\"{kind}\",model=\"v/model\"}}"));
    assert!(eventually(Duration::from_secs(2), || count("output") >= 4.0));
    assert_eq!(["input", "cache_read", "cache_write", "output"].map(count), [14.0, 10.0, 6.0, 4.0]);
    let line = gateway.access_log(2).pop().unwrap();
    let of = |name: &str| member(&line, name);
    assert_eq!([of("prompt_tokens"), of("cached_tokens"), of("completion_tokens")], ["15", "5", "2"]);
    assert_eq!([of("requested_model"), of("model")], ["mine", "v/model"]);
}

#[test]
fn nothing_is_counted_while_metrics_are_off() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let on = config(mock.port);
    let off = format!("metrics: off\n{on}");
    let gateway = Gateway::start(&off);
    let counted = || {
        let sent = "crossmodel_requests_total{code=\"\",endpoint=\"chat\",status=\"200\"}";
        let tried = "crossmodel_target_attempts_total{model=\"v/model\",provider=\"up\"}";
        [sent, tried].map(|name| gateway.metric(name))
    };
    let reloads = || gateway.metric("crossmodel_config_reloads_total{result=\"ok\"}");
    let call = || assert_eq!(post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1).status, 200);
    call();
    for (n, settings) in [(1_u8, &on), (2, &off)] {
        gateway.configure(settings);
        gateway.signal("HUP");
        assert!(eventually(Duration::from_secs(20), || reloads() >= f64::from(n)));
        call();
        gateway.access_log(usize::from(n + 1));
        assert!(eventually(Duration::from_secs(2), || counted() == [1.0, 1.0]), "{:?}", counted());
    }
    assert_eq!(gateway.metric("crossmodel_target_in_flight{model=\"v/model\",provider=\"up\"}"), 0.0);
}

#[test]
fn a_stream_is_measured_by_target_and_by_limit() {
    let gateway = Gateway::start("providers: {demo: {}}\n");
    let limited = gateway.command(&["key", "create", "--rpm", "1", "--json"]);
    let body =
        r#"{"model":"demo/chat","stream":true,"messages":[{"role":"user","content":"[demo:slow=5] a b c"}]}"#;
    for (key, status) in [(member(&limited, "secret"), 200), (member(&limited, "secret"), 429)] {
        let mut client = Client::connect(gateway.port);
        client.send(request(PROTOCOLS[0].0, &key, body).as_bytes());
        assert_eq!(client.receive().status, status);
    }
    let of = |name: &str| gateway.metric(&format!("crossmodel_{name}"));
    assert!(eventually(Duration::from_secs(2), || of("limit_refusals_total{limit=\"requests\"}") == 1.0));
    let target = |name: &str| of(&format!("target_{name}{{model=\"demo/chat\",provider=\"demo\"}}"));
    assert_eq!((target("attempts_total"), target("first_byte_seconds_count")), (1.0, 1.0));
    assert!(target("event_gap_seconds_count") >= 2.0);
    assert!(target("event_gap_seconds_sum") > 0.0);
    let tokens =
        |direction: &str| of(&format!("call_tokens_sum{{direction=\"{direction}\",model=\"demo/chat\"}}"));
    let line = gateway.access_log(1).remove(0);
    let logged: [f64; 2] =
        ["prompt_tokens", "completion_tokens"].map(|name| member(&line, name).parse().unwrap());
    assert_eq!([tokens("input"), tokens("output")], logged);
    assert_eq!(
        (member(&line, "finish_reason"), member(&line, "upstream_model")),
        ("stop".into(), "chat".into())
    );
}

#[test]
fn a_request_that_says_its_length_in_two_ways_has_one_reading_or_none() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let gateway = Gateway::start(&config(mock.port));
    let (path, body, _) = PROTOCOLS[0];
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let smuggled = "GET /v1/models HTTP/1.1\r\nhost: g\r\n\r\n";
    for framing in [
        format!("content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n{chunked}{smuggled}"),
        format!("transfer-encoding: chunked\r\ncontent-length: {}\r\n\r\n{chunked}{smuggled}", chunked.len()),
        format!("content-length: {0}\r\ncontent-length: {0}\r\n\r\n{body}", body.len()),
        format!("content-length: {}\r\ncontent-length: 3\r\n\r\n{body}", body.len()),
        format!("content-length: +{}\r\n\r\n{body}", body.len()),
        format!("transfer-encoding: gzip, chunked\r\n\r\n{chunked}"),
        format!("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n{chunked}"),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", gateway.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: g\r\nconnection: close\r\nauthorization: Bearer {}\r\n{framing}",
            gateway.key
        );
        stream.write_all(head.as_bytes()).unwrap();
        let start = Instant::now();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(start.elapsed() < Duration::from_secs(4), "{framing}: nobody waits for what never comes");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{framing}: {answer}");
        for seen in mock.take() {
            assert_eq!(seen.text(), body.replace("v/model", "real-model"), "{framing}: {answer}");
        }
    }
}
