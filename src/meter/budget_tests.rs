//! Budgets: exact for any number of callers and processes, whatever happens to these.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::tests::{ACCOUNT, grant, killed, prices, runtime, short, tokens, usd, used};
use super::types::{CallEnd, ChargeBasis};
use super::*;
use crate::auth::{BudgetOwner, Grant, Period, Store};
use crate::canon::{Rates, Usage};
use crate::money::Amount;

fn set(folder: &Path, owner: (BudgetOwner, &str), budgets: &[&str]) {
    let budgets: Vec<NewBudget> = budgets.iter().map(|text| text.parse().unwrap()).collect();
    Books::open(folder).unwrap().set_budgets(owner, &budgets).unwrap();
}

fn set_account(folder: &Path, budgets: &[&str]) {
    set(folder, (BudgetOwner::Account, ACCOUNT), budgets);
}

/// The key as it is now.
fn now(folder: &Path, grant: &Grant) -> Grant {
    Arc::new(Store::open(folder).unwrap().key(&grant.id).unwrap())
}

/// Reads the amounts that each budget of the account has spent and holds in its current window.
fn states(folder: &Path) -> Vec<(Amount, Amount)> {
    let states = Books::open(folder).unwrap().budgets((BudgetOwner::Account, ACCOUNT)).unwrap();
    states.into_iter().map(|state| (state.spent, state.held)).collect()
}

fn audited(folder: &Path) -> Audit {
    let audit = Books::open(folder).unwrap().audit().unwrap();
    assert_eq!(audit.findings, []);
    audit
}

fn open(ledger: &Ledger, grant: &Grant, dollars: u64) -> Result<Bill, HoldRefusal> {
    let expected = tokens(dollars - 1, dollars - 1);
    let mut bill = runtime().block_on(Bill::open(ledger, grant, "m", vec![prices()], expected))?;
    bill.forward();
    Ok(bill)
}

/// Waits until the store has everything.
fn told(ledger: &Ledger) {
    runtime().block_on(ledger.wallet(ACCOUNT)).unwrap();
}

/// The amounts that were spent after somebody has taken over what a killed process left.
fn recovered(folder: &Path) -> Vec<(Amount, Amount)> {
    Ledger::open(folder).unwrap().close();
    audited(folder);
    states(folder)
}

#[test]
fn the_cost_of_who_has_no_wallet_is_counted_without_a_write_for_each_call() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path(), None, None);
    let ledger = Ledger::open(folder.path()).unwrap();
    let commits = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&commits);
    ledger.watch_commits(move |_| _ = count.fetch_add(1, Ordering::Relaxed));
    let cost = |end: fn(&mut Bill)| {
        let mut bill = Bill::track(&ledger, &grant, prices(), tokens(9, 9));
        bill.forward();
        end(&mut bill);
        bill.charge().unwrap().amount.to_string()
    };
    assert_eq!(cost(|bill| bill.settle(used(2, 3))), "5.00");
    assert_eq!(cost(|bill| (bill.deliver(3), bill.break_off(None)).1), "4.00");
    assert_eq!(cost(|bill| (bill.deliver(3), bill.settle(used(u64::MAX, 1))).1), "4.00", "an estimate");
    assert_eq!(cost(Bill::release), "0.00");
    let report = runtime().block_on(ledger.report(ACCOUNT)).unwrap().daily;
    assert_eq!((report.cost, report.requests, report.successes), (usd("13"), 4, 2));
    assert_eq!(ledger.open_holds(), 0);
    ledger.close();
    assert_eq!(commits.load(Ordering::Relaxed), 0, "nothing was synced for them");
    let audit = Books::open(folder.path()).unwrap().audit().unwrap();
    assert_eq!((audit.findings, audit.charges, audit.holds), (vec![], 0, 0));
}

