//! Limits of keys and of accounts. Those of an account bind all its keys together.

use serde::Serialize;

/// The rate limits of a key or an account, per minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RateLimits {
    /// Requests; absent: unlimited.
    pub rpm: Option<u32>,
    /// Tokens; absent: unlimited.
    pub tpm: Option<u32>,
}

/// The limits of an account. They bind besides those of each key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountLimits {
    /// The models that its keys may call, as ids or `vendor/*`; absent: all models.
    pub models: Option<Vec<String>>,
    /// Requests and tokens per minute of all its keys together.
    pub rate: RateLimits,
    /// The most calls of all its keys that are answered at once; absent: unlimited.
    pub max_concurrent: Option<u32>,
}

impl AccountLimits {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether a list of models, as ids or `vendor/*`, has a model. Without a list all models are meant.
pub(super) fn includes_model(models: Option<&[String]>, model: &str) -> bool {
    let matches = |pattern: &String| match pattern.strip_suffix('*') {
        Some(prefix) => model.starts_with(prefix),
        None => pattern == model,
    };
    models.is_none_or(|models| models.iter().any(matches))
}
