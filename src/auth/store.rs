//! Accounts and keys in the store, which holds digests and no key's secret.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use serde::Serialize;

use crate::store::{self, StoreError};

use super::budget::{self, Budget, BudgetOwner};
use super::{Digest, Key, RateLimits, Rights, Secret, SharedSecret, Status, random_id};

/// An account, which owns keys and pays for their calls.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    /// Its name.
    pub id: String,
    /// Whether it is in use.
    pub status: Status,
    /// Seconds since the epoch.
    pub created: i64,
}

/// The properties of a new key.
#[derive(Clone, Debug, Default)]
pub struct NewKey {
    /// The account that owns it.
    pub account: String,
    /// A human-readable name.
    pub name: String,
    /// Its rights.
    pub rights: Rights,
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

    /// Returns all keys, oldest first.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub fn keys(&self) -> Result<Vec<Key>, StoreError> {
        let mut query = self.0.prepare_cached(&format!("{SELECT} ORDER BY k.rowid"))?;
        let mut keys = query.query_map([], key)?.collect::<Result<Vec<_>, _>>()?;
        self.add_budgets(&mut keys)?;
        Ok(keys)
    }

    /// Returns one key by its id.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or when the file cannot be read.
    pub fn key(&self, id: &str) -> Result<Key, StoreError> {
        let mut query = self.0.prepare_cached(&format!("{SELECT} WHERE k.id = ?1"))?;
        let key = query.query_row([id], key).optional()?;
        let mut key = key.ok_or_else(|| StoreError::NotFound(format!("key '{id}'")))?;
        self.add_budgets(std::slice::from_mut(&mut key))?;
        Ok(key)
    }

    /// Adds their budgets to keys.
    fn add_budgets(&self, keys: &mut [Key]) -> Result<(), StoreError> {
        let all = budget::all(&self.0)?;
        let mut by_owner: HashMap<(BudgetOwner, &str), Vec<&Budget>> = HashMap::new();
        for (owner, budget) in &all {
            by_owner.entry((budget.owner, owner)).or_default().push(budget);
        }
        if by_owner.is_empty() {
            return Ok(());
        }
        for key in keys {
            let owners = [(BudgetOwner::Key, key.id.as_str()), (BudgetOwner::Account, key.account.as_str())];
            let own = owners.iter().filter_map(|owner| by_owner.get(owner)).flatten();
            key.budgets = own.map(|budget| (*budget).clone()).collect();
        }
        Ok(())
    }

    /// Makes a key. The secret is returned once and cannot be read again.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for an unknown account, or when the file cannot be written.
    pub fn create_key(&self, new: &NewKey) -> Result<(Key, Secret), StoreError> {
        self.account(&new.account)?;
        let secret = Secret::generate();
        let Some(digest) = Digest::of(secret.expose()) else {
            return Err(StoreError::NotFound("the digest of a new secret".to_owned()));
        };
        let id = random_id("key_");
        self.0.execute(
            "INSERT INTO keys (id, account, name, digest, status, aliases, created)
             VALUES (?1, ?2, ?3, ?4, 'active', '{}', ?5)",
            params![id, new.account, new.name, digest.0, store::now()],
        )?;
        self.set_rights(&id, &new.rights)?;
        Ok((self.key(&id)?, secret))
    }

    /// Changes the rights of a key.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or when the file cannot be written.
    pub fn set_rights(&self, id: &str, rights: &Rights) -> Result<(), StoreError> {
        let changed = self.0.execute(
            "UPDATE keys SET models = :models, aliases = :aliases, rpm = :rpm, tpm = :tpm,
                spending_limit = :spending_limit, strict = :strict WHERE id = :id",
            named_params! {
                ":id": id,
                ":models": rights.models.as_ref().map(json),
                ":aliases": json(&rights.aliases),
                ":rpm": rights.rate.rpm,
                ":tpm": rights.rate.tpm,
                ":spending_limit": rights.spending_limit,
                ":strict": rights.strict,
            },
        )?;
        found(changed, || format!("key '{id}'"))
    }

    /// Enables or disables a key.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or when the file cannot be written.
    pub fn set_key_status(&self, id: &str, status: Status) -> Result<(), StoreError> {
        let changed =
            self.0.execute("UPDATE keys SET status = ?2 WHERE id = ?1", params![id, status.name()])?;
        found(changed, || format!("key '{id}'"))
    }

    /// Removes a key.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or when the file cannot be written.
    pub fn delete_key(&self, id: &str) -> Result<(), StoreError> {
        found(self.0.execute("DELETE FROM keys WHERE id = ?1", [id])?, || format!("key '{id}'"))
    }

    /// Returns all accounts, oldest first.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let mut query = self.0.prepare_cached("SELECT id, status, created FROM accounts ORDER BY rowid")?;
        let accounts = query.query_map([], account)?.collect::<Result<_, _>>()?;
        Ok(accounts)
    }

    /// One account.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or when the file cannot be read.
    pub fn account(&self, id: &str) -> Result<Account, StoreError> {
        let mut query = self.0.prepare_cached("SELECT id, status, created FROM accounts WHERE id = ?1")?;
        query
            .query_row([id], account)
            .optional()?
            .ok_or_else(|| StoreError::NotFound(format!("account '{id}'")))
    }

    /// Makes an account.
    ///
    /// # Errors
    /// [`StoreError::Exists`], or when the file cannot be written.
    pub fn create_account(&self, id: &str) -> Result<Account, StoreError> {
        let sql =
            "INSERT INTO accounts (id, status, created) VALUES (?1, 'active', ?2) ON CONFLICT DO NOTHING";
        match self.0.execute(sql, params![id, store::now()])? {
            0 => Err(StoreError::Exists(format!("account '{id}'"))),
            _ => self.account(id),
        }
    }

    /// Enables or disables an account, and with it all its keys.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or when the file cannot be written.
    pub fn set_account_status(&self, id: &str, status: Status) -> Result<(), StoreError> {
        let sql = "UPDATE accounts SET status = ?2 WHERE id = ?1";
        found(self.0.execute(sql, params![id, status.name()])?, || format!("account '{id}'"))
    }
}

