//! How a target is: whether calls go there, only if they have nowhere else to go, or not at all.
//!
//! Only failures of its own count: that it can not be reached, breaks off, fails or refuses our credential.
//! Several in a row, with nothing good between them, and it is left alone for a while; then one call tries
//! whether it is back. A target that asks for some time gets it, but is asked all the same if there is no other.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The health of one target.
#[derive(Debug)]
pub struct Health {
    /// Failures in a row after which it is left alone; 0: it never is.
    most_failures: u32,
    state: Mutex<State>,
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
        Self { most_failures, state: Mutex::default() }
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
        }
    }

    /// A call to the target is over.
    pub fn note(&self, sign: Sign, now: Instant) {
        let mut state = self.lock();
        match sign {
            Sign::Well => *state = State::default(),
            Sign::Busy(seconds) => {
                let rest = Duration::from_secs(seconds.unwrap_or(1)).min(LONGEST_REST);
                state.resting_until = Some(now + rest);
                // It is there, if a trial was to show that.
                state.open_until = None;
            }
            Sign::Ill => {
                state.failures += 1;
                let enough = self.most_failures > 0 && state.failures >= self.most_failures;
                if enough || state.open_until.is_some() {
                    let pause = (SHORTEST_PAUSE * 2_u32.pow(state.rounds.min(10))).min(LONGEST_PAUSE);
                    state.open_until = Some(now + pause);
                    state.rounds += 1;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
}
