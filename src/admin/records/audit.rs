//! The rows of the audit log.

use rusqlite::{Connection, Row, named_params, params};

use crate::admin::model::{AuditRow, Moment};

use super::{json, parsed};

/// The rows that are wanted. Absent conditions hold for all.
#[derive(Clone, Debug, Default)]
pub(in crate::admin) struct AuditSelection<'a> {
    pub(in crate::admin) actor: Option<&'a str>,
    pub(in crate::admin) action: Option<&'a str>,
    pub(in crate::admin) subject: Option<&'a str>,
    /// The accounts of which any is wanted.
    pub(in crate::admin) accounts: Option<&'a [String]>,
    pub(in crate::admin) from: Option<i64>,
    pub(in crate::admin) to: Option<i64>,
    /// The row before which to begin.
    pub(in crate::admin) before: i64,
    pub(in crate::admin) limit: i64,
}

/// Adds a row. The number is given by the store.
pub(in crate::admin) fn insert(connection: &Connection, row: &AuditRow) -> rusqlite::Result<()> {
    let sql = "INSERT INTO audit (time, actor, via, address, action, subject, account, outcome, before, after, request)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    connection.prepare_cached(sql)?.execute(params![
        row.time.0,
        row.actor,
        row.via,
        row.address,
        row.action,
        row.subject,
        row.account,
        row.outcome,
        row.before.as_ref().map(json),
        row.after.as_ref().map(json),
        row.request_id,
    ])?;
    Ok(())
}

/// Removes rows from before a time, and returns their number: not all at once, because others wait.
pub(in crate::admin) fn remove_before(connection: &Connection, time: i64) -> rusqlite::Result<usize> {
    let old = "DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE time < ?1 LIMIT ?2)";
    connection.prepare_cached(old)?.execute([time, MAX_REMOVED_ROWS])
}

pub(in crate::admin) fn list(
    connection: &Connection,
    wanted: &AuditSelection<'_>,
) -> rusqlite::Result<Vec<AuditRow>> {
    let mut query = connection.prepare_cached(
        "SELECT * FROM audit WHERE seq < :before AND (:actor IS NULL OR actor = :actor)
            AND (:action IS NULL OR action = :action) AND (:subject IS NULL OR subject = :subject)
            AND (:accounts IS NULL OR account IN (SELECT value FROM json_each(:accounts)))
            AND (:from IS NULL OR time >= :from) AND (:to IS NULL OR time < :to)
         ORDER BY seq DESC LIMIT :limit",
    )?;
    let rows = query.query_map(
        named_params! {
            ":before": wanted.before,
            ":actor": wanted.actor,
            ":action": wanted.action,
            ":subject": wanted.subject,
            ":accounts": wanted.accounts.map(|accounts| json(&accounts)),
            ":from": wanted.from,
            ":to": wanted.to,
            ":limit": wanted.limit,
        },
        record,
    )?;
    rows.collect()
}

fn record(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    Ok(AuditRow {
        seq: row.get("seq")?,
        time: Moment(row.get("time")?),
        actor: row.get("actor")?,
        via: row.get("via")?,
        address: row.get("address")?,
        action: row.get("action")?,
        subject: row.get("subject")?,
        account: row.get("account")?,
        outcome: row.get("outcome")?,
        before: parsed(row, "before")?,
        after: parsed(row, "after")?,
        request_id: row.get("request")?,
    })
}

/// The most rows that are removed at once. A chosen value: it takes some milliseconds.
const MAX_REMOVED_ROWS: i64 = 1_000;
