//! Routing: from the name in a request to the provider that answers it.

mod catalog;
mod choose;
mod google_models;
mod health;
mod models;
mod name;
mod near;
mod state_log;
mod target_health;
mod target_rest;
mod target_snapshot;

pub use catalog::{
    Catalog, ModelEntry, ModelSettings, ModelStatus, ModelTarget, ResolvedModel, TargetSettings,
};
pub use choose::{Sought, TargetChoice, order};
pub use health::{AttemptOutcome, Caller, Circuit, Condition, Health, HealthView, StateChange};
pub(crate) use models::percent_decoded;
pub use models::{ModelList, ModelListPage};
pub use name::{MAX_NAME_BYTES, is_model_name};
pub use state_log::TargetFailure;
pub use target_health::{InFlightCall, TargetHealth, TargetId};
pub use target_rest::TargetRest;
pub use target_snapshot::TargetSnapshot;
