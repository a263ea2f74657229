//! The attempts of a call at its targets, and what they show about the targets' health.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use crate::canon::{Anomaly, ResponseMetadata, Usage};
use crate::config::RetrySettings;
use crate::edge::call::call_guard::Abort;
use crate::edge::call::fallback::Fallbacks;
use crate::edge::call::target::Call;
use crate::edge::call::tries::Tries;
use crate::edge::upstream::transport::answer_failure;
use crate::failure::{Failure, Fault, Kind};
use crate::observe::{Attempt, AttemptFailure, Trace, TryLine};
use crate::provider::RetryCause;
use crate::route::{AttemptOutcome, Caller, InFlightCall, TargetChoice, TargetFailure};

/// The attempts of a call: the target where it is, those that it may still go to, and what has come of it.
#[derive(Debug, Default)]
pub(in crate::edge) struct Attempts {
    pub(in crate::edge) call: Option<Box<Call>>,
    /// The targets that the call may still go to if its present target fails.
    pub(in crate::edge) fallbacks: Option<Box<Fallbacks>>,
    pub(in crate::edge) answer: ProviderAnswer,
    pub(in crate::edge) trace: Trace,
    /// The parts of answers that were not understood, by the provider that the call has left.
    left_anomalies: Vec<(Arc<str>, BTreeMap<Anomaly, u64>)>,
    /// The call's visit to the current target.
    asked: Option<InFlightCall>,
    /// The current or the last attempt at a target.
    attempt: Option<Attempt>,
    /// The tries so far, for the access line.
    tries_made: Tries,
    /// Whether a target was to blame for a failure of the call.
    has_blamed: bool,
    count: u32,
    /// The targets that the call has left.
    targets_left: u32,
    /// The number of these at the current target.
    tries: u32,
    first_asked: Option<Instant>,
    /// The time at which the request went to the current target.
    sent: Option<Instant>,
    /// The time spent on waiting for the client to accept its answer.
    stalled: Duration,
    /// Whether the current target is called on a connection that was never used before.
    fresh: bool,
}

/// The facts that the provider's answer states of itself.
#[derive(Debug, Default)]
pub(in crate::edge) struct ProviderAnswer {
    /// The id under which the provider knows the request.
    pub(in crate::edge) upstream_id: Option<HeaderValue>,
    /// The headers of a relayed answer that go on to the client.
    pub(in crate::edge) headers: Vec<(HeaderName, HeaderValue)>,
    pub(in crate::edge) usage: Option<Usage>,
    /// The model that has answered, by its provider's name, if it is not the requested one.
    pub(in crate::edge) served: Option<String>,
    /// The answer's own id, model and finish reason.
    pub(in crate::edge) said: ResponseMetadata,
    /// The parts of the answer that were not understood.
    pub(in crate::edge) anomalies: BTreeMap<Anomaly, u64>,
    /// Whether the answer is only an estimate of the gateway's.
    pub(in crate::edge) estimated: bool,
}

impl Attempts {
    /// Puts the call at its first target, with the others that it may go to.
    pub(in crate::edge) fn start(&mut self, call: Call, fallbacks: Option<Fallbacks>) {
        self.call = Some(Box::new(call));
        self.fallbacks = fallbacks.map(Box::new);
    }

    /// Puts the call at another target: what the last one has answered counts no more.
    pub(in crate::edge) fn go_on(&mut self, call: Call, fallbacks: Box<Fallbacks>) {
        self.targets_left += u32::from(self.is_elsewhere(call.choice));
        let left = self.call.replace(Box::new(call));
        self.fallbacks = Some(fallbacks);
        let answer = std::mem::take(&mut self.answer);
        if let Some(left) = left.filter(|_| !answer.anomalies.is_empty()) {
            self.left_anomalies.push((Arc::clone(&left.provider().name), answer.anomalies));
        }
        (self.sent, self.tries, self.fresh) = (None, 0, false);
    }

