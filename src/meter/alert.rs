//! Alerts: budgets that have come close to their end.

use std::collections::BTreeSet;
use std::fmt;

use rusqlite::{OptionalExtension, Row, Transaction};

use crate::auth::Period;
use crate::money::Amount;

use super::types::BudgetWindow;

/// A budget of which a percentage is spent at which its owner wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The kind of the owner, `key` or `account`.
    pub kind: String,
    /// The id of the owner.
    pub owner: String,
    /// The period of the budget.
    pub period: Period,
    /// The limit.
    pub limit: Amount,
    /// The part that is spent.
    pub spent: Amount,
    /// The highest percentage that was reached.
    pub percent: u32,
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, owner, period, limit, spent, percent } = self;
        let period = period.adjective();
        write!(f, "{kind} {owner}: {percent} % of its {period} budget is spent: {spent} of {limit} USD")
    }
}

/// Returns the alerts that are due for some windows, and notes them, so that each is given once.
pub(super) fn crossed(
    transaction: &Transaction<'_>,
    windows: &BTreeSet<BudgetWindow>,
) -> rusqlite::Result<Vec<Alert>> {
    let mut alerts = Vec::new();
    for BudgetWindow { budget, start } in windows {
        let sql = "SELECT b.kind, b.owner, b.period, b.amount, w.spent, w.alerted, b.alert_at
            FROM budgets b JOIN budget_windows w ON w.budget = b.id WHERE b.id = ?1 AND w.start_day = ?2";
        let due = transaction.prepare_cached(sql)?.query_row([budget, start], due).optional()?;
        let Some(alert) = due.flatten() else { continue };
        let sql = "UPDATE budget_windows SET alerted = ?3 WHERE budget = ?1 AND start_day = ?2";
        transaction.prepare_cached(sql)?.execute([*budget, *start, alert.percent.into()])?;
        alerts.push(alert);
    }
    Ok(alerts)
}

/// Returns the alert of a window, if one is due.
fn due(row: &Row<'_>) -> rusqlite::Result<Option<Alert>> {
    let (limit, spent, alerted): (Amount, Amount, u32) = (row.get(3)?, row.get(4)?, row.get(5)?);
    let percentages: String = row.get(6)?;
    let percentages: Vec<u32> = serde_json::from_str(&percentages).unwrap_or_default();
    let reached =
        |percent: &u32| u128::from(spent.nano()) * 100 >= u128::from(limit.nano()) * u128::from(*percent);
    let highest = percentages.into_iter().filter(reached).max().filter(|percent| *percent > alerted);
    let Some(percent) = highest else { return Ok(None) };
    let (kind, owner, period): (_, _, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let period = period.parse().unwrap_or(Period::Total);
    Ok(Some(Alert { kind, owner, period, limit, spent, percent }))
}
