//! The content log: off unless it is configured, a file of its own, without secrets, and announced to clients.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::streams::{STREAMS, streaming};
use crate::support::{Gateway, Mock, PROTOCOLS, eventually, get, json, member, post, sse};

const ANNOUNCED: &str = "x-crossmodel-content-logged";

fn provider() -> Mock {
    Mock::scripted(|seen, _| {
        let protocol = PROTOCOLS.iter().position(|(path, ..)| seen.request_line().contains(path)).unwrap();
        match seen.text().contains("\"stream\":true") {
            true => sse([STREAMS[protocol].as_bytes()]),
            false => json(200, "", PROTOCOLS[protocol].2),
        }
    })
}

fn start(mock: &Mock, more: &str) -> Gateway {
    let log = format!("content_log: {{to: \"@FOLDER@/content.log\"{more}}}\n");
    Gateway::start(&(log + &crate::support::config(mock.port)))
}

/// The lines of the log, once there are so many.
fn lines(gateway: &Gateway, count: usize) -> Vec<String> {
    let read = || std::fs::read_to_string(gateway.file("content.log")).unwrap_or_default();
    eventually(Duration::from_secs(5), || read().lines().count() >= count);
    read().lines().map(str::to_owned).collect()
}

#[test]
fn a_call_has_a_line_with_what_went_in_and_came_out() {
    let mock = provider();
    let gateway = start(&mock, "");
    let mut count = 0;
    for (n, (path, body, _)) in PROTOCOLS.into_iter().enumerate() {
        for body in [body.to_owned(), streaming(n)] {
            let response = post(&gateway, path, &body);
            assert_eq!((response.status, response.header(ANNOUNCED)), (200, Some("1")), "{response:?}");
            count += 1;
            let line = lines(&gateway, count).pop().unwrap();
            assert_eq!(member(&line, "request"), body);
            assert_eq!(member(&line, "answer"), response.body, "{line}");
            assert_eq!(member(&line, "answer_bytes"), response.body.len().to_string());
            assert_eq!(Some(&*member(&line, "request_id")), response.header("x-request-id"));
            assert_eq!((member(&line, "account"), member(&line, "status")), ("default".into(), "200".into()));
        }
    }
    let mode = std::fs::metadata(gateway.file("content.log")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(gateway.stderr().contains("content log"), "{}", gateway.stderr());
    assert_eq!(
        get(gateway.port, "/v1/models", &format!("authorization: Bearer {}\r\n", gateway.key))
            .header(ANNOUNCED),
        None
    );
    let access = std::fs::read_to_string(gateway.file("access.log")).unwrap();
    assert!(!access.contains("role") && !gateway.stdout().contains("role"));
}

#[test]
fn secrets_and_long_bodies_are_not_written_whole() {
    let mock = provider();
    let gateway = start(&mock, ", what: [request], max_bytes: 300, redact: [\"[0-9]{4}-[0-9]{4}\"]");
    let ask = |content: &str| {
        let body = PROTOCOLS[0].1.replace("hi", content);
        assert_eq!(post(&gateway, PROTOCOLS[0].0, &body).status, 200);
        body.len()
    };
    let key = gateway.key.clone();
    ask(&format!("my key is {key}, and 1234-5678, and sk-canary-0123456789"));
    let length = ask(&"long ".repeat(100_000));
    let all = lines(&gateway, 2);
    assert!(!all[0].contains(&key) && !all[0].contains("canary") && !all[0].contains("1234"), "{}", all[0]);
    assert!(all[0].contains("my key is [redacted], and [redacted], and [redacted]"), "{}", all[0]);
    assert!(member(&all[1], "request").len() <= 300 && member(&all[1], "answer").is_empty(), "{}", all[1]);
    assert_eq!(member(&all[1], "request_bytes"), length.to_string());
}

#[test]
fn only_the_calls_that_are_named_are_written_and_announced() {
    let mock = provider();
    for more in [", accounts: [other]", ", sample: 0.0", ""] {
        let gateway = if more.is_empty() {
            Gateway::start(&crate::support::config(mock.port))
        } else {
            start(&mock, more)
        };
        let response = post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1);
        assert_eq!((response.status, response.header(ANNOUNCED)), (200, None), "{more}");
        gateway.access_log(1);
        assert!(lines(&gateway, 0).is_empty(), "{more}");
    }
}

#[test]
fn a_renamed_file_is_opened_again_and_a_reload_ends_the_log() {
    let mock = provider();
    let mut gateway = start(&mock, "");
    post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1);
    assert_eq!(lines(&gateway, 1).len(), 1);
    std::fs::rename(gateway.file("content.log"), gateway.file("content.log.1")).unwrap();
    gateway.signal("HUP");
    assert!(eventually(Duration::from_secs(20), || gateway.file("content.log").exists()));
    post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1);
    assert_eq!(lines(&gateway, 1).len(), 1);
    gateway.configure(&crate::support::config(mock.port));
    gateway.signal("HUP");
    let ended = || post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1).header(ANNOUNCED).is_none();
    assert!(eventually(Duration::from_secs(20), ended));
    gateway.signal("TERM");
    gateway.await_end(Duration::from_secs(20));
}

#[test]
fn a_key_whose_content_is_not_to_be_written_has_no_line() {
    let mock = provider();
    let gateway = start(&mock, "");
    let (path, body, _) = PROTOCOLS[0];
    let id = member(&gateway.command(&["key", "list", "--json"]), "0.id");
    let written = std::cell::Cell::new(0);
    let is_announced = || {
        let announced = post(&gateway, path, body).header(ANNOUNCED).is_some();
        written.set(written.get() + usize::from(announced));
        announced
    };
    assert!(is_announced());
    let shown = gateway.command(&["key", "set", &id, "--content-log", "off"]);
    assert!(shown.contains("content log off"), "{shown}");
    assert!(eventually(Duration::from_secs(5), || !is_announced()));
    gateway.command(&["key", "set", &id, "--content-log", "on"]);
    assert!(eventually(Duration::from_secs(5), is_announced));
    assert_eq!(lines(&gateway, written.get()).len(), written.get());
}
