//! Operators: their credentials and rights.

use std::sync::Arc;

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
    /// The accounts that it is for.
    pub accounts: AccountScope,
}

/// An operator whose credential is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// The name, which the audit log shows.
    pub name: String,
    /// The rights.
    pub role: Role,
    /// The accounts to which the rights are limited.
    pub accounts: AccountScope,
}

/// The accounts that an operator sees and changes: some by id, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountScope(Option<Arc<[String]>>);

impl AccountScope {
    /// Makes the scope of these accounts, or of all.
    #[must_use]
    pub fn new(accounts: Option<Vec<String>>) -> Self {
        Self(accounts.map(Into::into))
    }

    /// Returns the accounts; `None`: all.
    #[must_use]
    pub fn accounts(&self) -> Option<&[String]> {
        self.0.as_deref()
    }

    /// Whether all accounts belong to it.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// Whether an account belongs to it.
    #[must_use]
    pub fn includes(&self, account: &str) -> bool {
        self.accounts().is_none_or(|accounts| accounts.iter().any(|known| known == account))
    }
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
