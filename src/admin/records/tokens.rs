//! Operators' credentials.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::admin::model::Role;
use crate::auth::Digest;

use super::{json, parsed};

/// A credential.
#[derive(Clone, Debug)]
pub(in crate::admin) struct TokenRecord {
    /// The place in the order of tokens.
    pub(in crate::admin) number: i64,
    pub(in crate::admin) id: String,
    pub(in crate::admin) name: String,
    pub(in crate::admin) digest: Digest,
    pub(in crate::admin) role: Role,
    /// The accounts that it is for; `None`: all.
    pub(in crate::admin) accounts: Option<Vec<String>>,
    pub(in crate::admin) created: i64,
    pub(in crate::admin) created_by: String,
    pub(in crate::admin) expires: Option<i64>,
}

pub(in crate::admin) fn read(connection: &Connection, id: &str) -> rusqlite::Result<Option<TokenRecord>> {
    connection.prepare_cached("SELECT * FROM tokens WHERE id = ?1")?.query_row([id], record).optional()
}

pub(in crate::admin) fn by_digest(
    connection: &Connection,
    digest: &Digest,
) -> rusqlite::Result<Option<TokenRecord>> {
    let sql = "SELECT * FROM tokens WHERE digest = ?1";
    connection.prepare_cached(sql)?.query_row([digest.0], record).optional()
}

pub(in crate::admin) fn list(
    connection: &Connection,
    before: i64,
    limit: i64,
) -> rusqlite::Result<Vec<TokenRecord>> {
    let sql = "SELECT * FROM tokens WHERE number < ?1 ORDER BY number DESC LIMIT ?2";
    connection.prepare_cached(sql)?.query_map([before, limit], record)?.collect()
}

/// Adds a token; its number is given by the store.
pub(in crate::admin) fn insert(connection: &Connection, token: &TokenRecord) -> rusqlite::Result<()> {
    let sql = "INSERT INTO tokens (id, name, digest, role, created, created_by, expires, accounts)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let TokenRecord { id, name, digest, role, accounts, created, created_by, expires, .. } = token;
    let accounts = accounts.as_ref().map(json);
    let values = params![id, name, digest.0, role.name(), created, created_by, expires, accounts];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

pub(in crate::admin) fn delete(connection: &Connection, id: &str) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM tokens WHERE id = ?1")?.execute([id])?;
    Ok(())
}

fn record(row: &Row<'_>) -> rusqlite::Result<TokenRecord> {
    let role: String = row.get("role")?;
    Ok(TokenRecord {
        number: row.get("number")?,
        id: row.get("id")?,
        name: row.get("name")?,
        digest: Digest(row.get("digest")?),
        role: Role::named(&role),
        accounts: parsed(row, "accounts")?,
        created: row.get("created")?,
        created_by: row.get("created_by")?,
        expires: row.get("expires")?,
    })
}
