//! Clients that are slow, many, or never satisfied: they are left in time, and hold nobody up.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;
use tokio::runtime::Builder;

use crate::money;
use crate::overload::gated;
use crate::support::{
    Client, Gateway, Mock, PROTOCOLS, config, eventually, get, h2_post, json, post, request,
};

const CONNECTIONS: &str = "crossmodel_connections";

/// A gateway with these limits, before a provider that answers everything.
fn start(limits: &str) -> (Gateway, Mock) {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let gateway = Gateway::start(&format!("limits: {{{limits}}}\n{}", config(mock.port)));
    (gateway, mock)
}

fn call(gateway: &Gateway) -> u16 {
    post(gateway, PROTOCOLS[0].0, PROTOCOLS[0].1).status
}

#[test]
fn slow_heads_are_left_and_hold_nobody_up() {
    let (gateway, mock) = start("head_seconds: 2");
    let begun = Instant::now();
    let mut slow: Vec<_> = (0..200).map(|_| Client::connect(gateway.port)).collect();
    for client in &mut slow {
        client.send(b"POST /v1/messages HTTP/1.1\r\nhost: g\r\nx: ");
    }
    // Neither does the beginning of an HTTP/2 connection wait for ever, nor a single byte.
    for beginning in ["PRI * HTTP/2.0\r\n", "P"] {
        let mut client = Client::connect(gateway.port);
        client.send(beginning.as_bytes());
        slow.push(client);
    }
    let mut served = 0;
    while begun.elapsed() < Duration::from_millis(1500) {
        assert_eq!(call(&gateway), 200);
        served += 1;
        // A byte now and then buys no time.
        slow.iter_mut().for_each(|client| client.send(b"x"));
        thread::sleep(Duration::from_millis(200));
    }
    for (n, client) in slow.iter_mut().enumerate() {
        let response = client.receive();
        assert_eq!((response.status, response.header("connection")), (408, Some("close")));
        let code = if n < 200 { "type" } else { "error.code" };
        assert_eq!(response.text(code), if n < 200 { "error" } else { "request_timeout" }, "{response:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(mock.seen().len(), served);
    assert!(gateway.metric("crossmodel_heads_refused_total{reason=\"slow\"}") >= 202.0);
    drop(slow);
    assert!(eventually(Duration::from_secs(5), || gateway.metric(CONNECTIONS) == 0.0));
}

#[test]
fn connections_end_when_they_are_idle_or_old() {
    let (gateway, _mock) = start("idle_seconds: 1, connection_seconds: 2");
    let begun = Instant::now();
    let (mut silent, mut idle, mut old) =
        (Client::connect(gateway.port), Client::connect(gateway.port), Client::connect(gateway.port));
    idle.send(request(PROTOCOLS[0].0, &gateway.key, PROTOCOLS[0].1).as_bytes());
    assert_eq!(idle.receive().header("connection"), Some("keep-alive"));
    let mut last = None;
    while last.as_deref() != Some("close") {
        old.send(request(PROTOCOLS[0].0, &gateway.key, PROTOCOLS[0].1).as_bytes());
        let response = old.receive();
        assert_eq!(response.status, 200);
        last = response.header("connection").map(str::to_owned);
        thread::sleep(Duration::from_millis(300));
    }
    assert!((2.0..4.0).contains(&begun.elapsed().as_secs_f64()), "{:?}", begun.elapsed());
    assert!(old.ends() && idle.ends() && silent.ends());
}

#[test]
fn http2_connections_end_when_they_are_old() {
    let (gateway, _mock) = start("connection_seconds: 1");
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        let mut client = client.ready().await.unwrap();
        let (response, _) =
            client.send_request(http::Request::get("http://gateway/").body(()).unwrap(), true).unwrap();
        let connection = tokio::spawn(connection);
        assert_eq!(response.await.unwrap().status(), 200);
        let ended = tokio::time::timeout(Duration::from_secs(5), connection).await;
        assert!(ended.unwrap().unwrap().is_ok(), "it ends with a good-bye");
    });
}

