//! The limits of a key, and their use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Budget, Moment};

/// The limits of a key, and what it uses of them now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyActivity {
    /// `key_limits`.
    pub object: String,
    /// The id of the key.
    pub key: String,
    /// The time of the answer.
    pub as_of: Moment,
    /// Requests in the last minute.
    pub requests: LimitUse,
    /// Tokens in the last minute. They are counted only if they are limited.
    pub tokens: LimitUse,
    /// Calls in flight.
    pub concurrent: LimitUse,
    /// The budgets.
    pub budgets: Vec<Budget>,
}

/// A limit, and its use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitUse {
    /// The part of it that is used now.
    pub used: u64,
    /// The limit; `null`: unlimited.
    pub limit: Option<u64>,
}
