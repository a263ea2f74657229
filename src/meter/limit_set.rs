//! The sets of limits in the store, each with a number.

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::types::{BudgetWindow, LimitSet};

/// Returns the number of a set of limits of an account and a key; the first time this makes it.
pub(super) fn number(
    transaction: &Transaction<'_>,
    (account, key): (&str, &str),
    has_wallet: bool,
    windows: &[BudgetWindow],
) -> rusqlite::Result<i64> {
    let name: Vec<_> = windows.iter().map(|window| format!("{}@{}", window.budget, window.start)).collect();
    let name = name.join(" ");
    let sql = "SELECT balance FROM balances WHERE key = ?1 AND account = ?2 AND wallet = ?3 AND windows = ?4";
    let known = params![key, account, has_wallet, name];
    let known = transaction.prepare_cached(sql)?.query_row(known, |row| row.get(0)).optional()?;
    if let Some(known) = known {
        return Ok(known);
    }
    let sql = "INSERT INTO balances (key, account, wallet, windows) VALUES (?1, ?2, ?3, ?4)";
    transaction.prepare_cached(sql)?.execute(params![key, account, has_wallet, name])?;
    let number = transaction.last_insert_rowid();
    for BudgetWindow { budget, start } in windows {
        let sql = "INSERT INTO balance_windows VALUES (?1, ?2, ?3)";
        transaction.prepare_cached(sql)?.execute([number, *budget, *start])?;
    }
    Ok(number)
}

/// Reads the set of limits that has this number; `None` if there is none.
pub(super) fn read(transaction: &Transaction<'_>, number: i64) -> rusqlite::Result<Option<LimitSet>> {
    let sql = "SELECT account, key, wallet FROM balances WHERE balance = ?1";
    let set = |row: &Row<'_>| {
        let (account, key, has_wallet) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(LimitSet { number, account, key, has_wallet, windows: Vec::new() })
    };
    let Some(mut set) = transaction.prepare_cached(sql)?.query_row([number], set).optional()? else {
        return Ok(None);
    };
    let sql = "SELECT budget, start_day FROM balance_windows WHERE balance = ?1";
    let window = |row: &Row<'_>| Ok(BudgetWindow { budget: row.get(0)?, start: row.get(1)? });
    set.windows = transaction.prepare_cached(sql)?.query_map([number], window)?.collect::<Result<_, _>>()?;
    Ok(Some(set))
}
