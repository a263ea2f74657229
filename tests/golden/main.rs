//! The golden cases: what goes in and what has to come out, as files; `README.md` tells how they are made.
//!
//! A folder below `requests` holds a client's request and what the provider has to get of it. A folder below
//! `streams` holds a provider's answer and what the client has to get of it, however the answer is cut.

#![expect(clippy::unwrap_used, reason = "these are tests")]
#![expect(clippy::disallowed_types, reason = "cases are compared by meaning, whatever the order of members")]

mod compare;
mod digest;
mod files;
mod play;
mod requests;
mod streams;

use files::{Folder, folders};

#[test]
fn requests() {
    run("requests", requests::check);
}

#[test]
fn streams() {
    run("streams", streams::check);
}

/// Checks every folder, and tells of all that fail.
fn run(kind: &str, check: fn(&Folder) -> Vec<String>) {
    let folders = folders(kind);
    assert!(!folders.is_empty(), "there are cases");
    let mut failed = 0;
    let mut report = String::new();
    for folder in &folders {
        let mut faults = check(folder);
        faults.extend(folder.unused().map(|name| format!("{name}: no part of the case")));
        if !faults.is_empty() {
            failed += 1;
            report.push_str(&format!("\n{} ({})\n", folder.name, folder.title()));
            faults.iter().for_each(|fault| report.push_str(&format!("    {fault}\n")));
        }
    }
    assert!(failed == 0, "{failed} of {} cases fail:\n{report}", folders.len());
}
