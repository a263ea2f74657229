//! Providers that break the rules of HTTP and of TLS: the client gets a failure in its own words, nobody pays, and
//! little memory is used.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::money::{audited, body, config, credits};
use crate::support::{Act, Client, Gateway, Mock, PROTOCOLS, Response, post, request};

/// What may be answered to a call, and is none of what an API says.
fn broken_answers() -> Vec<(&'static str, Vec<u8>)> {
    let with = |fields: &str| {
        let json = PROTOCOLS[0].2;
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{fields}\r\n{json}").into_bytes()
    };
    let sized = |more: &str| with(&format!("{more}content-length: {}\r\n", PROTOCOLS[0].2.len()));
    let status = |line: &str| {
        sized("").iter().copied().skip("HTTP/1.1 200 OK".len()).fold(
            line.as_bytes().to_vec(),
            |mut all, byte| {
                all.push(byte);
                all
            },
        )
    };
    vec![
        ("300 fields", sized(&(0..300).map(|n| format!("x-{n}: y\r\n")).collect::<String>())),
        ("a field of 2 MiB", sized(&format!("x: {}\r\n", "y".repeat(2 << 20)))),
        ("fields without an end", sized(&"x: y\r\n".repeat(500_000))),
        ("a NUL in a field", sized("x: a\0b\r\n")),
        ("a carriage return in a field", sized("x: a\rb\r\n")),
        ("a field without a colon", sized("nonsense\r\n")),
        ("a blank before the colon", sized("transfer-encoding : chunked\r\n")),
        ("a status of letters", status("HTTP/1.1 abc OK")),
        ("a status of five digits", status("HTTP/1.1 20000 OK")),
        ("a status of one digit", status("HTTP/1.1 2 OK")),
        ("another protocol", status("ICY 200 OK")),
        ("a version that there is not", status("HTTP/9.9 200 OK")),
        ("no head at all", PROTOCOLS[0].2.as_bytes().to_vec()),
        ("a tunnel", status("HTTP/1.1 101 Switching Protocols")),
        ("no content, with content", status("HTTP/1.1 204 No Content")),
        ("not modified", status("HTTP/1.1 304 Not Modified")),
        ("two lengths", sized("content-length: 1\r\n")),
        ("a length that is none", with("content-length: -1\r\n")),
        ("a length that is too long", with("content-length: 99999\r\n")),
        ("a length that is too short", with("content-length: 10\r\n")),
        ("chunks that are none", with("transfer-encoding: chunked\r\n")),
        (
            "a chunk without an end",
            [with("transfer-encoding: chunked\r\n"), b"ffffffff\r\nx".to_vec()].concat(),
        ),
        ("half a head", b"HTTP/1.1 200 OK\r\ncontent-type: appl".to_vec()),
        ("nothing but line ends", b"\r\n".repeat(10_000)),
        ("hints without an end", b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(10_000)),
    ]
}

/// Is the client told, in its own words, that it is the provider's fault, and nothing else?
fn is_the_providers_fault(response: &Response) -> bool {
    response.status == 502
        && response.header("content-type") == Some("application/json")
        && !response.text("error.message").is_empty()
        && !["127.0.0.1", "canary", "real-model"].iter().any(|word| response.body.contains(word))
}

