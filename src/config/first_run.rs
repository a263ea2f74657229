//! The settings of a gateway that was started without a configuration file.

use crate::located::Located;
use crate::meter::{RateSettings, TierSettings};
use crate::protocol::REGISTRY;
use crate::provider::{Preset, ProviderSettings, presets};
use crate::route::{ModelSettings, TargetSettings};

use super::Settings;

/// The name of the built-in provider.
pub const DEMO: &str = "demo";

/// Returns settings with the built-in provider, and every preset that the environment enables, each with all of
/// its models.
pub(super) fn settings(variable: &impl Fn(&str) -> Option<String>) -> Settings {
    let mut settings = Settings::default();
    settings.providers.insert(DEMO.to_owned().into(), ProviderSettings::default());
    settings.models.extend(demo_models(Some(DEMO_PRICES)));
    add_from_environment(&mut settings, variable);
    settings
}

/// Adds every preset that the environment enables, with all of its models, unless the settings have a provider or
/// a model of that name.
pub(super) fn add_from_environment(settings: &mut Settings, variable: &impl Fn(&str) -> Option<String>) {
    for (name, preset) in presets() {
        let id = format!("{name}/*");
        let Some(provider) = enabled(preset, variable) else { continue };
        settings.providers.entry(name.clone().into()).or_insert(provider);
        if settings.models.iter().all(|model| model.id.value != id) {
            settings.models.push(ModelSettings {
                id: id.into(),
                targets: vec![TargetSettings { provider: name.clone().into(), ..TargetSettings::default() }],
                ..ModelSettings::default()
            });
        }
    }
}

/// Returns the models of the built-in provider, one for each protocol.
pub(super) fn demo_models(prices: Option<TierSettings>) -> impl Iterator<Item = ModelSettings> {
    crate::demo::MODELS.iter().map(move |model| ModelSettings {
        id: format!("{DEMO}/{model}").into(),
        name: Some(format!("Demo ({model})")),
        created: Some("2026-01-01".to_owned().into()),
        context_window: Some(DEMO_CONTEXT),
        max_output: Some(DEMO_OUTPUT),
        prices: prices.map(|prices| vec![prices]),
        targets: vec![TargetSettings {
            provider: DEMO.to_owned().into(),
            protocols: Some(REGISTRY.iter().map(|p| p.id()).filter(|p| p.as_str() == *model).collect()),
            ..TargetSettings::default()
        }],
        ..ModelSettings::default()
    })
}

fn enabled(preset: &Preset, variable: &impl Fn(&str) -> Option<String>) -> Option<ProviderSettings> {
    let set = |name: &String| variable(name).filter(|value| !value.trim().is_empty());
    let mut provider = ProviderSettings::default();
    if let Some(name) = preset.environment.as_ref().filter(|name| set(name).is_some()) {
        provider.key = Some(Located::from(format!("env:{name}")));
    } else {
        let address = set(preset.base_url_environment.as_ref()?)?;
        provider.base_url = Some(url(address.trim(), preset.default_port).into());
    }
    Some(provider)
}

/// Makes a URL from a server's address as people write it, with or without scheme and port.
fn url(address: &str, default_port: Option<u16>) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
    let (host, path) =
        rest.split_once('/').map_or((rest, String::new()), |(host, path)| (host, format!("/{path}")));
    // A server that listens on all addresses is called on loopback.
    let host = host.replace("0.0.0.0", "127.0.0.1");
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match default_port {
        Some(port) if !has_port && address.find("://").is_none() => format!("{scheme}://{host}:{port}{path}"),
        _ => format!("{scheme}://{host}{path}"),
    }
}

/// The context window, and the longest output, of the built-in provider's models, in tokens.
const DEMO_CONTEXT: u64 = 200_000;
const DEMO_OUTPUT: u64 = 32_000;

/// The prices of the built-in provider at a first run, so that usage shows a cost: those of a small model.
const DEMO_PRICES: TierSettings = TierSettings {
    threshold: 0,
    input: 250_000,
    output: 2_000_000,
    cache_read: Some(25_000),
    cache_write: Some(312_500),
    cache_write_long: None,
    audio_input: None,
    audio_output: None,
    web_search: None,
    rates: RateSettings::NONE,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_environment_enables_providers() {
        let variable = |name: &str| match name {
            "OPENAI_API_KEY" => Some("sk-x".to_owned()),
            "OLLAMA_HOST" => Some("0.0.0.0".to_owned()),
            "GROQ_API_KEY" => Some(String::new()),
            _ => None,
        };
        let config = Config::from_environment(variable).unwrap();
        let names: Vec<_> = config.providers.iter().map(|p| p.name.as_ref()).collect();
        assert_eq!(names, ["demo", "ollama", "openai"]);
        assert_eq!(config.providers[1].base_url.authority, "127.0.0.1:11434");
        assert!(config.demo.is_some());
        assert!(!format!("{config:?}").contains("sk-x"));
    }

    #[test]
    fn a_file_may_add_the_providers_of_the_environment() {
        let variable =
            |name: &str| matches!(name, "OPENAI_API_KEY" | "GROQ_API_KEY").then(|| "sk-x".to_owned());
        let text = "providers_from_environment: true\nproviders:\n  groq: {base_url: \"https://eu.example/v1\", auth: none}\n\
                    models:\n  - {id: groq/*, max_output: 9, targets: [{provider: groq}]}\n";
        let config = Config::parse(text, variable).unwrap();
        let names: Vec<_> = config.providers.iter().map(|p| p.base_url.authority.as_str()).collect();
        assert_eq!(names, ["eu.example", "api.openai.com"], "what the file says goes before");
        let ids: Vec<_> =
            config.catalog.entries().iter().map(|entry| (&*entry.id, entry.max_output)).collect();
        assert_eq!(ids, [("groq/*", Some(9)), ("openai/*", None)]);
        assert!(Config::parse(text, |_| None).unwrap().catalog.entries().len() == 1);
    }

    #[test]
    fn addresses_are_completed() {
        assert_eq!(url("localhost:1234", Some(11434)), "http://localhost:1234");
        assert_eq!(url("https://h/v1", Some(11434)), "https://h/v1");
        assert_eq!(url("http://h:8000/v1", None), "http://h:8000/v1");
    }
}
