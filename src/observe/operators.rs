//! The metrics of operators' requests.

use prometheus::IntCounterVec;

use super::labels::AdminAuthFailure;
use super::maker::Maker;

/// The requests of operators.
#[derive(Debug)]
pub struct OperatorMetrics {
    requests: IntCounterVec,
    refused: IntCounterVec,
}

impl OperatorMetrics {
    pub(super) fn new(make: &Maker<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            requests: make.counters(
                "crossmodel_admin_requests_total",
                "Requests to the admin API, by operation and status.",
                &["operation", "code"],
            )?,
            refused: make.counters_of(
                "crossmodel_admin_auth_failures_total",
                "Requests of operators whose credential was not accepted, by the reason.",
                "reason",
                &AdminAuthFailure::ALL.map(AdminAuthFailure::as_str),
            )?,
        })
    }

    /// Counts a request to the admin API that is over.
    pub fn request(&self, operation: &'static str, status: u16) {
        self.requests.with_label_values(&[operation, status.to_string().as_str()]).inc();
    }

    /// Counts a request whose credential was not accepted.
    pub fn refused(&self, reason: AdminAuthFailure) {
        self.refused.with_label_values(&[reason.as_str()]).inc();
    }
}
