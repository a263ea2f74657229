//! The models that can be called, under the ids `vendor/model`.

use std::collections::HashMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::auth::{Aliases, Key};
use crate::canon::CapsSettings;
use crate::failure::{Failure, Kind, Result};
use crate::located::Located;
use crate::meter::{Prices, TierSettings};
use crate::protocol::{ProtocolId, Service};
use crate::provider::Provider;

use super::name::is_model_name;
use super::target_health::TargetHealth;

/// One model in the configuration file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["id", "targets"]))]
pub struct ModelSettings {
    /// The id, `vendor/model`, or `vendor/*` for all models of a provider under their own names.
    pub id: Located<String>,
    /// A name for people. Default: the id.
    pub name: Option<String>,
    /// When the model was published, `YYYY-MM-DD`.
    pub created: Option<Located<String>>,
    /// Whether it is offered. Default: `active`.
    #[serde(default)]
    pub status: ModelStatus,
    /// Tokens that a conversation may have.
    pub context_window: Option<u64>,
    /// Tokens that an answer may have.
    pub max_output: Option<u64>,
    /// Its capabilities, where they are not known by its name.
    #[serde(default)]
    pub caps: CapsSettings,
    /// Whether a request is refused rather than carried with a loss.
    #[serde(default)]
    pub strict: bool,
    /// Its prices, in tiers by the size of the prompt. Default: nothing.
    pub prices: Option<Vec<TierSettings>>,
    /// Services of the provider that clients may ask for although they have no price: what they cost, the operator
    /// pays. Default: none of them, if the model has prices.
    #[serde(default)]
    pub unmetered: Vec<Service>,
    /// The targets that answer.
    #[serde(default)]
    pub targets: Vec<TargetSettings>,
}

/// One way to reach a model.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetSettings {
    /// A name under `providers`.
    pub provider: Located<String>,
    /// The provider's own name of the model. Default: the id without its vendor.
    pub model: Option<String>,
    /// The protocols in which the provider serves this model. Default: all that it speaks.
    pub protocols: Option<Vec<ProtocolId>>,
    /// Share of the calls within its priority. Default: 1.
    pub weight: Option<u32>,
    /// Targets with a higher number are used only when those with lower ones cannot be. Default: 0.
    #[serde(default)]
    pub priority: u32,
    /// The prices of the model where this target answers. Default: the model's prices.
    pub prices: Option<Vec<TierSettings>>,
}

/// Whether a model is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ModelStatus {
    /// Yes.
    #[default]
    Active,
    /// It exists, but nobody is told and nobody may call it.
    Hidden,
    /// It is offered, but switched off for now.
    Down,
}

/// A model that can be called.
#[derive(Clone, Debug)]
pub struct ModelEntry {
    /// The id, `vendor/model`; of a wildcard, `vendor/*`.
    pub id: String,
    /// A name for people.
    pub name: String,
    /// Seconds since the epoch; 0 if unknown.
    pub created: i64,
    /// Whether it is offered.
    pub status: ModelStatus,
    /// Tokens that a conversation may have.
    pub context_window: Option<u64>,
    /// Tokens that an answer may have.
    pub max_output: Option<u64>,
    /// Its capabilities, where they are not known by its name.
    pub caps: CapsSettings,
    /// Whether a request is refused rather than carried with a loss.
    pub strict: bool,
    /// Services that may be asked for although there is no price for them.
    pub unmetered: Vec<Service>,
    /// The targets that answer.
    pub targets: Vec<ModelTarget>,
}

/// One way to reach a model.
#[derive(Clone, Debug)]
pub struct ModelTarget {
    /// The provider.
    pub provider: Arc<Provider>,
    /// The provider's own name of the model; absent in wildcards, where it is what the client wrote.
    pub model: Option<String>,
    /// The protocols in which it is served, the preferred one first.
    pub protocols: Vec<ProtocolId>,
    /// Share of the calls within its priority.
    pub weight: u32,
    /// Lower numbers first.
    pub priority: u32,
    /// The prices of calls; absent: nothing.
    pub prices: Option<Arc<Prices>>,
    /// Its health.
    pub health: Arc<TargetHealth>,
}

impl ModelTarget {
    /// Whether it can be called in this protocol.
    #[must_use]
    pub fn speaks(&self, protocol: ProtocolId) -> bool {
        self.protocols.contains(&protocol)
    }
}

/// All models, and the aliases that hold for every key.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    entries: Vec<Arc<ModelEntry>>,
    by_id: HashMap<String, Arc<ModelEntry>>,
    /// Prefixes, the longest first.
    wildcards: Vec<(String, Arc<ModelEntry>)>,
    /// By provider, and by its own name of the model.
    prices: HashMap<Arc<str>, HashMap<String, Arc<Prices>>>,
    aliases: Aliases,
}

