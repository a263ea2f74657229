//! Authentication and authorization: keys, their rights, and the accounts that own them.
//!
//! A [`KeyTable`] answers from memory; operators may change the [`Store`] behind it while the proxy runs.

mod addresses;
mod aliases;
mod bearer;
mod budget;
mod call_counts;
mod content_logging;
mod expiry;
mod key;
mod key_table;
mod limits;
mod operator;
mod secret;
mod secret_uses;
mod shared;
mod store;
mod tag;

pub use crate::store::StoreError;
pub use addresses::{AddressBlock, AddressList, MAX_ADDRESS_COUNT};
pub use aliases::Aliases;
pub use bearer::bearer_token;
pub use budget::{Budget, BudgetOwner, Period};
pub use call_counts::{CallCounts, CallOutcome, CallTotals};
pub use content_logging::ContentLogging;
pub use expiry::{ExpiringKey, expiring_keys};
pub use key::{Grant, Key, KeySecret, MAX_NAME_CHARS, MAX_NOTES_CHARS, Rights, Status};
pub use key_table::KeyTable;
pub use limits::{AccountLimits, RateLimits};
pub use operator::{AccountScope, Operator, OperatorToken, Role};
pub(crate) use secret::random;
pub use secret::random_id;
pub use secret::{Digest, Secret, Token, contains_secret, key_hint};
pub use secret_uses::SecretUses;
pub use shared::{NameKey, SharedSecret};
pub use store::Store;
#[cfg(test)]
pub(crate) use store::testing::NewKey;
pub use tag::{MAX_TAG_COUNT, Tag, Tags, is_tag_name, is_tag_value};
