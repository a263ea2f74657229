//! Keys that work under conditions only: from some addresses, for some calls at once, and while they are rotated.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{
    Act, Client, Gate, Gateway, Mock, PROTOCOLS, Response, config, eventually, json, member, request,
};

/// A time in which a change counts.
const SOON: Duration = Duration::from_secs(2);

fn good() -> Mock {
    Mock::scripted(|seen, _| {
        let answer = PROTOCOLS.iter().find(|(path, _, _)| seen.request_line().contains(path)).unwrap().2;
        json(200, "", answer)
    })
}

fn id(gateway: &Gateway) -> String {
    member(&gateway.command(&["key", "list", "--json"]), "0.id")
}

/// Calls in a protocol, with more headers.
fn call(gateway: &Gateway, protocol: usize, headers: &str) -> Response {
    let (path, body, _) = PROTOCOLS[protocol];
    let mut client = Client::connect(gateway.port);
    let text = request(path, &gateway.key, body);
    client.send(text.replacen("\r\n\r\n", &format!("\r\n{headers}\r\n"), 1).as_bytes());
    client.receive()
}

#[test]
fn a_key_is_used_from_its_addresses_only() {
    let mock = good();
    let gateway = Gateway::start(&format!("trusted_proxies: [127.0.0.0/8]\n{}", config(mock.port)));
    let id = id(&gateway);
    let from = |address: &str| format!("x-forwarded-for: {address}\r\n");
    assert_eq!(call(&gateway, 0, &from("192.0.2.7")).status, 200, "without a list, all may use it");
    gateway.command(&["key", "set", &id, "--allow-ip", "10.0.0.0/8", "--allow-ip", "2001:db8::/32"]);
    assert!(eventually(SOON, || call(&gateway, 0, &from("192.0.2.7")).status == 401));
    for protocol in 0..PROTOCOLS.len() {
        let refused = call(&gateway, protocol, &from("192.0.2.7"));
        assert_eq!(refused.status, 401);
        assert_eq!(refused.text("error.message"), "The API key may not be used from this address.");
        assert_eq!(refused.text("error.type"), "authentication_error");
        if refused.body.contains("\"code\"") {
            assert_eq!(refused.text("error.code"), "ip_not_allowed");
        }
        for address in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::7", "192.0.2.7, 10.1.2.3"] {
            assert_eq!(call(&gateway, protocol, &from(address)).status, 200, "{address}");
        }
    }
    assert_eq!(call(&gateway, 0, &from("10.1.2.3, 192.0.2.7")).status, 401, "the last address counts");
    assert_eq!(call(&gateway, 0, "").status, 401, "the proxy itself is no client of the list");
    assert!(mock.seen().iter().all(|seen| seen.header("x-forwarded-for").is_none()), "it is not forwarded");
    let shown = gateway.command(&["key", "show", &id, "--json"]);
    assert_eq!(member(&shown, "allow_ips.1"), "2001:db8::/32");
    gateway.command(&["key", "set", &id, "--allow-ip", "all"]);
    assert!(eventually(SOON, || call(&gateway, 0, "").status == 200));
    let calls = mock.seen().len();
    let log = gateway.access_log(calls);
    assert!(log.iter().any(|line| member(line, "client") == "10.1.2.3" && member(line, "status") == "200"));
    let refused = log.iter().find(|line| member(line, "error") == "ip_not_allowed").unwrap();
    assert!(gateway.key.ends_with(&member(refused, "key_hint")) && !member(refused, "key_hint").is_empty());
}

#[test]
fn without_a_trusted_proxy_the_header_means_nothing() {
    let mock = good();
    let gateway = Gateway::start(&config(mock.port));
    gateway.command(&["key", "set", &id(&gateway), "--allow-ip", "10.0.0.0/8"]);
    assert!(eventually(SOON, || call(&gateway, 0, "x-forwarded-for: 10.0.0.1\r\n").status == 401));
    gateway.command(&["key", "set", &id(&gateway), "--allow-ip", "127.0.0.1"]);
    assert!(eventually(SOON, || call(&gateway, 0, "x-forwarded-for: 10.0.0.1\r\n").status == 200));
    assert!(gateway.access_log(2).iter().all(|line| member(line, "client") == "127.0.0.1"));
}

