//! Prometheus metrics. Every label has a bounded set of values: a name that a caller made up is never one.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{Encoder, IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder};

use crate::auth::Grant;
use crate::canon::{Anomaly, ProtocolId, Rejection};
use crate::limit::Shed;
use crate::meter::Unpriced;

use super::guards::{GuardAction, GuardMetrics};
use super::labels::{ConnectionCap, HeadRefusal, LimitRefusal};
use super::ledger::LedgerMetrics;
use super::maker::Maker;
use super::money::MoneyMetrics;
use super::operators::OperatorMetrics;
use super::process::ProcessMetrics;
use super::requests::RequestMetrics;
use super::snapshot::{MetricsSnapshot, TargetTotals};
use super::target::{TargetMetrics, TargetState, Targets};
use super::tenants::{MetricsSettings, TenantMetrics};
use super::webhooks::WebhookMetrics;

/// All metrics of one gateway.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Held while series are replaced, and while all are read.
    replacing: Mutex<()>,
    requests: RequestMetrics,
    targets: Targets,
    tenants: TenantMetrics,
    losses: IntCounterVec,
    anomalies: IntCounterVec,
    carriers: IntCounterVec,
    unpriced: IntCounterVec,
    refusals: Refusals,
    guards: GuardMetrics,
    in_flight: IntGauge,
    body_bytes: IntGauge,
    connections: IntGauge,
    /// Reloads of the configuration that took effect.
    pub reloads: IntCounter,
    /// Reloads that kept the old configuration because the new one was wrong.
    pub bad_reloads: IntCounter,
    /// Certificates that were replaced.
    pub certificates: IntCounter,
    /// Certificates that stayed in use because the new files were not a valid certificate.
    pub bad_certificates: IntCounter,
    access_dropped: IntCounter,
    log_dropped: IntCounter,
    content_dropped: IntCounter,
    /// The state of the ledger.
    pub ledger: LedgerMetrics,
    /// The state of wallets and budgets.
    pub money: MoneyMetrics,
    /// The deliveries to webhooks.
    pub webhooks: WebhookMetrics,
    /// The state of the process.
    pub process: ProcessMetrics,
    /// The requests of operators.
    pub operators: OperatorMetrics,
}

