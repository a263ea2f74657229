//! The keys of the store as the gateway reads them. The store holds digests and no key's secret.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::store::{self, StoreError};

use super::budget::{self, Budget, BudgetOwner};
use super::key::KeySecret;
use super::tag;
use super::{AccountLimits, ContentLogging, Digest, Key, RateLimits, Rights, SharedSecret, Status};

/// A key of the store with its working secrets, oldest first.
#[derive(Debug)]
pub(super) struct StoredKey {
    pub(super) id: String,
    /// The key with each of its secrets; none if the key was deleted.
    pub(super) secrets: Vec<Key>,
}

/// The open store.
#[derive(Debug)]
pub struct Store(Connection);

impl Store {
    /// Opens the store in a data folder. Makes both if they do not exist.
    ///
    /// # Errors
    /// Fails if the folder or the file cannot be made, read or brought to the current form.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Ok(Self(store::open(folder)?))
    }

    /// Opens the store in a data folder only to read it.
    ///
    /// # Errors
    /// Fails if there is no store, or it cannot be read.
    pub fn open_to_read(folder: &Path) -> Result<Self, StoreError> {
        Ok(Self(store::open_to_read(folder)?))
    }

    /// Returns a number that changes whenever another process, or another part of this one, has changed the file.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub fn version(&self) -> Result<i64, StoreError> {
        Ok(self.0.pragma_query_value(None, "data_version", |row| row.get(0))?)
    }

    /// Returns a number that changes whenever keys or accounts have changed.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub fn revision(&self) -> Result<i64, StoreError> {
        let mut query = self.0.prepare_cached("SELECT number FROM revision")?;
        Ok(query.query_row([], |row| row.get(0))?)
    }

    /// Returns the secret that all gateways of the store share. The first call makes it.
    ///
    /// # Errors
    /// Fails if the file cannot be read or written.
    pub fn shared_secret(&self) -> Result<SharedSecret, StoreError> {
        let select = "SELECT value FROM secrets WHERE name = ?1";
        let read = || self.0.query_row(select, [SHARED], |row| row.get(0)).optional();
        if let Some(value) = read()? {
            return Ok(SharedSecret::new(value));
        }
        let fresh: [u8; 32] = rand::random();
        // Another process may have been faster: the secret in the store counts.
        self.0
            .execute("INSERT INTO secrets VALUES (?1, ?2) ON CONFLICT DO NOTHING", params![SHARED, fresh])?;
        let value = read()?.ok_or_else(|| StoreError::NotFound("shared secret".to_owned()))?;
        Ok(SharedSecret::new(value))
    }

    /// Returns the keys that have changed since a revision, or whose account has, oldest first.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub(super) fn changed_since(&self, revision: i64) -> Result<Vec<StoredKey>, StoreError> {
        let mut query = self.0.prepare_cached(SELECT_CHANGED)?;
        let mut rows = query.query([revision])?;
        let mut keys: Vec<StoredKey> = Vec::new();
        while let Some(row) = rows.next()? {
            let id: String = row.get("id")?;
            if keys.last().is_none_or(|last| last.id != id) {
                keys.push(StoredKey { id, secrets: Vec::new() });
            }
            let Some(stored) = keys.last_mut() else { continue };
            if let Some(key) = key(row)? {
                // Secrets come in the order in which they were made.
                stored.secrets.iter_mut().for_each(|earlier| earlier.secret.is_newest = false);
                stored.secrets.push(key);
                join_secrets(&mut stored.secrets);
            }
        }
        self.add_budgets(&mut keys, revision)?;
        Ok(keys)
    }

    /// Adds their budgets to the keys that have changed since a revision.
    fn add_budgets(&self, keys: &mut [StoredKey], revision: i64) -> Result<(), StoreError> {
        let changed = budget::changed_since(&self.0, revision)?;
        let mut by_owner: HashMap<(BudgetOwner, &str), Vec<&Budget>> = HashMap::new();
        for (owner, budget) in &changed {
            by_owner.entry((budget.owner, owner)).or_default().push(budget);
        }
        if by_owner.is_empty() {
            return Ok(());
        }
        for key in keys.iter_mut().flat_map(|stored| &mut stored.secrets) {
            let owners = [(BudgetOwner::Key, key.id.as_str()), (BudgetOwner::Account, key.account.as_str())];
            let own = owners.iter().filter_map(|owner| by_owner.get(owner)).flatten();
            key.budgets = own.map(|budget| (*budget).clone()).collect();
            key.rights.spending_limit =
                key.budgets.iter().find(|one| one.is_spending_limit()).map(|one| one.limit);
        }
        Ok(())
    }
}

