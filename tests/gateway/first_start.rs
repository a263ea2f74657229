//! The first start: its key, and the lines by which it is tried.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::support::{Client, Gateway, Response, Terminal, eventually, free_port, member, post};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn is_secret(text: &str) -> bool {
    let rest = text.strip_prefix("cm-").unwrap_or_default();
    rest.len() == 40 && rest.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Sends what a printed line would make `curl` send.
fn paste(port: u16, line: &str) -> Response {
    let quoted: Vec<_> = line.split('\'').collect();
    let [start, header, between, body, "; echo"] = quoted[..] else { panic!("not a line to paste: {line}") };
    let url = start.strip_prefix("curl ").and_then(|rest| rest.strip_suffix(" -H ")).expect(line);
    assert_eq!(between, " -d ", "{line}");
    let path = url.strip_prefix(&format!("http://127.0.0.1:{port}")).expect(line);
    let mut client = Client::connect(port);
    client.send(
        format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n{header}\r\n\
             Content-Length: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    client.receive()
}

/// The first run's key and its three lines, of which every one works.
fn all_work(port: u16, banner: &str) -> String {
    let field = |name: &str| {
        let line = banner.lines().find_map(|line| line.trim_start().strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {banner}")).trim().to_owned()
    };
    assert_eq!(field("base URL for OpenAI clients"), format!("http://127.0.0.1:{port}/v1"));
    assert_eq!(field("base URL for Anthropic clients"), format!("http://127.0.0.1:{port}"));
    let key = field("key").split(' ').next().unwrap().to_owned();
    assert!(is_secret(&key), "{banner}");
    let lines: Vec<_> = banner.lines().filter(|line| line.starts_with("curl ")).collect();
    assert_eq!(lines.len(), 3, "{banner}");
    for (line, (path, stream)) in
        lines.iter().zip([("/v1/chat/completions", false), ("/v1/responses", true), ("/v1/messages", true)])
    {
        assert!(line.contains(path), "{line}");
        let response = paste(port, line);
        assert_eq!((response.status, response.complete), (200, true), "{line}\n{}", response.body);
        assert_eq!(
            response.header("content-type").unwrap().starts_with("text/event-stream"),
            stream,
            "{line}"
        );
        assert!(response.body.contains("Hello!"), "{}", response.body);
    }
    key
}

/// A run without a file, in a folder of its own, which knows no provider's key.
fn bare(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossmodel"));
    command.current_dir(folder).env_clear().stdin(Stdio::null());
    command
}

/// Ends with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn without_a_file_the_usual_ports_are_listened_on_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port));
    if free(8080).is_ok() && free(9090).is_ok() {
        let (terminal, other_end) = Terminal::open();
        let child = bare(folder.path()).stdout(Stdio::null()).stderr(other_end).spawn().unwrap();
        let mut running = Running(child);
        let ready = || free(8080).is_err() && terminal.text().matches("curl ").count() == 3;
        let is_ready = eventually(Duration::from_secs(20), ready);
        assert!(is_ready, "{:?}: {}", running.0.try_wait(), terminal.text());
        all_work(8080, &terminal.text());
        assert!(folder.path().join("data/crossmodel.db").exists());
    }
    // Now the port is taken, by this test or by somebody else.
    let held = free(8080);
    let output: Output = bare(folder.path()).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{said}");
    assert!(said.starts_with("127.0.0.1:8080 is in use"), "{said}");
    assert!(said.ends_with(". Choose another: crossmodel --port 8081\n"), "{said}");
    let owner = format!("(process {}, ", std::process::id());
    assert!(held.is_err() || said.contains(&owner), "{said}");
}

/// The secret of a key that the environment brings.
const GIVEN: &str = "cm-0123456789012345678901234567890123456789";

/// The number of keys in a gateway's store.
fn keys(gateway: &Gateway) -> usize {
    gateway.command(&["key", "list", "--json"]).matches("\"id\"").count()
}

#[test]
fn a_terminal_is_shown_a_key_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let options = ["--port".to_owned(), port.to_string(), "--admin".to_owned(), "off".to_owned()];
    let start = |stderr: Stdio| {
        let access = std::fs::File::create(folder.path().join("access")).unwrap();
        Running(bare(folder.path()).args(&options).stdout(access).stderr(stderr).spawn().unwrap())
    };
    let (terminal, other_end) = Terminal::open();
    let running = start(other_end.into());
    let is_ready = eventually(Duration::from_secs(20), || terminal.text().matches("curl ").count() == 3);
    assert!(is_ready, "{}", terminal.text());
    let key = all_work(port, &terminal.text());
    let lines = || std::fs::read_to_string(folder.path().join("access")).unwrap();
    assert!(eventually(Duration::from_secs(5), || lines().lines().count() == 3), "{}", lines());
    assert!(lines().lines().all(|line| line.starts_with('{') && !member(line, "request_id").is_empty()));
    drop(running);
    // Later starts show no secret, wherever they are.
    let (terminal, other_end) = Terminal::open();
    let running = start(other_end.into());
    let said = "keys: 1. Secrets are shown once; create another with: crossmodel key create";
    let is_said = eventually(Duration::from_secs(20), || terminal.text().contains(said));
    assert!(is_said && !terminal.text().contains("curl"), "{}", terminal.text());
    assert!(!terminal.text().contains(&key[3..]), "{}", terminal.text());
    drop(running);
}

