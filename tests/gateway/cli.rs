//! The command line: keys and accounts, what it prints and how it ends.

use std::env::consts;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::{Terminal, create_store, eventually, free_port, member, run};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a command that succeeds prints.
fn ok(data: &Path, arguments: &[&str]) -> String {
    let output = run(data, arguments);
    assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    text(&output.stdout)
}

/// The code of a command that fails, and what it says; it prints nothing else.
fn fails(data: &Path, arguments: &[&str]) -> (i32, String) {
    let output = run(data, arguments);
    assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    (output.status.code().unwrap(), text(&output.stderr))
}

fn is_secret(text: &str) -> bool {
    let rest = text.strip_prefix("cm-").unwrap_or_default();
    rest.len() == 40 && rest.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let (data, pages) = (&folder.path().join("data"), folder.path().join("man1"));
    let page = ok(data, &["man"]);
    assert!(page.contains(".SH SYNOPSIS") && page.contains(r"crossmodel\-key(1)"), "{page}");
    assert_eq!(ok(data, &["man", pages.to_str().unwrap()]), "");
    for name in ["crossmodel", "crossmodel-run", "crossmodel-key", "crossmodel-key-create"] {
        let text = std::fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
        assert!(text.contains(".SH NAME") && text.contains("crossmodel"), "{name}: {text}");
    }
    assert_eq!(std::fs::read_to_string(pages.join("crossmodel.1")).unwrap(), page);
    assert!(!data.exists(), "the manual needs no store");
}

#[test]
fn a_key_lives_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let data = &folder.path().join("made/with/folders");
    create_store(data);
    let create = [
        "key", "create", "--json", "--name", "a \"b\"", "--model", "v/a", "--model", "w/*", "--alias",
        "f*=v/a",
    ];
    let made = ok(data, &create);
    let (id, secret) = (member(&made, "id"), member(&made, "secret"));
    assert!(is_secret(&secret) && id.starts_with("key_"), "{made}");
    let shown = ok(data, &["key", "show", &id, "--json"]);
    let of =
        |json: &str| ["account", "name", "status", "models.1", "aliases.f*"].map(|path| member(json, path));
    assert_eq!(of(&shown), ["default", "a \"b\"", "active", "w/*", "v/a"], "{shown}");
    assert_eq!(of(&made), of(&shown));
    for (command, status) in [("disable", "disabled"), ("disable", "disabled"), ("enable", "active")] {
        assert_eq!(member(&ok(data, &["key", command, &id, "--json"]), "status"), status);
        assert_eq!(member(&ok(data, &["key", "list", "--json"]), "0.status"), status);
    }
    let second = member(&ok(data, &["key", "create", "--json"]), "id");
    assert_eq!(member(&ok(data, &["key", "list", "--json"]), "1.id"), second, "the oldest comes first");
    for told in [shown, ok(data, &["key", "list", "--json"]), ok(data, &["key", "list"])] {
        assert!(!told.contains(&secret) && !told.contains("digest"), "a secret is shown once: {told}");
    }
    assert_eq!(member(&ok(data, &["key", "delete", &id, "--json"]), "deleted"), "true");
    assert_eq!(fails(data, &["key", "delete", &id]), (3, format!("there is no key '{id}'\n")));
    assert_eq!(member(&ok(data, &["key", "list", "--json"]), "0.id"), second);
}

#[test]
fn a_new_key_has_the_limits_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("conf.yaml");
    let data = folder.path().join("data");
    create_store(&data);
    let create = |defaults: &str, more: &[&str]| {
        let text = format!("providers: {{demo: {{}}}}\ndata: {}\n{defaults}", data.display());
        std::fs::write(&file, text).unwrap();
        let arguments = [&["key", "create", "--json", "-c", file.to_str().unwrap()], more].concat();
        let made = ok(&data, &arguments);
        (member(&made, "rpm"), member(&made, "tpm"))
    };
    let limits = |rpm: &str, tpm: &str| (rpm.to_owned(), tpm.to_owned());
    assert_eq!(create("", &[]), limits("", ""));
    let defaults = "key_defaults: {rpm: 60, tpm: 100000}\n";
    assert_eq!(create(defaults, &[]), limits("60", "100000"));
    assert_eq!(create(defaults, &["--rpm", "unlimited"]), limits("", "100000"));
    assert_eq!(create("key_defaults: {rpm: unlimited, tpm: 5}\n", &[]), limits("", "5"));
}

