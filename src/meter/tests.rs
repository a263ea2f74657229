//! The books against a simple model of them, through everything that may happen to a process.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::journal::JOURNALS;
use super::*;
use crate::auth::{Grant, NewKey, Rights, Store};
use crate::canon::Usage;
use crate::money::Amount;

pub(super) const ACCOUNT: &str = "a";

pub(super) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub(super) fn usd(text: &str) -> Amount {
    text.parse().unwrap()
}

/// A store with an account that has so many dollars, and a key that may spend `limit`.
pub(super) fn grant(folder: &Path, balance: Option<&str>, limit: Option<&str>) -> Grant {
    let store = Store::open(folder).unwrap();
    let _ = store.create_account(ACCOUNT);
    if let Some(balance) = balance {
        Books::open(folder).unwrap().top_up(ACCOUNT, usd(balance), "t").unwrap();
    }
    let rights = Rights { spending_limit: limit.map(usd), ..Rights::default() };
    let new = NewKey { account: ACCOUNT.into(), rights, ..NewKey::default() };
    Arc::new(store.create_key(&new).unwrap().0)
}

/// One dollar for a token, in either direction.
pub(super) fn prices() -> Arc<Prices> {
    let price = 1_000_000_000_000;
    Arc::new(Prices::new(&[TierSettings { input: price, output: price, ..TierSettings::default() }]).unwrap())
}

pub(super) fn tokens(output_least: u64, output_most: u64) -> Expected {
    Expected {
        prompt_most: 1,
        prompt: 1,
        output_most,
        output_least,
        extras: Extras::default(),
        needs_wallet: false,
    }
}

/// Names the limit by which a call was refused.
pub(super) fn short(refused: Result<Bill, HoldRefusal>) -> String {
    let name = |limit| match limit {
        MoneyLimit::Wallet => "wallet".to_owned(),
        MoneyLimit::Budget(owner, period, _) => format!("{owner:?} {period:?}"),
    };
    match refused.unwrap_err() {
        HoldRefusal::Exceeded(Shortage { limit, left, .. }) => format!("{}: {left} left", name(limit)),
        HoldRefusal::InFlight(Shortage { limit, left, free, .. }) => {
            format!("{}: {free} of {left} free", name(limit))
        }
        other => format!("{other:?}"),
    }
}

pub(super) fn audited(folder: &Path) -> (Wallet, Audit) {
    let mut books = Books::open(folder).unwrap();
    let audit = books.audit().unwrap();
    assert_eq!(audit.findings, []);
    (books.wallet(ACCOUNT).unwrap().unwrap(), audit)
}

pub(super) fn used(input: u64, output: u64) -> Option<Usage> {
    Some(Usage { input, output, ..Usage::default() })
}

#[test]
fn a_call_is_held_and_settled_once() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path(), Some("10"), None);
    let ledger = Ledger::open(folder.path()).unwrap();
    runtime().block_on(async {
        let mut bill = Bill::open(&ledger, &grant, "m", vec![prices()], tokens(4, 4)).await.unwrap();
        let wallet = ledger.wallet(ACCOUNT).await.unwrap().unwrap();
        assert_eq!((wallet.balance, wallet.held), (usd("10"), usd("5")));
        bill.forward();
        bill.settle(used(1, 2));
        // Whatever is said of it afterwards.
        bill.break_off(used(1, 4));
        bill.release();
        drop(bill);
        let wallet = ledger.wallet(ACCOUNT).await.unwrap().unwrap();
        assert_eq!((wallet.balance, wallet.held), (usd("7"), Amount::ZERO));
        let report = ledger.report(ACCOUNT).await.unwrap();
        assert_eq!((report.daily.cost, report.daily.requests, report.daily.successes), (usd("3"), 1, 1));
    });
    ledger.close();
    assert_eq!(audited(folder.path()).1.charges, 1);
    assert!(journal::epochs(&folder.path().join(JOURNALS)).unwrap().is_empty());
}

