//! The metrics of the process itself: its configuration, its certificates and its disk.

use prometheus::{IntGauge, IntGaugeVec};

use super::maker::Maker;

/// The state of the process.
#[derive(Debug)]
pub struct ProcessMetrics {
    in_force: IntGauge,
    refused: IntGauge,
    restart_required: IntGauge,
    certificates: IntGaugeVec,
    free_bytes: IntGauge,
}

impl ProcessMetrics {
    pub(super) fn new(make: &Maker<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            in_force: make.gauge(
                "crossmodel_config_in_force_timestamp_seconds",
                "Time at which the configuration in force was loaded.",
            )?,
            refused: make.gauge(
                "crossmodel_config_refused",
                "1 while the file was refused and an earlier configuration is in force.",
            )?,
            restart_required: make.gauge(
                "crossmodel_config_restart_required",
                "1 while a setting has a new value that only a new process puts into effect.",
            )?,
            certificates: make.gauges(
                "crossmodel_certificate_not_after_timestamp_seconds",
                "Time at which the certificate of a listener expires.",
                &["listener"],
            )?,
            free_bytes: make
                .gauge("crossmodel_data_free_bytes", "Bytes that are free on the disk of the data folder.")?,
        })
    }

    /// Sets the state of the configuration: the time at which the one in force was loaded, in seconds since the epoch,
    /// whether a newer one was refused, and whether a setting waits for a new process.
    pub fn config(&self, loaded: i64, refused: bool, restart_required: bool) {
        self.in_force.set(loaded);
        self.refused.set(i64::from(refused));
        self.restart_required.set(i64::from(restart_required));
    }

    /// Sets the time at which the certificate of a listener expires, in seconds since the epoch.
    pub fn certificate_ends(&self, listener: &str, ends: i64) {
        self.certificates.with_label_values(&[listener]).set(ends);
    }

    /// Sets the bytes that are free on the disk of the data folder.
    pub fn free(&self, bytes: u64) {
        self.free_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
