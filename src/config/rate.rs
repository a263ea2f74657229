//! Rate limits.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;

/// A rate limit, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RateSetting {
    /// No limit.
    #[default]
    Unlimited,
    /// At most so many in a minute.
    #[serde(untagged)]
    Limit(NonZeroU32),
}

impl RateSetting {
    /// Returns the limit; `None` if there is none.
    #[must_use]
    pub fn limit(self) -> Option<u32> {
        match self {
            Self::Unlimited => None,
            Self::Limit(limit) => Some(limit.get()),
        }
    }
}
