//! The metrics of the ledger.

use std::time::Duration;

use parking_lot::Mutex;
use prometheus::{Histogram, IntCounterVec, IntGauge};

use crate::meter::Invariant;

use super::maker::Maker;

/// The state of the ledger at the moment, and the times of its commits.
#[derive(Debug)]
pub struct LedgerMetrics {
    /// Calls for which money is set aside.
    pub open_holds: IntGauge,
    /// 1 while the store cannot be written, so that paid calls are refused.
    pub failing: IntGauge,
    waiting: IntGauge,
    commits: Histogram,
    violations: Mutex<IntCounterVec>,
}

impl LedgerMetrics {
    pub(super) fn new(make: &Maker<'_>) -> prometheus::Result<Self> {
        let commits = make.histograms(
            "crossmodel_ledger_commit_seconds",
            "Time of the writes to the ledger's journal, which calls wait for.",
            &[],
            COMMITS,
        )?;
        Ok(Self {
            open_holds: make.gauge("crossmodel_ledger_open_holds", "Calls for which money is set aside.")?,
            failing: make.gauge(
                "crossmodel_ledger_failing",
                "1 while the store cannot be written, so that paid calls are refused.",
            )?,
            waiting: make
                .gauge("crossmodel_ledger_waiting", "Operations that wait for the ledger's next commit.")?,
            commits: commits.with_label_values::<&str>(&[]),
            violations: Mutex::new(make.counters(
                "crossmodel_ledger_invariant_violations_total",
                "Defects of the gateway that the ledger has noticed in its own books, by the invariant.",
                &["which"],
            )?),
        })
    }

    /// Sets the number of operations that wait for the ledger.
    pub fn set_waiting(&self, operations: usize) {
        self.waiting.set(i64::try_from(operations).unwrap_or(i64::MAX));
    }

    /// Sets the number of violations of each invariant so far.
    pub fn set_violations(&self, totals: impl Iterator<Item = (Invariant, u64)>) {
        // Two scrapes may run at the same time, and must not count a violation twice.
        let counters = self.violations.lock();
        for (which, total) in totals {
            let counter = counters.with_label_values(&[which.as_str()]);
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }

    /// Makes the receiver of the time of each commit.
    pub fn commits(&self) -> impl Fn(Duration) + Send + Sync + 'static {
        let commits = self.commits.clone();
        move |time| commits.observe(time.as_secs_f64())
    }
}

/// Upper bounds of the ledger's commits, in seconds. Chosen values: from a fast disk to one that fails.
const COMMITS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
