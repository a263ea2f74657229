//! The health of a target, separately for each model that is called there.
//!
//! A wildcard stands for all models of a provider, and the failure of one says nothing about the others. Clients
//! choose the names, so only models that are called are kept, and at most [`MAX_MODELS`].

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::repeated::RepeatedLine;

use super::health::{AttemptOutcome, Caller, Circuit, Condition, Health, HealthView};
use super::state_log::{StateLog, TargetFailure};
use super::target_rest::{RestEffect, RestOrder, TargetRest};

/// The health of one target.
#[derive(Debug)]
pub struct TargetHealth {
    id: TargetId,
    /// Failures in a row that open a model's circuit; with 0 it never opens.
    most_failures: u32,
    models: ModelHealth,
    /// Calls in flight.
    in_flight: AtomicUsize,
    /// The lines about the states of a wildcard's models that may still be written.
    lines: Mutex<LineBudget>,
    /// The line about calls that are refused because no target of the model is available.
    unavailable: RepeatedLine,
    /// Whether an operator has ever taken it out of service.
    has_rest: AtomicBool,
    rest: Mutex<RestOrder>,
}

/// The name of a target: `MODEL@PROVIDER`, and `:UPSTREAM_MODEL` if one provider serves the model twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetId {
    /// The id of the model, or of the wildcard.
    pub model: Box<str>,
    /// The provider's name in the configuration.
    pub provider: Box<str>,
    /// The provider's own name for the model, where the others name several targets.
    pub upstream_model: Option<Box<str>>,
}

/// The health of the models of a target.
#[derive(Debug)]
enum ModelHealth {
    /// The target serves one model.
    One(Arc<ObservedHealth>),
    /// The target is a wildcard and serves the models that clients name.
    Many(Mutex<KnownModels>),
}

/// The models whose health is kept.
#[derive(Debug, Default)]
struct KnownModels {
    models: HashMap<Box<str>, KnownModel>,
    /// Calls so far.
    calls: u64,
}

/// The health of a model, and what people are told of it.
#[derive(Debug)]
struct ObservedHealth {
    health: Health,
    log: StateLog,
    last_failure: Mutex<Option<TargetFailure>>,
}

/// The number of lines of a wildcard in the current minute. Clients choose the names of its models, so a provider
/// that fails would have a line for each name.
#[derive(Debug, Default)]
struct LineBudget {
    since: Option<Instant>,
    written: u32,
}

/// A model of a wildcard that has been called.
#[derive(Debug)]
struct KnownModel {
    health: Arc<ObservedHealth>,
    /// The number of the last call, for the choice of the model to forget.
    last: u64,
}

/// A call that is in flight at a target. It ends when this is dropped.
#[derive(Debug)]
pub struct InFlightCall {
    target: Arc<TargetHealth>,
    model: Arc<ObservedHealth>,
    /// The model's name at a wildcard's provider.
    named: Option<Box<str>>,
    caller: Caller,
}

impl TargetHealth {
    /// Makes the health of a target that was never called. The circuit of a model opens after so many failures in
    /// a row; with 0 it never does. `is_wildcard` says whether clients name the model.
    #[must_use]
    pub fn new(id: TargetId, most_failures: u32, is_wildcard: bool) -> Self {
        let models = match is_wildcard {
            true => ModelHealth::Many(Mutex::default()),
            false => ModelHealth::One(Arc::new(ObservedHealth::new(most_failures))),
        };
        Self {
            id,
            most_failures,
            models,
            in_flight: AtomicUsize::new(0),
            lines: Mutex::default(),
            unavailable: RepeatedLine::new(),
            has_rest: AtomicBool::new(false),
            rest: Mutex::default(),
        }
    }

    /// Returns the name of the target.
    #[must_use]
    pub fn id(&self) -> &TargetId {
        &self.id
    }

