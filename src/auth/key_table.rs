//! All keys in memory, kept in step with the store.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::failure::{Failure, Kind, Result};
use crate::repeated::RepeatedLine;

use super::{Digest, Grant, Key, SharedSecret, Status, Store, StoreError};

/// Answers credentials from memory. Whether the store has changed is checked by the requests
/// themselves, at most once in `STORE_CHECK_INTERVAL_MS` milliseconds.
pub struct KeyTable {
    keys: ArcSwap<HashMap<Digest, Grant>>,
    source: Mutex<StoredKeys>,
    secret: SharedSecret,
    started: Instant,
    /// Milliseconds from `started` to the last check of the store.
    checked: AtomicU64,
}

/// The store, and the version of it that the table was last read from.
struct StoredKeys {
    store: Store,
    /// The last [`Store::version`] and [`Store::revision`]. Every call is written to the file, so the first one
    /// changes all the time, and the second one tells whether a change concerns keys.
    version: i64,
    revision: i64,
}

impl KeyTable {
    /// Opens the store in a data folder, and reads all keys.
    ///
    /// # Errors
    /// Fails if the store cannot be opened or read.
    pub fn open(folder: &Path) -> std::result::Result<Self, StoreError> {
        let store = Store::open(folder)?;
        let secret = store.shared_secret()?;
        // The keys are read last, so that a change between the reads is noticed later.
        let (version, revision) = (store.version()?, store.revision()?);
        let keys = index(store.keys()?);
        Ok(Self {
            keys: ArcSwap::from_pointee(keys),
            source: Mutex::new(StoredKeys { store, version, revision }),
            secret,
            started: Instant::now(),
            checked: AtomicU64::new(0),
        })
    }

    /// Returns the secret that all gateways of the store share.
    #[must_use]
    pub fn shared_secret(&self) -> &SharedSecret {
        &self.secret
    }

    /// Returns the key of a credential.
    ///
    /// # Errors
    /// Returns 401 if the credential is missing or invalid, or if the key or its account is disabled. `missing` is
    /// the documented message of the client's protocol.
    pub fn grant(&self, credential: Option<&str>, missing: &'static str) -> Result<Grant> {
        let Some(credential) = credential.filter(|text| !text.is_empty()) else {
            return Err(Failure::new(Kind::MissingKey, missing));
        };
        let invalid = || Failure::new(Kind::InvalidKey, "The API key is not valid.");
        let digest = Digest::of(credential).ok_or_else(invalid)?;
        self.refresh();
        let keys = self.keys.load();
        let key = keys.get(&digest).filter(|key| key.digest.same(&digest)).ok_or_else(invalid)?;
        if key.status != Status::Active {
            return Err(Failure::new(Kind::KeyInactive, "The API key is disabled."));
        }
        if key.account_status != Status::Active {
            return Err(Failure::new(Kind::AccountInactive, "The account of this API key is inactive."));
        }
        Ok(Arc::clone(key))
    }

    /// Returns all keys, in no particular order.
    #[must_use]
    pub fn keys(&self) -> Vec<Grant> {
        self.refresh();
        self.keys.load().values().map(Arc::clone).collect()
    }

    /// Reads the keys again if the store has changed. One caller looks, while the others use the known keys. If
    /// the store cannot be read, the keys stay as they are.
    fn refresh(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let checked = self.checked.load(Ordering::Relaxed);
        if now < checked.saturating_add(STORE_CHECK_INTERVAL_MS) {
            return;
        }
        let Some(mut source) = self.source.try_lock() else { return };
        self.checked.store(now, Ordering::Relaxed);
        match source.changed() {
            Ok(Some(keys)) => self.keys.store(Arc::new(index(keys))),
            Ok(None) => {}
            Err(error) => UNREADABLE.write(log::Level::Error, format_args!("keys: {error}")),
        }
    }
}

impl StoredKeys {
    fn changed(&mut self) -> std::result::Result<Option<Vec<Key>>, StoreError> {
        let version = self.store.version()?;
        if version == self.version {
            return Ok(None);
        }
        let revision = self.store.revision()?;
        let keys = (revision != self.revision).then(|| self.store.keys()).transpose()?;
        (self.version, self.revision) = (version, revision);
        Ok(keys)
    }
}

fn index(keys: Vec<Key>) -> HashMap<Digest, Grant> {
    keys.into_iter().map(|key| (key.digest, Arc::new(key))).collect()
}

impl fmt::Debug for KeyTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyTable").field("keys", &self.keys.load().len()).finish_non_exhaustive()
    }
}

/// The least time between two checks of the store, in milliseconds: for so long a change may go unseen. A check costs a few microseconds.
const STORE_CHECK_INTERVAL_MS: u64 = 10;

/// The line about keys that cannot be read.
static UNREADABLE: RepeatedLine = RepeatedLine::new();

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::auth::NewKey;

    #[test]
    fn changes_by_others_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let table = KeyTable::open(folder.path()).unwrap();
        let kind = |credential: &str| {
            std::thread::sleep(Duration::from_millis(STORE_CHECK_INTERVAL_MS + 5));
            table.grant(Some(credential), "missing").map_err(|failure| failure.kind())
        };
        let other = Store::open(folder.path()).unwrap();
        other.create_account("a").unwrap();
        let (key, secret) = other.create_key(&NewKey { account: "a".into(), ..NewKey::default() }).unwrap();
        assert_eq!(kind(secret.expose()).unwrap().id, key.id);
        other.set_account_status("a", Status::Disabled).unwrap();
        assert_eq!(kind(secret.expose()).unwrap_err(), Kind::AccountInactive);
        other.set_key_status(&key.id, Status::Disabled).unwrap();
        assert_eq!(kind(secret.expose()).unwrap_err(), Kind::KeyInactive);
        other.delete_key(&key.id).unwrap();
        assert_eq!(kind(secret.expose()).unwrap_err(), Kind::InvalidKey);
        assert_eq!(table.grant(None, "missing").unwrap_err().kind(), Kind::MissingKey);
        assert_eq!(table.grant(Some(""), "missing").unwrap_err().message(), "missing");
    }
}
