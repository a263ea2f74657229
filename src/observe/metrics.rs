//! Prometheus metrics. Every label has a bounded set of values: no name that a caller made up is one.

use prometheus::core::Collector;
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::canon::Usage;

use super::reading::Reading;

/// All metrics of one gateway.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    duration: HistogramVec,
    first_byte: HistogramVec,
    tokens: IntCounterVec,
    upstream_failures: IntCounterVec,
    losses: IntCounterVec,
    cost: IntCounterVec,
    target_open: IntGaugeVec,
    oddities: IntCounterVec,
    shed: IntCounterVec,
    connections_refused: IntCounterVec,
    heads_refused: IntCounterVec,
    in_flight: IntGauge,
    body_bytes: IntGauge,
    connections: IntGauge,
    /// Reloads of the configuration that took effect.
    pub reloads: IntCounter,
    /// Reloads that kept the old configuration because the new one is wrong.
    pub bad_reloads: IntCounter,
    /// Certificates that were replaced.
    pub certificates: IntCounter,
    /// Certificates that stayed because what was to replace them is none.
    pub bad_certificates: IntCounter,
    /// Access lines lost because nobody took them.
    pub access_dropped: IntGauge,
    /// Records of our own log lost because nobody took them.
    pub log_dropped: IntGauge,
    /// Calls for which money is set aside.
    pub open_holds: IntGauge,
    /// 1 while the store can not be written, so that paid calls are refused.
    pub ledger_failing: IntGauge,
}

