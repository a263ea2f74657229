//! The parts of a configuration that concern where the content of calls goes, for operators.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::Config;

/// The services and files that see the content of calls, or carry it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ContentPaths {
    /// The proxies through which providers are reached, by the names of the providers. They are without credentials.
    pub proxies: BTreeMap<String, String>,
    /// The names of the guards, in the order in which they are asked.
    pub guards: Vec<String>,
    /// The file of the content log; `null` if there is none.
    pub content_log: Option<PathBuf>,
}

impl ContentPaths {
    /// Takes them from a configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let proxies = config.providers.iter().filter_map(|provider| {
            let proxy = provider.connection.proxy.as_ref()?;
            Some((provider.name.to_string(), proxy.to_string()))
        });
        Self {
            proxies: proxies.collect(),
            guards: config.guards.iter().map(|guard| guard.name.to_string()).collect(),
            content_log: config.content_log.as_ref().map(|rules| rules.to.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_named_without_their_credentials() {
        let text = "providers:\n  openai: {key: \"env:K\", proxy: \"env:PROXY\"}\n\
                    guards: [{name: pii, url: \"https://guard.example/check\"}]\ncontent_log: {to: /var/log/content.jsonl}\n";
        let variable = |name: &str| match name {
            "PROXY" => Some("http://user:word@proxy.example:3128".to_owned()),
            "K" => Some("a-secret-of-some-length".to_owned()),
            _ => None,
        };
        let config = Config::parse(text, variable).unwrap();
        let paths = ContentPaths::of(&config);
        assert_eq!(paths.guards, ["pii"]);
        assert_eq!(paths.content_log, Some(PathBuf::from("/var/log/content.jsonl")));
        let proxies = serde_json::to_string(&paths.proxies).unwrap();
        assert_eq!(proxies, r#"{"openai":"proxy.example:3128"}"#);
    }
}
