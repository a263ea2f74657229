//! Usage by hour, account, key, model and provider.
//!
//! Hours are kept for some weeks, and then added up to days, which are kept for a year.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use rusqlite::{Connection, Row, params};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::auth::Tags;
use crate::canon::Usage;
use crate::money::Amount;
use crate::store::StoreError;

use super::invariant::sum;
use super::tag_usage::{self, NewTagUsage};

/// The model that has answered a call, and its provider, both empty if nobody has; and the tags of the call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServedBy {
    /// The id of the model in the catalog.
    pub model: Arc<str>,
    /// The name of the provider.
    pub provider: Arc<str>,
    /// The tags of the call.
    pub tags: Tags,
}

/// The sums of calls that have the same account, key, model and provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UsageSums {
    /// The calls.
    pub requests: u64,
    /// The calls that were answered in full.
    pub successes: u64,
    /// Input tokens that were neither read from the provider's cache nor written to it.
    pub input_tokens: u64,
    /// Input tokens that were read from the provider's cache.
    pub cache_read_tokens: u64,
    /// Input tokens that were written to the provider's cache.
    pub cache_write_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// The cost.
    #[serde(rename = "cost_usd", serialize_with = "text")]
    #[schemars(with = "String")]
    pub cost: Amount,
}

/// A question about usage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageQuery {
    /// The first hour, in seconds since the epoch.
    pub from: i64,
    /// The end, which does not belong to it, in seconds since the epoch.
    pub to: i64,
    /// The facts by which calls are told apart.
    pub by: Vec<UsageDimension>,
    /// The length of the periods into which the time is divided; absent: none.
    pub per: Option<UsagePeriod>,
    /// The accounts; absent: all.
    pub accounts: Option<Vec<String>>,
    /// The id of the key; absent: all.
    pub key: Option<String>,
    /// The model, or its beginning and `*`; absent: all.
    pub model: Option<String>,
}

/// A fact by which calls are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageDimension {
    /// The account.
    Account,
    /// The key.
    Key,
    /// The model.
    Model,
    /// The provider.
    Provider,
}

/// The length of a period of usage, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsagePeriod {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A month.
    Month,
}

/// One row of an answer. The facts that the query does not tell apart are absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UsageRow {
    /// The beginning of the period.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub start: Option<jiff::Timestamp>,
    /// The account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The id of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The name of the key, unless the key is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
    /// The model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The provider; empty for calls that nobody has answered, or whose gateway was killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The sums.
    #[serde(flatten)]
    pub sums: UsageSums,
}

/// The time for which usage and charges are kept, in days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageRetention {
    /// Usage by hour, which is then added up by day.
    pub hours: i64,
    /// Usage by day.
    pub days: i64,
    /// Charges of calls that no wallet has paid for.
    pub charges: i64,
}

/// The sums of the calls that have ended since the last transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct NewUsage {
    calls: HashMap<UsageKey, UsageSums, RandomState>,
    tagged: NewTagUsage,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct UsageKey {
    account: Arc<str>,
    key: Arc<str>,
    model: Arc<str>,
    provider: Arc<str>,
}

impl Default for UsageRetention {
    fn default() -> Self {
        Self { hours: 35, days: 400, charges: 35 }
    }
}

impl UsageSums {
    /// Returns the sums of one call, which was answered in full if `whole`.
    pub(super) fn of(usage: &Usage, cost: Amount, whole: bool) -> Self {
        Self {
            requests: 1,
            successes: u64::from(whole),
            input_tokens: usage.input,
            cache_read_tokens: usage.cache_read,
            cache_write_tokens: usage.cache_write,
            output_tokens: usage.output,
            cost,
        }
    }

    /// Adds other sums.
    pub fn add(&mut self, other: &Self) {
        self.cost = sum(self.cost, other.cost);
        let sums = [
            (&mut self.requests, other.requests),
            (&mut self.successes, other.successes),
            (&mut self.input_tokens, other.input_tokens),
            (&mut self.cache_read_tokens, other.cache_read_tokens),
            (&mut self.cache_write_tokens, other.cache_write_tokens),
            (&mut self.output_tokens, other.output_tokens),
        ];
        // Providers count tokens as they like, and no money depends on these sums.
        sums.into_iter().for_each(|(sum, part)| *sum = sum.saturating_add(part).min(MAX_COUNT));
    }
}

