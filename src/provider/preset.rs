//! Presets: providers that are known by name.

use std::collections::BTreeMap;

use once_cell::sync::Lazy;
use serde::Deserialize;

use crate::canon::ProfileSettings;
use crate::protocol::ProtocolId;

use super::settings::Auth;

/// The known facts of a provider.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preset {
    /// Its base URL; absent for servers that run anywhere.
    pub base_url: Option<String>,
    /// The environment variable that holds the provider's key, and enables the preset.
    pub environment: Option<String>,
    /// The environment variable that holds the provider's address, and enables the preset.
    pub base_url_environment: Option<String>,
    /// The port if the address contains none.
    pub default_port: Option<u16>,
    /// The way to send the credential.
    pub auth: Option<Auth>,
    /// The protocols that the provider speaks, the preferred one first.
    pub protocols: Vec<ProtocolId>,
    /// The provider's habits.
    pub profile: ProfileSettings,
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
        assert_eq!(presets().len(), 15);
        let mistral = Profile::default().with(&preset("mistral").unwrap().profile);
        assert_eq!(mistral.stream_usage, StreamUsage::Always);
        let azure = Profile::default().with(&preset("azure").unwrap().profile);
        assert!(azure.strict_tools, "anchors are resolved");
    }
}
