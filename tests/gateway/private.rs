//! Files that are the gateway's alone, whatever the umask is and whatever they were.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::{Gateway, Mock, PROTOCOLS, UPSTREAM_KEY, config, json, member, post};

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn set(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// A folder, and all that is in it.
fn all(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        found.extend(if path.is_dir() { all(&path) } else { vec![path] });
    }
    found
}

/// Lists the entries of a folder that others than its owner may use.
fn open(folder: &Path) -> Vec<String> {
    let open = all(folder).into_iter().filter(|path| mode(path) & 0o077 != 0);
    open.map(|path| format!("{} {:o}", path.display(), mode(&path))).collect()
}

/// Runs a command under a umask that forbids nothing.
fn carelessly(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("sh");
    command
        .args(["-c", "umask 000; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_crossmodel"), "--data"])
        .arg(data);
    command.args(arguments).env("UPSTREAM_KEY", UPSTREAM_KEY).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn a_gateway_and_its_commands_keep_their_files_to_themselves() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let gateway = Gateway::start(&config(mock.port));
    assert_eq!(post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1).status, 200);
    assert_eq!(gateway.access_log(1).len(), 1);
    assert_eq!(open(&gateway.data()), Vec::<String>::new());
    let names = all(&gateway.data());
    for name in ["crossmodel.db-wal", "crossmodel.db-shm", "journal", "handover"] {
        assert!(names.iter().any(|path| path.ends_with(name)), "{name} in {names:?}");
    }
    assert_eq!(mode(&gateway.file("access.log")), 0o600);
}

#[test]
fn every_command_makes_and_leaves_files_of_its_user_alone() {
    let home = tempfile::tempdir().unwrap();
    let conf = home.path().join("conf.yaml");
    std::fs::write(&conf, "providers: {demo: {}}\nadmin: \"off\"\nlisten: [{address: \"127.0.0.1:0\"}]\n")
        .unwrap();
    let conf = conf.to_str().unwrap();
    let commands: [(&[&str], bool); 8] = [
        (&["store", "create"], false),
        (&["key", "create"], true),
        (&["key", "list"], false),
        (&["account", "create", "team"], true),
        (&["account", "list"], false),
        (&["usage"], false),
        (&["ledger", "audit"], false),
        (&["doctor", "-c", conf], false),
    ];
    let kept = home.path().join("kept");
    assert!(carelessly(&kept, &["store", "create"]).status.success());
    assert!(carelessly(&kept, &["account", "create", "default"]).status.success());
    for (n, (command, writes)) in commands.into_iter().enumerate() {
        // Made by it, with folders above.
        let fresh = home.path().join(format!("{n}/data"));
        carelessly(&fresh, command);
        let made = fresh.exists().then(|| open(&home.path().join(n.to_string())));
        assert_eq!(made.unwrap_or_default(), Vec::<String>::new(), "{command:?}");
        // Left open before, as by earlier versions.
        set(&kept, 0o777);
        all(&kept).iter().filter(|path| path.is_file()).for_each(|path| set(path, 0o666));
        let before = open(&kept);
        carelessly(&kept, command);
        let expected = if writes { Vec::new() } else { before };
        assert_eq!(open(&kept), expected, "{command:?}: what only reads changes nothing");
    }
}

#[test]
fn a_start_closes_what_was_open_and_says_so_once() {
    let mut gateway = Gateway::start("providers: {demo: {}}\n");
    let said = |gateway: &Gateway| gateway.stderr().matches("were open to other users").count();
    assert_eq!(said(&gateway), 0, "{}", gateway.stderr());
    for path in all(&gateway.data()) {
        let bits = if path.is_dir() { 0o755 } else { 0o644 };
        set(&path, bits);
    }
    gateway.restart();
    assert_eq!(said(&gateway), 1, "{}", gateway.stderr());
    assert_eq!(open(&gateway.data()), Vec::<String>::new());
    gateway.restart();
    assert_eq!(said(&gateway), 0, "{}", gateway.stderr());
}

#[test]
fn a_folder_that_is_everybodys_is_refused_with_advice() {
    let home = tempfile::tempdir().unwrap();
    let shared = home.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::write(shared.join("somebody's"), "").unwrap();
    for (bits, advice) in [(0o1777, "inside of it"), (0o755, "chmod 700")] {
        set(&shared, bits);
        let output = carelessly(&shared, &["store", "create"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(advice), "{bits:o}: {said}");
        assert_eq!(std::fs::read_dir(&shared).unwrap().count(), 1, "nothing is made in it");
    }
}

#[test]
fn secrets_that_others_may_read_are_told_and_those_that_they_may_write_refused() {
    let home = tempfile::tempdir().unwrap();
    let (key, conf, data) =
        (home.path().join("key"), home.path().join("conf.yaml"), home.path().join("data"));
    std::fs::write(&key, UPSTREAM_KEY).unwrap();
    let text = format!(
        "providers: {{p: {{base_url: \"http://127.0.0.1:1/v1\", key: \"file:{}\", protocols: [chat]}}}}\n\
         models: [{{id: v/m, targets: [{{provider: p}}]}}]\nadmin: \"off\"\nlisten: [{{address: \"127.0.0.1:0\"}}]\n",
        key.display()
    );
    std::fs::write(&conf, text).unwrap();
    let conf = conf.to_str().unwrap();
    for (bits, checked, state) in
        [(0o600, "", ""), (0o640, "its group", "warning"), (0o644, "every user", "wrong")]
    {
        set(&key, bits);
        let output = carelessly(&data, &["check", "-c", conf, "--json"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}");
        let warning = member(&said, "warnings.0");
        assert!(warning.contains(checked) && warning.is_empty() == checked.is_empty(), "{bits:o}: {said}");
        let output = carelessly(&data, &["doctor", "-c", conf, "--json"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let found = if member(&said, "checks.1.check") == "secrets" {
            member(&said, "checks.1.state")
        } else {
            String::new()
        };
        assert_eq!(found, state, "{bits:o}: {said}");
        assert!(!said.contains(UPSTREAM_KEY), "{said}");
    }
    set(&key, 0o666);
    let output = carelessly(&data, &["check", "-c", conf]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("providers.p.key") && said.contains("chmod 600"),
        "{said}"
    );
}