impl NewUsage {
    /// Adds a call.
    pub(super) fn add(&mut self, (account, key): (Arc<str>, Arc<str>), served: ServedBy, sums: &UsageSums) {
        let ServedBy { model, provider, tags } = served;
        self.tagged.add(&account, &tags, sums.cost, sums.requests);
        self.calls.entry(UsageKey { account, key, model, provider }).or_default().add(sums);
    }

    /// Writes everything to the hour of this time.
    pub(super) fn post(&mut self, connection: &Connection, now: i64) -> rusqlite::Result<()> {
        let mut upsert = connection.prepare_cached(
            "INSERT INTO usage_hours VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT (hour, account, key, model, provider) DO UPDATE SET
                cost = cost + excluded.cost, input = input + excluded.input,
                cache_read = cache_read + excluded.cache_read, cache_write = cache_write + excluded.cache_write,
                output = output + excluded.output, requests = requests + excluded.requests,
                successes = successes + excluded.successes",
        )?;
        for (UsageKey { account, key, model, provider }, sums) in self.calls.drain() {
            upsert.execute(params![
                now.div_euclid(SECONDS_PER_HOUR),
                account,
                key,
                model,
                provider,
                sums.cost,
                sums.input_tokens.cast_signed(),
                sums.cache_read_tokens.cast_signed(),
                sums.cache_write_tokens.cast_signed(),
                sums.output_tokens.cast_signed(),
                sums.requests.cast_signed(),
                sums.successes.cast_signed(),
            ])?;
        }
        self.tagged.post(connection, now)
    }
}

/// Adds old hours up to days, and removes old days.
pub(super) fn age(connection: &Connection, keep: UsageRetention, now: i64) -> rusqlite::Result<()> {
    let today = now.div_euclid(SECONDS_PER_DAY);
    tag_usage::age(connection, today - keep.days)?;
    let oldest = (today - keep.hours) * HOURS_PER_DAY;
    if !connection.prepare_cached("SELECT 1 FROM usage_hours WHERE hour < ?1")?.exists([oldest])? {
        return Ok(());
    }
    connection.execute(
        "INSERT INTO usage_days SELECT hour / 24, account, key, model, provider, SUM(cost), SUM(input),
            SUM(cache_read), SUM(cache_write), SUM(output), SUM(requests), SUM(successes)
         FROM usage_hours WHERE hour < ?1 GROUP BY hour / 24, account, key, model, provider
         ON CONFLICT (day, account, key, model, provider) DO UPDATE SET
            cost = cost + excluded.cost, input = input + excluded.input,
            cache_read = cache_read + excluded.cache_read, cache_write = cache_write + excluded.cache_write,
            output = output + excluded.output, requests = requests + excluded.requests,
            successes = successes + excluded.successes",
        [oldest],
    )?;
    connection.execute("DELETE FROM usage_hours WHERE hour < ?1", [oldest])?;
    connection.execute("DELETE FROM usage_days WHERE day < ?1", [today - keep.days])?;
    Ok(())
}

/// Answers a question about usage, the earliest period first.
///
/// # Errors
/// Fails with [`StoreError::Invalid`] for an answer of more than [`MAX_ROWS`] rows, and if the store cannot be read.
pub fn usage(connection: &Connection, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
    let mut select = connection.prepare_cached(&sql(query))?;
    let (exact, prefix) = match query.model.as_deref() {
        Some(pattern) => match pattern.strip_suffix('*') {
            Some(prefix) => (None, Some(prefix)),
            None => (Some(pattern), None),
        },
        None => (None, None),
    };
    let UsageQuery { from, to, accounts, key, .. } = query;
    let accounts = accounts.as_ref().map(|accounts| serde_json::to_string(accounts).unwrap_or_default());
    let rows = select.query_map(params![from, to, accounts, key, exact, prefix], row)?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    if rows.len() > MAX_ROWS {
        let why = format!(
            "the answer would have more than {MAX_ROWS} rows: ask for a shorter time, or group by less"
        );
        return Err(StoreError::Invalid(why));
    }
    Ok(rows)
}