    /// Returns the parts of all answers that were not understood, with the providers that have sent them.
    pub(in crate::edge) fn anomalies(&self) -> impl Iterator<Item = (&str, Anomaly, u64)> {
        let current = self.call.iter().map(|call| (&*call.provider().name, &self.answer.anomalies));
        let left = self.left_anomalies.iter().map(|(provider, anomalies)| (&**provider, anomalies));
        let all = left.chain(current);
        all.flat_map(|(name, anomalies)| {
            anomalies.iter().map(move |(anomaly, count)| (name, *anomaly, *count))
        })
    }

    /// Whether the settings let the call go on to this choice after its last failure.
    pub(in crate::edge) fn may_go_on(&self, retry: &RetrySettings, choice: TargetChoice) -> bool {
        let Some(call) = self.call.as_ref().filter(|_| self.is_elsewhere(choice)) else { return true };
        let cause = match self.tries_made.is_under_way() {
            // It has failed in another way than with its status or its connection.
            true => Some(RetryCause::Broken),
            false => self.tries_made.last().and_then(|(failure, _)| retry_cause(failure)),
        };
        retry.lets_on(&call.provider().retry, cause, self.targets_left + 1)
    }

    /// Whether a choice is another target or credential than the current one.
    fn is_elsewhere(&self, choice: TargetChoice) -> bool {
        let place = |choice: TargetChoice| (choice.target, choice.credential);
        self.call.as_ref().is_some_and(|call| place(call.choice) != place(choice))
    }

    /// Notes that the target has no endpoint for the protocol, so that it is called in another one next.
    pub(in crate::edge) fn change_protocol(&mut self) {
        let (Some(call), Some(fallbacks)) = (&self.call, &mut self.fallbacks) else { return };
        call.upstream.endpoints.note_lacking(call.protocol, Instant::now());
        fallbacks.choices.push_front(call.choice);
    }

    /// Returns the call. It exists from the choice of the target on.
    pub(in crate::edge) fn call(&self) -> Result<&Call, Failure> {
        self.call.as_deref().ok_or_else(|| Failure::new(Kind::Internal, "The request has no target."))
    }

