//! The way to providers: connections that are used again, certificates that are checked, and what of a
//! refusal goes through as it is.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::support::{
    Act, Client, Gateway, Mock, PROTOCOLS, config, config_with, eventually, free_port, json, post, request,
};

const PATH: &str = PROTOCOLS[0].0;
const BODY: &str = PROTOCOLS[0].1;
const ANSWER: &str = PROTOCOLS[0].2;

#[test]
fn connections_to_a_provider_are_used_again() {
    let mock = Mock::new(json(200, "", ANSWER));
    let gateway = Gateway::start(&format!("threads: 1\n{}", config(mock.port)));
    for _ in 0..10 {
        assert_eq!(post(&gateway, PATH, BODY).status, 200);
    }
    // On a busy machine one or the other is not back in time.
    assert!(mock.seen().len() == 10 && mock.connections() <= 5, "{} connections", mock.connections());
}

#[test]
fn a_connection_that_the_provider_closed_meanwhile_costs_no_request() {
    // The provider answers once on each connection, and closes it when the next request comes.
    let mock =
        Mock::scripted(|seen, _| if seen.before == 0 { json(200, "", ANSWER) } else { vec![Act::Close] });
    let gateway = Gateway::start(&format!("threads: 1\n{}", config(mock.port)));
    for _ in 0..8 {
        assert_eq!(post(&gateway, PATH, BODY).status, 200);
    }
    let lines = gateway.access_log(8);
    assert!(lines.iter().any(|line| line.contains("\"attempts\":2")), "{lines:?}");
}

#[test]
fn a_provider_that_refuses_a_large_request_before_it_has_it_is_heard() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 1000]);
            let body = r#"{"error":{"message":"too long","type":"invalid_request_error"}}"#;
            let head = "HTTP/1.1 413 X\r\ncontent-type: application/json\r\ncontent-length";
            let _ = stream.write_all(format!("{head}: {}\r\n\r\n{body}", body.len()).as_bytes());
            let _ = stream.shutdown(std::net::Shutdown::Write);
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    let gateway = Gateway::start(&config_with(port, ""));
    let large = BODY.replace("hi", &"x".repeat(24 << 20));
    let response = post(&gateway, PATH, &large);
    assert_eq!(response.status, 413, "{}", response.body);
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder().with_no_client_auth();
    let acceptor =
        TlsAcceptor::from(Arc::new(server.with_single_cert(vec![cert.der().clone()], key).unwrap()));
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tried, received) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (trying, receiving) = (Arc::clone(&tried), Arc::clone(&received));
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            trying.fetch_add(1, Ordering::SeqCst);
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let read = stream.read(&mut [0; 1000]).await.unwrap_or(0);
                receiving.fetch_add(read, Ordering::SeqCst);
            }
        }
    });
    let gateway = Gateway::start(&config(port).replace("http://", "https://"));
    let response = post(&gateway, PATH, BODY);
    assert_eq!((response.status, response.text("error.code").as_str()), (502, "provider_error"));
    assert!(tried.load(Ordering::SeqCst) > 0, "it was asked");
    assert_eq!(received.load(Ordering::SeqCst), 0, "and was told nothing");
}

