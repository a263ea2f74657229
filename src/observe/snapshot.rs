//! A snapshot of the metrics that the console shows: the same counters that Prometheus scrapes.
//!
//! The struct that counts into a metric also reads it, so the labels of a metric are known in one place.

use std::collections::BTreeMap;

use prometheus::core::Collector;
use prometheus::proto::Metric;

use super::labels::AttemptFailure;

/// The metrics that the console shows, since the process began.
#[derive(Clone, Debug, Default)]
pub struct MetricsSnapshot {
    /// Finished requests, by status and error code.
    pub requests: BTreeMap<(u16, String), u64>,
    /// Failed attempts, by provider and kind.
    pub failures: BTreeMap<(String, AttemptFailure), u64>,
    /// The usage of models, by catalog entry.
    pub models: BTreeMap<String, ModelUsage>,
    /// Seconds until the first byte of the answer.
    pub first_byte: HistogramSnapshot,
    /// Seconds until the end of the answer.
    pub duration: HistogramSnapshot,
}

/// The usage of one model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelUsage {
    /// Prompt tokens that were not read from a cache.
    pub input: u64,
    /// Prompt tokens that were read from the provider's cache.
    pub cache_read: u64,
    /// Prompt tokens that were written to the provider's cache.
    pub cache_write: u64,
    /// Output tokens.
    pub output: u64,
    /// The cost of these tokens, in nano-USD.
    pub cost_nano: u64,
}

/// The attempts at one target since the process began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetTotals {
    /// The attempts.
    pub attempts: u64,
    /// The attempts that failed.
    pub failures: u64,
    /// Seconds from the start of an attempt to the first byte of its answer.
    pub first_byte: HistogramSnapshot,
}

/// A histogram of times, summed over series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramSnapshot {
    /// Upper bounds in seconds, ascending, with the number of observations at or below each.
    buckets: Vec<(f64, u64)>,
    count: u64,
}

impl ModelUsage {
    /// Returns the number of all tokens.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.prompt() + self.output
    }

    /// Returns the number of prompt tokens.
    #[must_use]
    pub fn prompt(&self) -> u64 {
        self.input + self.cache_read + self.cache_write
    }

    /// Returns the usage since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            input: self.input.saturating_sub(earlier.input),
            cache_read: self.cache_read.saturating_sub(earlier.cache_read),
            cache_write: self.cache_write.saturating_sub(earlier.cache_write),
            output: self.output.saturating_sub(earlier.output),
            cost_nano: self.cost_nano.saturating_sub(earlier.cost_nano),
        }
    }
}

impl HistogramSnapshot {
    /// Returns the observations since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |n: usize| earlier.buckets.get(n).map_or(0, |(_, count)| *count);
        let buckets = self.buckets.iter().enumerate();
        Self {
            buckets: buckets.map(|(n, (bound, count))| (*bound, count.saturating_sub(before(n)))).collect(),
            count: self.count.saturating_sub(earlier.count),
        }
    }

    /// Estimates a quantile as Prometheus does: observations are spread evenly in their bucket, and those above
    /// all bounds are taken for the highest bound. Returns `None` if there are no observations.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "an estimate of times")]
        let float = |count: u64| count as f64;
        let rank = float(self.count) * part;
        let (mut low, mut below) = (0.0, 0);
        if self.count == 0 {
            return None;
        }
        for (bound, count) in &self.buckets {
            if float(*count) >= rank && *count > below {
                let inside = (rank - float(below)).max(0.0) / float(count - below);
                return Some((bound - low).mul_add(inside, low));
            }
            (low, below) = (*bound, *count);
        }
        Some(low)
    }

    /// Adds the observations of a series.
    pub(super) fn add(&mut self, series: &Metric) {
        let histogram = series.get_histogram();
        self.count += histogram.get_sample_count();
        let buckets = histogram.get_bucket().iter();
        let buckets = buckets.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
        if self.buckets.is_empty() {
            self.buckets = buckets.collect();
        } else {
            self.buckets.iter_mut().zip(buckets).for_each(|(sum, (_, count))| sum.1 += count);
        }
    }
}

/// Calls `read` for each series of a metric.
pub(super) fn each_series(metric: &impl Collector, read: impl FnMut(&Metric)) {
    metric.collect().iter().flat_map(|family| family.get_metric()).for_each(read);
}

/// Returns the value of a label of a series.
pub(super) fn label<'m>(series: &'m Metric, name: &str) -> &'m str {
    series.get_label().iter().find(|pair| pair.name() == name).map_or("", |pair| pair.value())
}

/// Returns the value of a counter.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters of whole numbers")]
pub(super) fn count(series: &Metric) -> u64 {
    series.get_counter().get_value() as u64
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;
    use crate::canon::Usage;

    #[test]
    fn what_was_counted_is_read() {
        let metrics = Metrics::new().unwrap();
        let usage = |input| Usage { input, output: 2, ..Usage::default() };
        metrics.request("chat", 200, "", 0.3, Some(0.2));
        metrics.request("responses", 200, "", 0.3, Some(0.2));
        metrics.request("models", 200, "", 400.0, Some(300.0));
        metrics.request("chat", 429, "rate_limit_exceeded", 0.001, None);
        let target = metrics.target("a/b", "p");
        target.usage(&usage(5));
        metrics.target("a/c", "p").usage(&usage(7));
        target.cost(11);
        target.begin().failed(AttemptFailure::Connect);
        let snapshot = metrics.snapshot();
        let requests: Vec<_> = snapshot.requests.iter().map(|((s, c), n)| (*s, c.as_str(), *n)).collect();
        assert_eq!(requests, [(200, "", 3), (429, "rate_limit_exceeded", 1)]);
        let used = ModelUsage { input: 5, output: 2, cost_nano: 11, ..ModelUsage::default() };
        assert_eq!((snapshot.models["a/b"], snapshot.models["a/c"].tokens()), (used, 9));
        assert_eq!(snapshot.failures[&("p".to_owned(), AttemptFailure::Connect)], 1);
        assert_eq!((snapshot.duration.count, snapshot.first_byte.count), (3, 2));
        assert!(snapshot.duration.quantile(1.0).unwrap() <= 0.5, "of calls alone");
        metrics.request("chat", 200, "", 40.0, Some(1.0));
        let later = metrics.snapshot().duration.since(&snapshot.duration);
        assert_eq!((later.count, later.quantile(0.5)), (1, Some(45.0)));
    }

    #[test]
    fn quantiles_are_estimated_as_prometheus_does() {
        let times = HistogramSnapshot { buckets: vec![(0.1, 0), (0.2, 10), (0.4, 10), (1.0, 20)], count: 21 };
        assert_eq!(HistogramSnapshot::default().quantile(0.5), None);
        let near = |part: f64, expected: f64| (times.quantile(part).unwrap() - expected).abs() < 1e-9;
        assert!(near(0.0, 0.1) && near(10.0 / 21.0, 0.2) && near(15.0 / 21.0, 0.7) && near(1.0, 1.0));
    }
}
