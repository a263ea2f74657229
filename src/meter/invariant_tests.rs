//! The ledger with books that contradict themselves: it says so, and gives no money away.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use super::batch::Batch;
use super::invariant::{Invariant, expected::violations};
use super::journal::{JOURNALS, Journal};
use super::posting::Posting;
use super::state::LedgerState;
use super::tests::{ACCOUNT, audited, grant, killed, prices, runtime, tokens, usd, used};
use super::types::{CallEnd, HoldRefusal, HoldRequest, Lease, LimitSet, UnusedLease};
use super::vault::{Vault, sqlite::SqliteVault};
use super::*;
use crate::auth::Grant;
use crate::canon::{Rates, Usage};
use crate::money::Amount;

/// Prices under which no money was set aside.
fn others() -> Prices {
    Prices::new(&[TierSettings { input: 1, output: 1, ..TierSettings::default() }]).unwrap()
}

fn request(grant: &Grant, prices: Vec<Arc<Prices>>) -> HoldRequest {
    let (grant, model, rates) = (Arc::clone(grant), "m".into(), Rates::default());
    let (wanted, least) = (usd("5"), usd("5"));
    HoldRequest { grant, model, prices, wanted, least, prompt: 1, rates, time: 0, needs_wallet: true }
}

/// Asks the store itself for a lease.
fn lease(folder: &Path, request: &HoldRequest) -> Result<Lease, HoldRefusal> {
    let mut batch = Batch::new(1, 1, true);
    batch.want(request, false);
    let posting = batch.finish();
    let mut vault = SqliteVault::new(crate::store::open(folder).unwrap());
    let lease = vault.post(&posting).unwrap().wants.remove(0);
    lease.map_err(|denial| posting.wants[0].refusal(&denial).unwrap())
}

/// The store, in which things are put that its checks forbid.
fn unchecked(folder: &Path) -> Connection {
    let store = crate::store::open(folder).unwrap();
    store.execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF").unwrap();
    store
}

#[test]
fn a_call_without_prices_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path(), Some("10"), None);
    let ledger = Ledger::open(folder.path()).unwrap();
    let open = || runtime().block_on(Bill::open(&ledger, &grant, "m", Vec::new(), tokens(4, 4)));
    let (bill, seen) = violations(open);
    assert_eq!((bill.unwrap_err(), seen), (HoldRefusal::Store, vec![Invariant::NoPrices]));
    ledger.close();
    let (lease, seen) = violations(|| lease(folder.path(), &request(&grant, Vec::new())));
    assert_eq!((lease.unwrap_err(), seen), (HoldRefusal::Store, vec![Invariant::NoPrices]));
    assert_eq!(audited(folder.path()).0, Wallet { balance: usd("10"), held: Amount::ZERO });
}

#[test]
fn a_target_whose_prices_are_not_held_costs_the_hold() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path(), Some("100"), None);
    let ledger = Ledger::open(folder.path()).unwrap();
    let cost = |end: fn(&mut Bill)| {
        let open = Bill::open(&ledger, &grant, "m", vec![prices()], tokens(9, 9));
        let mut bill = runtime().block_on(open).unwrap();
        let ((), seen) = violations(|| bill.charge_by(&Arc::new(others())));
        assert_eq!((seen, bill.output_cap()), (vec![Invariant::UnknownPrice], 9));
        bill.forward();
        end(&mut bill);
        bill.charge().unwrap().amount
    };
    assert_eq!(cost(|bill| bill.settle(used(1, 1))), usd("10"));
    assert_eq!(cost(|bill| bill.settle(used(500, 500))), usd("10"), "no more is known either");
    assert_eq!(cost(|bill| bill.break_off(None)), usd("10"));
    assert_eq!(cost(Bill::release), Amount::ZERO, "it has failed");
    assert_eq!(
        cost(|bill| (bill.charge_by(&prices()), bill.forward(), bill.settle(used(1, 1))).2),
        usd("2"),
        "the next target is known again"
    );
    ledger.close();
    let books = Books::open(folder.path()).unwrap();
    assert_eq!(books.wallet(ACCOUNT).unwrap().unwrap(), Wallet { balance: usd("68"), held: Amount::ZERO });
}

