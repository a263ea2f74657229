//! Uses of secrets that the store does not know yet.

use std::collections::HashMap;

use parking_lot::Mutex;
use rusqlite::{Connection, params};

use super::Digest;
use super::store::SECONDS_PER_MINUTE;

/// The last uses of secrets, which wait for the next transaction of the ledger. There is at most one for each secret,
/// and at most one is added in a minute.
#[derive(Debug, Default)]
pub struct SecretUses(Mutex<HashMap<Digest, u32>>);

impl SecretUses {
    /// Adds a use in a minute since the epoch.
    pub(super) fn add(&self, digest: Digest, minute: u32) {
        self.0.lock().insert(digest, minute);
    }

    /// Returns all uses, in minutes since the epoch. They remain until [`Self::written`] says that the store has them.
    #[must_use]
    pub fn waiting(&self) -> Vec<(Digest, u32)> {
        self.0.lock().iter().map(|(digest, minute)| (*digest, *minute)).collect()
    }

    /// Writes uses to the store.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub fn write(connection: &Connection, uses: &[(Digest, u32)]) -> rusqlite::Result<()> {
        let sql = "UPDATE key_secrets SET last_used = ?2 WHERE digest = ?1";
        for (digest, minute) in uses {
            let seconds = i64::from(*minute) * SECONDS_PER_MINUTE;
            connection.prepare_cached(sql)?.execute(params![digest.0, seconds])?;
        }
        Ok(())
    }

    /// Forgets uses that were written.
    pub fn written(&self, uses: &[(Digest, u32)]) {
        let mut all = self.0.lock();
        for (digest, minute) in uses {
            // The secret may have been used again since.
            if all.get(digest) == Some(minute) {
                all.remove(digest);
            }
        }
    }
}
