//! The document that the page asks for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::observe::{MetricsSnapshot, ModelUsage};
use crate::route::{Circuit, ModelEntry, ModelStatus, ModelTarget, TargetFailure};

use super::changes::{ChangeRow, ConfigNow};
use super::history::{MetricsHistory, Minute, RequestOutcome, Series};
use super::keys::{AccountRow, KeyList, LedgerFigures, LedgerQuery};
use super::{Query, Sources};

/// All figures of the document. Amounts are in nano-USD or micro-USD, as their names say; times are in seconds.
#[derive(Debug, Serialize)]
pub struct ConsoleView {
    version: &'static str,
    instance: String,
    uptime: u64,
    load: LoadNow,
    ledger: LedgerNow,
    minute: Minute,
    series: Series,
    outcomes: Vec<OutcomeRow>,
    failures: Vec<FailureRow>,
    models: Listed<ModelRow>,
    targets: Listed<TargetRow>,
    keys: KeyList,
    /// The accounts; absent if the store could not be read in time.
    accounts: Option<Vec<AccountRow>>,
    config: ConfigNow,
    /// The latest changes; absent if the store could not be read in time.
    changes: Option<Vec<ChangeRow>>,
}

#[derive(Debug, Serialize)]
struct LoadNow {
    calls: usize,
    most_calls: usize,
    body_bytes: usize,
    connections: usize,
    access_dropped: u64,
}

#[derive(Debug, Serialize)]
struct LedgerNow {
    billing: bool,
    failing: bool,
    open_holds: i64,
}

/// Some rows, and the number of all rows.
#[derive(Debug, Serialize)]
struct Listed<T> {
    total: usize,
    shown: Vec<T>,
}

/// The number of requests with one status and error code; `recent` counts the last ten minutes.
#[derive(Debug, Serialize)]
struct OutcomeRow {
    status: u16,
    code: String,
    outcome: RequestOutcome,
    total: u64,
    recent: u64,
}

/// The attempts that failed at a provider.
#[derive(Debug, Serialize)]
struct FailureRow {
    provider: String,
    kind: &'static str,
    total: u64,
    recent: u64,
}

/// The figures of one model; `recent_…` counts the last ten minutes.
#[derive(Debug, Serialize)]
struct ModelRow {
    id: String,
    state: &'static str,
    input: u64,
    cache_read: u64,
    cache_write: u64,
    output: u64,
    cost_nano: u64,
    recent_tokens: u64,
    recent_cost_nano: u64,
}

/// The figures of one target.
#[derive(Debug, Serialize)]
struct TargetRow {
    model: String,
    provider: String,
    /// The provider's own name for the model; absent in wildcards.
    upstream_model: Option<String>,
    priority: u32,
    weight: u32,
    circuit: Circuit,
    /// Seconds since the last change of health; absent if the circuit breaker was always closed.
    since: Option<f64>,
    /// Seconds until the target may be tried again, or its pause is over.
    next: Option<f64>,
    failures: u32,
    in_flight: usize,
    /// The last failure; absent if there was none.
    last_failure: Option<TargetFailure>,
}

impl ConsoleView {
    pub(super) fn new(
        instance: &str,
        uptime: u64,
        sources: &Sources<'_>,
        history: &MetricsHistory,
        since: u64,
        query: &Query,
    ) -> Self {
        let empty = MetricsSnapshot::default();
        let (now, earlier) = (history.latest(), history.earlier().unwrap_or(&empty));
        let total = sources.load.total();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            instance: instance.to_owned(),
            uptime,
            load: LoadNow {
                calls: total.calls,
                most_calls: sources.most_calls,
                body_bytes: total.bytes,
                connections: sources.connections,
                access_dropped: sources.access_dropped,
            },
            ledger: LedgerNow {
                billing: sources.billing,
                failing: sources.ledger.is_failing(),
                open_holds: sources.ledger.open_holds(),
            },
            minute: history.minute(),
            series: history.series(since),
            outcomes: outcomes(now, earlier),
            failures: failures(now, earlier),
            models: models(sources, now, earlier),
            targets: targets(sources),
            keys: KeyList::new(sources, query),
            accounts: None,
            config: ConfigNow::new(sources),
            changes: None,
        }
    }

    /// The keys and accounts that the store is to be asked about.
    #[must_use]
    pub fn shown(&self) -> LedgerQuery {
        self.keys.shown(self.config.instance())
    }

    /// Writes the document with the store's figures.
    #[must_use]
    pub fn write(mut self, figures: Option<LedgerFigures>) -> Vec<u8> {
        if let Some(mut figures) = figures {
            self.config.complete(std::mem::take(&mut figures.declared));
            self.changes = Some(std::mem::take(&mut figures.changes));
            self.accounts = Some(self.keys.complete(figures));
        }
        serde_json::to_vec(&self).unwrap_or_default()
    }
}