#[test]
fn a_key_lives_as_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    create_store(data);
    let made = run(data, &["key", "create", "--name", "mine"]);
    let (secret, advice) = (text(&made.stdout), text(&made.stderr));
    assert!(secret.strip_suffix('\n').is_some_and(is_secret), "a key and nothing else: {secret}");
    assert!(advice.ends_with(" cannot be shown again: keep it now.\n"), "{advice}");
    let id = advice.split(' ').next().unwrap();
    let words = |table: &str| -> Vec<Vec<String>> {
        table.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    let heading = "KEY NAME ACCOUNT STATE SECRET SPENT LIMITS EXPIRES LAST USED";
    let heading: Vec<_> = heading.split(' ').collect();
    let hint = format!("cm-…{}", &secret.trim_end()[secret.trim_end().len() - 4..]);
    let expected = |state: &str| {
        let start = [id, "mine", "default", state, &hint];
        vec![row(&heading), row(&[&start[..], &["0.00", "none", "never", "never"]].concat())]
    };
    assert_eq!(words(&ok(data, &["key", "list"])), expected("active"));
    assert_eq!(words(&ok(data, &["key", "show", id])), expected("active"));
    assert_eq!(words(&ok(data, &["key", "disable", id])), expected("disabled"));
    assert_eq!(words(&ok(data, &["key", "enable", id])), expected("active"));
    assert_eq!(ok(data, &["key", "delete", id]), format!("{id} deleted\n"));
    assert_eq!(words(&ok(data, &["key", "list"])), [row(&heading)]);
}

fn row(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

#[test]
fn accounts_own_keys() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    create_store(data);
    assert_eq!(ok(data, &["account", "list", "--json"]), "[]\n");
    assert_eq!(
        fails(data, &["key", "create", "--account", "team"]),
        (3, "there is no account 'team'\n".to_owned())
    );
    assert_eq!(ok(data, &["account", "create", "team"]), "team created\n");
    assert_eq!(
        fails(data, &["account", "create", "team"]),
        (6, "there is already an account 'team'\n".to_owned())
    );
    // Whatever the name holds, what is printed is JSON.
    for odd in ["a\"b\\c", "e\u{301} \u{200d}", "tab\there", "it's"] {
        let made = ok(data, &["account", "create", odd, "--json"]);
        assert_eq!(
            (member(&made, "id").as_str(), member(&made, "created").as_str()),
            (odd, "true"),
            "{made}"
        );
    }
    assert_eq!(member(&ok(data, &["key", "create", "--account", "team", "--json"]), "account"), "team");
    let status = || member(&ok(data, &["account", "list", "--json"]), "0.status");
    assert_eq!(ok(data, &["account", "disable", "team"]), "team disabled\n");
    assert_eq!(status(), "disabled");
    assert_eq!(member(&ok(data, &["account", "enable", "team", "--json"]), "enabled"), "true");
    assert_eq!(status(), "active");
    assert_eq!(
        fails(data, &["account", "disable", "nobody"]),
        (3, "there is no account 'nobody'\n".to_owned())
    );
}