/// Makes the statement for a question.
fn sql(query: &UsageQuery) -> String {
    let start = match query.per {
        None => "NULL",
        Some(UsagePeriod::Hour) => "time",
        Some(UsagePeriod::Day) => "time - time % 86400",
        Some(UsagePeriod::Month) => "unixepoch(time, 'unixepoch', 'start of month')",
    };
    let column = |dimension, name: &'static str| if query.by.contains(&dimension) { name } else { "NULL" };
    let columns = [
        column(UsageDimension::Account, "account"),
        column(UsageDimension::Key, "key"),
        column(UsageDimension::Model, "model"),
        column(UsageDimension::Provider, "provider"),
    ];
    let key = if query.by.contains(&UsageDimension::Key) {
        "(SELECT name FROM keys WHERE id = key)"
    } else {
        "NULL"
    };
    let columns = columns.join(", ");
    let sums = "cost, input, cache_read, cache_write, output, requests, successes";
    format!(
        "SELECT {start} AS start, {columns}, {key}, SUM(cost), SUM(input), SUM(cache_read), SUM(cache_write),
            SUM(output), SUM(requests), SUM(successes)
         FROM (SELECT hour * 3600 AS time, account, key, model, provider, {sums} FROM usage_hours
                WHERE hour * 3600 >= ?1 AND hour * 3600 < ?2
            UNION ALL SELECT day * 86400, account, key, model, provider, {sums} FROM usage_days
                WHERE day * 86400 >= ?1 AND day * 86400 < ?2)
         WHERE (?3 IS NULL OR account IN (SELECT value FROM json_each(?3))) AND (?4 IS NULL OR key = ?4) AND (?5 IS NULL OR model = ?5)
            AND (?6 IS NULL OR substr(model, 1, length(?6)) = ?6)
         GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5 LIMIT {}",
        MAX_ROWS + 1
    )
}

fn row(row: &Row<'_>) -> rusqlite::Result<UsageRow> {
    let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
    let start: Option<i64> = row.get(0)?;
    Ok(UsageRow {
        start: start.and_then(|start| jiff::Timestamp::from_second(start).ok()),
        account: row.get(1)?,
        key: row.get(2)?,
        model: row.get(3)?,
        provider: row.get(4)?,
        key_name: row.get(5)?,
        sums: UsageSums {
            cost: row.get(6)?,
            input_tokens: count(7)?,
            cache_read_tokens: count(8)?,
            cache_write_tokens: count(9)?,
            output_tokens: count(10)?,
            requests: count(11)?,
            successes: count(12)?,
        },
    })
}

fn text<S: Serializer>(value: &impl ToString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}

/// The most rows of an answer.
pub const MAX_ROWS: usize = 100_000;

/// The largest count that the store holds.
const MAX_COUNT: u64 = i64::MAX.cast_unsigned();

const SECONDS_PER_HOUR: i64 = 3600;
const SECONDS_PER_DAY: i64 = 86_400;
const HOURS_PER_DAY: i64 = 24;

#[cfg(test)]
mod tests {
    use super::*;

    fn second(time: &str) -> i64 {
        time.parse::<jiff::Timestamp>().unwrap().as_second()
    }

    fn add(connection: &Connection, time: &str, key: &str, model: &str, dollars: &str) {
        let usage = Usage { input: 10, cache_read: 3, output: 2, ..Usage::default() };
        let mut new = NewUsage::default();
        let served = ServedBy { model: model.into(), provider: "p".into(), tags: None };
        let sums = UsageSums::of(&usage, dollars.parse().unwrap(), true);
        new.add(("a".into(), key.into()), served, &sums);
        new.post(connection, second(time)).unwrap();
    }

    fn asked(connection: &Connection, query: &UsageQuery) -> Vec<String> {
        let rows = usage(connection, query).unwrap();
        let shown = |row: UsageRow| {
            let UsageRow { start, key, model, sums, .. } = row;
            let start = start.map(|start| start.to_string());
            let facts = [start, key, model].into_iter().flatten().collect::<Vec<_>>().join(" ");
            format!("{facts}: {} {} {}", sums.requests, sums.input_tokens, sums.cost)
        };
        rows.into_iter().map(shown).collect()
    }