fn outcomes(now: &MetricsSnapshot, earlier: &MetricsSnapshot) -> Vec<OutcomeRow> {
    let rows = now.requests.iter().map(|((status, code), &total)| OutcomeRow {
        status: *status,
        code: code.clone(),
        outcome: RequestOutcome::of(*status, code),
        total,
        recent: recent(&earlier.requests, &(*status, code.clone()), total),
    });
    rows.collect()
}

fn failures(now: &MetricsSnapshot, earlier: &MetricsSnapshot) -> Vec<FailureRow> {
    let rows = now.failures.iter().map(|(of, &total)| FailureRow {
        provider: of.0.clone(),
        kind: of.1.as_str(),
        total,
        recent: recent(&earlier.failures, of, total),
    });
    rows.collect()
}

fn recent<K: Ord>(earlier: &BTreeMap<K, u64>, of: &K, total: u64) -> u64 {
    total.saturating_sub(earlier.get(of).copied().unwrap_or(0))
}

/// Returns all configured models, and those that were called before they were removed, the busiest first.
fn models(sources: &Sources<'_>, now: &MetricsSnapshot, earlier: &MetricsSnapshot) -> Listed<ModelRow> {
    let mut states: BTreeMap<&str, &str> = now.models.keys().map(|id| (id.as_str(), "gone")).collect();
    states.extend(sources.catalog.entries().iter().map(|entry| (entry.id.as_str(), state(entry))));
    let rows = states.into_iter().map(|(id, state)| {
        let used = now.models.get(id).copied().unwrap_or_default();
        let recent = used.since(&earlier.models.get(id).copied().unwrap_or_default());
        let ModelUsage { input, cache_read, cache_write, output, cost_nano } = used;
        ModelRow {
            id: id.to_owned(),
            state,
            input,
            cache_read,
            cache_write,
            output,
            cost_nano,
            recent_tokens: recent.tokens(),
            recent_cost_nano: recent.cost_nano,
        }
    });
    let rank = |row: &ModelRow| {
        let total = row.input + row.cache_read + row.cache_write + row.output;
        std::cmp::Reverse((row.recent_cost_nano, row.recent_tokens, row.cost_nano, total))
    };
    Listed::first(rows.collect(), rank)
}

fn state(entry: &ModelEntry) -> &'static str {
    match entry.status {
        ModelStatus::Active => "active",
        ModelStatus::Hidden => "hidden",
        ModelStatus::Down => "down",
    }
}

/// Returns all targets, those with problems first.
fn targets(sources: &Sources<'_>) -> Listed<TargetRow> {
    let now = Instant::now();
    let entries = sources.catalog.entries().iter();
    let rows =
        entries.flat_map(|entry| entry.targets.iter().map(|target| TargetRow::new(entry, target, now)));
    let rank = |row: &TargetRow| match row.circuit {
        Circuit::Open | Circuit::Rested => 0,
        Circuit::HalfOpen => 1,
        Circuit::BackingOff => 2,
        Circuit::Closed => 3,
    };
    Listed::first(rows.collect(), rank)
}

impl TargetRow {
    fn new(entry: &ModelEntry, target: &ModelTarget, now: Instant) -> Self {
        let (view, last_failure) = target.health.view(now);
        let seconds = |time: Option<Duration>| time.map(|time| (time.as_secs_f64() * 10.0).round() / 10.0);
        Self {
            model: entry.id.clone(),
            provider: target.provider.name.to_string(),
            upstream_model: target.model.clone(),
            priority: target.priority,
            weight: target.weight,
            circuit: view.state,
            since: seconds(view.since),
            next: seconds(view.next),
            failures: view.failures,
            in_flight: view.in_flight,
            last_failure,
        }
    }
}

impl<T> Listed<T> {
    /// Returns the rows with the lowest ranks, as many as fit.
    fn first<K: Ord>(mut rows: Vec<T>, rank: impl Fn(&T) -> K) -> Self {
        let total = rows.len();
        rows.sort_by_key(rank);
        rows.truncate(MAX_ROW_COUNT);
        Self { total, shown: rows }
    }
}

/// The most rows of models, and of targets.
const MAX_ROW_COUNT: usize = 500;
