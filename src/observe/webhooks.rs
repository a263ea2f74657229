//! The metrics of webhooks.

use std::collections::HashSet;

use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec, IntGaugeVec};

use super::maker::Maker;

/// The deliveries to webhooks.
#[derive(Debug)]
pub struct WebhookMetrics {
    deliveries: IntCounterVec,
    waiting: IntGaugeVec,
    dropped: IntCounter,
    /// The webhooks that have a series.
    shown: Mutex<HashSet<String>>,
}

impl WebhookMetrics {
    pub(super) fn new(make: &Maker<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            deliveries: make.counters(
                "crossmodel_webhook_deliveries_total",
                "Attempts to deliver an event to a webhook.",
                &["webhook", "result"],
            )?,
            waiting: make.gauges(
                "crossmodel_webhook_waiting",
                "Events that wait for their delivery to a webhook.",
                &["webhook"],
            )?,
            dropped: make.counter(
                "crossmodel_webhook_dropped_total",
                "Events that were lost because too many were waiting, or because they were too old.",
            )?,
            shown: Mutex::default(),
        })
    }

    /// Counts an attempt.
    pub fn attempt(&self, webhook: &str, delivered: bool) {
        let result = if delivered { "delivered" } else { "failed" };
        self.deliveries.with_label_values(&[webhook, result]).inc();
    }

    /// Counts an event that was given up.
    pub fn given_up(&self) {
        self.dropped.inc();
    }

    /// Adds the events that were lost since the last time.
    pub fn lost(&self, events: u64) {
        self.dropped.inc_by(events);
    }

    /// Sets the number of events that wait for each webhook.
    pub fn set_waiting(&self, all: &[(String, i64)]) {
        let mut shown = self.shown.lock();
        for (webhook, count) in all {
            self.waiting.with_label_values(&[webhook]).set(*count);
        }
        let now: HashSet<_> = all.iter().map(|(webhook, _)| webhook.clone()).collect();
        for gone in shown.difference(&now) {
            // One that is not there need not be removed.
            let _ = self.waiting.remove_label_values(&[gone]);
        }
        *shown = now;
    }
}