#[test]
fn slow_bodies_are_left_and_steady_ones_are_not() {
    let (gateway, mock) = start("body_grace_seconds: 1, body_bytes_per_second: 500");
    for framing in ["content-length: 100000", "transfer-encoding: chunked"] {
        let begun = Instant::now();
        let mut client = Client::connect(gateway.port);
        let head = format!(
            "POST /v1/messages HTTP/1.1\r\nhost: g\r\nx-api-key: {}\r\n{framing}\r\n\r\n",
            gateway.key
        );
        client.send(head.as_bytes());
        for _ in 0..20 {
            if !client.try_send(b"5\r\n{   \n\r\n") {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
        let response = client.receive();
        assert_eq!((response.status, response.text("error.type").as_str()), (408, "invalid_request_error"));
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    }
    assert!(mock.seen().is_empty());

    let body = PROTOCOLS[0].1.replace("hi", &"h".repeat(2000));
    let mut steady = Client::connect(gateway.port);
    let text = request(PROTOCOLS[0].0, &gateway.key, &body);
    for piece in text.as_bytes().chunks(200) {
        steady.send(piece);
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(steady.receive().status, 200);
}

#[test]
fn connections_have_caps() {
    let (gateway, _mock) = start("connections: 12, connections_per_address: 8");
    assert!(eventually(Duration::from_secs(5), || gateway.metric(CONNECTIONS) == 0.0));
    let mut own: Vec<_> = (0..8).map(|_| Client::connect(gateway.port)).collect();
    assert!(eventually(Duration::from_secs(5), || gateway.metric(CONNECTIONS) == 8.0));
    assert!(Client::connect(gateway.port).ends());
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let from = |address: &str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
        let to = format!("127.0.0.1:{}", gateway.port).parse().unwrap();
        let stream = runtime.block_on(socket.connect(to)).unwrap().into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    };
    let others: Vec<_> = (0..4).map(|_| from("127.0.0.2")).collect();
    assert!(eventually(Duration::from_secs(5), || gateway.metric(CONNECTIONS) == 12.0));
    assert!(matches!(from("127.0.0.3").read(&mut [0]), Ok(0) | Err(_)));
    for (cap, count) in [("address", 1.0), ("total", 1.0)] {
        let name = format!("crossmodel_connections_refused_total{{cap=\"{cap}\"}}");
        assert_eq!(gateway.metric(&name), count, "{cap}");
    }
    // Those that are there are served, and who goes makes room.
    own[0].send(request(PROTOCOLS[0].0, &gateway.key, PROTOCOLS[0].1).as_bytes());
    assert_eq!(own[0].receive().status, 200);
    drop((own, others));
    assert!(eventually(Duration::from_secs(5), || gateway.metric(CONNECTIONS) == 0.0));
    assert_eq!(call(&gateway), 200);
}

#[test]
fn heads_have_caps_while_they_arrive() {
    let (gateway, mock) = start("head_bytes: 20000");
    let line = format!("x: {}\r\n", "y".repeat(1000));
    for (end, count) in [("\r\n", 30), ("", 30), ("", 100)] {
        let mut client = Client::connect(gateway.port);
        let sent = format!("GET /v1/models HTTP/1.1\r\nhost: g\r\n{}{end}", line.repeat(count));
        client.try_send(sent.as_bytes());
        let response = client.receive();
        assert_eq!(response.status, 431);
        assert_eq!(response.text("error.code"), "request_headers_too_large");
    }
    let fitting = line.repeat(15);
    assert_eq!(get(gateway.port, "/v1/models", &fitting).status, 401);
    let mut client = Client::connect(gateway.port);
    client.try_send(&[b"GET /".as_slice(), &[b'a'; 1 << 20]].concat());
    assert_eq!(client.receive().status, 431);
    assert!(mock.seen().is_empty());
}

/// A provider that sends events for as long as they are taken, up to `most` bytes each time.
pub(crate) fn endless(most: usize) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let event = format!(
        "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":[{{\"index\":0,\
         \"delta\":{{\"content\":\"{}\"}}}}]}}\n\n",
        "x".repeat(4000)
    );
    let chunk = format!("{:x}\r\n{event}\r\n", event.len());
    let serve = move |mut stream: TcpStream, chunk: &str| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut left = most;
        let mut alive = stream.read(&mut [0; 4096]).is_ok() && stream.write_all(head.as_bytes()).is_ok();
        while alive && left > 0 {
            left = left.saturating_sub(chunk.len());
            alive = stream.write_all(chunk.as_bytes()).is_ok();
        }
    };
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let chunk = chunk.clone();
            thread::spawn(move || serve(stream, &chunk));
        }
    });
    port
}

