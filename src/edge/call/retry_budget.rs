//! The bound of fail-over: where many calls fail at once, asking other targets for all of them would only make things worse.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The number of calls that may be sent on to another target.
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

    /// Counts a call that is sent on; gives whether it may be.
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

/// The period in which calls are counted together.
const PERIOD: Duration = Duration::from_secs(10);

/// Calls that may be sent on in any case, and the share of all that may be beside.
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
