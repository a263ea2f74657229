//! Metrics of accounts and keys: a bounded number of them has series of its own.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{CounterVec, IntCounterVec, IntGaugeVec};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::auth::{CallCounts, CallOutcome, CallTotals, Grant};
use crate::store;

use super::maker::Maker;

/// The settings of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "MetricsForm")]
pub struct MetricsSettings {
    /// Whether calls are counted.
    pub is_on: bool,
    /// The number of accounts that have series of their own: those that have spent most in this month.
    pub accounts: usize,
    /// The keys that have series of their own.
    pub keys: KeySeries,
}

/// The forms in which the settings may be written: whether there are metrics, or a map.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum MetricsForm {
    Switch(MetricsSwitch),
    Map(MetricsMap),
}

/// Whether calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum MetricsSwitch {
    /// Yes.
    On,
    /// No.
    Off,
}

/// The accounts and keys that have metrics of their own.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct MetricsMap {
    /// The number of accounts that have series of their own: those that have spent most in this month. All others
    /// together have one. At most 1,000; 0: none. Default: 100.
    accounts: usize,
    /// The keys that have series of their own. Default: `watched`.
    keys: KeySeries,
}

/// The keys that have series of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeySeries {
    /// Those for which an operator wants it (`watch`), at most 200.
    #[default]
    Watched,
    /// All keys, at most 1,000.
    All,
    /// None.
    Off,
}

/// The metrics of accounts and keys.
#[derive(Debug)]
pub(super) struct TenantMetrics {
    requests: IntCounterVec,
    spent: CounterVec,
    expiries: IntGaugeVec,
    counts: Mutex<TenantCounts>,
}

/// The counts of all keys as they were added to series before.
#[derive(Debug, Default)]
struct TenantCounts {
    /// By the address of the counts.
    keys: HashMap<usize, KeyCounts>,
    /// The labels that have series.
    shown: HashSet<(Arc<str>, Arc<str>)>,
    /// The keys whose expiry is told.
    expiring: HashSet<String>,
    /// The accounts that have spent most, if there are more of them than may have series.
    ranking: BTreeSet<String>,
}

/// The counts of one key.
#[derive(Debug)]
struct KeyCounts {
    counts: Arc<CallCounts>,
    /// The part that was added to a series before.
    seen: CallTotals,
    account: Arc<str>,
    key: Arc<str>,
}

/// The accounts and keys that have series of their own.
struct Shown<'s> {
    accounts: BTreeSet<&'s str>,
    keys: HashSet<&'s str>,
    /// Whether the others have a series.
    has_others: bool,
}

impl MetricsSettings {
    /// Whether calls of accounts and keys are counted.
    #[must_use]
    pub fn counts_tenants(self) -> bool {
        self.is_on && (self.accounts > 0 || self.keys != KeySeries::Off)
    }
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self { is_on: true, accounts: DEFAULT_ACCOUNTS, keys: KeySeries::default() }
    }
}

impl Default for MetricsMap {
    fn default() -> Self {
        Self { accounts: DEFAULT_ACCOUNTS, keys: KeySeries::default() }
    }
}

impl From<MetricsForm> for MetricsSettings {
    fn from(form: MetricsForm) -> Self {
        match form {
            MetricsForm::Switch(switch) => Self { is_on: switch == MetricsSwitch::On, ..Self::default() },
            MetricsForm::Map(MetricsMap { accounts, keys }) => Self { is_on: true, accounts, keys },
        }
    }
}

impl JsonSchema for MetricsSettings {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Metrics".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (switch, map) =
            (generator.subschema_for::<MetricsSwitch>(), generator.subschema_for::<MetricsMap>());
        json_schema!({ "anyOf": [switch, map] })
    }
}

