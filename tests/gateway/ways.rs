//! The way to a provider's server: through an HTTP proxy, with authorities of its own, with a certificate of the gateway's.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream as AsyncStream;
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::support::{Gateway, PROTOCOLS, create_store, eventually, get, member, post, run};

/// An authority and its certificate as PEM.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for a name, and its key.
    fn certificate(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

/// A provider behind TLS, which is known as `provider.test` and speaks the first of these versions that the gateway does.
struct Provider {
    port: u16,
    versions: Arc<Mutex<Vec<&'static str>>>,
    _runtime: Runtime,
}

impl Provider {
    fn new(authority: &Authority, alpn: &[&[u8]], clients: Option<&Authority>) -> Self {
        let (certificate, key) = authority.certificate("provider.test");
        let builder = match clients {
            None => ServerConfig::builder().with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                let params = CertificateParams::new(Vec::new()).unwrap();
                drop(params);
                roots.add(der(&clients.pem)).unwrap();
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
                ServerConfig::builder().with_client_cert_verifier(verifier)
            }
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let versions: Arc<Mutex<Vec<&'static str>>> = Arc::default();
        let (acceptor, asked) = (TlsAcceptor::from(Arc::new(config)), Arc::clone(&versions));
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, asked) = (acceptor.clone(), Arc::clone(&asked));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    match stream.get_ref().1.alpn_protocol() {
                        Some(b"h2") => serve_h2(stream, &asked).await,
                        _ => serve_h1(stream, &asked).await,
                    }
                });
            }
        });
        Self { port, versions, _runtime: runtime }
    }

    /// The versions of the requests since the last look.
    fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.versions.lock().unwrap())
    }
}

fn der(pem: &str) -> tokio_rustls::rustls::pki_types::CertificateDer<'static> {
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    tokio_rustls::rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

async fn serve_h1(mut stream: TlsStream<AsyncStream>, asked: &Mutex<Vec<&'static str>>) {
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    loop {
        while !bytes.ends_with(PROTOCOLS[0].1.replace("v/model", "real-model").as_bytes()) {
            match stream.read(&mut part).await {
                Ok(count @ 1..) => bytes.extend_from_slice(&part[..count]),
                _ => return,
            }
        }
        bytes.clear();
        asked.lock().unwrap().push("h1");
        let body = PROTOCOLS[0].2;
        let length = body.len();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        let _ = stream.write_all((head + body).as_bytes()).await;
    }
}

async fn serve_h2(stream: TlsStream<AsyncStream>, asked: &Mutex<Vec<&'static str>>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        asked.lock().unwrap().push("h2");
        let head = http::Response::builder().header("content-type", "application/json").body(()).unwrap();
        let mut body = respond.send_response(head, false).unwrap();
        body.send_data(Bytes::from_static(PROTOCOLS[0].2.as_bytes()), true).unwrap();
    }
}

/// What a proxy does with a request for a tunnel.
#[derive(Clone)]
enum Gives {
    /// A tunnel to this port, whatever was asked for.
    Tunnel(u16),
    /// This answer.
    Answer(&'static str),
    /// Nothing, for as long as the other side waits.
    Silence,
}

/// An HTTP proxy, and the heads of the requests that it got.
struct Proxy {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn new(gives: Gives) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let all = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (gives, all) = (gives.clone(), Arc::clone(&all));
                thread::spawn(move || serve_tunnel(stream, &gives, &all));
            }
        });
        Self { port, seen }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

fn serve_tunnel(mut client: TcpStream, gives: &Gives, seen: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if client.read_exact(&mut byte).is_err() {
            return;
        }
        head.push(byte[0]);
    }
    seen.lock().unwrap().push(String::from_utf8(head).unwrap());
    match gives {
        Gives::Answer(text) => drop(client.write_all(text.as_bytes())),
        Gives::Silence => drop(client.read(&mut [0])),
        Gives::Tunnel(port) => {
            let mut server = TcpStream::connect(("127.0.0.1", *port)).unwrap();
            client.write_all(b"HTTP/1.1 200 Connection established\r\nvia: test\r\n\r\n").unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from, &mut to));
            let _ = std::io::copy(&mut server, &mut client);
        }
    }
}

/// A provider at this URL, with these settings.
fn config(url: &str, more: &str) -> String {
    format!(
        "timeouts: {{connect: 2}}\nproviders:\n  up: {{base_url: \"{url}\", key: \"env:UPSTREAM_KEY\", \
         breaker_failures: 0, protocols: [chat]{more}}}\n\
         models:\n  - {{id: v/model, targets: [{{provider: up, model: real-model}}]}}\n"
    )
}

