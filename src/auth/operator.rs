//! Operators: their credentials and rights.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Token;

/// A credential of an operator from the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorToken {
    /// The name, which the audit log shows.
    pub name: String,
    /// Its rights.
    pub role: Role,
    /// The credential.
    pub token: Token,
}

/// The rights of an operator's credential. Each role includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything may be read.
    #[default]
    Read,
    /// Keys may be changed.
    Keys,
    /// Everything may be changed.
    Admin,
}

impl Role {
    /// Returns the name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Keys => "keys",
            Self::Admin => "admin",
        }
    }

    /// Returns the role of a stored name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        [Self::Keys, Self::Admin].into_iter().find(|role| role.name() == name).unwrap_or_default()
    }
}