#[test]
fn clients_that_do_not_read_take_little_memory() {
    const CLIENTS: usize = 20;
    let gateway = Gateway::start(&config(endless(32 << 20)));
    let body = PROTOCOLS[0].1.replace("{\"model\"", "{\"stream\":true,\"model\"");
    let before = gateway.peak_memory();
    let stalled: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = Client::connect(gateway.port);
            client.send(request(PROTOCOLS[0].0, &gateway.key, &body).as_bytes());
            assert_eq!(client.head().0, 200);
            client
        })
        .collect();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let over_h2 = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut all = Vec::new();
        for _ in 0..CLIENTS {
            client = client.ready().await.unwrap();
            let head = http::Request::post(format!("http://gateway{}", PROTOCOLS[0].0))
                .header("authorization", format!("Bearer {}", gateway.key));
            let (response, mut stream) = client.send_request(head.body(()).unwrap(), false).unwrap();
            stream.send_data(body.clone().into(), true).unwrap();
            all.push(response.await.unwrap().into_body());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        all
    });
    let grown = gateway.peak_memory().saturating_sub(before);
    assert!(grown < 2 * CLIENTS as u64 * 512, "{grown} KiB for {} clients", 2 * CLIENTS);
    assert_eq!(get(gateway.port, "/v1/models", "").status, 401, "others are served");
    drop((stalled, over_h2, runtime));
    assert!(eventually(Duration::from_secs(5), || gateway.metric("crossmodel_requests_in_flight") == 0.0));
}

#[test]
fn streams_that_are_reset_at_once_leave_nothing_behind() {
    let (gateway, mock) = start("");
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let opened = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut opened = 0;
        for _ in 0..2000 {
            // The gateway says good-bye to such a client at some time.
            let Ok(ready) = client.ready().await else { break };
            client = ready;
            let head = http::Request::post(format!("http://gateway{}", PROTOCOLS[0].0))
                .header("authorization", format!("Bearer {}", gateway.key));
            let Ok((_, mut stream)) = client.send_request(head.body(()).unwrap(), false) else { break };
            stream.send_reset(h2::Reason::CANCEL);
            opened += 1;
            tokio::task::yield_now().await;
        }
        opened
    });
    assert!(opened > 0);
    assert!(mock.seen().is_empty(), "a request without its body goes nowhere");
    assert!(eventually(Duration::from_secs(5), || {
        gateway.metric("crossmodel_requests_in_flight") + gateway.metric("crossmodel_ledger_open_holds")
            == 0.0
    }));
    assert_eq!(h2_post(gateway.port, PROTOCOLS[0].0, &gateway.key, PROTOCOLS[0].1.into(), false).status, 200);
}

