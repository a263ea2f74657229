//! Accounts and keys in a SQLite file.
//!
//! Every process opens the file for itself; the write-ahead log lets the command line write while the
//! proxy reads. No secret is stored.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

use super::{Aliases, Digest, Key, Secret, Status, secret::random};

/// The store cannot be used, or what was asked for is not in it.
#[derive(Debug)]
pub enum Error {
    /// SQLite's own words.
    Database(rusqlite::Error),
    /// The folder for the file can not be made.
    Folder(std::io::Error),
    /// No such account or key.
    NotFound(String),
    /// It exists already.
    Exists(String),
}

/// An owner of keys.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    /// Its name.
    pub id: String,
    /// In use?
    pub status: Status,
    /// Seconds since the epoch.
    pub created: i64,
}

/// What a new key shall be.
#[derive(Clone, Debug, Default)]
pub struct NewKey {
    /// The account that owns it.
    pub account: String,
    /// A name for people.
    pub name: String,
    /// Models that it may call; absent: all.
    pub models: Option<Vec<String>>,
    /// Its own aliases.
    pub aliases: Aliases,
}

/// The store's file, opened.
#[derive(Debug)]
pub struct Store(Connection);

impl Store {
    /// Opens the store in a data folder; makes both if they do not exist.
    ///
    /// # Errors
    /// When the folder or the file can not be made, read or brought to the current form.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(folder).map_err(Error::Folder)?;
        let connection = Connection::open(folder.join(FILE))?;
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self(connection))
    }

    /// A number that changes whenever another process has changed the store.
    ///
    /// # Errors
    /// When the file can not be read.
    pub fn version(&self) -> Result<i64, Error> {
        Ok(self.0.pragma_query_value(None, "data_version", |row| row.get(0))?)
    }

    /// All keys, oldest first.
    ///
    /// # Errors
    /// When the file can not be read.
    pub fn keys(&self) -> Result<Vec<Key>, Error> {
        let mut query = self.0.prepare_cached(&format!("{SELECT} ORDER BY k.rowid"))?;
        let keys = query.query_map([], key)?.collect::<Result<_, _>>()?;
        Ok(keys)
    }

    /// One key, by its id.
    ///
    /// # Errors
    /// [`Error::NotFound`], or when the file can not be read.
    pub fn key(&self, id: &str) -> Result<Key, Error> {
        let mut query = self.0.prepare_cached(&format!("{SELECT} WHERE k.id = ?1"))?;
        query.query_row([id], key).optional()?.ok_or_else(|| Error::NotFound(format!("key '{id}'")))
    }

    /// Makes a key. The secret is returned once and can not be read again.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown account, or when the file can not be written.
    pub fn create_key(&self, new: &NewKey) -> Result<(Key, Secret), Error> {
        self.account(&new.account)?;
        let secret = Secret::generate();
        let Some(digest) = Digest::of(secret.expose()) else {
            return Err(Error::NotFound("the digest of a new secret".to_owned()));
        };
        let id = format!("key_{}", random(ID_LENGTH));
        let models = new.models.as_ref().map(json);
        self.0.execute(
            "INSERT INTO keys (id, account, name, digest, status, models, aliases, created)
             VALUES (?1, ?2, ?3, ?4, 'active', ?5, ?6, ?7)",
            params![id, new.account, new.name, digest.0, models, json(&new.aliases), now()],
        )?;
        Ok((self.key(&id)?, secret))
    }

    /// Switches a key on or off.
    ///
    /// # Errors
    /// [`Error::NotFound`], or when the file can not be written.
    pub fn set_key_status(&self, id: &str, status: Status) -> Result<(), Error> {
        let changed =
            self.0.execute("UPDATE keys SET status = ?2 WHERE id = ?1", params![id, status.name()])?;
        found(changed, || format!("key '{id}'"))
    }

    /// Removes a key.
    ///
    /// # Errors
    /// [`Error::NotFound`], or when the file can not be written.
    pub fn delete_key(&self, id: &str) -> Result<(), Error> {
        found(self.0.execute("DELETE FROM keys WHERE id = ?1", [id])?, || format!("key '{id}'"))
    }

    /// All accounts, oldest first.
    ///
    /// # Errors
    /// When the file can not be read.
    pub fn accounts(&self) -> Result<Vec<Account>, Error> {
        let mut query = self.0.prepare_cached("SELECT id, status, created FROM accounts ORDER BY rowid")?;
        let accounts = query.query_map([], account)?.collect::<Result<_, _>>()?;
        Ok(accounts)
    }

    /// One account.
    ///
    /// # Errors
    /// [`Error::NotFound`], or when the file can not be read.
    pub fn account(&self, id: &str) -> Result<Account, Error> {
        let mut query = self.0.prepare_cached("SELECT id, status, created FROM accounts WHERE id = ?1")?;
        query.query_row([id], account).optional()?.ok_or_else(|| Error::NotFound(format!("account '{id}'")))
    }

    /// Makes an account.
    ///
    /// # Errors
    /// [`Error::Exists`], or when the file can not be written.
    pub fn create_account(&self, id: &str) -> Result<Account, Error> {
        let sql =
            "INSERT INTO accounts (id, status, created) VALUES (?1, 'active', ?2) ON CONFLICT DO NOTHING";
        match self.0.execute(sql, params![id, now()])? {
            0 => Err(Error::Exists(format!("account '{id}'"))),
            _ => self.account(id),
        }
    }

    /// Switches an account, and with it all its keys, on or off.
    ///
    /// # Errors
    /// [`Error::NotFound`], or when the file can not be written.
    pub fn set_account_status(&self, id: &str, status: Status) -> Result<(), Error> {
        let sql = "UPDATE accounts SET status = ?2 WHERE id = ?1";
        found(self.0.execute(sql, params![id, status.name()])?, || format!("account '{id}'"))
    }
}

