//! The settings of retries that a provider may have of its own.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;

/// A failure after which a call may go on to another target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetryCause {
    /// No connection could be made: the name, the address or TLS has failed.
    Connect,
    /// The provider did not answer, or go on, in time.
    Timeout,
    /// It asked for fewer calls (429).
    RateLimited,
    /// It refused its credential (401, 402, 403).
    Credential,
    /// It answered with an error of its own (5xx).
    Server,
    /// Its answer broke off, or was nonsense.
    Broken,
}

impl RetryCause {
    /// All causes.
    pub const ALL: [Self; 6] =
        [Self::Connect, Self::Timeout, Self::RateLimited, Self::Credential, Self::Server, Self::Broken];
}

/// The rules for calls that have failed at one provider. The default of each is the rule of the same name under `retry`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderRetrySettings {
    /// The number of targets of a call after which it does not go on from here.
    pub targets: Option<NonZeroU32>,
    /// The failures after which a call goes on from here.
    pub on: Option<Vec<RetryCause>>,
}
