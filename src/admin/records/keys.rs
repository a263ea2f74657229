//! Keys and their secrets.

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use crate::admin::model::{Moment, Origin, SecretView, Tags};
use crate::auth::{ContentLogging, Digest, RateLimits, Rights, Secret, Status};
use crate::money::Amount;

use super::declaration::Ownership;
use super::{json, next_revision, parsed, status};

/// A key.
#[derive(Clone, Debug)]
pub(in crate::admin) struct KeyRecord {
    /// The place in the order of keys.
    pub(in crate::admin) number: i64,
    pub(in crate::admin) id: String,
    pub(in crate::admin) account: String,
    pub(in crate::admin) name: String,
    pub(in crate::admin) status: Status,
    pub(in crate::admin) rights: Rights,
    pub(in crate::admin) tags: Tags,
    pub(in crate::admin) notes: String,
    pub(in crate::admin) origin: Origin,
    pub(in crate::admin) owner: Ownership,
    pub(in crate::admin) created: i64,
    pub(in crate::admin) created_by: String,
    pub(in crate::admin) watch: bool,
    pub(in crate::admin) content_log: ContentLogging,
    pub(in crate::admin) expires: Option<i64>,
    pub(in crate::admin) deleted: Option<i64>,
    pub(in crate::admin) revision: i64,
    /// The status of its account.
    pub(in crate::admin) account_status: Status,
}

/// The keys that are wanted. Absent conditions hold for all.
#[derive(Clone, Debug, Default)]
pub(in crate::admin) struct KeySelection<'a> {
    pub(in crate::admin) account: Option<&'a str>,
    /// The accounts of which any is wanted.
    pub(in crate::admin) accounts: Option<&'a [String]>,
    pub(in crate::admin) status: Option<&'a str>,
    pub(in crate::admin) state: Option<&'a str>,
    pub(in crate::admin) origin: Option<&'a str>,
    pub(in crate::admin) expires_before: Option<i64>,
    /// A part of the id, the name or the account.
    pub(in crate::admin) text: Option<&'a str>,
    pub(in crate::admin) deleted: bool,
    /// The place before which to begin.
    pub(in crate::admin) before: i64,
    pub(in crate::admin) limit: i64,
    pub(in crate::admin) now: i64,
}

pub(in crate::admin) fn read(connection: &Connection, id: &str) -> rusqlite::Result<Option<KeyRecord>> {
    Ok(read_any(connection, id)?.filter(|key| key.deleted.is_none()))
}

/// Reads a key, even one that was deleted.
pub(in crate::admin) fn read_any(connection: &Connection, id: &str) -> rusqlite::Result<Option<KeyRecord>> {
    let mut query = connection.prepare_cached(&format!("{SELECT} WHERE k.id = ?1"))?;
    query.query_row([id], record).optional()
}

/// Returns the keys that an instance owns and that were not deleted.
pub(in crate::admin) fn owned_by(
    connection: &Connection,
    instance: &str,
) -> rusqlite::Result<Vec<KeyRecord>> {
    let sql = format!("{SELECT} WHERE k.declared_by = ?1 AND k.deleted IS NULL ORDER BY k.number");
    connection.prepare_cached(&sql)?.query_map([instance], record)?.collect()
}

/// Returns the id of the key that has a secret, even one that no longer works.
pub(in crate::admin) fn holder(connection: &Connection, digest: Digest) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT key FROM key_secrets WHERE digest = ?1";
    connection.prepare_cached(sql)?.query_row([digest.0], |row| row.get(0)).optional()
}

pub(in crate::admin) fn list(
    connection: &Connection,
    wanted: &KeySelection<'_>,
) -> rusqlite::Result<Vec<KeyRecord>> {
    let mut query =
        connection.prepare_cached(&format!("{SELECT} {SELECTED} ORDER BY k.number DESC LIMIT :limit"))?;
    let rows = query.query_map(
        named_params! {
            ":account": wanted.account,
            ":accounts": wanted.accounts.map(|accounts| json(&accounts)),
            ":status": wanted.status,
            ":state": wanted.state,
            ":origin": wanted.origin,
            ":expires_before": wanted.expires_before,
            ":text": wanted.text,
            ":deleted": wanted.deleted,
            ":before": wanted.before,
            ":limit": wanted.limit,
            ":now": wanted.now,
        },
        record,
    )?;
    rows.collect()
}