/// Who asks for a stream and reads none of it is left when the time for a write is over, whichever way the
/// answer takes, and pays for what was sent.
#[test]
fn clients_that_stop_reading_are_left_in_time() {
    let settings = format!("limits: {{write_seconds: 1}}\n{}", money::config(endless(256 << 20)));
    let gateway = Gateway::start(&settings);
    gateway.command(&["account", "top-up", "default", "10"]);
    let in_flight = || gateway.metric("crossmodel_requests_in_flight");
    for client in [0, 2] {
        let begun = Instant::now();
        let mut stalled = Client::connect(gateway.port);
        let text = money::body(client, "v/chat", "\"stream\":true,");
        stalled.send(request(PROTOCOLS[client].0, &gateway.key, &text).as_bytes());
        assert_eq!(stalled.head().0, 200);
        assert!(
            eventually(Duration::from_secs(20), || in_flight() == 0.0),
            "protocol {client} over HTTP/1.1"
        );
        assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
    }
    for client in [0, 2] {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let stalled = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap();
            let (sender, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            let mut sender = sender.ready().await.unwrap();
            let head = http::Request::post(format!("http://gateway{}", PROTOCOLS[client].0))
                .header("authorization", format!("Bearer {}", gateway.key));
            let (response, mut stream) = sender.send_request(head.body(()).unwrap(), false).unwrap();
            stream.send_data(money::body(client, "v/chat", "\"stream\":true,").into(), true).unwrap();
            (response.await.unwrap().into_body(), sender)
        });
        assert!(eventually(Duration::from_secs(20), || in_flight() == 0.0), "protocol {client} over HTTP/2");
        drop(stalled);
    }
    let charges = money::audited(&gateway);
    assert_eq!(charges.len(), 4);
    assert!(charges.iter().all(|(outcome, cost)| outcome == "estimated" && *cost > 0), "{charges:?}");
}

/// Connections that only wait take places for no longer than they may.
#[test]
fn idle_connections_make_room() {
    let (gateway, _mock) = start("idle_seconds: 2, connections: 300, connections_per_address: 300");
    let files = gateway.files();
    let mut idle = Vec::new();
    for n in 0..300 {
        let mut client = Client::connect(gateway.port);
        if n % 3 == 0 {
            client.send(request(PROTOCOLS[0].0, &gateway.key, PROTOCOLS[0].1).as_bytes());
            assert_eq!(client.receive().status, 200);
        }
        idle.push(client);
    }
    // Some of the first ones may have been left already.
    assert!(eventually(Duration::from_secs(10), || gateway.metric(CONNECTIONS) == 0.0));
    assert!(idle.iter_mut().all(Client::ends));
    assert_eq!(call(&gateway), 200);
    assert!(gateway.files() <= files + 20, "{} files, then {}", files, gateway.files());
}

/// Without a file descriptor left, nothing spins, what runs goes on, and later all is well again.
#[test]
fn without_files_it_waits_and_recovers() {
    let (mock, gate) = gated();
    let settings = "limits: {connections: 5000, connections_per_address: 5000, idle_seconds: 600}";
    let gateway = Gateway::start(&format!("{settings}\n{}", config(mock.port)));
    let mut running = Client::connect(gateway.port);
    running.send(request(PROTOCOLS[0].0, &gateway.key, PROTOCOLS[0].1).as_bytes());
    assert!(eventually(Duration::from_secs(5), || mock.seen().len() == 1));
    gateway.limit_files(gateway.files() as u64 + 50);
    let crowd: Vec<_> =
        (0..400).filter_map(|_| TcpStream::connect(("127.0.0.1", gateway.port)).ok()).collect();
    thread::sleep(Duration::from_secs(1));
    let (cpu, begun) = (gateway.cpu(), Instant::now());
    thread::sleep(Duration::from_secs(2));
    let share = (gateway.cpu() - cpu) / begun.elapsed().as_secs_f64();
    assert!(share < 0.2, "{share} of a CPU while there is nothing to do");
    gate.open();
    assert_eq!(running.receive().status, 200);
    drop(crowd);
    gate.open();
    assert!(eventually(Duration::from_secs(20), || gateway.metric(CONNECTIONS) <= 1.0));
    assert_eq!(call(&gateway), 200);
}
