//! `crossmodel doctor` and `crossmodel health`, with providers that have every trouble that a doctor knows.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::support::{
    Act, Gateway, Mock, UPSTREAM_KEY, config, create_store, free_port, json, member, run, whole,
};

const MODELS: &str = r#"{"object":"list","data":[{"id":"a","object":"model"},{"id":"b","object":"model"}]}"#;

/// An authority, and providers whose certificates it has signed.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    runtime: Runtime,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { issuer: Issuer::new(params, key), pem, runtime }
    }

    /// A provider that lists models; its certificate is for `name` and ends with this year.
    fn provider(&self, name: &str, year: i32) -> u16 {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let server = ServerConfig::builder().with_no_client_auth();
        let acceptor = TlsAcceptor::from(Arc::new(server.with_single_cert(vec![certificate], key).unwrap()));
        let bound = tokio::net::TcpListener::bind(("127.0.0.1", 0));
        let listener = self.runtime.block_on(bound).unwrap();
        let port = listener.local_addr().unwrap().port();
        self.runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                if stream.read(&mut [0; 4096]).await.unwrap_or(0) == 0 {
                    continue;
                }
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{MODELS}", MODELS.len());
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        port
    }
}

/// A configuration with these providers, each with a key.
fn with(providers: &[(&str, String)]) -> String {
    let listen =
        format!("listen: [{{address: \"127.0.0.1:{}\"}}]\nadmin: \"off\"\nproviders:\n", free_port());
    let provider = |(name, url): &(&str, String)| {
        format!("  {name}: {{base_url: \"{url}\", key: \"env:UPSTREAM_KEY\", protocols: [chat]}}\n")
    };
    let models = "models: [{id: v/m, targets: [{provider: p}]}]\n"
        .replace("provider: p", &format!("provider: {}", providers[0].0));
    listen + &providers.iter().map(provider).collect::<String>() + &models
}

/// Lets the doctor look at a configuration and a data folder in `folder`.
fn doctor(folder: &Path, config: &str, arguments: &[&str], authority: Option<&Authority>) -> Output {
    let (file, trusted) = (folder.join("conf.yaml"), folder.join("authority.pem"));
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossmodel"));
    command.arg("doctor").arg("-c").arg(&file).arg("--data").arg(folder.join("data")).args(arguments);
    if let Some(authority) = authority {
        std::fs::write(&trusted, &authority.pem).unwrap();
        command.env("SSL_CERT_FILE", &trusted);
    }
    let output = command.env("UPSTREAM_KEY", UPSTREAM_KEY).stdin(Stdio::null()).output().unwrap();
    for said in [&output.stdout, &output.stderr] {
        let said = String::from_utf8_lossy(said);
        assert!(!said.contains(UPSTREAM_KEY), "a secret: {said}");
    }
    output
}

/// Findings by subject and check: state, message and advice.
struct Report(Vec<[String; 5]>, Option<i32>);

impl Report {
    fn of(output: &Output) -> Self {
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8_lossy(&output.stdout);
        let mut all = Vec::new();
        for n in 0.. {
            let part = |name: &str| member(&said, &format!("checks.{n}.{name}"));
            if part("check").is_empty() {
                break;
            }
            all.push(["subject", "check", "state", "message", "advice"].map(part));
        }
        let wrong = all.iter().any(|finding| finding[2] == "wrong");
        assert_eq!(member(&said, "ok"), (!wrong).to_string(), "{said}");
        assert_eq!(output.status.code(), Some(i32::from(wrong)), "{said}");
        let advised = |finding: &[String; 5]| (finding[2] == "ok") == finding[4].is_empty();
        assert!(all.iter().all(advised), "what is not well has an advice, and nothing else: {said}");
        Self(all, output.status.code())
    }

    /// The state and the message of a check.
    fn find(&self, subject: &str, check: &str) -> (&str, &str) {
        let found = self.0.iter().find(|finding| finding[0].starts_with(subject) && finding[1] == check);
        let found = found.unwrap_or_else(|| panic!("nothing on {subject}, {check}: {:?}", self.0));
        (&found[2], &found[3])
    }

