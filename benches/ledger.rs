//! What the ledger can take, and how long a call waits for it.
//!
//! `cargo bench --bench ledger`. Calls are held and settled as the gateway does it, on the disk of the folder for
//! temporary files. That a call waits depends on the disk: beside the time stands what one write there takes by
//! itself, made durable in the same way.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "it is a program that measures and tells")]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossmodel::admin::model::{NewAccount, NewKey};
use crossmodel::admin::{Actor, Intent, Operations};
use crossmodel::auth::{Grant, KeyTable};
use crossmodel::meter::{Bill, Books, Expected, Extras, Ledger, Prices, TierSettings};
use crossmodel_core::canon::Usage;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::interval;

fn main() {
    let smoke =
        std::env::args().any(|argument| argument == "--test") || !std::env::args().any(|a| a == "--bench");
    let time = if smoke { Duration::from_millis(50) } else { Duration::from_secs(3) };
    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path());
    let ledger = Ledger::open(folder.path()).unwrap();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    println!("{:<34}{:>12}", "callers without a pause", "calls/s");
    for callers in [1, 16, 64, 256] {
        let calls = runtime.block_on(throughput(&ledger, &grant, callers, time));
        println!("{callers:<34}{:>12.0}", f64::from(calls) / time.as_secs_f64());
    }
    let waited = runtime.block_on(admission(&ledger, &grant, time));
    println!("\n{:<34}{:>12}{:>12}", "at 200 calls/s, ms", "p50", "p99");
    line("from the request for money", waited);
    line("a write of 64 bytes, made durable", writes(folder.path(), time));
    ledger.close();
    let audit = Books::open(folder.path()).unwrap().audit().unwrap();
    println!("\n{} calls are in the books, {} findings", audit.charges, audit.findings.len());
    assert!(audit.findings.is_empty(), "{:?}", audit.findings);
}

/// Calls that callers make who wait for nothing else.
async fn throughput(ledger: &Ledger, grant: &Grant, callers: u32, time: Duration) -> u32 {
    let end = Instant::now() + time;
    let mut all = JoinSet::new();
    for _ in 0..callers {
        let (ledger, grant, prices) = (ledger.clone(), Arc::clone(grant), prices());
        all.spawn(async move {
            let mut calls = 0;
            while Instant::now() < end {
                settle(hold(&ledger, &grant, &prices).await);
                calls += 1;
            }
            calls
        });
    }
    all.join_all().await.iter().sum()
}

/// How long calls wait until they may go on, when one comes every 5 ms.
async fn admission(ledger: &Ledger, grant: &Grant, time: Duration) -> Vec<Duration> {
    let (prices, mut next) = (prices(), interval(CALL_INTERVAL));
    let (start, mut waited) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        next.tick().await;
        let asked = Instant::now();
        let bill = hold(ledger, grant, &prices).await;
        waited.push(asked.elapsed());
        settle(bill);
    }
    waited
}

async fn hold(ledger: &Ledger, grant: &Grant, prices: &Arc<Prices>) -> Bill {
    let extras = Extras::default();
    let expected = Expected {
        prompt_most: 1000,
        prompt: 250,
        output_most: 1000,
        output_least: 1000,
        extras,
        needs_wallet: true,
    };
    Bill::open(ledger, grant, "vendor/model", vec![Arc::clone(prices)], expected).await.unwrap()
}

fn settle(mut bill: Bill) {
    bill.forward();
    bill.settle(Some(Usage { input: 250, output: 185, ..Usage::default() }));
}

/// How long the disk takes by itself.
fn writes(folder: &Path, time: Duration) -> Vec<Duration> {
    let mut file = File::create(folder.join("write")).unwrap();
    let (start, mut taken) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        std::thread::sleep(CALL_INTERVAL);
        let asked = Instant::now();
        file.write_all(&[0; 64]).unwrap();
        file.sync_data().unwrap();
        taken.push(asked.elapsed());
    }
    taken
}

fn line(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1e3;
    println!("{name:<34}{:>12.3}{:>12.3}", at(50), at(99));
}

fn grant(folder: &Path) -> Grant {
    let (mut operations, actor) = (Operations::open(folder).unwrap(), Actor::command_line());
    let account = NewAccount { id: "bench".into(), ..NewAccount::default() };
    operations.create_account(&Intent::of(&actor), &account).unwrap();
    Books::open(folder).unwrap().top_up("bench", "1000000".parse().unwrap(), "bench").unwrap();
    let new = NewKey { account: Some("bench".into()), ..NewKey::default() };
    let secret = operations.create_key(&Intent::of(&actor), &new).unwrap().secret.unwrap();
    KeyTable::open(folder).unwrap().grant(Some(&secret), "", None).unwrap()
}

fn prices() -> Arc<Prices> {
    let tier = TierSettings { input: 1_250_000, output: 10_000_000, ..TierSettings::default() };
    Arc::new(Prices::new(&[tier]).unwrap())
}

/// The time between two calls.
const CALL_INTERVAL: Duration = Duration::from_millis(5);
