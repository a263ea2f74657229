//! Accounts and their money.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::error::Mistake;
use crate::auth::{MAX_NOTES_CHARS, Status};
use crate::money::Amount;

use super::body::Checked;
use super::key::check_models;
use super::members::{check_limit, check_name, check_tag_changes, check_tags, check_text, nullable};
use super::{Budget, Moment, NewBudget, Origin, Tags, Usd};

/// An account.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    /// `account`.
    pub object: String,
    /// The id.
    pub id: String,
    /// A human-readable name.
    pub name: String,
    /// Whether it is in use.
    pub status: Status,
    /// Its prepaid money; `null` if it has no wallet.
    pub wallet: Option<WalletView>,
    /// The budgets, with their states.
    #[serde(default)]
    pub budgets: Vec<Budget>,
    /// The models that its keys may call, as ids or `vendor/*`; `null`: all models.
    #[serde(default)]
    pub models: Option<Vec<String>>,
    /// Requests per minute of all its keys together; `null`: unlimited.
    #[serde(default)]
    pub rpm: Option<u32>,
    /// Tokens per minute of all its keys together; `null`: unlimited.
    #[serde(default)]
    pub tpm: Option<u32>,
    /// The most calls of all its keys that are answered at once; `null`: unlimited.
    #[serde(default)]
    pub max_concurrent: Option<u32>,
    /// The number of its keys.
    pub keys: u64,
    /// The balance below which somebody wants to be told.
    pub low_balance_usd: Option<Usd>,
    /// Names and values for the operator's own use.
    pub tags: Tags,
    /// The source that rules it.
    pub origin: Origin,
    /// The time at which it was made.
    pub created_at: Moment,
    /// The operator who has made it.
    pub created_by: String,
    /// The version, for `If-Match`.
    pub etag: String,
}

/// Prepaid money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WalletView {
    /// The balance, which includes what is held.
    pub balance_usd: Usd,
    /// The money that is held for calls in flight.
    pub held_usd: Usd,
}

/// An account to be made.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewAccount {
    /// The id.
    pub id: String,
    /// A human-readable name.
    pub name: String,
    /// The balance below which somebody wants to be told.
    pub low_balance_usd: Option<Usd>,
    /// The models that its keys may call, as ids or `vendor/*`. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// Requests per minute of all its keys together. Default: unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpm: Option<u32>,
    /// Tokens per minute of all its keys together. Default: unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpm: Option<u32>,
    /// The most calls of all its keys that are answered at once. Default: unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u32>,
    /// Its budgets. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<NewBudget>,
    /// Names and values for the operator's own use.
    pub tags: Tags,
}

/// Changes of an account (RFC 7396): absent members stay as they are.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccountPatch {
    /// A human-readable name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// The balance below which somebody wants to be told; `null`: none.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Usd>")]
    pub low_balance_usd: Option<Option<Usd>>,
    /// The models that its keys may call; `null`: all.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub models: Option<Option<Vec<String>>>,
    /// Requests per minute of all its keys together; `null`: unlimited.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>")]
    pub rpm: Option<Option<u32>>,
    /// Tokens per minute of all its keys together; `null`: unlimited.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>")]
    pub tpm: Option<Option<u32>>,
    /// The most calls of all its keys that are answered at once; `null`: unlimited.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>")]
    pub max_concurrent: Option<Option<u32>>,
    /// Its budgets, in place of all that it has; `null`: none. One whose period and kind stay keeps what was spent.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<NewBudget>>")]
    pub budgets: Option<Option<Vec<NewBudget>>>,
    /// Names and values for the operator's own use; a value that is `null` removes one.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<std::collections::BTreeMap<String, Option<String>>>")]
    pub tags: Option<Option<std::collections::BTreeMap<String, Option<String>>>>,
}

/// Money to be added to a wallet, or to be taken out.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Payment {
    /// The amount.
    pub amount_usd: Usd,
    /// The operator's own name of it, such as an invoice's. What has a known name is not made again. Default: a new
    /// one.
    pub reference: Option<String>,
    /// The reason, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Money that was added to a wallet, or taken out.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Transaction {
    /// `transaction`.
    pub object: String,
    /// The id.
    pub id: String,
    /// The account.
    pub account: String,
    /// `top_up` or `refund`.
    pub kind: String,
    /// The amount.
    pub amount_usd: Usd,
    /// The balance after it; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance_usd: Option<Usd>,
    /// The operator's own name of it.
    pub reference: String,
    /// The reason, for people.
    pub reason: Option<String>,
    /// The operator who has made it; `null` for those from before operators were noted.
    pub created_by: Option<String>,
    /// The time at which it was made.
    pub created_at: Moment,
    /// Whether it had been made already.
    pub repeated: bool,
}

impl Checked for NewAccount {
    fn check(&self, mistakes: &mut Vec<Mistake>) {
        if self.id.is_empty() {
            mistakes.push(Mistake::new("id", "is empty"));
        }
        check_name("id", &self.id, mistakes);
        check_name("name", &self.name, mistakes);
        check_tags(&self.tags, mistakes);
        check_models(self.models.as_deref(), mistakes);
        check_limits([self.rpm, self.tpm, self.max_concurrent], mistakes);
    }
}

impl Checked for AccountPatch {
    fn check(&self, mistakes: &mut Vec<Mistake>) {
        if let Some(name) = &self.name {
            check_name("name", name, mistakes);
        }
        check_tag_changes(self.tags.iter().flatten().next(), mistakes);
        check_models(self.models.as_ref().and_then(Option::as_deref), mistakes);
        check_limits([self.rpm, self.tpm, self.max_concurrent].map(Option::flatten), mistakes);
    }
}

fn check_limits(limits: [Option<u32>; 3], mistakes: &mut Vec<Mistake>) {
    for (param, limit) in ["rpm", "tpm", "max_concurrent"].into_iter().zip(limits) {
        check_limit((param, "account"), limit, mistakes);
    }
}

impl Checked for Payment {
    fn check(&self, mistakes: &mut Vec<Mistake>) {
        if self.amount_usd.0 == Amount::ZERO {
            mistakes.push(Mistake::new("amount_usd", "the amount must be more than nothing"));
        }
        if let Some(reference) = &self.reference {
            check_name("reference", reference, mistakes);
        }
        if let Some(reason) = &self.reason {
            check_text("reason", reason, MAX_NOTES_CHARS, mistakes);
        }
    }
}
