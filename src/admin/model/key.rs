//! Keys.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::error::Mistake;
use crate::auth::{
    self, AddressList, Aliases, ContentLogging, Digest, MAX_ADDRESS_COUNT, MAX_NOTES_CHARS, Status,
};
use crate::route::{MAX_NAME_BYTES, is_model_name};

use super::body::Checked;
use super::members::{check_limit, check_name, check_tag_changes, check_tags, check_text, nullable};
use super::{Budget, Moment, NewBudget, Origin, Period, Tags, Usd};

/// A key.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Key {
    /// `key`.
    pub object: String,
    /// The id, which appears in logs and tables.
    pub id: String,
    /// A human-readable name.
    pub name: String,
    /// The account that owns it.
    pub account: String,
    /// The status that an operator has set.
    pub status: Status,
    /// The state that applies now.
    pub state: KeyState,
    /// The source that rules it.
    pub origin: Origin,
    /// The secret, which is shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Advice if the secret cannot be shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The secrets that work, oldest first: two during a rotation.
    pub secrets: Vec<SecretView>,
    /// The models that the key may call, as ids or `vendor/*`; `null`: all models.
    pub models: Option<Vec<String>>,
    /// The key's own aliases.
    pub aliases: Aliases,
    /// Requests per minute; `null`: unlimited.
    pub rpm: Option<u32>,
    /// Tokens per minute; `null`: unlimited.
    pub tpm: Option<u32>,
    /// The most calls that are answered at once; `null`: unlimited.
    pub max_concurrent: Option<u32>,
    /// The addresses and blocks from which the key may be used; `null`: all.
    pub allow_ips: Option<AddressList>,
    /// The most that all calls of the key together may cost; `null`: as much as the account has.
    pub spending_limit_usd: Option<Usd>,
    /// The budgets, with their states.
    #[serde(default)]
    pub budgets: Vec<Budget>,
    /// The cost of its calls in this month (UTC).
    #[serde(default)]
    pub spent_this_month_usd: Usd,
    /// Whether requests are refused if a part of them would be lost in translation.
    pub strict: bool,
    /// Whether the key has metrics of its own.
    #[serde(default)]
    pub watch: bool,
    /// Whether the content of its calls may be written to the content log.
    #[serde(default)]
    pub content_log: ContentLogging,
    /// Names and values for the operator's own use.
    pub tags: Tags,
    /// Notes for operators.
    pub notes: String,
    /// The time from which the key no longer works; `null`: never.
    pub expires_at: Option<Moment>,
    /// The time at which it was made.
    pub created_at: Moment,
    /// The operator who has made it.
    pub created_by: String,
    /// The time at which it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Moment>,
    /// The version, for `If-Match`.
    pub etag: String,
    /// Advice about the key.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// The state of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It works.
    Active,
    /// An operator has disabled it.
    Disabled,
    /// It has expired.
    Expired,
    /// Its account is disabled.
    AccountDisabled,
    /// It was deleted.
    Deleted,
}

/// A secret of a key, without the secret itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretView {
    /// Its last four characters.
    pub hint: Option<String>,
    /// The time at which it was made.
    pub created_at: Moment,
    /// The time from which it no longer works; `null`: never.
    pub not_after: Option<Moment>,
    /// The minute of its last use.
    pub last_used_at: Option<Moment>,
}

/// A key to be made.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewKey {
    /// A human-readable name.
    pub name: String,
    /// The account that owns it. Default: `default`.
    pub account: Option<String>,
    /// The models that it may call, as ids or `vendor/*`. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// Its own aliases.
    pub aliases: Aliases,
    /// Requests per minute. Default: `key_defaults` of the file. `null`: unlimited.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>")]
    pub rpm: Option<Option<u32>>,
    /// Tokens per minute. Default: `key_defaults` of the file. `null`: unlimited.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>")]
    pub tpm: Option<Option<u32>>,
    /// The most that all its calls together may cost. Default: as much as the account has.
    pub spending_limit_usd: Option<Usd>,
    /// Its budgets. Default: none but the spending limit, which is its hard budget for all time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<NewBudget>,
    /// The most calls that are answered at once. Default: unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u32>,
    /// The addresses from which it may be used, and blocks of them such as `10.0.0.0/8`. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_ips: Option<AddressList>,
    /// Whether requests are refused if a part of them would be lost in translation.
    pub strict: bool,
    /// Whether it has metrics of its own.
    pub watch: bool,
    /// Whether the content of its calls may be written to the content log. Default: `on`.
    pub content_log: ContentLogging,
    /// Names and values for the operator's own use.
    pub tags: Tags,
    /// Notes for operators.
    pub notes: String,
    /// The time from which it no longer works. Default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Moment>,
    /// The same as a period from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Period>,
}

