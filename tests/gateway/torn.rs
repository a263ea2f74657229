//! Files of the ledger that end in the middle, as they do when the power fails: what was whole is still there, and
//! what is damaged in its middle is not guessed at.

use std::fs;
use std::path::Path;

use crossmodel::meter::{Audit, Books, Ledger};
use tempfile::TempDir;

use crate::money::{audited, body, config, good, halting};
use crate::support::{Client, Gate, Gateway, PROTOCOLS, post, request, run};

const DATABASE: &str = "crossmodel.db";
const LOG: &str = "crossmodel.db-wal";

/// Every so many bytes a file is cut; `TORN=1` cuts it at each one.
fn step() -> usize {
    std::env::var("TORN").ok().and_then(|step| step.parse().ok()).unwrap_or(61)
}

/// The files of a gateway that was killed with a call in flight, a log that was not taken over yet, and a journal.
fn killed() -> (TempDir, usize) {
    let gate = Gate::new();
    let mock = halting(&gate);
    let mut gateway = Gateway::start(&config(mock.port));
    gateway.command(&["account", "top-up", "default", "10"]);
    let stream = body(0, "v/chat", "\"stream\":true,");
    for _ in 0..5 {
        gate.open();
        assert!(post(&gateway, PROTOCOLS[0].0, &stream).complete);
    }
    let mut running = Client::connect(gateway.port);
    running.send(request(PROTOCOLS[0].0, &gateway.key, &stream).as_bytes());
    assert_eq!(running.head().0, 200);
    gateway.signal("KILL");
    gateway.await_end(std::time::Duration::from_secs(5));
    let kept = TempDir::new().unwrap();
    copy(&gateway.data(), kept.path());
    let journals = fs::read_dir(kept.path().join("journal")).unwrap().count();
    assert_eq!(journals, 1, "the journal of a process that was killed stays");
    (kept, 6)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// What is in the books when a gateway has taken over what it found; `None`: it does not open them.
fn recovered(folder: &Path) -> Option<Audit> {
    let ledger = Ledger::open(folder).ok()?;
    ledger.close();
    drop(ledger);
    Books::open(folder).and_then(|mut books| books.audit()).ok()
}

#[test]
fn a_log_that_ends_anywhere_is_taken_over_up_to_there() {
    let (kept, calls) = killed();
    let log = fs::read(kept.path().join(LOG)).unwrap();
    assert!(log.len() > 4096, "{} bytes of log", log.len());
    let mut before = None;
    for end in (log.len() - 4096..=log.len()).step_by(step()).chain([log.len()]) {
        let folder = TempDir::new().unwrap();
        copy(kept.path(), folder.path());
        fs::write(folder.path().join(LOG), &log[..end]).unwrap();
        let audit = recovered(folder.path()).unwrap_or_else(|| panic!("cut at {end} of {}", log.len()));
        assert_eq!(audit.findings, [], "cut at {end} of {}", log.len());
        assert_eq!(audit.holds, 0, "nothing stays open");
        // Only the last commit may be gone, and never more with more of the log.
        assert!((calls as u64 - 1..=calls as u64).contains(&audit.charges), "cut at {end}: {audit:?}");
        assert!(before.is_none_or(|before| before <= audit.charges), "cut at {end}: {audit:?}");
        before = Some(audit.charges);
    }
    assert_eq!(before, Some(calls as u64), "all of the log is all of the calls");
}

#[test]
fn a_log_with_wrong_bits_is_taken_over_up_to_them() {
    let (kept, calls) = killed();
    let log = fs::read(kept.path().join(LOG)).unwrap();
    for at in (log.len() - 4096..log.len()).step_by(step()) {
        let folder = TempDir::new().unwrap();
        copy(kept.path(), folder.path());
        let mut damaged = log.clone();
        damaged[at] ^= 0x10;
        fs::write(folder.path().join(LOG), &damaged).unwrap();
        let audit = recovered(folder.path()).unwrap_or_else(|| panic!("damaged at {at} of {}", log.len()));
        assert_eq!(audit.findings, [], "damaged at {at} of {}", log.len());
        assert!((calls as u64 - 1..=calls as u64).contains(&audit.charges), "damaged at {at}: {audit:?}");
    }
}

#[test]
fn a_journal_that_ends_anywhere_is_taken_over_up_to_there() {
    let (kept, calls) = killed();
    let journal = fs::read_dir(kept.path().join("journal")).unwrap().next().unwrap().unwrap().path();
    let name = journal.file_name().unwrap().to_owned();
    let bytes = fs::read(&journal).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut kinds = std::collections::BTreeSet::new();
    for (how, at) in
        (0..=used).step_by(step().min(19)).flat_map(|at| ["cut", "zeros", "bit"].map(|how| (how, at)))
    {
        let folder = TempDir::new().unwrap();
        copy(kept.path(), folder.path());
        let mut damaged = bytes.clone();
        match how {
            "cut" => damaged.truncate(at),
            "zeros" => damaged[at..].fill(0),
            _ => damaged[at.min(used - 1)] ^= 0x10,
        }
        fs::write(folder.path().join("journal").join(&name), &damaged).unwrap();
        let audit = recovered(folder.path()).unwrap_or_else(|| panic!("{how} at {at} of {used}"));
        assert_eq!(audit.findings, [], "{how} at {at} of {used}");
        // Whatever the journal does not say is charged by an estimate: every call ends, and once.
        assert_eq!((audit.holds, audit.charges), (0, calls as u64), "{how} at {at} of {used}");
        kinds.insert(audit.estimated);
    }
    assert!(kinds.first() == Some(&1), "a whole journal leaves the call in flight only: {kinds:?}");
}

#[test]
fn a_store_that_is_damaged_is_not_guessed_at() {
    let mock = good();
    let mut gateway = Gateway::start(&config(mock.port));
    gateway.command(&["account", "top-up", "default", "10"]);
    assert_eq!(post(&gateway, PROTOCOLS[0].0, &body(0, "v/chat", "")).status, 200);
    audited(&gateway);
    gateway.signal("TERM");
    gateway.await_end(std::time::Duration::from_secs(20));
    let file = gateway.data().join(DATABASE);
    // All of it goes into one file.
    rusqlite::Connection::open(&file).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let whole = fs::read(&file).unwrap();
    // The head, the list of tables, and the middle.
    for (what, at) in [("head", 0..100), ("tables", 100..1000)] {
        let mut damaged = whole.clone();
        damaged[at].fill(0xa5);
        fs::write(&file, &damaged).unwrap();
        let output = run(&gateway.data(), &["ledger", "audit"]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && !told.is_empty(), "{what}: {told}");
        assert!(told.contains("store") || told.contains("data"), "{what}: {told}");
        assert!(!told.contains("panicked"), "{what}: {told}");
        assert!(Ledger::open(&gateway.data()).is_err(), "{what}: a gateway does not start on it");
    }
    fs::write(&file, &whole).unwrap();
    assert!(run(&gateway.data(), &["ledger", "audit"]).status.success());
}
