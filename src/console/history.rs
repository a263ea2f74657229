//! The history of the last ten minutes, with a sample for every second.

use std::collections::VecDeque;
use std::time::Instant;

use serde::Serialize;

use crate::observe::{HistogramSnapshot, MetricsSnapshot, ModelUsage};

/// Samples of the last ten minutes.
#[derive(Debug, Default)]
pub(super) struct MetricsHistory {
    samples: VecDeque<Sample>,
    /// The number of the next sample.
    next: u64,
    /// The metrics at the beginning of each of the last ten minutes.
    minutes: VecDeque<MetricsSnapshot>,
    latest: MetricsSnapshot,
}

/// The sums of all that had happened by one time.
#[derive(Debug)]
struct Sample {
    at: Instant,
    calls: usize,
    requests: u64,
    refused: u64,
    failed: u64,
    used: ModelUsage,
    first_byte: HistogramSnapshot,
    duration: HistogramSnapshot,
}

/// The lines of plots: a point for each sample, from the one with the number `first` on. All values but `calls`
/// are of the ten seconds before the sample: requests, tokens and cost per second, and times in seconds, which are
/// null if nothing was observed.
#[derive(Debug, Default, Serialize)]
pub(super) struct Series {
    first: u64,
    requests: Vec<f64>,
    refused: Vec<f64>,
    failed: Vec<f64>,
    calls: Vec<usize>,
    prompt: Vec<f64>,
    output: Vec<f64>,
    cost_nano: Vec<f64>,
    first_byte: Quantiles<Vec<Option<f64>>>,
    duration: Quantiles<Vec<Option<f64>>>,
}

/// The sums and quantiles of the last minute.
#[derive(Debug, Default, Serialize)]
pub(super) struct Minute {
    /// The length in seconds: less than 60 at the beginning.
    seconds: f64,
    requests: u64,
    /// Requests that were refused because of their clients' mistakes, or whose clients left before an answer.
    refused: u64,
    /// Requests that failed, even in the middle of the answer.
    failed: u64,
    prompt: u64,
    output: u64,
    cost_nano: u64,
    first_byte: Quantiles<Option<f64>>,
    duration: Quantiles<Option<f64>>,
}

/// The median, and the 95th and 99th percentiles.
#[derive(Debug, Default, Serialize)]
struct Quantiles<T> {
    p50: T,
    p95: T,
    p99: T,
}

impl MetricsHistory {
    pub(super) fn add(&mut self, at: Instant, snapshot: MetricsSnapshot, calls: usize) {
        if self.next.is_multiple_of(SAMPLES_PER_MINUTE as u64) {
            self.minutes.push_back(snapshot.clone());
        }
        while self.minutes.len() > MAX_MINUTE_COUNT {
            self.minutes.pop_front();
        }
        while self.samples.len() >= MAX_SAMPLE_COUNT {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample::new(at, &snapshot, calls));
        self.latest = snapshot;
        self.next += 1;
    }

    /// Returns the metrics of the last sample.
    pub(super) fn latest(&self) -> &MetricsSnapshot {
        &self.latest
    }

    /// Returns the metrics of nine to ten minutes ago, or those of the first sample if that is later; `None`
    /// before the first sample.
    pub(super) fn earlier(&self) -> Option<&MetricsSnapshot> {
        self.minutes.front()
    }

    pub(super) fn minute(&self) -> Minute {
        let back = self.samples.len().saturating_sub(1 + SAMPLES_PER_MINUTE);
        let (Some(then), Some(now)) = (self.samples.get(back), self.samples.back()) else {
            return Minute::default();
        };
        let used = now.used.since(&then.used);
        Minute {
            seconds: now.at.duration_since(then.at).as_secs_f64(),
            requests: now.requests.saturating_sub(then.requests),
            refused: now.refused.saturating_sub(then.refused),
            failed: now.failed.saturating_sub(then.failed),
            prompt: used.prompt(),
            output: used.output,
            cost_nano: used.cost_nano,
            first_byte: Quantiles::of(&now.first_byte.since(&then.first_byte)),
            duration: Quantiles::of(&now.duration.since(&then.duration)),
        }
    }

    /// Returns points for the samples from `since` on. The very first sample has no earlier one, and therefore no
    /// point.
    pub(super) fn series(&self, since: u64) -> Series {
        let oldest = self.next - self.samples.len() as u64;
        let first = since.clamp(oldest + 1, self.next.max(oldest + 1));
        let mut series = Series { first, ..Series::default() };
        let start = usize::try_from(first - oldest).unwrap_or(usize::MAX);
        for n in start..self.samples.len() {
            if let (Some(now), Some(then)) =
                (self.samples.get(n), self.samples.get(n.saturating_sub(RATE_WINDOW_SAMPLES)))
            {
                series.add(now, then);
            }
        }
        series
    }
}