impl TenantMetrics {
    pub(super) fn new(make: &Maker<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            requests: make.counters(
                "crossmodel_key_requests_total",
                "Calls that are over, by account, key and outcome.",
                &["account", "key", "outcome"],
            )?,
            spent: make.float_counters(
                "crossmodel_spend_usd_total",
                "Cost of calls in dollars, by account and key.",
                &["account", "key"],
            )?,
            expiries: make.gauges(
                "crossmodel_key_expires_in_days",
                "Whole days until a key expires.",
                &["key"],
            )?,
            counts: Mutex::default(),
        })
    }

    /// Sets the accounts that have spent most.
    pub(super) fn rank(&self, accounts: impl Iterator<Item = String>) {
        self.counts.lock().ranking = accounts.collect();
    }

    /// Adds what was counted since the last time to the series, and removes the series of accounts and keys that
    /// have none any more.
    pub(super) fn collect(&self, keys: &[Grant], settings: MetricsSettings) {
        let mut counts = self.counts.lock();
        let TenantCounts { keys: known, shown, ranking, expiring } = &mut *counts;
        let series = Shown::new(keys, settings, ranking);
        note_keys(known, keys);
        self.set_expiries(keys.iter().filter(|key| series.keys.contains(key.id.as_str())), expiring);
        let mut wanted = HashSet::new();
        known.retain(|_, key| {
            let labels = series.labels(key);
            // Calls that are still running may add to counts that the table no longer has.
            let is_last = Arc::strong_count(&key.counts) == 1;
            let now = key.counts.totals();
            let more = now.since(std::mem::replace(&mut key.seen, now));
            if let Some(labels) = labels {
                self.add(&labels, more);
                wanted.insert(labels);
            }
            !is_last
        });
        shown.retain(|labels| series.keeps(labels) || wanted.contains(labels) || self.remove(labels));
        shown.extend(wanted);
    }

    /// Sets the days until these keys expire, and removes those of all others.
    fn set_expiries<'k>(&self, keys: impl Iterator<Item = &'k Grant>, shown: &mut HashSet<String>) {
        let now = store::now();
        let mut before = std::mem::take(shown);
        for (key, expires) in keys.filter_map(|key| Some((key, key.expires?))) {
            let days = expires.saturating_sub(now).div_euclid(SECONDS_PER_DAY);
            self.expiries.with_label_values(&[key.id.as_str()]).set(days);
            before.remove(&key.id);
            shown.insert(key.id.clone());
        }
        for key in before {
            let _ = self.expiries.remove_label_values(&[key.as_str()]);
        }
    }

    fn add(&self, (account, key): &(Arc<str>, Arc<str>), more: CallTotals) {
        for (outcome, count) in CallOutcome::ALL.into_iter().zip(more.calls) {
            self.requests.with_label_values(&[&**account, &**key, outcome.as_str()]).inc_by(count);
        }
        let spent = self.spent.with_label_values(&[&**account, &**key]);
        if more.cost > 0 {
            spent.inc_by(dollars(more.cost));
        }
    }

    /// Removes the series of an account and a key. Returns whether they are still there.
    fn remove(&self, (account, key): &(Arc<str>, Arc<str>)) -> bool {
        for outcome in CallOutcome::ALL {
            let _ = self.requests.remove_label_values(&[&**account, &**key, outcome.as_str()]);
        }
        let _ = self.spent.remove_label_values(&[&**account, &**key]);
        false
    }
}

/// Adds the keys that were not known before and have made a call.
fn note_keys(known: &mut HashMap<usize, KeyCounts>, keys: &[Grant]) {
    for key in keys {
        let address = Arc::as_ptr(&key.counts).addr();
        if !known.contains_key(&address) && key.counts.totals() != CallTotals::default() {
            let (account, id) = (key.account.as_str().into(), key.id.as_str().into());
            let seen = CallTotals::default();
            known.insert(address, KeyCounts { counts: Arc::clone(&key.counts), seen, account, key: id });
        }
    }
}

impl<'s> Shown<'s> {
    fn new(keys: &'s [Grant], settings: MetricsSettings, ranking: &'s BTreeSet<String>) -> Self {
        let most = match settings.keys {
            KeySeries::Watched => MAX_WATCHED_KEYS,
            KeySeries::All => MAX_KEYS,
            KeySeries::Off => 0,
        };
        // The oldest keys have series, so that a new one takes none away.
        let own = keys.iter().filter(|key| key.watch || settings.keys == KeySeries::All);
        let own: BTreeMap<_, _> = own.map(|key| ((key.created, key.id.as_str()), ())).collect();
        let all: BTreeSet<_> = keys.iter().map(|key| key.account.as_str()).collect();
        let accounts = match all.len() <= settings.accounts {
            true => all,
            false => all.into_iter().filter(|id| ranking.contains(*id)).take(settings.accounts).collect(),
        };
        Self {
            accounts,
            keys: own.into_keys().take(most).map(|(_, id)| id).collect(),
            has_others: settings.accounts > 0,
        }
    }