#[test]
fn what_is_not_there_can_not_be_held() {
    let folder = tempfile::tempdir().unwrap();
    let poor = grant(folder.path(), None, None);
    let ledger = Ledger::open(folder.path()).unwrap();
    runtime().block_on(async {
        let open = |grant: Grant, expected| {
            let ledger = ledger.clone();
            async move { Bill::open(&ledger, &grant, "m", vec![prices()], expected).await }
        };
        let expected = Expected { needs_wallet: true, ..tokens(1, 1) };
        assert_eq!(open(Arc::clone(&poor), expected).await.unwrap_err(), HoldRefusal::NoWallet);
        let rich = grant(folder.path(), Some("10"), None);
        let limited = grant(folder.path(), None, Some("4"));
        let first = open(Arc::clone(&rich), tokens(6, 6)).await.unwrap();
        assert_eq!(short(open(Arc::clone(&rich), tokens(3, 3)).await), "wallet: 3.00 of 10.00 free");
        assert_eq!(short(open(Arc::clone(&rich), tokens(99, 99)).await), "wallet: 10.00 left");
        drop(first);
        assert_eq!(short(open(Arc::clone(&limited), tokens(4, 4)).await), "Key Total: 4.00 left");
        // No more than the limit is held, if that is enough.
        let capped = open(Arc::clone(&limited), tokens(1, 99)).await.unwrap();
        assert_eq!(capped.output_cap(), 3);
        assert_eq!(short(open(limited, tokens(1, 1)).await), "Key Total: 0.00 of 4.00 free");
    });
    ledger.close();
    assert_eq!(audited(folder.path()).0.balance, usd("10"));
}

#[test]
fn calls_that_break_off_cost_what_has_gone_either_way() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path(), Some("100"), None);
    let ledger = Ledger::open(folder.path()).unwrap();
    let cost = |end: fn(&mut Bill)| {
        runtime().block_on(async {
            let mut bill = Bill::open(&ledger, &grant, "m", vec![prices()], tokens(9, 9)).await.unwrap();
            end(&mut bill);
            bill.break_off(None);
            bill.charge().unwrap().amount.to_string()
        })
    };
    assert_eq!(cost(|_| ()), "0.00", "it never went upstream");
    assert_eq!(cost(Bill::forward), "1.00", "the prompt");
    assert_eq!(cost(|bill| (bill.forward(), bill.deliver(3)).0), "4.00", "and what was passed on");
    assert_eq!(cost(|bill| (bill.forward(), bill.deliver(3), bill.break_off(used(2, 1))).0), "5.00");
    assert_eq!(cost(|bill| (bill.forward(), bill.release()).0), "0.00", "it has failed");
    assert_eq!(
        cost(|bill| (bill.forward(), bill.settle(used(20, 20))).0),
        "40.00",
        "more than was held, if it was counted"
    );
    assert_eq!(cost(|bill| (bill.forward(), bill.deliver(99)).0), "10.00", "if it was not, no more");
    assert_eq!(cost(|bill| (bill.forward(), bill.settle(used(u64::MAX, u64::MAX))).0), "10.00");
    ledger.close();
    assert_eq!(audited(folder.path()).1.capped, 2);
}

#[test]
fn a_top_up_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    grant(folder.path(), None, None);
    let mut books = Books::open(folder.path()).unwrap();
    assert!(books.top_up(ACCOUNT, usd("5"), "x").unwrap());
    assert!(!books.top_up(ACCOUNT, usd("5"), "x").unwrap());
    assert!(books.top_up(ACCOUNT, usd("6"), "x").is_err());
    assert!(books.top_up("nobody", usd("5"), "y").is_err());
    assert!(books.top_up(ACCOUNT, Amount::MAX, "z").is_err());
    assert_eq!(audited(folder.path()).0.balance, usd("5"));
}

#[test]
fn two_processes_share_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path(), Some("100"), None);
    let one = Ledger::open(folder.path()).unwrap();
    let open = |ledger: &Ledger| {
        runtime().block_on(Bill::open(ledger, &grant, "m", vec![prices()], tokens(4, 4))).unwrap()
    };
    let mut first = open(&one);
    // The second one does not take the calls of the first for lost.
    let two = Ledger::open(folder.path()).unwrap();
    let mut second = open(&two);
    for ledger in [&one, &two] {
        runtime().block_on(ledger.wallet(ACCOUNT)).unwrap();
    }
    assert_eq!(audited(folder.path()).0.held, usd("10"));
    for bill in [&mut first, &mut second] {
        bill.forward();
        bill.settle(used(1, 1));
    }
    one.close();
    two.close();
    let (wallet, audit) = audited(folder.path());
    assert_eq!((wallet.balance, wallet.held, audit.charges), (usd("96"), Amount::ZERO, 2));
}

