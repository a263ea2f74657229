//! The health of a target, separately for each model that is called there.
//!
//! A wildcard stands for all models of a provider, and the failure of one says nothing about the others. Clients
//! choose the names, so only models that are called are kept, and at most [`MAX_MODELS`].

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::health::{AttemptOutcome, Caller, Circuit, Condition, Health, HealthView};

/// The health of one target.
#[derive(Debug)]
pub struct TargetHealth {
    /// Failures in a row that open a model's circuit; with 0 it never opens.
    most_failures: u32,
    models: ModelHealth,
    /// Calls in flight.
    in_flight: AtomicUsize,
}

/// The health of the models of a target.
#[derive(Debug)]
enum ModelHealth {
    /// The target serves one model.
    One(Arc<Health>),
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

/// A model of a wildcard that has been called.
#[derive(Debug)]
struct KnownModel {
    health: Arc<Health>,
    /// The number of the last call, for the choice of the model to forget.
    last: u64,
}

/// A call that is in flight at a target. It ends when this is dropped.
#[derive(Debug)]
pub struct InFlightCall {
    target: Arc<TargetHealth>,
    model: Arc<Health>,
    caller: Caller,
}

impl TargetHealth {
    /// Makes the health of a target that was never called. The circuit of a model opens after so many failures in
    /// a row; with 0 it never does. `is_wildcard` says whether clients name the model.
    #[must_use]
    pub fn new(most_failures: u32, is_wildcard: bool) -> Self {
        let models = match is_wildcard {
            true => ModelHealth::Many(Mutex::default()),
            false => ModelHealth::One(Arc::new(Health::new(most_failures))),
        };
        Self { most_failures, models, in_flight: AtomicUsize::new(0) }
    }

    /// Returns the condition of a model of the target for `caller`.
    pub fn condition(&self, model: &str, caller: Caller, now: Instant) -> Condition {
        let condition = |health: &Health| health.condition(Some(caller), now);
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
        let model = match &self.models {
            ModelHealth::One(health) => Arc::clone(health),
            ModelHealth::Many(known) => known.lock().find(model, self.most_failures, now),
        };
        model.begin(caller, now);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlightCall { target: Arc::clone(self), model, caller }
    }

    /// Returns the worst condition of any model, for any caller.
    pub fn worst(&self, now: Instant) -> Condition {
        self.fold(|health| health.condition(None, now)).max().unwrap_or(Condition::Ready)
    }

    /// Returns the health of the target for the console, which is that of its worst model.
    pub fn view(&self, now: Instant) -> HealthView {
        let rank = |view: &HealthView| {
            let state = match view.state {
                Circuit::Closed => 0,
                Circuit::BackingOff => 1,
                Circuit::Trial => 2,
                Circuit::Open => 3,
            };
            (state, view.failures)
        };
        let view = self.fold(|health| health.view(now)).max_by_key(rank).unwrap_or(HealthView::UNKNOWN);
        HealthView { in_flight: self.in_flight.load(Ordering::Relaxed), ..view }
    }

    /// Applies `look` to the health of each model that is kept.
    fn fold<T>(&self, look: impl Fn(&Health) -> T) -> impl Iterator<Item = T> {
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
    fn find(&mut self, name: &str, most_failures: u32, now: Instant) -> Arc<Health> {
        self.calls += 1;
        if let Some(model) = self.models.get_mut(name) {
            model.last = self.calls;
            return Arc::clone(&model.health);
        }
        if self.models.len() >= MAX_MODELS {
            self.forget(now);
        }
        let health = Arc::new(Health::new(most_failures));
        self.models.insert(name.into(), KnownModel { health: Arc::clone(&health), last: self.calls });
        health
    }

    /// Forgets all models that are well and not being called. If there are none, forgets the model whose last call
    /// is the longest ago.
    fn forget(&mut self, now: Instant) {
        self.models.retain(|_, model| Arc::strong_count(&model.health) > 1 || !model.health.is_blank(now));
        if self.models.len() >= MAX_MODELS {
            let oldest = self.models.iter().min_by_key(|(_, model)| model.last);
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                self.models.remove(&name);
            }
        }
    }
}

impl InFlightCall {
    /// Notes the result of the call.
    pub fn record(&self, outcome: AttemptOutcome, now: Instant) {
        self.model.record(outcome, self.caller, now);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn known(target: &TargetHealth) -> usize {
        target.fold(|_| ()).count()
    }

    #[test]
    fn one_model_of_a_wildcard_says_nothing_of_another() {
        let (target, now) = (Arc::new(TargetHealth::new(3, true)), Instant::now());
        let callers = [Caller::of("a"), Caller::of("b")];
        for n in 0..4 {
            target.begin("bad", callers[n % 2], now).record(AttemptOutcome::Failed, now);
        }
        assert!(matches!(target.condition("bad", callers[0], now), Condition::Open(_)));
        assert_eq!(target.condition("good", callers[0], now), Condition::Ready);
        assert_eq!(known(&target), 1, "to ask for a model is not to call it");
        target.begin("good", callers[0], now).record(AttemptOutcome::Succeeded, now);
        assert_eq!((target.view(now).state, target.view(now).failures), (Circuit::Open, 4));
        assert!(matches!(target.worst(now), Condition::Open(_)));
        let one = Arc::new(TargetHealth::new(3, false));
        (0..3).for_each(|_| one.begin("any", callers[0], now).record(AttemptOutcome::Failed, now));
        assert!(matches!(one.condition("other", callers[0], now), Condition::Open(_)));
    }

    #[test]
    fn only_so_many_models_are_known_and_those_that_are_ill_stay_longest() {
        let (target, now) = (Arc::new(TargetHealth::new(1, true)), Instant::now());
        let caller = Caller::of("a");
        target.begin("ill", caller, now).record(AttemptOutcome::Failed, now);
        let stays = target.begin("stays", caller, now);
        for n in 0..3 * MAX_MODELS {
            target.begin(&format!("well-{n}"), caller, now).record(AttemptOutcome::Succeeded, now);
            assert!(known(&target) <= MAX_MODELS);
        }
        assert!(matches!(target.condition("ill", caller, now), Condition::Open(_)));
        stays.record(AttemptOutcome::Failed, now);
        assert!(matches!(target.condition("stays", caller, now), Condition::Open(_)));
        for n in 0..2 * MAX_MODELS {
            target.begin(&format!("ill-{n}"), caller, now).record(AttemptOutcome::Failed, now);
            assert!(known(&target) <= MAX_MODELS);
        }
        assert_eq!(target.condition("ill", caller, now), Condition::Ready, "it was forgotten");
    }

    #[test]
    fn calls_in_flight_are_counted_over_all_models() {
        let (target, now) = (Arc::new(TargetHealth::new(1, true)), Instant::now());
        let visits = ["x", "y", "y"].map(|model| target.begin(model, Caller::of("a"), now));
        assert_eq!(target.view(now).in_flight, 3);
        drop(visits);
        assert_eq!(target.view(now).in_flight, 0);
    }
}
