//! Tags and end users of calls, as clients, the log and the books see them.

use std::time::Duration;

use rusqlite::Connection;

use crate::money::{body, config, good};
use crate::support::{Client, Gateway, Mock, Response, eventually, member};

/// Sends a call with further header lines.
fn call(gateway: &Gateway, headers: &str, more: &str) -> Response {
    let text = body(0, "v/chat", more);
    let mut client = Client::connect(gateway.port);
    let head =
        format!("POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {}\r\n", gateway.key);
    client.send(format!("{head}{headers}content-length: {}\r\n\r\n{text}", text.len()).as_bytes());
    client.receive()
}

/// The sums of tags in the store: name, value, calls and nano-USD.
fn sums(gateway: &Gateway) -> Vec<(String, String, i64, i64)> {
    let books = Connection::open(gateway.data().join("crossmodel.db")).unwrap();
    let mut query =
        books.prepare("SELECT name, value, requests, cost FROM usage_tags ORDER BY name, value").unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    query.query_map([], row).unwrap().map(Result::unwrap).collect()
}

/// Gives the key and its account tags, which commands cannot.
fn tag(gateway: &Gateway, table: &str, tags: &str) {
    let books = Connection::open(gateway.data().join("crossmodel.db")).unwrap();
    books.busy_timeout(Duration::from_secs(5)).unwrap();
    books
        .execute(
            &format!("UPDATE {table} SET tags = ?1, revision = (SELECT number + 1 FROM revision)"),
            [tags],
        )
        .unwrap();
    books.execute("UPDATE revision SET number = number + 1", []).unwrap();
}

fn gateway(mock: &Mock, more: &str) -> Gateway {
    Gateway::start(&format!("{more}{}", config(mock.port)))
}

#[test]
fn calls_are_counted_by_the_tags_of_account_key_and_caller() {
    let mock = good();
    let mut gateway = gateway(&mock, "tags: {from_metadata: [project]}\n");
    tag(&gateway, "accounts", r#"{"team":"search","tier":"gold"}"#);
    tag(&gateway, "keys", r#"{"tier":"silver"}"#);
    gateway.restart();
    let metadata = r#""metadata":{"project":"p1","note":"personal"},"#;
    let answer = call(&gateway, "x-crossmodel-tags: env=prod, team=mine, Bad=1\r\n", metadata);
    assert_eq!(answer.status, 200, "a wrong tag fails no call: {}", answer.body);
    assert_eq!(answer.header("x-crossmodel-dropped"), Some("x-crossmodel-tags[2]"));
    let seen = mock.seen().pop().unwrap();
    assert_eq!(seen.header("x-crossmodel-tags"), None, "the header is for the gateway");
    assert!(seen.text().contains("personal"), "{}", seen.text());
    assert_eq!(call(&gateway, "", "").header("x-crossmodel-dropped"), None);
    let log = gateway.access_log(2);
    assert!(
        log[0].contains(r#""tags":{"team":"search","tier":"silver","env":"prod","project":"p1"}"#),
        "{log:?}"
    );
    assert!(log[1].contains(r#""tags":{"team":"search","tier":"silver"}"#), "{log:?}");
    let expected = [("env", "prod", 1), ("project", "p1", 1), ("team", "search", 2), ("tier", "silver", 2)];
    let expected: Vec<_> =
        expected.iter().map(|(name, value, n)| (name.to_string(), value.to_string(), *n, 7000 * n)).collect();
    assert!(eventually(Duration::from_secs(5), || sums(&gateway) == expected), "{:?}", sums(&gateway));
    let metrics = crate::support::get(gateway.admin, "/metrics", "").body;
    assert!(!metrics.contains("silver") && !metrics.contains("p1\""), "a tag is never a label");
    gateway.audit();
}

#[test]
fn a_call_that_is_paid_for_is_counted_by_its_tags_too() {
    let mock = good();
    let gateway = gateway(&mock, "");
    gateway.command(&["account", "top-up", "default", "1"]);
    assert_eq!(call(&gateway, "x-crossmodel-tags: env=prod\r\n", "").status, 200);
    let expected = [("env".to_owned(), "prod".to_owned(), 1, 7000)];
    assert!(eventually(Duration::from_secs(5), || sums(&gateway) == expected), "{:?}", sums(&gateway));
}

#[test]
fn end_users_are_in_the_log_only_as_the_operator_allows() {
    let mock = good();
    let told = |detail: &str| {
        let gateway = gateway(&mock, &format!("access_log: {{to: @FOLDER@/access.log, user: {detail}}}\n"));
        for more in [r#""user":"alice","#, r#""metadata":{"user_id":"alice"},"#, ""] {
            assert_eq!(call(&gateway, "", more).status, 200);
        }
        let log = gateway.access_log(3);
        log.iter().map(|line| member(line, "user")).collect::<Vec<_>>()
    };
    assert_eq!(told("off"), ["", "", ""]);
    assert_eq!(told("plain"), ["alice", "alice", ""]);
    let [first, second, none] = &told("hash")[..] else { panic!("three lines") };
    assert_eq!((first.len(), first, &**none), (16, second, ""));
    assert_ne!(told("hash")[0], *first, "another store has another key");
}
