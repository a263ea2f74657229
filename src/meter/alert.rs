//! Alerts: budgets and balances that have come close to their end.
//!
//! The transaction that posts a cost finds the alerts that are due and notes them, so that each is given once, however
//! many processes and restarts there are.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::auth::Period;
use crate::money::Amount;
use crate::notify::{Event, EventKind};

use super::types::{BudgetWindow, HoldRefusal, LimitSet};

/// Something that the owner of a budget or a wallet wants to know.
#[derive(Clone, Debug)]
pub enum Alert {
    /// A percentage of a budget is spent.
    Threshold(BudgetAlert),
    /// A hard budget is used up.
    Exhausted(BudgetAlert),
    /// A balance is low.
    LowBalance(BalanceAlert),
    /// A balance is used up.
    EmptyBalance(BalanceAlert),
}

/// The state of a budget.
#[derive(Clone, Debug, Serialize)]
pub struct BudgetAlert {
    /// The kind of the owner, `key` or `account`.
    #[serde(skip)]
    pub kind: String,
    /// The id of the owner.
    pub owner: String,
    /// The account.
    pub account: String,
    /// The period of the budget.
    pub period: Period,
    /// The limit.
    #[serde(rename = "limit_usd", serialize_with = "text")]
    pub limit: Amount,
    /// The part that is spent.
    #[serde(rename = "spent_usd", serialize_with = "text")]
    pub spent: Amount,
    /// The highest percentage that was reached.
    pub percent: u32,
    /// The time at which the next window begins.
    pub resets_at: Option<jiff::Timestamp>,
    /// The tags of the owner.
    pub tags: Option<Box<RawValue>>,
}

/// The state of a wallet.
#[derive(Clone, Debug, Serialize)]
pub struct BalanceAlert {
    /// The account.
    pub account: String,
    /// The balance.
    #[serde(rename = "balance_usd", serialize_with = "text")]
    pub balance: Amount,
    /// The balance below which it is low.
    #[serde(rename = "low_balance_usd")]
    pub low: Option<UsdText>,
    /// The tags of the account.
    pub tags: Option<Box<RawValue>>,
}

/// An amount that is written as a text, in dollars.
#[derive(Clone, Copy, Debug)]
pub struct UsdText(pub Amount);

impl Serialize for UsdText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text(&self.0, serializer)
    }
}

/// The limits from which a transaction has taken money, or had none to take.
#[derive(Debug, Default)]
pub(super) struct TouchedLimits {
    windows: BTreeSet<BudgetWindow>,
    accounts: BTreeSet<Arc<str>>,
    /// Windows and accounts that have too little left for a call.
    short_windows: BTreeSet<BudgetWindow>,
    short_accounts: BTreeSet<Arc<str>>,
}

impl TouchedLimits {
    /// Notes the limits that have paid for something.
    pub(super) fn add(&mut self, limits: &LimitSet) {
        self.windows.extend(&limits.windows);
        if limits.has_wallet {
            self.accounts.insert(Arc::clone(&limits.account));
        }
    }

    /// Notes a window in which something was counted.
    pub(super) fn add_window(&mut self, window: BudgetWindow) {
        self.windows.insert(window);
    }

    /// Notes the limits that have refused a call.
    pub(super) fn refuse(&mut self, limits: &LimitSet, refusal: HoldRefusal) {
        if matches!(refusal, HoldRefusal::Exceeded(_)) {
            self.add(limits);
            self.short_windows.extend(&limits.windows);
            if limits.has_wallet {
                self.short_accounts.insert(Arc::clone(&limits.account));
            }
        }
    }

    /// Returns the alerts that are due, and notes them.
    pub(super) fn alerts(&self, transaction: &Transaction<'_>, now: i64) -> rusqlite::Result<Vec<Alert>> {
        let mut alerts = Vec::new();
        for window in &self.windows {
            budget_alerts(transaction, *window, self.short_windows.contains(window), now, &mut alerts)?;
        }
        for account in &self.accounts {
            let is_short = self.short_accounts.contains(account);
            alerts.extend(balance_alert(transaction, account, is_short)?);
        }
        Ok(alerts)
    }
}

