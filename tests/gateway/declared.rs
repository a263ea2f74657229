//! Keys and accounts that the file declares: in force without a command, and never against what an operator has disabled.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::support::{Gateway, eventually, get, member, run};

const OK: &str = "crossmodel_config_reloads_total{result=\"ok\"}";
const REFUSED: &str = "crossmodel_config_reloads_total{result=\"refused\"}";

const ONE: &str = "cm-1111111111222222222233333333334444444444";
const TWO: &str = "cm-aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd";

const SOON: Duration = Duration::from_secs(10);

fn digest(secret: &str) -> String {
    Sha256::digest(secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file with a key for each name and secret.
fn file(keys: &[(&str, &str)]) -> String {
    let keys =
        keys.iter().map(|(name, secret)| format!("  - {{name: {name}, sha256: {}}}\n", digest(secret)));
    format!("providers: {{demo: {{}}}}\ninstance: test\nkeys:\n{}", keys.collect::<String>())
}

/// The status of a call with a key.
fn call(gateway: &Gateway, secret: &str) -> u16 {
    get(gateway.port, "/v1/models", &format!("authorization: Bearer {secret}\r\n")).status
}

fn becomes(gateway: &Gateway, secret: &str, status: u16) -> bool {
    eventually(SOON, || call(gateway, secret) == status)
}

/// Puts a file into effect.
fn reload(gateway: &Gateway, text: &str) {
    let count = gateway.metric(OK);
    gateway.configure(text);
    gateway.signal("HUP");
    assert!(eventually(SOON, || gateway.metric(OK) > count), "{}", gateway.stderr());
}

#[test]
fn declared_keys_work_from_the_first_call_and_follow_the_file() {
    let mut gateway = Gateway::first_run(&file(&[("one", ONE)]), &[]);
    assert_eq!((call(&gateway, ONE), call(&gateway, TWO)), (200, 401));
    reload(&gateway, &file(&[("one", ONE), ("two", TWO)]));
    assert!(becomes(&gateway, TWO, 200));
    reload(&gateway, &file(&[("two", TWO)]));
    assert!(becomes(&gateway, ONE, 401), "it is no longer declared");
    let shown = gateway.command(&["key", "show", "key_one", "--json"]);
    assert_eq!([member(&shown, "state"), member(&shown, "origin")], ["disabled", "config"]);
    reload(&gateway, &file(&[("one", ONE), ("two", TWO)]));
    assert!(becomes(&gateway, ONE, 200), "it is declared again");

    // An operator disables a key. No reload and no restart enables it.
    gateway.command(&["key", "disable", "key_one"]);
    assert!(becomes(&gateway, ONE, 401));
    reload(&gateway, &format!("# new\n{}", file(&[("one", ONE), ("two", TWO)])));
    gateway.restart();
    assert_eq!((call(&gateway, ONE), call(&gateway, TWO)), (401, 200));
    let console = get(gateway.admin, "/console.json", "").body;
    let disabled = "config.declared.disabled_although_declared.0";
    assert_eq!(
        [member(&console, "config.declared.instance"), member(&console, disabled)],
        ["test", "key_one"]
    );
    gateway.command(&["key", "enable", "key_one"]);
    assert!(becomes(&gateway, ONE, 200));

    let rows = gateway.command(&["audit", "--subject", "key_one", "--json"]);
    assert_eq!(rows.matches("\"actor\":\"config:test\"").count(), 3, "{rows}");
    assert!(!rows.contains(&digest(ONE)));
}

#[test]
fn what_the_file_declares_is_not_changed_by_commands() {
    let gateway = Gateway::first_run(&file(&[("one", ONE)]), &[]);
    for arguments in [
        &["key", "set", "key_one", "--name", "other"][..],
        &["key", "rotate", "key_one"],
        &["key", "delete", "key_one"],
    ] {
        let output = run(&gateway.data(), arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        let place = format!("{}:", gateway.file("conf.yaml").display());
        assert_eq!(output.status.code(), Some(6), "{arguments:?}: {said}");
        assert!(said.contains("is declared in") && said.contains(&place), "{said}");
    }
    gateway.command(&["key", "set", "key_one", "--rpm", "5"]);
    assert_eq!(call(&gateway, ONE), 200);
}

#[test]
fn a_file_that_takes_what_it_did_not_make_is_refused_as_a_whole() {
    let gateway = Gateway::start(&file(&[("one", ONE)]));
    let taken = file(&[("two", TWO), ("mine", &gateway.key)]);
    gateway.configure(&taken);
    gateway.signal("HUP");
    assert!(eventually(SOON, || gateway.metric(REFUSED) >= 1.0));
    let line = std::fs::read_to_string(gateway.file("conf.yaml")).unwrap();
    let line = line.lines().position(|line| line.contains("name: mine")).unwrap() + 1;
    let told =
        format!("{}:{line}:5: key 'key_mine' has the secret of key '", gateway.file("conf.yaml").display());
    assert!(eventually(SOON, || gateway.stderr().contains(&told)), "{told} in {}", gateway.stderr());
    assert_eq!((call(&gateway, ONE), call(&gateway, TWO), call(&gateway, &gateway.key)), (200, 401, 200));

    // A gateway does not start with it, either.
    let output = Command::new(env!("CARGO_BIN_EXE_crossmodel"))
        .arg("-c")
        .arg(gateway.file("conf.yaml"))
        .args(["--listen", "127.0.0.1:0", "--admin", "off"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains(&told));
    reload(&gateway, &file(&[("two", TWO)]));
    assert!(becomes(&gateway, TWO, 200));
}

#[test]
fn gateways_with_other_instances_share_a_store_and_reloads_fail_no_call() {
    let first = Gateway::first_run(&file(&[("one", ONE)]), &[]);
    let second = "providers: {demo: {}}\ninstance: other\nkeys: [{name: two, sha256: \"DIGEST\"}]\n";
    let second = second.replace("DIGEST", &digest(TWO));
    let folder = tempfile::tempdir().unwrap();
    let port = crate::support::free_port();
    let conf = folder.path().join("other.yaml");
    let data = first.data().display().to_string();
    let listen =
        format!("listen: [{{address: \"127.0.0.1:{port}\"}}]\nadmin: off\naccess_log: off\ndata: {data}\n");
    std::fs::write(&conf, format!("{listen}{second}")).unwrap();
    let mut other = Command::new(env!("CARGO_BIN_EXE_crossmodel"))
        .arg("-c")
        .arg(&conf)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert!(becomes(&first, TWO, 200), "both gateways serve the keys of both");

    let is_over = AtomicBool::new(false);
    let failed = std::thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let mut failed = 0;
            while !is_over.load(Ordering::Relaxed) {
                failed += usize::from(call(&first, ONE) != 200) + usize::from(call(&first, TWO) != 200);
            }
            failed
        });
        for n in 0..20 {
            let name = format!("extra-{n}");
            reload(&first, &file(&[("one", ONE), (&name, &format!("cm-{n:040}"))]));
        }
        is_over.store(true, Ordering::Relaxed);
        caller.join().unwrap()
    });
    assert_eq!(failed, 0);
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn a_secret_is_hashed_where_there_is_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let hash = |text: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crossmodel"));
        command.args(["key", "hash", "-", "--data"]).arg(folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let output = hash(&format!("{ONE}\n"));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{}\n", digest(ONE)));
    let output = hash("not-a-secret\n");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && !said.contains("not-a-secret"), "{said}");
}