fn found(changed: usize, what: impl FnOnce() -> String) -> Result<(), Error> {
    if changed == 0 { Err(Error::NotFound(what())) } else { Ok(()) }
}

fn key(row: &Row<'_>) -> rusqlite::Result<Key> {
    let models: Option<String> = row.get(5)?;
    let aliases: String = row.get(6)?;
    Ok(Key {
        id: row.get(0)?,
        account: row.get(1)?,
        name: row.get(2)?,
        digest: Digest(row.get(3)?),
        status: status(row, 4)?,
        models: models.map(|text| parse(5, &text)).transpose()?,
        aliases: parse(6, &aliases)?,
        created: row.get(7)?,
        account_status: status(row, 8)?,
    })
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account { id: row.get(0)?, status: status(row, 1)?, created: row.get(2)? })
}

fn status(row: &Row<'_>, column: usize) -> rusqlite::Result<Status> {
    let name: String = row.get(column)?;
    Ok(if name == Status::Active.name() { Status::Active } else { Status::Disabled })
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn parse<T: serde::de::DeserializeOwned>(column: usize, text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => write!(f, "the store failed: {error}"),
            Self::Folder(error) => write!(f, "the data folder can not be made: {error}"),
            Self::NotFound(what) => write!(f, "there is no {what}"),
            Self::Exists(what) => write!(f, "there is already an {what}"),
        }
    }
}

impl std::error::Error for Error {}

const FILE: &str = "crossmodel.db";

/// How long a writer waits for another.
const PATIENCE: Duration = Duration::from_secs(5);

/// Characters of a key's public id, after its prefix.
const ID_LENGTH: usize = 16;

const SELECT: &str =
    "SELECT k.id, k.account, k.name, k.digest, k.status, k.models, k.aliases, k.created, a.status
    FROM keys k JOIN accounts a ON a.id = k.account";

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS accounts (
    id TEXT PRIMARY KEY, status TEXT NOT NULL, created INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE,
    status TEXT NOT NULL,
    models TEXT,
    aliases TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT;
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_accounts_live_through_their_changes() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.create_account("a").unwrap();
        assert!(matches!(store.create_account("a"), Err(Error::Exists(_))));
        let new = NewKey { account: "a".into(), models: Some(vec!["x/*".into()]), ..NewKey::default() };
        let (key, secret) = store.create_key(&new).unwrap();
        assert!(key.digest.same(&Digest::of(secret.expose()).unwrap()));
        assert!(key.allows("x/y") && !key.allows("y/x"));

        store.set_key_status(&key.id, Status::Disabled).unwrap();
        store.set_account_status("a", Status::Disabled).unwrap();
        let again = Store::open(folder.path()).unwrap();
        let read = again.keys().unwrap().remove(0);
        assert_eq!((read.status, read.account_status), (Status::Disabled, Status::Disabled));

        again.delete_key(&key.id).unwrap();
        assert!(matches!(store.key(&key.id), Err(Error::NotFound(_))));
        assert!(matches!(store.delete_key(&key.id), Err(Error::NotFound(_))));
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