#[test]
fn an_unfinished_call_whose_prices_are_lost_costs_the_hold() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path(), Some("100"), None);
    let ledger = Ledger::open(folder.path()).unwrap();
    let _bill = runtime().block_on(Bill::open(&ledger, &grant, "m", vec![prices()], tokens(9, 9))).unwrap();
    runtime().block_on(ledger.wallet(ACCOUNT)).unwrap();
    for loss in ["DELETE FROM prices", "UPDATE prices SET tiers = '[]'", "UPDATE prices SET tiers = ''"] {
        let copy = killed(folder.path());
        unchecked(copy.path()).execute_batch(loss).unwrap();
        let mut vault = SqliteVault::new(unchecked(copy.path()));
        let (done, seen) = violations(|| recover::all(&mut vault, &copy.path().join(JOURNALS)));
        done.unwrap();
        assert_eq!(seen, [Invariant::UnknownPrice], "{loss}");
        let wallet = Books::open(copy.path()).unwrap().wallet(ACCOUNT).unwrap().unwrap();
        assert_eq!(wallet, Wallet { balance: usd("90"), held: Amount::ZERO }, "{loss}");
    }
}

#[test]
fn an_account_that_has_lent_more_than_it_has_lends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path(), Some("10"), None);
    unchecked(folder.path()).execute("UPDATE wallets SET leased = balance + 1", []).unwrap();
    let (lease, seen) = violations(|| lease(folder.path(), &request(&grant, vec![prices()])));
    assert_eq!(lease.unwrap_err(), HoldRefusal::Store);
    assert!(!seen.is_empty() && seen.iter().all(|which| *which == Invariant::Overleased), "{seen:?}");
}

#[test]
fn money_that_moves_nowhere_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    grant(folder.path(), Some("10"), None);
    let (account, key) = ("nobody".into(), "k".into());
    let limits = LimitSet { number: 1, account, key, has_wallet: true, windows: Vec::new() };
    let returns = vec![UnusedLease { limits: Arc::new(limits), amount: Amount::ZERO }];
    let posting = Posting { epoch: 1, number: 1, returns, ..Posting::default() };
    let mut vault = SqliteVault::new(crate::store::open(folder.path()).unwrap());
    let (done, seen) = violations(|| vault.post(&posting));
    done.unwrap();
    assert_eq!(seen, [Invariant::MissingRow]);
}

#[test]
fn a_call_that_cannot_be_written_down_gets_no_money() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path(), Some("10"), None);
    let request = request(&grant, vec![prices()]);
    let lease = lease(folder.path(), &request).unwrap();
    // The numbers of the last epoch that has any are used up.
    let journal = Journal::create(&folder.path().join(JOURNALS), i64::MAX).unwrap();
    let state = LedgerState::new(journal, i64::MAX);
    let (set, seen) =
        violations(|| state.lease(&request, &lease).is_some() || state.hold(&request).is_some());
    assert_eq!((set, seen), (false, vec![Invariant::CallNumbers; 2]));
    assert_eq!(state.open(), 0);
    let spare = state.take().unused.len() + state.empty_sharing(ACCOUNT, &grant.id).len();
    assert_eq!(spare, 1, "the money is back in the balance");
}

#[test]
fn an_end_that_does_not_fit_is_not_spent_again() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path(), Some("10"), None);
    let request = request(&grant, vec![prices()]);
    let lease = lease(folder.path(), &request).unwrap();
    let state = LedgerState::new(Journal::create(&folder.path().join(JOURNALS), 1).unwrap(), 1);
    let set = state.lease(&request, &lease).unwrap();
    let usage = Usage { output: u64::MAX, ..Usage::default() };
    let ends = [CallEnd { usage, ..CallEnd::released() }, CallEnd::released()];
    let ((), seen) = violations(|| ends.into_iter().for_each(|end| state.end(&set.held, end)));
    assert_eq!(seen, [Invariant::Record, Invariant::OpenHolds]);
    let ((), seen) = violations(|| state.done(99));
    assert_eq!(seen, [Invariant::Journal]);
    let spare = state.empty_sharing(ACCOUNT, &grant.id);
    assert_eq!(spare.len(), 1, "only the end that stands in the journal gives something back");
    assert_eq!(spare[0].amount, usd("5"));
}
