//! Commands and the gateway that they are for: the control socket of one on this machine, and the admin listener of one
//! elsewhere.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::geteuid;
use sha2::{Digest as _, Sha256};

use crate::support::{Client, Gateway, eventually, free_port, get, member, run};

/// Credentials of the file with the roles `admin` and `read`.
const ADMIN: &str = "operator-token-with-all-the-rights-0001";
const READER: &str = "operator-token-that-only-reads-things-02";

/// A configuration with the digests of both.
fn configuration() -> String {
    let digest = |token: &str| -> String {
        Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    format!(
        "providers: {{demo: {{}}}}\nadmin:\n  address: 127.0.0.1:@ADMIN@\n  tokens:\n    \
         - {{name: ops, role: admin, sha256: {}}}\n    - {{name: seer, role: read, sha256: {}}}\n",
        digest(ADMIN),
        digest(READER)
    )
}

/// A gateway with both.
fn start() -> Gateway {
    Gateway::start(&configuration())
}

/// A flag that is set when this is dropped, also by a test that fails.
struct Stop(AtomicBool);

struct Stopping<'s>(&'s Stop);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A command with an operator's token, without any other variable.
fn command(token: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossmodel"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    if !token.is_empty() {
        command.env("CROSSMODEL_ADMIN_TOKEN", token);
    }
    command
}

/// What a command at the gateway's URL prints and how it ends.
fn at_url(gateway: &Gateway, token: &str, arguments: &[&str]) -> Output {
    let url = format!("http://127.0.0.1:{}", gateway.admin);
    command(token, &[&["--url", &url], arguments].concat()).output().unwrap()
}