#[test]
fn calls_are_counted_by_model_and_provider_whoever_pays() {
    let folder = tempfile::tempdir().unwrap();
    let key = grant(folder.path(), Some("50"), None);
    let ledger = Ledger::open(folder.path()).unwrap();
    let served = |provider: &str| ServedBy { model: "v/m-1".into(), provider: provider.into(), tags: None };
    let mut paid = open(&ledger, &key, 9).unwrap();
    paid.answered_by(served("p"));
    paid.settle(used(2, 3));
    let mut counted = Bill::track(&ledger, &key, prices(), tokens(9, 9));
    counted.forward();
    counted.answered_by(served("q"));
    counted.settle(used(4, 0));
    let mut free = Bill::free(&ledger, &key, tokens(9, 9));
    free.answered_by(served("q"));
    free.release();
    // One that is found unfinished.
    std::mem::forget(open(&ledger, &key, 9).unwrap());
    runtime().block_on(ledger.post()).unwrap();
    ledger.die();
    Ledger::open(folder.path()).unwrap().close();
    let query = UsageQuery {
        to: i64::MAX,
        by: vec![UsageDimension::Model, UsageDimension::Provider],
        ..UsageQuery::default()
    };
    let rows = Books::open(folder.path()).unwrap().usage(&query).unwrap().into_iter();
    let rows = rows.map(|UsageRow { model, provider, sums, .. }| {
        let UsageSums { requests, successes, input_tokens, output_tokens, cost, .. } = sums;
        let name = format!("{} {}", model.unwrap(), provider.unwrap());
        format!("{name}: {requests} {successes} {input_tokens} {output_tokens} {cost}")
    });
    let expected = ["m : 1 0 1 0 1.00", "v/m-1 p: 1 1 2 3 5.00", "v/m-1 q: 2 1 4 0 4.00"];
    assert_eq!(rows.collect::<Vec<_>>(), expected);
    audited(folder.path());
}

#[test]
fn the_tightest_limit_refuses_and_of_equal_ones_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let key = grant(folder.path(), Some("50"), None);
    set(folder.path(), (BudgetOwner::Key, &key.id), &["day=10", "month=40"]);
    set_account(folder.path(), &["week=10", "total=30"]);
    let key = now(folder.path(), &key);
    let ledger = Ledger::open(folder.path()).unwrap();
    assert_eq!(short(open(&ledger, &key, 60)), "Key Day: 10.00 left");
    let mut first = open(&ledger, &key, 6).unwrap();
    assert_eq!(short(open(&ledger, &key, 5)), "Key Day: 4.00 of 10.00 free");
    first.settle(used(6, 0));
    // Another key of the account has no budget of its own.
    let other = now(folder.path(), &grant(folder.path(), None, None));
    assert_eq!(short(open(&ledger, &other, 5)), "Account Week: 4.00 left");
    let capped = Bill::open(&ledger, &other, "m", vec![prices()], tokens(1, 99));
    let capped = runtime().block_on(capped).unwrap();
    assert_eq!(capped.output_cap(), 3, "as much as all limits allow");
    drop(capped);
    ledger.close();
    assert_eq!(states(folder.path()), [(usd("6"), Amount::ZERO); 2]);
    audited(folder.path());
}

#[test]
fn a_call_that_only_a_budget_limits_waits_for_no_disk_and_a_kill_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let key = grant(folder.path(), None, None);
    set_account(folder.path(), &["month=100"]);
    let key = now(folder.path(), &key);
    let ledger = Ledger::open(folder.path()).unwrap();
    let commits = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&commits);
    ledger.watch_commits(move |_| _ = count.fetch_add(1, Ordering::Relaxed));
    let after = || recovered(killed(folder.path()).path())[0].0.to_string();
    assert_eq!(after(), "0.00");
    let (mut first, mut second) = (open(&ledger, &key, 10).unwrap(), open(&ledger, &key, 10).unwrap());
    assert_eq!(after(), "2.00", "two are held, and each costs its prompt");
    first.settle(used(2, 3));
    assert_eq!(after(), "6.00", "one has ended, of which the store knows nothing");
    told(&ledger);
    assert_eq!(after(), "6.00");
    second.settle(used(90, 10));
    assert_eq!(after(), "100.00", "beyond its hold it costs what the budget has left");
    told(&ledger);
    assert_eq!(after(), "100.00");
    assert_eq!(short(open(&ledger, &key, 1)), "Account Month: 0.00 left");
    ledger.close();
    assert_eq!(commits.load(Ordering::Relaxed), 0, "nothing was synced for a call");
    let audit = audited(folder.path());
    assert_eq!((audit.charges, audit.capped), (2, 1));
}

