//! The pages for people, held against what they describe.

#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeSet;
use std::path::Path;

const OPERATIONS: &str = include_str!("../src/guide/operations.md");
const EXTENDING: &str = include_str!("../src/guide/extending.md");
const CLIENTS: &str = include_str!("../src/guide/clients.md");
const CHAINING: &str = include_str!("../src/guide/chaining.md");
const PAGES: [(&str, &str); 6] = [
    (".", include_str!("../README.md")),
    ("src/guide", OPERATIONS),
    ("src/guide", include_str!("../src/guide/architecture.md")),
    ("src/guide", EXTENDING),
    ("src/guide", include_str!("../src/guide/threats.md")),
    (".", include_str!("../SECURITY.md")),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A section of a page, by its heading.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, after) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    after.split("\n## ").next().unwrap()
}

/// What is between single backticks, outside of blocks.
fn names(page: &str) -> impl Iterator<Item = &str> {
    page.split("```").step_by(2).flat_map(|text| text.split('`').skip(1).step_by(2))
}

/// The blocks of a page whose first line has this word, as they are where no list surrounds them.
fn blocks(page: &str, word: &str) -> Vec<String> {
    let fences = page.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    let found = fences.filter(|(info, _)| info.split(' ').any(|part| part == word));
    found.map(|(_, text)| outdented(text)).collect()
}

fn outdented(text: &str) -> String {
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    let indent = lines().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    lines().map(|line| line.split_at(indent).1).collect::<Vec<_>>().join("\n")
}

/// Names in the first cells of the page's tables.
fn in_tables() -> Vec<&'static str> {
    let cells = OPERATIONS.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn operators_read_of_every_metric() {
    let source = concat!(
        include_str!("../src/observe/credentials.rs"),
        include_str!("../src/observe/guards.rs"),
        include_str!("../src/observe/ledger.rs"),
        include_str!("../src/observe/maker.rs"),
        include_str!("../src/observe/metrics.rs"),
        include_str!("../src/observe/money.rs"),
        include_str!("../src/observe/operators.rs"),
        include_str!("../src/observe/process.rs"),
        include_str!("../src/observe/requests.rs"),
        include_str!("../src/observe/target.rs"),
        include_str!("../src/observe/tenants.rs"),
        include_str!("../src/observe/webhooks.rs"),
    );
    // Tests name series with their labels, and beginnings of names.
    let names = source.split("\"crossmodel_").skip(1).filter_map(|s| s.split('"').next());
    let mut metrics: Vec<_> = names.filter(|name| !name.contains('{') && !name.ends_with('_')).collect();
    let mut told: Vec<_> =
        in_tables().into_iter().filter_map(|name| name.strip_prefix("crossmodel_")).collect();
    metrics.sort_unstable();
    told.sort_unstable();
    assert_eq!(metrics, told);
}

