//! The calls of a key and their cost, counted without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// The end of a call, as metrics of keys and accounts tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// It was answered.
    Ok,
    /// Its client has to change something.
    ClientError,
    /// A rate limit has refused it.
    RateLimited,
    /// A balance or a budget does not cover it.
    NoMoney,
    /// The provider or the gateway has failed.
    Failed,
}

/// The calls of a key since it was last read from the store. All secrets of the key share them.
#[derive(Debug, Default)]
pub struct CallCounts {
    /// The calls by their outcomes, in the order of [`CallOutcome::ALL`].
    calls: [AtomicU64; CallOutcome::ALL.len()],
    /// Their cost in nano-USD.
    cost: AtomicU64,
}

/// Counts at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallTotals {
    /// The calls by their outcomes, in the order of [`CallOutcome::ALL`].
    pub calls: [u64; CallOutcome::ALL.len()],
    /// Their cost in nano-USD.
    pub cost: u64,
}

impl CallOutcome {
    /// All outcomes.
    pub const ALL: [Self; 5] = [Self::Ok, Self::ClientError, Self::RateLimited, Self::NoMoney, Self::Failed];

    /// Returns the outcome of a call by the status of the failure that its client was told of, if there was one.
    #[must_use]
    pub fn of(failure: Option<u16>) -> Self {
        match failure {
            None => Self::Ok,
            Some(402) => Self::NoMoney,
            Some(429) => Self::RateLimited,
            Some(400..=499) => Self::ClientError,
            Some(_) => Self::Failed,
        }
    }

    /// Returns the value of the metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientError => "client_error",
            Self::RateLimited => "rate_limited",
            Self::NoMoney => "no_money",
            Self::Failed => "failed",
        }
    }
}

impl CallCounts {
    /// Counts a call that is over.
    pub fn add(&self, outcome: CallOutcome, cost: Option<u64>) {
        if let Some(count) = self.calls.get(outcome as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(cost) = cost.filter(|cost| *cost > 0) {
            self.cost.fetch_add(cost, Ordering::Relaxed);
        }
    }

    /// Returns the counts so far.
    #[must_use]
    pub fn totals(&self) -> CallTotals {
        CallTotals {
            calls: std::array::from_fn(|n| {
                self.calls.get(n).map_or(0, |count| count.load(Ordering::Relaxed))
            }),
            cost: self.cost.load(Ordering::Relaxed),
        }
    }
}

impl CallTotals {
    /// Returns what was counted after an earlier time.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        let mut calls = self.calls;
        for (count, before) in calls.iter_mut().zip(earlier.calls) {
            *count = count.saturating_sub(before);
        }
        Self { calls, cost: self.cost.saturating_sub(earlier.cost) }
    }
}