#[test]
fn many_callers_and_processes_spend_exactly_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let keys: [Grant; 3] = std::array::from_fn(|_| grant(folder.path(), None, None));
    set(folder.path(), (BudgetOwner::Key, &keys[0].id), &["day=20"]);
    set_account(folder.path(), &["day=50.5"]);
    let keys = keys.map(|key| now(folder.path(), &key));
    let ledgers: [Ledger; 2] = std::array::from_fn(|_| Ledger::open(folder.path()).unwrap());
    let admitted = runtime().block_on(async {
        let mut calls = tokio::task::JoinSet::new();
        for n in 0..512 {
            let (ledger, key) = (ledgers[n % 2].clone(), Arc::clone(&keys[n % 3]));
            calls.spawn(async move {
                // What is leased to the other process comes back within a second or so.
                let open = async || Bill::open(&ledger, &key, "m", vec![prices()], tokens(4, 4)).await;
                for _ in 0..if n < 32 { 40 } else { 1 } {
                    match open().await {
                        Err(HoldRefusal::InFlight(_)) => {}
                        ended => return ended.ok(),
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
                None
            });
        }
        calls.join_all().await.into_iter().flatten().collect::<Vec<_>>()
    });
    assert_eq!(admitted.len(), 10);
    for mut bill in admitted {
        bill.forward();
        bill.settle(used(1, 4));
    }
    ledgers.iter().for_each(Ledger::close);
    audited(folder.path());
    assert_eq!(states(folder.path()), [(usd("50"), Amount::ZERO)]);
}

/// Makes a call at a time that costs so many dollars; `None` if it is refused.
fn call_at(ledger: &Ledger, key: &Grant, time: i64, dollars: u64) -> Option<HeldMoney> {
    let wanted = usd(&dollars.to_string());
    let request = HoldRequest {
        grant: Arc::clone(key),
        model: "m".into(),
        prices: vec![prices()],
        wanted,
        least: wanted,
        prompt: 1,
        rates: Rates::default(),
        time,
        needs_wallet: false,
    };
    runtime().block_on(ledger.hold(request)).ok()
}

fn settle(ledger: &Ledger, held: &HeldMoney, dollars: u64) {
    let usage = Usage { input: dollars, ..Usage::default() };
    let charge = usd(&dollars.to_string());
    let outcome = ChargeBasis::Exact;
    ledger.end(held, CallEnd { charge, usage, outcome, whole: true, ..CallEnd::released() });
}

#[test]
fn a_call_belongs_to_the_window_in_which_it_began() {
    let folder = tempfile::tempdir().unwrap();
    let key = grant(folder.path(), None, None);
    set_account(folder.path(), &["day=10", "month=15"]);
    let key = now(folder.path(), &key);
    let ledger = Ledger::open(folder.path()).unwrap();
    // A day at the end of a month, and the first of the next.
    let last = "2031-01-31T23:59:59Z".parse::<jiff::Timestamp>().unwrap().as_second();
    let first = last + 1;
    let (early, late) = (call_at(&ledger, &key, last, 9).unwrap(), call_at(&ledger, &key, first, 9).unwrap());
    assert!(call_at(&ledger, &key, last, 2).is_none(), "nine of ten are held");
    settle(&ledger, &early, 9);
    settle(&ledger, &late, 4);
    assert!(call_at(&ledger, &key, last, 2).is_none());
    let second = call_at(&ledger, &key, first, 6).unwrap();
    settle(&ledger, &second, 6);
    assert!(call_at(&ledger, &key, first, 1).is_none(), "the day is used up");
    assert!(call_at(&ledger, &key, first + 86_400, 6).is_none(), "of the month, five are left");
    let third = call_at(&ledger, &key, first + 86_400, 5).unwrap();
    settle(&ledger, &third, 5);
    ledger.close();
    audited(folder.path());
    let store = crate::store::open(folder.path()).unwrap();
    let sql = "SELECT start_day, spent FROM budget_windows WHERE spent > 0 ORDER BY budget, start_day";
    let mut windows = store.prepare(sql).unwrap();
    let windows = windows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let windows: Vec<(i64, Amount)> = windows.map(Result::unwrap).collect();
    let day = first / 86_400;
    let month = Period::Month.start(last);
    let spent = [(day - 1, "9"), (day, "10"), (day + 1, "5"), (month, "9"), (day, "15")];
    assert_eq!(windows, spent.map(|(start, dollars)| (start, usd(dollars))));
}

#[test]
fn a_key_that_moves_does_not_spend_what_its_old_account_has_leased() {
    let folder = tempfile::tempdir().unwrap();
    let key = grant(folder.path(), Some("100"), None);
    let ledger = Ledger::open(folder.path()).unwrap();
    let mut before = open(&ledger, &key, 5).unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.create_account("b").unwrap();
    Books::open(folder.path()).unwrap().top_up("b", usd("7"), "b").unwrap();
    let move_key = "UPDATE keys SET account = 'b' WHERE id = ?1";
    crate::store::open(folder.path()).unwrap().execute(move_key, [&key.id]).unwrap();
    let key = now(folder.path(), &key);
    assert_eq!(short(open(&ledger, &key, 8)), "wallet: 7.00 left");
    let mut after = open(&ledger, &key, 7).unwrap();
    assert_eq!(short(open(&ledger, &key, 1)), "wallet: 0.00 of 7.00 free");
    before.settle(used(5, 0));
    after.settle(used(7, 0));
    ledger.close();
    audited(folder.path());
    let books = Books::open(folder.path()).unwrap();
    let balance = |account| books.wallet(account).unwrap().unwrap().balance;
    assert_eq!((balance(ACCOUNT), balance("b")), (usd("95"), Amount::ZERO));
}

#[test]
fn a_budget_that_is_soft_counts_and_refuses_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let key = grant(folder.path(), None, None);
    set_account(folder.path(), &["day=10,soft,alert=50/80"]);
    let key = now(folder.path(), &key);
    assert!(!key.has_limited_money());
    let ledger = Ledger::open(folder.path()).unwrap();
    let alerted = || {
        told(&ledger);
        let store = crate::store::open(folder.path()).unwrap();
        store.query_row("SELECT alerted FROM budget_windows", [], |row| row.get::<_, u32>(0)).unwrap()
    };
    let mut seen = Vec::new();
    for _ in 0..4 {
        let mut bill = Bill::track(&ledger, &key, prices(), tokens(9, 9));
        bill.forward();
        bill.settle(used(4, 0));
        seen.push(alerted());
    }
    assert_eq!(seen, [0, 80, 80, 80]);
    ledger.close();
    audited(folder.path());
    assert_eq!(states(folder.path()), [(usd("16"), Amount::ZERO)]);
    // From now on it is hard, and has nothing left.
    set_account(folder.path(), &["day=10"]);
    let key = now(folder.path(), &key);
    let ledger = Ledger::open(folder.path()).unwrap();
    assert_eq!(short(open(&ledger, &key, 1)), "Account Day: 0.00 left");
    ledger.close();
    audited(folder.path());
}

