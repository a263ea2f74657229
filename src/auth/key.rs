//! A key, its rights, and its status.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Kind};
use crate::money::Amount;

use super::limits::includes_model;
use super::{
    AccountLimits, AddressList, Aliases, Budget, CallCounts, ContentLogging, Digest, RateLimits, Tags,
};

/// Whether something is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Yes.
    Active,
    /// No, until somebody enables it again.
    Disabled,
}

/// A key with one of its secrets, as calls use it.
#[derive(Clone, Debug)]
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
    pub rights: Rights,
    /// Seconds since the epoch.
    pub created: i64,
    /// Whether the key has metrics of its own.
    pub watch: bool,
    /// Whether the content of its calls may be written down.
    pub content_log: ContentLogging,
    /// The time from which the key no longer works, in seconds since the epoch.
    pub expires: Option<i64>,
    /// The secret by which the call is made.
    pub secret: KeySecret,
    /// Whether the account is in use.
    pub account_status: Status,
    /// The limits of the account; absent: none.
    pub account_limits: Option<Box<AccountLimits>>,
    /// Whether the account has a wallet, which pays for its calls.
    pub has_wallet: bool,
    /// The budgets of the key, then those of its account.
    pub budgets: Arc<[Budget]>,
    /// The tags of its calls: its own ones, and those of its account.
    pub tags: Tags,
    /// The calls that were made by the key.
    pub counts: Arc<CallCounts>,
}

/// A secret of a key, without the secret itself.
#[derive(Clone, Debug)]
pub struct KeySecret {
    /// Its SHA-256.
    pub digest: Digest,
    /// Its last four characters; absent for secrets from before they were kept.
    pub hint: Option<String>,
    /// The time from which it no longer works, in seconds since the epoch.
    pub not_after: Option<i64>,
    /// Whether the key has no newer secret.
    pub is_newest: bool,
    /// The time until which the key has another secret, in seconds since the epoch.
    pub other_until: Option<i64>,
    /// The minute of its last use since the epoch; 0: never. All copies share it.
    pub last_used: Arc<AtomicU32>,
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
    /// The most calls that are answered at once; absent: unlimited.
    pub max_concurrent: Option<u32>,
    /// The addresses from which the key may be used; absent: all.
    pub allow_ips: Option<AddressList>,
}

/// The longest name of a key, an account or a tag, in characters.
pub const MAX_NAME_CHARS: usize = 64;

/// The longest notes of a key, in characters.
pub const MAX_NOTES_CHARS: usize = 200;

/// The right to make one call.
pub type Grant = Arc<Key>;

impl Key {
    /// Whether a wallet pays for its calls, or a hard budget limits them.
    #[must_use]
    pub fn has_limited_money(&self) -> bool {
        self.has_wallet || self.budgets.iter().any(|budget| budget.is_hard)
    }

    /// Whether the key may be used from an address. A client without an address may use keys of all addresses only.
    #[must_use]
    pub fn allows_address(&self, client: Option<IpAddr>) -> bool {
        let list = self.rights.allow_ips.as_ref();
        list.is_none_or(|list| client.is_some_and(|client| list.contains(client)))
    }

    /// Whether the key and its account may call this model.
    #[must_use]
    pub fn allows(&self, model: &str) -> bool {
        let of_account = self.account_limits.as_ref().and_then(|limits| limits.models.as_deref());
        includes_model(self.rights.models.as_deref(), model) && includes_model(of_account, model)
    }
}

impl Key {
    /// Returns the time from which the key no longer works with its secret, in seconds since the epoch.
    pub(super) fn usable_until(&self) -> i64 {
        if (self.status, self.account_status) != (Status::Active, Status::Active) {
            return i64::MIN;
        }
        [self.expires, self.secret.not_after].into_iter().flatten().min().unwrap_or(i64::MAX)
    }

    /// Returns the reason for which the key does not work at a time in seconds since the epoch.
    pub(super) fn refusal(&self, now: i64) -> Failure {
        let passed = |time: Option<i64>| time.filter(|&time| time <= now);
        if passed(self.secret.not_after).is_some() {
            return Failure::new(Kind::InvalidKey, "The API key is not valid.");
        }
        if self.status != Status::Active {
            return Failure::new(Kind::KeyInactive, "The API key is disabled.");
        }
        if let Some(expired) = passed(self.expires) {
            let date = jiff::Timestamp::from_second(expired)
                .map_or(jiff::civil::Date::ZERO, |time| jiff::tz::TimeZone::UTC.to_datetime(time).date());
            return Failure::new(Kind::KeyInactive, format!("The API key expired on {date}."));
        }
        Failure::new(Kind::AccountInactive, "The account of this API key is inactive.")
    }
}

impl KeySecret {
    /// Returns the end of the secret while the key has another one that works: it tells who still uses which.
    #[must_use]
    pub fn hint_in_rotation(&self, now: i64) -> Option<&str> {
        self.hint.as_deref().filter(|_| self.other_until.is_some_and(|end| now < end))
    }

    /// Notes a use in a minute since the epoch. Returns whether it is the first one in that minute.
    pub(super) fn note_use(&self, minute: u32) -> bool {
        let is_first = self.last_used.load(Ordering::Relaxed) != minute;
        if is_first {
            self.last_used.store(minute, Ordering::Relaxed);
        }
        is_first
    }
}

impl Status {
    /// Returns the name by which it is stored and shown.
    #[must_use]
    pub fn name(self) -> &'static str {
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
            watch: false,
            content_log: ContentLogging::On,
            expires: None,
            secret: KeySecret {
                digest: Digest([0; 32]),
                hint: None,
                not_after: None,
                is_newest: true,
                other_until: None,
                last_used: Arc::default(),
            },
            account_status: Status::Active,
            account_limits: None,
            has_wallet: false,
            budgets: Arc::default(),
            tags: None,
            counts: Arc::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_needs_the_permission_of_its_key_and_of_its_account() {
        let list = |models: &[&str]| Some(models.iter().map(|model| (*model).to_owned()).collect());
        let mut key = Key::sample("k", "a");
        key.account_limits =
            Some(Box::new(AccountLimits { models: list(&["openai/*"]), ..AccountLimits::default() }));
        assert_eq!([key.allows("openai/gpt-5"), key.allows("demo/chat")], [true, false]);
        key.rights.models = list(&["openai/gpt-5", "demo/chat"]);
        let allowed = ["openai/gpt-5", "openai/o3", "demo/chat"].map(|model| key.allows(model));
        assert_eq!(allowed, [true, false, false]);
        key.account_limits = None;
        assert!(key.allows("demo/chat"));
    }
}