    /// Writes that no target of this target's model is available, at most once a minute.
    pub(super) fn note_unavailable(&self, model: &str) {
        self.unavailable
            .write(log::Level::Error, format_args!("model {model}: no target is available; calls get 503"));
    }

    /// Puts the last order of an operator into effect, unless it is known. An order to serve closes open circuits and ends
    /// pauses.
    pub fn obey(&self, order: Option<&TargetRest>, now: Instant) {
        if order.is_none() && !self.has_rest.load(Ordering::Relaxed) {
            return;
        }
        let effect = self.rest.lock().take(order, now, jiff::Timestamp::now());
        self.has_rest.store(true, Ordering::Relaxed);
        let Some(TargetRest { until, reason, actor, .. }) = order else { return };
        match effect {
            RestEffect::Known => {}
            RestEffect::Rests => log::warn!("target {}: rested until {until} by {actor}: {reason}", self.id),
            RestEffect::Serves => {
                self.fold(|model| model.reset(now)).for_each(drop);
                log::info!("target {}: enabled by {actor}", self.id);
            }
        }
    }

    /// Returns the order of an operator because of which no call goes to the target.
    pub fn rest(&self, now: Instant) -> Option<TargetRest> {
        self.rest.lock().current(now).cloned()
    }

    /// Returns the time for which an operator has taken the target out of service.
    fn rest_left(&self, now: Instant) -> Option<Duration> {
        if self.has_rest.load(Ordering::Relaxed) { self.rest.lock().left(now) } else { None }
    }

    /// Returns the condition of a model of the target for `caller`.
    pub fn condition(&self, model: &str, caller: Caller, now: Instant) -> Condition {
        if let Some(left) = self.rest_left(now) {
            return Condition::Open(left);
        }
        let condition = |model: &ObservedHealth| model.health.condition(Some(caller), now);
        match &self.models {
            ModelHealth::One(health) => condition(health),
            ModelHealth::Many(known) => {
                known.lock().models.get(model).map_or(Condition::Ready, |model| condition(&model.health))
            }
        }
    }

    /// Notes that a call goes to a model of the target.
    #[must_use]
    pub fn begin(self: &Arc<Self>, model: &str, caller: Caller, now: Instant) -> InFlightCall {
        let (model, named) = match &self.models {
            ModelHealth::One(health) => (Arc::clone(health), None),
            ModelHealth::Many(known) => {
                (known.lock().find(model, self.most_failures, now), Some(model.into()))
            }
        };
        model.health.begin(caller, now);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlightCall { target: Arc::clone(self), model, named, caller }
    }

    /// Returns the worst condition of any model, for any caller.
    pub fn worst(&self, now: Instant) -> Condition {
        if let Some(left) = self.rest_left(now) {
            return Condition::Open(left);
        }
        self.fold(|model| model.health.condition(None, now)).max().unwrap_or(Condition::Ready)
    }

    /// Returns the health of the target for people, which is that of its worst model, with the last failure of that
    /// model.
    pub fn view(&self, now: Instant) -> (HealthView, Option<TargetFailure>) {
        let rank = |(view, _): &(HealthView, Option<TargetFailure>)| {
            let state = match view.state {
                Circuit::Closed => 0,
                Circuit::BackingOff => 1,
                Circuit::HalfOpen => 2,
                Circuit::Open | Circuit::Rested => 3,
            };
            (state, view.failures)
        };
        let look = |model: &ObservedHealth| (model.health.view(now), model.last_failure.lock().clone());
        let (view, failure) = self.fold(look).max_by_key(rank).unwrap_or((HealthView::UNKNOWN, None));
        let view = match self.rest_left(now) {
            Some(left) => HealthView { state: Circuit::Rested, next: Some(left), ..view },
            None => view,
        };
        (HealthView { in_flight: self.in_flight.load(Ordering::Relaxed), ..view }, failure)
    }

