//! Several credentials of one provider: one that is refused or rate limited rests alone, and state stays where it is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{
    Client, Gateway, Mock, PROTOCOLS, Response, Seen, create_store, eventually, get, json, member, post, run,
    sse,
};

const KEYS: [(&str, &str); 3] =
    [("KEY_A", "sk-canary-of-a"), ("KEY_B", "sk-canary-of-b"), ("KEY_C", "sk-canary-of-c")];

/// A provider with these credentials, and a model of it.
fn config(port: u16, keys: &str, more: &str) -> String {
    format!(
        "providers:\n  up: {{base_url: \"http://127.0.0.1:{port}/v1\", keys: [{keys}], \
         protocols: [chat, responses, messages]{more}}}\n\
         models:\n  - {{id: v/model, targets: [{{provider: up, model: real-model}}]}}\n"
    )
}

fn start(port: u16, keys: &str, more: &str) -> Gateway {
    Gateway::start_with(&config(port, keys, more), &[], &KEYS)
}

/// The letter of the credential that a request has shown.
fn shown(seen: &Seen) -> char {
    let value = seen.header("authorization").or_else(|| seen.header("x-api-key")).unwrap();
    assert!(KEYS.iter().any(|(_, key)| value.trim_start_matches("Bearer ") == *key), "{value}");
    value.chars().last().unwrap()
}

fn all_shown(mock: &Mock) -> String {
    mock.take().iter().map(shown).collect()
}

