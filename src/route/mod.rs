//! From the name in a request to the provider that answers it.

mod catalog;
mod choose;
mod health;
mod models;
mod name;
mod target_health;

pub use catalog::{Catalog, Entry, Found, ModelSettings, ModelStatus, Target, TargetSettings};
pub use choose::{Choice, order};
pub use health::{AttemptOutcome, Caller, Circuit, Condition, Health, View};
pub(crate) use models::percent_decoded;
pub use models::{ModelList, Page};
pub use name::{MAX_NAME_BYTES, is_model_name};
pub use target_health::{InFlightCall, TargetHealth};
