//! The access log while its file is renamed, and while its settings change.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::{Client, Gateway, Mock, PROTOCOLS, config, eventually, json, member, post, request};

const REOPENED: &str = "the access log is open again under its name";

fn lines(path: PathBuf) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn a_renamed_file_is_followed_by_a_new_one_under_load() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let gateway = Gateway::start(&config(mock.port));
    let mut client = Client::connect(gateway.port);
    let mut calls = |count: usize| {
        for _ in 0..count {
            client.send(request(PROTOCOLS[0].0, &gateway.key, PROTOCOLS[0].1).as_bytes());
            assert_eq!(client.receive().status, 200);
        }
    };
    for turn in 1..=3 {
        calls(20);
        std::fs::rename(gateway.file("access.log"), gateway.file(&format!("access.log.{turn}"))).unwrap();
        calls(20);
        gateway.signal("HUP");
        calls(20);
        assert!(eventually(SOON, || gateway.stderr().matches(REOPENED).count() == turn));
    }
    calls(1);
    let all = || {
        let renamed = (1..=3).flat_map(|turn| lines(gateway.file(&format!("access.log.{turn}"))));
        renamed.chain(lines(gateway.file("access.log"))).collect::<Vec<_>>()
    };
    assert!(eventually(SOON, || all().len() == 181), "{}", all().len());
    let ids: BTreeSet<_> = all().iter().map(|line| member(line, "request_id")).collect();
    assert!(ids.len() == 181 && !ids.contains(""), "no line is torn");
    assert!(!lines(gateway.file("access.log")).is_empty());
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(gateway.file("access.log")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Without a folder, the renamed file stays in use.
    let known = lines(gateway.file("access.log")).len();
    std::fs::rename(gateway.file("access.log"), gateway.file("gone.log")).unwrap();
    std::fs::create_dir(gateway.file("access.log")).unwrap();
    gateway.signal("HUP");
    assert!(eventually(SOON, || gateway.stderr().contains("access_log: the renamed file stays in use: ")));
    calls(2);
    assert!(eventually(SOON, || lines(gateway.file("gone.log")).len() == known + 2));
}

#[test]
fn another_destination_takes_effect_at_a_reload() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let gateway = Gateway::start(&config(mock.port));
    let call = || assert_eq!(post(&gateway, PROTOCOLS[0].0, PROTOCOLS[0].1).status, 200);
    call();
    let other = format!("access_log: {{to: \"@FOLDER@/other.log\", client: off}}\n{}", config(mock.port));
    gateway.configure(&other);
    gateway.signal("HUP");
    assert!(eventually(SOON, || gateway.stderr().contains("in force again: access_log")));
    call();
    assert!(eventually(SOON, || lines(gateway.file("other.log")).len() == 1));
    let line = lines(gateway.file("other.log")).remove(0);
    assert_eq!((member(&line, "status").as_str(), member(&line, "client").as_str()), ("200", ""));
    gateway.configure(&other.replace("other.log", "no/such/folder.log"));
    gateway.signal("HUP");
    let stays = "the configuration stays as it was";
    assert!(eventually(SOON, || gateway.stderr().contains(stays)), "{}", gateway.stderr());
    assert!(gateway.stderr().contains("/no/such"), "the path is named");
    call();
    assert!(eventually(SOON, || lines(gateway.file("other.log")).len() == 2));
    assert_eq!(gateway.access_log(1).len(), 1);
}

/// For what happens at once; the rest is for slow machines.
const SOON: Duration = Duration::from_secs(20);
