//! The parts of the gateway that operators see and set.

use std::collections::{BTreeMap, HashMap};

use crate::meter::HoldRefusal;
use crate::observe::{FailureList, TargetTotals};
use crate::route::{Catalog, TargetRest};

use super::Gateway;
use super::facts::ProcessFacts;

impl Gateway {
    /// Puts the orders of operators about targets into effect, by the names of the targets.
    pub(in crate::edge) fn obey(&self, orders: HashMap<String, TargetRest>) {
        self.0.rests.replace(orders, &self.0.snapshot.load().catalog);
    }

    /// Writes the counts of all calls that have ended to the store.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub(in crate::edge) async fn post_usage(&self) -> Result<(), HoldRefusal> {
        self.0.quotas.ledger.post().await
    }

    /// Returns the requests that have failed or were refused lately.
    pub(in crate::edge) fn recent_failures(&self) -> FailureList {
        self.0.recent.list()
    }

    /// Notes that clients' connections are accepted from now on.
    pub(in crate::edge) fn note_serving(&self) {
        self.0.facts.lock().is_serving = true;
    }

    /// Notes the ends of the listeners' certificates, in seconds since the epoch.
    pub(in crate::edge) fn note_certificates(&self, ends: Vec<(String, i64)>) {
        for (listener, end) in &ends {
            self.0.metrics.process.certificate_ends(listener, *end);
        }
        self.0.facts.lock().certificates = ends;
    }

    /// Notes the bytes that are free on the disk of the data folder.
    pub(in crate::edge) fn note_free(&self, bytes: u64) {
        self.0.metrics.process.free(bytes);
        self.0.facts.lock().free_bytes = Some(bytes);
    }

    /// Returns what is known of the process.
    pub(in crate::edge) fn facts(&self) -> ProcessFacts {
        self.0.facts.lock().clone()
    }

    /// Whether the ledger cannot be written.
    pub(in crate::edge) fn is_ledger_failing(&self) -> bool {
        self.0.quotas.ledger.is_failing()
    }

    /// Passes the models and targets to a look.
    pub(in crate::edge) fn look_at_catalog<T>(&self, look: impl FnOnce(&Catalog) -> T) -> T {
        look(&self.0.snapshot.load().catalog)
    }

    /// Returns the number of listeners for clients.
    pub(in crate::edge) fn listener_count(&self) -> usize {
        self.0.listeners.count()
    }

    /// Returns the days for which the audit log is kept.
    pub(in crate::edge) fn audit_days(&self) -> u32 {
        self.0.snapshot.load().audit_days
    }

    /// Returns the attempts at each target since the process began, by model and provider.
    pub(in crate::edge) fn target_totals(&self) -> BTreeMap<(String, String), TargetTotals> {
        self.0.metrics.target_totals()
    }
}
