//! The running gateway, as the API sees it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::admin::error::OperationResult;
use crate::admin::model::{Instance, Model, Status, Target};
use crate::auth::{OperatorToken, RateLimits};
use crate::config::ConfigStatus;
use crate::observe::FailureList;
use crate::route::TargetRest;

/// The calls of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyCalls {
    /// Requests in the last minute.
    pub requests: u64,
    /// Tokens in the last minute; 0 if they are not limited.
    pub tokens: u64,
    /// Calls in flight.
    pub in_flight: u64,
}

/// A running gateway.
pub trait GatewayView: Send + Sync {
    /// Returns the process.
    fn instance(&self) -> Instance;

    /// Returns the operators' credentials of the configuration file.
    fn tokens(&self) -> Arc<[OperatorToken]>;

    /// Returns the rate limits of new keys for which none are named.
    fn key_defaults(&self) -> RateLimits;

    /// Whether it ends after its calls.
    fn is_draining(&self) -> bool;

    /// Writes the counts of all calls that have ended to the store. May take as long as a disk does.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    fn post_usage(&self) -> OperationResult<()>;

    /// Counts a request whose credential was not accepted. `is_blocked` says whether its address has to wait.
    fn note_auth_failure(&self, authorization: Option<&str>, is_blocked: bool);

    /// Counts a request that is over, by the name of its operation.
    fn note_request(&self, operation: &'static str, status: u16);

    /// Returns its state.
    fn status(&self) -> Status;

    /// Returns its models, in alphabetical order.
    fn models(&self) -> Vec<Model>;

    /// Returns its targets and their states.
    fn targets(&self) -> Vec<Target>;

    /// Whether it has a target of this name.
    fn has_target(&self, target: &str) -> bool;

    /// Puts the orders of operators about targets into effect, by the names of the targets.
    fn obey(&self, orders: HashMap<String, TargetRest>);

    /// Returns the state of its configuration.
    fn config(&self) -> Arc<ConfigStatus>;

    /// Reads the configuration again. Returns its state, and whether anything has changed or was refused.
    ///
    /// # Errors
    /// Fails if there is no file, or if the process takes too long.
    fn reload(&self) -> OperationResult<(Arc<ConfigStatus>, bool)>;

    /// Returns the requests that have failed or were refused lately.
    fn failures(&self) -> FailureList;

    /// Returns the calls of a key.
    fn activity(&self, key: &str) -> KeyCalls;

    /// Whether it serves a model, or one that a pattern means.
    fn serves(&self, model: &str) -> bool;
}