#[test]
fn a_changed_limit_holds_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let key = grant(folder.path(), None, None);
    set_account(folder.path(), &["day=100"]);
    let ledger = Ledger::open(folder.path()).unwrap();
    let mut held = open(&ledger, &now(folder.path(), &key), 60).unwrap();
    told(&ledger);
    set_account(folder.path(), &["day=50"]);
    audited(folder.path());
    let key = now(folder.path(), &key);
    assert_eq!(short(open(&ledger, &key, 1)), "Account Day: 0.00 of 50.00 free");
    held.settle(used(80, 0));
    told(&ledger);
    assert_eq!(states(folder.path()), [(usd("60"), Amount::ZERO)], "beyond the hold, nothing is left");
    assert_eq!(short(open(&ledger, &key, 1)), "Account Day: 0.00 left");
    set_account(folder.path(), &["day=70"]);
    let key = now(folder.path(), &key);
    open(&ledger, &key, 10).unwrap().settle(used(10, 0));
    set_account(folder.path(), &[]);
    assert!(!now(folder.path(), &key).has_limited_money());
    ledger.close();
    audited(folder.path());
}

#[test]
fn budgets_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let key = grant(folder.path(), None, Some("5"));
    let mut books = Books::open(folder.path()).unwrap();
    let owner = (BudgetOwner::Key, key.id.as_str());
    let mut set = |budgets: &[&str]| {
        let budgets: Vec<NewBudget> = budgets.iter().map(|text| text.parse().unwrap()).collect();
        books.set_budgets(owner, &budgets).map_err(|error| error.to_string())
    };
    assert!(set(&["day=0"]).unwrap_err().contains("daily budget needs a limit"));
    assert!(set(&["day=1", "day=2"]).unwrap_err().contains("more than one daily budget"));
    assert!(set(&["day=1,alert=101"]).unwrap_err().contains("from 1 to 100"));
    for wrong in ["day", "year=1", "day=x", "day=1,alert=x", "day=1,y"] {
        assert!(wrong.parse::<NewBudget>().is_err(), "{wrong}");
    }
    assert_eq!(now(folder.path(), &key).budgets.len(), 1, "the spending limit is one");
    set(&["total=9,alert=50", "day=1", "day=1,soft"]).unwrap();
    let changed = now(folder.path(), &key);
    assert_eq!((changed.rights.spending_limit, changed.budgets.len()), (Some(usd("9")), 3));
    set(&["day=2"]).unwrap();
    let changed = now(folder.path(), &key);
    assert_eq!((changed.rights.spending_limit, changed.budgets[0].limit), (None, usd("2")));
    let unknown = books.set_budgets((BudgetOwner::Account, "nobody"), &[]).unwrap_err();
    assert_eq!(unknown.to_string(), "there is no account 'nobody'");
}