#[test]
fn a_log_gets_no_secret_and_says_how_a_key_is_made() {
    let mut gateway = Gateway::first_run("providers: {demo: {}}\n", &[]);
    let said = "no key yet. Run crossmodel key create --name NAME, or start with CROSSMODEL_FIRST_KEY\n";
    assert!(gateway.stderr().contains(said), "{}", gateway.stderr());
    assert_eq!((gateway.stdout().as_str(), keys(&gateway)), ("", 0));
    assert!(!gateway.stderr().contains("cm-"), "{}", gateway.stderr());
    let made = gateway.command(&["key", "create"]);
    gateway.key = made.trim_end().to_owned();
    assert!(is_secret(&gateway.key), "{made:?}");
    let body = r#"{"model":"demo/chat","messages":[{"role":"user","content":"hi"}]}"#;
    let works = || post(&gateway, "/v1/chat/completions", body).status == 200;
    assert!(eventually(Duration::from_secs(5), works));
}

#[test]
fn the_environment_may_bring_the_first_key() {
    let mut gateway = Gateway::first_run("providers: {demo: {}}\n", &[("CROSSMODEL_FIRST_KEY", GIVEN)]);
    gateway.key = GIVEN.to_owned();
    let body = r#"{"model":"demo/chat","messages":[{"role":"user","content":"hi"}]}"#;
    assert_eq!(post(&gateway, "/v1/chat/completions", body).status, 200);
    let shown = gateway.command(&["key", "list", "--json"]);
    let of = ["0.name", "0.rpm", "0.tpm", "1.id"].map(|path| member(&shown, path));
    assert_eq!(of, ["first key", "", "", ""].map(str::to_owned), "{shown}");
    assert!(!gateway.stderr().contains("cm-") && gateway.stdout().is_empty(), "{}", gateway.stderr());
    // Where there are keys, it is not needed any more.
    gateway.restart_with(&[("CROSSMODEL_FIRST_KEY", GIVEN)]);
    assert!(gateway.stderr().contains("CROSSMODEL_FIRST_KEY is ignored"), "{}", gateway.stderr());
    assert_eq!(keys(&gateway), 1);
}

#[test]
fn a_first_key_may_be_in_a_file_and_a_wrong_one_ends_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, format!("{GIVEN}\n")).unwrap();
    let reference = format!("file:{}", file.display());
    let mut gateway =
        Gateway::first_run("providers: {demo: {}}\n", &[("CROSSMODEL_FIRST_KEY", reference.as_str())]);
    gateway.key = GIVEN.to_owned();
    let body = r#"{"model":"demo/chat","messages":[{"role":"user","content":"hi"}]}"#;
    assert_eq!(post(&gateway, "/v1/chat/completions", body).status, 200);
    for wrong in ["cm-canary", "sk-canary", "file:/gone/canary", "file:"] {
        let mut command = bare(folder.path());
        command
            .args(["--port", &free_port().to_string(), "--admin", "off"])
            .env("CROSSMODEL_FIRST_KEY", wrong);
        let output = command.output().unwrap();
        let said = text(&output.stderr);
        assert!(
            output.status.code() == Some(1) && said.starts_with("CROSSMODEL_FIRST_KEY"),
            "{wrong}: {said}"
        );
        assert!(!said.contains("cm-canary") && !said.contains("sk-canary"), "{said}");
        assert!(!folder.path().join("data").exists(), "nothing was made");
    }
}