#[test]
fn operators_read_of_every_member_of_the_access_line() {
    let told = in_tables();
    let names = crossmodel::observe::AccessLine::NAMES;
    let missing: Vec<_> = names.iter().filter(|name| !told.contains(name)).collect();
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

#[test]
fn what_the_lists_name_is_there() {
    // The files of each protocol are the next test's.
    let of_a_protocol =
        |name: &str| ["relay/", "decode/", "encode/"].iter().any(|folder| name.starts_with(folder));
    let is_path =
        |name: &&str| name.contains('/') && !name.contains(['*', ':', '{', '<']) && !of_a_protocol(name);
    let paths: Vec<_> = names(EXTENDING).filter(is_path).filter(|name| !name.ends_with('/')).collect();
    assert!(paths.len() > 15, "{paths:?}");
    for path in paths {
        assert!(root().join(path).exists(), "{path}");
    }
}

#[test]
fn each_protocol_has_the_files_of_the_list() {
    let table = section(EXTENDING, "A protocol");
    let rows = table.lines().filter_map(|line| line.trim_start().strip_prefix("| `")?.split('`').next());
    let files: Vec<_> = rows.collect();
    for folder in ["relay/", "decode/", "encode/"] {
        assert!(files.iter().filter(|file| file.starts_with(folder)).count() > 3, "{files:?}");
    }
    assert!(files.contains(&"fields.rs"), "{files:?}");
    let registry = include_str!("../crates/core/src/protocol/mod.rs");
    for protocol in crossmodel_core::protocol::REGISTRY {
        let folder = protocol.id().to_string();
        assert!(registry.contains(&format!("&{folder}::")), "{folder}");
        for file in &files {
            assert!(
                root().join("crates/core/src/protocol").join(&folder).join(file).exists(),
                "{folder}/{file}"
            );
        }
    }
}

#[test]
fn the_calls_of_a_limit_are_those_of_the_list() {
    let source = include_str!("../src/limit/mod.rs");
    let section = section(EXTENDING, "A limit, or another place to keep it");
    let calls: Vec<_> = names(section).filter(|name| name.contains("::")).collect();
    for call in &calls {
        let name = call.split("::").nth(1).unwrap_or_default();
        assert!(source.contains(&format!("pub fn {name}(")), "{call}");
    }
    let public = source.matches("pub fn ").count() - source.matches("pub fn new(").count();
    assert_eq!(calls.len(), public, "{calls:?}");
}

#[test]
fn configurations_of_pages_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    let of_pages = [(EXTENDING, "checked"), (CHAINING, "chain-upstreams")];
    for (page, word) in of_pages {
        let found = blocks(page, word);
        assert!(!found.is_empty(), "{word}");
        for text in found {
            let name = text.split("env:").nth(1).and_then(|rest| rest.lines().next()).unwrap_or("NONE");
            // A secret has to be somewhere: here it is in a file.
            let secret = folder.path().join("secret");
            std::fs::write(&secret, "not-a-secret").unwrap();
            let file = folder.path().join("gateway.yaml");
            let text = text.replace(&format!("env:{name}"), &format!("file:{}", secret.display()));
            std::fs::write(&file, text).unwrap();
            let loaded = crossmodel::Config::load(&file);
            assert!(loaded.is_ok(), "{loaded:?}");
        }
    }
}

#[test]
fn each_client_has_a_page_that_is_run() {
    let pages: Vec<_> =
        CLIENTS.split("crate::guide::clients::").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    let folder = root().join("src/guide/clients");
    assert_eq!(pages.len(), std::fs::read_dir(&folder).unwrap().count());
    for page in pages {
        let text = std::fs::read_to_string(folder.join(format!("{page}.md"))).unwrap();
        assert!(text.contains(" run-"), "{page}");
    }
}

#[test]
fn the_list_has_every_file_that_the_protocols_share() {
    let table = section(EXTENDING, "A protocol");
    let rows = table.lines().filter_map(|line| line.trim_start().strip_prefix("| `")?.split('`').next());
    let listed: BTreeSet<_> = rows.filter(|file| file.contains('/')).map(str::to_owned).collect();
    let mut folders =
        crossmodel_core::protocol::REGISTRY.iter().map(|protocol| sources(&protocol.id().to_string()));
    let first = folders.next().unwrap();
    let shared = folders.fold(first, |shared, files| shared.intersection(&files).cloned().collect());
    assert_eq!(shared, listed);
}

/// The sources in the folders of a protocol, without tests.
fn sources(protocol: &str) -> BTreeSet<String> {
    let home = root().join("crates/core/src/protocol").join(protocol);
    let files = ["relay", "decode", "encode"].into_iter().flat_map(|folder| {
        let entries = std::fs::read_dir(home.join(folder)).unwrap();
        entries.map(move |entry| format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy()))
    });
    files.filter(|file| !file.ends_with("/mod.rs") && !file.ends_with("_tests.rs")).collect()
}
