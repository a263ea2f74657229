//! Providers in the configuration file.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::canon::ProfileSettings;
use crate::located::Located;
use crate::protocol::ProtocolId;

/// One provider in the configuration file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderSettings {
    /// A known provider whose address, protocols and habits are the defaults here. Absent: the known
    /// provider of the same name, if there is one.
    pub preset: Option<Located<String>>,
    /// The address of the provider: `https://host/v1`. Without a path, `/v1` is assumed.
    pub base_url: Option<Located<String>>,
    /// The credential, by reference: `env:NAME` or `file:PATH`.
    pub key: Option<Located<String>>,
    /// The way to send the credential. Default: `x-api-key` for Messages, else `bearer`.
    pub auth: Option<Auth>,
    /// The protocols it speaks, the preferred one first.
    pub protocols: Option<Vec<ProtocolId>>,
    /// The HTTP version spoken to it. Default: `auto`.
    pub http: HttpVersion,
    /// Failures in a row after which a target is left alone for a while; 0: it never is. Default: 5.
    pub breaker_failures: Option<u32>,
    /// Its time-outs, where they differ from `timeouts` for all.
    pub timeouts: TimeoutSettings,
    /// The treatment of its answer when the client is gone. Default: `abort`.
    pub on_client_gone: OnClientGone,
    /// Habits in which it differs from its preset.
    pub profile: ProfileSettings,
    /// Whether requests may refer to state held at the provider (stored responses, files, containers). All
    /// callers share the provider's account, so this is for deployments with a single tenant.
    pub allow_upstream_state: bool,
    /// Models, by the provider's own names, that requests may name besides `model`: fall-backs, advisers, models of
    /// tools. `*`: any model, and routes and providers of a router too. They answer whatever the caller's key may
    /// call, at the price of the model that was asked. Default: none.
    pub inner_models: Vec<String>,
}

/// The time-outs of one provider, in seconds. Default of each: that of `timeouts` for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TimeoutSettings {
    /// For a connection, and for its TLS handshake once more.
    pub connect: Option<u64>,
    /// From the request to the first byte of the answer.
    pub first_byte: Option<u64>,
    /// Between two signs of life after that.
    pub silence: Option<u64>,
    /// For a whole answer that is no stream.
    pub total: Option<u64>,
}

/// The treatment of a provider's answer when the client is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnClientGone {
    /// The provider is left after two seconds, in which its token counts may come; without them, charged is an
    /// estimate of what it has done. Where nothing is charged, it is left at once.
    #[default]
    Abort,
    /// The answer is read to its end, so that what the provider has counted is charged.
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
    /// Not at all.
    None,
}

/// The HTTP version spoken to a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HttpVersion {
    /// Over TLS what the provider prefers, else HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1.
    H1,
    /// HTTP/2; without TLS by prior knowledge.
    H2,
}
