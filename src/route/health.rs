//! The circuit breaker of a model at a target. Calls go there, or only if there is no other target, or not at all.
//!
//! Only failures of its own count: that it cannot be reached, breaks off, fails or refuses our credential.
//! Several in a row, with nothing good between them, and it is left alone for a while; then one call tries
//! whether it is back. One that asks for some time gets it, but is asked all the same if there is no other.
//!
//! All calls of one account may fail because of their content. As long as no other account has failed, the target
//! is therefore closed to that account alone, and the next call of another account shows the real state. While the
//! circuit is open for all, a trial that fails leaves room for a trial of another account, so that nobody can keep
//! the circuit open by failing every trial.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The health of one model at one target.
#[derive(Debug)]
pub struct Health {
    /// Failures in a row that open the circuit; with 0 it never opens.
    most_failures: u32,
    state: Mutex<HealthState>,
}

/// A change of the state of a target that its operator reads about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateChange {
    /// The circuit is open.
    Opened {
        /// The time until the first trial.
        pause: Duration,
        /// The failures in a row.
        failures: u32,
        /// Whether only the account whose calls have failed is refused.
        of_one_account: bool,
    },
    /// The circuit is closed again.
    Closed {
        /// The time for which it was not.
        after: Duration,
        /// The trials in this time.
        trials: u32,
    },
    /// The target has asked for a pause.
    BackingOff {
        /// The pause that it gets.
        pause: Duration,
        /// Whether it has said for how long.
        is_told: bool,
    },
}

/// The account of the key that makes a call, as a hash: only equality can be tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller(u64);

/// The callers whose calls have failed in a row, or have tried whether a target is back: one by name, or several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum CallerSet {
    #[default]
    Empty,
    One(Caller),
    Several,
}

#[derive(Debug, Default)]
struct HealthState {
    /// Failures in a row.
    failures: u32,
    /// The callers to whom these failures happened.
    failed: CallerSet,
    /// The number of times in a row that it was left alone.
    rounds: u32,
    /// The end of the pause while the circuit is open.
    open_until: Option<Instant>,
    /// The end of the pause that the target has asked for.
    backing_off_until: Option<Instant>,
    /// Whether a call is trying whether it is back.
    trial: bool,
    /// The number of trials since the circuit opened.
    trials: u32,
    /// The accounts whose trials have run since the pause ended.
    tried: CallerSet,
    /// The time at which the target last became well or ceased to be.
    since: Option<Instant>,
}

/// The health of a target, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthView {
    /// The state of the circuit.
    pub state: Circuit,
    /// The time since it became well, or stopped being well; absent if it was always well.
    pub since: Option<Duration>,
    /// The time until this changes by itself, or until the next trial.
    pub next: Option<Duration>,
    /// Failures in a row.
    pub failures: u32,
    /// Calls in flight.
    pub in_flight: usize,
}

/// The state of the circuit breaker of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Circuit {
    /// Calls go to the target.
    Closed,
    /// Calls go to the target only if they have nowhere else to go: it has asked for time.
    BackingOff,
    /// No call goes to the target.
    Open,
    /// One call, which is there or comes next, tries whether the target is back.
    HalfOpen,
    /// No call goes to the target: an operator has taken it out of service.
    Rested,
}

/// The condition under which a target may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// It may be called.
    Ready,
    /// It may be called if there is no other.
    BackingOff,
    /// It may not be called for so long.
    Open(Duration),
}

/// The outcome of a call, as far as the health of its target is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The target has answered.
    Succeeded,
    /// The target has failed.
    Failed,
    /// The target has asked for a pause of so many seconds.
    BackOff(Option<u64>),
}

impl Caller {
    /// Makes the caller of this account.
    #[must_use]
    pub fn of(account: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        account.hash(&mut hasher);
        Self(hasher.finish())
    }
}

