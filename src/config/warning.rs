//! Warnings about a valid configuration: it does what it says, but that may not be what was meant.

use std::fmt;
use std::sync::Arc;

use crate::private::Exposure;
use crate::protocol::REGISTRY;
use crate::route::ModelEntry;

use super::loaded::Config;
use super::retirement::retirement;

/// A trap in a configuration, and advice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The kind of trap, in a word.
    pub about: &'static str,
    /// Whether this is a mistake, so that the gateway should not run with it.
    pub is_wrong: bool,
    /// The trap, as a sentence.
    pub trap: String,
    /// The advice, as a sentence.
    pub advice: &'static str,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.trap, self.advice)
    }
}

impl Config {
    /// Returns the traps in the configuration.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let prices = self.billing.counts_cost().then(|| self.free_wildcards());
        let prices = prices.into_iter().flatten().chain(self.tiny_prices());
        let emptiness = self.emptiness();
        // Where nothing can be called, nothing is used.
        let unused = emptiness.is_none().then(|| self.unused_providers()).into_iter().flatten();
        let rest = self.open_admin().into_iter().chain(self.endpoint_urls()).chain(self.dangling_aliases());
        self.exposed_secrets()
            .chain(emptiness)
            .chain(unused)
            .chain(rest)
            .chain(prices)
            .chain(self.retirements())
            .chain(self.expiring_keys())
            .collect()
    }

    /// Writes the traps to the gateway's own log.
    pub fn log_warnings(&self) {
        for warning in self.warnings() {
            log::warn!("configuration: {warning}");
        }
    }

    /// Returns a warning for each file with a secret that other users of this machine may read.
    fn exposed_secrets(&self) -> impl Iterator<Item = Warning> {
        self.exposed.iter().map(|exposed| Warning {
            about: "secrets",
            is_wrong: exposed.exposure != Exposure::Group,
            trap: exposed.to_string(),
            advice: "Let its owner alone read it: chmod 600.",
        })
    }

    /// Returns a warning for each model that its vendor retires: calls of it fail from that day on.
    fn retirements(&self) -> impl Iterator<Item = Warning> {
        self.catalog.entries().iter().filter_map(|entry| {
            let mut names = entry.targets.iter().filter_map(|target| target.model.as_deref());
            let (name, day) = names.find_map(|name| Some((name, retirement(name)?)))?;
            let trap = format!("`{}`: `{name}` is retired by its vendor on {day}.", entry.id);
            let advice = "Name its successor as the model of the target, and ask the provider whether the day is the same there.";
            Some(Warning { about: "models", is_wrong: false, trap, advice })
        })
    }

    /// Returns a warning for each declared key that has expired, or soon does.
    fn expiring_keys(&self) -> impl Iterator<Item = Warning> {
        let now = jiff::Timestamp::now().as_second();
        self.declarations.keys.iter().filter_map(move |key| {
            let time = key.expires.flatten().filter(|time| *time < now + EXPIRY_NOTICE_SECONDS)?;
            let day = jiff::Timestamp::from_second(time).unwrap_or_default().strftime("%Y-%m-%d");
            let verb = if time <= now { "expired" } else { "expires" };
            let trap = format!("The key '{}' {verb} on {day}.", key.id);
            let advice = "Set a later `expires`, or take the key out.";
            Some(Warning { about: "keys", is_wrong: false, trap, advice })
        })
    }

    /// Returns a warning if there is nothing that could be called.
    fn emptiness(&self) -> Option<Warning> {
        let (trap, advice) = match (self.providers.is_empty(), self.catalog.entries().is_empty()) {
            (true, _) => ("There are no providers, so every call is answered with 404.", "Add `providers`."),
            (_, true) => ("There are no models, so every call is answered with 404.", "Add `models`."),
            _ => return None,
        };
        Some(Warning { about: "models", is_wrong: false, trap: trap.to_owned(), advice })
    }

    /// Returns a warning for each provider that no model uses.
    fn unused_providers(&self) -> impl Iterator<Item = Warning> {
        let targets = || self.catalog.entries().iter().flat_map(|entry| &entry.targets);
        let is_used = move |name: &str| targets().any(|target| &*target.provider.name == name);
        self.providers.iter().filter(move |provider| !is_used(&provider.name)).map(|provider| Warning {
            about: "providers",
            is_wrong: false,
            trap: format!("No model uses the provider '{}'.", provider.name),
            advice: "Name it as a target under `models`, or take it out.",
        })
    }

    /// Returns a warning if other machines may reach the listener for operators, and nothing is asked of them.
    fn open_admin(&self) -> Option<Warning> {
        let admin = self.admin.as_ref().filter(|admin| admin.token.is_none() && !admin.is_loopback())?;
        Some(Warning {
            about: "admin",
            is_wrong: false,
            trap: format!(
                "Whoever reaches {} may read the metrics, with models, providers and costs.",
                admin.address
            ),
            advice: "Set `admin.token`, or let only those reach it who may read them.",
        })
    }

    /// Returns a warning for each base URL that names an endpoint already.
    fn endpoint_urls(&self) -> impl Iterator<Item = Warning> {
        self.providers.iter().filter_map(|provider| {
            let path = &provider.base_url.path;
            let endpoint = REGISTRY.iter().map(|protocol| protocol.path()).find(|end| path.ends_with(end))?;
            Some(Warning {
                about: "base_url",
                is_wrong: false,
                trap: format!(
                    "The base URL of provider '{}' ends in the endpoint {endpoint}.",
                    provider.name
                ),
                advice: "End it before the endpoint, in most cases with /v1.",
            })
        })
    }

    /// Returns a warning for each alias that leads to no model.
    fn dangling_aliases(&self) -> impl Iterator<Item = Warning> {
        let leads = |model: &str| match model.strip_suffix('*') {
            Some(prefix) => self.catalog.has_beginning_with(prefix),
            None => self.catalog.has(model),
        };
        self.catalog.aliases().iter().filter(move |(_, model)| !leads(model)).map(|(alias, model)| Warning {
            about: "aliases",
            is_wrong: false,
            trap: format!("The alias '{alias}' leads to '{model}', which is no model here."),
            advice: "Correct its name, or add it to `models`.",
        })
    }

    /// Returns a warning for each model with prices that may have been meant as dollars.
    fn tiny_prices(&self) -> impl Iterator<Item = Warning> {
        let is_tiny = |entry: &&Arc<ModelEntry>| {
            entry.targets.iter().filter_map(|target| target.prices.as_ref()).any(|prices| prices.are_tiny())
        };
        self.catalog.entries().iter().filter(is_tiny).map(|entry| Warning {
            about: "prices",
            is_wrong: false,
            trap: format!(
                "`{}` has a price of less than a thousandth of a dollar for a million tokens.",
                entry.id
            ),
            advice: "Prices are micro-USD for a million tokens: write 1250000 for 1.25 dollars.",
        })
    }

    /// Returns a warning for each free wildcard next to models of the same prefix that have prices. A model
    /// without an entry of its own, such as the dated name of one that has an entry, would be free there.
    fn free_wildcards(&self) -> impl Iterator<Item = Warning> {
        let entries = self.catalog.entries();
        entries.iter().filter(|entry| !is_priced(entry)).filter_map(move |wildcard| {
            let prefix = wildcard.id.strip_suffix('*')?;
            let priced = entries.iter().find(|entry| entry.id.starts_with(prefix) && is_priced(entry))?;
            let trap = format!(
                "`{}` has no prices, but `{}` has: any other name of that model, such as one with a date, costs nothing.",
                wildcard.id, priced.id
            );
            Some(Warning { about: "prices", is_wrong: false, trap, advice: "Give the wildcard prices, or take it out." })
        })
    }
}

