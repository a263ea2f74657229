//! A configuration after all checks.

use std::path::PathBuf;
use std::sync::Arc;

use crate::auth::{AddressList, RateLimits};
use crate::meter::UsageRetention;
use crate::notify::Webhook;
use crate::observe::{AccessLogSettings, ContentRules, MetricsSettings};
use crate::provider::Provider;
use crate::route::Catalog;

use super::admin::AdminListener;
use super::audit::AuditSettings;
use super::cors::Cors;
use super::declared::Declarations;
use super::guards::Guard;
use super::options::LoadOptions;
use super::secret::{Exposed, SecretReference};
use super::settings::{BillingMode, Limits, Timeouts};
use super::tags::TagRules;
use super::tls::TlsFiles;

/// A configuration that can be put into effect.
#[derive(Debug)]
pub struct Config {
    /// The listeners for clients.
    pub listeners: Vec<Listener>,
    /// The listener for operators.
    pub admin: Option<AdminListener>,
    /// The folder of the store, the journals and the hand-over socket.
    pub data: PathBuf,
    /// Threads that serve clients.
    pub threads: usize,
    /// The settings of the access log.
    pub access_log: AccessLogSettings,
    /// The rules of the content log; absent: there is none.
    pub content_log: Option<Arc<ContentRules>>,
    /// Whether calls are paid for.
    pub billing: BillingMode,
    /// The rate limits of new keys.
    pub key_defaults: RateLimits,
    /// The time for which usage is kept.
    pub usage: UsageRetention,
    /// The receivers of events.
    pub webhooks: Vec<Webhook>,
    /// The rules for tags of calls.
    pub tags: TagRules,
    /// Whether calls are counted, and the accounts and keys that have metrics of their own.
    pub metrics: MetricsSettings,
    /// The origins whose scripts may call from a browser.
    pub cors: Cors,
    /// The proxies that name the addresses of their clients.
    pub trusted_proxies: AddressList,
    /// The limits on requests.
    pub limits: Limits,
    /// The settings of the audit log.
    pub audit: AuditSettings,
    /// The time-outs of providers.
    pub timeouts: Timeouts,
    /// All providers.
    pub providers: Vec<Arc<Provider>>,
    /// The guards, in the order in which they are asked.
    pub guards: Vec<Guard>,
    /// All models.
    pub catalog: Catalog,
    /// The keys and accounts that are declared.
    pub declarations: Declarations,
    /// The port of the built-in provider, if it is in use.
    pub demo: Option<u16>,
    /// Files with secrets that users other than the gateway's may use.
    pub exposed: Vec<Exposed>,
    /// The files besides the configuration that are watched like it: those of secrets, and those to which providers refer.
    pub watched: Vec<PathBuf>,
    /// The references to secrets and key files, if only their form was checked.
    pub references: Vec<SecretReference>,
    /// The options with which it was loaded, and with which its file is loaded again.
    pub options: LoadOptions,
}

/// One address for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// `host:port`.
    pub address: String,
    /// The certificate and the key for TLS; absent: no TLS.
    pub tls: Option<TlsFiles>,
}