#[test]
fn many_calls_on_little_money_get_exactly_what_it_buys() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path(), Some("50.5"), None);
    let ledger = Ledger::open(folder.path()).unwrap();
    let admitted = runtime().block_on(async {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..512 {
            let (ledger, grant) = (ledger.clone(), Arc::clone(&grant));
            calls.spawn(
                async move { Bill::open(&ledger, &grant, "m", vec![prices()], tokens(4, 4)).await.ok() },
            );
        }
        calls.join_all().await.into_iter().flatten().collect::<Vec<_>>()
    });
    assert_eq!(admitted.len(), 10);
    runtime().block_on(ledger.wallet(ACCOUNT)).unwrap();
    assert_eq!(audited(folder.path()).0.held, usd("50"));
    for mut bill in admitted {
        bill.forward();
        bill.settle(used(1, 4));
    }
    ledger.close();
    assert_eq!(audited(folder.path()).0.balance, usd("0.5"));
}

#[test]
fn a_new_limit_holds_for_a_balance_that_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path(), Some("1000"), None);
    let ledger = Ledger::open(folder.path()).unwrap();
    let open = |grant: &Grant, output| {
        runtime().block_on(Bill::open(&ledger, grant, "m", vec![prices()], tokens(output, output)))
    };
    drop(open(&grant, 1).unwrap());
    let limited = |limit: &str| {
        let store = Store::open(folder.path()).unwrap();
        store.set_spending_limit(&grant.id, Some(usd(limit)));
        Arc::new(store.key(&grant.id).unwrap())
    };
    assert_eq!(short(open(&limited("4"), 4)), "Key Total: 4.00 left");
    let within = open(&limited("4"), 3).unwrap();
    assert_eq!(short(open(&limited("4"), 0)), "Key Total: 0.00 of 4.00 free");
    assert!(open(&limited("5"), 0).is_ok());
    drop(within);
    assert!(open(&grant, 99).is_ok());
    ledger.close();
    assert_eq!(audited(folder.path()).0, Wallet { balance: usd("1000"), held: Amount::ZERO });
}

#[test]
fn keys_of_an_account_do_not_keep_money_from_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (grant(folder.path(), Some("20"), None), grant(folder.path(), None, None));
    let ledger = Ledger::open(folder.path()).unwrap();
    let open = |grant: &Grant, output| {
        runtime().block_on(Bill::open(&ledger, grant, "m", vec![prices()], tokens(output, output)))
    };
    // Its leased balance keeps more than it needs; the other gets all of it, and not more.
    drop(open(&one, 0).unwrap());
    assert_eq!(short(open(&two, 20)), "wallet: 20.00 left");
    let all = open(&two, 19).unwrap();
    assert_eq!(short(open(&one, 0)), "wallet: 0.00 of 20.00 free");
    drop(all);
    ledger.close();
    audited(folder.path());
}

#[test]
fn what_a_process_does_not_need_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path(), Some("20"), None);
    let (one, two) = (Ledger::open(folder.path()).unwrap(), Ledger::open(folder.path()).unwrap());
    let open = |ledger: &Ledger, output| {
        runtime().block_on(Bill::open(ledger, &grant, "m", vec![prices()], tokens(output, output)))
    };
    drop(open(&one, 0).unwrap());
    let begun = Instant::now();
    while open(&two, 19).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(50));
    }
    one.close();
    two.close();
    audited(folder.path());
}

#[test]
fn what_a_dead_process_had_comes_back_while_another_runs() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path(), Some("20"), None);
    let (one, two) = (Ledger::open(folder.path()).unwrap(), Ledger::open(folder.path()).unwrap());
    let open = |ledger: &Ledger, output| {
        runtime().block_on(Bill::open(ledger, &grant, "m", vec![prices()], tokens(output, output)))
    };
    std::mem::forget(open(&one, 9).unwrap());
    one.die();
    let begun = Instant::now();
    // All but the dollar of the other's prompt.
    while open(&two, 18).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(50));
    }
    two.close();
    assert_eq!(audited(folder.path()).0.balance, usd("19"));
}