/// The names in the folder of control sockets.
fn sockets(data: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(data.join("control"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The newest row of the audit log, as its actor, the way and the outcome.
fn latest(data: &Path) -> [String; 3] {
    let rows = text(&run(data, &["audit", "--limit", "1", "--json"]).stdout);
    ["0.actor", "0.via", "0.outcome"].map(|path| member(&rows, path))
}

fn owned(texts: [&str; 3]) -> [String; 3] {
    texts.map(str::to_owned)
}

#[test]
fn commands_go_through_the_gateway_that_runs_on_the_store() {
    let mut gateway = start();
    let data = gateway.data();
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().mode() & 0o7777;
    let address = format!("127.0.0.1:{}", gateway.port);
    let names = sockets(&data);
    assert!(
        names.len() == 2 && names[0] == address && names[1].starts_with(&format!("{address}.")),
        "{names:?}"
    );
    assert_eq!(mode(&data.join("control")), 0o700);
    for name in &names {
        assert_eq!(mode(&data.join("control").join(name)), 0o600, "{name}");
    }
    let local = format!("local:{}", geteuid().as_raw());
    gateway.command(&["account", "create", "team"]);
    assert_eq!(latest(&data), owned([&local, "socket", "applied"]));
    assert_eq!(run(&data, &["account", "create", "team"]).status.code(), Some(6), "the same codes");
    assert_eq!(run(&data, &["key", "show", "key_nope"]).status.code(), Some(3));
    // A burst that a token may not make.
    let made = (0..60).filter(|_| run(&data, &["key", "create"]).status.success()).count();
    assert_eq!(made, 60);
    let status = run(&data, &["status"]);
    assert!(status.status.success() && text(&status.stdout).contains("StoreWritable"), "{status:?}");

    // A gateway that was killed leaves its socket, and commands work on the store itself.
    gateway.signal("KILL");
    gateway.await_end(Duration::from_secs(10));
    assert_eq!(sockets(&data), names);
    gateway.command(&["account", "create", "other"]);
    assert_eq!(latest(&data), owned(["cli", "cli", "applied"]));
    let status = run(&data, &["status", "--json"]);
    assert_eq!(status.status.code(), Some(5));
    assert_eq!(member(&text(&status.stderr), "error.code"), "gateway_unavailable");

    // The next one sweeps, and one that leaves takes its socket with it.
    gateway.restart();
    let next = sockets(&data);
    assert!(next.len() == 2 && next != names, "{next:?}");
    gateway.signal("TERM");
    assert_eq!(gateway.await_end(Duration::from_secs(20)), Some(0));
    assert!(sockets(&data).is_empty());
    gateway.command(&["key", "list"]);
}

#[test]
fn commands_work_all_the_time_while_gateways_take_over_from_each_other() {
    let mut gateway = start();
    let data = gateway.data();
    let stop = Stop(AtomicBool::new(false));
    let (listed, made) = std::thread::scope(|scope| {
        let repeat = |arguments: &'static [&'static str]| {
            let (data, stop) = (&data, &stop);
            scope.spawn(move || {
                let mut count = 0;
                while !stop.0.load(Ordering::Relaxed) {
                    let output = run(data, arguments);
                    assert!(output.status.success(), "{arguments:?} {count}: {output:?}");
                    count += 1;
                }
                count
            })
        };
        let (lister, maker) = (repeat(&["key", "list", "--json"]), repeat(&["key", "create"]));
        let stopping = Stopping(&stop);
        for _ in 0..4 {
            gateway.upgrade();
        }
        drop(stopping);
        (lister.join().unwrap(), maker.join().unwrap())
    });
    assert!(listed > 4 && made > 4, "{listed} {made}");
    let keys = text(&run(&data, &["key", "list", "--json"]).stdout).matches("\"object\":\"key\"").count();
    assert_eq!(keys, made + 1, "each command made one key");
    assert!(gateway.await_earlier(Duration::from_secs(30)).iter().all(|code| *code == Some(0)));
    // Those that have ended have left nothing.
    assert_eq!(sockets(&data).len(), 2, "{:?}", sockets(&data));
    // A reload changes nothing of it.
    gateway.signal("HUP");
    gateway.command(&["key", "list"]);
}

#[test]
fn a_process_that_has_handed_over_is_still_asked_by_its_own_name() {
    let mut gateway = start();
    let data = gateway.data();
    let own = sockets(&data).remove(1);
    let body = r#"{"model":"demo/chat","messages":[{"role":"user","content":"[demo:wait=60000]"}]}"#;
    let mut call = Client::connect(gateway.port);
    let head = format!("authorization: Bearer {}\r\ncontent-length: {}\r\n\r\n", gateway.key, body.len());
    call.send(format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{head}{body}").as_bytes());
    let runs = || gateway.metric("crossmodel_requests_in_flight") > 0.0;
    assert!(eventually(Duration::from_secs(10), runs), "{}", get(gateway.admin, "/metrics", "").body);
    gateway.upgrade();
    let earlier = run(&data, &["status", "--gateway", &own, "--json"]);
    let now = run(&data, &["status", "--json"]);
    assert!(now.status.success(), "{now:?}");
    let said = text(&earlier.stdout);
    assert_eq!(earlier.status.code(), Some(1), "{earlier:?}");
    assert!(said.contains("\"Draining\"") && said.contains("of which 1 are running"), "{said}");
    let nobody = run(&data, &["status", "--gateway", "127.0.0.1:1"]);
    assert_eq!(nobody.status.code(), Some(5), "{nobody:?}");
    drop(call);
}

#[test]
fn a_command_about_a_process_names_it_if_several_use_the_store() {
    let gateway = start();
    let (other, data) = (free_port().to_string(), gateway.data());
    let second = command("", &["--data", data.to_str().unwrap(), "--port", &other, "--admin", "off"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut second = second.unwrap();
    assert!(eventually(Duration::from_secs(20), || sockets(&data).len() == 4));
    let asked = run(&data, &["status"]);
    assert_eq!(asked.status.code(), Some(2));
    let said = text(&asked.stderr);
    assert!(said.contains(&format!("127.0.0.1:{other}")) && said.contains("--gateway"), "{said}");
    assert!(run(&data, &["status", "--gateway", &format!("127.0.0.1:{other}")]).status.success());
    gateway.command(&["key", "list"]);
    second.kill().unwrap();
    second.wait().unwrap();
    assert!(run(&data, &["status"]).status.success(), "the other one is alone again");
}

#[test]
fn a_gateway_elsewhere_takes_the_same_commands_with_the_same_output() {
    let gateway = start();
    let at = |arguments: &[&str]| at_url(&gateway, ADMIN, arguments);
    let made = at(&["key", "create", "--name", "from far"]);
    let secret = text(&made.stdout);
    assert!(made.status.success() && secret.starts_with("cm-") && secret.lines().count() == 1, "{made:?}");
    let works = || {
        get(gateway.port, "/v1/models", &format!("authorization: Bearer {}\r\n", secret.trim())).status == 200
    };
    assert!(eventually(Duration::from_secs(5), works));
    assert_eq!(latest(&gateway.data()), owned(["token:ops", "api", "applied"]));
    for changed in [
        &["account", "create", "team"][..],
        &["account", "top-up", "team", "5", "--reference", "invoice-7"],
        &["budget", "set", "--account", "team", "month=5"],
        &["token", "create", "--name", "portal", "--role", "keys"],
    ] {
        let output = at(changed);
        assert!(output.status.success(), "{changed:?}: {output:?}");
    }
    for shown in [
        &["key", "list"][..],
        &["key", "list", "--json"],
        &["account", "list"],
        &["account", "show", "team", "--json"],
        &["account", "transactions", "team"],
        &["account", "show", "nobody"],
        &["account", "create", "team", "--json"],
        &["budget", "list", "--account", "team"],
        &["token", "list"],
        &["usage", "--account", "team"],
        &["usage", "--account", "team", "--json"],
        &["usage", "--key", "key_nope"],
        &["audit", "--action", "account.create", "--limit", "1"],
    ] {
        let (far, near) = (at(shown), run(&gateway.data(), shown));
        if shown.starts_with(&["token", "list"]) {
            assert!(far.status.success() && near.status.success());
        }
        let parts = |output: &Output| (output.status.code(), text(&output.stdout), text(&output.stderr));
        assert_eq!(parts(&far), parts(&near), "{shown:?}");
    }
}

#[test]
fn a_reader_elsewhere_changes_nothing_and_what_is_missing_is_said() {
    let gateway = start();
    let data = gateway.data();
    let id = member(&gateway.command(&["key", "list", "--json"]), "0.id");
    let before = text(&run(&data, &["key", "list", "--json"]).stdout);
    for refused in [
        &["key", "create"][..],
        &["key", "set", &id, "--rpm", "1"],
        &["key", "rotate", &id],
        &["key", "disable", &id],
        &["key", "delete", &id],
        &["account", "create", "team"],
        &["account", "top-up", "default", "1"],
        &["budget", "set", "--key", &id, "month=1"],
        &["token", "create", "--name", "more"],
    ] {
        let output = at_url(&gateway, READER, refused);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(4), 0), "{refused:?}: {output:?}");
        assert!(
            text(&output.stderr).contains("the role 'keys'")
                || text(&output.stderr).contains("the role 'admin'")
        );
    }
    assert!(at_url(&gateway, READER, &["key", "list"]).status.success());
    assert_eq!(text(&run(&data, &["key", "list", "--json"]).stdout), before);

    let url = format!("http://127.0.0.1:{}", gateway.admin);
    let failures: [(&str, &[&str], i32, &str); 9] = [
        ("wrong", &["key", "list", "--url", &url], 4, "the token is not known there"),
        ("", &["key", "list", "--url", &url], 4, "set CROSSMODEL_ADMIN_TOKEN"),
        (ADMIN, &["key", "list", "--url", "http://127.0.0.1:1"], 5, "http://127.0.0.1:1: connection refused"),
        (ADMIN, &["key", "list", "--url", "127.0.0.1:1"], 2, "write http://HOST:PORT"),
        (ADMIN, &["key", "list", "--url", &url, "--token", "cma-secret"], 2, "others can read"),
        (ADMIN, &["ledger", "audit", "--url", &url], 2, "--url is not for `crossmodel ledger`"),
        (ADMIN, &["store", "create", "--url", &url], 2, "--url is not for `crossmodel store`"),
        (ADMIN, &["key", "list", "--token", "-"], 2, "--token goes with --url"),
        (ADMIN, &["key", "list", "--url", &url, "--data", "x"], 2, "cannot be used with"),
    ];
    for (token, arguments, code, words) in failures {
        let output = command(token, arguments).output().unwrap();
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(code) && said.contains(words), "{arguments:?}: {output:?}");
        assert!(!said.contains("cma-secret") && output.stdout.is_empty(), "{said}");
    }
    // By variables, and with the token on standard input.
    let variables = command(READER, &["key", "list", "--json"]).env("CROSSMODEL_URL", &url).output().unwrap();
    assert_eq!(text(&variables.stdout), before);
    let mut typed = command("", &["key", "list", "--json", "--url", &url, "--token", "-"]);
    let mut typed = typed.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut typed.stdin.take().unwrap(), format!("{READER}\n").as_bytes()).unwrap();
    assert_eq!(text(&typed.wait_with_output().unwrap().stdout), before);
    // An option goes before a variable.
    let near = command("", &["key", "list", "--json", "--data", data.to_str().unwrap()])
        .env("CROSSMODEL_URL", "http://127.0.0.1:1")
        .output()
        .unwrap();
    assert_eq!(text(&near.stdout), before);
}

#[test]
fn a_token_that_makes_changes_too_fast_waits_and_makes_them_all() {
    let gateway = start();
    let url = format!("http://127.0.0.1:{}", gateway.admin);
    let makers: Vec<_> = (0..4)
        .map(|_| {
            let script = format!(
                "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do {} key create --url {url} || exit 1; done",
                env!("CARGO_BIN_EXE_crossmodel")
            );
            let mut maker = Command::new("sh");
            maker.args(["-c", &script]).env("CROSSMODEL_ADMIN_TOKEN", ADMIN).stdin(Stdio::null());
            maker.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for maker in makers {
        let output = maker.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout).lines().count(), 15);
    }
}

#[test]
fn a_certificate_elsewhere_is_verified() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    fs::write(&certificate, cert.pem()).unwrap();
    fs::write(&key, signing_key.serialize_pem()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let digest: String = Sha256::digest(ADMIN.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let (port, admin) = (free_port(), free_port());
    let file = folder.path().join("gw.yaml");
    let settings = format!(
        "listen: [{{address: \"127.0.0.1:{port}\"}}]\nproviders: {{demo: {{}}}}\nadmin:\n  address: 127.0.0.1:{admin}\n  \
         tls: {{certificate: \"{}\", key: \"{}\"}}\n  tokens: [{{name: ops, role: admin, sha256: {digest}}}]\n",
        certificate.display(),
        key.display()
    );
    fs::write(&file, settings).unwrap();
    let gateway =
        command("", &["-c", file.to_str().unwrap()]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut gateway = gateway.unwrap();
    assert!(
        eventually(Duration::from_secs(20), || std::net::TcpStream::connect(("127.0.0.1", admin)).is_ok())
    );
    let url = format!("https://localhost:{admin}");
    let ask = |authority: Option<&Path>| {
        let mut command = command(ADMIN, &["key", "list", "--url", &url]);
        command.envs(authority.map(|file| ("SSL_CERT_FILE", file)));
        command.output().unwrap()
    };
    let unknown = ask(None);
    assert!(
        unknown.status.code() == Some(5)
            && text(&unknown.stderr).contains("name the authority's file with SSL_CERT_FILE"),
        "{unknown:?}"
    );
    let known = ask(Some(&certificate));
    assert!(known.status.success() && text(&known.stdout).starts_with("KEY "), "{known:?}");
    gateway.kill().unwrap();
    gateway.wait().unwrap();
}

#[test]
fn a_file_leads_to_the_folder_of_the_gateway_that_runs_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    let (port, admin) = (free_port(), free_port());
    let configuration = format!(
        "listen: [{{address: \"127.0.0.1:{port}\"}}]\nadmin: \"127.0.0.1:{admin}\"\nproviders: {{demo: {{}}}}\n"
    );
    for name in ["gw.yaml", "other.yaml"] {
        fs::write(path(name), &configuration).unwrap();
    }
    let [file, other, data] = ["gw.yaml", "other.yaml", "state"].map(|name| path(name).display().to_string());
    let gateway =
        command("", &["-c", &file, "--data", &data]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut gateway = gateway.unwrap();
    let is_up = || std::net::TcpStream::connect(("127.0.0.1", admin)).is_ok();
    assert!(eventually(Duration::from_secs(20), is_up) && get(admin, "/readyz", "").status == 200);

    let made = command("", &["key", "create", "-c", &file, "--name", "found"]).output().unwrap();
    let note = format!("store: {data}, used by gateway {}\n", gateway.id());
    assert!(made.status.success() && text(&made.stderr).starts_with(&note), "{made:?}");
    let secret = text(&made.stdout);
    let works =
        || get(port, "/v1/models", &format!("authorization: Bearer {}\r\n", secret.trim())).status == 200;
    assert!(eventually(Duration::from_secs(5), works), "the key is one of the gateway");
    assert!(!path("data").exists(), "and no other store was made");
    let quiet = command("", &["key", "list", "-c", &file, "--json"]).output().unwrap();
    assert!(quiet.stderr.is_empty() && text(&quiet.stdout).contains("found"), "{quiet:?}");
    // A gateway of another file on the same address is not meant.
    let other = command("", &["key", "list", "-c", &other]).output().unwrap();
    assert_eq!(other.status.code(), Some(5), "{other:?}");
    if geteuid().is_root() {
        let binary = path("crossmodel");
        fs::copy(env!("CARGO_BIN_EXE_crossmodel"), &binary).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(path("gw.yaml"), fs::Permissions::from_mode(0o644)).unwrap();
        let mut stranger = Command::new(&binary);
        stranger
            .args(["key", "create", "-c", &file, "--name", "the team"])
            .env_clear()
            .uid(54_321)
            .gid(54_321);
        let refused = stranger.stdin(Stdio::null()).output().unwrap();
        let expected = format!(
            "gateway {} keeps its store in {data}, which this user may not use. Run: sudo crossmodel key create -c {file} --name 'the team'\n",
            gateway.id()
        );
        assert_eq!((refused.status.code(), text(&refused.stderr)), (Some(4), expected));
    }
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    let alone = command("", &["key", "list", "-c", &file]).output().unwrap();
    assert_eq!(alone.status.code(), Some(5), "nobody tells where the store is: {alone:?}");
}

#[test]
fn targets_are_listed_rested_and_enabled_by_commands() {
    let gateway = start();
    let data = gateway.data();
    let json = |arguments: &[&str]| {
        let output = run(&data, &[&["target"], arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        text(&output.stdout)
    };
    let id = member(&json(&["list"]), "0.id");
    assert!(id.ends_with("@demo"), "{id}");
    let rested = json(&["rest", &id, "--for", "30m", "--reason", "new cooling"]);
    let local = format!("local:{}", geteuid().as_raw());
    let told = ["state", "rested.reason", "rested.actor"].map(|name| member(&rested, name));
    assert_eq!(told, owned(["rested", "new cooling", &local]));
    assert_eq!(latest(&data), owned([&local, "socket", "applied"]));
    let table = at_url(&gateway, READER, &["target", "list"]);
    assert!(table.status.success(), "{table:?}");
    let table = text(&table.stdout);
    assert!(table.starts_with("TARGET") && table.contains("new cooling"), "{table}");
    let denied = at_url(&gateway, READER, &["target", "enable", &id]);
    assert_eq!(denied.status.code(), Some(4), "{denied:?}");
    assert_eq!(member(&json(&["enable", &id]), "state"), "closed");
    let code = |arguments: &[&str]| run(&data, arguments).status.code();
    assert_eq!(code(&["target", "rest", "v/none@demo", "--for", "1h"]), Some(3));
    assert_eq!(code(&["target", "rest", &id, "--for", "31d"]), Some(1));
    assert_eq!(code(&["target", "rest", &id]), Some(2), "the length is needed");
}

#[test]
fn a_command_reads_the_configuration_again() {
    let gateway = start();
    let data = gateway.data();
    let good = configuration();
    let reloaded = || gateway.metric("crossmodel_config_reloads_total{result=\"ok\"}");
    let before = reloaded();
    gateway.configure(&format!("{good}limits: {{body_seconds: 77}}\n"));
    let done = run(&data, &["config", "reload"]);
    assert!(done.status.success() && text(&done.stdout).contains("in force"), "{done:?}");
    assert!(reloaded() > before);
    gateway.configure(&format!("{good}limits: {{body_seconds: none}}\n"));
    let refused = run(&data, &["config", "reload"]);
    let said = text(&refused.stderr);
    assert!(refused.status.code() == Some(6) && said.contains("body_seconds"), "{said}");
}
