//! Old rows that nothing needs any more: charges of calls that no wallet has paid for, and what they were leased from.
//!
//! The sums of what goes are carried in columns that the audit knows, so that the books still add up. What a wallet has
//! paid for stays for ever. So do the calls of a process that still has a journal: whoever takes over from it must not
//! find its calls unknown.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use crate::store::{JOURNALS, StoreError};

use super::journal;
use super::report;
use super::types::COUNT_BITS;
use super::usage::{self, UsageRetention};

/// The place that a walk through the charges has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrunePlace(i64);

/// Removes what is too old, in one short transaction. Returns the place at which to go on, or `None` at the end.
///
/// # Errors
/// Fails if the store or the folder of journals cannot be read, or the store cannot be written.
pub fn prune(
    connection: &mut Connection,
    folder: &Path,
    keep: UsageRetention,
    PrunePlace(after): PrunePlace,
    now: i64,
) -> Result<Option<PrunePlace>, StoreError> {
    let sql = "SELECT MAX(call) FROM (SELECT call FROM charges WHERE call > ?1 ORDER BY call LIMIT ?2)";
    let until: Option<i64> =
        connection.prepare_cached(sql)?.query_row([after, MAX_CHARGES_AT_ONCE], |row| row.get(0))?;
    let Some(until) = until else {
        age(connection, keep, now)?;
        return Ok(None);
    };
    let journals = folder.join(JOURNALS);
    let living = if journals.is_dir() { journal::epochs(&journals)? } else { Vec::new() };
    let living = serde_json::to_string(&living).unwrap_or_default();
    let old = OldCharges { after, until, before: now - keep.charges * SECONDS_PER_DAY, living };
    if old.exist(connection)? {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        old.remove(&transaction)?;
        transaction.commit()?;
    }
    Ok(Some(PrunePlace(until)))
}

/// Removes the balances of which no charge is left, adds old hours up to days, and removes old days.
fn age(connection: &mut Connection, keep: UsageRetention, now: i64) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    usage::age(&transaction, keep, now)?;
    let first = report::day(now) - keep.charges - LONGEST_WINDOW_DAYS;
    // A window without an end begins on day 0.
    transaction.execute(
        "DELETE FROM balances WHERE NOT wallet
            AND balance IN (SELECT balance FROM balance_windows WHERE start_day BETWEEN 1 AND ?1)
            AND balance NOT IN (SELECT balance FROM charges)
            AND balance NOT IN (SELECT balance FROM holds)
            AND balance NOT IN (SELECT balance FROM leases)",
        [first],
    )?;
    let sql = "DELETE FROM balance_windows WHERE balance NOT IN (SELECT balance FROM balances)";
    transaction.execute(sql, [])?;
    transaction.commit()?;
    Ok(())
}

/// Charges in a range of calls that may be removed.
struct OldCharges {
    after: i64,
    until: i64,
    /// The time before which they were charged.
    before: i64,
    /// The epochs that have a journal, as a JSON list.
    living: String,
}

impl OldCharges {
    fn exist(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let sql = format!("SELECT 1 FROM charges c WHERE {WHICH} LIMIT 1");
        let mut query = connection.prepare_cached(&sql)?;
        Ok(query.query_row(self.params().as_slice(), |_| Ok(())).optional()?.is_some())
    }

    fn remove(&self, connection: &Connection) -> rusqlite::Result<()> {
        let carry_windows = format!(
            "UPDATE budget_windows SET tracked = tracked + old.cost FROM
                (SELECT w.budget, w.start_day, SUM(c.amount) AS cost FROM charges c
                    JOIN balance_windows w ON w.balance = c.balance WHERE {WHICH} GROUP BY 1, 2) AS old
             WHERE budget_windows.budget = old.budget AND budget_windows.start_day = old.start_day"
        );
        let carry_usage = format!(
            "UPDATE usage SET tracked = tracked + old.cost FROM
                (SELECT c.account, c.time / 86400 AS day, c.key, SUM(c.amount) AS cost FROM charges c
                    WHERE {WHICH} GROUP BY 1, 2, 3) AS old
             WHERE usage.account = old.account AND usage.day = old.day AND usage.key = old.key"
        );
        let delete = format!("DELETE FROM charges AS c WHERE {WHICH}");
        for sql in [carry_windows, carry_usage, delete] {
            connection.prepare_cached(&sql)?.execute(self.params().as_slice())?;
        }
        Ok(())
    }

    fn params(&self) -> [(&'static str, &dyn rusqlite::ToSql); 5] {
        let Self { after, until, before, living } = self;
        [
            (":after", after),
            (":until", until),
            (":before", before),
            (":living", living),
            (":bits", &COUNT_BITS),
        ]
    }
}

/// The condition for the charges of [`OldCharges`].
const WHICH: &str = "c.call > :after AND c.call <= :until AND c.time < :before
    AND c.call >> :bits NOT IN (SELECT value FROM json_each(:living))
    AND c.balance IN (SELECT balance FROM balances WHERE NOT wallet)";

/// The charges that are looked at in one transaction. A chosen value: nobody waits for it.
const MAX_CHARGES_AT_ONCE: i64 = 2_000;

/// The longest window of a budget that has an end.
const LONGEST_WINDOW_DAYS: i64 = 31;

const SECONDS_PER_DAY: i64 = 86_400;

#[cfg(test)]
mod tests {
    use rusqlite::params;

