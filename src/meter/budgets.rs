//! Operations on budgets in the store.

use std::collections::HashSet;
use std::str::FromStr;

use rusqlite::{Connection, Row, params};
use serde::{Serialize, Serializer};

use crate::auth::{BudgetOwner, Period};
use crate::money::Amount;
use crate::store::{self, StoreError};

/// A budget as an operator sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBudget {
    /// The length of its windows.
    pub period: Period,
    /// The limit of each window.
    pub limit: Amount,
    /// Whether it refuses calls; otherwise it only gives alerts.
    pub is_hard: bool,
    /// The percentages of the limit at which it gives an alert.
    pub alert_at: Vec<u32>,
}

/// A budget and the state of its current window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BudgetState {
    /// The id, `bud_…`.
    pub id: String,
    /// The length of its windows.
    #[serde(serialize_with = "text")]
    pub period: Period,
    /// The limit of each window.
    #[serde(rename = "limit_usd", serialize_with = "text")]
    pub limit: Amount,
    /// Whether it refuses calls; otherwise it only gives alerts.
    #[serde(rename = "hard")]
    pub is_hard: bool,
    /// The percentages of the limit at which it gives an alert.
    pub alert_at: Vec<u32>,
    /// The part of the limit that is spent.
    #[serde(rename = "spent_usd", serialize_with = "text")]
    pub spent: Amount,
    /// The part of the limit that calls in flight hold.
    #[serde(rename = "held_usd", serialize_with = "text")]
    pub held: Amount,
    /// The time at which the next window begins; absent for a budget for all time.
    pub resets_at: Option<jiff::Timestamp>,
}

/// Parses budgets as people write them: `month=200`, `day=20,soft`, `total=5,alert=50/80/100`.
impl FromStr for NewBudget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let (period, limit) = parts
            .next()
            .and_then(|first| first.split_once('='))
            .ok_or("write PERIOD=USD, for example month=200")?;
        let (period, limit) = (period.parse()?, limit.parse()?);
        let mut budget = Self { period, limit, is_hard: true, alert_at: vec![DEFAULT_ALERT] };
        for part in parts {
            match part.split_once('=') {
                None if part == "soft" => budget.is_hard = false,
                None if part == "hard" => budget.is_hard = true,
                Some(("alert", list)) => {
                    let percentages = list.split('/').map(str::parse).collect::<Result<_, _>>();
                    budget.alert_at =
                        percentages.map_err(|_| format!("'{list}' is no list such as 50/80"))?;
                }
                _ => return Err(format!("'{part}' is unknown: write soft, hard or alert=50/80")),
            }
        }
        Ok(budget)
    }
}

/// Replaces the budgets of a key or an account. A budget whose period and kind stay keeps what was spent. A new one
/// begins with what its owner has spent in the current window.
///
/// # Errors
/// Fails with [`StoreError::NotFound`] for an unknown owner, with [`StoreError::Invalid`] for budgets that cannot be,
/// and if the store cannot be written.
pub fn set_budgets(
    connection: &Connection,
    (owner, id): (BudgetOwner, &str),
    budgets: &[NewBudget],
) -> Result<(), StoreError> {
    check_budgets(budgets)?;
    check_owner(connection, owner, id)?;
    for budget in list(connection, (owner, id), store::now())? {
        let stays = |new: &NewBudget| (new.period, new.is_hard) == (budget.period, budget.is_hard);
        if !budgets.iter().any(stays) {
            remove(connection, (owner, id), &budget)?;
        }
    }
    Ok(budgets.iter().try_for_each(|budget| set(connection, (owner, id), budget))?)
}

/// Sets the spending limit of a key, which is its hard budget for all time. One that stays keeps its alerts.
///
/// # Errors
/// Fails if the store cannot be written.
pub fn set_spending_limit(
    connection: &Connection,
    key: &str,
    limit: Option<Amount>,
) -> Result<(), StoreError> {
    match limit {
        Some(limit) => {
            let sql =
                "INSERT INTO budgets (kind, owner, period, amount, hard) VALUES ('key', ?1, 'total', ?2, 1)
                ON CONFLICT (kind, owner, period, hard) DO UPDATE SET amount = excluded.amount";
            connection.execute(sql, params![key, limit])?;
        }
        None => {
            let sql = "DELETE FROM budgets WHERE kind = 'key' AND owner = ?1 AND period = 'total' AND hard";
            connection.execute(sql, [key])?;
        }
    }
    Ok(())
}

/// Returns the budgets of a key or an account, with their states.
///
/// # Errors
/// Fails with [`StoreError::NotFound`] for an unknown owner, and if the store cannot be read.
pub fn budgets(
    connection: &Connection,
    (owner, id): (BudgetOwner, &str),
) -> Result<Vec<BudgetState>, StoreError> {
    check_owner(connection, owner, id)?;
    Ok(list(connection, (owner, id), store::now())?)
}