fn found(changed: usize, what: impl FnOnce() -> String) -> Result<(), StoreError> {
    if changed == 0 { Err(StoreError::NotFound(what())) } else { Ok(()) }
}

fn key(row: &Row<'_>) -> rusqlite::Result<Key> {
    let models: Option<String> = row.get("models")?;
    let aliases: String = row.get("aliases")?;
    Ok(Key {
        id: row.get("id")?,
        account: row.get("account")?,
        name: row.get("name")?,
        digest: Digest(row.get("digest")?),
        status: status(row, "status")?,
        rights: Rights {
            models: models.map(|text| parse(&text)).transpose()?,
            aliases: parse(&aliases)?,
            rate: RateLimits { rpm: row.get("rpm")?, tpm: row.get("tpm")? },
            spending_limit: row.get("spending_limit")?,
            strict: row.get("strict")?,
        },
        created: row.get("created")?,
        account_status: status(row, "account_status")?,
        has_wallet: row.get("has_wallet")?,
        budgets: Arc::default(),
    })
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account { id: row.get("id")?, status: status(row, "status")?, created: row.get("created")? })
}

fn status(row: &Row<'_>, column: &str) -> rusqlite::Result<Status> {
    let name: String = row.get(column)?;
    Ok(if name == Status::Active.name() { Status::Active } else { Status::Disabled })
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(e)))
}

/// The name of the shared secret among the secrets of the store.
const SHARED: &str = "shared";

const SELECT: &str = "SELECT k.*, a.status AS account_status,
    EXISTS (SELECT 1 FROM wallets w WHERE w.account = k.account) AS has_wallet
    FROM keys k JOIN accounts a ON a.id = k.account";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_accounts_live_through_their_changes() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.create_account("a").unwrap();
        assert!(matches!(store.create_account("a"), Err(StoreError::Exists(_))));
        let rights = Rights { models: Some(vec!["x/*".into()]), ..Rights::default() };
        let new = NewKey { account: "a".into(), rights, ..NewKey::default() };
        let (key, secret) = store.create_key(&new).unwrap();
        assert!(key.digest.same(&Digest::of(secret.expose()).unwrap()));
        assert!(key.allows("x/y") && !key.allows("y/x"));

        let before = store.revision().unwrap();
        let rate = RateLimits { rpm: Some(7), tpm: None };
        let limit = Some("1.5".parse().unwrap());
        let rights = Rights { rate, spending_limit: limit, strict: true, ..Rights::default() };
        store.set_rights(&key.id, &rights).unwrap();
        assert_eq!(store.key(&key.id).unwrap().rights, rights);
        assert!(store.revision().unwrap() > before);

        store.set_key_status(&key.id, Status::Disabled).unwrap();
        store.set_account_status("a", Status::Disabled).unwrap();
        let again = Store::open(folder.path()).unwrap();
        let read = again.keys().unwrap().remove(0);
        assert_eq!((read.status, read.account_status), (Status::Disabled, Status::Disabled));

        again.delete_key(&key.id).unwrap();
        assert!(matches!(store.key(&key.id), Err(StoreError::NotFound(_))));
        assert!(matches!(store.delete_key(&key.id), Err(StoreError::NotFound(_))));
    }

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

    #[test]
    fn no_secret_is_in_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.create_account("a").unwrap();
        let (_, secret) = store.create_key(&NewKey { account: "a".into(), ..NewKey::default() }).unwrap();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(memchr::memmem::find(&bytes, secret.expose().as_bytes()).is_none());
        }
    }
}
