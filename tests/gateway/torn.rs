//! Files of the ledger that end in the middle, as they do when the power fails: what was whole is still there, and
//! what is damaged in its middle is not guessed at.

use std::fs;
use std::path::Path;

use crossmodel::meter::{Audit, Books, Ledger};
use tempfile::TempDir;

use crate::money::{audited, body, config, credits, good, halting};
use crate::support::{Client, Gate, Gateway, PROTOCOLS, post, request, run};

const DATABASE: &str = "crossmodel.db";
const LOG: &str = "crossmodel.db-wal";

/// Bytes of a record of the journal.
const RECORD: usize = 64;

/// Every so many bytes a file is cut; `TORN=1` cuts it at each one.
fn step() -> usize {
    std::env::var("TORN").ok().and_then(|step| step.parse().ok()).unwrap_or(61)
}

/// The files of a gateway that was killed with a call in flight, a log that was not taken over yet, and a journal. If
/// it `knows`, the store has learnt of what happened: of the call in flight last, and by itself.
fn killed(knows: bool) -> (TempDir, usize) {
    let gate = Gate::new();
    let mock = halting(&gate);
    let mut gateway = Gateway::start(&config(mock.port));
    gateway.command(&["account", "top-up", "default", "10"]);
    let stream = body(0, "v/chat", "\"stream\":true,");
    for _ in 0..5 {
        gate.open();
        assert!(post(&gateway, PROTOCOLS[0].0, &stream).complete);
    }
    let learn = || {
        if knows {
            credits(&gateway);
        }
    };
    learn();
    let mut running = Client::connect(gateway.port);
    running.send(request(PROTOCOLS[0].0, &gateway.key, &stream).as_bytes());
    assert_eq!(running.head().0, 200);
    learn();
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
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), target).unwrap();
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
    let (kept, calls) = killed(true);
    let log = fs::read(kept.path().join(LOG)).unwrap();
    assert!(log.len() > 4096, "{} bytes of log", log.len());
    for end in (log.len() - 4096..=log.len()).step_by(step()).chain([log.len()]) {
        let folder = TempDir::new().unwrap();
        copy(kept.path(), folder.path());
        fs::write(folder.path().join(LOG), &log[..end]).unwrap();
        let audit = recovered(folder.path()).unwrap_or_else(|| panic!("cut at {end} of {}", log.len()));
        assert_eq!(audit.findings, [], "cut at {end} of {}", log.len());
        assert_eq!(audit.holds, 0, "nothing stays open");
        // Only the last commit may be gone, and what it said stands in the journal.
        assert_eq!(audit.charges, calls as u64, "cut at {end}: {audit:?}");
    }
}

#[test]
fn a_log_with_wrong_bits_is_taken_over_up_to_them() {
    let (kept, calls) = killed(true);
    let log = fs::read(kept.path().join(LOG)).unwrap();
    for at in (log.len() - 4096..log.len()).step_by(step()) {
        let folder = TempDir::new().unwrap();
        copy(kept.path(), folder.path());
        let mut damaged = log.clone();
        damaged[at] ^= 0x10;
        fs::write(folder.path().join(LOG), &damaged).unwrap();
        let audit = recovered(folder.path()).unwrap_or_else(|| panic!("damaged at {at} of {}", log.len()));
        assert_eq!(audit.findings, [], "damaged at {at} of {}", log.len());
        assert_eq!(audit.charges, calls as u64, "damaged at {at}: {audit:?}");
    }
}

#[test]
fn a_journal_that_ends_anywhere_is_taken_over_up_to_there() {
    let (kept, calls) = killed(false);
    let journal = fs::read_dir(kept.path().join("journal")).unwrap().next().unwrap().unwrap().path();
    let name = journal.file_name().unwrap().to_owned();
    let bytes = fs::read(&journal).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut kinds = std::collections::BTreeSet::new();
    for (how, at) in (0..=used)
        .step_by(step().min(19))
        .chain([used])
        .flat_map(|at| ["cut", "zeros", "bit"].map(|how| (how, at)))
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
        // What is whole is charged, and nothing twice or left open: each call is a record of its beginning and,
        // but for the last one, of its end.
        let whole = if how == "bit" { calls - 1 } else { (at / RECORD).div_ceil(2) };
        let charged = whole as u64..=calls as u64;
        assert_eq!(audit.holds, 0, "{how} at {at} of {used}");
        assert!(charged.contains(&audit.charges), "{how} at {at} of {used}: {audit:?}");
        kinds.insert((audit.charges, audit.estimated));
    }
    assert!(kinds.contains(&(calls as u64, 1)), "a whole journal leaves the call in flight only: {kinds:?}");
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