#[test]
fn a_store_from_before_leases_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let old = rusqlite::Connection::open(folder.path().join("crossmodel.db")).unwrap();
    old.execute_batch(include_str!("../store/1_keys.sql")).unwrap();
    old.execute_batch(include_str!("../store/2_ledger.sql")).unwrap();
    let tiers = serde_json::to_string(&*prices()).unwrap();
    old.execute("INSERT INTO prices VALUES (1, ?1, 0)", [tiers]).unwrap();
    old.execute_batch(
        "PRAGMA user_version = 2;
         INSERT INTO accounts VALUES ('a', 'active', 0);
         INSERT INTO wallets VALUES ('a', 10000000000, 5000000000);
         INSERT INTO topups VALUES ('t', 'a', 10000000000, 0);
         INSERT INTO keys (id, account, name, digest, status, aliases, created, spending_limit)
            VALUES ('k', 'a', '', x'00', 'active', '{}', 0, 8000000000);
         INSERT INTO spending VALUES ('k', 0, 5000000000);
         INSERT INTO holds VALUES (3 << 40, 'a', 'k', 'm', 1, 5000000000, 1, 0, 0);",
    )
    .unwrap();
    assert_eq!(audited(folder.path()).1.holds, 1);
    let window = "SELECT spent, leased FROM budget_windows";
    let window = || {
        let store = crate::store::open(folder.path()).unwrap();
        store.query_row(window, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    assert_eq!(window(), (Amount::ZERO, usd("5")), "the limit of the key is a budget now");
    assert_eq!(recovered(folder.path()), usd("9"));
    assert_eq!(window(), (usd("1"), Amount::ZERO));
    // A gateway from before, if it still runs, cannot hold anything by its own count.
    assert!(old.execute("UPDATE wallets SET balance = balance, held = held", []).is_err());
}

/// A copy of the store and the journals, as they are when the process is killed now.
pub(super) fn killed(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join(JOURNALS)).unwrap();
    for from in [folder.to_owned(), folder.join(JOURNALS)] {
        for file in std::fs::read_dir(&from).unwrap().map(|file| file.unwrap().path()) {
            // SQLite makes its index of the log anew.
            if file.is_file() && !file.to_string_lossy().ends_with("-shm") {
                let name = file.strip_prefix(folder).unwrap();
                std::fs::copy(&file, copy.path().join(name)).unwrap();
            }
        }
    }
    copy
}

/// The balance after somebody has taken over what a killed process left; nothing is held or lent any more.
pub(super) fn recovered(folder: &Path) -> Amount {
    Ledger::open(folder).unwrap().close();
    let (wallet, audit) = audited(folder);
    assert_eq!((wallet.held, audit.holds), (Amount::ZERO, 0));
    let lent = "SELECT COUNT(*) FROM leases";
    let lent: i64 = crate::store::open(folder).unwrap().query_row(lent, [], |row| row.get(0)).unwrap();
    assert_eq!(lent, 0);
    assert!(journal::epochs(&folder.join(JOURNALS)).unwrap().is_empty());
    wallet.balance
}

#[test]
fn a_journal_that_has_begun_anew_does_not_take_back_how_far_a_call_has_come() {
    use super::journal::{JournalRecord, encode};
    use std::os::unix::fs::FileExt;

    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path(), Some("100"), None);
    let ledger = Ledger::open(folder.path()).unwrap();
    let open = Bill::open(&ledger, &grant, "m", vec![prices()], tokens(50, 50));
    std::mem::forget(runtime().block_on(open).unwrap());
    ledger.die();
    let marks =
        [9, 4].map(|tokens| encode(&JournalRecord::Mark(types::CallId::new(1, 0).unwrap(), tokens)).unwrap());
    let journal =
        std::fs::OpenOptions::new().write(true).open(folder.path().join(JOURNALS).join("1")).unwrap();
    journal.write_all_at(marks.as_flattened(), 64 * 100).unwrap();
    assert_eq!(recovered(folder.path()), usd("90"), "one token of the prompt and nine of the answer");
}