/// Whether every target of the model has prices.
fn is_priced(entry: &ModelEntry) -> bool {
    !entry.targets.is_empty() && entry.targets.iter().all(|target| target.prices.is_some())
}

/// The time before its expiry from which on there is a warning about a declared key: 14 days.
const EXPIRY_NOTICE_SECONDS: i64 = 14 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    /// A provider that needs no key.
    const PROVIDER: &str = "providers: {p: {base_url: \"http://h/v1\", protocols: [chat], auth: none}}\n";

    /// The subjects of all warnings about a text.
    fn subjects(text: &str) -> Vec<&'static str> {
        let warnings = Config::parse(text, |_| None).unwrap().warnings();
        warnings.iter().map(|warning| warning.about).collect()
    }

    fn model(id: &str, prices: &str) -> String {
        format!("  - {{id: {id}, {prices}targets: [{{provider: p}}]}}\n")
    }

    #[test]
    fn a_priced_model_beside_a_free_wildcard_is_reported() {
        let prices = "prices: [{input: 1000, output: 1000}], ";
        let warnings = |models: &str| subjects(&format!("{PROVIDER}{models}")).len();
        let both = |wildcard: &str| format!("models:\n{}{wildcard}", model("p/m", prices));
        assert_eq!(warnings(&both(&model("p/*", ""))), 1);
        assert_eq!(warnings(&both(&model("p/*", "prices: [{input: 0, output: 0}], "))), 1);
        assert_eq!(warnings(&both(&model("p/*", prices))), 0);
        assert_eq!(warnings(&both(&model("q/*", ""))), 0);
        assert_eq!(warnings(&format!("billing: off\n{}", both(&model("p/*", "")))), 0);
    }

    #[test]
    fn a_declared_key_that_expires_soon_is_reported() {
        let day = |seconds: i64| {
            jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + seconds).unwrap().to_string()
        };
        let subjects = |expires: &str| {
            let key = format!("keys: [{{name: a, sha256: {}, expires: {expires}}}]", "ab".repeat(32));
            subjects(&format!("{PROVIDER}models:\n{}{key}\n", model("p/m", "")))
        };
        for expires in ["2020-01-31".to_owned(), day(60), day(13 * 86_400)] {
            assert_eq!(subjects(&expires), ["keys"], "{expires}");
        }
        for expires in ["never".to_owned(), day(15 * 86_400)] {
            assert_eq!(subjects(&expires), Vec::<&str>::new(), "{expires}");
        }
    }

    #[test]
    fn a_model_that_is_retired_is_reported_once() {
        let model = |id: &str, targets: &str| {
            subjects(&format!("{PROVIDER}models:\n  - {{id: {id}, targets: [{targets}]}}\n")).len()
        };
        assert_eq!(model("p/claude-sonnet-4-5", "{provider: p}, {provider: p, model: gpt-4o}"), 1);
        assert_eq!(model("p/claude-opus-5", "{provider: p, model: claude-opus-4-5-20251101}"), 1);
        assert_eq!(model("p/gpt-4o", "{provider: p, model: gpt-5.4}"), 0);
    }

    #[test]
    fn each_trap_is_reported_once_and_what_is_right_is_not() {
        let models = format!("models:\n{}", model("p/m", ""));
        let good = format!("{PROVIDER}{models}");
        let with = |more: &str| format!("{good}{more}\n");
        let url = |path: &str| good.replace("/v1", path);
        for (text, expected) in [
            (good.clone(), vec![]),
            ("listen: [{address: \"127.0.0.1:1\"}]\n".to_owned(), vec!["models"]),
            (PROVIDER.to_owned(), vec!["models"]),
            ("providers: {demo: {}}\n".to_owned(), vec![]),
            (
                good.replace(
                    "providers: {",
                    "providers: {demo: {}, q: {base_url: \"http://h\", protocols: [chat], auth: none}, ",
                ),
                vec!["providers"],
            ),
            (with("aliases: {fast: p/n}"), vec!["aliases"]),
            (with("aliases: {fast: p/m, f*: p/m, all-*: p/*}"), vec![]),
            (with("aliases: {f*: q/*, g: p/*x}"), vec!["aliases", "aliases"]),
            (with("admin: \"0.0.0.0:9090\""), vec!["admin"]),
            (with("admin: \"[::1]:9090\""), vec![]),
            (with("admin: off"), vec![]),
            (url("/v1/chat/completions"), vec!["base_url"]),
            (url("/v1/responses/"), vec!["base_url"]),
            (url("/messages/v1"), vec![]),
            (good.replace("targets", "prices: [{input: 999, output: 1000000}], targets"), vec!["prices"]),
            (
                good.replace("targets", "prices: [{input: 1000, output: 1000, cache_read: 0}], targets"),
                vec![],
            ),
        ] {
            assert_eq!(subjects(&text), expected, "{text}");
        }
    }
}
