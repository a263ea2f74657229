//! Keys that expire soon.

use rusqlite::{Connection, Row, params};
use serde::Serialize;

/// A key that expires soon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExpiringKey {
    /// The id.
    pub key: String,
    /// The name.
    pub name: String,
    /// The account.
    pub account: String,
    /// The time from which it no longer works.
    pub expires_at: jiff::Timestamp,
    /// The number of days within which that is.
    pub days: i64,
}

/// Returns the keys that expire within seven days, or within one, of which nobody was told yet, and notes them.
///
/// # Errors
/// Fails if the store cannot be read or written.
pub fn expiring_keys(connection: &Connection, now: i64) -> rusqlite::Result<Vec<ExpiringKey>> {
    let mut told = Vec::new();
    for days in WARNING_DAYS {
        let mut query = connection.prepare_cached(
            "SELECT id, name, account, expires FROM keys
             WHERE deleted IS NULL AND status = 'active' AND expires > ?1 AND expires <= ?2",
        )?;
        let keys = query.query_map([now, now + days * SECONDS_PER_DAY], |row| key(row, days))?;
        for key in keys {
            let key = key?;
            let sql = "INSERT OR IGNORE INTO key_ends VALUES (?1, ?2, ?3)";
            let row = params![key.key, key.expires_at.as_second(), days];
            if connection.prepare_cached(sql)?.execute(row)? == 1 {
                told.push(key);
            }
        }
    }
    Ok(told)
}

fn key(row: &Row<'_>, days: i64) -> rusqlite::Result<ExpiringKey> {
    let expires_at = jiff::Timestamp::from_second(row.get(3)?).unwrap_or_default();
    Ok(ExpiringKey { key: row.get(0)?, name: row.get(1)?, account: row.get(2)?, expires_at, days })
}

/// The days before the end of a key at which its operators are told.
const WARNING_DAYS: [i64; 2] = [7, 1];

const SECONDS_PER_DAY: i64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{NewKey, Store};

    #[test]
    fn a_key_is_told_of_seven_days_and_one_day_before_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.create_account("a").unwrap();
        let id = store.create_key(&NewKey { account: "a".into(), ..NewKey::default() }).unwrap().0.id;
        store.create_key(&NewKey { account: "a".into(), ..NewKey::default() }).unwrap();
        let end = 100 * SECONDS_PER_DAY;
        store.change("keys", &id, "expires", end);
        let connection = crate::store::open(folder.path()).unwrap();
        let days = |before: i64| -> Vec<i64> {
            let told = expiring_keys(&connection, end - before).unwrap().into_iter();
            told.map(|key| {
                assert_eq!(key.key, id);
                key.days
            })
            .collect()
        };
        assert!(days(8 * SECONDS_PER_DAY).is_empty());
        assert_eq!(days(7 * SECONDS_PER_DAY), [7]);
        assert!(days(6 * SECONDS_PER_DAY).is_empty());
        assert_eq!(days(SECONDS_PER_DAY), [1]);
        assert!(days(5).is_empty());
        assert!(days(-5).is_empty());
    }
}
