//! The running gateway as the admin API sees it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::admin::api::GatewayView;
use crate::admin::model::{Condition, ConditionStatus, Instance, Model, ModelTarget, Moment, Status};
use crate::auth::{OperatorToken, RateLimits};
use crate::config::Config;
use crate::edge::gateway::Gateway;
use crate::observe::AdminAuthFailure;
use crate::route::{self, Catalog};

/// A gateway and the facts of its process.
#[derive(Debug)]
pub(in crate::edge) struct RunningGateway {
    gateway: Gateway,
    data: PathBuf,
    config: Option<PathBuf>,
    started: Instant,
    started_at: Moment,
    /// Whether each condition held when it was last asked for, and since when.
    transitions: Mutex<HashMap<&'static str, (bool, Moment)>>,
}

impl RunningGateway {
    pub(in crate::edge) fn new(gateway: Gateway, config: &Config, file: Option<&Path>) -> Self {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self {
            gateway,
            data: absolute(&config.data),
            config: file.map(absolute),
            started: Instant::now(),
            started_at: Moment::now(),
            transitions: Mutex::default(),
        }
    }

    /// Returns the data folder.
    pub(in crate::edge) fn data(&self) -> &Path {
        &self.data
    }

    fn condition(&self, kind: &'static str, holds: bool, reason: &str, message: String) -> Condition {
        let mut transitions = self.transitions.lock();
        let (held, since) = transitions.entry(kind).or_insert((holds, self.started_at));
        if *held != holds {
            (*held, *since) = (holds, Moment::now());
        }
        Condition {
            kind: kind.to_owned(),
            status: if holds { ConditionStatus::True } else { ConditionStatus::False },
            reason: reason.to_owned(),
            message,
            last_transition_time: *since,
        }
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

    fn note_auth_failure(&self, authorization: Option<&str>, is_blocked: bool) {
        let reason = if is_blocked { AdminAuthFailure::Blocked } else { AdminAuthFailure::of(authorization) };
        self.gateway.note_auth_failure(reason);
    }

    fn note_request(&self, operation: &'static str, status: u16) {
        self.gateway.note_admin_request(operation, status);
    }

    fn status(&self) -> Status {
        let failing = self.gateway.show(|sources| sources.ledger.is_failing());
        let unavailable: Vec<_> = self.models().into_iter().filter(|model| !is_available(model)).collect();
        let named = unavailable.iter().map(|model| model.id.as_str()).take(MAX_NAMED).collect::<Vec<_>>();
        let targets = match unavailable.is_empty() {
            true => "each model has an available target".to_owned(),
            false => format!("no available target: {}", named.join(", ")),
        };
        let store =
            if failing { "the store or the journal cannot be written" } else { "the store can be written" };
        let conditions = vec![
            self.condition("Ready", true, "Serving", "the gateway answers".to_owned()),
            self.condition(
                "StoreWritable",
                !failing,
                if failing { "Failing" } else { "Written" },
                store.to_owned(),
            ),
            self.condition(
                "TargetsAvailable",
                unavailable.is_empty(),
                if unavailable.is_empty() { "Available" } else { "NoTarget" },
                targets,
            ),
        ];
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Status { version, uptime_seconds: self.started.elapsed().as_secs(), conditions }
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
            let state = match target.health.worst(now) {
                route::Condition::Ready => "closed",
                route::Condition::BackingOff => "backing_off",
                route::Condition::Open(_) => "open",
            };
            let provider = target.provider.name.to_string();
            ModelTarget { id: format!("{}@{provider}", entry.id), provider, state: state.to_owned() }
        });
        Model { object: "model".to_owned(), id: entry.id.clone(), targets: targets.collect() }
    });
    let mut models: Vec<_> = models.collect();
    models.sort_by(|a, b| a.id.cmp(&b.id));
    models
}

fn is_available(model: &Model) -> bool {
    model.targets.iter().any(|target| target.state != "open")
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

/// The most models that a condition names.
const MAX_NAMED: usize = 10;
