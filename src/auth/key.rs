//! A key, its rights, and whether it is in use.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::money::Amount;

use super::{Aliases, Digest};

/// Whether something is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Yes.
    Active,
    /// No, until somebody enables it again.
    Disabled,
}

/// A key as it is stored. The secret itself is not.
#[derive(Clone, Debug, Serialize)]
pub struct Key {
    /// The public id, `key_…`: what logs and tables carry.
    pub id: String,
    /// The account that owns it.
    pub account: String,
    /// A name for people.
    pub name: String,
    /// Whether it is in use.
    pub status: Status,
    /// Its rights.
    #[serde(flatten)]
    pub rights: Rights,
    /// Seconds since the epoch.
    pub created: i64,
    /// SHA-256 of the secret.
    #[serde(skip)]
    pub digest: Digest,
    /// Whether the account is in use.
    #[serde(skip)]
    pub account_status: Status,
}

/// The rights of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rights {
    /// Models that it may call, as ids or `vendor/*`; absent: all.
    pub models: Option<Vec<String>>,
    /// Its own aliases.
    pub aliases: Aliases,
    /// Requests and tokens per minute.
    #[serde(flatten)]
    pub rate: RateLimits,
    /// The most that all of its calls together may cost; absent: as much as the account has.
    #[serde(rename = "spending_limit_micro")]
    pub spending_limit: Option<Amount>,
    /// Whether its requests are refused rather than carried with a loss.
    pub strict: bool,
}

/// The requests and tokens that a key may use in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RateLimits {
    /// Requests; absent: unlimited.
    pub rpm: Option<u32>,
    /// Tokens; absent: unlimited.
    pub tpm: Option<u32>,
}

/// The limits that the documentation promises to keys for which nothing else is said.
impl Default for RateLimits {
    fn default() -> Self {
        Self { rpm: Some(60), tpm: Some(100_000) }
    }
}

/// The right to make one call.
pub type Grant = Arc<Key>;

impl Key {
    /// Whether it may call this model.
    #[must_use]
    pub fn allows(&self, model: &str) -> bool {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => model.starts_with(prefix),
            None => pattern == model,
        };
        self.rights.models.as_ref().is_none_or(|models| models.iter().any(matches))
    }
}

impl Status {
    pub(super) fn name(self) -> &'static str {
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

#[cfg(test)]
impl Key {
    /// An active key for tests, with the usual rights.
    pub(crate) fn sample(id: &str, account: &str) -> Self {
        Self {
            id: id.to_owned(),
            account: account.to_owned(),
            name: String::new(),
            status: Status::Active,
            rights: Rights::default(),
            created: 0,
            digest: Digest([0; 32]),
            account_status: Status::Active,
        }
    }
}
