//! The attempts at targets in the last ten minutes.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;

use crate::admin::model::{Quantiles, RecentAttempts};
use crate::observe::TargetTotals;

/// The totals at the ends of minutes, by model and provider; the oldest are first.
#[derive(Debug, Default)]
pub(in crate::edge) struct TargetHistory(Mutex<VecDeque<Totals>>);

/// The attempts at each target since the process began.
type Totals = BTreeMap<(String, String), TargetTotals>;

impl TargetHistory {
    /// Keeps the totals at the end of a minute.
    pub(in crate::edge) fn add(&self, totals: Totals) {
        let mut minutes = self.0.lock();
        if minutes.len() >= MAX_MINUTES {
            minutes.pop_front();
        }
        minutes.push_back(totals);
    }

    /// Returns the attempts at each target in the last ten minutes, or since the start if that is later.
    pub(in crate::edge) fn recent(&self, now: Totals) -> BTreeMap<(String, String), RecentAttempts> {
        let minutes = self.0.lock();
        let earlier = minutes.front().filter(|_| minutes.len() >= MAX_MINUTES);
        let none = TargetTotals::default();
        let since = |(target, totals): ((String, String), TargetTotals)| {
            let before = earlier.and_then(|earlier| earlier.get(&target)).unwrap_or(&none);
            let recent = attempts(&totals, before);
            (target, recent)
        };
        now.into_iter().map(since).collect()
    }
}

fn attempts(now: &TargetTotals, before: &TargetTotals) -> RecentAttempts {
    let requests = now.attempts.saturating_sub(before.attempts);
    let failures = now.failures.saturating_sub(before.failures);
    let first_byte = now.first_byte.since(&before.first_byte);
    let millis = |part| first_byte.quantile(part).map(|seconds| (seconds * 1_000.0).round());
    RecentAttempts {
        requests,
        #[expect(clippy::cast_precision_loss, reason = "a share for people")]
        error_share: if requests == 0 { 0.0 } else { failures as f64 / requests as f64 },
        first_byte_ms: Quantiles { p50: millis(0.5), p95: millis(0.95) },
    }
}

/// The minutes that are looked back.
const MAX_MINUTES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(attempts: u64, failures: u64) -> Totals {
        let totals = TargetTotals { attempts, failures, ..TargetTotals::default() };
        BTreeMap::from([(("m".to_owned(), "p".to_owned()), totals)])
    }

    #[test]
    fn ten_minutes_are_looked_back() {
        let history = TargetHistory::default();
        let recent = |now| {
            history.recent(now).into_values().next().map(|recent| (recent.requests, recent.error_share))
        };
        assert_eq!(recent(totals(4, 1)), Some((4, 0.25)), "since the start");
        (1..=12).for_each(|minute| history.add(totals(minute * 10, 0)));
        assert_eq!(recent(totals(130, 50)), Some((100, 0.5)));
    }
}
