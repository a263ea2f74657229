//! The sums of calls by tag, and how they get into the store.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, params};

use crate::auth::{Tag, Tags};
use crate::money::Amount;

use super::invariant::sum;

/// The sums of the tagged calls that have ended since the last transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct NewTagUsage(HashMap<(Arc<str>, Tag), TagSums>);

#[derive(Clone, Copy, Debug, Default)]
struct TagSums {
    cost: Amount,
    requests: u64,
}

impl NewTagUsage {
    /// Adds calls with the same tags.
    pub(super) fn add(&mut self, account: &Arc<str>, tags: &Tags, cost: Amount, requests: u64) {
        for tag in tags.iter().flat_map(|tags| tags.iter()) {
            let sums = self.0.entry((Arc::clone(account), tag.clone())).or_default();
            sums.cost = sum(sums.cost, cost);
            sums.requests = sums.requests.saturating_add(requests);
        }
    }

    /// Writes everything to the day of this time.
    pub(super) fn post(&mut self, connection: &Connection, now: i64) -> rusqlite::Result<()> {
        let day = now.div_euclid(SECONDS_PER_DAY);
        for ((account, Tag { name, value }), sums) in self.0.drain() {
            if !update(connection, (day, &account, &name, &value), sums)? {
                let value = if is_full(connection, day, &account)? { OTHER } else { &*value };
                insert(connection, (day, &account, &name, value), sums)?;
            }
        }
        Ok(())
    }
}

/// A row of the table: its day, account, name and value.
type Place<'p> = (i64, &'p str, &'p str, &'p str);

/// Adds sums to a row; returns whether there is one.
fn update(connection: &Connection, place: Place<'_>, sums: TagSums) -> rusqlite::Result<bool> {
    let (day, account, name, value) = place;
    let sql = "UPDATE usage_tags SET cost = cost + ?5, requests = requests + ?6
        WHERE day = ?1 AND account = ?2 AND name = ?3 AND value = ?4";
    let row = params![day, account, name, value, sums.cost, sums.requests.cast_signed()];
    Ok(connection.prepare_cached(sql)?.execute(row)? == 1)
}

fn insert(connection: &Connection, place: Place<'_>, sums: TagSums) -> rusqlite::Result<()> {
    let (day, account, name, value) = place;
    let sql = "INSERT INTO usage_tags VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT (day, account, name, value) DO UPDATE SET
            cost = cost + excluded.cost, requests = requests + excluded.requests";
    let row = params![day, account, name, value, sums.cost, sums.requests.cast_signed()];
    connection.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

/// Whether an account has as many values on a day as are told apart.
fn is_full(connection: &Connection, day: i64, account: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT COUNT(*) FROM usage_tags WHERE day = ?1 AND account = ?2 AND value <> ?3";
    let known: i64 =
        connection.prepare_cached(sql)?.query_row(params![day, account, OTHER], |row| row.get(0))?;
    Ok(known >= MAX_TAG_VALUES)
}

/// Removes the days before this one.
pub(super) fn age(connection: &Connection, oldest: i64) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM usage_tags WHERE day < ?1", [oldest])?;
    Ok(())
}

/// The most values of tags that are told apart for one account on one day.
pub const MAX_TAG_VALUES: i64 = 1_000;

/// The value of the row for all others. No tag can have it.
const OTHER: &str = "(other)";

const SECONDS_PER_DAY: i64 = 86_400;
