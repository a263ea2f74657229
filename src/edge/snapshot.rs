//! What a configuration amounts to at run time. It is replaced as a whole, never changed.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{Billing, Config, Limits};
use crate::route::Catalog;

use super::upstream::Upstream;

/// One configuration in force.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) catalog: Catalog,
    pub(super) limits: Limits,
    pub(super) billing: Billing,
    upstreams: HashMap<Arc<str>, Arc<Upstream>>,
}

impl Snapshot {
    pub(super) fn new(config: &Config) -> Self {
        let upstream = |provider| Arc::new(Upstream::new(Arc::clone(provider), config.timeouts));
        Self {
            catalog: config.catalog.clone(),
            limits: config.limits,
            billing: config.billing,
            upstreams: config.providers.iter().map(|p| (Arc::clone(&p.name), upstream(p))).collect(),
        }
    }

    /// The way to a provider.
    pub(super) fn upstream(&self, provider: &str) -> Option<&Arc<Upstream>> {
        self.upstreams.get(provider)
    }
}
