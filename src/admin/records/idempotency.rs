//! Requests that may be repeated, and their results.

use rusqlite::{Connection, OptionalExtension, params};

/// A request that was carried out.
#[derive(Clone, Debug)]
pub(in crate::admin) struct IdempotencyRecord {
    /// The digest of its body.
    pub(in crate::admin) request: [u8; 32],
    /// The HTTP status of the answer.
    pub(in crate::admin) status: u16,
    /// The id of the object.
    pub(in crate::admin) subject: String,
}

pub(in crate::admin) fn read(
    connection: &Connection,
    digest: &[u8; 32],
    now: i64,
) -> rusqlite::Result<Option<IdempotencyRecord>> {
    let sql = "SELECT request, status, subject FROM idempotency WHERE digest = ?1 AND time > ?2";
    let record = |row: &rusqlite::Row<'_>| {
        Ok(IdempotencyRecord { request: row.get(0)?, status: row.get(1)?, subject: row.get(2)? })
    };
    connection.prepare_cached(sql)?.query_row(params![digest, now - KEPT_SECONDS], record).optional()
}

/// Adds a request, and removes some that are too old.
pub(in crate::admin) fn insert(
    connection: &Connection,
    digest: &[u8; 32],
    record: &IdempotencyRecord,
    now: i64,
) -> rusqlite::Result<()> {
    let old =
        "DELETE FROM idempotency WHERE digest IN (SELECT digest FROM idempotency WHERE time <= ?1 LIMIT ?2)";
    connection.prepare_cached(old)?.execute([now - KEPT_SECONDS, MAX_REMOVED_ROWS])?;
    let sql = "INSERT INTO idempotency VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (digest) DO UPDATE
        SET request = excluded.request, status = excluded.status, subject = excluded.subject, time = excluded.time";
    let values = params![digest, record.request, record.status, record.subject, now];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// The time for which requests are kept: 24 hours.
const KEPT_SECONDS: i64 = 86_400;

/// The most requests that are removed with a new one.
const MAX_REMOVED_ROWS: i64 = 100;