impl HealthView {
    /// The health of a model that was never called.
    pub(super) const UNKNOWN: Self =
        Self { state: Circuit::Closed, since: None, next: None, failures: 0, in_flight: 0 };
}

impl Health {
    /// Makes the health of a model that was never called. Its circuit opens after so many failures in a row; with
    /// 0 it never does.
    #[must_use]
    pub fn new(most_failures: u32) -> Self {
        Self { most_failures, state: Mutex::default() }
    }

    /// Returns the condition for `caller`, or, without a caller, the worst one for anybody.
    pub fn condition(&self, caller: Option<Caller>, now: Instant) -> Condition {
        let state = self.state.lock();
        let is_bound = caller.is_none_or(|caller| state.binds(caller));
        let left = |until: Option<Instant>| until.and_then(|until| until.checked_duration_since(now));
        match (left(state.open_until), left(state.backing_off_until)) {
            (Some(left), _) if !left.is_zero() && is_bound => Condition::Open(left),
            (_, Some(left)) if !left.is_zero() => Condition::BackingOff,
            _ => Condition::Ready,
        }
    }

    /// Notes that a call goes to the target. If its pause is over, this call becomes the trial, and other calls
    /// wait for its result.
    pub fn begin(&self, caller: Caller, now: Instant) {
        let mut state = self.state.lock();
        let Some(until) = state.open_until.filter(|_| state.failed.binds(caller)) else { return };
        if until <= now {
            state.tried = CallerSet::One(caller);
        } else if state.tried.is_other(caller) {
            state.tried.add(caller);
        } else {
            return;
        }
        state.open_until = Some(until.max(now + TRIAL_TIMEOUT));
        (state.trial, state.trials) = (true, state.trials.saturating_add(1));
    }

    /// Returns the health for the console.
    pub fn view(&self, now: Instant) -> HealthView {
        let state = self.state.lock();
        let left = |until: Option<Instant>| {
            until.and_then(|until| until.checked_duration_since(now)).filter(|left| !left.is_zero())
        };
        let (open, backing_off) = (left(state.open_until), left(state.backing_off_until));
        let (circuit, next) = match (open, backing_off) {
            (Some(_), _) if state.trial => (Circuit::HalfOpen, open),
            (Some(_), _) => (Circuit::Open, open),
            (None, _) if state.open_until.is_some() => (Circuit::HalfOpen, None),
            (None, Some(_)) => (Circuit::BackingOff, backing_off),
            (None, None) => (Circuit::Closed, None),
        };
        // A pause that has ended counts as well from its end on.
        let since =
            if circuit == Circuit::Closed { state.backing_off_until.or(state.since) } else { state.since };
        HealthView {
            state: circuit,
            since: since.and_then(|since| now.checked_duration_since(since)),
            next,
            failures: state.failures,
            in_flight: 0,
        }
    }

    /// Forgets all failures: the circuit is closed, and no pause is left.
    pub(super) fn reset(&self, now: Instant) {
        *self.state.lock() = HealthState { since: Some(now), ..HealthState::default() };
    }

    /// Whether nothing is known that a new state would not have, too.
    pub(super) fn is_blank(&self, now: Instant) -> bool {
        let state = self.state.lock();
        let rests = state.backing_off_until.is_some_and(|until| until > now);
        state.failures == 0 && state.open_until.is_none() && !rests
    }

    /// Notes the result of a call of `caller`, and returns the state that the target has come to by it. An open
    /// circuit is told with each failure, because a reader may have missed that it opened.
    pub fn record(&self, outcome: AttemptOutcome, caller: Caller, now: Instant) -> Option<StateChange> {
        let mut state = self.state.lock();
        let was_well = state.is_well();
        let change = match outcome {
            AttemptOutcome::Succeeded => state.succeed(now),
            AttemptOutcome::BackOff(seconds) => Some(state.back_off(seconds, now)),
            AttemptOutcome::Failed => state.fail(self.most_failures, caller, now),
        };
        if was_well && !state.is_well() {
            state.since = Some(now);
        }
        change
    }
}