impl Alert {
    /// Returns the event for webhooks.
    #[must_use]
    pub fn event(&self) -> Event {
        let text = self.to_string();
        match self {
            Self::Threshold(budget) => Event::new(EventKind::BudgetThreshold, budget, text),
            Self::Exhausted(budget) => Event::new(EventKind::BudgetExhausted, budget, text),
            Self::LowBalance(balance) => Event::new(EventKind::BalanceLow, balance, text),
            Self::EmptyBalance(balance) => Event::new(EventKind::BalanceEmpty, balance, text),
        }
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threshold(BudgetAlert { kind, owner, period, limit, spent, percent, .. }) => {
                let period = period.adjective();
                write!(
                    f,
                    "{kind} {owner}: {percent} % of its {period} budget is spent: {spent} of {limit} USD"
                )
            }
            Self::Exhausted(BudgetAlert { kind, owner, period, limit, spent, .. }) => {
                let period = period.adjective();
                write!(f, "{kind} {owner}: its {period} budget is used up: {spent} of {limit} USD are spent")
            }
            Self::LowBalance(BalanceAlert { account, balance, low, .. }) => {
                let low = low.map_or(Amount::ZERO, |UsdText(low)| low);
                write!(
                    f,
                    "account {account}: its balance is low: {balance} USD, which is less than {low} USD"
                )
            }
            Self::EmptyBalance(BalanceAlert { account, balance, .. }) => {
                write!(f, "account {account}: its balance is used up: {balance} USD are left")
            }
        }
    }
}

/// The state of a window, and what was told of it.
struct WindowState {
    alert: BudgetAlert,
    is_hard: bool,
    told: u32,
    alert_at: Vec<u32>,
}

/// Adds the alerts that are due for a window.
fn budget_alerts(
    transaction: &Transaction<'_>,
    window: BudgetWindow,
    is_short: bool,
    now: i64,
    alerts: &mut Vec<Alert>,
) -> rusqlite::Result<()> {
    let BudgetWindow { budget, start } = window;
    let sql = "SELECT b.kind, b.owner, b.period, b.amount, w.spent, w.alerted, b.alert_at, b.hard
        FROM budgets b JOIN budget_windows w ON w.budget = b.id WHERE b.id = ?1 AND w.start_day = ?2";
    let read = |row: &Row<'_>| window_state(row, start);
    let found = transaction.prepare_cached(sql)?.query_row([budget, start], read).optional()?;
    let Some(WindowState { mut alert, is_hard, told, alert_at }) = found else { return Ok(()) };
    let reached = |percent: u32| {
        u128::from(alert.spent.nano()) * 100 >= u128::from(alert.limit.nano()) * u128::from(percent)
    };
    let highest = alert_at.into_iter().filter(|percent| reached(*percent)).max().unwrap_or_default();
    // What is left of a budget may be too little for any call.
    let is_over = is_hard && (reached(100) || is_short && reached(NEARLY_ALL_PERCENT));
    if highest <= told && !is_over {
        return Ok(());
    }
    describe(transaction, &mut alert)?;
    if highest > told {
        let sql = "UPDATE budget_windows SET alerted = ?3 WHERE budget = ?1 AND start_day = ?2";
        transaction.prepare_cached(sql)?.execute([budget, start, highest.into()])?;
        alerts.push(Alert::Threshold(BudgetAlert { percent: highest, ..alert.clone() }));
    }
    let sql = "INSERT OR IGNORE INTO budget_ends VALUES (?1, ?2)";
    if is_over && transaction.prepare_cached(sql)?.execute([budget, start])? == 1 {
        alert.percent = 100;
        write_audit(transaction, &alert, now)?;
        alerts.push(Alert::Exhausted(alert));
    }
    Ok(())
}

fn window_state(row: &Row<'_>, start: i64) -> rusqlite::Result<WindowState> {
    let (period, alert_at): (String, String) = (row.get(2)?, row.get(6)?);
    let period = period.parse().unwrap_or(Period::Total);
    let alert = BudgetAlert {
        kind: row.get(0)?,
        owner: row.get(1)?,
        account: String::new(),
        period,
        limit: row.get(3)?,
        spent: row.get(4)?,
        percent: 0,
        resets_at: period.end(start).and_then(|time| jiff::Timestamp::from_second(time).ok()),
        tags: None,
    };
    let alert_at = serde_json::from_str(&alert_at).unwrap_or_default();
    Ok(WindowState { alert, is_hard: row.get(7)?, told: row.get(5)?, alert_at })
}

/// Adds the account and the tags of a budget's owner.
fn describe(connection: &Connection, alert: &mut BudgetAlert) -> rusqlite::Result<()> {
    let sql = match &*alert.kind {
        "key" => "SELECT account, tags FROM keys WHERE id = ?1",
        _ => "SELECT id, tags FROM accounts WHERE id = ?1",
    };
    let facts = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, String>(1)?));
    if let Some((account, tags)) =
        connection.prepare_cached(sql)?.query_row([&alert.owner], facts).optional()?
    {
        (alert.account, alert.tags) = (account, RawValue::from_string(tags).ok());
    }
    Ok(())
}

