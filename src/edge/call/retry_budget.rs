//! The retry budget, which limits fail-over: if many calls fail at once, sending all of them to other targets
//! would only make things worse.

use std::time::Instant;

use parking_lot::Mutex;

use crate::config::RetryBudgetSettings;

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
    pub(in crate::edge) fn call(&self, settings: RetryBudgetSettings) {
        self.with(settings, |period| period.calls = period.calls.saturating_add(1));
    }

    /// Counts a call that is to be sent to another target, and returns whether it may be.
    pub(in crate::edge) fn spend(&self, settings: RetryBudgetSettings) -> bool {
        self.with(settings, |period| {
            let share = u64::from(period.calls) * u64::from(settings.percent) / 100;
            let allowed = u64::from(period.sent_on) < u64::from(settings.min) + share;
            period.sent_on += u32::from(allowed);
            allowed
        })
    }

    fn with<T>(&self, settings: RetryBudgetSettings, act: impl FnOnce(&mut Period) -> T) -> T {
        let mut period = self.0.lock();
        if period.start.is_none_or(|start| start.elapsed() > settings.window.0) {
            *period = Period { start: Some(Instant::now()), ..Period::default() };
        }
        act(&mut period)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::DurationSetting;

    /// The calls that were sent on, of so many in each of some rounds.
    fn spent(settings: RetryBudgetSettings, rounds: &[u32]) -> Vec<usize> {
        let budget = RetryBudget::default();
        let spend = |calls: &u32| {
            (0..*calls).for_each(|_| budget.call(settings));
            (0..*calls).filter(|_| budget.spend(settings)).count()
        };
        rounds.iter().map(spend).collect()
    }

    #[test]
    fn a_fifth_of_the_calls_may_be_sent_on() {
        let settings = RetryBudgetSettings {
            window: DurationSetting(Duration::from_secs(3600)),
            ..RetryBudgetSettings::default()
        };
        assert_eq!(spent(settings, &[10, 100]), [10, 32]);
        assert_eq!(spent(RetryBudgetSettings { percent: 50, min: 1, ..settings }, &[10, 100]), [6, 50]);
        assert_eq!(spent(RetryBudgetSettings { percent: 0, min: 0, ..settings }, &[10, 100]), [0, 0]);
    }
}
