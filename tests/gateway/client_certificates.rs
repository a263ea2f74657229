//! Clients that show a certificate in the TLS handshake, where a listener asks for one.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    generate_simple_self_signed,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Builder;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::support::{Gateway, eventually, member};

/// An authority, and its certificate as PEM.
fn authority() -> (Issuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

/// The status line of an answer to a client that shows a certificate of this authority, or none; nothing if there is no
/// answer.
fn answer(port: u16, server: &str, shown: Option<&Issuer<'static, KeyPair>>) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let config = match shown {
        None => builder.with_no_client_auth(),
        Some(issuer) => {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, "robot 7");
            let chain = vec![params.signed_by(&key, issuer).unwrap().der().clone()];
            builder
                .with_client_auth_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
                .unwrap()
        }
    };
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        stream.write_all(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.ok()?;
        let mut bytes = Vec::new();
        // A client learns only from its first read that its certificate is refused (TLS 1.3).
        let _ = stream.read_to_end(&mut bytes).await;
        let text = String::from_utf8(bytes).unwrap();
        text.lines().next().map(str::to_owned)
    })
}

#[cfg(feature = "rustls")]
#[test]
fn a_listener_asks_for_certificates_as_its_settings_say() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (known, pem) = authority();
    let (unknown, _) = authority();
    write("cert.pem", &made.cert.pem());
    write("key.pem", &made.signing_key.serialize_pem());
    write("clients.pem", &pem);
    let folder = folder.path().display();
    for (auth, without) in
        [("", false), (", client_auth: required", false), (", client_auth: optional", true)]
    {
        let tls = format!(
            "tls: {{certificate: \"{folder}/cert.pem\", key: \"{folder}/key.pem\", client_ca: \"{folder}/clients.pem\"{auth}}}"
        );
        // Nobody speaks plain HTTP there, so the gateway's own look at the port ends in the handshake.
        let gateway = Gateway::start(&format!(
            "listen: [{{address: \"127.0.0.1:@PORT@\", {tls}}}]\nproviders: {{demo: {{}}}}\n"
        ));
        let answered = |shown| answer(gateway.port, &made.cert.pem(), shown);
        let refused = "HTTP/1.1 401 Unauthorized";
        assert_eq!(answered(Some(&known)).as_deref(), Some(refused), "a certificate is no key");
        assert_eq!(answered(Some(&unknown)), None, "{auth}");
        assert_eq!(answered(None).as_deref(), without.then_some(refused), "{auth}");
        let said = |text: &str| eventually(Duration::from_secs(20), || gateway.stderr().contains(text));
        assert!(said("invalid peer certificate: UnknownIssuer"), "{}", gateway.stderr());
        assert!(without || said("peer sent no certificates"), "{}", gateway.stderr());
        let lines = gateway.access_log(1 + usize::from(without));
        assert_eq!(member(&lines[0], "client_cert"), "CN=robot 7");
        assert!(!without || !lines[1].contains("client_cert"), "{lines:?}");
    }
}
