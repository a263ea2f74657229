//! Budgets: limits of what keys and accounts may spend in a period.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::civil::{Date, Weekday};
use rusqlite::{Connection, Row};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::money::Amount;

/// The limit of what a key or an account may spend in each period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The number in the store.
    pub id: i64,
    /// The kind of its owner.
    pub owner: BudgetOwner,
    /// The length of its windows.
    pub period: Period,
    /// The limit of each window.
    pub limit: Amount,
    /// Whether it refuses calls; otherwise it only gives alerts.
    pub is_hard: bool,
    /// The percentages of the limit at which it gives an alert.
    pub alert_at: Arc<[u32]>,
}

/// The kind of a budget's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BudgetOwner {
    /// A key.
    Key,
    /// An account: the budget is for all its keys together.
    Account,
}

/// The length of the windows of a budget, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "BudgetPeriod")]
pub enum Period {
    /// A day.
    Day,
    /// A week, which begins on Monday.
    Week,
    /// A month.
    Month,
    /// All time.
    Total,
}

impl Budget {
    /// Whether it is the spending limit of its key: what all calls of the key together may cost.
    #[must_use]
    pub fn is_spending_limit(&self) -> bool {
        (self.owner, self.period, self.is_hard) == (BudgetOwner::Key, Period::Total, true)
    }
}

impl Period {
    /// Returns the first day of the window to which a time belongs. Times are in seconds, days in days since the epoch.
    #[must_use]
    pub fn start(self, seconds: i64) -> i64 {
        let day = seconds.div_euclid(SECONDS_PER_DAY);
        let date = date(day);
        match self {
            Self::Day => day,
            Self::Week => day - i64::from(date.weekday().since(Weekday::Monday)),
            Self::Month => day - i64::from(date.day()) + 1,
            Self::Total => 0,
        }
    }

    /// Returns the time at which the window ends that begins on this day, in seconds since the epoch; `None` if it never
    /// ends.
    #[must_use]
    pub fn end(self, start: i64) -> Option<i64> {
        let days = match self {
            Self::Day => 1,
            Self::Week => 7,
            Self::Month => i64::from(date(start).days_in_month()),
            Self::Total => return None,
        };
        Some((start + days) * SECONDS_PER_DAY)
    }

    /// Returns the name in settings and in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Total => "total",
        }
    }

    /// Returns the adjective for messages.
    #[must_use]
    pub fn adjective(self) -> &'static str {
        match self {
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Total => "total",
        }
    }
}

impl BudgetOwner {
    /// Returns the name in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Account => "account",
        }
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Day, Self::Week, Self::Month, Self::Total];
        let found = all.into_iter().find(|period| period.name() == text);
        found.ok_or_else(|| format!("'{text}' is no period: write day, week, month or total"))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads the budgets of the keys that have changed since a revision, and of their accounts, each with its owner.
pub(super) fn changed_since(
    connection: &Connection,
    revision: i64,
) -> rusqlite::Result<Vec<(String, Budget)>> {
    let mut query = connection.prepare_cached(
        "WITH changed AS (SELECT id, account FROM keys WHERE revision > ?1 UNION
            SELECT k.id, k.account FROM accounts a JOIN keys k ON k.account = a.id WHERE a.revision > ?1)
        SELECT owner, id, kind, period, amount, hard, alert_at FROM budgets
        WHERE kind = 'key' AND owner IN (SELECT id FROM changed)
            OR kind = 'account' AND owner IN (SELECT account FROM changed)
        ORDER BY kind DESC, id",
    )?;
    let all = query.query_map([revision], |row| Ok((row.get(0)?, budget(row)?)))?;
    all.collect()
}

fn budget(row: &Row<'_>) -> rusqlite::Result<Budget> {
    let (kind, period, alert_at): (String, String, String) = (row.get(2)?, row.get(3)?, row.get(6)?);
    Ok(Budget {
        id: row.get(1)?,
        owner: if kind == BudgetOwner::Key.name() { BudgetOwner::Key } else { BudgetOwner::Account },
        period: period.parse().unwrap_or(Period::Total),
        limit: row.get(4)?,
        is_hard: row.get(5)?,
        alert_at: serde_json::from_str::<Vec<u32>>(&alert_at).unwrap_or_default().into(),
    })
}

fn date(day: i64) -> Date {
    jiff::Timestamp::from_second(day.saturating_mul(SECONDS_PER_DAY))
        .map_or(Date::ZERO, |time| jiff::tz::TimeZone::UTC.to_datetime(time).date())
}

const SECONDS_PER_DAY: i64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_begin_and_end_where_utc_says() {
        let second = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second();
        let cases = [
            (Period::Day, "2026-11-24T23:59:59Z", "2026-11-24", "2026-11-25"),
            (Period::Day, "2026-11-25T00:00:00Z", "2026-11-25", "2026-11-26"),
            (Period::Week, "2026-11-29T12:00:00Z", "2026-11-23", "2026-11-30"),
            (Period::Week, "2026-11-30T00:00:00Z", "2026-11-30", "2026-12-07"),
            (Period::Week, "2027-01-01T00:00:00Z", "2026-12-28", "2027-01-04"),
            (Period::Month, "2028-02-29T10:00:00Z", "2028-02-01", "2028-03-01"),
            (Period::Month, "2026-12-31T23:59:59Z", "2026-12-01", "2027-01-01"),
        ];
        for (period, time, start, end) in cases {
            let first = period.start(second(time));
            assert_eq!(first * SECONDS_PER_DAY, second(&format!("{start}T00:00:00Z")), "{period} {time}");
            assert_eq!(period.end(first), Some(second(&format!("{end}T00:00:00Z"))), "{period} {time}");
        }
        assert_eq!((Period::Total.start(second("2026-11-24T23:59:59Z")), Period::Total.end(0)), (0, None));
    }
}
