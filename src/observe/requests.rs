//! The metrics of requests that are over.

use std::collections::BTreeMap;

use prometheus::{HistogramVec, IntCounterVec};

use crate::canon::ProtocolId;

use super::maker::Maker;
use super::snapshot::{HistogramSnapshot, count, each_series, label};

/// The requests that are over, and their times.
#[derive(Debug)]
pub(super) struct RequestMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    first_byte: HistogramVec,
}

impl RequestMetrics {
    pub(super) fn new(make: &Maker<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            requests: make.counters(
                "crossmodel_requests_total",
                "Requests that are over, by endpoint, status and error code.",
                &["endpoint", "status", "code"],
            )?,
            duration: make.seconds(
                "crossmodel_request_duration_seconds",
                "Time from a request's head to its end.",
                &["endpoint"],
            )?,
            first_byte: make.seconds(
                "crossmodel_first_byte_seconds",
                "Time from a request's head to its answer's first byte.",
                &["endpoint"],
            )?,
        })
    }

    /// Counts a request; times are in seconds.
    pub(super) fn record(
        &self,
        endpoint: &'static str,
        status: u16,
        code: &'static str,
        duration: f64,
        first_byte: Option<f64>,
    ) {
        let mut digits = [0; 3];
        self.requests.with_label_values(&[endpoint, status_label(status, &mut digits), code]).inc();
        self.duration.with_label_values(&[endpoint]).observe(duration);
        if let Some(first_byte) = first_byte {
            self.first_byte.with_label_values(&[endpoint]).observe(first_byte);
        }
    }

    /// Returns the number of requests by status and error code.
    pub(super) fn counts(&self) -> BTreeMap<(u16, String), u64> {
        let mut counts = BTreeMap::new();
        each_series(&self.requests, |series| {
            let status = label(series, "status").parse().unwrap_or(0);
            *counts.entry((status, label(series, "code").to_owned())).or_default() += count(series);
        });
        counts
    }

    /// Returns the times to the ends of calls' answers.
    pub(super) fn call_durations(&self) -> HistogramSnapshot {
        of_calls(&self.duration)
    }

    /// Returns the times to the first bytes of calls' answers.
    pub(super) fn call_first_bytes(&self) -> HistogramSnapshot {
        of_calls(&self.first_byte)
    }
}

/// Adds up the times of the endpoints that call models.
fn of_calls(times: &HistogramVec) -> HistogramSnapshot {
    let mut sum = HistogramSnapshot::default();
    each_series(times, |series| {
        if ProtocolId::ALL.iter().any(|id| id.as_str() == label(series, "endpoint")) {
            sum.add(series);
        }
    });
    sum
}

/// Returns the three digits of a status, without an allocation.
fn status_label(status: u16, digits: &mut [u8; 3]) -> &str {
    for (digit, unit) in digits.iter_mut().zip([100, 10, 1]) {
        *digit = b'0' + u8::try_from(status / unit % 10).unwrap_or(0);
    }
    std::str::from_utf8(digits).unwrap_or_default()
}