/// Checks budgets that one key or account is to have.
///
/// # Errors
/// Fails with [`StoreError::Invalid`] for budgets that cannot be.
pub fn check_budgets(budgets: &[NewBudget]) -> Result<(), StoreError> {
    let invalid = |why: String| Err(StoreError::Invalid(why));
    if budgets.len() > MAX_BUDGETS {
        return invalid(format!(
            "there are {} budgets, and at most {MAX_BUDGETS} are possible",
            budgets.len()
        ));
    }
    let mut seen = HashSet::new();
    for NewBudget { period, limit, is_hard, alert_at } in budgets {
        if *limit == Amount::ZERO {
            return invalid(format!("the {} budget needs a limit of more than nothing", period.adjective()));
        }
        if !seen.insert((*period, *is_hard)) {
            return invalid(format!("there is more than one {} budget of the same kind", period.adjective()));
        }
        if alert_at.len() > MAX_ALERTS || alert_at.iter().any(|percent| !(1..=100).contains(percent)) {
            return invalid(format!("alerts are at most {MAX_ALERTS} percentages from 1 to 100"));
        }
    }
    Ok(())
}

fn check_owner(connection: &Connection, owner: BudgetOwner, id: &str) -> Result<(), StoreError> {
    let sql = match owner {
        BudgetOwner::Key => "SELECT 1 FROM keys WHERE id = ?1 AND deleted IS NULL",
        BudgetOwner::Account => "SELECT 1 FROM accounts WHERE id = ?1 AND deleted IS NULL",
    };
    match connection.prepare_cached(sql)?.exists([id])? {
        true => Ok(()),
        false => Err(StoreError::NotFound(format!("{} '{id}'", owner.name()))),
    }
}

fn set(
    connection: &Connection,
    (owner, id): (BudgetOwner, &str),
    budget: &NewBudget,
) -> rusqlite::Result<()> {
    let NewBudget { period, limit, is_hard, alert_at } = budget;
    let alert_at = serde_json::to_string(alert_at).unwrap_or_default();
    let sql =
        "INSERT INTO budgets (kind, owner, period, amount, hard, alert_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT (kind, owner, period, hard)
        DO UPDATE SET amount = excluded.amount, alert_at = excluded.alert_at";
    connection.execute(sql, params![owner.name(), id, period.name(), limit, is_hard, alert_at])?;
    Ok(())
}

fn remove(
    connection: &Connection,
    (owner, id): (BudgetOwner, &str),
    budget: &BudgetState,
) -> rusqlite::Result<()> {
    let BudgetState { period, is_hard, .. } = budget;
    let sql = "DELETE FROM budgets WHERE kind = ?1 AND owner = ?2 AND period = ?3 AND hard = ?4";
    connection.execute(sql, params![owner.name(), id, period.name(), is_hard])?;
    Ok(())
}

/// Reads the budgets of an owner, in the windows of a time.
fn list(
    connection: &Connection,
    (owner, id): (BudgetOwner, &str),
    now: i64,
) -> rusqlite::Result<Vec<BudgetState>> {
    let sql =
        "SELECT id, period, amount, hard, alert_at FROM budgets WHERE kind = ?1 AND owner = ?2 ORDER BY id";
    let mut query = connection.prepare_cached(sql)?;
    let states = query.query_map([owner.name(), id], |row| state(connection, row, now))?;
    states.collect()
}

fn state(connection: &Connection, row: &Row<'_>, now: i64) -> rusqlite::Result<BudgetState> {
    let (id, period, alert_at): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(4)?);
    let period = period.parse().unwrap_or(Period::Total);
    let start = period.start(now);
    let sql = "SELECT COALESCE((SELECT spent FROM budget_windows WHERE budget = ?1 AND start_day = ?2), 0),
        (SELECT COALESCE(SUM(h.amount), 0) FROM balance_windows w JOIN holds h ON h.balance = w.balance
            WHERE w.budget = ?1 AND w.start_day = ?2)";
    let window = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let (spent, held) = connection.prepare_cached(sql)?.query_row([id, start], window)?;
    Ok(BudgetState {
        id: format!("bud_{id}"),
        period,
        limit: row.get(2)?,
        is_hard: row.get(3)?,
        alert_at: serde_json::from_str(&alert_at).unwrap_or_default(),
        spent,
        held,
        resets_at: period.end(start).and_then(|time| jiff::Timestamp::from_second(time).ok()),
    })
}

fn text<S: Serializer>(value: &impl ToString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}

/// The most budgets of a key or an account.
const MAX_BUDGETS: usize = 8;

/// The most percentages at which a budget gives an alert.
const MAX_ALERTS: usize = 8;

/// The percentage at which a budget gives an alert unless others are set.
pub const DEFAULT_ALERT: u32 = 80;