    /// Applies `look` to the health of each model that is kept.
    fn fold<T>(&self, look: impl Fn(&ObservedHealth) -> T) -> impl Iterator<Item = T> {
        let all: Vec<_> = match &self.models {
            ModelHealth::One(health) => vec![look(health)],
            ModelHealth::Many(known) => {
                known.lock().models.values().map(|model| look(&model.health)).collect()
            }
        };
        all.into_iter()
    }
}

impl KnownModels {
    /// Returns the health of a model that is called, and makes it if needed.
    fn find(&mut self, name: &str, most_failures: u32, now: Instant) -> Arc<ObservedHealth> {
        self.calls += 1;
        if let Some(model) = self.models.get_mut(name) {
            model.last = self.calls;
            return Arc::clone(&model.health);
        }
        if self.models.len() >= MAX_MODELS {
            self.forget(now);
        }
        let health = Arc::new(ObservedHealth::new(most_failures));
        self.models.insert(name.into(), KnownModel { health: Arc::clone(&health), last: self.calls });
        health
    }

    /// Forgets all models that are well and not being called. If there are none, forgets the model whose last call
    /// is the longest ago.
    fn forget(&mut self, now: Instant) {
        self.models
            .retain(|_, model| Arc::strong_count(&model.health) > 1 || !model.health.health.is_blank(now));
        if self.models.len() >= MAX_MODELS {
            let oldest = self.models.iter().min_by_key(|(_, model)| model.last);
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                self.models.remove(&name);
            }
        }
    }
}

impl ObservedHealth {
    fn new(most_failures: u32) -> Self {
        Self { health: Health::new(most_failures), log: StateLog::default(), last_failure: Mutex::default() }
    }

    /// Forgets all failures.
    fn reset(&self, now: Instant) {
        self.health.reset(now);
        self.log.reset();
    }
}

impl LineBudget {
    /// Whether another line may be written.
    fn spend(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= LINE_INTERVAL) {
            *self = Self { since: Some(now), written: 0 };
        }
        self.written = self.written.saturating_add(1);
        self.written <= MAX_LINES
    }
}

impl InFlightCall {
    /// Notes the result of the call, and the failure if it is one of the target's. Writes the line of a change of
    /// the target's state.
    pub fn record(&self, outcome: AttemptOutcome, failure: Option<TargetFailure>, now: Instant) {
        let change = self.model.health.record(outcome, self.caller, now);
        if change.is_none() && failure.is_none() {
            return;
        }
        let setting = format!("providers.{}.key", self.target.id.provider);
        let line = self.model.log.line(change, failure.as_ref(), &setting, now);
        if failure.is_some() {
            *self.model.last_failure.lock() = failure;
        }
        let is_due = line.is_some() && (self.named.is_none() || self.target.lines.lock().spend(now));
        if let Some((level, text)) = line.filter(|_| is_due) {
            log::log!(level, "target {}: {text}", self.target.id.of_model(self.named.as_deref()));
        }
    }
}

impl TargetId {
    /// Returns the name of the target for one model of a wildcard.
    fn of_model(&self, named: Option<&str>) -> Self {
        let Some((named, prefix)) = named.zip(self.model.strip_suffix('*')) else { return self.clone() };
        Self { model: format!("{prefix}{named}").into(), ..self.clone() }
    }
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.model, self.provider)?;
        self.upstream_model.iter().try_for_each(|model| write!(f, ":{model}"))
    }
}

