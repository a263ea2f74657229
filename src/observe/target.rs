//! Metrics of targets. The series of a target are looked up when it is first called, and never again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use prometheus::local::LocalHistogram;
use prometheus::proto::Metric;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::canon::Usage;

use super::labels::AttemptFailure;
use super::maker::Maker;
use super::snapshot::{ModelUsage, TargetTotals, count, each_series, label};

/// The metrics of all targets.
#[derive(Debug)]
pub(super) struct Targets {
    attempts: IntCounterVec,
    in_flight: IntGaugeVec,
    failures: IntCounterVec,
    first_byte: HistogramVec,
    gaps: HistogramVec,
    open: IntGaugeVec,
    backing_off: IntGaugeVec,
    states: IntGaugeVec,
    available: IntGaugeVec,
    tokens: IntCounterVec,
    call_tokens: HistogramVec,
    cost: IntCounterVec,
}

/// The metrics of one target: a model at a provider.
#[derive(Debug)]
pub struct TargetMetrics {
    model: Box<str>,
    provider: Box<str>,
    attempts: IntCounter,
    in_flight: IntGauge,
    failures: IntCounterVec,
    first_byte: Histogram,
    gaps: Histogram,
    /// Of the model, as all that follows; in the order of [`TokenKind::ALL`].
    tokens: [IntCounter; TokenKind::ALL.len()],
    prompt: Histogram,
    completion: Histogram,
    cost: IntCounter,
}

/// One attempt at a target, from its start until this is dropped.
#[derive(Debug)]
pub struct Attempt {
    target: Arc<TargetMetrics>,
    start: Instant,
    /// The time at which a part of the answer last arrived.
    last: Option<Instant>,
    /// Collected here, and added to the metric at the end, so that an event costs no atomic operation. The mutex
    /// is never contended; it only makes this `Sync`.
    gaps: Mutex<Option<LocalHistogram>>,
}

/// An attempt at a target, as a trace shows it.
#[derive(Clone, Copy, Debug)]
pub struct Tried<'a> {
    /// The name of the operation.
    pub operation: &'static str,
    /// The provider's name in the configuration.
    pub provider: &'a str,
    /// The provider's name of the model.
    pub model: &'a str,
    /// The host of the provider.
    pub host: &'a str,
    /// The port of the provider.
    pub port: u16,
}

/// The kinds of tokens that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenKind {
    Input,
    CacheRead,
    CacheWrite,
    Output,
}

/// The state of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// Calls go there.
    Closed,
    /// The target has asked for a pause.
    BackingOff,
    /// The circuit breaker is open.
    Open,
    /// One call tries whether the target is back.
    HalfOpen,
    /// An operator has taken the target out of service.
    Rested,
}

impl TargetState {
    const ALL: [Self; 5] = [Self::Closed, Self::BackingOff, Self::Open, Self::HalfOpen, Self::Rested];

    /// Returns the value of the label.
    fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::BackingOff => "backing_off",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::Rested => "rested",
        }
    }
}

impl Targets {
    pub(super) fn new(make: &Maker<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            tokens: make.counters(
                "crossmodel_tokens_total",
                "Tokens that providers reported, by catalog entry and kind.",
                &["model", "kind"],
            )?,
            call_tokens: make.histograms(
                "crossmodel_call_tokens",
                "Tokens of one call, by catalog entry and direction.",
                &["model", "direction"],
                TOKENS,
            )?,
            cost: make.counters(
                "crossmodel_cost_nano_usd_total",
                "What calls have cost, in billionths of a dollar, by catalog entry.",
                &["model"],
            )?,
            attempts: make.counters("crossmodel_target_attempts_total", "Tries of a target.", TARGET)?,
            in_flight: make.gauges(
                "crossmodel_target_in_flight",
                "Calls that a target is answering.",
                TARGET,
            )?,
            first_byte: make.seconds(
                "crossmodel_target_first_byte_seconds",
                "Time from the start of a try to the first byte of its answer.",
                TARGET,
            )?,
            gaps: make.histograms(
                "crossmodel_target_event_gap_seconds",
                "Time between two arrivals of events of a stream.",
                TARGET,
                GAPS,
            )?,
            open: make.gauges(
                "crossmodel_target_open",
                "1 while the circuit of a target is open because it keeps failing.",
                TARGET,
            )?,
            backing_off: make.gauges(
                "crossmodel_target_resting",
                "1 while a target comes last because it has asked for time.",
                TARGET,
            )?,
            states: make.gauges(
                "crossmodel_target_state",
                "The state of a target: the series of its state is 1, and the others are 0.",
                &["model", "provider", "state"],
            )?,
            available: make.gauges(
                "crossmodel_model_targets_available",
                "Targets of a catalog entry that may be called.",
                &["model"],
            )?,
            failures: make.counters(
                "crossmodel_upstream_failures_total",
                "Tries that a provider did not answer well, by kind.",
                &["model", "provider", "kind"],
            )?,
        })
    }

    /// Returns the metrics of a target. To be kept: this looks them all up.
    pub(super) fn find(&self, model: &str, provider: &str) -> Arc<TargetMetrics> {
        let (target, direction) =
            (&[model, provider], |direction| self.call_tokens.with_label_values(&[model, direction]));
        Arc::new(TargetMetrics {
            model: model.into(),
            provider: provider.into(),
            attempts: self.attempts.with_label_values(target),
            in_flight: self.in_flight.with_label_values(target),
            failures: self.failures.clone(),
            first_byte: self.first_byte.with_label_values(target),
            gaps: self.gaps.with_label_values(target),
            tokens: TokenKind::ALL.map(|kind| self.tokens.with_label_values(&[model, kind.as_str()])),
            prompt: direction("input"),
            completion: direction("output"),
            cost: self.cost.with_label_values(&[model]),
        })
    }

    /// Sets the states of all targets, by catalog entry and provider, and whether each is available.
    pub(super) fn set_states<'t>(&self, all: impl Iterator<Item = (&'t str, &'t str, TargetState, bool)>) {
        // A target that is no longer configured has no state.
        for gauge in [&self.open, &self.backing_off, &self.states, &self.available] {
            gauge.reset();
        }
        for (model, provider, state, is_available) in all {
            let target = &[model, provider];
            let is_open = !is_available && state != TargetState::Rested;
            self.open.with_label_values(target).add(i64::from(is_open));
            let backs_off = state == TargetState::BackingOff;
            self.backing_off.with_label_values(target).add(i64::from(backs_off));
            self.available.with_label_values(&[model]).add(i64::from(is_available));
            for other in TargetState::ALL {
                let series = self.states.with_label_values(&[model, provider, other.as_str()]);
                series.add(i64::from(other == state));
            }
        }
    }
}