impl Metrics {
    /// Fresh metrics, all at zero.
    ///
    /// # Errors
    /// Never with the names below; the library checks them at run time.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let make = Maker(&registry);
        make.build_info()?;
        let reloads =
            make.counters("crossmodel_config_reloads_total", "Reloads of the configuration.", &["result"])?;
        let certificates = make.counters(
            "crossmodel_certificate_reloads_total",
            "Certificates that were to be replaced.",
            &["result"],
        )?;
        Ok(Self {
            requests: make.counters(
                "crossmodel_requests_total",
                "Requests that are over, by endpoint, status and error code.",
                &["endpoint", "status", "code"],
            )?,
            duration: make.seconds(
                "crossmodel_request_duration_seconds",
                "Time from a request's head to its end.",
            )?,
            first_byte: make.seconds(
                "crossmodel_first_byte_seconds",
                "Time from a request's head to its answer's first byte.",
            )?,
            tokens: make.counters(
                "crossmodel_tokens_total",
                "Tokens that providers reported, by catalog entry and kind.",
                &["model", "kind"],
            )?,
            upstream_failures: make.counters(
                "crossmodel_upstream_failures_total",
                "Attempts that a provider did not answer well.",
                &["provider", "kind"],
            )?,
            losses: make.counters(
                "crossmodel_losses_total",
                "Members of requests that a translation left out or changed, by client's and provider's protocol.",
                &["client", "upstream"],
            )?,
            cost: make.counters(
                "crossmodel_cost_nano_usd_total",
                "What calls have cost, in billionths of a dollar, by catalog entry.",
                &["model"],
            )?,
            target_open: make.gauges(
                "crossmodel_target_open",
                "1 while a target is left alone because it keeps failing.",
                &["model", "provider"],
            )?,
            open_holds: make.gauge("crossmodel_ledger_open_holds", "Calls for which money is set aside.")?,
            ledger_failing: make.gauge(
                "crossmodel_ledger_failing",
                "1 while the store can not be written, so that paid calls are refused.",
            )?,
            oddities: make.counters(
                "crossmodel_oddities_total",
                "What of providers' answers a translation did not understand, by kind.",
                &["provider", "kind"],
            )?,
            in_flight: make.gauge("crossmodel_requests_in_flight", "Calls that are being answered.")?,
            body_bytes: make.gauge("crossmodel_request_bytes_in_flight", "Bytes of their requests' bodies.")?,
            connections: make.gauge("crossmodel_connections", "Connections of clients.")?,
            shed: make.counters(
                "crossmodel_shed_total",
                "Calls that were refused because too much was going on, by what was too much.",
                &["reason"],
            )?,
            connections_refused: make.counters(
                "crossmodel_connections_refused_total",
                "Connections that were closed at once, by the cap that was reached.",
                &["cap"],
            )?,
            heads_refused: make.counters(
                "crossmodel_heads_refused_total",
                "Requests that were refused by their head before they were any.",
                &["reason"],
            )?,
            reloads: reloads.with_label_values(&["ok"]),
            bad_reloads: reloads.with_label_values(&["refused"]),
            certificates: certificates.with_label_values(&["ok"]),
            bad_certificates: certificates.with_label_values(&["refused"]),
            access_dropped: make.gauge(
                "crossmodel_access_lines_dropped",
                "Access lines lost because nobody took them.",
            )?,
            log_dropped: make.gauge(
                "crossmodel_log_lines_dropped",
                "Lines of the gateway's own log lost because nobody took them.",
            )?,
            registry,
        })
    }

    /// A request is over.
    pub fn request(
        &self,
        endpoint: &'static str,
        status: u16,
        code: &'static str,
        seconds: f64,
        first_byte: Option<f64>,
    ) {
        let mut digits = [0; 3];
        self.requests.with_label_values(&[endpoint, status_label(status, &mut digits), code]).inc();
        self.duration.with_label_values(&[endpoint]).observe(seconds);
        if let Some(first_byte) = first_byte {
            self.first_byte.with_label_values(&[endpoint]).observe(first_byte);
        }
    }

    /// A provider reported the usage of a call. `model` is a catalog entry.
    pub fn usage(&self, model: &str, usage: &Usage) {
        for (kind, count) in [
            ("input", usage.input),
            ("cache_read", usage.cache_read),
            ("cache_write", usage.cache_write),
            ("output", usage.output),
        ] {
            if count > 0 {
                self.tokens.with_label_values(&[model, kind]).inc_by(count);
            }
        }
    }

    /// A call has cost something. `model` is a catalog entry.
    pub fn cost(&self, model: &str, nano: u64) {
        if nano > 0 {
            self.cost.with_label_values(&[model]).inc_by(nano);
        }
    }

    /// Whether the targets of all models are left alone, by catalog entry and provider.
    pub fn targets<'t>(&self, all: impl Iterator<Item = (&'t str, &'t str, bool)>) {
        // A target that the configuration does not know any more has no state.
        self.target_open.reset();
        for (model, provider, open) in all {
            self.target_open.with_label_values(&[model, provider]).add(i64::from(open));
        }
    }

    /// An attempt failed.
    pub fn upstream_failure(&self, provider: &str, kind: &'static str) {
        self.upstream_failures.with_label_values(&[provider, kind]).inc();
    }

    /// A translation left out, or changed, so many members of a request.
    pub fn losses(&self, client: &'static str, upstream: &'static str, count: u64) {
        if count > 0 {
            self.losses.with_label_values(&[client, upstream]).inc_by(count);
        }
    }

    /// A translation did not understand something in an answer, so many times.
    pub fn oddities(&self, provider: &str, kind: &'static str, count: u64) {
        self.oddities.with_label_values(&[provider, kind]).inc_by(count);
    }

    /// How much goes on at the moment.
    pub fn load(&self, calls: usize, body_bytes: usize, connections: usize) {
        let set = |gauge: &IntGauge, value| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.in_flight, calls);
        set(&self.body_bytes, body_bytes);
        set(&self.connections, connections);
    }

    /// A call was not let in.
    pub fn shed(&self, reason: &'static str) {
        self.shed.with_label_values(&[reason]).inc();
    }

    /// A connection was not let in.
    pub fn connection_refused(&self, cap: &'static str) {
        self.connections_refused.with_label_values(&[cap]).inc();
    }

    /// A head was no request's.
    pub fn head_refused(&self, reason: &'static str) {
        self.heads_refused.with_label_values(&[reason]).inc();
    }

    /// What the console shows of them.
    #[must_use]
    pub fn reading(&self) -> Reading {
        Reading::of(&self.registry.gather())
    }

    /// All metrics in the text format.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            log::error!("metrics: {error}");
        }
        out
    }
}

/// Makes metrics and registers them.
struct Maker<'r>(&'r Registry);

impl Maker<'_> {
    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.registered(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.registered(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.registered(IntGauge::new(name, help)?)
    }

    fn seconds(&self, name: &str, help: &str) -> prometheus::Result<HistogramVec> {
        let opts = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        self.registered(HistogramVec::new(opts, &["endpoint"])?)
    }

    fn build_info(&self) -> prometheus::Result<()> {
        let opts = Opts::new("crossmodel_build_info", "The version that runs.");
        self.registered(IntGauge::with_opts(opts.const_label("version", env!("CARGO_PKG_VERSION")))?)?.set(1);
        Ok(())
    }

    fn registered<M: Collector + Clone + 'static>(&self, metric: M) -> prometheus::Result<M> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

/// The three digits of a status, without an allocation.
fn status_label(status: u16, digits: &mut [u8; 3]) -> &str {
    for (digit, unit) in digits.iter_mut().zip([100, 10, 1]) {
        *digit = b'0' + u8::try_from(status / unit % 10).unwrap_or(0);
    }
    std::str::from_utf8(digits).unwrap_or_default()
}

/// Upper bounds in seconds: from a local server's first byte to an hour of thinking.
const SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 3600.0];
