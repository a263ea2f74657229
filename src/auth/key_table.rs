//! All keys in memory, kept in step with the store.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::failure::{Failure, Kind, Result};
use crate::repeated::RepeatedLine;
use crate::store;

use super::store::{SECONDS_PER_MINUTE, StoredKey};
use super::{Digest, Grant, SecretUses, SharedSecret, Store, StoreError};

/// Answers credentials from memory. Whether the store has changed is checked by the requests
/// themselves, at most once in `STORE_CHECK_INTERVAL_MS` milliseconds, and whenever a credential is not known. Then only the
/// keys that have changed are read.
pub struct KeyTable {
    secrets: Shards,
    source: Mutex<StoredKeys>,
    shared_secret: SharedSecret,
    uses: Arc<SecretUses>,
    started: Instant,
    /// Milliseconds from `started` to the last check of the store.
    checked: AtomicU64,
}

/// The secrets by the first byte of their digests: a change copies the entries of one shard.
struct Shards(Box<[Shard; SHARDS]>);

type Shard = ArcSwap<HashMap<Digest, Entry, RandomState>>;

/// A secret that is known.
#[derive(Clone)]
struct Entry {
    grant: Grant,
    /// The time from which it no longer works, in seconds since the epoch.
    usable_until: i64,
}

/// The store, and the version of it that the table was last read from.
struct StoredKeys {
    store: Store,
    /// The last [`Store::version`] and [`Store::revision`]. Every call is written to the file, so the first one
    /// changes all the time, and the second one tells whether a change concerns keys.
    version: i64,
    revision: i64,
    /// The digests of each key's secrets.
    digests: HashMap<String, Vec<Digest>>,
}

impl KeyTable {
    /// Opens the store in a data folder, and reads all keys.
    ///
    /// # Errors
    /// Fails if the store cannot be opened or read.
    pub fn open(folder: &Path) -> std::result::Result<Self, StoreError> {
        let store = Store::open(folder)?;
        let shared_secret = store.shared_secret()?;
        // The keys are read last, so that a change between the reads is noticed later.
        let (version, revision) = (store.version()?, store.revision()?);
        let keys = store.changed_since(-1)?;
        let mut source = StoredKeys { store, version, revision, digests: HashMap::new() };
        let secrets = Shards::new();
        secrets.apply(keys, &mut source.digests);
        Ok(Self {
            secrets,
            source: Mutex::new(source),
            shared_secret,
            uses: Arc::default(),
            started: Instant::now(),
            checked: AtomicU64::new(0),
        })
    }

    /// Returns the secret that all gateways of the store share.
    #[must_use]
    pub fn shared_secret(&self) -> &SharedSecret {
        &self.shared_secret
    }

    /// Returns the uses of secrets that are to be written to the store.
    #[must_use]
    pub fn uses(&self) -> &Arc<SecretUses> {
        &self.uses
    }

    /// Returns the key of a credential.
    ///
    /// # Errors
    /// Returns 401 if the credential is missing or invalid, if the key has expired, if the key or its account is
    /// disabled, or if the key may not be used from the client's address. `missing` is the documented message of the
    /// client's protocol.
    pub fn grant(
        &self,
        credential: Option<&str>,
        missing: &'static str,
        client: Option<IpAddr>,
    ) -> Result<Grant> {
        self.grant_at(credential, missing, client, store::now())
    }

    fn grant_at(
        &self,
        credential: Option<&str>,
        missing: &'static str,
        client: Option<IpAddr>,
        now: i64,
    ) -> Result<Grant> {
        let Some(credential) = credential.filter(|text| !text.is_empty()) else {
            return Err(Failure::new(Kind::MissingKey, missing));
        };
        let invalid = || Failure::new(Kind::InvalidKey, "The API key is not valid.");
        let digest = Digest::of(credential).ok_or_else(invalid)?;
        self.refresh();
        let entry = self.secrets.find(&digest).or_else(|| {
            // The key may have been made since the last look.
            self.look(&mut self.source.lock());
            self.secrets.find(&digest)
        });
        let Entry { grant, usable_until } = entry.ok_or_else(invalid)?;
        if now >= usable_until {
            return Err(grant.refusal(now));
        }
        if !grant.allows_address(client) {
            let message = "The API key may not be used from this address.";
            return Err(Failure::new(Kind::AddressNotAllowed, message));
        }
        let minute = u32::try_from(now / SECONDS_PER_MINUTE).unwrap_or(u32::MAX);
        if grant.secret.note_use(minute) {
            self.uses.add(digest, minute);
        }
        Ok(grant)
    }