#[test]
fn a_proxy_has_more_connections_than_another_address() {
    let mock = good();
    let limits = "limits: {connections: 20, connections_per_address: 2}\n";
    let accepted = |trusted: &str| {
        let gateway = Gateway::start(&format!("{trusted}{limits}{}", config(mock.port)));
        let mut clients: Vec<_> = (0..6).map(|_| Client::connect(gateway.port)).collect();
        let answered = clients.iter_mut().filter_map(|client| {
            client.try_send(b"GET / HTTP/1.1\r\nhost: g\r\n\r\n");
            client.first_status()
        });
        answered.count()
    };
    assert_eq!(accepted(""), 2);
    assert_eq!(accepted("trusted_proxies: [127.0.0.1]\n"), 6);
}

#[test]
fn a_key_has_so_many_calls_at_once() {
    let gate = Gate::new();
    let waits = Arc::clone(&gate);
    let mock = Mock::scripted(move |_, n| {
        let wait = (n < 2).then(|| Act::Await(Arc::clone(&waits)));
        let mut acts: Vec<_> = wait.into_iter().collect();
        acts.extend(json(200, "", PROTOCOLS[0].2));
        acts
    });
    let gateway = Gateway::start_with(&config(mock.port), &["--max-concurrent", "2"], &[]);
    let send = || {
        let mut client = Client::connect(gateway.port);
        client.send(request(PROTOCOLS[0].0, &gateway.key, PROTOCOLS[0].1).as_bytes());
        client
    };
    let mut running = [send(), send()];
    assert!(eventually(SOON, || mock.seen().len() == 2));
    for protocol in 0..PROTOCOLS.len() {
        let refused = call(&gateway, protocol, "");
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
        assert_eq!(refused.text("error.message"), "Rate limit exceeded: max 2 concurrent requests.");
    }
    // A call is counted when its record is written, which may be after its answer.
    let refused = || gateway.metric("crossmodel_limit_refusals_total{limit=\"concurrent\"}") >= 3.0;
    assert!(eventually(SOON, refused));
    gate.open();
    gate.open();
    assert!(running.iter_mut().all(|client| client.receive().status == 200));
    assert!(eventually(SOON, || call(&gateway, 0, "").status == 200));
    let log = gateway.access_log(6);
    assert!(log.iter().any(|line| member(line, "limit") == "key.max_concurrent"), "{log:?}");
    gateway.command(&["key", "set", &id(&gateway), "--max-concurrent", "unlimited"]);
    assert_eq!(member(&gateway.command(&["key", "list", "--json"]), "0.max_concurrent"), "");
}

#[test]
fn the_access_line_tells_who_uses_the_earlier_secret() {
    let mock = good();
    let gateway = Gateway::start(&config(mock.port));
    assert_eq!(call(&gateway, 0, "").status, 200);
    let fresh = gateway.command(&["key", "rotate", &id(&gateway), "--overlap", "1h"]);
    let fresh = fresh.trim();
    let mut client = Client::connect(gateway.port);
    let mut with = |secret: &str| {
        client.send(request(PROTOCOLS[0].0, secret, PROTOCOLS[0].1).as_bytes());
        client.receive().status
    };
    assert!(eventually(SOON, || with(fresh) == 200));
    assert_eq!(with(&gateway.key), 200);
    let secrets = || -> Vec<String> {
        let lines = gateway.access_log(3).into_iter().filter(|line| member(line, "status") == "200");
        lines.map(|line| member(&line, "secret")).collect()
    };
    let end = |secret: &str| secret[secret.len() - 4..].to_owned();
    assert_eq!(secrets(), [String::new(), end(fresh), end(&gateway.key)]);
}

