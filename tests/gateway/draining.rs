//! The end of a process, as its operator sees it.

use std::time::{Duration, Instant};

use crate::support::{
    Act, Client, Gate, Gateway, Mock, PROTOCOLS, chunk, config, eventually, get, open, request,
};

const DRAINING: &str = "draining: 1 calls, ";

#[test]
fn operators_may_look_until_the_last_call_is_over() {
    let gate = Gate::new();
    let held = gate.clone();
    let mock = Mock::scripted(move |_, _| {
        let event = &b"data: {\"choices\":[]}\n\n"[..];
        let end = [chunk(b"data: [DONE]\n\n"), Act::Send(b"0\r\n\r\n".to_vec())];
        open([event]).into_iter().chain([Act::Await(held.clone())]).chain(end).collect()
    });
    let mut gateway = Gateway::start(&format!("{}timeouts: {{drain: 5}}\n", config(mock.port)));
    // The time that is in force when the order comes counts, and not that of the start.
    gateway.configure(&format!("{}timeouts: {{drain: 60}}\n", config(mock.port)));
    gateway.signal("HUP");
    let is_told = |line: &str| gateway.stderr().contains(line);
    assert!(eventually(SOON, || is_told("in force again: timeouts")), "{}", gateway.stderr());
    let mut client = Client::connect(gateway.port);
    let body = PROTOCOLS[0].1.replacen('{', "{\"stream\":true,", 1);
    client.send(request(PROTOCOLS[0].0, &gateway.key, &body).as_bytes());
    assert_eq!(client.head().0, 200);
    assert!(client.chunk().is_some());

    gateway.signal("TERM");
    assert!(eventually(SOON, || get(gateway.admin, "/readyz", "").status == 503));
    let end = Instant::now() + Duration::from_secs(60);
    let mut looks = 0;
    while !gateway.stderr().contains(DRAINING) && Instant::now() < end {
        let ready = get(gateway.admin, "/readyz", "");
        assert_eq!((ready.status, ready.body.as_str()), (503, "draining\n"));
        assert_eq!(get(gateway.admin, "/healthz", "").status, 200);
        let page = get(gateway.admin, "/metrics", "");
        assert!(page.status == 200 && page.body.contains("crossmodel_requests_in_flight 1"), "{}", page.body);
        looks += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(looks > 0 && gateway.stderr().contains(DRAINING), "{}", gateway.stderr());
    gate.open();
    assert_eq!(gateway.await_end(SOON), Some(0));
    assert!(gateway.stderr().contains("all calls are over"));
}

/// For what happens at once; the rest is for slow machines.
const SOON: Duration = Duration::from_secs(20);