    /// Returns all keys, in no particular order.
    #[must_use]
    pub fn keys(&self) -> Vec<Grant> {
        self.refresh();
        let shards = self.secrets.0.iter().map(ArcSwap::load);
        let newest = |entry: &&Entry| entry.grant.secret.is_newest;
        shards
            .flat_map(|shard| {
                shard.values().filter(newest).map(|entry| Arc::clone(&entry.grant)).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Reads the changed keys if the store has changed. One caller looks, while the others use the known keys. If
    /// the store cannot be read, the keys stay as they are.
    fn refresh(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let checked = self.checked.load(Ordering::Relaxed);
        if now < checked.saturating_add(STORE_CHECK_INTERVAL_MS) {
            return;
        }
        let Some(mut source) = self.source.try_lock() else { return };
        self.checked.store(now, Ordering::Relaxed);
        self.look(&mut source);
    }

    fn look(&self, source: &mut StoredKeys) {
        match source.changed() {
            Ok(keys) => self.secrets.apply(keys, &mut source.digests),
            Err(error) => UNREADABLE.write(log::Level::Error, format_args!("keys: {error}")),
        }
    }
}

impl StoredKeys {
    fn changed(&mut self) -> std::result::Result<Vec<StoredKey>, StoreError> {
        let version = self.store.version()?;
        if version == self.version {
            return Ok(Vec::new());
        }
        let revision = self.store.revision()?;
        let keys = match revision == self.revision {
            true => Vec::new(),
            false => self.store.changed_since(self.revision)?,
        };
        (self.version, self.revision) = (version, revision);
        Ok(keys)
    }
}

impl Shards {
    fn new() -> Self {
        Self(Box::new(std::array::from_fn(|_| Shard::default())))
    }

    fn of(&self, digest: &Digest) -> &Shard {
        let [first, ..] = digest.0;
        &self.0[usize::from(first)]
    }

    fn find(&self, digest: &Digest) -> Option<Entry> {
        let shard = self.of(digest).load();
        shard.get(digest).filter(|entry| entry.grant.secret.digest.same(digest)).cloned()
    }

    /// Replaces the entries of these keys. `digests` are those of all keys.
    fn apply(&self, keys: Vec<StoredKey>, digests: &mut HashMap<String, Vec<Digest>>) {
        let mut changes: HashMap<u8, Vec<(Digest, Option<Grant>)>> = HashMap::new();
        let mut change = |digest: Digest, key: Option<Grant>| {
            changes.entry(digest.0[0]).or_default().push((digest, key));
        };
        for StoredKey { id, secrets } in keys {
            let gone = digests.remove(&id).unwrap_or_default();
            gone.into_iter().for_each(|digest| change(digest, None));
            if !secrets.is_empty() {
                digests.insert(id, secrets.iter().map(|key| key.secret.digest).collect());
            }
            for key in secrets {
                change(key.secret.digest, Some(Arc::new(key)));
            }
        }
        for (first, changed) in changes {
            let shard = &self.0[usize::from(first)];
            let mut entries = HashMap::clone(&shard.load());
            for (digest, key) in changed {
                match key {
                    Some(grant) => drop(entries.insert(digest, Entry::new(grant))),
                    None => drop(entries.remove(&digest)),
                }
            }
            shard.store(Arc::new(entries));
        }
    }
}

impl Entry {
    fn new(grant: Grant) -> Self {
        let usable_until = grant.usable_until();
        Self { grant, usable_until }
    }
}

impl fmt::Debug for KeyTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: usize = self.secrets.0.iter().map(|shard| shard.load().len()).sum();
        f.debug_struct("KeyTable").field("secrets", &keys).finish_non_exhaustive()
    }
}

/// The least time between two checks of the store, in milliseconds: for so long a change may go unseen. A check costs a few microseconds.
const STORE_CHECK_INTERVAL_MS: u64 = 10;

/// The line about keys that cannot be read.
static UNREADABLE: RepeatedLine = RepeatedLine::new();

/// The number of shards: one for each first byte of a digest. Of 100,000 keys, a change copies 400.
const SHARDS: usize = 256;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::auth::{Key, NewKey, Secret, Status};

