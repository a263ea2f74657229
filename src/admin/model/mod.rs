//! The forms of objects and requests, as JSON and as schemas.

mod account;
mod activity;
mod audit;
mod body;
mod budget;
mod key;
mod list;
mod members;
mod served;
mod status;
mod target;
mod time;
mod token;
mod usage;
mod usd;

pub use crate::auth::Role;
pub use account::{Account, AccountPatch, NewAccount, Payment, Transaction, WalletView};
pub use activity::{KeyActivity, LimitUse};
pub use audit::{AuditRow, Members};
pub(super) use body::{Checked, read_body};
pub use budget::{Budget, Budgets, NewBudget, NewBudgets};
pub use key::{Key, KeyLookup, KeyPatch, KeyState, NewKey, Rotation, SecretView};
pub use list::{ErrorBody, ErrorDetail, ErrorObject, List};
pub use members::{Origin, Tags};
pub use served::{Model, ModelPrices, ModelTarget, PriceTier};
pub use status::{Condition, ConditionStatus, Instance, Status};
pub use target::{NewRest, Quantiles, RecentAttempts, Target};
pub use time::{Moment, Period};
pub use token::{NewToken, Token};
pub use usage::UsageList;
pub use usd::Usd;