impl Metrics {
    /// Makes the metrics, all at zero.
    ///
    /// # Errors
    /// Fails if two metrics have the same name, or one is malformed. With the names below, this does not happen.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let make = Maker(&registry);
        make.build_info()?;
        make.process()?;
        let reloads =
            make.counters("crossmodel_config_reloads_total", "Reloads of the configuration.", &["result"])?;
        let certificates = make.counters(
            "crossmodel_certificate_reloads_total",
            "Certificates that were to be replaced.",
            &["result"],
        )?;
        Ok(Self {
            requests: RequestMetrics::new(&make)?,
            targets: Targets::new(&make)?,
            tenants: TenantMetrics::new(&make)?,
            losses: make.counters(
                "crossmodel_losses_total",
                "Members of requests that a translation left out or changed, by client's and provider's protocol.",
                &["client", "upstream"],
            )?,
            ledger: LedgerMetrics::new(&make)?,
            money: MoneyMetrics::new(&make)?,
            webhooks: WebhookMetrics::new(&make)?,
            process: ProcessMetrics::new(&make)?,
            operators: OperatorMetrics::new(&make)?,
            anomalies: make.counters(
                "crossmodel_oddities_total",
                "What of providers' answers a translation did not understand, by kind.",
                &["provider", "kind"],
            )?,
            carriers: make.counters_of(
                "crossmodel_carriers_rejected_total",
                "Pieces of earlier reasoning in the gateway's own form that no provider was given, by the reason.",
                "reason",
                &Rejection::ALL.map(Rejection::as_str),
            )?,
            unpriced: make.counters_of(
                "crossmodel_unpriced_total",
                "Calls of priced models that used something without a price of its own, by kind.",
                "kind",
                &Unpriced::ALL.map(Unpriced::as_str),
            )?,
            in_flight: make.gauge("crossmodel_requests_in_flight", "Calls that are being answered.")?,
            body_bytes: make.gauge("crossmodel_request_bytes_in_flight", "Bytes of their requests' bodies.")?,
            connections: make.gauge("crossmodel_connections", "Connections of clients.")?,
            refusals: Refusals::new(&make)?,
            guards: GuardMetrics::new(&make)?,
            reloads: reloads.with_label_values(&["ok"]),
            bad_reloads: reloads.with_label_values(&["refused"]),
            certificates: certificates.with_label_values(&["ok"]),
            bad_certificates: certificates.with_label_values(&["refused"]),
            access_dropped: make.counter(
                "crossmodel_access_lines_dropped_total",
                "Access lines lost because nobody took them.",
            )?,
            log_dropped: make.counter(
                "crossmodel_log_lines_dropped_total",
                "Lines of the gateway's own log lost because nobody took them.",
            )?,
            replacing: Mutex::default(),
            content_dropped: make.counter(
                "crossmodel_content_lines_dropped_total",
                "Lines of the content log lost because nobody took them.",
            )?,
            registry,
        })
    }

    /// Returns the metrics of a target, by catalog entry and provider. The caller should keep them: this looks all
    /// of them up.
    #[must_use]
    pub fn target(&self, model: &str, provider: &str) -> Arc<TargetMetrics> {
        self.targets.find(model, provider)
    }

    /// Counts a request that a guard was asked about.
    pub fn guard(&self, guard: &str, action: GuardAction) {
        self.guards.count(guard, action);
    }

    /// Sets the states of the credentials of providers that have several, by provider, name and state, each with whether
    /// it is the present one.
    pub fn credentials<'c>(&self, all: impl Iterator<Item = ([&'c str; 3], bool)>) {
        self.targets.credentials.set_states(all);
    }

    /// Sets the states of the targets of all models, by catalog entry and provider, and whether each is available.
    pub fn targets<'t>(&self, all: impl Iterator<Item = (&'t str, &'t str, TargetState, bool)>) {
        let _whole = self.replacing.lock();
        self.targets.set_states(all);
    }

    /// Adds the calls of all keys since the last time to the series of accounts and keys.
    pub fn tenants(&self, keys: &[Grant], settings: MetricsSettings) {
        self.tenants.collect(keys, settings);
    }

    /// Sets the accounts that have spent most in this month.
    pub fn rank_accounts(&self, accounts: impl Iterator<Item = String>) {
        self.tenants.rank(accounts);
    }

    /// Counts a request that is over.
    pub fn request(
        &self,
        endpoint: &'static str,
        status: u16,
        code: &'static str,
        seconds: f64,
        first_byte: Option<f64>,
    ) {
        self.requests.record(endpoint, status, code, seconds, first_byte);
    }

    /// Counts the members of a request that a translation left out or changed.
    pub fn losses(&self, client: ProtocolId, upstream: ProtocolId, count: u64) {
        if count > 0 {
            self.losses.with_label_values(&[client.as_str(), upstream.as_str()]).inc_by(count);
        }
    }

    /// Counts the parts of an answer that a translation did not understand.
    pub fn anomalies(&self, provider: &str, anomaly: Anomaly, count: u64) {
        self.anomalies.with_label_values(&[provider, anomaly.as_str()]).inc_by(count);
    }

    /// Counts the carriers of reasoning in a request that were not opened.
    pub fn rejected_carriers(&self, reason: Rejection, count: u64) {
        self.carriers.with_label_values(&[reason.as_str()]).inc_by(count);
    }

    /// Counts a paid call that has used something for which its model has no price.
    pub fn unpriced(&self, kind: Unpriced) {
        self.unpriced.with_label_values(&[kind.as_str()]).inc();
    }

    /// Sets the load of the moment: calls, bytes of bodies, and connections.
    pub fn load(&self, calls: usize, body_bytes: usize, connections: usize) {
        let set = |gauge: &IntGauge, value| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.in_flight, calls);
        set(&self.body_bytes, body_bytes);
        set(&self.connections, connections);
    }

    /// Counts a call that was shed.
    pub fn shed(&self, reason: Shed) {
        self.refusals.shed.with_label_values(&[reason.as_str()]).inc();
    }

    /// Counts a call that was refused by a limit of its key or account.
    pub fn limit_refusal(&self, limit: LimitRefusal) {
        self.refusals.limits.with_label_values(&[limit.as_str()]).inc();
    }

    /// Counts a connection that was closed at once.
    pub fn connection_refused(&self, cap: ConnectionCap) {
        self.refusals.connections.with_label_values(&[cap.as_str()]).inc();
    }

    /// Counts a request that was refused because of its head.
    pub fn head_refused(&self, reason: HeadRefusal) {
        self.refusals.heads.with_label_values(&[reason.as_str()]).inc();
    }

    /// Sets the number of access lines, and of log records, that were lost so far.
    pub fn lost(&self, access: u64, log: u64) {
        self.access_dropped.inc_by(access.saturating_sub(self.access_dropped.get()));
        self.log_dropped.inc_by(log.saturating_sub(self.log_dropped.get()));
    }

    /// Sets the number of lost lines of the content log.
    pub fn content_lost(&self, lines: u64) {
        self.content_dropped.inc_by(lines.saturating_sub(self.content_dropped.get()));
    }

    /// Returns the values of the metrics that the console shows.
    #[must_use]
    pub fn snapshot(&self) -> MetricsSnapshot {
        MetricsSnapshot {
            requests: self.requests.counts(),
            failures: self.targets.failures(),
            models: self.targets.usage(),
            first_byte: self.requests.call_first_bytes(),
            duration: self.requests.call_durations(),
        }
    }

    /// Returns the attempts at each target since the process began, by model and provider.
    #[must_use]
    pub fn target_totals(&self) -> BTreeMap<(String, String), TargetTotals> {
        self.targets.totals()
    }

    /// Returns all metrics in the Prometheus text format.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let _whole = self.replacing.lock();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            log::error!("metrics: {error}");
        }
        out
    }
}

/// The refusals, by their reasons.
#[derive(Debug)]
struct Refusals {
    shed: IntCounterVec,
    limits: IntCounterVec,
    connections: IntCounterVec,
    heads: IntCounterVec,
}

impl Refusals {
    fn new(make: &Maker<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            shed: make.counters(
                "crossmodel_shed_total",
                "Calls that were refused because too much was going on, by what was too much.",
                &["reason"],
            )?,
            limits: make.counters(
                "crossmodel_limit_refusals_total",
                "Calls that were refused by a limit of their key or account, by the limit.",
                &["limit"],
            )?,
            connections: make.counters(
                "crossmodel_connections_refused_total",
                "Connections that were closed at once, by the cap that was reached.",
                &["cap"],
            )?,
            heads: make.counters(
                "crossmodel_heads_refused_total",
                "Requests that were refused by their head before they were any.",
                &["reason"],
            )?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_scrape_sees_all_targets_while_others_set_their_states() {
        let (metrics, done) = (Metrics::new().unwrap(), AtomicBool::new(false));
        let set = || metrics.targets(std::iter::repeat_n(("m", "p", TargetState::Closed, true), 20));
        set();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    set();
                }
            });
            let whole = (0..200).all(|_| {
                let page = String::from_utf8(metrics.render()).unwrap();
                page.contains("_model_targets_available{model=\"m\"} 20")
            });
            done.store(true, Ordering::Relaxed);
            assert!(whole);
        });
    }
}
