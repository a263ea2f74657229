//! Keys: who may call, and what for.
//!
//! A [`Ring`] answers from memory; the command line may change the [`Store`] behind it while the proxy runs.

mod aliases;
mod ring;
mod secret;
mod shared;
mod store;

use std::sync::Arc;

pub use crate::store::Error;
pub use aliases::Aliases;
pub use ring::Ring;
pub(crate) use secret::random;
pub use secret::random_id;
pub use secret::{Digest, Secret, Token};
pub use shared::{NameKey, SharedSecret};
pub use store::{Account, NewKey, Rights, Store};

/// Is something in use?
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Yes.
    Active,
    /// No, until somebody enables it again.
    Disabled,
}

/// A key as it is stored. The secret itself is not.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Key {
    /// The public id, `key_…`: what logs and tables carry.
    pub id: String,
    /// The account that owns it.
    pub account: String,
    /// A name for people.
    pub name: String,
    /// In use?
    pub status: Status,
    /// What it may do.
    #[serde(flatten)]
    pub rights: Rights,
    /// Seconds since the epoch.
    pub created: i64,
    /// SHA-256 of the secret.
    #[serde(skip)]
    pub digest: Digest,
    /// In use, as far as the owner is concerned?
    #[serde(skip)]
    pub account_status: Status,
}

/// How much a key may do in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Rate {
    /// Requests; absent: unlimited.
    pub rpm: Option<u32>,
    /// Tokens; absent: unlimited.
    pub tpm: Option<u32>,
}

/// What the documentation promises to keys for which nothing else is said.
impl Default for Rate {
    fn default() -> Self {
        Self { rpm: Some(60), tpm: Some(100_000) }
    }
}

/// The right to make one call.
pub type Grant = Arc<Key>;

impl Key {
    /// May it call this model?
    #[must_use]
    pub fn allows(&self, model: &str) -> bool {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => model.starts_with(prefix),
            None => pattern == model,
        };
        self.rights.models.as_ref().is_none_or(|models| models.iter().any(matches))
    }
}