const URL: &str = "https://provider.test:8443/v1";

/// The settings for a provider whose authority's certificate is in this folder.
fn trusting(folder: &Path, authority: &Authority) -> String {
    let file = folder.join("authority.pem");
    std::fs::write(&file, &authority.pem).unwrap();
    format!(", ca: \"{}\"", file.display())
}

fn status(gateway: &Gateway) -> u16 {
    post(gateway, PROTOCOLS[0].0, PROTOCOLS[0].1).status
}

#[test]
fn a_provider_is_reached_through_its_proxy_over_either_version_of_http() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    for (alpn, version) in [(&[b"http/1.1".as_slice()] as &[&[u8]], "h1"), (&[b"h2", b"http/1.1"], "h2")] {
        let provider = Provider::new(&authority, alpn, None);
        let proxy = Proxy::new(Gives::Tunnel(provider.port));
        let more = trusting(folder.path(), &authority) + ", proxy: env:PROXY_URL";
        let url = format!("http://me:pass%21word-canary@127.0.0.1:{}", proxy.port);
        let gateway = Gateway::start_with(&config(URL, &more), &[], &[("PROXY_URL", &url)]);
        for _ in 0..4 {
            assert_eq!(status(&gateway), 200, "{}", gateway.stderr());
        }
        assert_eq!(provider.take(), [version; 4]);
        let seen = proxy.take();
        assert_eq!(seen.len(), 1, "the connection is used again: {seen:?}");
        assert!(
            seen[0].starts_with("CONNECT provider.test:8443 HTTP/1.1\r\nhost: provider.test:8443\r\n"),
            "{seen:?}"
        );
        assert!(
            seen[0].contains("\r\nproxy-authorization: Basic bWU6cGFzcyF3b3JkLWNhbmFyeQ==\r\n"),
            "{seen:?}"
        );
        assert!(!seen[0].contains("canary"), "{seen:?}");
        let said = gateway.stderr();
        assert!(
            said.contains(&format!("up through 127.0.0.1:{}", proxy.port)) && !said.contains("canary"),
            "{said}"
        );
        let log = std::fs::read_to_string(gateway.file("access.log")).unwrap();
        assert!(!log.contains("canary") && !log.contains("bWU6"), "{log}");
        assert!(!get(gateway.admin, "/metrics", "").body.contains("bWU6"));
    }
}

#[test]
fn a_proxy_that_gives_no_tunnel_is_named_with_its_reason() {
    for (gives, kind, reason) in [
        (Gives::Answer("HTTP/1.1 407 Who\r\ncontent-length: 0\r\n\r\n"), "connect", "proxy: 407 ("),
        (Gives::Answer("HTTP/1.1 502 No\r\n\r\n"), "connect", "proxy: 502 ("),
        (Gives::Answer(""), "connect", "proxy: it has closed the connection ("),
        (Gives::Answer("HTTP/1.1 200 OK\r\n\r\nHello"), "connect", "proxy: it has written into the tunnel ("),
        (Gives::Answer("hello\r\n\r\n"), "connect", "proxy: it does not speak HTTP ("),
        (Gives::Silence, "timeout", "proxy: no tunnel in time ("),
    ] {
        let proxy = Proxy::new(gives);
        let more = format!(", proxy: \"http://127.0.0.1:{}\"", proxy.port);
        let gateway = Gateway::start(&config(URL, &more));
        let response = post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1);
        assert_eq!(response.status, 502, "{response:?}");
        assert!(!response.body.contains("proxy"), "{response:?}");
        let line = &gateway.access_log(1)[0];
        assert_eq!(member(line, "tries.0.error"), kind, "{line}");
        assert!(member(line, "tries.0.detail").starts_with(reason), "{reason}: {line}");
        assert!(!proxy.take().is_empty());
    }
}

