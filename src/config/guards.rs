//! Guards: HTTP services of the operator that see requests before any provider does, or answers before the client does.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::located::Located;
use crate::notify::WebhookSecret;
use crate::provider::Provider;

/// A guard in the configuration file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GuardSettings {
    /// The name in access lines and metrics: at most 64 letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// The address to which requests are posted.
    pub url: String,
    /// The moment at which the guard is asked. Default: `request`.
    #[serde(default)]
    pub at: GuardMoment,
    /// The part of a request that the guard sees. Default: `body`.
    #[serde(default)]
    pub send: GuardView,
    /// The models whose requests it sees: ids, or beginnings of ids that end in `*`. Default: all.
    pub models: Option<Vec<String>>,
    /// The time for an answer, in milliseconds, at most 10000. Default: 500.
    pub timeout_ms: Option<u64>,
    /// The treatment of a request whose guard fails. Default: `deny`.
    #[serde(default)]
    pub on_error: GuardFallback,
    /// A reference to the secret with which questions are signed, as `whsec_…` or a text of at least 24 characters:
    /// `env:NAME` or `file:PATH`. Default: they are not signed.
    pub secret: Option<Located<String>>,
}

/// The moment at which a guard is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GuardMoment {
    /// Before the request goes anywhere.
    #[default]
    Request,
    /// Before the client gets the answer. A stream is shown after its end, and stays as it is.
    Answer,
}

/// The part of a request that a guard sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GuardView {
    /// Everything, with the client's body.
    #[default]
    Body,
    /// Everything but the body.
    Metadata,
}

/// The treatment of a request whose guard fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GuardFallback {
    /// It is refused.
    #[default]
    Deny,
    /// It goes on.
    Allow,
}

/// A guard after all checks.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The name.
    pub name: Arc<str>,
    /// The service, in the form in which connections are made.
    pub server: Arc<Provider>,
    /// The path that is posted to.
    pub path: String,
    /// The moment at which it is asked.
    pub moment: GuardMoment,
    /// The part of a request that it sees.
    pub view: GuardView,
    /// The models whose requests it sees; absent: all.
    pub models: Option<Vec<String>>,
    /// The time for an answer.
    pub timeout: Duration,
    /// The treatment of a request if it fails.
    pub fallback: GuardFallback,
    /// The secret with which questions are signed.
    pub secret: Option<WebhookSecret>,
}

impl Guard {
    /// Whether it is asked at this moment of the calls of a model.
    #[must_use]
    pub fn watches(&self, moment: GuardMoment, model: &str) -> bool {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => model.starts_with(prefix),
            None => pattern == model,
        };
        self.moment == moment && self.models.as_ref().is_none_or(|models| models.iter().any(matches))
    }
}