#[test]
fn a_refusal_in_the_clients_own_envelope_goes_through_as_it_is() {
    let odd = [
        r#"{ "error" : {"message":"bad \u00e9 [0]","type":"invalid_request_error","param":null,"code":"bad_thing","extra":[1.50]}}"#,
        r#"{ "error" : {"message":"too long","type":"invalid_request_error","param":"input","code":"context_length_exceeded"} , "x":1e3}"#,
        r#"{"type":"error", "error":{"type":"invalid_request_error","message":"bad","details":{"error_code":"x"}},"request_id":"req_1"}"#,
    ];
    for ((path, body, _), refusal) in PROTOCOLS.into_iter().zip(odd) {
        let mock = Mock::new(json(400, "", refusal));
        let gateway = Gateway::start(&config(mock.port));
        let response = post(&gateway, path, body);
        assert_eq!((response.status, response.body.as_str()), (400, refusal), "{path}");
        assert_eq!(response.header("content-type"), Some("application/json"));

        // Unless it names the provider's model, or us.
        for name in ["real-model", "org-0123456789", "https://provider.example/x"] {
            let telling = refusal.replacen("bad", name, 1).replacen("too long", name, 1);
            let mock = Mock::new(json(400, "", &telling));
            let gateway = Gateway::start(&config(mock.port));
            let response = post(&gateway, path, body);
            assert_eq!(response.status, 400, "{telling}");
            assert!(!response.body.contains(name), "{}", response.body);
        }
    }
    // Another protocol's envelope is not the client's.
    let mock = Mock::new(json(400, "", odd[2]));
    let gateway = Gateway::start(&config(mock.port));
    let response = post(&gateway, PATH, BODY);
    assert_eq!(response.text("error.message"), "bad");
    assert!(response.body.ends_with(r#""param":null,"code":null}}"#), "{}", response.body);
}

#[test]
fn a_provider_says_whether_to_try_again() {
    let statuses = [400, 409, 429, 500, 503];
    let words = [("true", Some("true")), ("false", Some("false")), ("perhaps", None)];
    let mock = Mock::scripted(move |_, number| match statuses.get(number / words.len()) {
        Some(status) => {
            json(*status, &format!("x-should-retry: {}\r\n", words[number % words.len()].0), "{}")
        }
        None => json(429, "retry-after-ms: 1500\r\n", "{}"),
    });
    let gateway = Gateway::start(&config(mock.port));
    for status in statuses {
        for (given, expected) in words {
            let response = post(&gateway, PATH, BODY);
            assert_eq!(response.header("x-should-retry"), expected, "{status} {given}");
        }
    }
    assert_eq!(post(&gateway, PATH, BODY).header("retry-after"), Some("2"));
}

#[test]
fn targets_share_by_weight_and_yield_by_priority() {
    let (a, b) = (Mock::new(json(200, "", ANSWER)), Mock::new(json(200, "", ANSWER)));
    let with = |first: &str, second: &str| {
        format!(
            "providers:\n  a: {{base_url: \"http://127.0.0.1:{}\", auth: none, protocols: [chat]}}\n  \
             b: {{base_url: \"http://127.0.0.1:{}\", auth: none, protocols: [chat]}}\n\
             models: [{{id: v/model, targets: [{{provider: a, {first}}}, {{provider: b, {second}}}]}}]\n",
            a.port, b.port
        )
    };
    let shares = |config: &str, calls: usize| {
        let gateway = Gateway::start(config);
        let mut client = Client::connect(gateway.port);
        for _ in 0..calls {
            client.send(request(PATH, &gateway.key, BODY).as_bytes());
            assert_eq!(client.receive().status, 200);
        }
        (a.take().len(), b.take().len())
    };
    assert_eq!(shares(&with("priority: 1", "priority: 0"), 20), (0, 20));
    let (few, many) = shares(&with("weight: 1", "weight: 3"), 200);
    // Four standard deviations either way.
    assert!((25..=75).contains(&few), "{few} and {many}");
    // The sum of the largest weights is no small number.
    let (one, other) = shares(&with("weight: 4294967295", "weight: 4294967295"), 100);
    assert!((30..=70).contains(&one), "{one} and {other}");
}

#[test]
fn failures_are_counted_by_target_and_kind() {
    let mock = Mock::scripted(|_, number| match number {
        0 => json(500, "", "{}"),
        1 => json(429, "", "{}"),
        2 => json(403, "", "{}"),
        3 => json(404, "", "{}"),
        _ => vec![Act::Close],
    });
    let up = Gateway::start(&config_with(mock.port, ""));
    let count = |gateway: &Gateway, kind: &str| {
        let labels = format!("{{kind=\"{kind}\",model=\"v/model\",provider=\"up\"}}");
        gateway.metric(&format!("crossmodel_upstream_failures_total{labels}"))
    };
    (0..5).for_each(|_| drop(post(&up, PATH, BODY)));
    let kinds = ["server", "rate_limited", "credential", "refused", "broken"];
    assert!(eventually(Duration::from_secs(2), || count(&up, "broken") > 0.0));
    assert_eq!(kinds.map(|kind| count(&up, kind)), [1.0; 5]);
    assert_eq!((count(&up, "connect"), count(&up, "timeout")), (0.0, 0.0));
    let target =
        |name: &str| up.metric(&format!("crossmodel_target_{name}{{model=\"v/model\",provider=\"up\"}}"));
    // A connection that is closed before an answer may be an old one, and is tried again.
    assert!(target("attempts_total") >= 5.0);
    assert_eq!(target("in_flight"), 0.0);
    let down = Gateway::start(&config(free_port()));
    post(&down, PATH, BODY);
    assert!(eventually(Duration::from_secs(2), || count(&down, "connect") > 0.0));
    assert_eq!((count(&down, "server"), count(&down, "connect")), (0.0, 1.0));
}
