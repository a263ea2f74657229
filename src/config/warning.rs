//! Warnings about a valid configuration: it does what it says, but that may not be what was meant.

use std::fmt;

use crate::private::Exposure;
use crate::route::ModelEntry;

use super::loaded::Config;

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
        self.exposed_secrets().chain(prices.into_iter().flatten()).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(models: &str) -> usize {
        let text = format!(
            "providers: {{p: {{base_url: \"http://h/v1\", protocols: [chat], auth: none}}}}\n{models}"
        );
        Config::parse(&text, |_| None).unwrap().warnings().len()
    }

    #[test]
    fn a_priced_model_beside_a_free_wildcard_is_reported() {
        let model =
            |id: &str, prices: &str| format!("  - {{id: {id}, {prices}targets: [{{provider: p}}]}}\n");
        let prices = "prices: [{input: 1, output: 1}], ";
        let both = |wildcard: &str| format!("models:\n{}{wildcard}", model("p/m", prices));
        assert_eq!(warnings(&both(&model("p/*", ""))), 1);
        assert_eq!(warnings(&both(&model("p/*", "prices: [{input: 0, output: 0}], "))), 1);
        assert_eq!(warnings(&both(&model("p/*", prices))), 0);
        assert_eq!(warnings(&both(&model("q/*", ""))), 0);
        assert_eq!(warnings(&format!("billing: off\n{}", both(&model("p/*", "")))), 0);
    }
}
