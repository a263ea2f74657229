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

    /// Counts a request whose credential was not accepted. `is_blocked` says whether its address has to wait.
    fn note_auth_failure(&self, authorization: Option<&str>, is_blocked: bool);

    /// Counts a request that is over, by the name of its operation.
    fn note_request(&self, operation: &'static str, status: u16);

    /// Returns its state.
    fn status(&self) -> Status;

    /// Returns its models, in alphabetical order.
    fn models(&self) -> Vec<Model>;

    /// Whether it serves a model, or one that a pattern means.
    fn serves(&self, model: &str) -> bool;
}