    /// Whether the client has chosen the provider's name of the model.
    pub(in crate::edge) fn is_wildcard(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.found.entry.id.ends_with('*'))
    }

    /// Returns the number of attempts at targets.
    pub(in crate::edge) fn count(&self) -> u32 {
        self.count
    }

    /// Whether the current target is called on a connection that was never used before.
    pub(in crate::edge) fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Returns the time by which an answer that is not a stream has to be complete.
    pub(in crate::edge) fn deadline(&self) -> Option<Instant> {
        let call = self.call.as_ref().filter(|call| !call.form.is_stream())?;
        self.first_asked.unwrap_or_else(Instant::now).checked_add(call.upstream.times.total)
    }

    /// Whether that time is over.
    pub(in crate::edge) fn is_late(&self) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Notes that the request goes to the target.
    pub(in crate::edge) fn ask(&mut self, caller: Caller) {
        (self.count, self.tries) = (self.count + 1, self.tries + 1);
        self.first_asked.get_or_insert_with(Instant::now);
        self.tries_made.begin();
        self.attempt =
            self.call.as_ref().and_then(|call| Some(call.metrics.as_ref()?.begin(call.credential_name())));
        if let Some(call) = &self.call {
            self.trace.attempt(&call.tried());
        }
        if let Some(call) = self.call.as_ref().filter(|call| call.infers()) {
            self.asked = Some(call.health.begin(&call.upstream_model, caller, Instant::now()));
        }
    }

    /// Whether another address of the target may be tried after one could not be reached.
    pub(in crate::edge) fn ask_elsewhere(&self) -> bool {
        self.tries < TRIES
    }

    /// Whether the request may be sent again on a new connection, after the provider had closed the first one.
    /// This is so once.
    pub(in crate::edge) fn ask_afresh(&mut self) -> bool {
        !std::mem::replace(&mut self.fresh, true)
    }

    /// The request goes to the target now.
    pub(in crate::edge) fn note_sent(&mut self) {
        self.sent = Some(Instant::now());
    }

    /// The time since the request went to the target, if it has.
    pub(in crate::edge) fn since_sent(&self) -> Option<Duration> {
        self.sent.map(|sent| sent.elapsed())
    }

    /// Notes that a part of the target's answer has arrived.
    pub(in crate::edge) fn note_arrival(&mut self) {
        if let Some(attempt) = &mut self.attempt {
            attempt.arrived();
        }
    }

    /// Notes that the client was waited for.
    pub(in crate::edge) fn note_stall(&mut self, time: Duration) {
        self.stalled += time;
    }

    /// Notes the failure of the current attempt, and the reason as far as it is known. `status` is that of the answer,
    /// if there was one.
    pub(in crate::edge) fn fail_attempt(
        &mut self,
        failure: AttemptFailure,
        status: Option<u16>,
        detail: &str,
    ) {
        if let Some(attempt) = &self.attempt {
            attempt.failed(failure);
        }
        self.trace.failed(failure);
        if let Some(call) = &self.call {
            self.tries_made.fail(call, failure, status, detail);
        }
    }

    /// Notes the reason for which an attempt was ended from outside.
    pub(in crate::edge) fn note_abort(&mut self, abort: &Abort) {
        if let Abort::Failed(failure) = abort
            && failure.kind().is_the_providers()
        {
            self.fail_attempt(answer_failure(failure), None, detail(failure));
        }
    }

    /// Notes for the target's health that it has answered, once.
    pub(in crate::edge) fn note_success(&mut self) {
        if let Some(call) = self.call.as_ref().filter(|_| self.asked.is_some())
            && let Some(credentials) = &call.credentials
        {
            credentials.succeed(call.choice.credential);
        }
        self.note(AttemptOutcome::Succeeded, None);
    }

    fn note(&mut self, outcome: AttemptOutcome, failure: Option<TargetFailure>) {
        if let Some(in_flight) = self.asked.take() {
            in_flight.record(outcome, failure, Instant::now());
        }
    }

    /// Notes what a failure shows about the target's health.
    pub(in crate::edge) fn note_failure(&mut self, failure: &Failure) {
        if let Some(call) = &self.call {
            match failure.kind().is_the_providers() && self.tries_made.is_under_way() {
                true => self.tries_made.fail(call, answer_failure(failure), None, detail(failure)),
                false => self.tries_made.explain(call, detail(failure)),
            }
        }
        let outcome = match failure.fault() {
            Fault::Upstream if failure.kind() == Kind::RateLimited => {
                AttemptOutcome::BackOff(failure.retry_after())
            }
            Fault::Upstream => AttemptOutcome::Failed,
            // A target that refuses a request is up.
            Fault::Client | Fault::Us => return self.note_success(),
        };
        self.has_blamed = true;
        let record = self.tries_made.last().map(|(kind, text)| TargetFailure::new(kind, text));
        if self.is_of_credential(record.as_ref(), failure.retry_after()) {
            // Nothing is shown about the target, which other credentials still reach.
            self.asked = None;
            return;
        }
        self.note(outcome, record);
    }

    /// Notes the failure of a credential. Returns whether the provider's other credentials can be used all the same.
    fn is_of_credential(&self, failure: Option<&TargetFailure>, pause: Option<u64>) -> bool {
        let Some((call, failure)) = self.call.as_ref().filter(|_| self.asked.is_some()).zip(failure) else {
            return false;
        };
        let credentials = call.credentials.as_ref();
        credentials.is_some_and(|all| all.fail(call.choice.credential, failure, pause, Instant::now()))
    }

    /// Whether the last try has failed because of its credential, so that another one of the same provider may help.
    pub(in crate::edge) fn is_credential_to_blame(&self) -> bool {
        let last = self.tries_made.last().map(|(kind, _)| kind);
        let is_known = !self.tries_made.is_under_way();
        is_known && matches!(last, Some(AttemptFailure::RateLimited | AttemptFailure::Credential))
    }

    /// Whether a target was to blame for a failure of the call.
    pub(in crate::edge) fn has_blamed(&self) -> bool {
        self.has_blamed
    }

    /// Returns the tries of the call for its access line.
    pub(in crate::edge) fn tries(&self) -> Vec<TryLine<'_>> {
        self.tries_made.lines(self.call.as_deref())
    }

    /// Notes the name of the model that has answered, unless it is the requested one.
    pub(in crate::edge) fn note_served(&mut self, name: Option<&str>) {
        if let (None, Some(call), Some(name)) = (&self.answer.served, &self.call, name)
            && call.upstream_model != name
        {
            self.answer.served = Some(name.to_owned());
        }
    }

    /// Notes that the answer is one of a model that reasons.
    pub(in crate::edge) fn note_reasoning(&mut self, reasons: bool) {
        if let Some(call) = &mut self.call {
            call.thinks |= reasons;
        }
    }

    /// Notes once how long the model has taken for a complete answer.
    pub(in crate::edge) fn note_pace(&mut self) {
        let Some(time) = self.sent.take().map(|sent| sent.elapsed()) else { return };
        // A client that reads slowly slows its provider down.
        if self.stalled > time / 8 {
            return;
        }
        // The times of several simultaneous answers are not known.
        let single = self.call.as_ref().filter(|call| call.choices == 1);
        if let (Some(call), Some(usage)) = (single, &self.answer.usage) {
            call.upstream.paces.note(&call.upstream_model, usage, time);
        }
    }

    /// Notes that the client gets an answer now. No other target is tried any more, so all that was kept for that
    /// is dropped.
    pub(in crate::edge) fn commit(&mut self) {
        self.fallbacks = None;
        if let Some(call) = &mut self.call {
            call.body = Bytes::new();
        }
    }

    /// Notes that no other target is tried any more, while this one may still be asked afresh.
    pub(in crate::edge) fn stay(&mut self) {
        self.fallbacks = None;
    }

    /// Bytes of a request of so many that are kept in memory: as it goes to the provider, as it may go to others, and
    /// what its answer repeats of it.
    pub(in crate::edge) fn held(&self, length: usize) -> usize {
        let call = self.call.as_ref().map_or(0, |call| call.held(length));
        call + self.fallbacks.as_ref().map_or(0, |rest| rest.body.len())
    }

    /// The request is over: the last attempt is, too.
    pub(in crate::edge) fn end(&mut self) {
        self.attempt = None;
    }
}

/// Returns the failure in the words of the settings; a refused request is none of the provider's failures.
fn retry_cause(failure: AttemptFailure) -> Option<RetryCause> {
    match failure {
        AttemptFailure::Connect | AttemptFailure::Dns | AttemptFailure::Tls => Some(RetryCause::Connect),
        AttemptFailure::Timeout => Some(RetryCause::Timeout),
        AttemptFailure::Broken => Some(RetryCause::Broken),
        AttemptFailure::Credential => Some(RetryCause::Credential),
        AttemptFailure::RateLimited => Some(RetryCause::RateLimited),
        AttemptFailure::Server => Some(RetryCause::Server),
        AttemptFailure::Refused => None,
    }
}

/// Returns the reason of a failure for the log.
fn detail(failure: &Failure) -> &str {
    let detail = failure.detail().unwrap_or_else(|| failure.message());
    detail.strip_prefix("the provider answered ").unwrap_or(detail)
}

/// The addresses of one target that are tried for one call.
const TRIES: u32 = 3;