impl HealthState {
    fn succeed(&mut self, now: Instant) -> Option<StateChange> {
        let (since, was_open) = (self.since, self.open_until.is_some());
        let (was_well, trials) = (self.is_well(), self.trials);
        *self = Self { since: if was_well { since } else { Some(now) }, ..Self::default() };
        let after = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        was_open.then_some(StateChange::Closed { after, trials })
    }

    fn back_off(&mut self, seconds: Option<u64>, now: Instant) -> StateChange {
        let pause = Duration::from_secs(seconds.unwrap_or(1)).min(MAX_BACK_OFF);
        self.backing_off_until = Some(now + pause);
        // The target is there, and that is all that a trial has to show.
        self.open_until = None;
        (self.trial, self.trials, self.tried) = (false, 0, CallerSet::Empty);
        StateChange::BackingOff { pause, is_told: seconds.is_some() }
    }

    fn fail(&mut self, most_failures: u32, caller: Caller, now: Instant) -> Option<StateChange> {
        self.failures = self.failures.saturating_add(1);
        let is_open = self.open_until.is_some();
        // The failures of one account do not lengthen the pause of all.
        if self.failed.add(caller) {
            (self.rounds, self.tried) = (0, CallerSet::Empty);
        } else if is_open && self.failed == CallerSet::Several {
            self.tried = match self.tried {
                // The call began before the circuit opened, and shows nothing new.
                CallerSet::Empty => return None,
                // The trials of two accounts have failed, so the target is down.
                CallerSet::One(other) if other != caller => CallerSet::Empty,
                CallerSet::One(_) | CallerSet::Several => CallerSet::One(caller),
            };
        } else if is_open && !self.trial {
            // So did this one.
            return None;
        }
        self.trial = false;
        if !is_open && (most_failures == 0 || self.failures < most_failures) {
            return None;
        }
        let pause = (MIN_OPEN_TIME * 2_u32.pow(self.rounds.min(10))).min(MAX_OPEN_TIME);
        self.open_until = Some(now + pause);
        self.rounds += 1;
        let of_one_account = matches!(self.failed, CallerSet::One(_));
        Some(StateChange::Opened { pause, failures: self.failures, of_one_account })
    }

    /// Whether it gets calls as others do. One that has asked for time has not answered well since.
    fn is_well(&self) -> bool {
        self.open_until.is_none() && self.backing_off_until.is_none()
    }

    /// Whether an open circuit applies to this account.
    fn binds(&self, caller: Caller) -> bool {
        self.failed.binds(caller) && !self.tried.is_other(caller)
    }
}

impl CallerSet {
    /// Adds an account, and returns whether it is the second one.
    fn add(&mut self, caller: Caller) -> bool {
        let is_second = matches!(self, Self::One(other) if *other != caller);
        match self {
            Self::Empty => *self = Self::One(caller),
            Self::One(_) if is_second => *self = Self::Several,
            Self::One(_) | Self::Several => {}
        }
        is_second
    }

    /// Whether this is a single account, and not `caller`.
    fn is_other(self, caller: Caller) -> bool {
        matches!(self, Self::One(other) if other != caller)
    }

    /// Whether failures of these accounts close the target to `caller`.
    fn binds(self, caller: Caller) -> bool {
        match self {
            Self::One(other) => other == caller,
            Self::Empty | Self::Several => true,
        }
    }
}

/// The times for which a target is left alone at first, and at most. Each trial that fails doubles the time; a target that
/// is back is found at the next trial, so 30 s is also the longest that it stays unused.
const MIN_OPEN_TIME: Duration = Duration::from_secs(1);
const MAX_OPEN_TIME: Duration = Duration::from_secs(30);