/// A provider that answers requests with some credentials badly.
fn picky(bad: &'static str, status: u16, headers: &'static str) -> Mock {
    Mock::scripted(move |seen, _| match bad.contains(shown(seen)) {
        true => json(status, headers, r#"{"error":{"message":"no","type":"x","code":"invalid_api_key"}}"#),
        false => json(200, "", PROTOCOLS[0].2),
    })
}

fn call(gateway: &Gateway) -> Response {
    post(gateway, PROTOCOLS[0].0, PROTOCOLS[0].1)
}

/// Nothing that is written or shown contains a credential.
fn no_secrets(gateway: &Gateway) {
    let metrics = get(gateway.admin, "/metrics", "").body;
    let log = std::fs::read_to_string(gateway.file("access.log")).unwrap();
    for text in [gateway.stderr(), gateway.stdout(), log, metrics] {
        assert!(!text.contains("canary"), "{text}");
    }
}

#[test]
fn a_refused_credential_rests_until_the_configuration_is_read_again() {
    let mock = picky("a", 401, "");
    let gateway = start(mock.port, "{key: env:KEY_A, name: first}, env:KEY_B", "");
    for _ in 0..30 {
        assert_eq!(call(&gateway).status, 200);
    }
    let asked = all_shown(&mock);
    assert_eq!(asked.matches('a').count(), 1, "{asked}");
    let lines = gateway.access_log(30);
    let failed: Vec<_> = lines.iter().filter(|line| line.contains(r#""tries":["#)).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(member(failed[0], "tries.0.credential"), "first");
    assert_eq!(member(failed[0], "tries.0.error"), "credential");
    assert_eq!(member(failed[0], "tries.1.credential"), "2");
    assert!(lines.iter().all(|line| member(line, "credential") == "2"), "{lines:?}");
    let said = gateway.stderr();
    assert_eq!(said.matches("provider up: credential first refused: 401").count(), 1, "{said}");
    assert!(!said.contains("circuit open") && !said.contains("target v/model"), "{said}");
    let metric = |name: &str, labels: &str| {
        gateway.metric(&format!("crossmodel_credential_{name}{{{labels}provider=\"up\"}}"))
    };
    assert!(metric("attempts_total", "credential=\"first\",") == 1.0);
    assert!(metric("attempts_total", "credential=\"2\",") == 30.0);
    assert!(metric("failures_total", "credential=\"first\",kind=\"credential\",") == 1.0);
    let state = |credential: &str, state: &str| {
        gateway.metric(&format!(
            "crossmodel_credential_state{{credential=\"{credential}\",provider=\"up\",state=\"{state}\"}}"
        ))
    };
    assert!(state("first", "refused") == 1.0 && state("first", "ready") == 0.0);
    assert!(state("2", "ready") == 1.0 && state("2", "refused") == 0.0);
    no_secrets(&gateway);

    gateway.signal("HUP");
    assert!(eventually(Duration::from_secs(20), || {
        call(&gateway);
        all_shown(&mock).contains('a')
    }));
}

#[test]
fn a_rate_limited_credential_rests_and_the_others_serve() {
    let mock = picky("ab", 429, "retry-after: 50\r\n");
    let gateway = start(mock.port, "env:KEY_A, env:KEY_B, env:KEY_C", "");
    for _ in 0..30 {
        assert_eq!(call(&gateway).status, 200);
    }
    let asked = all_shown(&mock);
    assert!(asked.matches('a').count() <= 1 && asked.matches('b').count() <= 1, "{asked}");
    let said = gateway.stderr();
    assert!(said.contains("provider up: credential 1: backing off for 50 s (429, retry-after)"), "{said}");
    no_secrets(&gateway);
}

#[test]
fn when_no_credential_is_left_the_client_is_told_once_and_pays_nothing() {
    for (status, headers, expected) in [(429, "retry-after: 7\r\n", 429), (401, "", 502)] {
        let mock = picky("abc", status, headers);
        let gateway = start(mock.port, "env:KEY_A, env:KEY_B, env:KEY_C", "");
        let response = call(&gateway);
        assert_eq!(response.status, expected, "{response:?}");
        assert!(!response.body.contains("canary"), "{response:?}");
        let mut asked: Vec<_> = all_shown(&mock).chars().collect();
        asked.sort_unstable();
        assert_eq!(asked, ['a', 'b', 'c'], "each of them once");
        let line = &gateway.access_log(1)[0];
        assert_eq!(member(line, "attempts"), "3");
        // They are asked again, because nothing else can be.
        call(&gateway);
        assert!(!mock.take().is_empty(), "{status}");
        gateway.audit();
    }
}

#[test]
fn a_server_that_fails_is_not_asked_again_with_another_credential() {
    let mock = picky("abc", 500, "");
    let gateway = start(mock.port, "env:KEY_A, env:KEY_B, env:KEY_C", "");
    assert_eq!(call(&gateway).status, 502);
    assert_eq!(mock.take().len(), 1);
}

#[test]
fn a_session_keeps_its_credential_and_others_share_by_weight() {
    let mock = picky("", 200, "");
    let gateway = start(mock.port, "env:KEY_A, {key: env:KEY_B, weight: 3}", "");
    let in_session = |session: &str| {
        let (path, body, _) = PROTOCOLS[0];
        let text = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nsession-id: {session}\r\n\
             content-length: {}\r\n\r\n{body}",
            gateway.key,
            body.len()
        );
        let mut client = Client::connect(gateway.port);
        client.send(text.as_bytes());
        assert_eq!(client.receive().status, 200);
    };
    let mut firsts = String::new();
    for session in 0..20 {
        for _ in 0..3 {
            in_session(&format!("session-{session}"));
        }
        let asked = all_shown(&mock);
        assert!(asked == "aaa" || asked == "bbb", "{asked}");
        firsts.push_str(&asked[..1]);
    }
    assert!(firsts.contains('a') && firsts.contains('b'), "{firsts}");
    for _ in 0..60 {
        call(&gateway);
    }
    let asked = all_shown(&mock);
    assert!((25..=58).contains(&asked.matches('b').count()), "{asked}");
}

#[test]
fn state_at_the_provider_stays_with_one_credential() {
    let mock = Mock::scripted(|_, _| json(200, "", PROTOCOLS[1].2));
    let gateway = start(mock.port, "env:KEY_A, env:KEY_B, env:KEY_C", ", allow_upstream_state: true");
    let next = r#"{"model":"v/model","input":"hi","previous_response_id":"resp_1"}"#;
    for n in 0..24 {
        let body = if n % 2 == 0 { PROTOCOLS[1].1 } else { next };
        let response = post(&gateway, PROTOCOLS[1].0, body);
        assert_eq!(response.status, 200, "{response:?}");
    }
    let asked = all_shown(&mock);
    assert!(asked.chars().all(|one| asked.starts_with(one)), "{asked}");
}

#[test]
fn an_answer_is_continued_where_it_is_kept_even_if_that_was_not_the_first_choice() {
    let is_limited = Arc::new(AtomicBool::new(true));
    let limited = Arc::clone(&is_limited);
    let home = Arc::new(Mutex::new(None));
    let mock = Mock::scripted(move |seen, _| {
        let letter = shown(seen);
        let mut home = home.lock().unwrap();
        if limited.load(Ordering::Relaxed) && *home.get_or_insert(letter) == letter {
            return json(429, "retry-after: 1\r\n", r#"{"error":{"message":"no","type":"x"}}"#);
        }
        let id = format!("resp_of_{letter}");
        match seen.text().contains("\"stream\":true") {
            true => sse([crate::streams::STREAMS[1]
                .replace("\"id\":\"r\"", &format!("\"id\":\"{id}\""))
                .as_bytes()]),
            false => json(200, "", &PROTOCOLS[1].2.replace("resp_1", &id)),
        }
    });
    let gateway = start(mock.port, "env:KEY_A, env:KEY_B, env:KEY_C", ", allow_upstream_state: true");
    for stream in ["", "\"stream\":true,"] {
        is_limited.store(true, Ordering::Relaxed);
        let ask = |more: &str| {
            let body = format!(r#"{{{stream}{more}"model":"v/model","input":"hi"}}"#);
            assert_eq!(post(&gateway, PROTOCOLS[1].0, &body).status, 200);
            all_shown(&mock).pop().unwrap()
        };
        let first = ask("");
        let keeper = ask("");
        assert_eq!(first, keeper, "the first choice rests");
        is_limited.store(false, Ordering::Relaxed);
        let mut home = keeper;
        assert!(eventually(Duration::from_secs(20), || {
            home = ask("");
            home != keeper
        }));
        let known = format!("\"previous_response_id\":\"resp_of_{keeper}\",");
        assert_eq!(ask(&known), keeper, "{stream}");
        assert_eq!(ask("\"previous_response_id\":\"resp_unknown\","), home, "{stream}");
    }
}

#[test]
fn thinking_stays_with_the_credential_that_it_was_signed_for() {
    let answer = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"thinking","thinking":"t","signature":"c2ln"},{"type":"text","text":"x"}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":2}}"#;
    let mock = Mock::scripted(move |_, _| json(200, "", answer));
    let keys = "env:KEY_A, env:KEY_B, env:KEY_C";
    let gateway = start(mock.port, keys, "");
    let config = config(mock.port, keys, "").replace("model: real-model", "model: claude-opus-7");
    gateway.configure(&config);
    gateway.signal("HUP");
    assert!(eventually(Duration::from_secs(20), || {
        post(&gateway, "/v1/messages", PROTOCOLS[2].1);
        mock.take().last().is_some_and(|seen| seen.text().contains("claude-opus-7"))
    }));
    for n in 0..20 {
        let first = format!(
            r#"{{"model":"v/model","max_tokens":9,"messages":[{{"role":"user","content":"q{n}"}}]}}"#
        );
        assert_eq!(post(&gateway, "/v1/messages", &first).status, 200);
        let before = all_shown(&mock);
        let next = format!(
            r#"{{"model":"v/model","max_tokens":9,"messages":[{{"role":"user","content":"q{n}"}},{{"role":"assistant","content":[{{"type":"thinking","thinking":"t","signature":"c2ln"}},{{"type":"text","text":"x"}}]}},{{"role":"user","content":"go on"}}]}}"#
        );
        assert_eq!(post(&gateway, "/v1/messages", &next).status, 200);
        assert_eq!(all_shown(&mock), before);
    }
}

#[test]
fn mistakes_are_told_with_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    create_store(&data);
    let check = |provider: &str| {
        let file = folder.path().join("conf.yaml");
        let text = format!(
            "providers:\n  openai:\n    {provider}\nmodels: [{{id: o/m, targets: [{{provider: openai}}]}}]\n"
        );
        std::fs::write(&file, text).unwrap();
        let output = run(&data, &["check", "-c", file.to_str().unwrap()]);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (provider, expected) in [
        (
            "keys: [env:UPSTREAM_KEY]\n    key: env:UPSTREAM_KEY",
            "providers.openai.keys: give either `key` or `keys`",
        ),
        ("keys: []", "providers.openai.keys: name at least one credential"),
        (
            "keys: [env:UPSTREAM_KEY, env:NOT_SET]",
            "providers.openai.keys[1]: the variable NOT_SET is not set",
        ),
        ("keys: [{key: env:UPSTREAM_KEY, weight: 0}]", "providers.openai.keys[0]: a weight of 0"),
        ("keys: [{key: env:UPSTREAM_KEY, name: 'a b'}]", "providers.openai.keys[0]: 'a b' is no name"),
        (
            "keys: [{key: env:UPSTREAM_KEY, name: '2'}, env:UPSTREAM_KEY]",
            "providers.openai.keys[1]: the name '2' is taken",
        ),
    ] {
        let (good, said) = check(provider);
        assert!(!good && said.contains(expected), "{provider}: {said}");
    }
    let (good, said) = check("keys: [env:UPSTREAM_KEY, {key: env:UPSTREAM_KEY, name: b, weight: 2}]");
    assert!(good, "{said}");
}