    /// Returns the labels of a key's series; `None` if it has none.
    fn labels(&self, of: &KeyCounts) -> Option<(Arc<str>, Arc<str>)> {
        let has_own = self.keys.contains(&*of.key);
        if !has_own && !self.has_others {
            return None;
        }
        let key = if has_own { Arc::clone(&of.key) } else { OTHER.into() };
        let has_account = has_own || self.accounts.contains(&*of.account);
        let account = if has_account { Arc::clone(&of.account) } else { OTHER.into() };
        Some((account, key))
    }

    /// Whether series stay although no key adds to them at the moment.
    fn keeps(&self, (account, key): &(Arc<str>, Arc<str>)) -> bool {
        let is_other = &**key == OTHER && self.has_others;
        is_other && (&**account == OTHER || self.accounts.contains(&**account))
    }
}

/// Converts nano-USD to dollars for a metric, which is a floating-point number.
#[expect(clippy::cast_precision_loss, reason = "a metric shows fifteen digits")]
fn dollars(nano: u64) -> f64 {
    nano as f64 / 1e9
}

const SECONDS_PER_DAY: i64 = 86_400;

/// The accounts that have series unless the settings say otherwise.
const DEFAULT_ACCOUNTS: usize = 100;

/// The most accounts that may have series.
pub const MAX_ACCOUNT_SERIES: usize = 1_000;

/// The most keys that have series because they are watched.
const MAX_WATCHED_KEYS: usize = 200;

/// The most keys that have series.
const MAX_KEYS: usize = 1_000;

/// The label of all accounts, or all keys of an account, that have no series of their own.
const OTHER: &str = "(other)";

#[cfg(test)]
mod tests {
    use prometheus::{Encoder as _, Registry, TextEncoder};

    use super::*;
    use crate::auth::Key;

    struct Tenants {
        registry: Registry,
        metrics: TenantMetrics,
    }

    impl Tenants {
        fn new() -> Self {
            let registry = Registry::new();
            let metrics = TenantMetrics::new(&Maker(&registry)).unwrap();
            Self { registry, metrics }
        }

        /// The series of successful calls and of cost, without the names of the metrics.
        fn collect(&self, keys: &[Grant], settings: MetricsSettings) -> Vec<String> {
            self.metrics.collect(keys, settings);
            let mut text = Vec::new();
            TextEncoder::new().encode(&self.registry.gather(), &mut text).unwrap();
            let text = String::from_utf8(text).unwrap();
            let lines = text.lines().filter(|line| line.contains("\"ok\"") || line.contains("usd_total{"));
            lines.filter_map(|line| line.split_once('_')).map(|(_, series)| series.to_owned()).collect()
        }
    }

    fn key(id: &str, account: &str, watch: bool) -> Grant {
        Arc::new(Key { watch, ..Key::sample(id, account) })
    }

    fn series(account: &str, key: &str, calls: u64, spent: &str) -> [String; 2] {
        let labels = format!("account=\"{account}\",key=\"{key}\"");
        [
            format!("key_requests_total{{{labels},outcome=\"ok\"}} {calls}"),
            format!("spend_usd_total{{{labels}}} {spent}"),
        ]
    }

    fn sorted(series: &[[String; 2]]) -> Vec<String> {
        let requests = series.iter().map(|[requests, _]| requests.clone());
        requests.chain(series.iter().map(|[_, spent]| spent.clone())).collect()
    }

    fn call(key: &Grant) {
        key.counts.add(CallOutcome::Ok, Some(500_000_000));
    }

    #[test]
    fn watched_keys_have_series_and_the_others_one_for_each_account() {
        let (tenants, settings) = (Tenants::new(), MetricsSettings::default());
        let keys =
            [key("a1", "a", true), key("a2", "a", false), key("a3", "a", false), key("b1", "b", false)];
        assert!(tenants.collect(&keys, settings).is_empty(), "a key has none before its first call");
        keys.iter().for_each(call);
        let expected =
            [series("a", "(other)", 2, "1"), series("a", "a1", 1, "0.5"), series("b", "(other)", 1, "0.5")];
        assert_eq!(tenants.collect(&keys, settings), sorted(&expected));
        assert_eq!(tenants.collect(&keys, settings), sorted(&expected), "nothing is counted twice");
    }