/// Changes of a key (RFC 7396): absent members stay as they are.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KeyPatch {
    /// A human-readable name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The account that owns it from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Whether it is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// The models that it may call; `null`: all.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub models: Option<Option<Vec<String>>>,
    /// Its own aliases by name; a model that is `null` removes one.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<std::collections::BTreeMap<String, Option<String>>>")]
    pub aliases: Option<Option<std::collections::BTreeMap<String, Option<String>>>>,
    /// Requests per minute; `null`: unlimited.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>")]
    pub rpm: Option<Option<u32>>,
    /// Tokens per minute; `null`: unlimited.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>")]
    pub tpm: Option<Option<u32>>,
    /// The most that all its calls together may cost; `null`: as much as the account has.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Usd>")]
    pub spending_limit_usd: Option<Option<Usd>>,
    /// Its budgets, in place of all that it has; `null`: none. One whose period and kind stay keeps what was spent.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<NewBudget>>")]
    pub budgets: Option<Option<Vec<NewBudget>>>,
    /// The most calls that are answered at once; `null`: unlimited.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>")]
    pub max_concurrent: Option<Option<u32>>,
    /// The addresses and blocks from which it may be used; `null`: all.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<AddressList>")]
    pub allow_ips: Option<Option<AddressList>>,
    /// Whether requests are refused if a part of them would be lost in translation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
    /// Whether it has metrics of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch: Option<bool>,
    /// Whether the content of its calls may be written to the content log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_log: Option<ContentLogging>,
    /// Names and values for the operator's own use; a value that is `null` removes one.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<std::collections::BTreeMap<String, Option<String>>>")]
    pub tags: Option<Option<std::collections::BTreeMap<String, Option<String>>>>,
    /// Notes for operators.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub notes: Option<Option<String>>,
    /// The time from which it no longer works; `null`: never.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Moment>")]
    pub expires_at: Option<Option<Moment>>,
}

/// A rotation of a key's secret.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rotation {
    /// The time for which the earlier secret still works, at most 30 days. Default: 24 hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Period>,
}

/// A question for the key of a secret.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KeyLookup {
    /// The SHA-256 of the secret, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The last four characters of the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Rotation {
    /// Returns the overlap in seconds.
    pub(in crate::admin) fn seconds(self) -> i64 {
        self.overlap.map_or(DEFAULT_OVERLAP_SECONDS, |Period(seconds)| seconds)
    }
}

impl Checked for NewKey {
    fn check(&self, mistakes: &mut Vec<Mistake>) {
        check_name("name", &self.name, mistakes);
        check_text("notes", &self.notes, MAX_NOTES_CHARS, mistakes);
        check_tags(&self.tags, mistakes);
        check_models(self.models.as_deref(), mistakes);
        for (alias, model) in self.aliases.iter() {
            check_alias(alias, Some(model), mistakes);
        }
        check_limit(("rpm", "key"), self.rpm.flatten(), mistakes);
        check_limit(("tpm", "key"), self.tpm.flatten(), mistakes);
        check_limit(("max_concurrent", "key"), self.max_concurrent, mistakes);
        check_addresses(self.allow_ips.as_ref(), mistakes);
        check_money(self.spending_limit_usd, mistakes);
        let is_limit = |budget: &NewBudget| budget.period == auth::Period::Total && budget.hard;
        if self.spending_limit_usd.is_some() && self.budgets.iter().any(is_limit) {
            mistakes.push(Mistake::new("budgets", LIMIT_TWICE));
        }
        if self.expires_at.is_some() && self.expires_in.is_some() {
            mistakes.push(Mistake::new("expires_in", "give `expires_at` or `expires_in`, not both"));
        }
    }
}