    fn state(&self, subject: &str, check: &str) -> &str {
        self.find(subject, check).0
    }
}

fn at(port: u16) -> String {
    format!("http://127.0.0.1:{port}/v1")
}

fn date(offset: i64) -> String {
    let then = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + offset).unwrap();
    format!("date: {}\r\n", then.strftime("%a, %d %b %Y %H:%M:%S GMT"))
}

#[test]
fn all_is_well() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("trusted");
    let good = Mock::new(json(200, &date(0), MODELS));
    let providers = [
        ("plain", at(good.port)),
        ("safe", format!("https://127.0.0.1:{}/v1", authority.provider("127.0.0.1", 2199))),
    ];
    create_store(&folder.path().join("data"));
    std::fs::set_permissions(folder.path().join("data"), PermissionsExt::from_mode(0o700)).unwrap();
    let text = with(&providers).replacen("protocols:", "headers: {x-team: research}, protocols:", 1);
    let report = Report::of(&doctor(folder.path(), &text, &["--json"], Some(&authority)));
    assert_eq!(report.1, Some(0), "{:?}", report.0);
    for check in ["name", "connection", "credential", "protocol"] {
        for provider in ["provider plain", "provider safe"] {
            assert_eq!(report.state(provider, check), "ok", "{:?}", report.0);
        }
    }
    let (state, message) = report.find("provider safe", "certificate");
    assert!(state == "ok" && message.starts_with("valid for 6"), "{message}");
    for check in ["permissions", "store", "books"] {
        assert_eq!(report.state("data", check), "ok", "{:?}", report.0);
    }
    assert_eq!(report.find("machine", "clock").0, "ok");
    assert_eq!(report.find("listener", "port"), ("ok", "free: no gateway runs here"));
    let asked = good.one();
    assert_eq!(asked.request_line(), "GET /v1/models HTTP/1.1");
    assert_eq!(asked.header("authorization"), Some(&*format!("Bearer {UPSTREAM_KEY}")));
    assert_eq!(asked.header("x-team"), Some("research"), "as calls have it");
    // For people, the same as a table.
    let output = doctor(folder.path(), &with(&providers[..1]), &[], None);
    let table = String::from_utf8(output.stdout).unwrap();
    let heading: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!((output.status.code(), heading), (Some(0), vec!["STATE", "SUBJECT", "CHECK", "FOUND"]));
    assert!(table.contains("0 wrong, "), "{table}");
}

