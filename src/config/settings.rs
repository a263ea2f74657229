//! The top level of the configuration file, and the settings that belong to no other module.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::auth::{AddressList, Aliases, RateLimits};
use crate::located::Located;
use crate::observe::{AccessLogSettings, ContentLogSettings, MetricsSettings};
use crate::provider::ProviderSettings;
use crate::route::ModelSettings;

use super::tls::TlsFiles;
use super::{
    AccountSettings, AdminSettings, AuditSettings, CorsSettings, GuardSettings, KeySettings, RateSetting,
    TagSettings, UsageSettings, WebhookSettings,
};

/// The configuration of a CrossModel gateway.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "CrossModel configuration")]
pub struct Settings {
    /// The addresses for clients. Default: `127.0.0.1:8080`, without TLS.
    pub listen: Option<Vec<ListenerSettings>>,
    /// The address for the console, `/metrics`, `/healthz` and `/readyz`, alone or in a map with a token. `off`:
    /// there is no such listener. Default: `127.0.0.1:9090`.
    pub admin: Option<Located<AdminSettings>>,
    /// The folder for keys and accounts. A relative path, here and in other settings, is taken from the folder of this file.
    /// Default: `data`.
    pub data: Option<PathBuf>,
    /// The number of threads that serve clients. Default: one per core.
    pub threads: Option<usize>,
    /// The destination of access lines, `stdout`, `off`, or the path of a file, or a map with it and other settings
    /// of the lines. Default: `stdout`.
    pub access_log: Option<Located<AccessLogSettings>>,
    /// The log of what clients send and get, in a file of its own. Each answer to a call that is written tells so in
    /// `x-crossmodel-content-logged`. Default: none.
    pub content_log: Option<Located<ContentLogSettings>>,
    /// The treatment of calls of models that have prices. An account with a wallet pays from it. An account without
    /// one makes its calls all the same, and their cost is counted (`track`), or is refused (`prepaid`, or `on`).
    /// `off`: nobody pays, and no cost is counted. Default: `track`.
    pub billing: BillingMode,
    /// The audit log.
    pub audit: AuditSettings,
    /// Whether calls are counted for `/metrics` and the console (`on`, `off`), or a map of the accounts and keys that
    /// have metrics of their own. `off`: the figures keep their last values. Default: `on`.
    pub metrics: Option<Located<MetricsSettings>>,
    /// The origins whose scripts may call the gateway from a browser (CORS). `off`: none. Default: all. The gateway
    /// accepts no cookies, so a script needs a key of its own.
    pub cors: CorsSettings,
    /// The proxies before the gateway, as addresses or blocks such as `10.0.0.0/8`. From these, the header
    /// `x-forwarded-for` names the client, whose address is used in access lines and for `allow_ips` of keys. They may
    /// have any number of connections. Default: none.
    pub trusted_proxies: AddressList,
    /// The limits on requests.
    pub limits: Limits,
    /// The time-outs of providers.
    pub timeouts: Timeouts,
    /// Whether every preset whose key is in the environment is used in addition to `providers`, with all of its
    /// models, as it is without a configuration file. Default: `false`.
    pub providers_from_environment: bool,
    /// Providers, by a name of your choice. `demo` is built in: `demo: {}` enables it.
    pub providers: BTreeMap<Located<String>, ProviderSettings>,
    /// Models, in the order in which they are listed.
    pub models: Vec<ModelSettings>,
    /// HTTP services that are asked about requests before these go anywhere, in this order. Default: none.
    pub guards: Vec<Located<GuardSettings>>,
    /// The rate limits of new keys for which no others are given. Default: unlimited.
    pub key_defaults: KeyDefaults,
    /// The time for which usage is kept.
    pub usage: UsageSettings,
    /// The receivers of events: budgets, balances, targets, the configuration and keys.
    pub webhooks: Vec<WebhookSettings>,
    /// The tags by which operators tell calls apart.
    pub tags: TagSettings,
    /// Aliases of models for every key: `name: vendor/model`, or `prefix*: vendor/model`.
    pub aliases: Aliases,
    /// The owner of the keys and accounts that this file declares: a gateway changes no object of another instance.
    /// Default: the path of the file.
    pub instance: Option<Located<String>>,
    /// Accounts that are made and kept as they are written here.
    pub accounts: Vec<Located<AccountSettings>>,
    /// Keys that are made and kept as they are written here.
    pub keys: Vec<Located<KeySettings>>,
}

/// The rate limits of new keys, per minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KeyDefaults {
    /// Requests, or `unlimited`. Default: `unlimited`.
    pub rpm: RateSetting,
    /// Tokens, or `unlimited`. Default: `unlimited`.
    pub tpm: RateSetting,
}

impl KeyDefaults {
    /// Returns the rate limits of a new key.
    #[must_use]
    pub fn rate(self) -> RateLimits {
        RateLimits { rpm: self.rpm.limit(), tpm: self.tpm.limit() }
    }
}

/// The treatment of calls that cost something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BillingMode {
    /// Nobody pays, and no cost is counted.
    Off,
    /// Accounts with a wallet pay from it; the cost of all others is counted.
    #[default]
    Track,
    /// Accounts with a wallet pay from it; all others are refused. The earlier name is `on`.
    #[serde(alias = "on")]
    Prepaid,
}

