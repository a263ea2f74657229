//! The state of a target at one moment, for people and programs.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use super::catalog::{ModelEntry, ModelTarget};
use super::credentials::{CredentialSnapshot, Credentials};
use super::health::Circuit;
use super::state_log::TargetFailure;
use super::target_rest::TargetRest;

/// The state of a target. For a wildcard, it is that of the worst model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TargetSnapshot {
    /// The target's name, `MODEL@PROVIDER`.
    pub id: String,
    /// The id of the model, or of the wildcard.
    pub model: String,
    /// The provider's name in the configuration.
    pub provider: String,
    /// The provider's own name for the model; absent in wildcards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_model: Option<String>,
    /// The state of the circuit breaker.
    pub state: Circuit,
    /// The time of the last change of the state; absent if the circuit was always closed.
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
    /// The reason for the state; absent if calls go to the target as usual.
    pub reason: Option<String>,
    /// The last failure; absent if there was none.
    pub last_failure: Option<TargetFailure>,
    /// The time of the next trial, or of the end of the pause.
    #[schemars(with = "Option<String>")]
    pub next_trial_at: Option<Timestamp>,
    /// The order of an operator because of which no call goes to the target; absent if there is none.
    pub rested: Option<TargetRest>,
    /// Failures in a row.
    pub failures: u32,
    /// Calls in flight.
    pub in_flight: usize,
    /// The target's share of the calls among targets of the same priority.
    pub weight: u32,
    /// The target's priority; targets with lower numbers are tried first.
    pub priority: u32,
    /// The states of the provider's credentials, if it has several; else empty.
    pub credentials: Vec<CredentialSnapshot>,
}

impl TargetSnapshot {
    /// Returns the state of a target of a model now.
    #[must_use]
    pub fn of(entry: &ModelEntry, target: &ModelTarget) -> Self {
        let now = Instant::now();
        let (view, last_failure) = target.health.view(now);
        let rested = target.health.rest(now).filter(|_| view.state == Circuit::Rested);
        let time = Timestamp::now();
        let span = |span: Duration| SignedDuration::try_from(span).unwrap_or(SignedDuration::ZERO);
        let reason = match (&rested, view.state) {
            (Some(rest), _) => Some(format!("rested by {}: {}", rest.actor, rest.reason)),
            (None, Circuit::Closed) => None,
            (None, _) => last_failure.as_ref().map(ToString::to_string),
        };
        Self {
            id: target.health.id().to_string(),
            model: entry.id.clone(),
            provider: target.provider.name.to_string(),
            upstream_model: target.model.clone(),
            state: view.state,
            since: match &rested {
                Some(rest) => Some(rest.since),
                None => view.since.and_then(|since| time.checked_sub(span(since)).ok()),
            },
            reason,
            rested,
            next_trial_at: view.next.and_then(|next| time.checked_add(span(next)).ok()),
            failures: view.failures,
            in_flight: view.in_flight,
            weight: target.weight,
            priority: target.priority,
            last_failure,
            credentials: target.credentials.as_deref().map(Credentials::snapshots).unwrap_or_default(),
        }
    }
}
