//! Where clients are listened for: plain and TLS, HTTP/1.1 and HTTP/2, one address or several.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Builder;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use crate::support::{Client, Gateway, eventually, free_port, get, h2_exchange, h2_post, request};

const PATH: &str = "/v1/chat/completions";
const BODY: &str = r#"{"model":"demo/chat","messages":[{"role":"user","content":"hi"}]}"#;
const DEMO: &str = "providers: {demo: {}}\n";

/// A certificate for `localhost` as two PEM files, and what a client needs to trust it.
struct Certificate {
    folder: tempfile::TempDir,
    pem: String,
}

impl Certificate {
    fn new() -> Self {
        let mut new = Self { folder: tempfile::tempdir().unwrap(), pem: String::new() };
        new.replace();
        new
    }

    /// Writes another certificate and its key to the same files.
    fn replace(&mut self) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(self.folder.path().join("cert.pem"), cert.pem()).unwrap();
        std::fs::write(self.folder.path().join("key.pem"), signing_key.serialize_pem()).unwrap();
        self.pem = cert.pem();
    }

    /// The `tls` member of a listener.
    fn settings(&self) -> String {
        let folder = self.folder.path().display();
        format!("tls: {{certificate: \"{folder}/cert.pem\", key: \"{folder}/key.pem\"}}")
    }

    /// The settings of a client that trusts only this certificate.
    fn client(&self, version: &'static SupportedProtocolVersion, alpn: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let mut config = ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

async fn connect(port: u16, config: ClientConfig) -> TlsStream<tokio::net::TcpStream> {
    try_connect(port, config).await.unwrap()
}

async fn try_connect(port: u16, config: ClientConfig) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// The protocol that was agreed on, and the status line of an answer over HTTP/1.1.
async fn over_h1(mut stream: TlsStream<tokio::net::TcpStream>, key: &str) -> (Option<Vec<u8>>, String) {
    let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    let bytes =
        request(PATH, key, BODY).replace("host: gateway\r\n", "host: gateway\r\nconnection: close\r\n");
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A server may close without a closing alert; the answer has its length.
    let _ = stream.read_to_end(&mut answer).await;
    (agreed, String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
}

#[test]
fn one_plain_address_speaks_both_versions() {
    let gateway = Gateway::start(DEMO);
    let mut client = Client::connect(gateway.port);
    for _ in 0..2 {
        client.send(request(PATH, &gateway.key, BODY).as_bytes());
        assert_eq!(client.receive().status, 200, "on one connection");
    }
    let response = h2_post(gateway.port, PATH, &gateway.key, BODY.into(), true);
    assert_eq!(
        (response.status, response.text("choices.0.message.content")),
        (200, "You said: hi".to_owned())
    );
    assert!(response.header("connection").is_none(), "HTTP/2 knows no such header");
}

#[test]
fn streams_of_one_h2_connection_do_not_wait_for_each_other() {
    let gateway = Gateway::start(DEMO);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut ask = |body: String| {
            let head = http::Request::post(format!("http://gateway{PATH}"))
                .header("authorization", format!("Bearer {}", gateway.key));
            let (answer, mut body_out) = client.send_request(head.body(()).unwrap(), false).unwrap();
            body_out.send_data(body.into(), true).unwrap();
            answer
        };
        // The first one never gets an answer, and no other one minds.
        let _stalled = ask(BODY.replace("hi", "[demo:stall=0]"));
        let others: Vec<_> = (0..20).map(|n| ask(BODY.replace("hi", &format!("n{n}")))).collect();
        for (n, answer) in others.into_iter().enumerate() {
            let mut body = answer.await.unwrap().into_body();
            let mut text = Vec::new();
            while let Some(part) = body.data().await {
                text.extend(part.unwrap());
            }
            assert!(String::from_utf8_lossy(&text).contains(&format!("You said: n{n}\"")), "stream {n}");
        }
    });
}

