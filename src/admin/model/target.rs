//! Targets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::error::Mistake;
use crate::auth::MAX_NOTES_CHARS;
use crate::route::TargetSnapshot;

use super::Period;
use super::body::Checked;
use super::members::check_text;

/// A target: a model at a provider.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Target {
    /// `target`.
    pub object: String,
    /// Its state.
    #[serde(flatten)]
    pub snapshot: TargetSnapshot,
    /// The attempts of the last ten minutes.
    pub last_10m: RecentAttempts,
}

/// The attempts at a target in some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct RecentAttempts {
    /// Their number.
    pub requests: u64,
    /// The part of them that failed, from 0 to 1.
    pub error_share: f64,
    /// Milliseconds from the start of an attempt to the first byte of its answer.
    pub first_byte_ms: Quantiles,
}

/// The median and the 95th percentile; `null` if there is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Quantiles {
    /// The median.
    pub p50: Option<f64>,
    /// The 95th percentile.
    pub p95: Option<f64>,
}

/// An order that a target gets no new calls for a while.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["for"]))]
pub struct NewRest {
    /// The length of the rest, at most 30 days.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    /// The reason, for people.
    pub reason: String,
}

impl Checked for NewRest {
    fn check(&self, mistakes: &mut Vec<Mistake>) {
        match self.period {
            None => mistakes.push(Mistake::new("for", "is missing: write for example 30m")),
            Some(Period(0)) => mistakes.push(Mistake::new("for", "is 0; to end a rest, enable the target")),
            Some(Period(seconds)) if seconds > MAX_REST_SECONDS => {
                mistakes.push(Mistake::new("for", "is longer than 30d"));
            }
            Some(_) => {}
        }
        check_text("reason", &self.reason, MAX_NOTES_CHARS, mistakes);
        if self.reason.contains(char::is_control) {
            mistakes.push(Mistake::new("reason", "has control characters"));
        }
    }
}

/// The longest rest of a target.
const MAX_REST_SECONDS: i64 = 30 * 86_400;

impl Target {
    /// Makes the object of a target.
    #[must_use]
    pub fn new(snapshot: TargetSnapshot, last_10m: RecentAttempts) -> Self {
        Self { object: "target".to_owned(), snapshot, last_10m }
    }
}
