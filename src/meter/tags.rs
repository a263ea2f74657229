//! Usage by tag: what the calls with a tag have cost, by day and account.

use rusqlite::{Connection, Row, params};
use serde::{Serialize, Serializer};

use crate::money::Amount;
use crate::store::StoreError;

use super::usage::{MAX_ROWS, UsagePeriod};

/// A question about the usage by the values of one tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagQuery {
    /// The name of the tag.
    pub name: String,
    /// The first day, as a time in it, in seconds since the epoch.
    pub from: i64,
    /// The end, which does not belong to it, in seconds since the epoch.
    pub to: i64,
    /// The length of the periods into which the time is divided, which is a day at least; absent: none.
    pub per: Option<UsagePeriod>,
    /// Whether accounts are told apart.
    pub by_account: bool,
    /// The account; absent: all.
    pub account: Option<String>,
}

/// The usage by one value of a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TagRow {
    /// The beginning of the period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<jiff::Timestamp>,
    /// The account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The value of the tag; `(other)` for those beyond [`MAX_TAG_VALUES`] of a day and account.
    ///
    /// [`MAX_TAG_VALUES`]: super::MAX_TAG_VALUES
    pub value: String,
    /// The calls.
    pub requests: u64,
    /// The cost.
    #[serde(rename = "cost_usd", serialize_with = "text")]
    pub cost: Amount,
}

/// Answers a question about the usage by a tag, the earliest period first. Calls without the tag are in no row. Days are
/// the shortest periods.
///
/// # Errors
/// Fails with [`StoreError::Invalid`] for hours, and for an answer of more than [`MAX_ROWS`] rows, and if the store cannot
/// be read.
pub fn usage_by_tag(connection: &Connection, query: &TagQuery) -> Result<Vec<TagRow>, StoreError> {
    let start = match query.per {
        None => "NULL",
        Some(UsagePeriod::Day) => "day * 86400",
        Some(UsagePeriod::Month) => "unixepoch(day * 86400, 'unixepoch', 'start of month')",
        Some(UsagePeriod::Hour) => {
            return Err(StoreError::Invalid("tags are counted by day: group by day or month".to_owned()));
        }
    };
    let account = if query.by_account { "account" } else { "NULL" };
    let sql = format!(
        "SELECT {start}, {account}, value, SUM(requests), SUM(cost) FROM usage_tags
         WHERE name = ?1 AND day * 86400 >= ?2 AND day * 86400 < ?3 AND (?4 IS NULL OR account = ?4)
         GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT {}",
        MAX_ROWS + 1
    );
    let TagQuery { name, from, to, account, .. } = query;
    let first = from.div_euclid(SECONDS_PER_DAY) * SECONDS_PER_DAY;
    let mut select = connection.prepare_cached(&sql)?;
    let rows = select.query_map(params![name, first, to, account], row)?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    if rows.len() > MAX_ROWS {
        let why = format!("the answer would have more than {MAX_ROWS} rows: ask for a shorter time");
        return Err(StoreError::Invalid(why));
    }
    Ok(rows)
}

fn row(row: &Row<'_>) -> rusqlite::Result<TagRow> {
    let start: Option<i64> = row.get(0)?;
    Ok(TagRow {
        start: start.and_then(|start| jiff::Timestamp::from_second(start).ok()),
        account: row.get(1)?,
        value: row.get(2)?,
        requests: row.get::<_, i64>(3)?.unsigned_abs(),
        cost: row.get(4)?,
    })
}

fn text<S: Serializer>(value: &impl ToString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}

const SECONDS_PER_DAY: i64 = 86_400;

#[cfg(test)]
mod tests {
    use super::super::tag_usage::{MAX_TAG_VALUES, NewTagUsage, age};
    use super::*;
    use crate::auth::Tag;

