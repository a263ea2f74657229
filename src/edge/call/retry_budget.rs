//! The retry budget, which limits fail-over: if many calls fail at once, sending all of them to other targets
//! would only make things worse.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The calls that may be sent to another target.
#[derive(Debug, Default)]
pub(in crate::edge) struct RetryBudget(Mutex<Period>);

#[derive(Debug, Default)]
struct Period {
    start: Option<Instant>,
    calls: u32,
    sent_on: u32,
}

impl RetryBudget {
    /// Counts a call.
    pub(in crate::edge) fn call(&self) {
        self.with(|period| period.calls += 1);
    }

    /// Counts a call that is to be sent to another target, and returns whether it may be.
    pub(in crate::edge) fn spend(&self) -> bool {
        self.with(|period| {
            let allowed = period.sent_on < FREE + period.calls / SHARE;
            period.sent_on += u32::from(allowed);
            allowed
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Period) -> T) -> T {
        let mut period = self.0.lock();
        if period.start.is_none_or(|start| start.elapsed() > PERIOD) {
            *period = Period { start: Some(Instant::now()), ..Period::default() };
        }
        act(&mut period)
    }
}

/// The period over which calls are counted.
const PERIOD: Duration = Duration::from_secs(10);

/// The calls of a period that may be sent on in any case, and the divisor for the part of all its calls that may
/// be sent on in addition: a fifth.
const FREE: u32 = 20;
const SHARE: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_calls_may_be_sent_on() {
        let budget = RetryBudget::default();
        let spent = |calls: u32| {
            (0..calls).for_each(|_| budget.call());
            (0..calls).filter(|_| budget.spend()).count()
        };
        assert_eq!((spent(10), spent(100)), (10, 32));
    }
}
