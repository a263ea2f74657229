//! The settings of providers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::canon::ProfileSettings;
use crate::located::Located;
use crate::protocol::ProtocolId;

use super::connection::ClientCertificateSettings;
use super::credential::CredentialSettings;
use super::retry::ProviderRetrySettings;

/// One provider in the configuration file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderSettings {
    /// The name of a preset, whose address, protocols and habits become the defaults. Default: the preset with the
    /// name of the provider, if there is one.
    pub preset: Option<Located<String>>,
    /// The address of the provider, for example `https://host/v1`. Without a path, `/v1` is assumed. Default: the
    /// preset's.
    pub base_url: Option<Located<String>>,
    /// A reference to the credential: `env:NAME` or `file:PATH`. Default: none is sent.
    pub key: Option<Located<String>>,
    /// Several credentials instead of `key`, each a reference, or a map with a name and a weight. A credential that is
    /// refused or rate limited rests, and the others serve. The calls of a session use the same one. Default: none.
    pub keys: Option<Vec<Located<CredentialSettings>>>,
    /// The way to send the credential. Default: `x-api-key` for Messages, `x-goog-api-key` for Gemini, else `bearer`.
    pub auth: Option<Auth>,
    /// Headers that every request to this provider has besides, by name. They replace the client's headers of the same
    /// names. A value is a text or, for a secret, a reference: `env:NAME` or `file:PATH`. Default: none.
    pub headers: BTreeMap<Located<String>, Located<String>>,
    /// The HTTP proxy through which the provider is reached: `http://host:port`, or a reference to a URL that also holds a
    /// user and a password, `env:NAME` or `file:PATH`. `env`: the one of `HTTPS_PROXY`, except for the hosts of
    /// `NO_PROXY` and for this machine. `off`: none. Providers at `http://` addresses have none. Default: `env`.
    pub proxy: Option<Located<String>>,
    /// The path of the certificates of the authorities that may vouch for the provider's server, as PEM, instead of
    /// those of the system. Default: those of the system.
    pub ca: Option<Located<PathBuf>>,
    /// The certificate that the gateway shows to the provider's server. Default: none.
    pub client_certificate: Option<Located<ClientCertificateSettings>>,
    /// The protocols that the provider speaks, the preferred one first.
    pub protocols: Option<Vec<ProtocolId>>,
    /// The HTTP version spoken to it. Default: `auto`.
    pub http: HttpVersion,
    /// Failures in a row that open the circuit breaker of a target, so that it gets no calls for a while; with 0
    /// it never opens. Default: 5.
    pub breaker_failures: Option<u32>,
    /// Timeouts of this provider that differ from `timeouts` for all providers. Default: none.
    pub timeouts: TimeoutSettings,
    /// Rules for calls that have failed at this provider, where they differ from `retry` for all providers. Default: none.
    pub retry: ProviderRetrySettings,
    /// The treatment of the provider's answer after the client has left. Default: `abort`.
    pub on_client_gone: OnClientGone,
    /// Habits of this provider that differ from its preset. Default: none.
    pub profile: ProfileSettings,
    /// Whether requests may refer to state held at the provider (stored responses, files, containers). All callers
    /// share the provider's account, so enable it only in deployments with a single tenant. Default: `false`.
    pub allow_upstream_state: bool,
    /// Models that requests may name in other members than `model` (fall-backs, advisers, models of tools), by the
    /// provider's own names. `*` allows any model, and also the routes and providers of a router. Such models
    /// answer regardless of the models that the caller's key may call, at the price of the model that was
    /// requested. Default: none.
    pub inner_models: Vec<String>,
}

/// The timeouts of one provider, in seconds. The default of each is the timeout of the same name under `timeouts`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TimeoutSettings {
    /// For connecting, and again for the TLS handshake.
    pub connect: Option<u64>,
    /// From the request to the first byte of the answer.
    pub first_byte: Option<u64>,
    /// Between two pieces of data after that.
    pub silence: Option<u64>,
    /// For a whole answer that is not a stream.
    pub total: Option<u64>,
}

/// The treatment of a provider's answer after the client has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnClientGone {
    /// The connection to the provider is closed after two seconds, in which its token counts may arrive. Without
    /// them, an estimate of its work is charged. If the call costs nothing, the connection is closed at once.
    #[default]
    Abort,
    /// The answer is read to its end, so that the tokens that the provider has counted are charged.
    Drain,
}

/// The way to send a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// `authorization: Bearer …`
    Bearer,
    /// `x-api-key: …`
    XApiKey,
    /// `x-goog-api-key: …`
    XGoogApiKey,
    /// Not at all.
    None,
}

/// The HTTP version spoken to a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HttpVersion {
    /// Over TLS the version that the provider prefers, otherwise HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1.
    H1,
    /// HTTP/2, without TLS by prior knowledge.
    H2,
}
