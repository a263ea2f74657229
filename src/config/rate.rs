//! Rate limits.

use std::fmt;
use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};

/// A rate limit, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum RateSetting {
    /// No limit.
    #[default]
    Unlimited,
    /// At most so many in a minute.
    #[schemars(untagged)]
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

impl<'de> Deserialize<'de> for RateSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RateVisitor)
    }
}

struct RateVisitor;

impl Visitor<'_> for RateVisitor {
    type Value = RateSetting;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of at least 1, or `unlimited`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RateSetting, E> {
        match text {
            "unlimited" => Ok(RateSetting::Unlimited),
            other => Err(E::invalid_value(Unexpected::Str(other), &self)),
        }
    }

    fn visit_u64<E: de::Error>(self, limit: u64) -> Result<RateSetting, E> {
        let fitting = u32::try_from(limit).ok().and_then(NonZeroU32::new);
        fitting.map(RateSetting::Limit).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(limit), &self))
    }
}
