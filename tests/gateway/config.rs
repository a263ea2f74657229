//! `crossmodel check`: everything that is wrong, at once, with its place, and no secret in it.

use std::process::{Command, Output, Stdio};

use crate::support::UPSTREAM_KEY;

/// Runs `crossmodel check` on a file with this text.
fn check(text: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("conf.yaml"), text).unwrap();
    std::fs::write(folder.path().join("empty"), "\n").unwrap();
    std::fs::write(folder.path().join("odd"), format!("{UPSTREAM_KEY}\nsecond line\n")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_crossmodel"))
        .args(["check", "-c", "conf.yaml"])
        .current_dir(folder.path())
        .env("UPSTREAM_KEY", UPSTREAM_KEY)
        .env("BLANK_KEY", " ")
        .env("ODD_KEY", format!("{UPSTREAM_KEY} x"))
        .env_remove("MISSING_KEY")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// What is wrong with a text, one line for each problem, without the file's name.
fn problems(text: &str) -> Vec<String> {
    let output = check(text);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{text}\n{errors}");
    assert!(!errors.contains(UPSTREAM_KEY), "a secret is shown: {errors}");
    let name =
        |line: &str| line.strip_prefix("conf.yaml:").unwrap_or_else(|| panic!("{errors}")).trim().to_owned();
    errors.lines().map(name).collect()
}

/// A provider that is right, as the first line of a file.
const UP: &str =
    "providers: {up: {base_url: \"https://up.example\", key: \"env:UPSTREAM_KEY\", protocols: [chat]}}\n";

/// Texts with one mistake each, its place, and words of the message. `UP` stands for the provider in line 1.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("lisen: []", "1:1", "unknown field `lisen`"),
    ("limits: {body: 1}", "1:10", "unknown field `body`"),
    ("limits: {body_bytes: many}", "1:22", "expected a whole number of bytes, such as 1048576"),
    ("limits: {body_bytes: -1}", "1:22", "expected a whole number of bytes"),
    ("timeouts: {connect: 1.5}", "1:21", "expected a whole number of seconds, such as 30"),
    ("timeouts: {connect: 5s}", "1:21", "invalid type: string, expected a whole number of seconds"),
    (
        "UPmodels: [{id: v/a, prices: [{input: 1.25}], targets: [{provider: up}]}]",
        "2:37",
        "of micro-USD for a million tokens, such as 1250000 for 1.25 dollars",
    ),
    ("timeouts: [1, 2, 3, 4]", "1:11", "expected struct Timeouts"),
    ("timeouts: 7", "1:11", "expected struct Timeouts"),
    ("threads: few", "1:10", "expected a whole number"),
    ("providers_from_environment: off", "1:29", "expected `true` or `false`"),
    ("keys: [{name: a}]", "1:8", "keys[0]: give either `secret` or `sha256`"),
    ("keys: [{name: a, sha256: abc}]", "1:26", "keys[0]: `sha256` is not 64 hexadecimal digits"),
    ("keys: [{name: a, secret: sk-upstream-canary}]", "1:26", "secrets are given by reference"),
    ("keys: [{name: a, secret: \"env:UPSTREAM_KEY\"}]", "1:26", "keys[0]: this is no secret of a key"),
    ("keys: [{name: a, sha256: 5}]", "1:26", "invalid type: integer `5`, expected a string"),
    ("keys: [{name: A, sha256: DIGEST}]", "1:8", "give the key an `id`, such as key_ci"),
    ("keys: [{sha256: DIGEST}]", "1:8", "give the key an `id`, such as key_ci"),
    ("keys: [{id: a/b, sha256: DIGEST}]", "1:13", "an id consists of letters, digits, `_` and `-`"),
    (
        "keys: [{name: a, sha256: DIGEST, rpm: 0}]",
        "1:97",
        "invalid value: integer `0`, expected a whole number of at least 1, or `unlimited`",
    ),
    (
        "keys: [{name: a, sha256: DIGEST, expires: soon}]",
        "1:101",
        "key 'key_a': 'soon' is no time: write 2027-01-31",
    ),
    ("keys: [{name: a, sha256: DIGEST, rmp: 5}]", "1:92", "unknown field `rmp`"),
    (
        "keys: [{name: a, sha256: DIGEST, models: [\"x y\"]}]",
        "1:101",
        "key 'key_a': 'x y' is no model's name",
    ),
    (
        "keys: [{name: a, sha256: DIGEST, budgets: [{period: day, limit: 0}]}]",
        "1:102",
        "key 'key_a': the daily budget needs a limit of more than nothing",
    ),
    (
        "keys:\n- {name: a, sha256: DIGEST}\n- {id: b, sha256: DIGEST}",
        "3:3",
        "key 'b' has the secret of key 'key_a' in line 2",
    ),
    ("accounts: [{id: a}, {id: a}]", "1:21", "account 'a' is there already, in line 1"),
    ("accounts: [{name: a}]", "1:12", "missing field `id`"),
    ("accounts: [{id: \"\"}]", "1:17", "the id is empty"),
    (
        "accounts: [{id: a, low_balance: 1.0000000001}]",
        "1:33",
        "is no amount of dollars: write for example 10 or 2.50",
    ),
    (
        "accounts: [{id: a, budgets: [{period: year, limit: 5}]}]",
        "1:39",
        "unknown name, expected one of `day`, `week`",
    ),
    ("instance: \"a b\"\naccounts: [{id: a}]", "1:11", "instance: write 1 to 64 visible ASCII characters"),
    ("- providers", "1:1", "expected struct Settings"),
    ("just words", "1:1", "expected struct Settings"),
    ("models: {a: b}", "1:9", "expected a sequence"),
    ("aliases: [a]", "1:10", "expected a map"),
    ("listen: []", "", "at least one address"),
    ("listen: [{address: here}]", "1:20", "'here' is not an address"),
    ("listen: [{address: \"127.0.0.1\"}]", "1:20", "is not an address: write host:port"),
    ("listen: [{address: \"127.0.0.1:99999\"}]", "1:20", "is not an address"),
    ("admin: nowhere", "1:8", "'nowhere' is not an address"),
    ("admin: {address: nowhere}", "1:18", "'nowhere' is not an address"),
    ("cors: on", "1:7", "expected `off`, or a map of `origins` and `max_age`"),
    ("cors: {origins: https}", "1:17", "expected `\"*\"`, or a list of origins"),
    (
        "cors: {origins: [\"https://a/\"]}",
        "1:18",
        "cors.origins: 'https://a/' is not an origin: write scheme://host",
    ),
    ("cors: {orgins: []}", "1:8", "unknown field `orgins`"),
    (
        "admin: [here]",
        "1:8",
        "expected an address, or a map of `address`, `token`, `hosts`, `tokens`, `plaintext` and `tls`",
    ),
    ("admin: {adress: \"127.0.0.1:1\"}", "1:9", "unknown field `adress`"),
    ("admin: {token: secret}", "1:16", "admin.token: secrets are given by reference"),
    ("admin: {token: \"env:MISSING_KEY\"}", "1:16", "admin.token: the variable MISSING_KEY is not set"),
    ("listen: [{address: \"127.0.0.1:1\", tls: {certificate: gone.pem}}]", "1:40", "missing field `key`"),
    (
        "listen: [{address: \"127.0.0.1:1\", tls: {certificate: gone.pem, key: conf.yaml}}]",
        "1:20",
        "gone.pem cannot be read",
    ),
    ("providers: {demo: {base_uri: x}}", "1:20", "unknown field `base_uri`"),
    ("providers: {up: {key: \"env:UPSTREAM_KEY\"}}", "1:13", "providers.up.base_url: is required"),
    ("providers:\n  up: {base_url: \"ftp://x\", auth: none}", "2:18", "must begin with https:// or http://"),
    ("providers:\n  up: {base_url: \"not a url\", auth: none}", "2:18", "is not a URL"),
    ("providers:\n  up: {base_url: \"https://x/?a=b\", auth: none}", "2:18", "must not have a query"),
    (
        "providers: {up: {base_url: \"https://x\", auth: none}}",
        "1:13",
        "providers.up.protocols: name at least",
    ),
    (
        "providers: {up: {base_url: \"https://x\", auth: none, protocols: [chat, soap]}}",
        "1:71",
        "unknown name, expected one of `chat`, `responses`, `messages`",
    ),
    (
        "providers: {demo: {auth: basic}}",
        "1:26",
        "unknown name, expected one of `bearer`, `x-api-key`, `x-goog-api-key`, `none`",
    ),
    (
        "providers: {up: {base_url: \"https://x\", protocols: [chat]}}",
        "1:13",
        "providers.up.key: is required",
    ),
    ("providers: {up: {preset: nobody}}", "1:26", "no preset 'nobody'"),
    ("providers: {openai: {key: \"env:MISSING_KEY\"}}", "1:27", "the variable MISSING_KEY is not set"),
    ("providers: {openai: {key: \"env:BLANK_KEY\"}}", "1:27", "the variable BLANK_KEY is empty"),
    ("providers: {openai: {key: \"env:ODD_KEY\"}}", "1:27", "characters that no credential has"),
    ("providers: {openai: {key: \"file:gone\"}}", "1:27", "gone cannot be read"),
    ("providers: {openai: {key: \"file:empty\"}}", "1:27", "empty is empty"),
    ("providers: {openai: {key: \"file:odd\"}}", "1:27", "characters that no credential has"),
    ("providers: {openai: {key: sk-upstream-canary}}", "1:27", "secrets are given by reference"),
    ("providers: {demo: {key: [sk-upstream-canary]}}", "1:25", "expected a string"),
    (
        "providers: {demo: {profile: {sampling: hot}}}",
        "1:40",
        "unknown name, expected one of `full`, `clamp1`, `none`",
    ),
    (
        "providers: {demo: {headers: {\"x y\": a}}}",
        "1:30",
        "providers.demo.headers.x y: is not the name of a header",
    ),
    (
        "providers: {demo: {headers: {Authorization: a}}}",
        "1:30",
        "providers.demo.headers.Authorization: is written by the gateway: set `key` and `auth`",
    ),
    ("providers: {demo: {headers: {content-length: \"1\"}}}", "1:30", "is written by the gateway"),
    ("providers: {demo: {headers: {idempotency-key: a}}}", "1:30", "has to differ between requests"),
    (
        "providers: {demo: {headers: {X-A: a, x-a: b}}}",
        "1:38",
        "headers.x-a: is there already, in another case",
    ),
    ("providers: {demo: {headers: {x-a: 1}}}", "1:35", "expected a string"),
    ("providers: {demo: {headers: {x-a: \" \"}}}", "1:35", "headers.x-a: is empty"),
    (
        "providers: {demo: {headers: {x-a: \"sk-upstream-canary\\n\\0\"}}}",
        "1:35",
        "characters that no header has",
    ),
    (
        "providers: {demo: {headers: {x-a: \"env:MISSING_KEY\"}}}",
        "1:35",
        "the variable MISSING_KEY is not set",
    ),
    ("UPmodels: [{id: v/a}]", "2:15", "model 'v/a' needs at least one target"),
    ("UPmodels: [{id: gpt, targets: [{provider: up}]}]", "2:15", "'gpt' is not a model id"),
    ("UPmodels: [{id: \"v/a*\", targets: [{provider: up}]}]", "2:15", "is not a model id"),
    ("UPmodels: [{id: v/a, targets: [{provider: down}]}]", "2:41", "there is no provider 'down'"),
    ("UPmodels: [{id: v/a, targets: [{provider: up, weight: 0}]}]", "2:41", "a weight of 0"),
    (
        "UPmodels: [{id: v/a, targets: [{provider: up, protocols: [messages]}]}]",
        "2:41",
        "provider 'up' does not speak messages",
    ),
    ("UPmodels: [{id: v/a, created: soon, targets: [{provider: up}]}]", "2:29", "'soon' is not a date"),
    (
        "UPmodels: [{id: v/a, status: asleep, targets: [{provider: up}]}]",
        "2:28",
        "unknown name, expected one of `active`, `hidden`, `down`",
    ),
    ("UPmodels: [{id: v/a, price: 1, targets: [{provider: up}]}]", "2:20", "unknown field `price`"),
    (
        "UPmodels:\n- {id: v/a, targets: [{provider: up}]}\n- {id: v/a, targets: [{provider: up}]}",
        "4:8",
        "model 'v/a' is there already, in line 3",
    ),
    ("UPmodels: [{targets: [{provider: up}]}]", "2:10", "missing field `id`"),
    ("UPmodels: [{id: [v/a], targets: [{provider: up}]}]", "2:15", "expected a string"),
    ("UPmodels: [{id: v/a, targets: [{provider: up}, {model: x}]}]", "2:46", "missing field `provider`"),
    ("listen: [{}]", "1:10", "missing field `address`"),
    ("providers: {openai: {key: [sk-upstream-canary]}}", "1:27", "expected a string"),
    (
        "providers: {up: {base_url: \"https://x\", auth: none, protocols: [soap]}}",
        "1:65",
        "unknown name, expected one of `chat`, `responses`, `messages`",
    ),
    ("access_log: gone/access.log", "1:13", "access_log: there is no folder gone"),
    ("threads: 1\nthreads: 2", "2:1", "'threads' already exists in line 1"),
    ("providers: {demo: {auth: none}, demo: {auth: none}}", "1:33", "'demo' already exists in line 1"),
    ("", "", "the file is empty"),
    ("# only a comment\n", "", "the file is empty"),
];