#[test]
fn tls_agrees_on_a_version_by_alpn() {
    let certificate = Certificate::new();
    let tls = certificate.settings();
    let gateway = Gateway::start(&format!("listen: [{{address: \"127.0.0.1:@PORT@\", {tls}}}]\n{DEMO}"));
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for version in [&TLS12, &TLS13] {
            for (alpn, agreed) in [
                (&["http/1.1"][..], Some(b"http/1.1".to_vec())),
                (&[], None),
                (&["h2", "http/1.1"], Some(b"h2".to_vec())),
                (&["http/1.1", "h2"], Some(b"h2".to_vec())),
            ] {
                let stream = connect(gateway.port, certificate.client(version, alpn)).await;
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    assert_eq!(agreed.as_deref(), Some(&b"h2"[..]), "{alpn:?}");
                    let response = h2_exchange(stream, PATH, &gateway.key, BODY.into(), true).await;
                    assert_eq!((response.status, response.complete), (200, true), "{alpn:?}");
                } else {
                    let (by_alpn, status) = over_h1(stream, &gateway.key).await;
                    assert_eq!((by_alpn, status.as_str()), (agreed, "HTTP/1.1 200 OK"), "{alpn:?}");
                }
            }
        }
    });
    // What is not TLS gets no answer, and the next client does not notice.
    let mut plain = TcpStream::connect(("127.0.0.1", gateway.port)).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: g\r\n\r\n").unwrap();
    runtime.block_on(async {
        let stream = connect(gateway.port, certificate.client(&TLS13, &["http/1.1"])).await;
        assert_eq!(over_h1(stream, &gateway.key).await.1, "HTTP/1.1 200 OK");
    });
}

#[test]
fn several_addresses_serve_alike() {
    let certificate = Certificate::new();
    let (second, third) = (free_port(), free_port());
    let gateway = Gateway::start(&format!(
        "listen:\n  - {{address: \"127.0.0.1:@PORT@\"}}\n  - {{address: \"localhost:{second}\"}}\n  \
         - {{address: \"127.0.0.1:{third}\", {}}}\n{DEMO}",
        certificate.settings()
    ));
    for port in [gateway.port, second] {
        let models = get(port, "/v1/models", &format!("authorization: Bearer {}\r\n", gateway.key));
        assert_eq!((models.status, models.text("data.0.id")), (200, "demo/chat".to_owned()), "port {port}");
    }
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let response = runtime.block_on(async {
        let stream = connect(third, certificate.client(&TLS13, &["h2"])).await;
        h2_exchange(stream, PATH, &gateway.key, BODY.into(), true).await
    });
    assert_eq!(response.status, 200);
    let banner = format!("on http://127.0.0.1:{}\n", gateway.port);
    assert!(
        gateway.stderr().contains(&banner),
        "the first address is the one that is shown: {}",
        gateway.stderr()
    );
}

#[test]
fn connections_are_counted_before_their_handshake_and_may_not_take_for_ever() {
    let certificate = Certificate::new();
    let tls = certificate.settings();
    let listen = format!("listen: [{{address: \"127.0.0.1:@PORT@\", {tls}}}]");
    let limits = "limits: {connections_per_address: 4, head_seconds: 1, idle_seconds: 1}";
    let gateway = Gateway::start(&format!("{listen}\n{limits}\n{DEMO}"));
    let open =
        |count: f64| eventually(Duration::from_secs(5), || gateway.metric("crossmodel_connections") == count);
    assert!(open(0.0));
    let silent: Vec<_> = (0..4).map(|_| Client::connect(gateway.port)).collect();
    assert!(open(4.0));
    assert!(Client::connect(gateway.port).ends());
    drop(silent);
    assert!(open(0.0));
    // After the handshake, it is as without TLS: what says nothing is left, also where HTTP/2 was agreed on.
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for (alpn, said) in [("http/1.1", ""), ("h2", ""), ("h2", "PRI * HT"), ("h2", "GET / HTTP/1.1\r\n")] {
            let mut stream = connect(gateway.port, certificate.client(&TLS13, &[alpn])).await;
            stream.write_all(said.as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
            assert!(ended.is_ok(), "{alpn} {said:?}");
        }
        let stream = connect(gateway.port, certificate.client(&TLS13, &["h2"])).await;
        assert_eq!(h2_exchange(stream, PATH, &gateway.key, BODY.into(), true).await.status, 200);
    });
    drop(runtime);
    assert!(open(0.0));
}

