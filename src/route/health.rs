//! How a target is: whether calls go there, only if they have nowhere else to go, or not at all.
//!
//! Only failures of its own count: that it can not be reached, breaks off, fails or refuses our credential.
//! Several in a row, with nothing good between them, and it is left alone for a while; then one call tries
//! whether it is back. A target that asks for some time gets it, but is asked all the same if there is no other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The health of one target.
#[derive(Debug)]
pub struct Health {
    /// Failures in a row after which it is left alone; 0: it never is.
    most_failures: u32,
    state: Mutex<State>,
    /// Calls that are there.
    in_flight: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    /// Failures in a row.
    failures: u32,
    /// How often it was left alone in a row.
    rounds: u32,
    /// Until when it is left alone.
    open_until: Option<Instant>,
    /// Until when it has asked for time.
    resting_until: Option<Instant>,
    /// Is a call trying whether it is back?
    trial: bool,
    /// When it last became well, or last stopped to be.
    since: Option<Instant>,
}

/// A call that is at a target. It has left when this is dropped.
#[derive(Debug)]
pub struct Visit(Arc<Health>);

/// How a target is, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// In one word.
    pub state: Circuit,
    /// For how long it has been well, or not; absent if it was never otherwise than well.
    pub since: Option<Duration>,
    /// When this changes by itself, or may be tried again.
    pub next: Option<Duration>,
    /// Failures in a row.
    pub failures: u32,
    /// Calls that are there.
    pub in_flight: usize,
}

/// Whether calls go to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Circuit {
    /// They do.
    Closed,
    /// They do if they have nowhere else to go: it has asked for time.
    Resting,
    /// They do not.
    Open,
    /// One is there, or the next one will be, to see whether it is back.
    Trial,
}

/// May a target be called?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Yes.
    Ready,
    /// If there is no other.
    Resting,
    /// No, not for so long.
    Open(Duration),
}

/// What a call says of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It has answered.
    Well,
    /// It has failed.
    Ill,
    /// It has asked for so many seconds.
    Busy(Option<u64>),
}

impl Health {
    /// The health of a target of which nothing is known, and which is left alone after so many failures in a row;
    /// with 0 it never is.
    #[must_use]
    pub fn new(most_failures: u32) -> Self {
        Self { most_failures, state: Mutex::default(), in_flight: AtomicUsize::new(0) }
    }

    /// May the target be called?
    pub fn condition(&self, now: Instant) -> Condition {
        let state = self.lock();
        let left = |until: Option<Instant>| until.and_then(|until| until.checked_duration_since(now));
        match (left(state.open_until), left(state.resting_until)) {
            (Some(left), _) if !left.is_zero() => Condition::Open(left),
            (_, Some(left)) if !left.is_zero() => Condition::Resting,
            _ => Condition::Ready,
        }
    }

    /// A call goes to the target. If it was left alone until now, this one tries whether it is back, and others
    /// wait for what comes of it.
    pub fn begin(&self, now: Instant) {
        let mut state = self.lock();
        if state.open_until.is_some_and(|until| until <= now) {
            state.open_until = Some(now + TRIAL);
            state.trial = true;
        }
    }

    /// How the target is, for people.
    pub fn view(&self, now: Instant) -> View {
        let state = self.lock();
        let left = |until: Option<Instant>| {
            until.and_then(|until| until.checked_duration_since(now)).filter(|left| !left.is_zero())
        };
        let (open, resting) = (left(state.open_until), left(state.resting_until));
        let (circuit, next) = match (open, resting) {
            (Some(_), _) if state.trial => (Circuit::Trial, open),
            (Some(_), _) => (Circuit::Open, open),
            (None, _) if state.open_until.is_some() => (Circuit::Trial, None),
            (None, Some(_)) => (Circuit::Resting, resting),
            (None, None) => (Circuit::Closed, None),
        };
        // One whose time is over is well from then on.
        let since =
            if circuit == Circuit::Closed { state.resting_until.or(state.since) } else { state.since };
        View {
            state: circuit,
            since: since.and_then(|since| now.checked_duration_since(since)),
            next,
            failures: state.failures,
            in_flight: self.in_flight.load(Ordering::Relaxed),
        }
    }

