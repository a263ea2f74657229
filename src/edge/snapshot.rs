//! What a configuration amounts to at run time. It is replaced as a whole, never changed.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{Billing, Config, Limits};
use crate::provider::Provider;
use crate::route::Catalog;

use super::ending::Ending;
use super::failover::Budget;
use super::upstream::Upstream;
use super::watch::Drains;

/// One configuration in force.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) catalog: Catalog,
    pub(super) limits: Limits,
    pub(super) billing: Billing,
    pub(super) budget: Arc<Budget>,
    pub(super) drains: Arc<Drains>,
    pub(super) ending: Arc<Ending>,
    upstreams: HashMap<Arc<str>, Arc<Upstream>>,
}

impl Snapshot {
    /// What a configuration amounts to at first or, with the one that was in force before, after it.
    pub(super) fn new(config: &Config, earlier: Option<&Self>) -> Self {
        let catalog = &config.catalog;
        let upstream = |provider: &Arc<Provider>| {
            let earlier = earlier.and_then(|earlier| earlier.upstream(&provider.name));
            Arc::new(Upstream::new(Arc::clone(provider), &config.timeouts, earlier.map(|way| &**way)))
        };
        Self {
            catalog: earlier.map_or_else(|| catalog.clone(), |earlier| catalog.continuing(&earlier.catalog)),
            limits: config.limits,
            billing: config.billing,
            budget: earlier.map(|earlier| Arc::clone(&earlier.budget)).unwrap_or_default(),
            drains: earlier.map(|earlier| Arc::clone(&earlier.drains)).unwrap_or_default(),
            ending: earlier.map(|earlier| Arc::clone(&earlier.ending)).unwrap_or_default(),
            upstreams: config.providers.iter().map(|p| (Arc::clone(&p.name), upstream(p))).collect(),
        }
    }

    /// The ways to all providers.
    pub(super) fn upstreams(&self) -> impl Iterator<Item = &Upstream> {
        self.upstreams.values().map(|way| &**way)
    }

    /// The way to a provider.
    pub(super) fn upstream(&self, provider: &str) -> Option<&Arc<Upstream>> {
        self.upstreams.get(provider)
    }
}