    use super::*;
    use crate::auth::{BudgetOwner, Store};
    use crate::meter::Books;

    const EPOCH: i64 = 5;

    /// Books with a budget of the key `k`, and one old call of each kind.
    fn books(folder: &Path, now: i64) -> (Books, Connection) {
        let mut books = Books::open(folder).unwrap();
        let store = Store::open(folder).unwrap();
        store.create_account("a").unwrap();
        store.create_account("w").unwrap();
        books
            .set_budgets(
                (BudgetOwner::Account, "a"),
                &["total=10".parse().unwrap(), "day=5".parse().unwrap()],
            )
            .unwrap();
        books.top_up("w", "1".parse().unwrap(), "one").unwrap();
        let connection = crate::store::open(folder).unwrap();
        let day = report::day(now) - 100;
        connection
            .execute_batch(&format!(
                "INSERT INTO prices VALUES (1, '[]', 0);
                 UPDATE budget_windows SET spent = 3000 WHERE start_day = 0;
                 INSERT INTO budget_windows (budget, start_day, spent) SELECT id, {day}, 3000 FROM budgets WHERE period = 'day';
                 INSERT INTO balances VALUES (1, 'a', 'k', 0, 'x'), (2, 'w', 'v', 1, ''), (3, 'a', 'k', 0, 'y');
                 INSERT INTO balance_windows SELECT 1, id, CASE period WHEN 'day' THEN {day} ELSE 0 END FROM budgets;
                 INSERT INTO balance_windows SELECT 3, id, {day} FROM budgets WHERE period = 'day';
                 INSERT INTO usage VALUES ('a', {day}, 'k', 3000, 0, 0, 3, 3, 0), ('w', {day}, 'v', 1000, 0, 0, 1, 1, 0);
                 UPDATE wallets SET balance = balance - 1000;"
            ))
            .unwrap();
        let charge = |call: i64, account: &str, key: &str, balance: i64| {
            let sql = "INSERT INTO charges (call, account, key, model, price, held, amount, outcome, capped, input, cache_read,
                cache_write, output, time, others, elsewhere, balance)
                VALUES (?1, ?2, ?3, 'm', 1, 1000, 1000, 'exact', 0, 0, 0, 0, 0, ?4, 1000, 1, ?5)";
            let call = (EPOCH << COUNT_BITS) + call;
            connection.execute(sql, params![call, account, key, day * SECONDS_PER_DAY + 9, balance]).unwrap();
        };
        (0..3).for_each(|n| charge(n, "a", "k", 1));
        charge(3, "w", "v", 2);
        (books, connection)
    }

    fn prune_all(connection: &mut Connection, folder: &Path, now: i64) {
        let mut place = Some(PrunePlace::default());
        while let Some(at) = place {
            place = prune(connection, folder, UsageRetention::default(), at, now).unwrap();
        }
    }

    fn count(connection: &Connection, table: &str) -> i64 {
        connection.query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn what_no_wallet_has_paid_for_goes_and_the_books_add_up() {
        let (folder, now) = (tempfile::tempdir().unwrap(), crate::store::now());
        let (mut books, mut connection) = books(folder.path(), now);
        let findings = |books: &mut Books| {
            books.audit().unwrap().findings.iter().map(|finding| finding.rule).collect::<Vec<_>>()
        };
        let before = findings(&mut books);
        let journals = folder.path().join(JOURNALS);
        std::fs::create_dir_all(&journals).unwrap();
        let journal = journals.join(EPOCH.to_string());
        std::fs::write(&journal, "").unwrap();
        prune_all(&mut connection, folder.path(), now);
        assert_eq!(count(&connection, "charges"), 4, "the calls of a journal stay");
        std::fs::remove_file(&journal).unwrap();
        prune_all(&mut connection, folder.path(), now - 90 * SECONDS_PER_DAY);
        assert_eq!(count(&connection, "charges"), 4, "they are not old enough");
        prune_all(&mut connection, folder.path(), now);
        assert_eq!(count(&connection, "charges"), 1, "the wallet's stay");
        assert_eq!(findings(&mut books), before);
        let carried: i64 =
            connection.query_row("SELECT SUM(tracked) FROM budget_windows", [], |row| row.get(0)).unwrap();
        assert_eq!(carried, 6000, "in both windows");
        assert_eq!(
            (count(&connection, "balances"), count(&connection, "balance_windows")),
            (1, 0),
            "only the wallet's"
        );
        prune_all(&mut connection, folder.path(), now);
        assert_eq!(findings(&mut books), before);
    }
}