#[test]
fn wallets_are_filled_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    create_store(data);
    let words = |text: String| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    ok(data, &["account", "create", "team"]);
    let heading = "ACCOUNT STATUS BALANCE USD HELD USD LIMITS";
    let shown = words(ok(data, &["account", "show", "team"]));
    assert_eq!(shown, format!("{heading} team active no wallet no wallet"));
    for _ in 0..2 {
        ok(data, &["account", "top-up", "team", "2.5", "--reference", "invoice-7"]);
    }
    assert_eq!(words(ok(data, &["account", "list"])), format!("{heading} team active 2.50 0.00"));
    ok(data, &["account", "top-up", "team", "0.000001"]);
    let shown = ok(data, &["account", "show", "team", "--json"]);
    assert_eq!(member(&shown, "wallet.balance_usd"), "2.500001");
    assert_eq!(member(&shown, "wallet.held_usd"), "0.00");
    for (arguments, code, said) in [
        (&["account", "top-up", "team", "3", "--reference", "invoice-7"][..], 6, "there is already another"),
        (&["account", "top-up", "nobody", "3"], 3, "there is no account 'nobody'"),
        (&["account", "top-up", "team", "0"], 1, "the amount must be more than nothing"),
        (&["account", "top-up", "team", "-5"], 2, "error: unexpected argument '-5'"),
        (&["account", "top-up", "team", "1e3"], 2, "error: invalid value '1e3'"),
        (&["account", "top-up", "team", "9999999999"], 2, "error: invalid value"),
        (&["account", "top-up", "team", "9223372036"], 1, "the balance would be too large"),
        (&["usage", "--account", "nobody"], 3, "there is no account 'nobody'"),
        (&["usage", "--account", "team", "--key", "key_nope"], 3, "there is no key 'key_nope'"),
    ] {
        let (failed, words) = fails(data, arguments);
        assert!(failed == code && words.starts_with(said), "{arguments:?}: {words}");
    }
    assert!(ok(data, &["usage", "--account", "team"]).contains("this month  0.00"));
    assert_eq!(member(&ok(data, &["usage", "--account", "team", "--json"]), "daily.request_count"), "0");
    let audit = words(ok(data, &["ledger", "audit"]));
    assert_eq!(audit, "CALLS IN FLIGHT TOP-UPS ESTIMATED CAPPED 0 0 2 0 0");
    assert_eq!(member(&ok(data, &["ledger", "audit", "--json"]), "findings"), "[]");
    // Books that somebody has changed are found out.
    let books = rusqlite::Connection::open(data.join("crossmodel.db")).unwrap();
    books.execute_batch("UPDATE wallets SET balance = balance + 1").unwrap();
    let audit = run(data, &["ledger", "audit"]);
    assert_eq!(audit.status.code(), Some(1));
    let found = String::from_utf8(audit.stdout).unwrap();
    assert!(
        found.contains("WRONG: a balance is what was topped up less what was refunded and charged: team"),
        "{found}"
    );
}

#[test]
fn a_key_can_be_changed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    create_store(data);
    let made = ok(data, &["key", "create", "--rpm", "5", "--spending-limit", "1.5", "--strict", "--json"]);
    let id = member(&made, "id");
    let change = |arguments: &[&str]| ok(data, &[&["key", "set", &id, "--json"], arguments].concat());
    let rights = |shown: &str| {
        ["rpm", "tpm", "spending_limit_usd", "strict", "models"].map(|name| member(shown, name))
    };
    assert_eq!(rights(&made), ["5", "", "1.50", "true", ""]);
    let changed = change(&["--rpm", "unlimited", "--tpm", "7", "--strict", "false", "--model", "v/*"]);
    assert_eq!(rights(&changed), ["", "7", "1.50", "false", "[\"v/*\"]"]);
    let changed = change(&["--spending-limit", "unlimited", "--model", "all", "--alias", "a=v/m"]);
    assert_eq!(rights(&changed), ["", "7", "", "false", ""]);
    assert_eq!(member(&changed, "aliases.a"), "v/m");
}

#[test]
fn wrong_commands_end_with_2_and_failed_ones_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let data = &folder.path().join("data");
    for arguments in [
        &["key"][..],
        &["key", "show"],
        &["key", "steal", "x"],
        &["key", "create", "--alias", "no-model"],
        &["server"],
        &["check", "--all"],
        &["check"],
        &["run", "--port", "8081", "--listen", "127.0.0.1:8082"],
        &["doctor", "everything"],
        &["health", "--url", "not a url"],
        &["completions", "dos"],
        &["-c"],
    ] {
        let (code, said) = fails(data, arguments);
        assert!(code == 2 && !said.is_empty(), "{arguments:?}: {said}");
    }
    assert!(!data.exists(), "a wrong command makes nothing");
    for (arguments, words) in [
        (&["check", "-c", "gone.yaml"][..], "gone.yaml: cannot be read: "),
        (&["-c", "gone.yaml"], "gone.yaml: cannot be read: "),
    ] {
        let (code, said) = fails(data, arguments);
        assert!(code == 1 && said.starts_with(words), "{arguments:?}: {said}");
    }
    std::fs::write(folder.path().join("file"), "").unwrap();
    let (code, said) = fails(&folder.path().join("file"), &["key", "list"]);
    assert!(code == 5 && said.starts_with("the data folder cannot be used: "), "{said}");
    let version = format!("crossmodel {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(ok(data, &["-V"]), version);
    let said = ok(data, &["--version"]);
    let lines: Vec<_> = said.strip_prefix(&version).unwrap().lines().collect();
    let [commit, target, features] = lines[..] else { panic!("{said}") };
    assert!(commit.starts_with("commit: ") && commit.len() > "commit: ".len(), "{said}");
    assert!(target.starts_with(&format!("target: {}-{}", consts::ARCH, consts::OS)), "{said}");
    assert!(features.starts_with("features: ") && features.len() > "features: ".len(), "{said}");
    let help = ok(data, &["--help"]);
    for words in
        ["--config <FILE>", "  1  it failed, or something is wrong", "  2  the command line is wrong"]
    {
        assert!(help.contains(words), "{help}");
    }
}