#[test]
fn each_mistake_is_named_with_its_place() {
    let wrong: Vec<_> =
        MISTAKES.iter().filter_map(|(text, place, words)| missed(text, place, words)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is said instead of these words at this place, if it is something else.
fn missed(text: &str, place: &str, words: &str) -> Option<String> {
    let text = text.replacen("UP", UP, usize::from(text.starts_with("UP")));
    let text = text.replace("DIGEST", &"ab".repeat(32));
    let found = problems(&text);
    let start = if place.is_empty() { String::new() } else { format!("{place}: ") };
    let right = matches!(found.as_slice(), [one] if one.starts_with(&start) && one.contains(words));
    (!right).then(|| format!("{text}\n   has to give {start}{words}\n   and gives   {found:?}"))
}

#[test]
fn what_is_no_yaml_is_said_without_being_shown() {
    for text in [
        "providers: {up: [sk-upstream-canary}",
        "key: \"sk-upstream-canary",
        "a: 1\n  b: sk-upstream-canary\n c: d",
        "key: sk-upstream-canary\n\t- x",
        "key: *sk-upstream-canary",
        "key: !!int sk-upstream-canary",
        "a: &sk-upstream-canary [*b]",
    ] {
        let found = problems(text);
        assert!(found.len() == 1 && !found[0].contains("canary"), "{found:?}");
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    for text in [
        "providers: {up: {base_url: \"https://me:sk-upstream-canary@x\", auth: none, protocols: [chat]}}",
        "providers: {up: {base_url: \"https://x/?key=sk-upstream-canary\", auth: none, protocols: [chat]}}",
        "providers: {up: {base_url: sk-upstream-canary, auth: none, protocols: [chat]}}",
        "providers: {demo: {auth: sk-upstream-canary}}",
        "providers: {demo: {allow_upstream_state: sk-upstream-canary}}",
        "providers: {demo: {protocols: sk-upstream-canary}}",
        "providers: {demo: sk-upstream-canary}",
        "threads: sk-upstream-canary",
        "limits: sk-upstream-canary",
    ] {
        // That nothing is shown is looked at where the problems are read.
        assert_eq!(problems(text).len(), 1, "{text}");
    }
}

#[test]
fn an_address_is_listened_on_once() {
    let found = problems(
        "listen: [{address: \"127.0.0.1:7001\"}, {address: \"127.0.0.1:7001\"}]\nproviders: {demo: {}}\n",
    );
    assert_eq!(found, ["1:49: '127.0.0.1:7001' is listened on already"]);
    let found = problems(
        "listen: [{address: \"127.0.0.1:7001\"}]\nadmin: \"127.0.0.1:7001\"\nproviders: {demo: {}}\n",
    );
    assert_eq!(found, ["2:8: '127.0.0.1:7001' is listened on already"]);
    let any_port =
        "listen: [{address: \"127.0.0.1:0\"}, {address: \"127.0.0.1:0\"}]\nproviders: {demo: {}}\n";
    assert_eq!(check(any_port).status.code(), Some(0), "the system gives two");
}

#[test]
fn all_mistakes_are_reported_at_once_in_the_order_of_the_file() {
    let found = problems(
        "listen:\n  - address: nowhere\n    port: 7\nadmin: off\nlimits:\n  body_bytes: many\n  head_bytes: 1\nproviders:\n  \
         openai: {key: \"env:MISSING_KEY\"}\n  b: {base_url: \"ftp://x\", auth: none, protocols: [chat]}\n\
         models:\n  - id: v/a\n    targets: [{provider: nobody}, {provider: openai}]\n  - id: v/a\n    colour: red\n    \
         targets: [{provider: b}]\ntypo: 1\n",
    );
    let places: Vec<_> = found.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        ["2:14", "3:5", "6:15", "9:17", "10:17", "13:26", "14:9", "15:5", "17:1"],
        "{found:#?}"
    );
}

#[test]
fn what_is_right_is_counted() {
    let text = format!(
        "{UP}models: [{{id: v/a, targets: [{{provider: up}}]}}, {{id: w/*, targets: [{{provider: up}}]}}]\n"
    );
    let output = check(&text);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "conf.yaml: ok, 1 providers, 2 models\n");
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    let demo = check("providers: {demo: {}}\nlimits:\ntimeouts:\n");
    assert_eq!(String::from_utf8_lossy(&demo.stdout), "conf.yaml: ok, 1 providers, 3 models\n");
}

/// Runs `crossmodel check` on a file with this text and no secret anywhere.
fn check_with(text: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("conf.yaml"), text).unwrap();
    Command::new(env!("CARGO_BIN_EXE_crossmodel"))
        .args(["check", "-c", "conf.yaml"])
        .args(arguments)
        .current_dir(folder.path())
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn a_machine_without_secrets_can_check_a_file() {
    let text = "\
admin: {address: \"127.0.0.1:9090\", token: \"file:secrets/admin\"}
listen:
  - address: 127.0.0.1:8443
    tls: {certificate: cert.pem, key: /etc/tls/key.pem}
access_log: /var/log/not-here/access.log
providers:
  openai: {key: \"env:OPENAI_API_KEY\", headers: {x-team: \"env:TEAM\", x-plain: research}}
models: [{id: openai/*, targets: [{provider: openai}]}]
";
    let output = check_with(text, &["--no-secrets"]);
    let expected = "\
conf.yaml: needs: env TEAM (providers.openai.headers.x-team, line 7)
conf.yaml: needs: env OPENAI_API_KEY (providers.openai.key, line 7)
conf.yaml: needs: file cert.pem (listen.127.0.0.1:8443.tls.certificate, line 3)
conf.yaml: needs: file /etc/tls/key.pem (listen.127.0.0.1:8443.tls.key, line 3)
conf.yaml: needs: file secrets/admin (admin.token, line 1)
conf.yaml: ok, 1 providers, 1 models
";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{output:?}");
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    let output = check_with(text, &["--no-secrets", "--json"]);
    let json = String::from_utf8(output.stdout).unwrap();
    let of = ["references.0.env", "references.2.file", "references.4.setting", "references.4.line", "ok"];
    let found = of.map(|path| crate::support::member(&json, path));
    assert_eq!(found, ["TEAM", "cert.pem", "admin.token", "1", "true"], "{json}");
    // The form of a reference is checked all the same, and everything else.
    for wrong in ["key: \"env:\"", "key: \"file:\"", "key: sk-upstream-canary", "key: \"env:X\", auth: basic"]
    {
        let text = format!("providers: {{openai: {{{wrong}}}}}\n");
        let output = check_with(&text, &["--no-secrets"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && !said.contains("canary"), "{wrong}: {output:?}");
    }
    assert_eq!(check_with(text, &[]).status.code(), Some(1), "a gateway needs them");
}

#[test]
fn warnings_fail_a_strict_check_alone() {
    let good = "providers: {demo: {}}\naliases: {fast: demo/chat}\n";
    let bad = good.replace("demo/chat", "demo/chatt");
    let warned = "conf.yaml: warning: The alias 'fast' leads to 'demo/chatt', which is no model here. ";
    for (text, arguments, code) in
        [(good, &[][..], 0), (good, &["--strict"], 0), (&bad, &[], 0), (&bad, &["--strict"], 1)]
    {
        let output = check_with(text, arguments);
        assert_eq!(output.status.code(), Some(code), "{text} {arguments:?}: {output:?}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said.contains(warned), text == bad, "{said}");
        let output = check_with(text, &[arguments, &["--json"]].concat());
        let json = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code));
        assert_eq!(crate::support::member(&json, "ok"), (code == 0).to_string(), "{json}");
    }
}

/// Older YAML took these words for `false`.
#[test]
fn off_is_a_word() {
    let text =
        "admin: off\naccess_log: off\nproviders: {demo: {}}\naliases: {no: demo/chat, on: demo/chat}\n";
    assert_eq!(check(text).status.code(), Some(0), "{}", String::from_utf8_lossy(&check(text).stderr));
    assert!(problems("threads: off")[0].starts_with("1:10: "));
}

#[test]
fn a_gateway_does_not_start_on_a_wrong_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("conf.yaml");
    std::fs::write(&file, "providers: {demo: {}}\nmodles: []\nadmin: nowhere\n").unwrap();
    let output = crate::support::run(&folder.path().join("data"), &["-c", file.to_str().unwrap()]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        (output.status.code(), errors.lines().count(), output.stdout.len()),
        (Some(1), 2, 0),
        "{errors}"
    );
    assert!(!folder.path().join("data").exists(), "nothing was made");
}