/// For the console.
impl Targets {
    /// Returns the number of failures by provider and kind.
    pub(super) fn failures(&self) -> BTreeMap<(String, AttemptFailure), u64> {
        let mut failures = BTreeMap::new();
        each_series(&self.failures, |series| {
            if let Some(failure) = AttemptFailure::named(label(series, "kind")) {
                let key = (label(series, "provider").to_owned(), failure);
                *failures.entry(key).or_default() += count(series);
            }
        });
        failures
    }

    /// Returns the attempts at each target, by model and provider.
    pub(super) fn totals(&self) -> BTreeMap<(String, String), TargetTotals> {
        let mut all = BTreeMap::<_, TargetTotals>::new();
        let key = |series: &Metric| (label(series, "model").to_owned(), label(series, "provider").to_owned());
        each_series(&self.attempts, |series| all.entry(key(series)).or_default().attempts += count(series));
        each_series(&self.failures, |series| all.entry(key(series)).or_default().failures += count(series));
        each_series(&self.first_byte, |series| all.entry(key(series)).or_default().first_byte.add(series));
        all
    }

    /// Returns the usage of models, by catalog entry.
    pub(super) fn usage(&self) -> BTreeMap<String, ModelUsage> {
        let mut models = BTreeMap::<_, ModelUsage>::new();
        each_series(&self.tokens, |series| {
            let model = models.entry(label(series, "model").to_owned()).or_default();
            let kind = TokenKind::ALL.into_iter().find(|kind| kind.as_str() == label(series, "kind"));
            match kind {
                Some(TokenKind::Input) => model.input += count(series),
                Some(TokenKind::CacheRead) => model.cache_read += count(series),
                Some(TokenKind::CacheWrite) => model.cache_write += count(series),
                Some(TokenKind::Output) => model.output += count(series),
                None => {}
            }
        });
        each_series(&self.cost, |series| {
            models.entry(label(series, "model").to_owned()).or_default().cost_nano += count(series);
        });
        models
    }
}

impl TokenKind {
    const ALL: [Self; 4] = [Self::Input, Self::CacheRead, Self::CacheWrite, Self::Output];

    fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::CacheRead => "cache_read",
            Self::CacheWrite => "cache_write",
            Self::Output => "output",
        }
    }

    fn of(self, usage: &Usage) -> u64 {
        match self {
            Self::Input => usage.input,
            Self::CacheRead => usage.cache_read,
            Self::CacheWrite => usage.cache_write,
            Self::Output => usage.output,
        }
    }
}

impl TargetMetrics {
    /// Begins an attempt at the target.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Attempt {
        self.attempts.inc();
        self.in_flight.inc();
        Attempt { target: Arc::clone(self), start: Instant::now(), last: None, gaps: Mutex::default() }
    }

    /// Counts the usage of a call that the provider has reported.
    pub fn usage(&self, usage: &Usage) {
        for (counter, kind) in self.tokens.iter().zip(TokenKind::ALL) {
            let count = kind.of(usage);
            if count > 0 {
                counter.inc_by(count);
            }
        }
        self.prompt.observe(tokens(usage.prompt()));
        self.completion.observe(tokens(usage.output));
    }

    /// Counts the cost of a call.
    pub fn cost(&self, nano: u64) {
        if nano > 0 {
            self.cost.inc_by(nano);
        }
    }
}

impl Attempt {
    /// Notes that a part of the answer has arrived: its first byte, or more of a stream.
    pub fn arrived(&mut self) {
        let now = Instant::now();
        match self.last.replace(now) {
            None => self.target.first_byte.observe(now.duration_since(self.start).as_secs_f64()),
            Some(last) => {
                let gaps = self.gaps.get_mut().get_or_insert_with(|| self.target.gaps.local());
                gaps.observe(now.duration_since(last).as_secs_f64());
            }
        }
    }

    /// Counts the failure of the attempt.
    pub fn failed(&self, failure: AttemptFailure) {
        let TargetMetrics { model, provider, failures, .. } = &*self.target;
        failures.with_label_values(&[&**model, &**provider, failure.as_str()]).inc();
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.target.in_flight.dec();
    }
}

/// Converts a count of tokens. Counts are far below the limit from which on a float is inexact.
fn tokens(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The labels of a target.
const TARGET: &[&str] = &["model", "provider"];

/// Upper bounds in tokens, the same as in OpenTelemetry's GenAI conventions for `gen_ai.client.token.usage`.
const TOKENS: &[f64] =
    &[1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0];

/// Upper bounds of gaps in a stream, in seconds. Chosen values: from pieces that arrive together to what clients
/// take for a hang.
const GAPS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
