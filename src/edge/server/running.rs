//! The running gateway as the admin API sees it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::admin::api::{GatewayView, KeyCalls};
use crate::admin::model::{Condition, Instance, Model, ModelPrices, ModelTarget, Moment, Status, Target};
use crate::admin::{Code, OperationError, OperationResult};
use crate::auth::{OperatorToken, RateLimits};
use crate::config::{Config, ConfigStatus};
use crate::edge::gateway::Gateway;
use crate::edge::server::conditions::Conditions;
use crate::edge::server::reload_requests::{ReloadOutcome, ReloadRequests};
use crate::edge::server::target_history::TargetHistory;
use crate::observe::{AdminAuthFailure, FailureList};
use crate::route::{Catalog, TargetRest, TargetSnapshot};

/// A gateway and the facts of its process.
#[derive(Debug)]
pub(in crate::edge) struct RunningGateway {
    gateway: Gateway,
    data: PathBuf,
    config: Option<PathBuf>,
    reloads: ReloadRequests,
    started: Instant,
    started_at: Moment,
    conditions: Conditions,
    history: TargetHistory,
}

impl RunningGateway {
    pub(in crate::edge) fn new(
        gateway: Gateway,
        config: &Config,
        file: Option<&Path>,
        reloads: ReloadRequests,
    ) -> Self {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self {
            gateway,
            data: absolute(&config.data),
            config: file.map(absolute),
            reloads,
            started: Instant::now(),
            started_at: Moment::now(),
            conditions: Conditions::default(),
            history: TargetHistory::default(),
        }
    }

    /// Returns the data folder.
    pub(in crate::edge) fn data(&self) -> &Path {
        &self.data
    }

    /// Notes the attempts at targets so far. It is to be called once a minute.
    pub(in crate::edge) fn note_attempts(&self) {
        self.history.add(self.gateway.target_totals());
    }

    /// Returns the conditions, and notes the times at which they have changed.
    pub(in crate::edge) fn conditions(&self) -> Vec<Condition> {
        self.conditions.list(&self.gateway)
    }
}

impl GatewayView for RunningGateway {
    fn instance(&self) -> Instance {
        Instance {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            data: self.data.display().to_string(),
            config: self.config.as_ref().map(|file| file.display().to_string()),
            started_at: self.started_at,
        }
    }

    fn tokens(&self) -> Arc<[OperatorToken]> {
        self.gateway.operators()
    }

    fn key_defaults(&self) -> RateLimits {
        self.gateway.key_defaults()
    }

    fn is_draining(&self) -> bool {
        self.gateway.is_draining()
    }

    fn post_usage(&self) -> OperationResult<()> {
        let unwritten = || OperationError::new(Code::StoreUnavailable, "the store cannot be written now");
        // The caller is a thread that may wait for the disk.
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| unwritten())?;
        runtime.block_on(self.gateway.post_usage()).map_err(|_| unwritten())
    }

    fn targets(&self) -> Vec<Target> {
        let recent = self.history.recent(self.gateway.target_totals());
        let target = |snapshot: TargetSnapshot| {
            let of = (snapshot.model.clone(), snapshot.provider.clone());
            Target::new(snapshot, recent.get(&of).copied().unwrap_or_default())
        };
        self.gateway.target_snapshots().into_iter().map(target).collect()
    }

    fn has_target(&self, target: &str) -> bool {
        self.gateway.target_snapshots().iter().any(|known| known.id == target)
    }

    fn obey(&self, orders: HashMap<String, TargetRest>) {
        self.gateway.obey(orders);
    }

    fn config(&self) -> Arc<ConfigStatus> {
        self.gateway.config_status()
    }

    fn reload(&self) -> OperationResult<(Arc<ConfigStatus>, bool)> {
        if self.config.is_none() {
            let message = "the gateway was started without a configuration file";
            return Err(OperationError::new(Code::Conflict, message));
        }
        let answer = self.reloads.ask();
        let (outcome, status) = answer.ok_or_else(|| {
            OperationError::new(Code::StoreUnavailable, "the gateway is busy; look at its state later")
        })?;
        Ok((status, outcome != ReloadOutcome::Unchanged))
    }

    fn failures(&self) -> FailureList {
        self.gateway.recent_failures()
    }

    fn activity(&self, key: &str) -> KeyCalls {
        let (used, in_flight) =
            self.gateway.show(|sources| (sources.limiter.used(key), sources.load.of_key(key).calls));
        KeyCalls { requests: used.requests, tokens: used.tokens, in_flight: in_flight as u64 }
    }

    fn note_auth_failure(&self, authorization: Option<&str>, is_blocked: bool) {
        let reason = if is_blocked { AdminAuthFailure::Blocked } else { AdminAuthFailure::of(authorization) };
        self.gateway.note_auth_failure(reason);
    }

    fn note_request(&self, operation: &'static str, status: u16) {
        self.gateway.note_admin_request(operation, status);
    }

    fn status(&self) -> Status {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Status { version, uptime_seconds: self.started.elapsed().as_secs(), conditions: self.conditions() }
    }

    fn models(&self) -> Vec<Model> {
        self.gateway.show(|sources| models(sources.catalog))
    }

    fn serves(&self, model: &str) -> bool {
        self.gateway.show(|sources| serves(sources.catalog, model))
    }
}

fn models(catalog: &Catalog) -> Vec<Model> {
    let now = Instant::now();
    let models = catalog.entries().iter().map(|entry| {
        let targets = entry.targets.iter().map(|target| {
            let provider = target.provider.name.to_string();
            ModelTarget {
                id: target.health.id().to_string(),
                provider,
                state: target.health.view(now).0.state,
                prices: target.prices.as_deref().map(ModelPrices::of_config),
            }
        });
        Model {
            object: "model".to_owned(),
            id: entry.id.clone(),
            name: entry.name.clone(),
            status: entry.status.name().to_owned(),
            context_window: entry.context_window,
            max_output: entry.max_output,
            strict: entry.strict,
            targets: targets.collect(),
        }
    });
    let mut models: Vec<_> = models.collect();
    models.sort_by(|a, b| a.id.cmp(&b.id));
    models
}

/// Whether a model, or one that a pattern means, is in the catalog or is an alias.
fn serves(catalog: &Catalog, model: &str) -> bool {
    let fits = |pattern: &str, name: &str| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    };
    let mut ids = catalog.entries().iter().map(|entry| entry.id.as_str());
    let is_model =
        ids.any(|id| fits(model, id.trim_end_matches('*')) || fits(id, model.trim_end_matches('*')));
    is_model || catalog.aliases().iter().any(|(alias, _)| fits(alias, model) || fits(model, alias))
}