#[test]
fn the_environments_proxy_serves_all_but_the_excepted_hosts() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let provider = Provider::new(&authority, &[b"http/1.1"], None);
    let proxy = Proxy::new(Gives::Tunnel(provider.port));
    let url = format!("http://127.0.0.1:{}", proxy.port);
    let ca = trusting(folder.path(), &authority);
    for (more, name, except, through) in [
        ("", "HTTPS_PROXY", "", true),
        ("", "https_proxy", "other.test", true),
        (", proxy: env", "HTTPS_PROXY", "provider.test:443", true),
        ("", "HTTPS_PROXY", "provider.test", false),
        ("", "HTTPS_PROXY", ".test", false),
        ("", "HTTPS_PROXY", "*", false),
        (", proxy: \"off\"", "HTTPS_PROXY", "", false),
        ("", "HTTP_PROXY", "", false),
    ] {
        let environment = [(name, url.as_str()), ("NO_PROXY", except)];
        let gateway = Gateway::start_with(&config(URL, &(ca.clone() + more)), &[], &environment);
        let expected = if through { 200 } else { 502 };
        assert_eq!(status(&gateway), expected, "{more} {name} {except}: {}", gateway.stderr());
        assert_eq!(proxy.take().len(), usize::from(through), "{more} {name} {except}");
    }
    let local = format!("https://127.0.0.1:{}/v1", provider.port);
    let gateway = Gateway::start_with(&config(&local, &ca), &[], &[("HTTPS_PROXY", &url)]);
    status(&gateway);
    assert!(proxy.take().is_empty(), "this machine is not reached through a proxy");
}

#[test]
fn an_authority_of_its_own_is_believed_for_this_provider_and_read_again() {
    let (authority, other, folder) = (Authority::new(), Authority::new(), tempfile::tempdir().unwrap());
    let provider = Provider::new(&authority, &[b"http/1.1"], None);
    let proxy = Proxy::new(Gives::Tunnel(provider.port));
    let through = format!(", proxy: \"http://127.0.0.1:{}\"", proxy.port);
    let more = trusting(folder.path(), &other) + &through;
    let gateway = Gateway::start(&config(URL, &more));
    assert_eq!(status(&gateway), 502);
    let line = &gateway.access_log(1)[0];
    assert_eq!(member(line, "tries.0.error"), "tls", "{line}");
    assert!(member(line, "tries.0.detail").starts_with("unknown authority"), "{line}");
    trusting(folder.path(), &authority);
    assert!(eventually(Duration::from_secs(20), || status(&gateway) == 200), "{}", gateway.stderr());
}

#[test]
fn a_provider_that_wants_a_certificate_gets_the_gateways() {
    let (authority, clients, folder) = (Authority::new(), Authority::new(), tempfile::tempdir().unwrap());
    let provider = Provider::new(&authority, &[b"h2", b"http/1.1"], Some(&clients));
    let proxy = Proxy::new(Gives::Tunnel(provider.port));
    let through =
        format!("{}, proxy: \"http://127.0.0.1:{}\"", trusting(folder.path(), &authority), proxy.port);
    let (certificate, key) = clients.certificate("gateway.test");
    let files = ["gateway.pem", "gateway.key"].map(|name| folder.path().join(name));
    std::fs::write(&files[0], certificate.pem()).unwrap();
    std::fs::write(&files[1], key.serialize_pem()).unwrap();
    std::fs::set_permissions(&files[1], PermissionsExt::from_mode(0o600)).unwrap();
    let [chain, key] = files.each_ref().map(|file| file.display());
    let shown = format!("{through}, client_certificate: {{certificate: \"{chain}\", key: \"{key}\"}}");
    let without = Gateway::start(&config(URL, &through));
    assert_eq!(status(&without), 502);
    let gateway = Gateway::start(&config(URL, &shown));
    assert_eq!(status(&gateway), 200, "{}", gateway.stderr());
    assert_eq!(provider.take(), ["h2"]);
}

#[test]
fn mistakes_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    create_store(&data);
    for (name, text) in
        [("empty.pem", ""), ("bad.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
    {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let check = |url: &str, provider: &str| {
        let file = folder.path().join("conf.yaml");
        std::fs::write(&file, config(url, provider)).unwrap();
        let output = run(&data, &["check", "-c", file.to_str().unwrap()]);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (url, provider, expected) in [
        (URL, ", proxy: \"https://p:1\"", "providers.up.proxy: must be an http:// proxy"),
        (URL, ", proxy: \"http://u:pw@p:1\"", "providers.up.proxy: holds a user or a password"),
        (URL, ", proxy: \"env:NOT_SET\"", "providers.up.proxy: the variable NOT_SET is not set"),
        (
            "http://provider.test/v1",
            ", proxy: \"http://p:1\"",
            "providers.up.proxy: is for providers at https://",
        ),
        (URL, ", ca: none.pem", "none.pem cannot be read"),
        (URL, ", ca: empty.pem", "there is no certificate in it"),
        (URL, ", ca: bad.pem", "there is no certificate in it, or a damaged one"),
    ] {
        let (good, said) = check(url, provider);
        assert!(!good && said.contains(expected) && !said.contains("pw@"), "{provider}: {said}");
    }
}
