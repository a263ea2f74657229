//! The run-time form of a configuration. It is replaced as a whole, and never changed.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use foldhash::fast::RandomState;

use crate::auth::{AddressList, OperatorToken, RateLimits};
use crate::config::{BillingMode, Config, Cors, Limits, RetrySettings, TagRules};
use crate::edge::call::call_guard::Drains;
use crate::edge::call::retry_budget::RetryBudget;
use crate::edge::call::shutdown::Shutdown;
use crate::edge::call::tenants::Tenants;
use crate::edge::upstream::Upstream;
use crate::edge::upstream::guard_service::GuardService;
use crate::meter::UsageRetention;
use crate::observe::{ContentRules, EndUserDetail, Metrics, MetricsSettings, TargetMetrics};
use crate::provider::Provider;
use crate::route::{Catalog, ModelEntry};
use crate::translate::OwnKeys;

/// A configuration in effect.
#[derive(Debug)]
pub(in crate::edge) struct Snapshot {
    pub(in crate::edge) catalog: Catalog,
    pub(in crate::edge) limits: Limits,
    pub(in crate::edge) cors: Cors,
    pub(in crate::edge) trusted_proxies: AddressList,
    pub(in crate::edge) billing: BillingMode,
    /// The rules for calls that have failed at a target.
    pub(in crate::edge) retry: RetrySettings,
    pub(in crate::edge) budget: Arc<RetryBudget>,
    pub(in crate::edge) drains: Arc<Drains>,
    pub(in crate::edge) shutdown: Arc<Shutdown>,
    /// The credentials and secret headers of all providers.
    pub(in crate::edge) keys: Arc<OwnKeys>,
    pub(in crate::edge) tenants: Arc<Tenants>,
    /// The operators' credentials of the configuration file.
    pub(in crate::edge) operators: Arc<[OperatorToken]>,
    /// The time for which usage is kept.
    pub(in crate::edge) retention: UsageRetention,
    /// The rules for tags of calls.
    pub(in crate::edge) tags: TagRules,
    /// The form of end users in access lines.
    pub(in crate::edge) user: EndUserDetail,
    /// The rate limits of new keys.
    pub(in crate::edge) key_defaults: RateLimits,
    /// The days for which the audit log is kept.
    pub(in crate::edge) audit_days: u32,
    /// The rules of the content log; absent: there is none.
    pub(in crate::edge) content_log: Option<Arc<ContentRules>>,
    /// The guards, in the order in which they are asked.
    pub(in crate::edge) guards: Vec<GuardService>,
    upstreams: HashMap<Arc<str>, Arc<Upstream>, RandomState>,
    /// The metrics in which calls are counted; absent if they are off.
    pub(in crate::edge) metrics: Option<Arc<Metrics>>,
    pub(in crate::edge) metrics_settings: MetricsSettings,
    /// The metrics of each entry's targets, in their order. They are looked up when a target is first called.
    targets: HashMap<String, Vec<OnceLock<Arc<TargetMetrics>>>, RandomState>,
}

impl Snapshot {
    /// Makes the run-time form of a configuration. It continues the state of the `earlier` one, if there is one.
    pub(in crate::edge) fn new(
        config: &Config,
        metrics: &Arc<Metrics>,
        tenants: &Arc<Tenants>,
        earlier: Option<&Self>,
    ) -> Self {
        let catalog = &config.catalog;
        let upstream = |provider: &Arc<Provider>| {
            let earlier = earlier.and_then(|earlier| earlier.upstream(&provider.name));
            Arc::new(Upstream::new(Arc::clone(provider), &config.timeouts, earlier.map(|way| &**way)))
        };
        let secrets = config.providers.iter().flat_map(|provider| provider.secrets());
        let unknown = |entry: &ModelEntry| entry.targets.iter().map(|_| OnceLock::new()).collect();
        Self {
            catalog: earlier.map_or_else(|| catalog.clone(), |earlier| catalog.continuing(&earlier.catalog)),
            limits: config.limits,
            cors: config.cors.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
            billing: config.billing,
            retry: config.retry.clone(),
            budget: earlier.map(|earlier| Arc::clone(&earlier.budget)).unwrap_or_default(),
            drains: earlier.map(|earlier| Arc::clone(&earlier.drains)).unwrap_or_default(),
            shutdown: earlier.map(|earlier| Arc::clone(&earlier.shutdown)).unwrap_or_default(),
            keys: Arc::new(secrets.collect()),
            tenants: Arc::clone(tenants),
            operators: config.admin.iter().flat_map(|admin| admin.tokens.iter().cloned()).collect(),
            retention: config.usage,
            tags: config.tags.clone(),
            user: config.access_log.user,
            key_defaults: config.key_defaults,
            audit_days: config.audit.keep.0,
            content_log: config.content_log.clone(),
            guards: config.guards.iter().map(|guard| GuardService::new(guard, &config.timeouts)).collect(),
            upstreams: config.providers.iter().map(|p| (Arc::clone(&p.name), upstream(p))).collect(),
            metrics: config.metrics.is_on.then(|| Arc::clone(metrics)),
            metrics_settings: config.metrics,
            targets: catalog.entries().iter().map(|entry| (entry.id.clone(), unknown(entry))).collect(),
        }
    }

    /// Returns the connections' data of all providers.
    pub(in crate::edge) fn upstreams(&self) -> impl Iterator<Item = &Upstream> {
        self.upstreams.values().map(|way| &**way)
    }

    /// Returns the metrics of one of an entry's targets, unless metrics are off.
    pub(in crate::edge) fn target_metrics(
        &self,
        entry: &ModelEntry,
        target: usize,
    ) -> Option<Arc<TargetMetrics>> {
        let metrics = self.metrics.as_ref()?;
        let provider = entry.targets.get(target).map_or("", |target| &target.provider.name);
        let find = || metrics.target(&entry.id, provider);
        let known = self.targets.get(&entry.id).and_then(|targets| targets.get(target));
        Some(known.map_or_else(find, |known| Arc::clone(known.get_or_init(find))))
    }

    /// Returns the connections' data of a provider.
    pub(in crate::edge) fn upstream(&self, provider: &str) -> Option<&Arc<Upstream>> {
        self.upstreams.get(provider)
    }
}
