//! The running gateway, as the API sees it.

use std::sync::Arc;

use crate::admin::model::{Instance, Model, Status};
use crate::auth::{OperatorToken, RateLimits};

/// A running gateway.
pub trait GatewayView: Send + Sync {
    /// Returns the process.
    fn instance(&self) -> Instance;

    /// Returns the operators' credentials of the configuration file.
    fn tokens(&self) -> Arc<[OperatorToken]>;

    /// Returns the rate limits of new keys for which none are named.
    fn key_defaults(&self) -> RateLimits;

    /// Returns its state.
    fn status(&self) -> Status;

    /// Returns its models, in alphabetical order.
    fn models(&self) -> Vec<Model>;

    /// Whether it serves a model, or one that a pattern means.
    fn serves(&self, model: &str) -> bool;
}