#[test]
fn a_kill_between_any_two_steps_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path(), Some("100"), None);
    let ledger = Ledger::open(folder.path()).unwrap();
    let written = || runtime().block_on(ledger.wallet(ACCOUNT)).unwrap();
    let after = || recovered(killed(folder.path()).path()).to_string();
    assert_eq!(after(), "100.00", "nothing has been");
    let open = || runtime().block_on(Bill::open(&ledger, &grant, "m", vec![prices()], tokens(9, 9))).unwrap();
    let (mut first, mut second) = (open(), open());
    assert_eq!(after(), "98.00", "two are held, of which the store knows nothing: each costs its prompt");
    written();
    assert_eq!(after(), "98.00", "two are held, also in the store");
    first.forward();
    first.settle(used(2, 3));
    assert_eq!(after(), "94.00", "one has ended, of which the store knows nothing");
    let mut third = open();
    third.forward();
    third.settle(used(1, 6));
    assert_eq!(after(), "87.00", "one has begun and ended, of which the store knows nothing");
    written();
    assert_eq!(after(), "87.00", "the store knows, and the journal still says it");
    second.release();
    assert_eq!(after(), "88.00");
    written();
    assert_eq!(after(), "88.00");
    // By one that goes on, beside one that goes on.
    let copy = killed(folder.path());
    let (one, two) = (Ledger::open(copy.path()).unwrap(), Ledger::open(copy.path()).unwrap());
    drop(runtime().block_on(Bill::open(&one, &grant, "m", vec![prices()], tokens(87, 87))).unwrap());
    one.close();
    two.close();
    assert_eq!(recovered(copy.path()).to_string(), "88.00");
    ledger.close();
    assert_eq!(after(), "88.00");
}

#[test]
fn a_torn_journal_is_read_as_far_as_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path(), Some("100"), None);
    let ledger = Ledger::open(folder.path()).unwrap();
    let open = || runtime().block_on(Bill::open(&ledger, &grant, "m", vec![prices()], tokens(9, 9))).unwrap();
    let mut bills = [open(), open()];
    for bill in &mut bills {
        bill.forward();
        bill.settle(used(1, 4));
    }
    let left = killed(folder.path());
    // Two beginnings and two ends. A call that has not begun for sure has not been anywhere.
    for (whole, balance) in ["100.00", "99.00", "98.00", "94.00", "90.00"].into_iter().enumerate() {
        for torn in [0, 1, 63] {
            let copy = killed(left.path());
            let journals = copy.path().join(JOURNALS);
            let journal = journals.join(journal::epochs(&journals).unwrap()[0].to_string());
            let mut bytes = std::fs::read(&journal).unwrap();
            bytes[whole * 64 + torn..].fill(0);
            std::fs::write(&journal, &bytes).unwrap();
            assert_eq!(recovered(copy.path()).to_string(), balance, "{whole} records and {torn} bytes");
            // So it is where the file ends there.
            let copy = killed(left.path());
            let journals = copy.path().join(JOURNALS);
            let journal = journals.join(journal::epochs(&journals).unwrap()[0].to_string());
            std::fs::write(&journal, &bytes[..whole * 64 + torn]).unwrap();
            assert_eq!(recovered(copy.path()).to_string(), balance, "{whole} records and {torn} bytes");
        }
    }
}

/// A step of a random history.
#[derive(Clone, Debug)]
enum Step {
    /// In one of the processes.
    Open(usize, u64),
    Settle(usize, u64, u64),
    Release(usize),
    BreakOff(usize, u64),
    TopUp(u64),
    /// A process tells the store everything.
    Tell(usize),
    /// A process dies; its journal stays, and what it had told the ledger may be in the store or not.
    Die(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2_usize, 0..9_u64).prop_map(|(process, output)| Step::Open(process, output)),
        3 => (0..9_usize, 0..9_u64, 0..9_u64).prop_map(|(n, input, output)| Step::Settle(n, input, output)),
        1 => (0..9_usize).prop_map(Step::Release),
        1 => (0..9_usize, 0..9_u64).prop_map(|(n, delivered)| Step::BreakOff(n, delivered)),
        1 => (1..20_u64).prop_map(Step::TopUp),
        1 => (0..2_usize).prop_map(Step::Tell),
        1 => (0..2_usize).prop_map(Step::Die),
    ]
}

