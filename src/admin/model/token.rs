//! Credentials of operators.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::error::Mistake;
use crate::auth::Role;

use super::body::Checked;
use super::members::check_name;
use super::{Moment, Origin, Period};

/// An operator's credential.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// `token`.
    pub object: String,
    /// The id.
    pub id: String,
    /// The name, which the audit log shows.
    pub name: String,
    /// Its rights.
    pub role: Role,
    /// The accounts that it sees and changes, with their keys; `null`: all.
    #[serde(default)]
    pub accounts: Option<Vec<String>>,
    /// The secret, which is shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Advice if the secret cannot be shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The source that rules it.
    pub origin: Origin,
    /// The time at which it was made; `null` for tokens of the configuration file.
    pub created_at: Option<Moment>,
    /// The operator who has made it; `null` for tokens of the configuration file.
    pub created_by: Option<String>,
    /// The time from which it no longer works; `null`: never.
    pub expires_at: Option<Moment>,
}

/// A credential to be made.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewToken {
    /// The name, which the audit log shows.
    pub name: String,
    /// Its rights. Default: `read`.
    pub role: Role,
    /// The ids of the accounts that it sees and changes, with their keys. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accounts: Option<Vec<String>>,
    /// The time from which it no longer works. Default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Moment>,
    /// The same as a period from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Period>,
}

impl Checked for NewToken {
    fn check(&self, mistakes: &mut Vec<Mistake>) {
        if self.name.is_empty() {
            mistakes.push(Mistake::new("name", "is empty"));
        }
        check_name("name", &self.name, mistakes);
        if let Some(accounts) = &self.accounts {
            if accounts.is_empty() || accounts.len() > MAX_ACCOUNT_COUNT {
                let message = format!("has to name 1 to {MAX_ACCOUNT_COUNT} accounts");
                mistakes.push(Mistake::new("accounts", message));
            }
            accounts.iter().for_each(|account| check_name("accounts", account, mistakes));
        }
        if self.expires_at.is_some() && self.expires_in.is_some() {
            mistakes.push(Mistake::new("expires_in", "give `expires_at` or `expires_in`, not both"));
        }
    }
}

/// The most accounts that a credential names.
const MAX_ACCOUNT_COUNT: usize = 1_000;
