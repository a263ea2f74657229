//! Audits of books in which something is wrong: each rule finds what it is there for, and in one pass.

use std::path::Path;

use rusqlite::StatementStatus;

use super::super::tests::{ACCOUNT, grant, prices, runtime, tokens, used};
use super::super::{Bill, Ledger};
use super::*;

/// The books of an account with a call that cost more than its hold, a failed one, and one in flight.
fn books(folder: &Path) -> (Ledger, Bill) {
    let grant = grant(folder, Some("100"), Some("90"));
    let ledger = Ledger::open(folder).unwrap();
    let open = || runtime().block_on(Bill::open(&ledger, &grant, "m", vec![prices()], tokens(9, 9))).unwrap();
    open().settle(used(9, 9));
    open().release();
    let waiting = open();
    runtime().block_on(ledger.wallet(ACCOUNT)).unwrap();
    (ledger, waiting)
}

/// The rules that do not hold any more after a change of the books.
fn broken_by(change: &str, books: &Connection) -> Vec<&'static str> {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    books.execute("VACUUM INTO ?1", [copy.to_str()]).unwrap();
    let mut copy = Connection::open(copy).unwrap();
    copy.execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF").unwrap();
    copy.execute_batch(change).unwrap();
    let mut rules: Vec<_> =
        run(&mut copy, &mut |_| ()).unwrap().findings.into_iter().map(|finding| finding.rule).collect();
    rules.dedup();
    rules
}

#[test]
fn each_rule_finds_what_it_is_there_for() {
    let folder = tempfile::tempdir().unwrap();
    let _running = books(folder.path());
    let store = crate::store::open(folder.path()).unwrap();
    assert!(broken_by("", &store).is_empty());
    let [balance, lent, never, holds, wallet, over, most, excess, spent, leased, hard, usage] =
        std::array::from_fn(|n| RULES[n].0);
    let (cost, list) = ("a charge is what its tokens cost", "a price list can be read");
    let last = "call = (SELECT MAX(call) FROM charges)";
    let first = "call = (SELECT MIN(call) FROM charges)";
    let cases = [
        ("UPDATE wallets SET balance = balance - 1".to_owned(), vec![balance]),
        ("UPDATE transactions SET amount = amount + 1".to_owned(), vec![balance]),
        ("DELETE FROM transactions".to_owned(), vec![balance]),
        ("UPDATE wallets SET leased = leased - 1".to_owned(), vec![lent]),
        ("UPDATE wallets SET leased = balance + 1".to_owned(), vec![lent, never]),
        ("UPDATE holds SET amount = 90000000000".to_owned(), vec![holds]),
        ("UPDATE holds SET account = 'nobody'".to_owned(), vec![wallet]),
        ("DELETE FROM balances".to_owned(), vec![lent]),
        ("DELETE FROM wallets".to_owned(), vec![balance, lent, wallet]),
        (format!("UPDATE charges SET call = (SELECT call FROM holds) WHERE {last}"), vec![over]),
        (format!("UPDATE charges SET held = amount - 1, excess = 0 WHERE {first}"), vec![most, cost]),
        (format!("UPDATE charges SET held = amount + 1 WHERE {first}"), vec![excess]),
        (format!("UPDATE charges SET excess = held + 1 WHERE {first}"), vec![excess]),
        (format!("UPDATE charges SET excess = 1, held = 0 WHERE {last}"), vec![excess]),
        ("UPDATE budget_windows SET spent = spent + 1".to_owned(), vec![spent]),
        ("UPDATE budget_windows SET leased = leased + 1".to_owned(), vec![leased]),
        ("DELETE FROM budget_windows".to_owned(), vec![spent, leased]),
        ("UPDATE budget_windows SET allowed = 0; DROP TRIGGER budget_changed; UPDATE budgets SET amount = 1".to_owned(), vec![hard]),
        ("UPDATE usage SET cost = cost - 1".to_owned(), vec![usage]),
        ("UPDATE usage SET requests = 1".to_owned(), vec![usage]),
        (
            format!("UPDATE charges SET input = input + 1, excess = 0, held = held + 1 WHERE {first}"),
            vec![cost],
        ),
        (format!("UPDATE charges SET others = 1, excess = 0, held = held + 1 WHERE {first}"), vec![cost]),
        (format!("UPDATE charges SET elsewhere = 1 WHERE {first}"), vec![cost]),
        ("UPDATE prices SET tiers = '[]'".to_owned(), vec![list]),
    ];
    for (change, expected) in cases {
        assert_eq!(broken_by(&change, &store), expected, "{change}");
    }
}

#[test]
fn an_audit_goes_through_the_calls_once_however_many_accounts_there_are() {
    let folder = tempfile::tempdir().unwrap();
    drop(books(folder.path()));
    let store = crate::store::open(folder.path()).unwrap();
    store.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    let many = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 200)";
    for insert in [
        "INSERT INTO wallets SELECT 'a' || n, 0, 0 FROM n",
        "INSERT INTO budget_windows (budget, start_day) SELECT n, n FROM n",
        "INSERT INTO balances SELECT n + 9, 'a' || n, 'k' || n, 1, '' FROM n",
        "INSERT INTO balance_windows SELECT n + 9, n, n FROM n",
        "INSERT INTO usage SELECT 'a' || n, 1, 'k' || n, 0, 0, 0, 1, 1, 0 FROM n",
        "INSERT INTO charges (call, account, key, model, price, held, amount, outcome, capped, input, cache_read,
            cache_write, output, time, balance)
            SELECT n, 'a' || n, 'k' || n, 'm', 1, 0, 0, 'released', 0, 0, 0, 0, 0, 0, n + 9 FROM n",
    ] {
        store.execute_batch(&format!("{many} {insert}")).unwrap();
    }
    for (rule, sql) in RULES {
        let mut query = store.prepare(sql).unwrap();
        let mut subjects = query.raw_query();
        assert!(subjects.next().unwrap().is_none(), "{rule}");
        drop(subjects);
        let steps = query.get_status(StatementStatus::FullscanStep);
        assert!(steps < 2000, "{rule}: {steps} rows");
    }
}
