//! The usage of an account, by day, week and month.

use jiff::civil::{Date, Weekday};
use rusqlite::{Connection, params};
use serde::Serialize;

use crate::canon::Usage;
use crate::money::Amount;

use super::invariant::sum;

/// The sums of some calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Their cost.
    pub cost: Amount,
    /// Input tokens.
    pub prompt: u64,
    /// Output tokens.
    pub completion: u64,
    /// The number of calls.
    pub requests: u64,
    /// The number of calls that were answered in full.
    pub successes: u64,
}

/// The usage of an account so far on this day, in this week, which begins on Monday, and in this month, all of them in
/// UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UsageReport {
    /// This day.
    pub daily: Tally,
    /// This week.
    pub weekly: Tally,
    /// This month.
    pub monthly: Tally,
}

impl Tally {
    /// Makes the tally of one call, which was answered in full if `whole`.
    pub(super) fn of(usage: &Usage, cost: Amount, whole: bool) -> Self {
        let (prompt, completion) = (usage.prompt(), usage.output);
        Self { cost, prompt, completion, requests: 1, successes: u64::from(whole) }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.cost = sum(self.cost, other.cost);
        let sums = [
            (&mut self.prompt, other.prompt),
            (&mut self.completion, other.completion),
            (&mut self.requests, other.requests),
            (&mut self.successes, other.successes),
        ];
        // Providers count tokens as they like, and no money depends on these sums.
        sums.into_iter().for_each(|(sum, part)| *sum = sum.saturating_add(part).min(MAX_COUNT));
    }
}

/// The form of `/v1/usage`.
impl Serialize for Tally {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut object = serializer.serialize_struct("Tally", 6)?;
        object.serialize_field("cost_micro", &self.cost.micro_up())?;
        object.serialize_field("prompt_tokens", &self.prompt)?;
        object.serialize_field("completion_tokens", &self.completion)?;
        object.serialize_field("total_tokens", &self.prompt.saturating_add(self.completion))?;
        object.serialize_field("request_count", &self.requests)?;
        object.serialize_field("success_count", &self.successes)?;
        object.end()
    }
}

/// Reads the report of one account, or of one of its keys, at a time in seconds since the epoch.
pub(super) fn read(
    connection: &Connection,
    account: &str,
    key: Option<&str>,
    now: i64,
) -> rusqlite::Result<UsageReport> {
    let starts = Starts::at(now);
    Ok(UsageReport {
        daily: since(connection, account, key, starts.day)?,
        weekly: since(connection, account, key, starts.week)?,
        monthly: since(connection, account, key, starts.month)?,
    })
}

fn since(connection: &Connection, account: &str, key: Option<&str>, day: i64) -> rusqlite::Result<Tally> {
    let mut query = connection.prepare_cached(
        "SELECT COALESCE(SUM(cost), 0), COALESCE(SUM(prompt), 0), COALESCE(SUM(completion), 0),
            COALESCE(SUM(requests), 0), COALESCE(SUM(successes), 0)
         FROM usage WHERE account = ?1 AND day >= ?2 AND (?3 IS NULL OR key = ?3)",
    )?;
    query.query_row(params![account, day, key], |row| {
        let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        Ok(Tally {
            cost: row.get(0)?,
            prompt: count(1)?,
            completion: count(2)?,
            requests: count(3)?,
            successes: count(4)?,
        })
    })
}

/// Returns the time for which a balance lasts at the mean cost of the last seven days, or of those since the first use, in
/// seconds; `None` if nothing was spent.
pub(super) fn lasts(
    connection: &Connection,
    account: &str,
    balance: Amount,
    now: i64,
) -> rusqlite::Result<Option<u64>> {
    let today = day(now);
    let sql = "SELECT COALESCE(SUM(cost), 0), COALESCE(MIN(day), ?2) FROM usage WHERE account = ?1 AND day BETWEEN ?2 AND ?3";
    let values = params![account, today - MEAN_DAYS + 1, today];
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Amount>(0)?, row.get::<_, i64>(1)?));
    let (cost, first) = connection.prepare_cached(sql)?.query_row(values, read)?;
    // The present day is not over yet; the shortest time is a day.
    let seconds = (now - first * SECONDS_PER_DAY).max(SECONDS_PER_DAY).unsigned_abs();
    let lasts = (u128::from(balance.nano()) * u128::from(seconds)).checked_div(u128::from(cost.nano()));
    Ok(lasts.map(|seconds| u64::try_from(seconds).unwrap_or(u64::MAX)))
}

/// Converts seconds since the epoch to days since the epoch.
pub(super) fn day(seconds: i64) -> i64 {
    seconds.div_euclid(SECONDS_PER_DAY)
}

/// The beginnings of the periods to which a time belongs, in days since the epoch.
#[derive(Debug, PartialEq, Eq)]
struct Starts {
    day: i64,
    week: i64,
    month: i64,
}