/// A model as it was found: the entry, and the id with which a wildcard was matched.
#[derive(Clone, Debug)]
pub struct ResolvedModel {
    /// The entry.
    pub entry: Arc<ModelEntry>,
    /// The id that serves the call.
    pub id: String,
}

impl Catalog {
    /// A catalog of these models, in this order. Of two with the same id, the first counts.
    #[must_use]
    pub fn new(entries: Vec<ModelEntry>, aliases: Aliases) -> Self {
        let mut catalog = Self { aliases, ..Self::default() };
        for entry in entries.into_iter().map(Arc::new) {
            catalog.note_prices(&entry);
            match entry.id.strip_suffix('*') {
                Some(prefix) => catalog.wildcards.push((prefix.to_owned(), Arc::clone(&entry))),
                None => {
                    catalog.by_id.entry(entry.id.clone()).or_insert_with(|| Arc::clone(&entry));
                }
            }
            catalog.entries.push(entry);
        }
        catalog.wildcards.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        catalog
    }

    /// The same catalog, whose targets are as well as they were in an earlier one.
    #[must_use]
    pub fn continuing(&self, earlier: &Self) -> Self {
        let entries = self.entries.iter().map(|entry| {
            let known = earlier.entries.iter().find(|other| other.id == entry.id);
            let mut entry = ModelEntry::clone(entry);
            for target in &mut entry.targets {
                let same = |other: &&ModelTarget| {
                    other.provider.name == target.provider.name
                        && other.provider.breaker_failures == target.provider.breaker_failures
                        && other.model == target.model
                };
                if let Some(other) = known.and_then(|known| known.targets.iter().find(same)) {
                    target.health = Arc::clone(&other.health);
                }
            }
            entry
        });
        Self::new(entries.collect(), self.aliases.clone())
    }

    /// The model that a key's owner means by `name`: aliases of the key, then those of all, then ids.
    ///
    /// # Errors
    /// 404 for a model that is unknown, hidden or not allowed, and for what can be no model's name; 503 for one that
    /// is switched off.
    pub fn find(&self, name: &str, key: &Key) -> Result<ResolvedModel> {
        if !is_model_name(name) {
            return Err(Failure::model_not_found(name));
        }
        let resolved = key.rights.aliases.resolve(name).or_else(|| self.aliases.resolve(name));
        let id = resolved.as_deref().unwrap_or(name);
        // An alias that carries the rest of a name over may make it longer.
        let entry = self.lookup(id).filter(|_| is_model_name(id) && key.allows(id));
        let entry = entry.ok_or_else(|| Failure::model_not_found(name))?;
        match entry.status {
            ModelStatus::Active => Ok(ResolvedModel { entry: Arc::clone(entry), id: id.to_owned() }),
            ModelStatus::Hidden => Err(Failure::model_not_found(name)),
            ModelStatus::Down => {
                Err(Failure::new(Kind::Unavailable, "The model is switched off at the moment.")
                    .with_retry_after(DOWN_RETRY_AFTER))
            }
        }
    }

    fn lookup(&self, id: &str) -> Option<&Arc<ModelEntry>> {
        let wildcard = || {
            let longer = |prefix: &String| id.len() > prefix.len() && id.starts_with(prefix.as_str());
            self.wildcards.iter().find(|(prefix, _)| longer(prefix)).map(|(_, entry)| entry)
        };
        self.by_id.get(id).or_else(wildcard)
    }

    fn note_prices(&mut self, entry: &ModelEntry) {
        for ModelTarget { provider, model, prices, .. } in &entry.targets {
            if let (Some(model), Some(prices)) = (model, prices) {
                let known = self.prices.entry(Arc::clone(&provider.name)).or_default();
                known.entry(model.clone()).or_insert_with(|| Arc::clone(prices));
            }
        }
    }

    /// The prices of the model that its provider calls `model`, if it is configured with any. Of several, the first
    /// counts.
    #[must_use]
    pub fn prices_of(&self, provider: &str, model: &str) -> Option<&Arc<Prices>> {
        self.prices.get(provider)?.get(model)
    }

    /// All entries, in the order of the configuration.
    #[must_use]
    pub fn entries(&self) -> &[Arc<ModelEntry>] {
        &self.entries
    }

    /// The aliases that hold for every key.
    #[must_use]
    pub fn aliases(&self) -> &Aliases {
        &self.aliases
    }
}

impl ResolvedModel {
    /// The name under which `target` knows the model.
    #[must_use]
    pub fn upstream_model<'a>(&'a self, target: &'a ModelTarget) -> &'a str {
        let prefix = self.entry.id.strip_suffix('*').unwrap_or_default();
        target.model.as_deref().or_else(|| self.id.strip_prefix(prefix)).unwrap_or(&self.id)
    }
}

/// Seconds: long enough not to be a storm, short enough to notice that the model is back.
const DOWN_RETRY_AFTER: u64 = 30;