/// Adds a key; its number and revision are given by the store.
pub(in crate::admin) fn insert(connection: &Connection, key: &KeyRecord) -> rusqlite::Result<()> {
    let sql =
        "INSERT INTO keys (id, account, name, status, aliases, strict, origin, created, created_by, revision)
        VALUES (?1, ?2, ?3, ?4, '{}', 0, ?5, ?6, ?7, 0)";
    let status = key.status.name();
    let values =
        params![key.id, key.account, key.name, status, key.origin.name(), key.created, key.created_by];
    connection.prepare_cached(sql)?.execute(values)?;
    update(connection, key)
}

/// Writes the members of a key that can change, except for the spending limit, which is a budget.
pub(in crate::admin) fn update(connection: &Connection, key: &KeyRecord) -> rusqlite::Result<()> {
    let mut query = connection.prepare_cached(
        "UPDATE keys SET account = :account, name = :name, status = :status, models = :models, aliases = :aliases,
            rpm = :rpm, tpm = :tpm, max_concurrent = :max_concurrent, allow_ips = :allow_ips,
            strict = :strict, watch = :watch, content_log = :content_log, tags = :tags, notes = :notes,
            expires = :expires, deleted = :deleted, declared_by = :declared_by, declared = :declared,
            revision = :revision WHERE id = :id",
    )?;
    query.execute(named_params! {
        ":id": key.id,
        ":account": key.account,
        ":name": key.name,
        ":status": key.status.name(),
        ":models": key.rights.models.as_ref().map(json),
        ":aliases": json(&key.rights.aliases),
        ":rpm": key.rights.rate.rpm,
        ":tpm": key.rights.rate.tpm,
        ":max_concurrent": key.rights.max_concurrent,
        ":allow_ips": key.rights.allow_ips.as_ref().map(json),
        ":strict": key.rights.strict,
        ":watch": key.watch,
        ":content_log": key.content_log == ContentLogging::On,
        ":tags": json(&key.tags),
        ":notes": key.notes,
        ":expires": key.expires,
        ":deleted": key.deleted,
        ":declared_by": key.owner.instance,
        ":declared": key.owner.text(),
        ":revision": next_revision(connection)?,
    })?;
    Ok(())
}

/// Returns the secrets of a key, oldest first. Those that no longer work are left out.
pub(in crate::admin) fn secrets(
    connection: &Connection,
    id: &str,
    now: i64,
) -> rusqlite::Result<Vec<SecretView>> {
    let mut query = connection.prepare_cached(
        "SELECT hint, created, not_after, last_used FROM key_secrets
         WHERE key = ?1 AND (not_after IS NULL OR not_after > ?2) ORDER BY created, not_after IS NULL",
    )?;
    let view = |row: &Row<'_>| {
        Ok(SecretView {
            hint: row.get(0)?,
            created_at: Moment(row.get(1)?),
            not_after: row.get::<_, Option<i64>>(2)?.map(Moment),
            last_used_at: row.get::<_, Option<i64>>(3)?.map(Moment),
        })
    };
    query.query_map(params![id, now], view)?.collect()
}

pub(in crate::admin) fn add_secret(
    connection: &Connection,
    id: &str,
    secret: &Secret,
    now: i64,
) -> rusqlite::Result<()> {
    add_digest(connection, id, secret.digest(), Some(secret.hint()), now)
}

/// Adds a secret of which only the digest is known, and its last characters if they are known.
pub(in crate::admin) fn add_digest(
    connection: &Connection,
    id: &str,
    digest: Digest,
    hint: Option<&str>,
    now: i64,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO key_secrets (digest, key, hint, created) VALUES (?1, ?2, ?3, ?4)";
    connection.prepare_cached(sql)?.execute(params![digest.0, id, hint, now])?;
    Ok(())
}

/// Ends the secret without an end at `not_after`, and removes all others.
pub(in crate::admin) fn end_secrets(
    connection: &Connection,
    id: &str,
    not_after: i64,
) -> rusqlite::Result<()> {
    let gone = "DELETE FROM key_secrets WHERE key = ?1 AND not_after IS NOT NULL";
    connection.prepare_cached(gone)?.execute([id])?;
    let ended = "UPDATE key_secrets SET not_after = ?2 WHERE key = ?1";
    connection.prepare_cached(ended)?.execute(params![id, not_after])?;
    Ok(())
}

