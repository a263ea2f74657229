//! More than the gateway is willing to do at once: it says so at once, and what runs goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::{
    Act, Client, Gate, Gateway, Mock, PROTOCOLS, config, config_with, eventually, get, json, open, post,
    request,
};

use crate::streams::{STREAMS, streaming};

const IN_FLIGHT: &str = "crossmodel_requests_in_flight";

/// A provider that answers when the gate opens.
pub(crate) fn gated() -> (Mock, Arc<Gate>) {
    let gate = Gate::new();
    let acts = [vec![Act::Await(Arc::clone(&gate))], json(200, "", PROTOCOLS[0].2)].concat();
    (Mock::new(acts), gate)
}

/// A second key.
fn another_key(gateway: &Gateway) -> String {
    let printed = gateway.command(&["key", "create", "--rpm", "unlimited", "--tpm", "unlimited"]);
    printed.lines().next().unwrap().to_owned()
}

/// Begins a call that is in flight when this returns.
fn begin(gateway: &Gateway, key: &str, body: &str) -> Client {
    let before = gateway.metric(IN_FLIGHT);
    let mut client = Client::connect(gateway.port);
    client.send(request(PROTOCOLS[0].0, key, body).as_bytes());
    assert!(eventually(Duration::from_secs(5), || gateway.metric(IN_FLIGHT) == before + 1.0));
    client
}

/// A call of which only the head is sent.
fn head_only(gateway: &Gateway, path: &str, key: &str, length: usize) -> Client {
    let mut client = Client::connect(gateway.port);
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {key}\r\ncontent-length: {length}\r\n\r\n"
    );
    client.send(head.as_bytes());
    client
}

/// Have so many calls been refused for this reason, as soon as all are counted?
fn shed(gateway: &Gateway, reason: &str, count: f64) -> bool {
    let name = format!("crossmodel_shed_total{{reason=\"{reason}\"}}");
    eventually(Duration::from_secs(5), || gateway.metric(&name) == count)
}

#[test]
fn calls_above_the_bound_are_told_so_and_running_ones_end_well() {
    let (mock, gate) = gated();
    let gateway = Gateway::start(&format!("limits: {{calls: 10}}\n{}", config(mock.port)));
    let quiet = another_key(&gateway);
    assert_eq!(get(gateway.port, "/", "").header("connection"), Some("keep-alive"));
    let mut running: Vec<_> = (0..9).map(|_| begin(&gateway, &gateway.key, PROTOCOLS[0].1)).collect();
    assert_eq!(get(gateway.port, "/", "").header("connection"), Some("close"), "nine tenths are in use");
    // The last place is for a key that has less. What is refused is refused without its body.
    for (path, member, value) in [
        ("/v1/chat/completions", "error.code", "model_unavailable"),
        ("/v1/responses", "error.code", "model_unavailable"),
        ("/v1/messages", "error.type", "overloaded_error"),
    ] {
        let begun = Instant::now();
        let response = head_only(&gateway, path, &gateway.key, 1 << 20).receive();
        assert_eq!((response.status, response.text(member).as_str()), (503, value), "{path}");
        assert_eq!(response.header("retry-after"), Some("1"));
        assert_eq!(response.header("connection"), Some("close"));
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
    running.push(begin(&gateway, &quiet, PROTOCOLS[0].1));
    assert_eq!(head_only(&gateway, "/v1/messages", &quiet, 1000).receive().status, 503);
    for (reason, count) in [("share", 3.0), ("calls", 1.0)] {
        assert_eq!(
            gateway.metric(&format!("crossmodel_shed_total{{reason=\"{reason}\"}}")),
            count,
            "{reason}"
        );
    }
    assert_eq!(get(gateway.port, "/v1/models", &format!("authorization: Bearer {quiet}\r\n")).status, 200);
    running.iter().for_each(|_| gate.open());
    for client in &mut running {
        assert_eq!(client.receive().status, 200);
    }
    assert_eq!(mock.seen().len(), 10);
    assert!(eventually(Duration::from_secs(5), || gateway.metric(IN_FLIGHT) == 0.0));
    gate.open();
    assert_eq!(post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1).status, 200);
}

#[test]
fn requests_in_memory_have_a_bound() {
    let (mock, gate) = gated();
    let gateway = Gateway::start(&format!("limits: {{body_memory_bytes: 1000000}}\n{}", config(mock.port)));
    let large = PROTOCOLS[0].1.replace("hi", &"h".repeat(600_000));
    let mut first = begin(&gateway, &gateway.key, &large);
    assert!(eventually(Duration::from_secs(5), || mock.seen().len() == 1));
    assert_eq!(gateway.metric("crossmodel_request_bytes_in_flight"), large.len() as f64);
    let declared = head_only(&gateway, PROTOCOLS[0].0, &gateway.key, 600_000).receive();
    assert_eq!((declared.status, declared.text("error.code").as_str()), (503, "model_unavailable"));
    let mut chunked = Client::connect(gateway.port);
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {}\r\ntransfer-encoding: chunked\r\n\r\n",
        PROTOCOLS[0].0, gateway.key
    );
    chunked.send(head.as_bytes());
    let piece = [b"10000\r\n".as_slice(), &[b' '; 1 << 16], b"\r\n"].concat();
    for _ in 0..20 {
        if !chunked.try_send(&piece) {
            break;
        }
    }
    assert_eq!(chunked.receive().status, 503);
    assert!(shed(&gateway, "memory", 1.0) && shed(&gateway, "share", 1.0));
    gate.open();
    assert_eq!(first.receive().status, 200);
    assert!(
        eventually(Duration::from_secs(5), || gateway.metric("crossmodel_request_bytes_in_flight") == 0.0)
    );
    gate.open();
    assert_eq!(post(&gateway, PROTOCOLS[0].0, &large).status, 200);
}

/// Nobody is asked again once the client has got something, so the request is let go of.
#[test]
fn a_stream_that_has_begun_holds_nothing_of_its_request() {
    const BYTES: &str = "crossmodel_request_bytes_in_flight";
    let (before, after) = (Gate::new(), Gate::new());
    let acts = [
        vec![Act::Await(Arc::clone(&before))],
        open([STREAMS[0].as_bytes()]),
        vec![Act::Await(Arc::clone(&after)), Act::Send(b"0\r\n\r\n".to_vec())],
    ];
    let mock = Mock::new(acts.concat());
    let large = streaming(0).replace("hi", &"h".repeat(100_000));
    let gateway = Gateway::start(&config_with(mock.port, ""));
    let mut client = begin(&gateway, &gateway.key, &large);
    assert!(eventually(Duration::from_secs(5), || gateway.metric(BYTES) == large.len() as f64));
    before.open();
    assert_eq!(client.head().0, 200);
    assert!(client.chunk().is_some());
    assert_eq!((gateway.metric(BYTES), gateway.metric(IN_FLIGHT)), (0.0, 1.0));
    after.open();
    while client.chunk().is_some_and(|chunk| !chunk.is_empty()) {}
}
