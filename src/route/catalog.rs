//! The models that can be called, under the ids `vendor/model`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::RandomState;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::auth::{Aliases, Key};
use crate::canon::{Caps, CapsSettings};
use crate::failure::{Failure, Kind, Result};
use crate::located::Located;
use crate::meter::{Prices, TierSettings};
use crate::protocol::{ProtocolId, Service};
use crate::provider::Provider;

use super::credentials::{CredentialState, Credentials};
use super::name::is_model_name;
use super::near::NearMatches;
use super::target_health::TargetHealth;

/// One model in the configuration file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["id", "targets"]))]
pub struct ModelSettings {
    /// The model's id: `vendor/model`, or `vendor/*` for all models of a provider under their own names.
    pub id: Located<String>,
    /// A human-readable name. Default: the id.
    pub name: Option<String>,
    /// The date of publication, `YYYY-MM-DD`. Default: unknown.
    pub created: Option<Located<String>>,
    /// Whether it is offered. Default: `active`.
    #[serde(default)]
    pub status: ModelStatus,
    /// The size of the context window, in tokens.
    pub context_window: Option<u64>,
    /// The longest output, in tokens.
    pub max_output: Option<u64>,
    /// Its capabilities, where they are not known by its name.
    #[serde(default)]
    pub caps: CapsSettings,
    /// Whether a request is refused rather than carried with a loss.
    #[serde(default)]
    pub strict: bool,
    /// Its prices, in tiers by the size of the prompt. Default: nothing.
    pub prices: Option<Vec<TierSettings>>,
    /// The provider's services that clients may ask for although they have no price. The operator pays for their
    /// use. Default: none, if the model has prices.
    #[serde(default)]
    pub unmetered: Vec<Service>,
    /// The targets that answer.
    #[serde(default)]
    pub targets: Vec<TargetSettings>,
}

/// A target of a model: a provider that serves it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetSettings {
    /// A name under `providers`.
    pub provider: Located<String>,
    /// The provider's own name for the model. Default: the id without its vendor.
    pub model: Option<String>,
    /// The protocols in which the provider serves this model. Default: all that it speaks.
    pub protocols: Option<Vec<ProtocolId>>,
    /// The target's share of the calls among targets of the same priority. Default: 1.
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
    /// The model is not listed, and a call to it is answered with 404.
    Hidden,
    /// The model is listed, and a call to it is answered with 503.
    Down,
}

impl ModelStatus {
    /// Returns the name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Hidden => "hidden",
            Self::Down => "down",
        }
    }
}

/// A model that can be called.
#[derive(Clone, Debug)]
pub struct ModelEntry {
    /// The id: `vendor/model`, or `vendor/*` for a wildcard.
    pub id: String,
    /// A human-readable name.
    pub name: String,
    /// The time of publication in seconds since the epoch; 0 if it is unknown.
    pub created: i64,
    /// Whether it is offered.
    pub status: ModelStatus,
    /// The size of the context window, in tokens.
    pub context_window: Option<u64>,
    /// The longest output, in tokens.
    pub max_output: Option<u64>,
    /// Its capabilities, where they are not known by its name.
    pub caps: CapsSettings,
    /// Whether a request is refused rather than carried with a loss.
    pub strict: bool,
    /// The provider's services that clients may ask for although they have no price.
    pub unmetered: Vec<Service>,
    /// The targets that answer.
    pub targets: Vec<ModelTarget>,
}

/// A target of a model: a provider that serves it.
#[derive(Clone, Debug)]
pub struct ModelTarget {
    /// The provider.
    pub provider: Arc<Provider>,
    /// The provider's own name for the model; absent in wildcards, where it is taken from the id of the call.
    pub model: Option<String>,
    /// The protocols in which the provider serves this model, the preferred one first.
    pub protocols: Vec<ProtocolId>,
    /// The target's share of the calls among targets of the same priority.
    pub weight: u32,
    /// The target's priority; targets with lower numbers are tried first.
    pub priority: u32,
    /// The prices of calls; absent: nothing.
    pub prices: Option<Arc<Prices>>,
    /// Its health.
    pub health: Arc<TargetHealth>,
    /// The states of the provider's credentials; absent if it has only one.
    pub credentials: Option<Arc<Credentials>>,
}

impl ModelTarget {
    /// Whether it can be called in this protocol.
    #[must_use]
    pub fn speaks(&self, protocol: ProtocolId) -> bool {
        self.protocols.contains(&protocol)
    }
}

/// All models, and the aliases that apply to every key.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    entries: Vec<Arc<ModelEntry>>,
    by_id: HashMap<String, Arc<ModelEntry>, RandomState>,
    /// The wildcards by their prefixes, the longest prefix first.
    wildcards: Vec<(String, Arc<ModelEntry>)>,
    /// The prices by provider, and by the provider's own name for the model.
    prices: HashMap<Arc<str>, HashMap<String, Arc<Prices>, RandomState>, RandomState>,
    aliases: Aliases,
}

/// The result of a look-up: the entry, and the id of the call, which a wildcard entry does not contain.
#[derive(Clone, Debug)]
pub struct ResolvedModel {
    /// The entry.
    pub entry: Arc<ModelEntry>,
    /// The id of the model that is called, after aliases were resolved.
    pub id: Arc<str>,
}

impl Catalog {
    /// Makes a catalog of these models, in this order. Of several with the same id, the first one is used.
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

    /// Returns the same catalog with the targets' health taken over from an earlier one.
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