/// Notes for the audit log that a hard budget is used up.
fn write_audit(transaction: &Transaction<'_>, alert: &BudgetAlert, now: i64) -> rusqlite::Result<()> {
    let BudgetAlert { owner, account, .. } = alert;
    let after = serde_json::to_string(&BudgetAlert { tags: None, ..alert.clone() }).unwrap_or_default();
    let sql = "INSERT INTO audit (time, actor, via, action, subject, account, outcome, after)
        VALUES (?1, 'gateway', 'gateway', 'budget.exhausted', ?2, ?3, 'applied', ?4)";
    transaction.prepare_cached(sql)?.execute(params![now, owner, account, after])?;
    Ok(())
}

/// The state of a balance on the way to its end, in the order of the levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum BalanceLevel {
    Enough = 0,
    Low = 1,
    Empty = 2,
}

/// Returns the alert that is due for a wallet, and notes it.
fn balance_alert(connection: &Connection, account: &str, is_short: bool) -> rusqlite::Result<Option<Alert>> {
    let sql = "SELECT w.balance, a.low_balance, a.tags,
            (SELECT level FROM low_balances l WHERE l.account = w.account)
        FROM wallets w JOIN accounts a ON a.id = w.account WHERE w.account = ?1";
    let state = |row: &Row<'_>| {
        let low = row.get::<_, Option<Amount>>(1)?.map(UsdText);
        let tags = RawValue::from_string(row.get(2)?).ok();
        let alert = BalanceAlert { account: account.to_owned(), balance: row.get(0)?, low, tags };
        Ok((alert, row.get::<_, Option<i64>>(3)?.unwrap_or_default()))
    };
    let found = connection.prepare_cached(sql)?.query_row([account], state).optional()?;
    let Some((alert, told)) = found else { return Ok(None) };
    // A balance that was too little for a call stays used up until somebody pays.
    let is_short = is_short || told == BalanceLevel::Empty as i64;
    let is_empty = alert.balance == Amount::ZERO || is_short && alert.balance.nano() < NEARLY_NOTHING_NANO;
    let level = match alert.low {
        _ if is_empty => BalanceLevel::Empty,
        Some(UsdText(low)) if alert.balance < low => BalanceLevel::Low,
        _ => BalanceLevel::Enough,
    };
    if level as i64 <= told && (level != BalanceLevel::Enough || told == 0) {
        return Ok(None);
    }
    note_level(connection, account, level)?;
    Ok(match level {
        BalanceLevel::Enough => None,
        BalanceLevel::Low => Some(Alert::LowBalance(alert)),
        BalanceLevel::Empty => Some(Alert::EmptyBalance(alert)),
    })
}

fn note_level(connection: &Connection, account: &str, level: BalanceLevel) -> rusqlite::Result<()> {
    if level == BalanceLevel::Enough {
        let sql = "DELETE FROM low_balances WHERE account = ?1";
        connection.prepare_cached(sql)?.execute([account])?;
        return Ok(());
    }
    let sql =
        "INSERT INTO low_balances VALUES (?1, ?2) ON CONFLICT (account) DO UPDATE SET level = excluded.level";
    connection.prepare_cached(sql)?.execute(params![account, level as i64])?;
    Ok(())
}

/// Notes that money was paid into a wallet: once the balance is no longer low, it may become low again.
pub(super) fn note_payment(connection: &Connection, account: &str) -> rusqlite::Result<()> {
    let sql =
        "DELETE FROM low_balances WHERE account = ?1 AND (SELECT w.balance >= COALESCE(a.low_balance, 0)
        FROM wallets w JOIN accounts a ON a.id = w.account WHERE w.account = ?1)";
    connection.prepare_cached(sql)?.execute([account])?;
    let sql = "UPDATE low_balances SET level = ?2 WHERE account = ?1";
    connection.prepare_cached(sql)?.execute(params![account, BalanceLevel::Low as i64])?;
    Ok(())
}

fn text<S: Serializer>(value: &impl ToString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}

/// The percentage from which on a hard budget that refuses a call counts as used up. A chosen value.
const NEARLY_ALL_PERCENT: u32 = 99;

/// The balance below which a wallet that refuses a call counts as used up, in nano-USD: a cent. A chosen value.
const NEARLY_NOTHING_NANO: u64 = 10_000_000;

#[cfg(test)]
#[path = "alert_tests.rs"]
mod tests;
