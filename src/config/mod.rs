//! The configuration: one YAML file, or none at all.
//!
//! Each module owns its settings, and this one only composes them. The contents of a [`Config`] are checked: a
//! target's provider exists, a URL is valid, a secret was found.

mod admin;
mod audit;
mod build;
mod connection;
mod content_paths;
mod cors;
mod days;
mod declared;
mod dollars;
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
mod rate;
mod retirement;
mod schema;
mod secret;
mod settings;
mod status;
mod tags;
mod tls;
mod units;
mod usage;
mod warning;
mod webhooks;

pub use admin::{AdminListener, AdminSettings};
pub use audit::AuditSettings;
pub use content_paths::ContentPaths;
pub use cors::{Cors, CorsMembers, CorsSettings, OriginSettings, Origins};
pub use days::Days;
pub use declared::{
    AccountSettings, BudgetSettings, Declarations, DeclaredAccount, DeclaredKey, KeySettings,
};
pub use dollars::DollarSetting;
pub use error::{ConfigError, Problem};
pub use first_run::DEMO;
pub use guards::{Guard, GuardFallback, GuardMoment, GuardSettings, GuardView};
pub use loaded::{Config, Listener};
pub use options::LoadOptions;
pub use places::{Places, key_defaults};
pub use rate::RateSetting;
pub use schema::schema;
pub use secret::{Exposed, SecretReference, SecretSource};
pub use settings::{BillingMode, KeyDefaults, Limits, ListenerSettings, Settings, Timeouts};
pub use status::{
    ConfigStatus, DeclaredStatus, DiskFile, LoadedFile, ProcessSettings, RefusedFile, ReloadTrigger,
    changed_sections, overridden, sha256,
};
pub use tags::{TagRules, TagSettings};
pub use tls::{ClientAuth, TlsFiles};
pub use usage::UsageSettings;
pub use warning::Warning;
pub use webhooks::{WebhookSecretSettings, WebhookSettings};
