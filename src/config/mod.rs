//! The configuration: one YAML file, or none at all.
//!
//! Each module owns its settings, and this one only composes them. The contents of a [`Config`] are checked: a
//! target's provider exists, a URL is valid, a secret was found.

mod admin;
mod build;
mod cors;
mod error;
mod first_run;
mod load;
mod loaded;
mod node;
mod options;
mod places;
mod retirement;
mod schema;
mod secret;
mod settings;
mod status;
mod tags;
mod units;
mod usage;
mod warning;
mod webhooks;

pub use admin::{AdminListener, AdminSettings};
pub use cors::{Cors, CorsMembers, CorsSettings, OriginSettings, Origins};
pub use error::{ConfigError, Problem};
pub use first_run::DEMO;
pub use loaded::{Config, Listener};
pub use options::LoadOptions;
pub use places::{Places, key_defaults};
pub use schema::schema;
pub use secret::{Exposed, SecretReference, SecretSource};
pub use settings::{
    BillingMode, KeyDefaults, Limits, ListenerSettings, RateSetting, Settings, Switch, Timeouts, TlsFiles,
};
pub use status::{
    ConfigStatus, LoadedFile, ProcessSettings, RefusedFile, ReloadTrigger, changed_sections, sha256,
};
pub use tags::{TagRules, TagSettings};
pub use usage::{Days, UsageSettings};
pub use warning::Warning;
pub use webhooks::{WebhookSecretSettings, WebhookSettings};
