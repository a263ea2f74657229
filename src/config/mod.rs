//! The configuration: one YAML file, or none at all.
//!
//! Each module owns its settings, and this one only composes them. The contents of a [`Config`] are checked: a
//! target's provider exists, a URL is valid, a secret was found.

mod admin;
mod build;
mod connection;
mod cors;
mod error;
mod first_run;
mod guard_build;
mod guards;
mod load;
mod loaded;
mod node;
mod options;
mod places;
mod providers;
mod retirement;
mod schema;
mod secret;
mod settings;
mod status;
mod units;
mod warning;

pub use admin::{AdminListener, AdminSettings};
pub use cors::{Cors, CorsMembers, CorsSettings, OriginSettings, Origins};
pub use error::{ConfigError, Problem};
pub use first_run::DEMO;
pub use guards::{Guard, GuardFallback, GuardMoment, GuardSettings, GuardView};
pub use loaded::{Config, Listener};
pub use options::LoadOptions;
pub use places::{Places, key_defaults};
pub use schema::schema;
pub use secret::{Exposed, SecretReference, SecretSource};
pub use settings::{
    BillingMode, ClientAuth, KeyDefaults, Limits, ListenerSettings, RateSetting, Settings, Switch, Timeouts,
    TlsFiles,
};
pub use status::{
    ConfigStatus, LoadedFile, ProcessSettings, RefusedFile, ReloadTrigger, changed_sections, sha256,
};
pub use warning::Warning;