    /// Finds the model that a key's owner means by `name`. The key's own aliases are resolved first, then the
    /// aliases of all keys, then the name is taken as an id.
    ///
    /// # Errors
    /// Returns 404 if the name is malformed, or the model is unknown, hidden or not allowed for this key; returns
    /// 503 if the model is switched off.
    pub fn find(&self, name: &str, key: &Key) -> Result<ResolvedModel> {
        let found = self.resolve(name, key).ok_or_else(|| self.not_found(name, key))?;
        if found.entry.status == ModelStatus::Down {
            let failure = Failure::new(Kind::Unavailable, "The model is switched off at the moment.");
            return Err(failure.with_retry_after(DOWN_RETRY_AFTER));
        }
        Ok(found)
    }

    /// Returns the model that a key's owner means by `name`, even if it is switched off; `None` if the name is
    /// malformed, or the model is unknown, hidden or not allowed for this key.
    pub(super) fn resolve(&self, name: &str, key: &Key) -> Option<ResolvedModel> {
        if !is_model_name(name) {
            return None;
        }
        let resolved = key.rights.aliases.resolve(name).or_else(|| self.aliases.resolve(name));
        let id = resolved.as_deref().unwrap_or(name);
        // An alias that carries the rest of a name over may make it longer.
        let entry = self.lookup(id).filter(|_| is_model_name(id) && key.allows(id))?;
        let is_offered = entry.status != ModelStatus::Hidden;
        is_offered.then(|| ResolvedModel { entry: Arc::clone(entry), id: id.into() })
    }

    /// Makes the refusal of a name that means no model, with the names of models that the key may call and that resemble
    /// it.
    fn not_found(&self, name: &str, key: &Key) -> Failure {
        let entries = self.entries.iter().filter(|entry| entry.status == ModelStatus::Active);
        let ids = entries.map(|entry| entry.id.as_str()).filter(|id| !id.ends_with('*') && key.allows(id));
        let aliases = key.rights.aliases.iter().chain(self.aliases.iter()).map(|(alias, _)| alias);
        let leads = |alias: &&str| {
            let found = self.resolve(alias, key);
            found.is_some_and(|found| found.entry.status == ModelStatus::Active)
        };
        let aliases = aliases.filter(|alias| !alias.ends_with('*')).filter(leads);
        let near = match is_model_name(name) {
            true => NearMatches::of(name, ids.chain(aliases)),
            false => Vec::new(),
        };
        Failure::unknown_model(name, &near)
    }

    /// Whether there is a model with this id, alone or by a wildcard.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.lookup(id).is_some()
    }

    /// Whether there may be a model whose id begins with `prefix`.
    #[must_use]
    pub fn has_beginning_with(&self, prefix: &str) -> bool {
        let by_wildcard = |(wildcard, _): &(String, _)| prefix.starts_with(wildcard.as_str());
        self.entries.iter().any(|entry| entry.id.starts_with(prefix))
            || self.wildcards.iter().any(by_wildcard)
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

    /// Returns the prices of the model that its provider calls `model`, if any are configured. Of several, the
    /// first ones are used.
    #[must_use]
    pub fn prices_of(&self, provider: &str, model: &str) -> Option<&Arc<Prices>> {
        self.prices.get(provider)?.get(model)
    }

    /// Returns all entries, in the order of the configuration.
    #[must_use]
    pub fn entries(&self) -> &[Arc<ModelEntry>] {
        &self.entries
    }

    /// Ends the rests of all credentials.
    pub fn wake_credentials(&self) {
        self.credentials().into_values().for_each(Credentials::wake);
    }

    /// Returns the credentials of providers that have several, by provider.
    fn credentials(&self) -> BTreeMap<&str, &Credentials> {
        let targets = self.entries.iter().flat_map(|entry| &entry.targets);
        targets.filter_map(|target| Some((&*target.provider.name, target.credentials.as_deref()?))).collect()
    }

    /// Returns each possible state of the credentials of providers that have several, by provider, name and state, with
    /// whether it is the present one.
    #[must_use]
    pub fn credential_states(&self, now: Instant) -> Vec<([&str; 3], bool)> {
        let states = self.credentials().into_iter().flat_map(|(provider, credentials)| {
            credentials.states(now).flat_map(move |(credential, state)| {
                let series =
                    |other: CredentialState| ([provider, &*credential.name, other.as_str()], other == state);
                CredentialState::ALL.map(series)
            })
        });
        states.collect()
    }

    /// Returns the aliases that apply to every key.
    #[must_use]
    pub fn aliases(&self) -> &Aliases {
        &self.aliases
    }
}

impl ResolvedModel {
    /// Returns the capabilities of the model at a target that is called in a protocol.
    #[must_use]
    pub fn caps(&self, target: &ModelTarget, protocol: ProtocolId) -> Caps {
        let caps = Caps::of(protocol, self.upstream_model(target), &target.provider.profile);
        caps.with(&self.entry.caps, self.entry.max_output)
    }

    /// Whether several accounts at providers may answer: those of several providers, or of several credentials.
    #[must_use]
    pub fn is_answered_by_several(&self) -> bool {
        let targets = &self.entry.targets;
        let Some((first, rest)) = targets.split_first() else { return false };
        rest.iter().any(|target| target.provider.name != first.provider.name)
            || targets.iter().any(|target| target.credentials.is_some())
    }

    /// Returns the name under which `target` knows the model.
    #[must_use]
    pub fn upstream_model<'a>(&'a self, target: &'a ModelTarget) -> &'a str {
        let prefix = self.entry.id.strip_suffix('*').unwrap_or_default();
        target.model.as_deref().or_else(|| self.id.strip_prefix(prefix)).unwrap_or(&self.id)
    }
}

/// The `retry-after` of a model that is switched off, in seconds. A chosen value: clients of such a model do not
/// cause a storm of retries, and still notice soon that it is back.
const DOWN_RETRY_AFTER: u64 = 30;