    #[test]
    fn no_series_ever_falls_when_keys_change() {
        let (tenants, settings) = (Tenants::new(), MetricsSettings::default());
        let (watched, gone) = (key("a1", "a", true), key("a2", "a", false));
        call(&watched);
        call(&gone);
        let running = Arc::clone(&gone);
        tenants.collect(&[Arc::clone(&watched), gone], settings);
        // A call of a key that was deleted ends later.
        call(&running);
        tenants.collect(std::slice::from_ref(&watched), settings);
        call(&running);
        drop(running);
        let both = [series("a", "(other)", 3, "1.5"), series("a", "a1", 1, "0.5")];
        assert_eq!(tenants.collect(std::slice::from_ref(&watched), settings), sorted(&both));
        // No longer watched, the key adds to the others, beginning with its next call.
        drop(watched);
        let unwatched = key("a1", "a", false);
        call(&unwatched);
        let others = [series("a", "(other)", 4, "2")];
        assert_eq!(tenants.collect(std::slice::from_ref(&unwatched), settings), sorted(&others));
        assert!(tenants.metrics.counts.lock().keys.len() == 1);
    }

    #[test]
    fn the_number_of_series_is_bounded() {
        let tenants = Tenants::new();
        let settings = MetricsSettings { accounts: 2, ..MetricsSettings::default() };
        let keys: Vec<_> = ["a", "b", "c"].map(|account| key(&format!("{account}1"), account, false)).into();
        keys.iter().for_each(call);
        tenants.metrics.rank(["c".to_owned(), "b".to_owned()].into_iter());
        let expected = [
            series("(other)", "(other)", 1, "0.5"),
            series("b", "(other)", 1, "0.5"),
            series("c", "(other)", 1, "0.5"),
        ];
        assert_eq!(tenants.collect(&keys, settings), sorted(&expected));
        tenants.metrics.rank(["c".to_owned()].into_iter());
        call(&keys[1]);
        let expected = [series("(other)", "(other)", 2, "1"), series("c", "(other)", 1, "0.5")];
        assert_eq!(
            tenants.collect(&keys, settings),
            sorted(&expected),
            "an account that leaves loses its series"
        );
        let none = MetricsSettings { accounts: 0, ..settings };
        assert!(tenants.collect(&keys, none).is_empty());
        let many: Vec<_> = (0..300).map(|n| key(&format!("k{n:03}"), "m", true)).collect();
        many.iter().for_each(call);
        assert_eq!(Tenants::new().collect(&many, settings).len(), 2 * (MAX_WATCHED_KEYS + 1));
        let all = MetricsSettings { keys: KeySeries::All, ..settings };
        assert_eq!(Tenants::new().collect(&many, all).len(), 2 * 300);
    }

    #[test]
    fn the_days_until_watched_keys_expire_are_told() {
        let tenants = Tenants::new();
        let expires = Some(store::now() + 10 * SECONDS_PER_DAY + 60);
        let key = |id: &str, watch| Arc::new(Key { watch, expires, ..Key::sample(id, "a") });
        let days = |keys: &[Grant]| {
            tenants.collect(keys, MetricsSettings::default());
            let families = tenants.registry.gather();
            let family = families.iter().find(|family| family.name().ends_with("expires_in_days"));
            let series = family.iter().flat_map(|family| family.get_metric());
            series.map(|series| series.get_gauge().get_value()).collect::<Vec<_>>()
        };
        assert_eq!(days(&[key("k1", true), key("k2", false)]), [10.0]);
        assert!(days(&[key("k2", false)]).is_empty());
    }

    #[test]
    fn settings_are_a_word_or_a_map() {
        let read = |text: &str| serde_json::from_str::<MetricsSettings>(text).ok();
        assert_eq!(read("\"on\""), Some(MetricsSettings::default()));
        assert!(!read("\"off\"").unwrap().is_on);
        let map = read(r#"{"accounts": 5, "keys": "all"}"#).unwrap();
        assert_eq!((map.is_on, map.accounts, map.keys), (true, 5, KeySeries::All));
        assert!(!read(r#"{"accounts": 0, "keys": "off"}"#).unwrap().counts_tenants());
        assert_eq!(read(r#"{"accounts": 5, "key": "all"}"#), None);
    }
}
