//! The forms of events on the wire.

use schemars::JsonSchema;
use serde::Deserialize;

/// The form of the bodies that a receiver gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WebhookFormat {
    /// An object with `type`, `timestamp` and `data`.
    #[default]
    Standard,
    /// An object with `text`, one line for people.
    Slack,
}