#[cfg(feature = "rustls")]
#[test]
fn a_new_certificate_comes_into_force_and_a_broken_one_does_not() {
    const OK: &str = "crossmodel_certificate_reloads_total{result=\"ok\"}";
    const REFUSED: &str = "crossmodel_certificate_reloads_total{result=\"refused\"}";
    let soon = Duration::from_secs(20);
    let certificate = Certificate::new();
    let tls = certificate.settings();
    let gateway = Gateway::start(&format!("listen: [{{address: \"127.0.0.1:@PORT@\", {tls}}}]\n{DEMO}"));
    let (port, key) = (gateway.port, gateway.key.clone());
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let h1 = &["http/1.1"][..];
    let old = certificate.client(&TLS13, h1);
    let before = runtime.block_on(connect(port, old.clone()));

    // Clients come and go all the while; each trusts what was, what is and what comes.
    let mut roots = RootCertStore::empty();
    let mut next = Certificate::new();
    for pem in [&certificate.pem, &next.pem] {
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    }
    let mut either = ClientConfig::builder_with_protocol_versions(&[&TLS13])
        .with_root_certificates(roots)
        .with_no_client_auth();
    either.alpn_protocols = vec![b"http/1.1".to_vec()];
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let others = runtime.spawn({
        let (key, mut stopped) = (key.clone(), stopped);
        async move {
            let mut served = 0;
            while stopped.try_recv().is_err() {
                let stream = connect(port, either.clone()).await;
                assert_eq!(over_h1(stream, &key).await.1, "HTTP/1.1 200 OK");
                served += 1;
            }
            served
        }
    });
    // Nobody sends a signal.
    for name in ["cert.pem", "key.pem"] {
        std::fs::copy(next.folder.path().join(name), certificate.folder.path().join(name)).unwrap();
    }
    assert!(eventually(soon, || gateway.metric(OK) >= 1.0), "{}", gateway.stderr());
    runtime.block_on(async {
        let stream = connect(port, next.client(&TLS13, h1)).await;
        assert_eq!(over_h1(stream, &key).await.1, "HTTP/1.1 200 OK");
        assert!(try_connect(port, old).await.is_err(), "the old certificate is not shown any more");
        assert_eq!(over_h1(before, &key).await.1, "HTTP/1.1 200 OK", "who was connected stays so");
    });
    let good = next.client(&TLS13, h1);
    next.replace();
    let file = |name: &str| certificate.folder.path().join(name);
    let kept = std::fs::read_to_string(file("cert.pem")).unwrap();
    let (half, other) =
        (&kept[..kept.len() / 2], std::fs::read_to_string(next.folder.path().join("cert.pem")).unwrap());
    for (n, broken) in ["", "no certificate\n", half, &other].into_iter().enumerate() {
        std::fs::write(file("cert.pem"), broken).unwrap();
        let refused = gateway.metric(REFUSED);
        gateway.signal("HUP");
        assert!(eventually(soon, || gateway.metric(REFUSED) > refused), "{n}: {}", gateway.stderr());
        runtime.block_on(async {
            assert_eq!(over_h1(connect(port, good.clone()).await, &key).await.1, "HTTP/1.1 200 OK");
        });
    }
    assert!(gateway.stderr().contains("stays as it was"), "{}", gateway.stderr());
    assert_eq!(gateway.metric(OK), 1.0);
    stop.send(()).unwrap();
    assert!(runtime.block_on(others).unwrap() > 0);
}

#[test]
fn a_client_without_tls_reads_what_is_wrong() {
    let certificate = Certificate::new();
    let tls = certificate.settings();
    let gateway = Gateway::start(&format!("listen: [{{address: \"127.0.0.1:@PORT@\", {tls}}}]\n{DEMO}"));
    let answer = get(gateway.port, "/v1/models", "");
    assert_eq!((answer.status, answer.body.as_str()), (400, "This port speaks HTTPS."));
}

#[test]
fn clients_that_fail_their_handshakes_do_not_fill_the_log() {
    let certificate = Certificate::new();
    let tls = certificate.settings();
    let gateway = Gateway::start(&format!("listen: [{{address: \"127.0.0.1:@PORT@\", {tls}}}]\n{DEMO}"));
    for n in 0..60 {
        let mut stream = TcpStream::connect(("127.0.0.1", gateway.port)).unwrap();
        // A record of TLS that is none, or plain HTTP.
        let bytes: &[u8] = if n % 2 == 0 { b"\x16\x03\x01\x00\x05hello" } else { b"GET / HTTP/1.1\r\n\r\n" };
        let _ = stream.write_all(bytes);
        let _ = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
    }
    let text = gateway.stderr();
    assert!(text.lines().filter(|line| line.contains("handshake")).count() <= 2, "{text}");
}
