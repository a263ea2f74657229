//! Authentication and authorization: keys, their rights, and the accounts that own them.
//!
//! A [`KeyTable`] answers from memory; the command line may change the [`Store`] behind it while the proxy runs.

mod aliases;
mod bearer;
mod budget;
mod key;
mod key_table;
mod secret;
mod shared;
mod store;

pub use crate::store::StoreError;
pub use aliases::Aliases;
pub use bearer::bearer_token;
pub use budget::{Budget, BudgetOwner, Period};
pub use key::{Grant, Key, RateLimits, Rights, Status};
pub use key_table::KeyTable;
pub(crate) use secret::random;
pub use secret::random_id;
pub use secret::{Digest, Secret, Token};
pub use shared::{NameKey, SharedSecret};
pub use store::{Account, NewKey, Store};