#[test]
fn answers_that_are_not_http_are_the_providers_fault_and_cost_nothing() {
    let answers = Arc::new(broken_answers());
    let script = Arc::clone(&answers);
    // Each call asks for one of them by its number.
    let mock = Mock::scripted(move |seen, _| {
        let text = seen.text();
        let number = text.split("answer-").nth(1).unwrap().split('"').next().unwrap();
        vec![Act::Send(script[number.parse::<usize>().unwrap()].1.clone()), Act::Close]
    });
    let gateway = Gateway::start(&config(mock.port));
    gateway.command(&["account", "top-up", "default", "10"]);
    let before = gateway.peak_memory();
    let mut wrong = Vec::new();
    for (n, (what, _)) in answers.iter().enumerate() {
        for (client, stream) in [(0, ""), (0, "\"stream\":true,"), (2, ""), (2, "\"stream\":true,")] {
            let text = body(client, "v/chat", stream).replace("hi", &format!("answer-{n}"));
            let response = post(&gateway, PROTOCOLS[client].0, &text);
            if !is_the_providers_fault(&response) || credits(&gateway) != (10_000_000, 0) {
                wrong.push(format!("{what}, for {client} {stream}: {:?}, {response:?}", credits(&gateway)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let grown = gateway.peak_memory().saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB");
    assert!(audited(&gateway).iter().all(|(outcome, cost)| (outcome.as_str(), *cost) == ("released", 0)));
}

/// An authority, and what it vouches for.
struct Authority(Issuer<'static, KeyPair>, String);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self(Issuer::new(params, key), pem)
    }

    /// The settings of a server with a certificate for this name, until the end of this year.
    fn server(&self, name: &str, year: i32) -> ServerConfig {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        let key = KeyPair::generate().unwrap();
        let chain = vec![params.signed_by(&key, &self.0).unwrap().der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap()
    }
}

/// A provider behind TLS.
struct TlsProvider {
    port: u16,
    tried: Arc<AtomicUsize>,
    /// Requests that were understood.
    asked: Arc<AtomicUsize>,
    _runtime: Runtime,
}

/// What a server does with a connection.
enum Serves {
    Tls(Box<ServerConfig>),
    /// An answer without TLS.
    Plain,
    /// Nothing.
    Silence,
}

impl TlsProvider {
    fn new(serves: Serves) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tried, asked) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (trying, asking) = (Arc::clone(&tried), Arc::clone(&asked));
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{}",
            PROTOCOLS[0].2.len(),
            PROTOCOLS[0].2
        );
        let acceptor = match serves {
            Serves::Tls(config) => Ok(TlsAcceptor::from(Arc::from(config))),
            other => Err(matches!(other, Serves::Plain)),
        };
        runtime.spawn(async move {
            let mut silent = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                trying.fetch_add(1, Ordering::SeqCst);
                match &acceptor {
                    Ok(acceptor) => {
                        let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                        if stream.read(&mut [0; 4000]).await.unwrap_or(0) > 0 {
                            asking.fetch_add(1, Ordering::SeqCst);
                            let _ = stream.write_all(answer.as_bytes()).await;
                            let _ = stream.shutdown().await;
                        }
                    }
                    Err(true) => drop(stream.write_all(answer.as_bytes()).await),
                    Err(false) => silent.push(stream),
                }
            }
        });
        Self { port, tried, asked, _runtime: runtime }
    }
}

#[test]
fn a_provider_is_believed_only_with_a_certificate_for_its_name() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authority.pem");
    std::fs::write(&file, &authority.1).unwrap();
    let cases = [
        ("a good one", Serves::Tls(Box::new(authority.server("127.0.0.1", 2090))), true),
        ("one that has expired", Serves::Tls(Box::new(authority.server("127.0.0.1", 2001))), false),
        ("one of another name", Serves::Tls(Box::new(authority.server("provider.example", 2090))), false),
        (
            "one of another authority",
            Serves::Tls(Box::new(Authority::new().server("127.0.0.1", 2090))),
            false,
        ),
        ("none", Serves::Plain, false),
        ("silence", Serves::Silence, false),
    ];
    for (what, serves, good) in cases {
        let provider = TlsProvider::new(serves);
        let config = format!("timeouts: {{connect: 1}}\n{}", config(provider.port));
        let environment = [("SSL_CERT_FILE", file.to_str().unwrap())];
        let gateway = Gateway::start_with(&config.replace("http://", "https://"), &[], &environment);
        gateway.command(&["account", "top-up", "default", "10"]);
        for client in [0, 2] {
            let begun = Instant::now();
            let response = post(&gateway, PROTOCOLS[client].0, &body(client, "v/chat", ""));
            if good {
                assert_eq!(response.status, 200, "{what}: {response:?}");
            } else {
                assert!(is_the_providers_fault(&response), "{what}: {response:?}");
                assert_eq!(credits(&gateway), (10_000_000, 0), "{what}");
            }
            assert!(begun.elapsed() < Duration::from_secs(15), "{what}: {:?}", begun.elapsed());
        }
        let (tried, asked) = (provider.tried.load(Ordering::SeqCst), provider.asked.load(Ordering::SeqCst));
        assert!(tried > 0, "{what}: it was tried");
        assert_eq!(asked, if good { 2 } else { 0 }, "{what}: and was told nothing");
        audited(&gateway);
    }
}

/// Early hints of a provider are no part of an answer, and do not reach the client.
#[test]
fn hints_before_an_answer_are_passed_over() {
    let answer = format!(
        "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{}",
        PROTOCOLS[0].2.len(),
        PROTOCOLS[0].2
    );
    let mock = Mock::new(vec![Act::Send(answer.into_bytes())]);
    let gateway = Gateway::start(&config(mock.port));
    gateway.command(&["account", "top-up", "default", "10"]);
    for client in [0, 2] {
        let mut caller = Client::connect(gateway.port);
        caller.send(request(PROTOCOLS[client].0, &gateway.key, &body(client, "v/chat", "")).as_bytes());
        assert_eq!(caller.receive().status, 200);
    }
    assert_eq!(audited(&gateway), [("exact".to_owned(), 7), ("exact".to_owned(), 7)]);
}
