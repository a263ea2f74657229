//! Providers: their addresses, their ways of authentication, and their habits.
//!
//! A [`Provider`] is made from configuration and is immutable. Connections to it belong to the edge.

mod base_url;
mod connection;
mod credential;
mod headers;
mod preset;
mod proxy;
mod retry;
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
pub use connection::{ClientCertificate, ClientCertificateSettings, ProviderConnection};
pub use credential::{Credential, CredentialSettings, check_credentials};
pub use headers::{header_name, header_value};
pub use preset::{Preset, ProtocolBaseUrls, preset, presets};
pub use proxy::{Proxy, is_excepted, is_loopback};
pub use retry::{ProviderRetrySettings, RetryCause};
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
    /// Its own rules for calls that have failed at it, where they differ from those for all.
    pub retry: ProviderRetrySettings,
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
    /// The way to its server.
    pub connection: Arc<ProviderConnection>,
    /// Whether its protocols are those of the preset, and not of the configuration.
    assumed: bool,
    /// The paths before the endpoints of protocols that have one of their own.
    own_paths: Vec<(ProtocolId, String)>,
    auth: Option<Auth>,
    messages_auth: Option<Auth>,
    credentials: Vec<Credential>,
}

impl Provider {
    /// Makes a provider from its settings and their preset. `credentials` and `headers` are what the settings `key` or
    /// `keys`, and `headers`, refer to.
    ///
    /// # Errors
    /// Fails with the setting that is missing or wrong, and the reason.
    pub fn build(
        name: &str,
        settings: &ProviderSettings,
        credentials: Vec<Credential>,
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
        let own_paths = match settings.base_url {
            Some(_) => Vec::new(),
            None => preset.base_urls.paths().collect(),
        };
        // At another address, only the protocols are known that stand beside each other.
        let stands =
            |protocol: &ProtocolId| settings.base_url.is_none() || preset.base_urls.get(*protocol).is_none();
        let known = || preset.protocols.iter().copied().filter(stands).collect();
        let protocols: Vec<_> = settings.protocols.clone().unwrap_or_else(known);
        if protocols.is_empty() {
            return Err(("protocols", "name at least one of chat, responses, messages, gemini".to_owned()));
        }
        // Servers that need no credential get the one that is set for them.
        let usual = preset.auth.filter(|auth| *auth != Auth::None || credentials.is_empty());
        let auth = settings.auth.or(usual);
        if credentials.is_empty() && auth != Some(Auth::None) {
            return Err(("key", "is required; set `auth: none` for a provider without one".to_owned()));
        }
        Ok(Self {
            name: name.into(),
            base_url,
            protocols,
            http: settings.http,
            breaker_failures: settings.breaker_failures.unwrap_or(BREAKER_FAILURES),
            timeouts: settings.timeouts,
            retry: settings.retry.clone(),
            on_client_gone: settings.on_client_gone,
            profile: Profile::default().with(&preset.profile).with(&settings.profile),
            allow_upstream_state: settings.allow_upstream_state,
            inner_models: settings.inner_models.clone(),
            headers,
            connection: Arc::default(),
            assumed: settings.protocols.is_none(),
            own_paths,
            auth,
            messages_auth: preset.messages_auth,
            credentials,
        })
    }

    /// Returns the same provider with another way to its server.
    #[must_use]
    pub fn connected(self, connection: ProviderConnection) -> Self {
        Self { connection: Arc::new(connection), ..self }
    }

    /// Returns the way to send the credential with requests of `protocol`.
    #[must_use]
    pub fn auth(&self, protocol: ProtocolId) -> Auth {
        let own = match protocol {
            ProtocolId::Messages => self.messages_auth.unwrap_or(Auth::XApiKey),
            ProtocolId::Gemini => Auth::XGoogApiKey,
            ProtocolId::Chat | ProtocolId::Responses => Auth::Bearer,
        };
        self.auth.unwrap_or(own)
    }

    /// Whether only the preset says that it speaks this protocol, beside a better one.
    #[must_use]
    pub fn is_assumed_to_speak(&self, protocol: ProtocolId) -> bool {
        self.assumed && self.protocols.first() != Some(&protocol)
    }

    /// Returns the path before the endpoints of `protocol`.
    #[must_use]
    pub fn path(&self, protocol: ProtocolId) -> &str {
        let own = self.own_paths.iter().find(|(known, _)| *known == protocol);
        own.map_or(&self.base_url.path, |(_, path)| path)
    }

    /// Returns the credentials, in the order of the configuration. A provider may have none.
    #[must_use]
    pub fn credentials(&self) -> &[Credential] {
        &self.credentials
    }

    /// Returns the first credential, if there is one.
    #[must_use]
    pub fn key(&self) -> Option<&SecretString> {
        self.credentials.first().map(|credential| &credential.key)
    }

    /// Returns the name of a credential by its place, if there are several.
    #[must_use]
    pub fn credential_name(&self, place: usize) -> Option<&Arc<str>> {
        self.credentials.get(place).filter(|_| self.credentials.len() > 1).map(|credential| &credential.name)
    }

    /// Returns everything that only the gateway and the provider may know: the credentials, secret headers, and the
    /// credential for its proxy.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let headers = self.headers.iter().map(|(_, value)| value).filter(|value| value.is_sensitive());
        let headers = headers.filter_map(|value| value.to_str().ok());
        let proxy = self.connection.proxy.iter().filter_map(Proxy::secret);
        self.credentials.iter().map(|credential| credential.key.expose_secret()).chain(headers).chain(proxy)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(name: &str, base_url: Option<&str>) -> Provider {
        let base_url = base_url.map(|url| url.to_owned().into());
        let settings = ProviderSettings { base_url, ..ProviderSettings::default() };
        Provider::build(name, &settings, vec![Credential::only("k".to_owned().into())], Vec::new()).unwrap()
    }

    #[test]
    fn a_protocol_of_a_preset_may_have_a_path_and_a_credential_of_its_own() {
        let deepseek = provider("deepseek", None);
        assert_eq!(deepseek.path(ProtocolId::Chat), "/v1");
        assert_eq!(deepseek.path(ProtocolId::Messages), "/anthropic/v1");
        assert_eq!(deepseek.auth(ProtocolId::Messages), Auth::XApiKey);
        let openrouter = provider("openrouter", None);
        assert_eq!(openrouter.path(ProtocolId::Messages), "/api/v1");
        assert_eq!(openrouter.auth(ProtocolId::Messages), Auth::Bearer);
        let dashscope = provider("dashscope", None);
        assert!(dashscope.path(ProtocolId::Responses).ends_with("/apps/protocols/compatible-mode/v1"));
    }

    #[test]
    fn a_provider_at_another_address_speaks_the_protocols_that_have_no_address_of_their_own() {
        let elsewhere = provider("deepseek", Some("http://localhost:1/x"));
        assert_eq!(elsewhere.protocols, [ProtocolId::Chat, ProtocolId::Responses]);
        assert_eq!(elsewhere.path(ProtocolId::Messages), "/x");
        assert_eq!(provider("groq", Some("http://localhost:1/x")).protocols.len(), 2);
    }

    #[test]
    fn a_key_that_is_set_is_sent_to_a_server_that_needs_none() {
        assert_eq!(provider("vllm", Some("http://localhost:1")).auth(ProtocolId::Chat), Auth::Bearer);
    }
}
