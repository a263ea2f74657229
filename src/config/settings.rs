//! The file's top level, and the settings that belong to no other module.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::auth::Aliases;
use crate::located::Located;
use crate::observe::Destination;
use crate::provider::ProviderSettings;
use crate::route::ModelSettings;

use super::AdminSettings;

/// The configuration of a CrossModel gateway.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "CrossModel configuration")]
pub struct Settings {
    /// The addresses for clients. Default: `127.0.0.1:8080`, without TLS.
    pub listen: Option<Vec<ListenerSettings>>,
    /// The address for the console, `/metrics`, `/healthz` and `/readyz`, alone or with a token. Default:
    /// `127.0.0.1:9090`. `off`: none.
    pub admin: Option<Located<AdminSettings>>,
    /// The folder for keys and accounts. Default: `data`.
    pub data: Option<PathBuf>,
    /// Threads that serve clients. Default: one per core.
    pub threads: Option<usize>,
    /// The destination of access lines: `stdout`, `off`, or a file's path. Default: `stdout`.
    pub access_log: Option<Destination>,
    /// Whether a call is paid for from its account's wallet, where its model has a price. `off`: everything is free, and only
    /// counted. Default: `on`.
    pub billing: Switch,
    /// Whether calls are counted for `/metrics` and the console. `off`: what was counted before stays as it is. Default: `on`.
    pub metrics: Switch,
    /// The limits of a request.
    pub limits: Limits,
    /// The time-outs of providers.
    pub timeouts: Timeouts,
    /// Whether every known provider whose key is in the environment is in use besides `providers`, with all of its
    /// models, as it is without a file. Default: `false`.
    pub providers_from_environment: bool,
    /// Providers, by a name of your choice. `demo` is built in: `demo: {}` enables it.
    pub providers: BTreeMap<Located<String>, ProviderSettings>,
    /// Models, in the order in which they are listed.
    pub models: Vec<ModelSettings>,
    /// Other names for models, for every key: `name: vendor/model`, or `prefix*: vendor/model`.
    pub aliases: Aliases,
}

/// Whether a part of the gateway is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// Yes.
    #[default]
    On,
    /// No.
    Off,
}

impl Switch {
    /// Whether it is on.
    #[must_use]
    pub fn is_on(self) -> bool {
        self == Self::On
    }
}

/// One address for clients.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerSettings {
    /// `host:port`. HTTP/1.1 and HTTP/2 are both spoken there.
    pub address: Located<String>,
    /// Certificate and key, for TLS.
    pub tls: Option<TlsFiles>,
}

/// A certificate and its key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificate chain's PEM file.
    pub certificate: PathBuf,
    /// The private key's PEM file.
    pub key: PathBuf,
}

/// The limits of a request, and of how many there may be.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a request's body. Default: 32 MiB, which is what Anthropic accepts.
    pub body_bytes: usize,
    /// Seconds for a request's body. Default: 60.
    pub body_seconds: u64,
    /// Bytes per second, on average, that a request's body has to arrive with after a while. Default: 1 KiB.
    pub body_bytes_per_second: u64,
    /// Seconds for which a body may be slower than that. Default: 10.
    pub body_grace_seconds: u64,
    /// Bytes of all requests' bodies that are in memory at once, also of those that were written for a provider or live on
    /// in an answer. Default: 1 GiB.
    pub body_memory_bytes: usize,
    /// Bytes of a request's head. Default: 64 KiB.
    pub head_bytes: usize,
    /// Fields of a request's head. Default: 100.
    pub head_fields: usize,
    /// Seconds for a request's head, from its first byte. Default: 10.
    pub head_seconds: u64,
    /// Seconds for which a connection without a request stays open. Default: 75.
    pub idle_seconds: u64,
    /// Seconds after which a connection ends with the answer that it carries. Default: 3600.
    pub connection_seconds: u64,
    /// Seconds in which a client has to take what is written to it at once. Default: 60.
    pub write_seconds: u64,
    /// Connections of clients. Default: half of the files that the process may open, at most 20,000.
    pub connections: Option<usize>,
    /// Connections from one address, for IPv6 from one /64. Default: half of `connections`.
    pub connections_per_address: Option<usize>,
    /// Calls that are answered at once. Default: 10,000.
    pub calls: usize,
    /// Answers that are read at once although their clients are gone. Default: 1,000.
    pub drains: usize,
    /// The same of one account, while the others have none. Default: a tenth of `drains`.
    pub drains_per_account: Option<usize>,
    /// Bytes of one event of a provider's stream. Default: 8 MiB.
    pub event_bytes: usize,
    /// Bytes of a provider's answer that is no stream. Default: 64 MiB.
    pub reply_bytes: usize,
}

/// The time-outs of a provider, in seconds.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// For a connection, and for its TLS handshake once more. Default: 5.
    pub connect: u64,
    /// From the request to the first byte of the answer. Models think for minutes. Default: as `silence`.
    pub first_byte: Option<u64>,
    /// Between two signs of life after that. Default: 600.
    pub silence: u64,
    /// For a whole answer that is no stream. Default: 1800.
    pub total: u64,
    /// For the rest of an answer whose client is gone, where it is read all the same. Default: 120.
    pub client_gone: u64,
    /// To take one write. Default: 60.
    pub write: u64,
    /// For running requests when the gateway is told to stop. Default: 30.
    pub drain: u64,
    /// For running requests when another process has taken over the listeners. Default: 3600.
    pub handover: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 32 << 20,
            body_seconds: 60,
            body_bytes_per_second: 1 << 10,
            body_grace_seconds: 10,
            body_memory_bytes: 1 << 30,
            head_bytes: 64 << 10,
            head_fields: 100,
            head_seconds: 10,
            idle_seconds: 75,
            connection_seconds: 3600,
            write_seconds: 60,
            connections: None,
            connections_per_address: None,
            calls: 10_000,
            drains: 1000,
            drains_per_account: None,
            event_bytes: 8 << 20,
            reply_bytes: 64 << 20,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: 5,
            first_byte: None,
            silence: 600,
            total: 1800,
            client_gone: 120,
            write: 60,
            drain: 30,
            handover: 3600,
        }
    }
}