impl BillingMode {
    /// Whether calls have a cost.
    #[must_use]
    pub fn counts_cost(self) -> bool {
        self != Self::Off
    }

    /// Whether an account needs a wallet for calls that cost something.
    #[must_use]
    pub fn requires_wallet(self) -> bool {
        self == Self::Prepaid
    }
}

/// One address for clients.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerSettings {
    /// `host:port`. Both HTTP/1.1 and HTTP/2 are served there.
    pub address: Located<String>,
    /// The certificate and the key for TLS; absent: no TLS.
    pub tls: Option<TlsFiles>,
}

/// Limits on the size, the speed and the number of requests, connections and calls.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The largest request body, in bytes; a larger one is refused with 413. Default: 32 MiB, which is Anthropic's
    /// limit.
    pub body_bytes: usize,
    /// The time in which a request's body has to arrive, in seconds; a slower one is refused with 408. Default:
    /// 60.
    pub body_seconds: u64,
    /// The slowest average rate of a request's body after the grace period, in bytes per second; a slower body is
    /// refused with 408. Default: 1 KiB.
    pub body_bytes_per_second: u64,
    /// The grace period in which a body may be slower than that, in seconds. Default: 10.
    pub body_grace_seconds: u64,
    /// The memory for the bodies of all requests together, in bytes; a request beyond that is refused with 503. It
    /// includes bodies that were rewritten for a provider, and parts that are kept for an answer. Default: 1 GiB.
    pub body_memory_bytes: usize,
    /// The largest head of a request, in bytes; a larger one is refused with 431. Default: 64 KiB.
    pub head_bytes: usize,
    /// The most header fields of a request; more are refused with 431. Default: 100.
    pub head_fields: usize,
    /// The time in which a request's head has to arrive, in seconds from its first byte. Default: 10.
    pub head_seconds: u64,
    /// The time for which a connection without a request stays open, in seconds. Default: 75.
    pub idle_seconds: u64,
    /// The age of a connection, in seconds, from which on it is closed after its current answer. Default: 3600.
    pub connection_seconds: u64,
    /// The time in which a client has to accept what is written to it at once, in seconds. Default: 60.
    pub write_seconds: u64,
    /// The time after which a client that waits for a stream gets a sign of life, in seconds; 0: it gets none. If the
    /// provider has not answered by then, the client gets the head of its stream with it, so that no other target is
    /// tried any more and a failure is told in the stream. Default: 12.
    pub keep_alive_seconds: u64,
    /// The most connections of clients; further ones are closed at once. Default: half of the files that the
    /// process may open, at most 20,000.
    pub connections: Option<usize>,
    /// The most connections from one address, or from one /64 for IPv6. Default: half of `connections`.
    pub connections_per_address: Option<usize>,
    /// The most calls that are answered at once; further ones are refused with 503. Default: 10,000.
    pub calls: usize,
    /// The most answers that are read at once although their clients have left. Default: 1,000.
    pub drains: usize,
    /// The most of these answers for one account, while no other account has any. Default: a tenth of `drains`.
    pub drains_per_account: Option<usize>,
    /// The largest event of a provider's stream, in bytes. Generated pictures are events of many megabytes. One that
    /// arrives counts towards `body_memory_bytes`. Default: 64 MiB.
    pub event_bytes: usize,
    /// The largest answer of a provider that is not a stream, in bytes. Default: 64 MiB.
    pub reply_bytes: usize,
}

/// Timeouts of providers, and the time for running requests at the end of the gateway, in seconds.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// For connecting, and again for the TLS handshake. Default: 5.
    pub connect: u64,
    /// From the request to the first byte of the answer. Models may think for minutes. Default: the same as
    /// `silence`.
    pub first_byte: Option<u64>,
    /// Between two pieces of data after that. Default: 600.
    pub silence: u64,
    /// For a whole answer that is not a stream. Default: 1800.
    pub total: u64,
    /// For the rest of an answer that is still read after its client has left. Default: 120.
    pub client_gone: u64,
    /// For the provider to accept one write. Default: 60.
    pub write: u64,
    /// For running requests when the gateway is told to stop (graceful shutdown). Default: 30.
    pub drain: u64,
    /// For running requests when another process has taken over the listeners (zero-downtime upgrade). Default:
    /// 3600.
    pub handover: u64,
}

impl Limits {
    /// Returns the time between two signs of life to a client that waits for a stream; `None` if it gets none.
    #[must_use]
    pub fn keep_alive(&self) -> Option<Duration> {
        (self.keep_alive_seconds > 0).then(|| Duration::from_secs(self.keep_alive_seconds))
    }
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
            keep_alive_seconds: 12,
            connections: None,
            connections_per_address: None,
            calls: 10_000,
            drains: 1000,
            drains_per_account: None,
            event_bytes: 64 << 20,
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

/// The address for clients if none is set.
pub(super) const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

/// The address for operators if none is set.
pub(super) const DEFAULT_ADMIN: &str = "127.0.0.1:9090";

/// The data folder if none is set: a folder beside the file.
pub(super) const DEFAULT_DATA: &str = "data";