    /// A call to the target is over.
    pub fn note(&self, sign: Sign, now: Instant) {
        let mut state = self.lock();
        let was_well = state.is_well();
        match sign {
            Sign::Well => {
                let since = if was_well { state.since } else { Some(now) };
                *state = State { since, ..State::default() };
            }
            Sign::Busy(seconds) => {
                let rest = Duration::from_secs(seconds.unwrap_or(1)).min(LONGEST_REST);
                state.resting_until = Some(now + rest);
                // It is there, if a trial was to show that.
                state.open_until = None;
                state.trial = false;
            }
            Sign::Ill => {
                state.failures += 1;
                state.trial = false;
                let enough = self.most_failures > 0 && state.failures >= self.most_failures;
                if enough || state.open_until.is_some() {
                    let pause = (SHORTEST_PAUSE * 2_u32.pow(state.rounds.min(10))).min(LONGEST_PAUSE);
                    state.open_until = Some(now + pause);
                    state.rounds += 1;
                }
            }
        }
        if was_well && !state.is_well() {
            state.since = Some(now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Does it get calls as others do? One that has asked for time has not answered well since.
    fn is_well(&self) -> bool {
        self.open_until.is_none() && self.resting_until.is_none()
    }
}

impl Visit {
    /// A call goes to a target.
    #[must_use]
    pub fn new(health: &Arc<Health>) -> Self {
        health.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(health))
    }

    /// The target's health.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.0
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long it is left alone at first, and how long at most: it is back as soon as it really is.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long a trial may take before there is another.
const TRIAL: Duration = Duration::from_secs(30);

/// How long a target may ask for, at most.
const LONGEST_REST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_several_failures_in_a_row() {
        let (health, now) = (Health::new(5), Instant::now());
        for _ in 0..4 {
            health.note(Sign::Ill, now);
        }
        health.note(Sign::Well, now);
        for _ in 0..4 {
            health.note(Sign::Ill, now);
            assert_eq!(health.condition(now), Condition::Ready);
        }
        health.note(Sign::Ill, now);
        assert_eq!(health.condition(now), Condition::Open(SHORTEST_PAUSE));
    }

    #[test]
    fn one_call_tries_whether_it_is_back() {
        let (health, start) = (Health::new(5), Instant::now());
        (0..5).for_each(|_| health.note(Sign::Ill, start));
        let later = start + SHORTEST_PAUSE;
        assert_eq!(health.condition(later), Condition::Ready);
        health.begin(later);
        assert!(matches!(health.condition(later), Condition::Open(_)), "others wait");
        health.note(Sign::Ill, later);
        assert_eq!(
            health.condition(later),
            Condition::Open(2 * SHORTEST_PAUSE),
            "it is left alone for longer"
        );
        let again = later + 2 * SHORTEST_PAUSE;
        health.begin(again);
        health.note(Sign::Well, again);
        assert_eq!(health.condition(again), Condition::Ready);
        (0..20).for_each(|_| health.note(Sign::Ill, again));
        assert_eq!(health.condition(again), Condition::Open(LONGEST_PAUSE));
    }

    #[test]
    fn who_asks_for_time_gets_it_but_not_too_much() {
        let (health, now) = (Health::new(5), Instant::now());
        health.note(Sign::Busy(Some(1_000_000)), now);
        assert_eq!(health.condition(now), Condition::Resting);
        assert_eq!(health.condition(now + LONGEST_REST), Condition::Ready);
    }

    #[test]
    fn people_see_how_it_is_and_since_when() {
        let (health, start) = (Arc::new(Health::new(2)), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let view = |seconds| {
            let View { state, since, next, failures, .. } = health.view(at(seconds));
            let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
            (state, seconds(since), seconds(next), failures)
        };
        assert_eq!(view(0), (Circuit::Closed, None, None, 0));
        health.note(Sign::Ill, at(1));
        assert_eq!(view(2), (Circuit::Closed, None, None, 1));
        health.note(Sign::Ill, at(10));
        assert_eq!(view(10), (Circuit::Open, Some(0), Some(1), 2));
        assert_eq!(view(12), (Circuit::Trial, Some(2), None, 2), "the next call tries it");
        health.begin(at(12));
        assert_eq!(view(13), (Circuit::Trial, Some(3), Some(29), 2));
        health.note(Sign::Ill, at(14));
        assert_eq!(view(14), (Circuit::Open, Some(4), Some(2), 3));
        health.begin(at(20));
        health.note(Sign::Busy(Some(5)), at(20));
        assert_eq!(view(21), (Circuit::Resting, Some(11), Some(4), 3));
        assert_eq!(view(28), (Circuit::Closed, Some(3), None, 3));
        health.note(Sign::Well, at(22));
        assert_eq!(view(25), (Circuit::Closed, Some(3), None, 0));
        let visits = [Visit::new(&health), Visit::new(&health)];
        assert_eq!(health.view(at(25)).in_flight, 2);
        drop(visits);
        assert_eq!(health.view(at(25)).in_flight, 0);
    }
}
