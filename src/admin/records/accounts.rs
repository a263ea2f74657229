//! Accounts.

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use crate::admin::model::{Origin, Tags};
use crate::auth::{AccountLimits, RateLimits, Status};
use crate::money::Amount;

use super::declaration::Ownership;
use super::{json, next_revision, parsed, status};

/// An account.
#[derive(Clone, Debug)]
pub(in crate::admin) struct AccountRecord {
    /// The place in the order of accounts.
    pub(in crate::admin) number: i64,
    pub(in crate::admin) id: String,
    pub(in crate::admin) name: String,
    pub(in crate::admin) status: Status,
    pub(in crate::admin) low_balance: Option<Amount>,
    pub(in crate::admin) limits: AccountLimits,
    pub(in crate::admin) tags: Tags,
    pub(in crate::admin) origin: Origin,
    pub(in crate::admin) owner: Ownership,
    pub(in crate::admin) created: i64,
    pub(in crate::admin) created_by: String,
    pub(in crate::admin) deleted: Option<i64>,
    pub(in crate::admin) revision: i64,
}

/// Reads an account, even one that was deleted.
pub(in crate::admin) fn read_any(
    connection: &Connection,
    id: &str,
) -> rusqlite::Result<Option<AccountRecord>> {
    let mut query = connection.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?;
    query.query_row([id], record).optional()
}

pub(in crate::admin) fn read(connection: &Connection, id: &str) -> rusqlite::Result<Option<AccountRecord>> {
    Ok(read_any(connection, id)?.filter(|account| account.deleted.is_none()))
}

pub(in crate::admin) fn list(
    connection: &Connection,
    accounts: Option<&[String]>,
    (before, limit): (i64, i64),
) -> rusqlite::Result<Vec<AccountRecord>> {
    let sql = format!(
        "{SELECT} WHERE rowid < ?1 AND deleted IS NULL AND (?3 IS NULL OR id IN (SELECT value FROM json_each(?3)))
         ORDER BY rowid DESC LIMIT ?2"
    );
    let accounts = accounts.map(|accounts| json(&accounts));
    connection.prepare_cached(&sql)?.query_map(params![before, limit, accounts], record)?.collect()
}

/// Returns the accounts that an instance owns and that were not deleted.
pub(in crate::admin) fn owned_by(
    connection: &Connection,
    instance: &str,
) -> rusqlite::Result<Vec<AccountRecord>> {
    let sql = format!("{SELECT} WHERE declared_by = ?1 AND deleted IS NULL ORDER BY rowid");
    connection.prepare_cached(&sql)?.query_map([instance], record)?.collect()
}

/// Adds an account; its number and revision are given by the store.
pub(in crate::admin) fn insert(connection: &Connection, account: &AccountRecord) -> rusqlite::Result<()> {
    let sql = "INSERT INTO accounts (id, status, created, origin, created_by) VALUES (?1, ?2, ?3, ?4, ?5)";
    let status = account.status.name();
    let values = params![account.id, status, account.created, account.origin.name(), account.created_by];
    connection.prepare_cached(sql)?.execute(values)?;
    update(connection, account)
}

/// Writes the members of an account that can change.
pub(in crate::admin) fn update(connection: &Connection, account: &AccountRecord) -> rusqlite::Result<()> {
    let mut query = connection.prepare_cached(
        "UPDATE accounts SET name = :name, status = :status, low_balance = :low_balance, tags = :tags,
            models = :models, rpm = :rpm, tpm = :tpm, max_concurrent = :max_concurrent,
            deleted = :deleted, declared_by = :declared_by, declared = :declared, revision = :revision WHERE id = :id",
    )?;
    query.execute(named_params! {
        ":id": account.id,
        ":name": account.name,
        ":status": account.status.name(),
        ":low_balance": account.low_balance,
        ":models": account.limits.models.as_ref().map(json),
        ":rpm": account.limits.rate.rpm,
        ":tpm": account.limits.rate.tpm,
        ":max_concurrent": account.limits.max_concurrent,
        ":tags": json(&account.tags),
        ":deleted": account.deleted,
        ":declared_by": account.owner.instance,
        ":declared": account.owner.text(),
        ":revision": next_revision(connection)?,
    })?;
    Ok(())
}

fn record(row: &Row<'_>) -> rusqlite::Result<AccountRecord> {
    let origin: String = row.get("origin")?;
    Ok(AccountRecord {
        number: row.get("number")?,
        id: row.get("id")?,
        name: row.get("name")?,
        status: status(row)?,
        low_balance: row.get("low_balance")?,
        limits: AccountLimits {
            models: parsed(row, "models")?,
            rate: RateLimits { rpm: row.get("rpm")?, tpm: row.get("tpm")? },
            max_concurrent: row.get("max_concurrent")?,
        },
        tags: parsed(row, "tags")?.unwrap_or_default(),
        origin: Origin::named(&origin),
        owner: Ownership::read(row)?,
        created: row.get("created")?,
        created_by: row.get("created_by")?,
        deleted: row.get("deleted")?,
        revision: row.get("revision")?,
    })
}

const SELECT: &str = "SELECT rowid AS number, * FROM accounts";