/// Notes the time until which two secrets of a key work, which is that at which the earlier one ends, and lets both count
/// calls together.
fn join_secrets(secrets: &mut [Key]) {
    if let [.., earlier, newest] = secrets {
        newest.counts = Arc::clone(&earlier.counts);
        let end = earlier.secret.not_after;
        (earlier.secret.other_until, newest.secret.other_until) = (end, end);
    }
}

/// Reads a key with one of its secrets; `None` if it has none.
fn key(row: &Row<'_>) -> rusqlite::Result<Option<Key>> {
    let Some(digest) = row.get("digest")? else { return Ok(None) };
    let models: Option<String> = row.get("models")?;
    let (aliases, tags): (String, String) = (row.get("aliases")?, row.get("tags")?);
    let account_tags: String = row.get("account_tags")?;
    let allow_ips: Option<String> = row.get("allow_ips")?;
    let last_used: Option<i64> = row.get("last_used")?;
    let minute = last_used.and_then(|time| u32::try_from(time / SECONDS_PER_MINUTE).ok());
    Ok(Some(Key {
        id: row.get("id")?,
        account: row.get("account")?,
        name: row.get("name")?,
        status: status(row, "status")?,
        rights: Rights {
            models: models.map(|text| parse(&text)).transpose()?,
            aliases: parse(&aliases)?,
            rate: RateLimits { rpm: row.get("rpm")?, tpm: row.get("tpm")? },
            spending_limit: None,
            strict: row.get("strict")?,
            max_concurrent: row.get("max_concurrent")?,
            allow_ips: allow_ips.map(|text| parse(&text)).transpose()?,
        },
        watch: row.get("watch")?,
        content_log: ContentLogging::of_stored(row.get("content_log")?),
        created: row.get("created")?,
        expires: row.get("expires")?,
        secret: KeySecret {
            digest: Digest(digest),
            hint: row.get("hint")?,
            not_after: row.get("not_after")?,
            is_newest: true,
            other_until: None,
            last_used: Arc::new(AtomicU32::new(minute.unwrap_or_default())),
        },
        account_status: status(row, "account_status")?,
        account_limits: account_limits(row)?,
        has_wallet: row.get("has_wallet")?,
        budgets: Arc::default(),
        tags: tag::of_key(&account_tags, &tags),
        counts: Arc::default(),
    }))
}

/// Reads the limits of a key's account; `None` if it has none.
fn account_limits(row: &Row<'_>) -> rusqlite::Result<Option<Box<AccountLimits>>> {
    let models: Option<String> = row.get("account_models")?;
    let limits = AccountLimits {
        models: models.map(|text| parse(&text)).transpose()?,
        rate: RateLimits { rpm: row.get("account_rpm")?, tpm: row.get("account_tpm")? },
        max_concurrent: row.get("account_max_concurrent")?,
    };
    Ok(Some(limits).filter(|limits| !limits.is_unlimited()).map(Box::new))
}

fn status(row: &Row<'_>, column: &str) -> rusqlite::Result<Status> {
    let name: String = row.get(column)?;
    Ok(if name == Status::Active.name() { Status::Active } else { Status::Disabled })
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(e)))
}

/// The name of the shared secret among the secrets of the store.
const SHARED: &str = "shared";

/// The keys that have changed since a revision, each with its secrets.
const SELECT_CHANGED: &str = "SELECT k.*, a.status AS account_status, a.tags AS account_tags, a.models AS account_models,
    a.rpm AS account_rpm, a.tpm AS account_tpm, a.max_concurrent AS account_max_concurrent,
    s.digest, s.hint, s.not_after, s.last_used,
    EXISTS (SELECT 1 FROM wallets w WHERE w.account = k.account) AS has_wallet
    FROM keys k JOIN accounts a ON a.id = k.account LEFT JOIN key_secrets s ON s.key = k.id AND k.deleted IS NULL
    WHERE k.id IN (SELECT id FROM keys WHERE revision > ?1 UNION
        SELECT other.id FROM accounts changed JOIN keys other ON other.account = changed.id WHERE changed.revision > ?1)
    ORDER BY k.number, s.created, s.not_after IS NULL";