impl Checked for KeyPatch {
    fn check(&self, mistakes: &mut Vec<Mistake>) {
        if let Some(name) = &self.name {
            check_name("name", name, mistakes);
        }
        if let Some(Some(notes)) = &self.notes {
            check_text("notes", notes, MAX_NOTES_CHARS, mistakes);
        }
        check_tag_changes(self.tags.iter().flatten().next(), mistakes);
        check_models(self.models.as_ref().and_then(Option::as_deref), mistakes);
        for (alias, model) in self.aliases.iter().flatten().flatten() {
            check_alias(alias, model.as_deref(), mistakes);
        }
        check_limit(("rpm", "key"), self.rpm.flatten(), mistakes);
        check_limit(("tpm", "key"), self.tpm.flatten(), mistakes);
        check_limit(("max_concurrent", "key"), self.max_concurrent.flatten(), mistakes);
        check_addresses(self.allow_ips.as_ref().and_then(Option::as_ref), mistakes);
        check_money(self.spending_limit_usd.flatten(), mistakes);
        if self.spending_limit_usd.is_some() && self.budgets.is_some() {
            mistakes.push(Mistake::new("budgets", "give `spending_limit_usd` or `budgets`, not both"));
        }
    }
}

impl Checked for Rotation {
    fn check(&self, mistakes: &mut Vec<Mistake>) {
        if self.seconds() > MAX_OVERLAP_SECONDS {
            mistakes.push(Mistake::new("overlap", "is longer than 30d"));
        }
    }
}

impl Checked for KeyLookup {
    fn check(&self, mistakes: &mut Vec<Mistake>) {
        if self.sha256.is_some() == self.hint.is_some() {
            mistakes.push(Mistake::new("sha256", "give either `sha256` or `hint`"));
        }
        if self.sha256.as_ref().is_some_and(|hex| Digest::from_hex(hex).is_none()) {
            mistakes.push(Mistake::new("sha256", "is not 64 hexadecimal digits"));
        }
    }
}

pub(super) fn check_models(models: Option<&[String]>, mistakes: &mut Vec<Mistake>) {
    for (n, model) in models.unwrap_or_default().iter().enumerate() {
        check_model(&format!("models[{n}]"), model, mistakes);
    }
    if models.is_some_and(|models| models.len() > MAX_MODEL_COUNT) {
        mistakes.push(Mistake::new("models", format!("there are more than {MAX_MODEL_COUNT}")));
    }
}

fn check_alias(alias: &str, model: Option<&str>, mistakes: &mut Vec<Mistake>) {
    let param = format!("aliases.{alias}");
    check_model(&param, alias, mistakes);
    if let Some(model) = model {
        check_model(&param, model, mistakes);
    }
}

fn check_model(param: &str, name: &str, mistakes: &mut Vec<Mistake>) {
    if !is_model_name(name) {
        let message = format!("a model's name has 1 to {MAX_NAME_BYTES} visible ASCII characters");
        mistakes.push(Mistake::new(param, message));
    }
}

fn check_addresses(list: Option<&AddressList>, mistakes: &mut Vec<Mistake>) {
    if list.is_some_and(AddressList::is_empty) {
        mistakes.push(Mistake::new("allow_ips", "is empty; to stop the key, disable it"));
    }
    if list.is_some_and(|list| list.len() > MAX_ADDRESS_COUNT) {
        mistakes.push(Mistake::new("allow_ips", format!("there are more than {MAX_ADDRESS_COUNT}")));
    }
}

fn check_money(limit: Option<Usd>, mistakes: &mut Vec<Mistake>) {
    if limit == Some(Usd::default()) {
        mistakes.push(Mistake::new("spending_limit_usd", "is 0; to stop the key, disable it"));
    }
}

const LIMIT_TWICE: &str = "`spending_limit_usd` is the hard budget for all time: give one of them";

/// The most models that a key names.
const MAX_MODEL_COUNT: usize = 1_000;

/// The overlap of a rotation for which none was given.
const DEFAULT_OVERLAP_SECONDS: i64 = 24 * 3_600;

/// The longest overlap of a rotation.
const MAX_OVERLAP_SECONDS: i64 = 30 * 86_400;
