//! The rows of the store that operators change. All SQL that writes them is here.

pub(super) mod accounts;
pub(super) mod audit;
pub(super) mod declaration;
pub(super) mod idempotency;
pub(super) mod keys;
pub(super) mod targets;
pub(super) mod tokens;

use rusqlite::types::Type;
use rusqlite::{Connection, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::auth::Status;

/// Counts a change of keys or accounts, and returns its number.
pub(super) fn next_revision(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "UPDATE revision SET number = number + 1 RETURNING number";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn parsed<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    let wrong = |error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error));
    text.map(|text| serde_json::from_str(&text).map_err(wrong)).transpose()
}

fn status(row: &Row<'_>) -> rusqlite::Result<Status> {
    let name: String = row.get("status")?;
    Ok(if name == Status::Active.name() { Status::Active } else { Status::Disabled })
}