#[test]
fn a_refund_takes_out_what_nobody_holds_and_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let key = grant(folder.path(), Some("10"), None);
    let ledger = Ledger::open(folder.path()).unwrap();
    let held = open(&ledger, &key, 8).unwrap();
    told(&ledger);
    let mut books = Books::open(folder.path()).unwrap();
    let mut refund = |dollars: &str, reference: &'static str| {
        let (kind, amount) = (TransactionKind::Refund, usd(dollars));
        let reason = Some("a reason");
        books.transact(&NewTransaction { account: ACCOUNT, kind, amount, reference, reason, actor: None })
    };
    let in_use = refund("9", "r").unwrap_err().to_string();
    assert!(in_use.contains("of the balance of 10.00 USD can be taken out"), "{in_use}");
    drop(held);
    ledger.close();
    assert!(refund("9", "r").unwrap());
    assert!(!refund("9", "r").unwrap(), "it was made");
    let other = refund("8", "r").unwrap_err().to_string();
    assert!(other.starts_with("there is already another refund 'r': 9.00 USD for 'a' on 20"), "{other}");
    let other = books.top_up(ACCOUNT, usd("9"), "r").unwrap_err().to_string();
    assert!(other.contains("another refund 'r'"), "{other}");
    let all = books.transactions(ACCOUNT, 9).unwrap();
    let all: Vec<_> = all.iter().map(|one| (one.kind, one.amount, one.reference.as_str())).collect();
    // The prompt of the call that was dropped has cost a dollar.
    assert_eq!(all, [(TransactionKind::Refund, usd("9"), "r"), (TransactionKind::TopUp, usd("10"), "t")]);
    assert_eq!(books.wallet(ACCOUNT).unwrap().unwrap().balance, Amount::ZERO);
    audited(folder.path());
}

