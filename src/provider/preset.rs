//! Presets: providers that are known by name.

use std::collections::BTreeMap;

use once_cell::sync::Lazy;
use serde::Deserialize;

use crate::canon::ProfileSettings;
use crate::protocol::ProtocolId;

use super::base_url::BaseUrl;
use super::settings::Auth;

/// The known facts of a provider.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preset {
    /// Its base URL; absent for servers that run anywhere.
    pub base_url: Option<String>,
    /// The base URLs of protocols that have one of their own, at the same host.
    pub base_urls: ProtocolBaseUrls,
    /// The environment variable that holds the provider's key, and enables the preset.
    pub environment: Option<String>,
    /// The environment variable that holds the provider's address, and enables the preset.
    pub base_url_environment: Option<String>,
    /// The port if the address contains none.
    pub default_port: Option<u16>,
    /// The way to send the credential.
    pub auth: Option<Auth>,
    /// The way to send the credential in Messages, if it is not that of Anthropic.
    pub messages_auth: Option<Auth>,
    /// The protocols that the provider speaks, the preferred one first.
    pub protocols: Vec<ProtocolId>,
    /// The provider's habits.
    pub profile: ProfileSettings,
}

/// Base URLs by protocol.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProtocolBaseUrls {
    /// The one of Chat.
    pub chat: Option<String>,
    /// The one of Responses.
    pub responses: Option<String>,
    /// The one of Messages, with or without `/v1`.
    pub messages: Option<String>,
    /// The one of Gemini.
    pub gemini: Option<String>,
}

impl ProtocolBaseUrls {
    /// Returns the base URL of a protocol, if it has one of its own.
    #[must_use]
    pub fn get(&self, protocol: ProtocolId) -> Option<&str> {
        match protocol {
            ProtocolId::Chat => self.chat.as_deref(),
            ProtocolId::Responses => self.responses.as_deref(),
            ProtocolId::Messages => self.messages.as_deref(),
            ProtocolId::Gemini => self.gemini.as_deref(),
        }
    }

    /// Returns the protocols with a base URL of their own, and the path before their endpoints.
    pub(super) fn paths(&self) -> impl Iterator<Item = (ProtocolId, String)> {
        ProtocolId::ALL.into_iter().filter_map(|protocol| {
            let mut path = BaseUrl::parse(self.get(protocol)?).ok()?.path;
            // The base URLs of Anthropic's clients end before the version.
            if protocol.is_anthropic() && !path.ends_with("/v1") {
                path.push_str("/v1");
            }
            Some((protocol, path))
        })
    }
}

/// Returns all presets by name.
#[must_use]
pub fn presets() -> &'static BTreeMap<String, Preset> {
    &PRESETS
}

/// Returns the preset of a name.
#[must_use]
pub fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.get(name)
}

#[expect(clippy::expect_used, reason = "the file is compiled in, and a test reads it")]
static PRESETS: Lazy<BTreeMap<String, Preset>> =
    Lazy::new(|| serde_saphyr::from_str(include_str!("presets.yaml")).expect("presets.yaml is valid"));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Profile, StreamUsage};

    #[test]
    fn presets_are_valid() {
        assert_eq!(presets().len(), 16);
        let mistral = Profile::default().with(&preset("mistral").unwrap().profile);
        assert_eq!(mistral.stream_usage, StreamUsage::Always);
        let azure = Profile::default().with(&preset("azure").unwrap().profile);
        assert!(azure.strict_tools, "anchors are resolved");
    }

    #[test]
    fn own_addresses_are_at_the_same_host_and_belong_to_protocols_of_the_preset() {
        for (name, preset) in presets() {
            for protocol in ProtocolId::ALL {
                let Some(own) = preset.base_urls.get(protocol) else { continue };
                let (own, general) = (
                    BaseUrl::parse(own).unwrap(),
                    BaseUrl::parse(preset.base_url.as_ref().unwrap()).unwrap(),
                );
                let host = |url: BaseUrl| (url.tls, url.host, url.port);
                assert_eq!(host(own), host(general), "{name}");
                assert!(preset.protocols.contains(&protocol), "{name}");
            }
        }
    }
}
