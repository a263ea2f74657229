//! What becomes of a call whose target fails before the client has got anything: it goes to the next one.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::canon::Said;
use crate::failure::{Failure, Fault, Kind};
use crate::protocol::ProtocolId;
use crate::route::{Caller, Choice, Sign};

use super::call;
use super::exchange::Exchange;
use super::pay::Need;
use super::transport::failure_kind;
use super::watch::Stop;

/// Where a call may still go.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) choices: VecDeque<Choice>,
    pub(super) client: ProtocolId,
    /// The body as the client has sent it.
    pub(super) body: Bytes,
    pub(super) need: Need,
}

/// How many calls may be sent on: if many fail at once, asking others as well would only make things worse.
#[derive(Debug, Default)]
pub(super) struct Budget(Mutex<Period>);

#[derive(Debug, Default)]
struct Period {
    start: Option<Instant>,
    calls: u32,
    sent_on: u32,
}

impl Budget {
    /// A call has come.
    pub(super) fn call(&self) {
        self.with(|period| period.calls += 1);
    }

    /// May one more call be sent on?
    fn spend(&self) -> bool {
        self.with(|period| {
            let allowed = period.sent_on < FREE + period.calls / SHARE;
            period.sent_on += u32::from(allowed);
            allowed
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Period) -> T) -> T {
        let mut period = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if period.start.is_none_or(|start| start.elapsed() > PERIOD) {
            *period = Period { start: Some(Instant::now()), ..Period::default() };
        }
        act(&mut period)
    }
}

impl Exchange {
    /// Who makes the call, as far as the health of targets is concerned.
    pub(super) fn caller(&self) -> Caller {
        Caller::of(self.grant.as_ref().map_or("", |key| &key.account))
    }

    /// The target is being asked.
    pub(super) fn ask(&mut self) {
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
    pub(super) fn ask_elsewhere(&self) -> bool {
        self.tries < TRIES
    }

    /// The connection was of no use any more. Gives whether the target is asked by another one, which is a fresh one.
    pub(super) fn ask_afresh(&mut self) -> bool {
        !std::mem::replace(&mut self.fresh, true)
    }

    /// Notes why an attempt has ended from outside.
    pub(super) fn note_stop(&mut self, stop: &Stop) {
        if let Stop::Failed(failure) = stop
            && failure.kind().is_the_providers()
        {
            self.fail_attempt(failure_kind(failure));
        }
    }

    /// Notes once what the call says of the target that was asked.
    pub(super) fn note(&mut self, sign: Sign) {
        if let Some(visit) = self.asked.take() {
            visit.note(sign, Instant::now());
        }
    }

    /// Notes what a failure says of the target that was asked.
    pub(super) fn note_failure(&mut self, failure: &Failure) {
        self.note(match failure.fault() {
            Fault::Upstream if failure.kind() == Kind::RateLimited => Sign::Busy(failure.retry_after()),
            Fault::Upstream => Sign::Ill,
            // Whoever refuses a request is there.
            Fault::Client | Fault::Us => Sign::Well,
        });
    }

    /// The call has failed where it was, and nothing of an answer has gone to the client. Turns to the next
    /// target; gives whether there is one, and time for it.
    pub(super) fn turn(&mut self, failure: &Failure) -> bool {
        // What one has written in vain, others would write in vain as well.
        if !failure.kind().is_the_providers() || failure.is_costly() || self.is_late() {
            return false;
        }
        let Some(mut rest) = self.rest.take() else { return false };
        while let Some(choice) = rest.choices.pop_front() {
            if !self.snapshot.budget.spend() {
                return false;
            }
            // A target that can not be asked this is passed over.
            if let Ok(call) = call::redirect(self, &rest, choice) {
                self.note_failure(failure);
                self.call = Some(Box::new(call));
                let held = self.held() + rest.body.len();
                if let Some(slot) = &mut self.slot {
                    slot.keep(held);
                }
                self.failure = None;
                self.upstream_id = None;
                self.sent = None;
                self.usage = None;
                self.served = None;
                self.said = Said::default();
                self.rest = Some(rest);
                (self.tries, self.fresh) = (0, false);
                return true;
            }
        }
        false
    }
}

/// Addresses of one target that are tried for one call.
const TRIES: u32 = 3;

/// How long calls are counted together.
const PERIOD: Duration = Duration::from_secs(10);

/// Calls that may be sent on in any case, and the share of all that may be beside.
const FREE: u32 = 20;
const SHARE: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_calls_may_be_sent_on() {
        let budget = Budget::default();
        let spent = |calls: u32| {
            (0..calls).for_each(|_| budget.call());
            (0..calls).filter(|_| budget.spend()).count()
        };
        assert_eq!((spent(10), spent(100)), (10, 32));
    }
}