/// A step of a random history.
#[derive(Clone, Debug)]
enum Step {
    /// By a process, with a key, for so many dollars.
    Open(usize, usize, u64),
    Settle(usize, u64),
    Drop(usize),
    Tell(usize),
    Die(usize),
    /// Other limits of the account.
    Change(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..2_usize, 0..2_usize, 1..9_u64).prop_map(|(process, key, dollars)| Step::Open(process, key, dollars)),
        3 => (0..9_usize, 1..12_u64).prop_map(|(n, dollars)| Step::Settle(n, dollars)),
        1 => (0..9_usize).prop_map(Step::Drop),
        1 => (0..2_usize).prop_map(Step::Tell),
        1 => (0..2_usize).prop_map(Step::Die),
        1 => (1..40_u64).prop_map(Step::Change),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn no_history_spends_more_than_a_limit(
        wallet in proptest::bool::ANY,
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let keys: [Grant; 2] = std::array::from_fn(|_| grant(folder, wallet.then_some("30"), Some("20")));
        set_account(folder, &["day=25", "month=60,soft"]);
        let mut keys = keys.map(|key| now(folder, &key));
        let mut ledgers: [Ledger; 2] = std::array::from_fn(|_| Ledger::open(folder).unwrap());
        let mut bills: Vec<(usize, Bill)> = Vec::new();
        let mut highest = 25;
        for step in steps {
            match step {
                Step::Open(process, key, dollars) => {
                    bills.extend(open(&ledgers[process], &keys[key], dollars).ok().map(|bill| (process, bill)));
                }
                Step::Settle(n, dollars) if n < bills.len() => bills.remove(n).1.settle(used(dollars, 0)),
                Step::Drop(n) if n < bills.len() => drop(bills.remove(n)),
                Step::Tell(process) => told(&ledgers[process]),
                Step::Die(process) => {
                    let (dead, living) = bills.into_iter().partition(|(owner, _)| *owner == process);
                    bills = living;
                    let dead: Vec<_> = dead;
                    dead.into_iter().for_each(|(_, bill)| std::mem::forget(bill));
                    ledgers[process].die();
                    ledgers[process] = Ledger::open(folder).unwrap();
                }
                Step::Change(dollars) => {
                    set_account(folder, &[&format!("day={dollars}"), "month=60,soft"]);
                    keys = keys.map(|key| now(folder, &key));
                    highest = highest.max(dollars);
                }
                Step::Settle(..) | Step::Drop(_) => {}
            }
            prop_assert_eq!(Books::open(folder).unwrap().audit().unwrap().findings, []);
        }
        drop(bills);
        ledgers.iter().for_each(Ledger::close);
        let states = recovered(folder);
        prop_assert!(states[0].0 <= usd(&highest.to_string()));
        prop_assert_eq!(states[0], states[1], "both count the same calls");
        let store = crate::store::open(folder).unwrap();
        let lent: i64 = store.query_row("SELECT COUNT(*) FROM leases", [], |row| row.get(0)).unwrap();
        prop_assert_eq!(lent, 0);
    }
}
