//! The attempts of a call at its targets, and what they say of these.

use std::time::Instant;

use crate::edge::call::exchange::Exchange;
use crate::edge::call::watch::Stop;
use crate::edge::upstream::transport::failure_kind;
use crate::failure::{Failure, Fault, Kind};
use crate::route::{AttemptOutcome, Caller};

impl Exchange {
    /// The account that makes the call, as far as the health of targets is concerned.
    pub(in crate::edge) fn caller(&self) -> Caller {
        Caller::of(self.grant.as_ref().map_or("", |key| &key.account))
    }

    /// The target is being asked.
    pub(in crate::edge) fn ask(&mut self) {
        (self.attempts, self.tries) = (self.attempts + 1, self.tries + 1);
        self.first_asked.get_or_insert_with(Instant::now);
        self.attempt = self.call.as_ref().and_then(|call| Some(call.metrics.as_ref()?.begin()));
        if let Some(call) = &self.call {
            self.trace.attempt(&call.tried());
        }
        if let Some(call) = self.call.as_ref().filter(|call| call.infers) {
            let (health, caller) = (&call.health, self.caller());
            self.asked = Some(health.begin(&call.upstream_model, caller, Instant::now()));
        }
    }

    /// The target could not be reached at one of its addresses. Gives whether another one is tried.
    pub(in crate::edge) fn ask_elsewhere(&self) -> bool {
        self.tries < TRIES
    }

    /// The connection was of no use any more. Gives whether the target is asked by another one, which is a fresh one.
    pub(in crate::edge) fn ask_afresh(&mut self) -> bool {
        !std::mem::replace(&mut self.fresh, true)
    }

    /// Notes why an attempt has ended from outside.
    pub(in crate::edge) fn note_stop(&mut self, stop: &Stop) {
        if let Stop::Failed(failure) = stop
            && failure.kind().is_the_providers()
        {
            self.fail_attempt(failure_kind(failure));
        }
    }

    /// Notes once what the call says of the target that was asked.
    pub(in crate::edge) fn note(&mut self, outcome: AttemptOutcome) {
        if let Some(in_flight) = self.asked.take() {
            in_flight.record(outcome, Instant::now());
        }
    }

    /// Notes what a failure says of the target that was asked.
    pub(in crate::edge) fn note_failure(&mut self, failure: &Failure) {
        self.note(match failure.fault() {
            Fault::Upstream if failure.kind() == Kind::RateLimited => {
                AttemptOutcome::BackOff(failure.retry_after())
            }
            Fault::Upstream => AttemptOutcome::Failed,
            // Whoever refuses a request is there.
            Fault::Client | Fault::Us => AttemptOutcome::Succeeded,
        });
    }
}

/// Addresses of one target that are tried for one call.
const TRIES: u32 = 3;
