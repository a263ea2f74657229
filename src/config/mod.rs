//! The configuration: one YAML file, or none at all.
//!
//! Each module owns its settings; this one only composes them. What [`Config`] holds is checked: a
//! target's provider exists, a URL is a URL, a secret was found.

mod admin;
mod build;
mod error;
mod first_run;
mod load;
mod node;
mod schema;
mod secret;
mod settings;

use std::path::PathBuf;
use std::sync::Arc;

use crate::observe::Destination;
use crate::provider::Provider;
use crate::route::Catalog;

pub use admin::{Admin, AdminSettings};
pub use error::{Error, Problem};
pub use first_run::DEMO;
pub use schema::schema;
pub use secret::Exposed;
pub use settings::{Limits, ListenerSettings, Settings, Switch, Timeouts, TlsFiles};

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
