//! The limits of an account, which bind all its keys together.

use super::RateLimits;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Key;

    #[test]
    fn a_call_needs_the_permission_of_its_key_and_of_its_account() {
        let list = |models: &[&str]| Some(models.iter().map(|model| (*model).to_owned()).collect());
        let mut key = Key::sample("k", "a");
        key.account_limits =
            Some(Box::new(AccountLimits { models: list(&["openai/*"]), ..AccountLimits::default() }));
        assert_eq!([key.allows("openai/gpt-5"), key.allows("demo/chat")], [true, false]);
        key.rights.models = list(&["openai/gpt-5", "demo/chat"]);
        let allowed = ["openai/gpt-5", "openai/o3", "demo/chat"].map(|model| key.allows(model));
        assert_eq!(allowed, [true, false, false]);
        key.account_limits = None;
        assert!(key.allows("demo/chat"));
    }
}
