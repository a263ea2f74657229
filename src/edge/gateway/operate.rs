//! The parts of the gateway that operators see and set.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::auth::{OperatorToken, RateLimits};
use crate::config::ConfigStatus;
use crate::console::{Console, Sources};
use crate::meter::{self, HoldRefusal};
use crate::observe::{self, FailureList, Metrics, TargetState, TargetTotals};
use crate::route::{Catalog, Circuit, Condition, TargetRest, TargetSnapshot};

use super::Gateway;
use super::facts::ProcessFacts;

impl Gateway {
    /// Ends the rests of all credentials, because their operator may have acted.
    pub(in crate::edge) fn wake_credentials(&self) {
        self.0.snapshot.load().catalog.wake_credentials();
    }

    /// Opens the access log again if its file was renamed.
    pub(in crate::edge) fn reopen_log(&self) {
        match self.0.access.reopen_renamed() {
            Ok(true) => log::info!("the access log is open again under its name"),
            Ok(false) => {}
            Err(error) => log::error!("access_log: the renamed file stays in use: {error}"),
        }
        if let Err(error) = self.0.content.reopen_renamed() {
            log::error!("content_log: the renamed file stays in use: {error}");
        }
    }

    /// Notes the state of the configuration, for programs and in the metrics.
    pub(in crate::edge) fn note_config(&self, status: &ConfigStatus) {
        let loaded = status.in_force.as_ref().map_or(0, |file| file.loaded_at.as_second());
        let (refused, restart) = (status.refused.is_some(), !status.restart_required.is_empty());
        self.0.metrics.process.config(loaded, refused, restart);
        let declared = self.0.declared.owner();
        self.0.config.store(Arc::new(ConfigStatus { declared, ..status.clone() }));
    }

    /// Returns the state of the configuration. May take as long as a disk does.
    #[must_use]
    pub fn config_status(&self) -> Arc<ConfigStatus> {
        let status = (*self.0.config.load_full()).clone();
        Arc::new(ConfigStatus { declared: self.0.declared.status(), ..status })
    }

    /// Returns the states of all targets.
    #[must_use]
    pub fn target_snapshots(&self) -> Vec<TargetSnapshot> {
        let snapshot = self.0.snapshot.load();
        let entries = snapshot.catalog.entries().iter();
        entries
            .flat_map(|entry| entry.targets.iter().map(|target| TargetSnapshot::of(entry, target)))
            .collect()
    }

    /// Notes that the process ends after its calls.
    pub(in crate::edge) fn note_draining(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the process ends after its calls.
    pub(in crate::edge) fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Returns the gateway's metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        self.0.metrics.lost(self.0.access.dropped(), observe::log_dropped());
        self.0.metrics.content_lost(self.0.content.dropped());
        let (snapshot, now) = (self.0.snapshot.load(), Instant::now());
        let targets = snapshot.catalog.entries().iter().flat_map(|entry| {
            entry.targets.iter().map(move |target| {
                let state = match target.health.view(now).0.state {
                    Circuit::Closed => TargetState::Closed,
                    Circuit::BackingOff => TargetState::BackingOff,
                    Circuit::Open => TargetState::Open,
                    Circuit::HalfOpen => TargetState::HalfOpen,
                    Circuit::Rested => TargetState::Rested,
                };
                let is_available = !matches!(target.health.worst(now), Condition::Open(_));
                (entry.id.as_str(), &*target.provider.name, state, is_available)
            })
        });
        self.0.metrics.targets(targets);
        if snapshot.metrics_settings.counts_tenants() {
            self.0.metrics.tenants(&self.0.key_table.keys(), snapshot.metrics_settings);
        }
        self.0.metrics.credentials(snapshot.catalog.credential_states(now).into_iter());
        let (load, connections) = (self.0.load.total(), self.0.connections.total());
        self.0.metrics.load(load.calls, load.bytes, connections);
        self.0.metrics.ledger.set_waiting(self.0.quotas.ledger.waiting());
        self.0.metrics.ledger.open_holds.set(self.0.quotas.ledger.open_holds());
        self.0.metrics.ledger.failing.set(i64::from(self.0.quotas.ledger.is_failing()));
        self.0.metrics.ledger.set_violations(meter::violations());
        &self.0.metrics
    }

    /// Passes the gateway's parts to the console.
    pub(in crate::edge) fn show<T>(&self, look: impl FnOnce(&Sources<'_>) -> T) -> T {
        let snapshot = self.0.snapshot.load();
        let config = self.0.config.load();
        look(&Sources {
            config: &config,
            catalog: &snapshot.catalog,
            key_table: &self.0.key_table,
            limiter: &self.0.quotas.limiter,
            load: &self.0.load,
            most_calls: snapshot.limits.calls,
            connections: self.0.connections.total(),
            ledger: &self.0.quotas.ledger,
            billing: snapshot.billing.counts_cost(),
            access_dropped: self.0.access.dropped(),
        })
    }

    /// Returns the operators' credentials of the configuration file.
    pub(in crate::edge) fn operators(&self) -> Arc<[OperatorToken]> {
        Arc::clone(&self.0.snapshot.load().operators)
    }

    /// Returns the rate limits of new keys.
    pub(in crate::edge) fn key_defaults(&self) -> RateLimits {
        self.0.snapshot.load().key_defaults
    }

    /// Passes a sample of the metrics to the console.
    pub(in crate::edge) fn sample(&self, console: &Console) {
        console.sample(self.0.metrics.snapshot(), self.0.load.total().calls);
    }

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

    /// Notes whether the last delivery to a webhook has succeeded.
    pub(in crate::edge) fn note_delivery(&self, webhook: &str, is_delivered: bool) {
        let failing = &mut self.0.facts.lock().failing_webhooks;
        match is_delivered {
            true => drop(failing.remove(webhook)),
            false => drop(failing.insert(webhook.to_owned())),
        }
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
