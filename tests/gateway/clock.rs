//! The wall clock jumps, as clocks of virtual machines do: nothing that is measured by time notices.

#![cfg(all(target_os = "linux", target_env = "gnu"))]

use crate::money::{audited, body, config, credits, halting};
use crate::support::{Client, Gate, Gateway, PROTOCOLS, faults, get, member, post, request};

/// An hour on, a day back, to the second day of 1970, and after 2038. (Before 1970, Pingora panics.)
fn jumps() -> [i64; 4] {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_secs()).unwrap();
    [3600, -86_400, 86_400 - now, 2_200_000_000 - now]
}

#[test]
fn a_clock_that_jumps_cuts_no_stream_and_costs_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (shim, clock) = (faults(folder.path()), folder.path().join("clock"));
    let gate = Gate::new();
    let mock = halting(&gate);
    let settings = format!("timeouts: {{silence: 30}}\n{}", config(mock.port));
    let environment = [("LD_PRELOAD", shim.to_str().unwrap()), ("CLOCK", clock.to_str().unwrap())];
    let gateway = Gateway::start_with(&settings, &[], &environment);
    let id = member(&gateway.command(&["key", "list", "--json"]), "0.id");
    gateway.command(&["key", "set", &id, "--rpm", "7"]);
    std::thread::sleep(std::time::Duration::from_millis(100));
    gateway.command(&["account", "top-up", "default", "1"]);
    let stream = body(0, "v/chat", "\"stream\":true,");
    let mut calls = 0;
    for by in jumps() {
        std::fs::write(&clock, "0").unwrap();
        let mut running = Client::connect(gateway.port);
        running.send(request(PROTOCOLS[0].0, &gateway.key, &stream).as_bytes());
        assert_eq!(running.head().0, 200);
        std::fs::write(&clock, by.to_string()).unwrap();
        assert!(credits(&gateway).1 > 0, "{by} s: what runs is still held for");
        gate.open();
        let mut seen = Vec::new();
        while let Some(chunk) = running.chunk().filter(|chunk| !chunk.is_empty()) {
            seen.extend(chunk);
        }
        assert!(seen.ends_with(b"data: [DONE]\n\n"), "{by} s: {}", seen.escape_ascii());
        calls += 1;
        assert_eq!(credits(&gateway), (1_000_000 - 7 * calls, 0), "{by} s");
        let usage = get(gateway.port, "/v1/usage", &format!("x-api-key: {}\r\n", gateway.key));
        assert_eq!(usage.status, 200, "{by} s: {usage:?}");
    }
    // Requests per minute are counted by minutes that pass: four of seven are gone.
    gate.open();
    let response = post(&gateway, PROTOCOLS[0].0, &stream);
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("x-ratelimit-remaining-requests"), Some("2"), "{response:?}");
    assert_eq!(audited(&gateway), vec![("exact".to_owned(), 7); 5]);
    for line in gateway.access_log(5).iter().filter(|line| line.contains("\"endpoint\":\"chat\"")) {
        let total: f64 = member(line, "total_ms").parse().unwrap();
        assert!((0.0..60_000.0).contains(&total), "{line}");
    }
}
