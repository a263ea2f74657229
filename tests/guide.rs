//! The pages for people, held against what they describe.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::IgnoredAny;

const OPERATIONS: &str = include_str!("../src/guide/operations.md");
const PAGES: [(&str, &str); 3] = [
    (".", include_str!("../README.md")),
    ("src/guide", OPERATIONS),
    ("src/guide", include_str!("../src/guide/architecture.md")),
];

/// Names in the first cells of the page's tables.
fn in_tables() -> Vec<&'static str> {
    let cells = OPERATIONS.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn operators_read_of_every_metric() {
    let source = concat!(include_str!("../src/observe/metrics.rs"), include_str!("../src/observe/target.rs"));
    let mut metrics: Vec<_> =
        source.split("\"crossmodel_").skip(1).filter_map(|s| s.split('"').next()).collect();
    let mut told: Vec<_> =
        in_tables().into_iter().filter_map(|name| name.strip_prefix("crossmodel_")).collect();
    metrics.sort_unstable();
    told.sort_unstable();
    assert_eq!(metrics, told);
}

#[test]
fn operators_read_of_every_member_of_the_access_line() {
    let line = crossmodel::observe::Line {
        time: jiff::Timestamp::UNIX_EPOCH,
        request_id: "",
        key: Some(""),
        method: "",
        endpoint: "",
        protocol: Some(""),
        requested_model: Some(""),
        model: Some(""),
        provider: Some(""),
        upstream_model: Some(""),
        route: Some(""),
        dropped: Some(""),
        status: 0,
        error: Some(""),
        detail: Some(""),
        stream: false,
        client_gone: false,
        bytes_in: 0,
        bytes_out: 0,
        first_byte_ms: Some(0.0),
        total_ms: 0.0,
        attempts: 0,
        prompt_tokens: Some(0),
        completion_tokens: Some(0),
        cached_tokens: Some(0),
        finish_reason: Some(""),
        cost_nano: Some(0),
    };
    let json = serde_json::to_string(&line).unwrap();
    let members: BTreeMap<String, IgnoredAny> = serde_json::from_str(&json).unwrap();
    let told = in_tables();
    let missing: Vec<_> = members.keys().filter(|name| !told.contains(&name.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn files_that_pages_link_to_are_there() {
    for (folder, page) in PAGES {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for target in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let inside = !target.contains("://") && !target.contains("::");
            assert!(!inside || root.join(target).exists(), "{target}");
        }
    }
}
