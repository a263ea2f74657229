//! A configuration after all checks.

use std::path::PathBuf;
use std::sync::Arc;

use crate::observe::Destination;
use crate::provider::Provider;
use crate::route::Catalog;

use super::admin::Admin;
use super::secret::Exposed;
use super::settings::{Limits, Switch, Timeouts, TlsFiles};

/// A configuration that can be put into force.
#[derive(Debug)]
pub struct Config {
    /// Where clients are listened for.
    pub listeners: Vec<Listener>,
    /// Where operators are listened for.
    pub admin: Option<Admin>,
    /// The folder of the store.
    pub data: PathBuf,
    /// Threads that serve clients.
    pub threads: usize,
    /// Where access lines go.
    pub access_log: Destination,
    /// Are calls paid for?
    pub billing: Switch,
    /// Are calls counted?
    pub metrics: Switch,
    /// What a request may be.
    pub limits: Limits,
    /// How long a provider may take.
    pub timeouts: Timeouts,
    /// All providers.
    pub providers: Vec<Arc<Provider>>,
    /// All models.
    pub catalog: Catalog,
    /// The port of the built-in provider, if it is in use.
    pub demo: Option<u16>,
    /// Files with secrets that others than the gateway may use.
    pub exposed: Vec<Exposed>,
}

/// One address for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// `host:port`.
    pub address: String,
    /// Certificate and key, for TLS.
    pub tls: Option<TlsFiles>,
}