#[test]
fn each_trouble_of_a_provider_is_told_from_others() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("trusted");
    let refusing = Mock::new(json(401, "", &format!(r#"{{"error":"bad key {UPSTREAM_KEY}"}}"#)));
    let listless = Mock::new(json(404, "", "{}"));
    let page = Mock::new(whole(200, "content-type: text/html\r\n", b"<!doctype html><html></html>"));
    let elsewhere = Mock::new(whole(301, "location: https://elsewhere.example/\r\n", b""));
    let busy = Mock::new(json(503, "", "{}"));
    let silent = Mock::new(vec![Act::Close]);
    let safe = |port: u16| format!("https://127.0.0.1:{port}/v1");
    let unknown = Authority::new("unknown");
    let providers = [
        ("refusing", at(refusing.port)),
        ("listless", at(listless.port)),
        ("page", at(page.port)),
        ("elsewhere", at(elsewhere.port)),
        ("busy", at(busy.port)),
        ("silent", at(silent.port)),
        ("dead", at(free_port())),
        ("nameless", "https://name.invalid/v1".to_owned()),
        ("other", safe(authority.provider("other.example", 2199))),
        ("late", safe(authority.provider("127.0.0.1", 2020))),
        ("stranger", safe(unknown.provider("127.0.0.1", 2199))),
        ("plain", safe(page.port)),
    ];
    let report = Report::of(&doctor(folder.path(), &with(&providers), &["--json"], Some(&authority)));
    assert_eq!(report.1, Some(1));
    for (provider, check, state, words) in [
        ("refusing", "credential", "wrong", "401: the key is refused"),
        ("listless", "credential", "unknown", "404: it lists no models"),
        ("page", "protocol", "warning", "it answers with a page for people"),
        ("elsewhere", "protocol", "warning", "301: it sends elsewhere"),
        ("busy", "credential", "unknown", "503: "),
        ("silent", "protocol", "wrong", "no answer: "),
        ("dead", "connection", "wrong", "refused"),
        ("nameless", "name", "wrong", "name.invalid cannot be resolved"),
        ("other", "certificate", "wrong", "the certificate is for other.example"),
        ("late", "certificate", "wrong", "expired"),
        ("stranger", "certificate", "wrong", "unknown authority"),
        // It waits for the rest of a request, as servers without TLS do.
        ("plain", "connection", "wrong", "timeout"),
    ] {
        let found = report.find(&format!("provider {provider}"), check);
        let said = found.1.to_lowercase().contains(&words.to_lowercase());
        assert!(found.0 == state && said, "{provider}: {found:?}");
    }
    let table = doctor(folder.path(), &with(&providers[..1]), &[], None);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("\nWhat to do:\n  provider refusing, credential: put a valid key"), "{table}");
}

#[test]
fn a_provider_that_says_nothing_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let mock = Mock::new(vec![Act::Hold]);
    let start = Instant::now();
    let report = Report::of(&doctor(folder.path(), &with(&[("p", at(mock.port))]), &["--json"], None));
    assert!(start.elapsed() < Duration::from_secs(60));
    let (state, message) = report.find("provider p", "protocol");
    assert!(state == "wrong" && message.starts_with("no answer: "), "{message}");
}

#[test]
fn a_clock_that_is_wrong_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let mock = Mock::new(json(200, &date(-3600), MODELS));
    let report = Report::of(&doctor(folder.path(), &with(&[("p", at(mock.port))]), &["--json"], None));
    let (state, message) = report.find("machine", "clock");
    assert!(state == "wrong" && message.ends_with("s from that of p"), "{message}");
}

#[test]
fn everything_that_is_wrong_with_the_configuration_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let text = "threads: many\nadmin: nowhere\nproviders: {demo: {}}\n";
    let report = Report::of(&doctor(folder.path(), text, &["--json"], None));
    let wrong: Vec<_> = report.0.iter().filter(|finding| finding[0] == "configuration").collect();
    assert!(wrong.len() == 2 && wrong.iter().all(|finding| finding[2] == "wrong"), "{wrong:?}");
    assert!(wrong[0][3].contains("conf.yaml:2:") || wrong[0][3].contains("conf.yaml:1:"), "{wrong:?}");
    assert_eq!(report.find("data", "folder").1, "the first start makes it", "and the store is looked at");
}

#[test]
fn models_that_their_vendor_retires_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let text = "providers: {p: {base_url: 'http://127.0.0.1:9/v1', protocols: [chat], auth: none}}\nmodels:\n\
        - {id: a/old, targets: [{provider: p, model: claude-sonnet-4-5-20250929}]}\n\
        - {id: a/new, targets: [{provider: p, model: claude-sonnet-5-5}]}\n";
    let report = Report::of(&doctor(folder.path(), text, &["--json"], None));
    let (state, message) = report.find("configuration", "models");
    assert_eq!(
        (state, message),
        ("warning", "`a/old`: `claude-sonnet-4-5-20250929` is retired by its vendor on 2026-11-30.")
    );
}