/// The time after which another trial may begin although the last one has not ended.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest pause that a target gets when it asks for one: a provider that asks for more is tried again earlier.
const MAX_BACK_OFF: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Caller = Caller(1);
    const TWO: Caller = Caller(2);

    fn note(health: &Health, outcome: AttemptOutcome, caller: Caller, now: Instant) {
        let _ = health.record(outcome, caller, now);
    }

    #[test]
    fn it_takes_several_failures_in_a_row() {
        let (health, now) = (Health::new(5), Instant::now());
        for _ in 0..4 {
            note(&health, AttemptOutcome::Failed, ONE, now);
        }
        note(&health, AttemptOutcome::Succeeded, ONE, now);
        for _ in 0..4 {
            note(&health, AttemptOutcome::Failed, ONE, now);
            assert_eq!(health.condition(Some(ONE), now), Condition::Ready);
        }
        note(&health, AttemptOutcome::Failed, ONE, now);
        assert_eq!(health.condition(Some(ONE), now), Condition::Open(MIN_OPEN_TIME));
    }

    #[test]
    fn one_call_tries_whether_it_is_back() {
        let (health, start) = (Health::new(5), Instant::now());
        (0..5).for_each(|_| note(&health, AttemptOutcome::Failed, ONE, start));
        let later = start + MIN_OPEN_TIME;
        assert_eq!(health.condition(Some(ONE), later), Condition::Ready);
        health.begin(ONE, later);
        assert!(matches!(health.condition(Some(ONE), later), Condition::Open(_)), "others wait");
        note(&health, AttemptOutcome::Failed, ONE, later);
        assert_eq!(
            health.condition(Some(ONE), later),
            Condition::Open(2 * MIN_OPEN_TIME),
            "it is left alone for longer"
        );
        let again = later + 2 * MIN_OPEN_TIME;
        health.begin(ONE, again);
        note(&health, AttemptOutcome::Succeeded, ONE, again);
        assert_eq!(health.condition(Some(ONE), again), Condition::Ready);
        (0..5).for_each(|_| note(&health, AttemptOutcome::Failed, ONE, again));
        let mut now = again;
        for _ in 0..8 {
            now += MAX_OPEN_TIME;
            health.begin(ONE, now);
            note(&health, AttemptOutcome::Failed, ONE, now);
        }
        assert_eq!(health.condition(Some(ONE), now), Condition::Open(MAX_OPEN_TIME));
    }

    #[test]
    fn calls_that_were_under_way_do_not_lengthen_the_pause() {
        let (health, now) = (Health::new(5), Instant::now());
        (0..200).for_each(|_| note(&health, AttemptOutcome::Failed, ONE, now));
        assert_eq!(health.condition(Some(ONE), now), Condition::Open(MIN_OPEN_TIME));
        assert_eq!(health.view(now).failures, 200);
        let later = now + MIN_OPEN_TIME;
        health.begin(ONE, later);
        note(&health, AttemptOutcome::Failed, ONE, later);
        assert_eq!(health.condition(Some(ONE), later), Condition::Open(2 * MIN_OPEN_TIME));
    }

    #[test]
    fn who_asks_for_time_gets_it_but_not_too_much() {
        let (health, now) = (Health::new(5), Instant::now());
        note(&health, AttemptOutcome::BackOff(Some(1_000_000)), ONE, now);
        assert_eq!(health.condition(Some(ONE), now), Condition::BackingOff);
        assert_eq!(health.condition(Some(ONE), now + MAX_BACK_OFF), Condition::Ready);
    }

    #[test]
    fn people_see_how_it_is_and_since_when() {
        let (health, start) = (Health::new(2), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let view = |seconds| {
            let HealthView { state, since, next, failures, .. } = health.view(at(seconds));
            let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
            (state, seconds(since), seconds(next), failures)
        };
        assert_eq!(view(0), (Circuit::Closed, None, None, 0));
        note(&health, AttemptOutcome::Failed, ONE, at(1));
        assert_eq!(view(2), (Circuit::Closed, None, None, 1));
        note(&health, AttemptOutcome::Failed, ONE, at(10));
        assert_eq!(view(10), (Circuit::Open, Some(0), Some(1), 2));
        assert_eq!(view(12), (Circuit::HalfOpen, Some(2), None, 2), "the next call tries it");
        health.begin(ONE, at(12));
        assert_eq!(view(13), (Circuit::HalfOpen, Some(3), Some(29), 2));
        note(&health, AttemptOutcome::Failed, ONE, at(14));
        assert_eq!(view(14), (Circuit::Open, Some(4), Some(2), 3));
        health.begin(ONE, at(20));
        note(&health, AttemptOutcome::BackOff(Some(5)), ONE, at(20));
        assert_eq!(view(21), (Circuit::BackingOff, Some(11), Some(4), 3));
        assert_eq!(view(28), (Circuit::Closed, Some(3), None, 3));
        note(&health, AttemptOutcome::Succeeded, ONE, at(22));
        assert_eq!(view(25), (Circuit::Closed, Some(3), None, 0));
    }

    #[test]
    fn what_fails_for_one_account_is_open_to_others_until_it_fails_for_them() {
        let (health, start) = (Health::new(3), Instant::now());
        let now = start + MAX_OPEN_TIME;
        let condition = |caller| health.condition(Some(caller), now);
        (0..3).for_each(|_| note(&health, AttemptOutcome::Failed, ONE, start));
        health.begin(ONE, now);
        note(&health, AttemptOutcome::Failed, ONE, now);
        assert!(matches!(condition(ONE), Condition::Open(left) if left > MIN_OPEN_TIME));
        assert_eq!(condition(TWO), Condition::Ready);
        assert!(matches!(health.condition(None, now), Condition::Open(_)), "it is shown");
        note(&health, AttemptOutcome::Failed, TWO, now);
        for caller in [ONE, TWO, Caller(3)] {
            assert_eq!(condition(caller), Condition::Open(MIN_OPEN_TIME));
        }
        note(&health, AttemptOutcome::Succeeded, TWO, now);
        assert_eq!([ONE, TWO].map(condition), [Condition::Ready; 2]);
    }

    #[test]
    fn another_accounts_success_ends_what_one_has_brought_about() {
        let (health, now) = (Health::new(3), Instant::now());
        (0..5).for_each(|_| note(&health, AttemptOutcome::Failed, ONE, now));
        let later = now + MAX_OPEN_TIME;
        health.begin(TWO, later);
        assert_eq!(health.condition(Some(ONE), later), Condition::Ready, "the trial is its own");
        health.begin(ONE, later);
        assert!(matches!(health.condition(Some(ONE), later), Condition::Open(_)));
        note(&health, AttemptOutcome::Succeeded, TWO, later);
        assert_eq!(health.condition(Some(ONE), later), Condition::Ready);
        assert!(health.is_blank(later));
    }

    #[test]
    fn one_account_that_fails_at_each_trial_does_not_keep_others_away() {
        let (health, start) = (Health::new(3), Instant::now());
        (0..5).for_each(|_| note(&health, AttemptOutcome::Failed, ONE, start));
        note(&health, AttemptOutcome::Failed, TWO, start);
        // Calls that were there before say nothing new.
        (0..50).for_each(|_| note(&health, AttemptOutcome::Failed, ONE, start));
        assert_eq!(health.condition(Some(TWO), start), Condition::Open(MIN_OPEN_TIME));
        let mut now = start + MIN_OPEN_TIME;
        for _ in 0..3 {
            health.begin(ONE, now);
            assert!(matches!(health.condition(Some(ONE), now), Condition::Open(_)));
            assert_eq!(health.condition(Some(TWO), now), Condition::Ready, "while it tries");
            note(&health, AttemptOutcome::Failed, ONE, now);
            assert_eq!(health.condition(Some(TWO), now), Condition::Ready, "when it has failed");
            now += MAX_OPEN_TIME;
        }
        health.begin(ONE, now);
        health.begin(TWO, now);
        assert!(matches!(health.condition(Some(Caller(3)), now), Condition::Open(_)), "two are enough");
        note(&health, AttemptOutcome::Failed, ONE, now);
        assert_eq!(health.condition(Some(Caller(3)), now), Condition::Ready, "only one has failed");
        note(&health, AttemptOutcome::Succeeded, TWO, now);
        assert_eq!([ONE, TWO].map(|caller| health.condition(Some(caller), now)), [Condition::Ready; 2]);
        assert!(health.is_blank(now));
    }

    #[test]
    fn what_is_down_is_tried_by_two_accounts_and_left_alone_by_all() {
        let (health, mut now) = (Health::new(3), Instant::now());
        let callers = [1, 2, 3, 4].map(Caller);
        let open =
            |now| callers.map(|caller| matches!(health.condition(Some(caller), now), Condition::Open(_)));
        callers.iter().for_each(|caller| note(&health, AttemptOutcome::Failed, *caller, now));
        let mut pause = MIN_OPEN_TIME;
        for _ in 0..3 {
            assert_eq!(open(now), [true; 4]);
            now += MAX_OPEN_TIME;
            assert_eq!(open(now), [false; 4]);
            health.begin(ONE, now);
            assert_eq!(open(now), [true, false, false, false]);
            health.begin(TWO, now);
            assert_eq!(open(now), [true; 4]);
            [ONE, TWO].iter().for_each(|caller| note(&health, AttemptOutcome::Failed, *caller, now));
            let Condition::Open(left) = health.condition(Some(ONE), now) else { panic!() };
            assert!(left > pause || left == MAX_OPEN_TIME);
            pause = left;
        }
    }

    #[test]
    fn two_accounts_failures_count_together() {
        let (health, now) = (Health::new(4), Instant::now());
        for caller in [ONE, TWO, ONE] {
            note(&health, AttemptOutcome::Failed, caller, now);
            assert_eq!(health.condition(Some(Caller(3)), now), Condition::Ready);
        }
        note(&health, AttemptOutcome::Failed, TWO, now);
        assert_eq!(health.condition(Some(Caller(3)), now), Condition::Open(MIN_OPEN_TIME));
    }

    #[test]
    fn each_change_of_the_state_is_told_once_with_its_figures() {
        let (health, start) = (Health::new(2), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let failed = |caller, seconds| health.record(AttemptOutcome::Failed, caller, at(seconds));
        let opened = |seconds, failures, of_one_account| {
            Some(StateChange::Opened { pause: Duration::from_secs(seconds), failures, of_one_account })
        };
        assert_eq!(failed(ONE, 0), None);
        assert_eq!(failed(ONE, 0), opened(1, 2, true));
        assert_eq!(failed(TWO, 1), opened(1, 3, false), "it is open to all now");
        for seconds in [2, 6] {
            health.begin(ONE, at(seconds));
            health.begin(TWO, at(seconds));
            assert!(failed(ONE, seconds).is_some() && failed(TWO, seconds).is_some());
        }
        health.begin(ONE, at(20));
        let closed = health.record(AttemptOutcome::Succeeded, ONE, at(20));
        assert_eq!(closed, Some(StateChange::Closed { after: Duration::from_secs(20), trials: 4 }));
        assert_eq!(health.record(AttemptOutcome::Succeeded, ONE, at(21)), None);
        let pause = health.record(AttemptOutcome::BackOff(Some(7)), ONE, at(22));
        let seven = Duration::from_secs(7);
        assert_eq!(pause, Some(StateChange::BackingOff { pause: seven, is_told: true }));
        assert_eq!(health.record(AttemptOutcome::Succeeded, ONE, at(30)), None);
    }
}
