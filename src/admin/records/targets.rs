//! Orders about targets.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::route::TargetRest;

pub(in crate::admin) fn read(connection: &Connection, target: &str) -> rusqlite::Result<Option<TargetRest>> {
    let sql = "SELECT target, until, reason, actor, time FROM rested_targets WHERE target = ?1";
    let row = connection.prepare_cached(sql)?.query_row([target], record).optional()?;
    Ok(row.map(|(_, order)| order))
}

/// Returns all orders, by target.
pub(in crate::admin) fn list(connection: &Connection) -> rusqlite::Result<HashMap<String, TargetRest>> {
    let sql = "SELECT target, until, reason, actor, time FROM rested_targets";
    connection.prepare_cached(sql)?.query_map([], record)?.collect()
}

/// Writes an order, and removes those that are long over.
pub(in crate::admin) fn write(
    connection: &Connection,
    target: &str,
    order: &TargetRest,
) -> rusqlite::Result<()> {
    let TargetRest { until, reason, actor, since } = order;
    let old = "DELETE FROM rested_targets WHERE until < ?1";
    connection.prepare_cached(old)?.execute([since.as_second() - KEPT_SECONDS])?;
    let sql = "INSERT INTO rested_targets VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (target) DO UPDATE SET
        until = excluded.until, reason = excluded.reason, actor = excluded.actor, time = excluded.time";
    let values = params![target, until.as_second(), reason, actor, since.as_second()];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

fn record(row: &Row<'_>) -> rusqlite::Result<(String, TargetRest)> {
    let time = |column| row.get(column).map(|second| Timestamp::from_second(second).unwrap_or_default());
    let order = TargetRest {
        until: time("until")?,
        reason: row.get("reason")?,
        actor: row.get("actor")?,
        since: time("time")?,
    };
    Ok((row.get("target")?, order))
}

/// The time for which an order is kept after its end: gateways look far more often.
const KEPT_SECONDS: i64 = 86_400;