#[test]
fn a_store_that_is_damaged_or_does_not_add_up_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    create_store(&data);
    run(&data, &["account", "create", "team"]);
    run(&data, &["account", "top-up", "team", "1"]);
    std::fs::set_permissions(&data, PermissionsExt::from_mode(0o755)).unwrap();
    let look = || {
        Report::of(&doctor(
            folder.path(),
            "providers: {demo: {}}\nadmin: \"off\"\nlisten: [{address: \"127.0.0.1:0\"}]\n",
            &["--json"],
            None,
        ))
    };
    let report = look();
    assert_eq!([report.state("data", "permissions"), report.state("data", "books")], ["wrong", "ok"]);
    let books = rusqlite::Connection::open(data.join("crossmodel.db")).unwrap();
    books.execute_batch("UPDATE wallets SET balance = balance + 1").unwrap();
    assert_eq!(look().find("data", "books"), ("wrong", "1 things do not add up"));
    books.pragma_update(None, "user_version", 999).unwrap();
    assert_eq!(look().find("data", "store"), ("wrong", "it was made by a newer version of CrossModel"));
    drop(books);
    std::fs::write(data.join("crossmodel.db"), "x".repeat(10_000)).unwrap();
    assert_eq!(look().state("data", "store"), "wrong");
}

#[test]
fn a_gateway_that_runs_is_known_and_another_program_named() {
    let mock = Mock::new(json(200, "", MODELS));
    let gateway = Gateway::start(&config(mock.port));
    let file = gateway.file("conf.yaml");
    let look =
        |arguments: &[&str]| run(&gateway.data(), &[&["-c", file.to_str().unwrap()], arguments].concat());
    let report = Report::of(&look(&["doctor", "--json"]));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(report.find("listener", "port"), ("ok", &*format!("CrossModel {version} serves it")));
    assert_eq!(report.find("admin", "port"), ("ok", "a gateway serves it, and is ready"));
    // The same for the health checks of containers.
    let health = look(&["health"]);
    assert_eq!(health.status.code(), Some(0), "{health:?}");
    let url = format!("http://127.0.0.1:{}/readyz", gateway.admin);
    assert_eq!(String::from_utf8(health.stdout).unwrap(), format!("{url}: ok\n"));
    let other = format!("http://127.0.0.1:{}/nothing", gateway.admin);
    let health = run(&gateway.data(), &["health", "--json", "--url", &other]);
    let said = String::from_utf8_lossy(&health.stdout);
    assert_eq!((health.status.code(), member(&said, "status")), (Some(1), "404".to_owned()), "{said}");

    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap();
    std::thread::spawn(move || taken.incoming().for_each(drop));
    let folder = tempfile::tempdir().unwrap();
    let text = format!("admin: \"off\"\nlisten: [{{address: \"{address}\"}}]\nproviders: {{demo: {{}}}}\n");
    let report = Report::of(&doctor(folder.path(), &text, &["--json"], None));
    assert_eq!(report.state("listener", "port"), "wrong");
    let health = run(folder.path(), &["health", "--url", &format!("http://127.0.0.1:{}", free_port())]);
    assert_eq!((health.status.code(), health.stdout.len()), (Some(5), 0), "{health:?}");
}

#[test]
fn each_of_several_credentials_is_tried() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other");
    std::fs::write(&other, "sk-other").unwrap();
    std::fs::set_permissions(&other, PermissionsExt::from_mode(0o600)).unwrap();
    create_store(&folder.path().join("data"));
    let mock = Mock::scripted(|seen, _| match seen.header("authorization") == Some("Bearer sk-other") {
        true => json(401, "", "{}"),
        false => json(200, "", MODELS),
    });
    let keys = format!("keys: [env:UPSTREAM_KEY, {{name: b, key: \"file:{}\"}}]", other.display());
    let text = with(&[("several", at(mock.port))]).replace("key: \"env:UPSTREAM_KEY\"", &keys);
    let report = Report::of(&doctor(folder.path(), &text, &["--json"], None));
    assert_eq!(report.find("provider several, credential 1", "credential"), ("ok", "accepted"));
    let refused = report.find("provider several, credential b", "credential");
    assert_eq!(refused, ("wrong", "401: the key is refused"));
}