impl Sample {
    fn new(at: Instant, snapshot: &MetricsSnapshot, calls: usize) -> Self {
        let mut sample = Self {
            at,
            calls,
            requests: 0,
            refused: 0,
            failed: 0,
            used: ModelUsage::default(),
            first_byte: snapshot.first_byte.clone(),
            duration: snapshot.duration.clone(),
        };
        for ((status, code), count) in &snapshot.requests {
            sample.requests += count;
            match RequestOutcome::of(*status, code) {
                RequestOutcome::Answered => {}
                RequestOutcome::Refused => sample.refused += count,
                RequestOutcome::Failed => sample.failed += count,
            }
        }
        for model in snapshot.models.values() {
            sample.used.input += model.prompt();
            sample.used.output += model.output;
            sample.used.cost_nano += model.cost_nano;
        }
        sample
    }
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RequestOutcome {
    /// The request was answered.
    Answered,
    /// The request was its client's mistake, or its client has left.
    Refused,
    /// The request failed, perhaps in the middle of the answer.
    Failed,
}

impl RequestOutcome {
    pub(super) fn of(status: u16, code: &str) -> Self {
        match status {
            0 | 400..=499 => Self::Refused,
            500.. => Self::Failed,
            _ if code.is_empty() => Self::Answered,
            _ => Self::Failed,
        }
    }
}

impl Series {
    fn add(&mut self, now: &Sample, then: &Sample) {
        let seconds = now.at.duration_since(then.at).as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "a point of a plot")]
        let rate = |now: u64, then: u64| rounded(now.saturating_sub(then) as f64 / seconds);
        self.requests.push(rate(now.requests, then.requests));
        self.refused.push(rate(now.refused, then.refused));
        self.failed.push(rate(now.failed, then.failed));
        self.calls.push(now.calls);
        self.prompt.push(rate(now.used.input, then.used.input));
        self.output.push(rate(now.used.output, then.used.output));
        self.cost_nano.push(rate(now.used.cost_nano, then.used.cost_nano));
        self.first_byte.push(&now.first_byte.since(&then.first_byte));
        self.duration.push(&now.duration.since(&then.duration));
    }
}

impl Quantiles<Option<f64>> {
    fn of(times: &HistogramSnapshot) -> Self {
        let at = |part| times.quantile(part).map(rounded);
        Self { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
    }
}

impl Quantiles<Vec<Option<f64>>> {
    fn push(&mut self, times: &HistogramSnapshot) {
        let Quantiles { p50, p95, p99 } = Quantiles::of(times);
        self.p50.push(p50);
        self.p95.push(p95);
        self.p99.push(p99);
    }
}

/// Rounds to four decimals, so that long series stay short.
fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

/// The number of samples: one for each second of ten minutes, and one before them.
const MAX_SAMPLE_COUNT: usize = 601;

/// The samples of one minute.
const SAMPLES_PER_MINUTE: usize = 60;

/// The most beginnings of minutes that are kept.
const MAX_MINUTE_COUNT: usize = 10;

/// The number of samples over which a point is computed: with fewer, lines would jump about.
const RATE_WINDOW_SAMPLES: usize = 10;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn snapshot(requests: u64, failed: u64) -> MetricsSnapshot {
        let mut snapshot = MetricsSnapshot::default();
        snapshot.requests.insert((200, String::new()), requests - failed);
        snapshot.requests.insert((502, "upstream_error".to_owned()), failed);
        snapshot.models.insert("m".to_owned(), ModelUsage { output: requests * 10, ..ModelUsage::default() });
        snapshot
    }

    #[test]
    fn ten_minutes_are_kept_and_no_more() {
        let (mut history, start) = (MetricsHistory::default(), Instant::now());
        assert_eq!(history.series(0).requests.len(), 0);
        for n in 0..1000 {
            history.add(start + Duration::from_secs(n), snapshot(2 * n, n / 2), 3);
        }
        let series = history.series(0);
        assert_eq!((series.first, series.requests.len()), (400, 600));
        assert!(series.requests.iter().all(|rate| (rate - 2.0).abs() < 1e-9));
        assert_eq!((series.output.first(), series.calls.last()), (Some(&20.0), Some(&3)));
        let rest = history.series(998);
        assert_eq!((rest.first, rest.requests.len(), rest.first_byte.p50.len()), (998, 2, 2));
        for (since, first) in [(1000, 1000), (5000, 1000)] {
            let none = history.series(since);
            assert_eq!((none.first, none.requests.len()), (first, 0));
        }
        let minute = history.minute();
        assert_eq!((minute.requests, minute.failed, minute.output), (120, 30, 1200));
        assert!((minute.seconds - 60.0).abs() < 1e-9);
        let earlier = history.earlier().unwrap().requests.values().sum::<u64>();
        assert_eq!(earlier, 2 * 420);
    }

    #[test]
    fn what_has_become_of_requests() {
        let outcome = |status, code| RequestOutcome::of(status, code);
        assert_eq!(outcome(200, ""), RequestOutcome::Answered);
        assert_eq!([outcome(429, "x"), outcome(0, "")], [RequestOutcome::Refused; 2]);
        assert_eq!([outcome(200, "upstream_error"), outcome(503, "x")], [RequestOutcome::Failed; 2]);
    }
}