impl Drop for InFlightCall {
    fn drop(&mut self) {
        self.target.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The models of one target whose health is kept. A chosen value: more models than any provider has, at about 200
/// kB.
const MAX_MODELS: usize = 1024;

/// The most lines about the models of one wildcard in [`LINE_INTERVAL`].
const MAX_LINES: u32 = 10;

/// The time in which so many lines may be written.
const LINE_INTERVAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn health(most_failures: u32, is_wildcard: bool) -> TargetHealth {
        TargetHealth::new(TargetId::default(), most_failures, is_wildcard)
    }

    fn known(target: &TargetHealth) -> usize {
        target.fold(|_| ()).count()
    }

    #[test]
    fn one_model_of_a_wildcard_says_nothing_of_another() {
        let (target, now) = (Arc::new(health(3, true)), Instant::now());
        let callers = [Caller::of("a"), Caller::of("b")];
        for n in 0..4 {
            target.begin("bad", callers[n % 2], now).record(AttemptOutcome::Failed, None, now);
        }
        assert!(matches!(target.condition("bad", callers[0], now), Condition::Open(_)));
        assert_eq!(target.condition("good", callers[0], now), Condition::Ready);
        assert_eq!(known(&target), 1, "to ask for a model is not to call it");
        target.begin("good", callers[0], now).record(AttemptOutcome::Succeeded, None, now);
        assert_eq!((target.view(now).0.state, target.view(now).0.failures), (Circuit::Open, 4));
        assert!(matches!(target.worst(now), Condition::Open(_)));
        let one = Arc::new(health(3, false));
        (0..3).for_each(|_| one.begin("any", callers[0], now).record(AttemptOutcome::Failed, None, now));
        assert!(matches!(one.condition("other", callers[0], now), Condition::Open(_)));
    }

    #[test]
    fn only_so_many_models_are_known_and_those_that_are_ill_stay_longest() {
        let (target, now) = (Arc::new(health(1, true)), Instant::now());
        let caller = Caller::of("a");
        target.begin("ill", caller, now).record(AttemptOutcome::Failed, None, now);
        let stays = target.begin("stays", caller, now);
        for n in 0..3 * MAX_MODELS {
            target.begin(&format!("well-{n}"), caller, now).record(AttemptOutcome::Succeeded, None, now);
            assert!(known(&target) <= MAX_MODELS);
        }
        assert!(matches!(target.condition("ill", caller, now), Condition::Open(_)));
        stays.record(AttemptOutcome::Failed, None, now);
        assert!(matches!(target.condition("stays", caller, now), Condition::Open(_)));
        for n in 0..2 * MAX_MODELS {
            target.begin(&format!("ill-{n}"), caller, now).record(AttemptOutcome::Failed, None, now);
            assert!(known(&target) <= MAX_MODELS);
        }
        assert_eq!(target.condition("ill", caller, now), Condition::Ready, "it was forgotten");
    }

    #[test]
    fn calls_in_flight_are_counted_over_all_models() {
        let (target, now) = (Arc::new(health(1, true)), Instant::now());
        let visits = ["x", "y", "y"].map(|model| target.begin(model, Caller::of("a"), now));
        assert_eq!(target.view(now).0.in_flight, 3);
        drop(visits);
        assert_eq!(target.view(now).0.in_flight, 0);
    }

    #[test]
    fn names_that_clients_choose_have_few_lines() {
        let (mut lines, now) = (LineBudget::default(), Instant::now());
        assert_eq!((0..1000).filter(|_| lines.spend(now)).count(), MAX_LINES as usize);
        assert!(lines.spend(now + LINE_INTERVAL));
        let id = TargetId { model: "openai/*".into(), provider: "azure".into(), upstream_model: None };
        assert_eq!(id.of_model(Some("gpt-5")).to_string(), "openai/gpt-5@azure");
        let id = TargetId { upstream_model: Some("b".into()), ..id };
        assert_eq!(id.of_model(None).to_string(), "openai/*@azure:b");
    }

    #[test]
    fn the_last_failure_is_kept_until_the_next_one() {
        let (target, now) = (Arc::new(health(1, false)), Instant::now());
        let failure = TargetFailure::new(crate::observe::AttemptFailure::Connect, "connection refused");
        let call = target.begin("m", Caller::of("a"), now);
        call.record(AttemptOutcome::Failed, Some(failure.clone()), now);
        call.record(AttemptOutcome::Succeeded, None, now);
        let (view, last) = target.view(now);
        assert_eq!((view.state, last), (Circuit::Closed, Some(failure)));
    }
}