/// The unit of a secret's last use.
pub(super) const SECONDS_PER_MINUTE: i64 = 60;

/// The writes that tests of lower layers need. Everybody else uses the operations of the gateway.
#[cfg(test)]
pub(crate) mod testing {
    use rusqlite::params;

    use super::*;
    use crate::auth::{Secret, random_id};

    /// The properties of a new key.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct NewKey {
        pub(crate) account: String,
        pub(crate) name: String,
        pub(crate) rights: Rights,
    }

    impl Store {
        pub(crate) fn create_account(&self, id: &str) -> Result<(), StoreError> {
            let sql = "INSERT INTO accounts (id, status, created) VALUES (?1, 'active', 0)";
            self.0.execute(sql, [id])?;
            Ok(())
        }

        pub(crate) fn create_key(&self, new: &NewKey) -> Result<(Key, Secret), StoreError> {
            let (id, secret) = (random_id("key_"), Secret::generate());
            let Rights { models, aliases, rate, spending_limit, strict, .. } = &new.rights;
            let models = models.as_ref().map(|models| serde_json::to_string(models).unwrap());
            let aliases = serde_json::to_string(aliases).unwrap();
            let number = self.next_revision();
            self.0.execute(
                "INSERT INTO keys (id, account, name, status, models, aliases, rpm, tpm, strict, origin, created,
                    created_by, revision)
                 VALUES (?1, ?2, ?3, 'active', ?4, ?5, ?6, ?7, ?8, 'cli', 0, 'test', ?9)",
                params![id, new.account, new.name, models, aliases, rate.rpm, rate.tpm, strict, number],
            )?;
            self.set_spending_limit(&id, *spending_limit);
            self.add_secret(&id, &secret, None);
            let mut stored = self.changed_since(number - 1)?;
            Ok((stored.pop().unwrap().secrets.pop().unwrap(), secret))
        }

        /// Returns a key with its newest secret.
        pub(crate) fn key(&self, id: &str) -> Result<Key, StoreError> {
            let found = self.changed_since(-1)?.into_iter().find(|key| key.id == id);
            let newest = found.and_then(|mut key| key.secrets.pop());
            newest.ok_or_else(|| StoreError::NotFound(format!("key '{id}'")))
        }

        pub(crate) fn add_secret(&self, id: &str, secret: &Secret, not_after: Option<i64>) {
            let sql =
                "INSERT INTO key_secrets (digest, key, hint, created, not_after) VALUES (?1, ?2, ?3, 0, ?4)";
            self.0.execute(sql, params![secret.digest().0, id, secret.hint(), not_after]).unwrap();
        }

        pub(crate) fn set_spending_limit(&self, id: &str, limit: Option<crate::money::Amount>) {
            let budget = "kind = 'key' AND owner = ?1 AND period = 'total' AND hard";
            match limit {
                None => self.0.execute(&format!("DELETE FROM budgets WHERE {budget}"), [id]).unwrap(),
                Some(limit) => {
                    let sql = "INSERT INTO budgets (kind, owner, period, amount, hard) VALUES ('key', ?1, 'total', ?2, 1)
                        ON CONFLICT DO UPDATE SET amount = excluded.amount";
                    self.0.execute(sql, params![id, limit]).unwrap()
                }
            };
        }

        /// Changes a row of `keys` or `accounts`.
        pub(crate) fn change(&self, table: &str, id: &str, column: &str, value: impl rusqlite::ToSql) {
            let sql = format!("UPDATE {table} SET {column} = ?2, revision = ?3 WHERE id = ?1");
            self.0.execute(&sql, params![id, value, self.next_revision()]).unwrap();
        }

        pub(crate) fn execute(&self, sql: &str) {
            self.0.execute_batch(sql).unwrap();
        }

        fn next_revision(&self) -> i64 {
            let sql = "UPDATE revision SET number = number + 1 RETURNING number";
            self.0.query_row(sql, [], |row| row.get(0)).unwrap()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_open_a_store_share_one_secret() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let key = |folder: &Path| Store::open(folder).unwrap().shared_secret().unwrap().key("x");
        let first = std::thread::scope(|scope| {
            let others: [_; 4] = std::array::from_fn(|_| scope.spawn(|| key(folder.path())));
            let first = key(folder.path());
            assert!(others.into_iter().all(|other| other.join().unwrap() == first));
            first
        });
        assert_ne!(key(other.path()), first);
    }
}
