//! Metrics of the credentials of providers that have several, by their names.

use prometheus::{IntCounterVec, IntGaugeVec};

use super::labels::AttemptFailure;
use super::maker::Maker;

/// The metrics of all credentials.
#[derive(Clone, Debug)]
pub(super) struct CredentialMetrics {
    attempts: IntCounterVec,
    failures: IntCounterVec,
    states: IntGaugeVec,
}

impl CredentialMetrics {
    pub(super) fn new(make: &Maker<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            attempts: make.counters(
                "crossmodel_credential_attempts_total",
                "Tries with a credential of a provider that has several.",
                &["provider", "credential"],
            )?,
            failures: make.counters(
                "crossmodel_credential_failures_total",
                "Tries with a credential that a provider did not answer well, by kind.",
                &["provider", "credential", "kind"],
            )?,
            states: make.gauges(
                "crossmodel_credential_state",
                "The state of a credential: the series of its state is 1, and the others are 0.",
                &["provider", "credential", "state"],
            )?,
        })
    }

    /// Counts a try.
    pub(super) fn attempt(&self, provider: &str, credential: &str) {
        self.attempts.with_label_values(&[provider, credential]).inc();
    }

    /// Counts the failure of a try.
    pub(super) fn failed(&self, provider: &str, credential: &str, failure: AttemptFailure) {
        self.failures.with_label_values(&[provider, credential, failure.as_str()]).inc();
    }

    /// Sets the states of all credentials, by provider, name and state, each with whether it is the present one.
    pub(super) fn set_states<'c>(&self, all: impl Iterator<Item = ([&'c str; 3], bool)>) {
        // A credential that is no longer configured has no state.
        self.states.reset();
        for (labels, is_present) in all {
            self.states.with_label_values(&labels).set(i64::from(is_present));
        }
    }
}
