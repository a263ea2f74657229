//! Providers: their addresses, their ways of authentication, and their habits.
//!
//! A [`Provider`] is made from configuration and is immutable. Connections to it belong to the edge.

mod base_url;
mod headers;
mod preset;
mod settings;

use std::fmt;
use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use crate::protocol::ProtocolId;

pub use crate::canon::{
    AnthropicVersion, CacheParts, EffortFormat, JsonSchemaSupport, MaxTokensField, MidSystem, Prefill,
    Profile, ProfileSettings, ReasoningIn, Sampling, StreamUsage, SystemRole, ToolChoice, ToolId, UserField,
};
pub use base_url::BaseUrl;
pub use headers::{header_name, header_value};
pub use preset::{Preset, preset, presets};
pub use settings::{Auth, HttpVersion, OnClientGone, ProviderSettings, TimeoutSettings};

/// A provider that can be called.
#[derive(Clone)]
pub struct Provider {
    /// The name that targets refer to.
    pub name: Arc<str>,
    /// Its base URL.
    pub base_url: BaseUrl,
    /// The protocols that the provider speaks, the preferred one first.
    pub protocols: Vec<ProtocolId>,
    /// The HTTP version spoken to it.
    pub http: HttpVersion,
    /// Failures in a row that open a target's circuit breaker; with 0 it never opens.
    pub breaker_failures: u32,
    /// Its own timeouts, where they differ from those for all.
    pub timeouts: TimeoutSettings,
    /// The treatment of its answer when the client is gone.
    pub on_client_gone: OnClientGone,
    /// The provider's habits.
    pub profile: Profile,
    /// Whether requests may refer to state held at the provider.
    pub allow_upstream_state: bool,
    /// Models that requests may name in other members than `model`.
    pub inner_models: Vec<String>,
    /// Headers that every request to it has besides. Secret ones are marked as sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    auth: Option<Auth>,
    key: Option<SecretString>,
}

impl Provider {
    /// Makes a provider from its settings and their preset. `key` and `headers` are what the settings of these names
    /// refer to.
    ///
    /// # Errors
    /// Fails with the setting that is missing or wrong, and the reason.
    pub fn build(
        name: &str,
        settings: &ProviderSettings,
        key: Option<SecretString>,
        headers: Vec<(HeaderName, HeaderValue)>,
    ) -> Result<Self, (&'static str, String)> {
        let wanted = settings.preset.as_ref().map_or(name, |preset| preset.value.as_str());
        let preset = preset(wanted);
        if settings.preset.is_some() && preset.is_none() {
            let known: Vec<_> = presets().keys().map(String::as_str).collect();
            return Err(("preset", format!("no preset '{wanted}'; there are {}", known.join(", "))));
        }
        let preset = preset.cloned().unwrap_or_default();
        let url = settings.base_url.as_ref().map(|url| url.value.clone()).or(preset.base_url);
        let url =
            url.ok_or_else(|| ("base_url", "is required for a provider without a preset".to_owned()))?;
        let base_url = BaseUrl::parse(&url).map_err(|why| ("base_url", why))?;
        let protocols = settings.protocols.clone().unwrap_or(preset.protocols);
        if protocols.is_empty() {
            return Err(("protocols", "name at least one of chat, responses, messages".to_owned()));
        }
        let auth = settings.auth.or(preset.auth);
        if key.is_none() && auth != Some(Auth::None) {
            return Err(("key", "is required; set `auth: none` for a provider without one".to_owned()));
        }
        Ok(Self {
            name: name.into(),
            base_url,
            protocols,
            http: settings.http,
            breaker_failures: settings.breaker_failures.unwrap_or(BREAKER_FAILURES),
            timeouts: settings.timeouts,
            on_client_gone: settings.on_client_gone,
            profile: Profile::default().with(&preset.profile).with(&settings.profile),
            allow_upstream_state: settings.allow_upstream_state,
            inner_models: settings.inner_models.clone(),
            headers,
            auth,
            key,
        })
    }

    /// Returns the way to send the credential with requests of `protocol`.
    #[must_use]
    pub fn auth(&self, protocol: ProtocolId) -> Auth {
        self.auth.unwrap_or_else(|| if protocol.is_anthropic() { Auth::XApiKey } else { Auth::Bearer })
    }

    /// Returns the credential, if there is one.
    #[must_use]
    pub fn key(&self) -> Option<&SecretString> {
        self.key.as_ref()
    }

    /// Returns everything that only the gateway and the provider may know: the credential, and secret headers.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let headers = self.headers.iter().map(|(_, value)| value).filter(|value| value.is_sensitive());
        let headers = headers.filter_map(|value| value.to_str().ok());
        self.key.iter().map(ExposeSecret::expose_secret).chain(headers)
    }

    /// Whether it speaks this protocol.
    #[must_use]
    pub fn speaks(&self, protocol: ProtocolId) -> bool {
        self.protocols.contains(&protocol)
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The default of [`Provider::breaker_failures`]. A chosen value: one broken stream or a short hiccup is not
/// enough.
const BREAKER_FAILURES: u32 = 5;