    #[test]
    fn usage_is_told_apart_as_asked_and_stays_when_hours_become_days() {
        let folder = tempfile::tempdir().unwrap();
        let connection = crate::store::open(folder.path()).unwrap();
        add(&connection, "2026-10-31T23:59:59Z", "k", "o/x", "1");
        add(&connection, "2026-11-01T00:00:00Z", "k", "o/x", "2");
        add(&connection, "2026-11-01T00:59:59Z", "k", "o/x", "4");
        add(&connection, "2026-11-01T01:00:00Z", "l", "o/y", "8");
        add(&connection, "2026-11-02T09:00:00Z", "l", "b/z", "16");
        let all = UsageQuery { to: i64::MAX / 2, ..UsageQuery::default() };
        let ask = |query: &UsageQuery| asked(&connection, query);
        let november = UsageQuery {
            from: second("2026-11-01T00:00:00Z"),
            to: second("2026-11-02T00:00:00Z"),
            ..all.clone()
        };
        let check = || {
            assert_eq!(ask(&all), [": 5 50 31.00"]);
            assert_eq!(ask(&november), [": 3 30 14.00"]);
            let by_key = UsageQuery { by: vec![UsageDimension::Key], ..all.clone() };
            assert_eq!(ask(&by_key), ["k: 3 30 7.00", "l: 2 20 24.00"]);
            let by_month = UsageQuery { per: Some(UsagePeriod::Month), ..all.clone() };
            let expected = ["2026-10-01T00:00:00Z: 1 10 1.00", "2026-11-01T00:00:00Z: 4 40 30.00"];
            assert_eq!(ask(&by_month), expected);
            let by_day = UsageQuery {
                per: Some(UsagePeriod::Day),
                by: vec![UsageDimension::Model],
                ..november.clone()
            };
            let expected = ["2026-11-01T00:00:00Z o/x: 2 20 6.00", "2026-11-01T00:00:00Z o/y: 1 10 8.00"];
            assert_eq!(ask(&by_day), expected);
            for (model, expected) in [("o/*", ": 4 40 15.00"), ("o/y", ": 1 10 8.00"), ("*", ": 5 50 31.00")]
            {
                assert_eq!(
                    ask(&UsageQuery { model: Some(model.to_owned()), ..all.clone() }),
                    [expected],
                    "{model}"
                );
            }
            let nobody = UsageQuery {
                accounts: Some(vec!["b".to_owned()]),
                by: vec![UsageDimension::Key],
                ..all.clone()
            };
            assert_eq!(ask(&nobody), Vec::<String>::new());
            let both = Some(vec!["a".to_owned(), "b".to_owned()]);
            assert_eq!(ask(&UsageQuery { accounts: both, ..all.clone() }), [": 5 50 31.00"]);
        };
        check();
        let by_hour = UsageQuery { per: Some(UsagePeriod::Hour), ..november.clone() };
        assert_eq!(ask(&by_hour), ["2026-11-01T00:00:00Z: 2 20 6.00", "2026-11-01T01:00:00Z: 1 10 8.00"]);
        age(&connection, UsageRetention::default(), second("2026-12-06T12:00:00Z")).unwrap();
        check();
        let hours = || {
            connection.query_row("SELECT COUNT(*) FROM usage_hours", [], |row| row.get::<_, i64>(0)).unwrap()
        };
        assert_eq!(hours(), 3, "of the last 35 days");
        age(&connection, UsageRetention::default(), second("2026-12-07T12:00:00Z")).unwrap();
        check();
        assert_eq!(hours(), 1);
        assert_eq!(ask(&by_hour), ["2026-11-01T00:00:00Z: 3 30 14.00"], "only the day is known");
        add(&connection, "2027-11-01T00:00:00Z", "k", "o/x", "1");
        age(&connection, UsageRetention::default(), second("2028-01-01T00:00:00Z")).unwrap();
        assert_eq!(ask(&all), [": 1 10 1.00"], "days are kept for a year and some more");
    }
}