    fn new(account: &str) -> NewKey {
        NewKey { account: account.into(), ..NewKey::default() }
    }

    #[test]
    fn a_key_may_be_used_as_soon_as_it_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let other = Store::open(folder.path()).unwrap();
        other.create_account("a").unwrap();
        let table = KeyTable::open(folder.path()).unwrap();
        for _ in 0..20 {
            // The store has been looked at a moment ago.
            assert!(table.keys().len() < 20);
            let (key, secret) = other.create_key(&new("a")).unwrap();
            assert_eq!(table.grant(Some(secret.expose()), "missing", None).unwrap().id, key.id);
        }
    }

    #[test]
    fn changes_by_others_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let table = KeyTable::open(folder.path()).unwrap();
        let kind = |credential: &str| {
            std::thread::sleep(Duration::from_millis(STORE_CHECK_INTERVAL_MS + 5));
            table.grant(Some(credential), "missing", None).map_err(|failure| failure.kind())
        };
        let other = Store::open(folder.path()).unwrap();
        other.create_account("a").unwrap();
        let (key, secret) = other.create_key(&new("a")).unwrap();
        assert_eq!(kind(secret.expose()).unwrap().id, key.id);
        other.change("accounts", "a", "status", Status::Disabled.name());
        assert_eq!(kind(secret.expose()).unwrap_err(), Kind::AccountInactive);
        other.change("keys", &key.id, "status", Status::Disabled.name());
        assert_eq!(kind(secret.expose()).unwrap_err(), Kind::KeyInactive);
        other.change("keys", &key.id, "deleted", 1);
        assert_eq!(kind(secret.expose()).unwrap_err(), Kind::InvalidKey);
        assert_eq!(table.grant(None, "missing", None).unwrap_err().kind(), Kind::MissingKey);
        assert_eq!(table.grant(Some(""), "missing", None).unwrap_err().message(), "missing");
    }

    #[test]
    fn a_key_works_until_it_expires_and_a_secret_until_its_overlap_ends() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.create_account("a").unwrap();
        let (key, old) = store.create_key(&new("a")).unwrap();
        let fresh = Secret::generate();
        store.add_secret(&key.id, &fresh, None);
        let digest = old.digest();
        let hex = digest.to_hex();
        store.execute(&format!("UPDATE key_secrets SET not_after = 100 WHERE digest = x'{hex}'"));
        store.change("keys", &key.id, "expires", 1_800_000_000);
        let table = KeyTable::open(folder.path()).unwrap();
        let at = |secret: &Secret, now| {
            table.grant_at(Some(secret.expose()), "", None, now).map(|grant| grant.id.clone())
        };
        let refused = |secret: &Secret, now| {
            at(secret, now).map_err(|failure| failure.message().to_owned()).unwrap_err()
        };
        assert_eq!([at(&old, 99).unwrap(), at(&fresh, 99).unwrap()], [key.id.as_str(), key.id.as_str()]);
        assert_eq!(refused(&old, 100), "The API key is not valid.");
        assert_eq!(at(&fresh, 1_799_999_999).unwrap(), key.id);
        assert_eq!(refused(&fresh, 1_800_000_000), "The API key expired on 2027-01-15.");
        // A clock that is set back makes a key valid again.
        assert_eq!(at(&fresh, 1_799_999_999).unwrap(), key.id);
        assert_eq!(table.keys().len(), 1, "a key with two secrets is one key");
    }

    #[test]
    fn a_use_is_noted_once_a_minute() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.create_account("a").unwrap();
        let (_, secret) = store.create_key(&new("a")).unwrap();
        let table = KeyTable::open(folder.path()).unwrap();
        let connection = store::open(folder.path()).unwrap();
        let mut counts = Vec::new();
        for now in [600, 601, 659, 660, 725] {
            table.grant_at(Some(secret.expose()), "", None, now).unwrap();
            let uses = table.uses().waiting();
            SecretUses::write(&connection, &uses).unwrap();
            table.uses().written(&uses);
            counts.push(uses.len());
        }
        assert_eq!(counts, [1, 0, 0, 1, 1]);
        let sql = "SELECT last_used FROM key_secrets";
        assert_eq!(connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap(), 720);
    }

    #[test]
    fn a_change_reads_only_what_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.create_account("a").unwrap();
        store.create_account("b").unwrap();
        let keys: Vec<_> =
            ["a", "a", "b"].map(|account| store.create_key(&new(account)).unwrap().0.id).into();
        let revision = store.revision().unwrap();
        assert!(store.changed_since(revision).unwrap().is_empty());
        store.change("keys", &keys[1], "name", "other");
        let changed = |revision| -> Vec<String> {
            store.changed_since(revision).unwrap().into_iter().map(|stored| stored.id).collect()
        };
        assert_eq!(changed(revision), keys[1..2]);
        let revision = store.revision().unwrap();
        store.change("accounts", "a", "name", "other");
        assert_eq!(changed(revision), keys[..2], "a change of an account concerns its keys");
    }

    #[test]
    fn wallets_and_budgets_concern_the_keys_that_they_are_for() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.create_account("a").unwrap();
        store.create_account("b").unwrap();
        let [a, c, b] = ["a", "a", "b"].map(|account| store.create_key(&new(account)).unwrap().0.id);
        let changed = |change: &str| -> Vec<(String, bool, Vec<String>)> {
            let revision = store.revision().unwrap();
            store.execute(change);
            let keys = store.changed_since(revision).unwrap().into_iter();
            let newest = keys.filter_map(|mut stored| stored.secrets.pop());
            let limits = |key: &Key| key.budgets.iter().map(|budget| budget.limit.to_string()).collect();
            newest.map(|key| (key.id.clone(), key.has_wallet, limits(&key))).collect()
        };
        let of = |id: &String, limits: &[&str]| {
            (id.clone(), *id == b, limits.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(changed("INSERT INTO wallets (account, balance) VALUES ('b', 7)"), [of(&b, &[])]);
        assert_eq!(changed("UPDATE wallets SET balance = 8"), [], "a balance is no property of a key");
        let add = "INSERT INTO budgets (kind, owner, period, amount, hard) VALUES";
        let one = 1_000_000_000_u64;
        let first = changed(&format!("{add} ('account', 'a', 'day', {one}, 1)"));
        assert_eq!(first, [of(&a, &["1.00"]), of(&c, &["1.00"])]);
        let own = changed(&format!("{add} ('key', '{a}', 'day', {}, 1)", 2 * one));
        assert_eq!(own, [of(&a, &["2.00", "1.00"])], "its own budgets come first");
        let more = format!("UPDATE budgets SET amount = {} WHERE kind = 'key'", 3 * one);
        assert_eq!(changed(&more), [of(&a, &["3.00", "1.00"])]);
        assert_eq!(changed("DELETE FROM budgets WHERE kind = 'account'"), [of(&a, &["3.00"]), of(&c, &[])]);
        let limit = format!("{add} ('key', '{b}', 'total', {one}, 1)");
        assert_eq!(changed(&limit), [of(&b, &["1.00"])], "a spending limit is a budget");
        assert_eq!(changed("UPDATE keys SET deleted = 1; UPDATE keys SET deleted = NULL").len(), 2);
        assert!(store.key(&a).unwrap().budgets.is_empty(), "a deleted key has no budgets");
    }
}
