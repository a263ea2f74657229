//! A key, its rights, and its status.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::money::Amount;

use super::{Aliases, Budget, Digest};

/// Whether something is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Yes.
    Active,
    /// No, until somebody enables it again.
    Disabled,
}

/// A key as it is stored, without its secret.
#[derive(Clone, Debug, Serialize)]
pub struct Key {
    /// The public id, `key_…`, which appears in logs and tables.
    pub id: String,
    /// The account that owns it.
    pub account: String,
    /// A human-readable name.
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
    /// Whether the account has a wallet, which pays for its calls.
    #[serde(skip)]
    pub has_wallet: bool,
    /// The budgets of the key, then those of its account.
    #[serde(skip)]
    pub budgets: Arc<[Budget]>,
}

/// The rights of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rights {
    /// The models that the key may call, as ids or `vendor/*`; absent: all models.
    pub models: Option<Vec<String>>,
    /// The key's own aliases.
    pub aliases: Aliases,
    /// Requests and tokens per minute.
    #[serde(flatten)]
    pub rate: RateLimits,
    /// The most that all calls of the key together may cost; absent: as much as the account has.
    #[serde(rename = "spending_limit_micro")]
    pub spending_limit: Option<Amount>,
    /// Whether the key's requests are refused if a part of them would be lost in translation.
    pub strict: bool,
}

/// The rate limits of a key, per minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RateLimits {
    /// Requests; absent: unlimited.
    pub rpm: Option<u32>,
    /// Tokens; absent: unlimited.
    pub tpm: Option<u32>,
}

/// The right to make one call.
pub type Grant = Arc<Key>;

impl Key {
    /// Whether a wallet pays for its calls, or a hard budget limits them.
    #[must_use]
    pub fn has_limited_money(&self) -> bool {
        self.has_wallet || self.budgets.iter().any(|budget| budget.is_hard)
    }

    /// Whether the key may call this model.
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
            has_wallet: false,
            budgets: Arc::default(),
        }
    }
}
