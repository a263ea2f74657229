//! Targets.

use schemars::JsonSchema;
use serde::Serialize;

use crate::route::TargetSnapshot;

/// A target: a model at a provider.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Target {
    /// `target`.
    pub object: String,
    /// Its state.
    #[serde(flatten)]
    pub snapshot: TargetSnapshot,
}

impl From<TargetSnapshot> for Target {
    fn from(snapshot: TargetSnapshot) -> Self {
        Self { object: "target".to_owned(), snapshot }
    }
}