    fn add(connection: &Connection, day: i64, account: &str, values: impl Iterator<Item = String>) {
        let mut new = NewTagUsage::default();
        let cost: Amount = "0.5".parse().unwrap();
        for value in values {
            let tag = Tag::new("team", &value).unwrap();
            new.add(&account.into(), &Some([tag].into()), cost, 1);
        }
        let transaction = connection.unchecked_transaction().unwrap();
        new.post(&transaction, day * SECONDS_PER_DAY + 7).unwrap();
        transaction.commit().unwrap();
    }

    #[test]
    fn tags_are_summed_by_day_account_and_value() {
        let folder = tempfile::tempdir().unwrap();
        let connection = crate::store::open(folder.path()).unwrap();
        let day = "2026-11-30T00:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second() / SECONDS_PER_DAY;
        let one = |value: &str| std::iter::once(value.to_owned());
        for (day, account, value) in
            [(day, "a", "x"), (day, "a", "x"), (day, "a", "y"), (day, "b", "x"), (day + 1, "a", "x")]
        {
            add(&connection, day, account, one(value));
        }
        let ask = |query: TagQuery| -> Vec<String> {
            let rows = usage_by_tag(&connection, &query).unwrap().into_iter();
            let shown = |row: TagRow| {
                let facts = [row.start.map(|start| start.to_string()), row.account, Some(row.value)];
                let facts = facts.into_iter().flatten().collect::<Vec<_>>().join(" ");
                format!("{facts}: {} {}", row.requests, row.cost)
            };
            rows.map(shown).collect()
        };
        let all = TagQuery { name: "team".to_owned(), to: i64::MAX / 2, ..TagQuery::default() };
        assert_eq!(ask(all.clone()), ["x: 4 2.00", "y: 1 0.50"]);
        assert_eq!(
            ask(TagQuery { by_account: true, ..all.clone() }),
            ["a x: 3 1.50", "a y: 1 0.50", "b x: 1 0.50"]
        );
        assert_eq!(ask(TagQuery { account: Some("b".to_owned()), ..all.clone() }), ["x: 1 0.50"]);
        let first =
            TagQuery { from: day * SECONDS_PER_DAY + 9, to: (day + 1) * SECONDS_PER_DAY, ..all.clone() };
        assert_eq!(ask(first), ["x: 3 1.50", "y: 1 0.50"], "a day counts as a whole");
        let monthly = ask(TagQuery { per: Some(UsagePeriod::Month), ..all.clone() });
        let expected = [
            "2026-11-01T00:00:00Z x: 3 1.50",
            "2026-11-01T00:00:00Z y: 1 0.50",
            "2026-12-01T00:00:00Z x: 1 0.50",
        ];
        assert_eq!(monthly, expected);
        assert!(ask(TagQuery { name: "other".to_owned(), ..all.clone() }).is_empty());
        assert!(
            usage_by_tag(&connection, &TagQuery { per: Some(UsagePeriod::Hour), ..all.clone() }).is_err()
        );
        age(&connection, day + 1).unwrap();
        assert_eq!(ask(all), ["x: 1 0.50"]);
    }

    #[test]
    fn a_caller_who_makes_up_values_fills_no_disk() {
        let folder = tempfile::tempdir().unwrap();
        let connection = crate::store::open(folder.path()).unwrap();
        let values = |from: i64| (from..from + 700).map(|n| n.to_string());
        for from in [0, 700, 1400, 0] {
            add(&connection, 20_000, "a", values(from));
        }
        add(&connection, 20_000, "b", values(0));
        let count = |sql: &str| connection.query_row::<i64, _, _>(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(count("SELECT COUNT(*) FROM usage_tags WHERE account = 'a'"), MAX_TAG_VALUES + 1);
        assert_eq!(count("SELECT SUM(requests) FROM usage_tags WHERE account = 'a'"), 2800, "none is lost");
        assert_eq!(count("SELECT SUM(requests) FROM usage_tags WHERE value = '(other)'"), 1100);
        assert_eq!(count("SELECT COUNT(*) FROM usage_tags WHERE account = 'b'"), 700);
    }
}