/// The books as a child would keep them: dollars, all of them whole.
#[derive(Default)]
struct Model {
    balance: u64,
    held: HashMap<usize, u64>,
}

impl Model {
    fn free(&self) -> u64 {
        self.balance - self.held.values().sum::<u64>()
    }

    fn end(&mut self, call: usize, cost: u64) {
        let held = self.held.remove(&call).unwrap();
        self.balance -= cost.min(held);
    }

    /// Ends a call whose tokens were counted: it may cost more than was held for it.
    fn settle(&mut self, call: usize, cost: u64) {
        self.held.remove(&call);
        self.balance -= cost.min(self.free());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_books_are_those_of_the_model(
        processes in 1..3_usize,
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let grant = grant(folder.path(), Some("10"), None);
        let mut ledgers = Vec::new();
        ledgers.resize_with(processes, || Ledger::open(folder.path()).unwrap());
        let mut model = Model { balance: 10, ..Model::default() };
        let (mut open, mut count): (Vec<(usize, usize, Bill)>, _) = (Vec::new(), 0);
        for step in steps {
            count += 1;
            match step {
                Step::Open(process, output) => {
                    let ledger = &ledgers[process % processes];
                    let expected = tokens(output, output);
                    let bill = runtime().block_on(Bill::open(ledger, &grant, "m", vec![prices()], expected));
                    // What is lent to another process may not be there at once.
                    let enough = model.free() > output;
                    prop_assert!(bill.is_ok() == enough || processes > 1 && enough);
                    if let Ok(mut bill) = bill {
                        bill.forward();
                        model.held.insert(count, output + 1);
                        open.push((count, process % processes, bill));
                    }
                }
                Step::Settle(n, input, output) if n < open.len() => {
                    let (call, process, mut bill) = open.remove(n);
                    let held = model.held[&call];
                    // What is lent to another process is not there for a call that costs more than was held.
                    let output = if processes > 1 { output.min(held.saturating_sub(input)) } else { output };
                    let input = if processes > 1 { input.min(held) } else { input };
                    bill.settle(used(input, output));
                    if input + output == 0 {
                        // Nothing was counted, so it costs its prompt.
                        model.end(call, 1);
                    } else {
                        model.settle(call, input + output);
                    }
                    // What is there for it is found out when the store is told.
                    if input + output > held {
                        runtime().block_on(ledgers[process].wallet(ACCOUNT)).unwrap();
                    }
                }
                Step::Release(n) if n < open.len() => {
                    let (call, _, mut bill) = open.remove(n);
                    bill.release();
                    model.end(call, 0);
                }
                Step::BreakOff(n, delivered) if n < open.len() => {
                    let (call, _, mut bill) = open.remove(n);
                    bill.deliver(delivered);
                    drop(bill);
                    model.end(call, 1 + delivered);
                }
                Step::TopUp(dollars) => {
                    let amount = usd(&dollars.to_string());
                    Books::open(folder.path()).unwrap().top_up(ACCOUNT, amount, &count.to_string()).unwrap();
                    model.balance += dollars;
                }
                Step::Tell(process) => {
                    runtime().block_on(ledgers[process % processes].wallet(ACCOUNT)).unwrap();
                }
                Step::Die(process) => {
                    let process = process % processes;
                    let (dead, living): (Vec<_>, _) = open.into_iter().partition(|(_, owner, _)| *owner == process);
                    open = living;
                    for (call, _, bill) in dead {
                        std::mem::forget(bill);
                        model.end(call, 1);
                    }
                    ledgers[process].die();
                    ledgers[process] = Ledger::open(folder.path()).unwrap();
                }
                _ => {}
            }
        }
        for (call, _, bill) in open {
            drop(bill);
            model.end(call, 1);
        }
        ledgers.iter().for_each(Ledger::close);
        let balance = recovered(folder.path());
        prop_assert_eq!(balance, usd(&model.balance.to_string()));
    }
}