#[test]
fn a_list_shows_what_keys_have_spent_this_month() {
    let mock = crate::money::good();
    let gateway = Gateway::start(&crate::money::config(mock.port));
    let spent = || member(&gateway.command(&["key", "list", "--json"]), "0.spent_this_month_usd");
    assert_eq!(spent(), "0.00");
    assert_eq!(crate::money::call(&gateway, 0, "v/chat", "").status, 200);
    assert!(eventually(SOON, || spent() == "0.000007"), "{}", spent());
    let table = gateway.command(&["key", "list", "--sort", "spent"]);
    assert!(table.contains(" 0.000007 "), "{table}");
}

#[test]
fn conditions_that_cannot_be_met_are_refused() {
    let gateway = Gateway::start(&config(1));
    let id = id(&gateway);
    let refused = |arguments: &[&str]| {
        let output = crate::support::run(&gateway.data(), &[&["key", "set", &id], arguments].concat());
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&["--max-concurrent", "0"]).contains("is 0; to stop the key, disable it"));
    assert!(refused(&["--allow-ip", "10.0.0.1/8"]).contains("write `10.0.0.0/8`"));
    assert!(refused(&["--allow-ip", "office"]).contains("write an address or a block"));
}

#[test]
fn watched_keys_and_accounts_have_metrics_of_their_own() {
    let mock = crate::money::good();
    let gateway = Gateway::start(&crate::money::config(mock.port));
    let id = id(&gateway);
    let metric = |name: &str| {
        let text = crate::support::get(gateway.admin, "/metrics", "").body;
        let line = text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        line.map(|value| value.trim().to_owned()).unwrap_or_default()
    };
    assert_eq!(crate::money::call(&gateway, 0, "v/chat", "").status, 200);
    assert_eq!(crate::money::call(&gateway, 0, "v/nope", "").status, 404);
    let others = "account=\"default\",key=\"(other)\"";
    let ok = format!("crossmodel_key_requests_total{{{others},outcome=\"ok\"}}");
    assert!(eventually(SOON, || metric(&ok) == "1"), "{}", metric(&ok));
    let wrong = format!("crossmodel_key_requests_total{{{others},outcome=\"client_error\"}}");
    assert!(eventually(SOON, || metric(&wrong) == "1"));
    assert_eq!(metric(&format!("crossmodel_spend_usd_total{{{others}}}")), "0.000007");
    gateway.command(&["key", "set", &id, "--watch"]);
    let own = format!("crossmodel_key_requests_total{{account=\"default\",key=\"{id}\",outcome=\"ok\"}}");
    let mut calls = 0;
    assert!(eventually(SOON, || {
        calls += u64::from(crate::money::call(&gateway, 0, "v/chat", "").status == 200);
        !metric(&own).is_empty()
    }));
    let sum = || metric(&own).parse::<u64>().unwrap() + metric(&ok).parse::<u64>().unwrap();
    assert!(eventually(SOON, || sum() == calls + 1), "no call is lost between the series");
    gateway.configure(&format!("metrics: {{accounts: 0, keys: off}}\n{}", crate::money::config(mock.port)));
    gateway.signal("HUP");
    assert!(eventually(SOON, || gateway.stderr().contains("in force again: metrics")));
    assert_eq!(crate::money::call(&gateway, 0, "v/chat", "").status, 200);
}

#[test]
fn a_client_with_the_version_twice_is_served_and_told_of_once() {
    let mock = good();
    let gateway = Gateway::start(&config(mock.port));
    let mut client = Client::connect(gateway.port);
    for path in ["/v1/v1/chat/completions", "//v1/chat/completions", "/v1/chat/completions"] {
        client.send(request(path, &gateway.key, PROTOCOLS[0].1).as_bytes());
        assert_eq!(client.receive().status, 200, "{path}");
    }
    let fixed: Vec<_> = gateway.access_log(3).iter().map(|line| member(line, "path_fixed")).collect();
    assert_eq!(fixed, ["true", "true", ""]);
    let told =
        format!("key {}: a client's base URL leads to /v1/v1; it should be http(s)://HOST/v1", id(&gateway));
    assert!(eventually(SOON, || gateway.stderr().matches(&told).count() == 1), "{}", gateway.stderr());
    assert_eq!(gateway.stderr().matches("a client's base URL").count(), 1);
}