#[test]
fn a_check_can_be_read_by_programs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("conf.yaml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let output = run(folder.path(), &["check", "--json", "-c", file.to_str().unwrap()]);
        assert!(output.stderr.is_empty(), "{output:?}");
        (output.status.code().unwrap(), text_of_one_line(&output.stdout))
    };
    let (code, good) = check("providers: {demo: {}}\n");
    let of = |json: &str| ["ok", "providers", "models", "problems"].map(|name| member(json, name));
    assert_eq!((code, of(&good)), (0, ["true", "1", "3", "[]"].map(str::to_owned)));
    let (code, bad) = check("providers: {demo: {}}\nthreads: many\nadmin: nowhere\n");
    assert_eq!((code, member(&bad, "ok")), (1, "false".to_owned()), "{bad}");
    let places = ["problems.0.line", "problems.1.line", "problems.1.column"].map(|path| member(&bad, path));
    assert_eq!(places, ["2", "3", "8"], "{bad}");
    assert!(member(&bad, "problems.1.message").contains("is not an address"), "{bad}");
}

fn text_of_one_line(bytes: &[u8]) -> String {
    let text = text(bytes);
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn shells_complete_every_command() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = ok(folder.path(), &["completions", shell]);
        for word in ["crossmodel", "doctor", "top-up", "spending-limit"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    // What bash makes of it: the words that may follow.
    let script = folder.path().join("crossmodel.bash");
    std::fs::write(&script, ok(folder.path(), &["completions", "bash"])).unwrap();
    let asks = "source $0; COMP_WORDS=(crossmodel ledger au); COMP_CWORD=2; _crossmodel crossmodel au ledger; \
        echo ${COMPREPLY[@]}";
    match Command::new("bash").args(["-c", asks]).arg(&script).output() {
        Ok(output) => assert_eq!(text(&output.stdout), "audit\n", "{output:?}"),
        Err(why) => assert_eq!(why.kind(), std::io::ErrorKind::NotFound, "there is no bash"),
    }
}

#[test]
fn an_audit_says_on_a_terminal_how_far_it_is() {
    let folder = tempfile::tempdir().unwrap();
    create_store(folder.path());
    let (terminal, other_end) = Terminal::open();
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossmodel"));
    command.arg("--data").arg(folder.path()).args(["ledger", "audit", "--json"]).stderr(other_end);
    let output = command.output().unwrap();
    drop(command);
    let said = || terminal.text();
    let is_erased = eventually(Duration::from_secs(5), || said().ends_with("\r\u{1b}[K"));
    assert!(is_erased && said().contains("audit: rule 1 of "), "{:?}", said());
    assert_eq!(member(&text(&output.stdout), "findings"), "[]", "and standard output is what it always is");
}

#[test]
fn the_schema_names_every_setting() {
    let folder = tempfile::tempdir().unwrap();
    let schema = ok(folder.path(), &["schema"]);
    assert!(member(&schema, "$schema").starts_with("https://json-schema.org/"), "{schema}");
    assert_eq!(member(&schema, "additionalProperties"), "false");
    for name in [
        "listen",
        "admin",
        "data",
        "threads",
        "access_log",
        "limits",
        "timeouts",
        "providers",
        "models",
        "aliases",
    ] {
        assert!(!member(&schema, &format!("properties.{name}.description")).is_empty(), "{name}");
    }
}

#[test]
fn a_listener_that_is_taken_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let held = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken = held.local_addr().unwrap();
    let file = folder.path().join("conf.yaml");
    let text = format!(
        "listen: [{{address: \"127.0.0.1:{}\"}}]\nadmin: \"{taken}\"\nproviders: {{demo: {{}}}}\n",
        free_port()
    );
    std::fs::write(&file, text).unwrap();
    let (code, said) = fails(&folder.path().join("data"), &["-c", file.to_str().unwrap()]);
    assert!(code == 1 && said.starts_with(&format!("{taken} is in use (process ")), "{said}");
    assert!(said.contains(". Choose another: crossmodel --admin 127.0.0.1:"), "{said}");
    let output = run(&folder.path().join("data"), &["check", "-c", file.to_str().unwrap()]);
    assert!(output.status.success(), "a check is no start");
}