pub(in crate::admin) fn erase_secrets(connection: &Connection, id: &str) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM key_secrets WHERE key = ?1")?.execute([id])?;
    Ok(())
}

/// Returns the ids of the keys with a secret of this digest or with this end, newest first.
pub(in crate::admin) fn ids_by_secret(
    connection: &Connection,
    digest: Option<Digest>,
    hint: Option<&str>,
    limit: i64,
) -> rusqlite::Result<Vec<String>> {
    let mut query = connection.prepare_cached(
        "SELECT DISTINCT k.id FROM key_secrets s JOIN keys k ON k.id = s.key
         WHERE (s.digest = ?1 OR s.hint = ?2) AND k.deleted IS NULL ORDER BY k.number DESC LIMIT ?3",
    )?;
    query.query_map(params![digest.map(|digest| digest.0), hint, limit], |row| row.get(0))?.collect()
}

/// Returns what the calls of a key have cost since a day, in nano-USD.
pub(in crate::admin) fn spent_since(connection: &Connection, id: &str, day: i64) -> rusqlite::Result<Amount> {
    let sql = "SELECT COALESCE(SUM(cost), 0) FROM usage WHERE key = ?1 AND day >= ?2";
    connection.prepare_cached(sql)?.query_row(params![id, day], |row| row.get(0))
}

/// Counts the keys of an account that were not deleted.
pub(in crate::admin) fn count(connection: &Connection, account: &str) -> rusqlite::Result<i64> {
    let sql = "SELECT COUNT(*) FROM keys WHERE account = ?1 AND deleted IS NULL";
    connection.prepare_cached(sql)?.query_row([account], |row| row.get(0))
}

/// Returns the number of keys, deleted ones included.
pub(in crate::admin) fn count_all(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT count(*) FROM keys", [], |row| row.get(0))
}

fn record(row: &Row<'_>) -> rusqlite::Result<KeyRecord> {
    let (origin, account_status): (String, String) = (row.get("origin")?, row.get("account_status")?);
    let account_is_active = account_status == Status::Active.name();
    Ok(KeyRecord {
        number: row.get("number")?,
        id: row.get("id")?,
        account: row.get("account")?,
        name: row.get("name")?,
        status: status(row)?,
        rights: Rights {
            models: parsed(row, "models")?,
            aliases: parsed(row, "aliases")?.unwrap_or_default(),
            rate: RateLimits { rpm: row.get("rpm")?, tpm: row.get("tpm")? },
            spending_limit: row.get("spending_limit")?,
            strict: row.get("strict")?,
            max_concurrent: row.get("max_concurrent")?,
            allow_ips: parsed(row, "allow_ips")?,
        },
        watch: row.get("watch")?,
        content_log: ContentLogging::of_stored(row.get("content_log")?),
        tags: parsed(row, "tags")?.unwrap_or_default(),
        notes: row.get("notes")?,
        origin: Origin::named(&origin),
        owner: Ownership::read(row)?,
        created: row.get("created")?,
        created_by: row.get("created_by")?,
        expires: row.get("expires")?,
        deleted: row.get("deleted")?,
        revision: row.get("revision")?,
        account_status: if account_is_active { Status::Active } else { Status::Disabled },
    })
}

const SELECT: &str = "SELECT k.*, a.status AS account_status, (SELECT amount FROM budgets
        WHERE kind = 'key' AND owner = k.id AND period = 'total' AND hard = 1) AS spending_limit
    FROM keys k JOIN accounts a ON a.id = k.account";

const SELECTED: &str = "WHERE k.number < :before AND (k.deleted IS NOT NULL) = :deleted
    AND (:account IS NULL OR k.account = :account)
    AND (:accounts IS NULL OR k.account IN (SELECT value FROM json_each(:accounts)))
    AND (:status IS NULL OR k.status = :status)
    AND (:origin IS NULL OR k.origin = :origin)
    AND (:expires_before IS NULL OR k.expires < :expires_before)
    AND (:text IS NULL OR instr(lower(k.id || ' ' || k.name || ' ' || k.account), lower(:text)) > 0)
    AND (:state IS NULL OR :state = CASE WHEN k.deleted IS NOT NULL THEN 'deleted'
        WHEN k.status <> 'active' THEN 'disabled'
        WHEN k.expires <= :now THEN 'expired'
        WHEN a.status <> 'active' THEN 'account_disabled' ELSE 'active' END)";