impl Starts {
    fn at(seconds: i64) -> Self {
        let day = day(seconds);
        let date = jiff::Timestamp::from_second(seconds)
            .map_or(Date::ZERO, |time| jiff::tz::TimeZone::UTC.to_datetime(time).date());
        let since_monday = i64::from(date.weekday().since(Weekday::Monday));
        Self { day, week: day - since_monday, month: day - i64::from(date.day()) + 1 }
    }
}

const SECONDS_PER_DAY: i64 = 86_400;

/// The days of which the cost is averaged.
const MEAN_DAYS: i64 = 7;

/// The largest count that the store holds.
const MAX_COUNT: u64 = i64::MAX.cast_unsigned();

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(date: &str) -> [String; 3] {
        let seconds = date.parse::<jiff::Timestamp>().unwrap().as_second();
        let Starts { day, week, month } = Starts::at(seconds);
        [day, week, month].map(|day| {
            let time = jiff::Timestamp::from_second(day * SECONDS_PER_DAY).unwrap();
            time.to_string().split_once('T').unwrap().0.to_owned()
        })
    }

    #[test]
    fn days_weeks_and_months_begin_where_utc_says() {
        let cases = [
            ("2026-11-24T23:59:59Z", ["2026-11-24", "2026-11-23", "2026-11-01"]),
            ("2026-11-25T00:00:00Z", ["2026-11-25", "2026-11-23", "2026-11-01"]),
            // A Sunday and the Monday after it.
            ("2026-11-29T12:00:00Z", ["2026-11-29", "2026-11-23", "2026-11-01"]),
            ("2026-11-30T00:00:00Z", ["2026-11-30", "2026-11-30", "2026-11-01"]),
            // A week over the border of a year, and a leap day.
            ("2027-01-01T00:00:00Z", ["2027-01-01", "2026-12-28", "2027-01-01"]),
            ("2028-02-29T10:00:00Z", ["2028-02-29", "2028-02-28", "2028-02-01"]),
            ("2028-03-01T00:00:00Z", ["2028-03-01", "2028-02-28", "2028-03-01"]),
            ("1970-01-01T00:00:00Z", ["1970-01-01", "1969-12-29", "1970-01-01"]),
        ];
        for (time, expected) in cases {
            assert_eq!(starts(time), expected, "{time}");
        }
    }

    #[test]
    fn a_balance_lasts_as_the_last_days_say() {
        let folder = tempfile::tempdir().unwrap();
        let connection = crate::store::open(folder.path()).unwrap();
        let today = 20_000;
        let spend = |day: i64| {
            let sql = "INSERT INTO usage VALUES ('a', ?1, 'k', 1000000000, 0, 0, 1, 1, 0)";
            connection.execute(sql, [day]).unwrap();
        };
        let lasts = |hour: i64| {
            let now = today * SECONDS_PER_DAY + hour * 3600;
            lasts(&connection, "a", "6".parse().unwrap(), now).unwrap().map(|seconds| seconds / 3600)
        };
        assert_eq!(lasts(12), None);
        spend(today - 7);
        assert_eq!(lasts(12), None, "that was longer ago");
        spend(today);
        assert_eq!(lasts(12), Some(6 * 24), "a dollar a day");
        spend(today - 1);
        assert_eq!(lasts(12), Some(3 * 36), "two dollars in 36 hours");
    }

    #[test]
    fn a_report_adds_up_what_lies_in_its_periods() {
        let folder = tempfile::tempdir().unwrap();
        let connection = crate::store::open(folder.path()).unwrap();
        let add = |date: &str, key: &str| {
            let day = day(format!("{date}T00:00:00Z").parse::<jiff::Timestamp>().unwrap().as_second());
            let sql = "INSERT INTO usage VALUES ('a', ?1, ?2, 1500, 10, 1, 2, 1, 0)";
            connection.execute(sql, params![day, key]).unwrap();
        };
        for date in ["2026-10-31", "2026-11-01", "2026-11-22", "2026-11-23", "2026-11-24"] {
            add(date, "k");
        }
        add("2026-11-24", "other");
        let now = "2026-11-24T08:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second();
        let counts = |key| {
            let report = read(&connection, "a", key, now).unwrap();
            [report.daily, report.weekly, report.monthly].map(|tally| tally.requests / 2)
        };
        assert_eq!((counts(None), counts(Some("k"))), ([2, 3, 5], [1, 2, 4]));
        let json = serde_json::to_string(&read(&connection, "a", None, now).unwrap().daily).unwrap();
        let expected = "{\"cost_micro\":3,\"prompt_tokens\":20,\"completion_tokens\":2,\
            \"total_tokens\":22,\"request_count\":4,\"success_count\":2}";
        assert_eq!(json, expected);
    }
}
