//! `crossmodel key`.

use std::collections::BTreeMap;
use std::io::Write;
use std::str::FromStr;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use crossmodel::auth::{Key, NewKey, RateLimits, Rights, Status, Store};
use crossmodel::money::Amount;
use crossmodel::route::{MAX_NAME_BYTES, is_model_name};

use super::CommandError;
use super::table::{OutputFormat, print, table};

/// The account of keys for which no account is named.
pub(super) const DEFAULT_ACCOUNT: &str = "default";

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Makes a key and prints it once.
    #[command(
        after_help = "Examples:\n  crossmodel key create --name 'the team' --model 'openai/*' --alias fast=openai/gpt-5-mini\n  crossmodel key create --account team --rpm 600 --tpm unlimited --spending-limit 50\n  crossmodel key create --json"
    )]
    Create(Create),
    /// Changes the rights of a key.
    #[command(
        after_help = "Examples:\n  crossmodel key set key_0123 --rpm unlimited --strict\n  crossmodel key set key_0123 --model all"
    )]
    Set(Change),
    /// Lists all keys.
    #[command(after_help = "Examples:\n  crossmodel key list\n  crossmodel key list --json")]
    List(OutputFormat),
    /// Shows one key.
    #[command(after_help = "Examples:\n  crossmodel key show key_0123")]
    Show(One),
    /// Disables a key.
    #[command(after_help = "Examples:\n  crossmodel key disable key_0123")]
    Disable(One),
    /// Enables a key again.
    #[command(after_help = "Examples:\n  crossmodel key enable key_0123")]
    Enable(One),
    /// Removes a key.
    #[command(after_help = "Examples:\n  crossmodel key delete key_0123")]
    Delete(One),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// A human-readable name.
    #[arg(long, default_value = "")]
    name: String,
    /// The account that owns the key.
    #[arg(long, default_value = DEFAULT_ACCOUNT)]
    account: String,
    #[command(flatten)]
    rights: RightsArguments,
    #[command(flatten)]
    format: OutputFormat,
}

#[derive(Debug, Args)]
pub(super) struct Change {
    #[command(flatten)]
    rights: RightsArguments,
    #[command(flatten)]
    one: One,
}

/// The rights of a key. Rights that are not named stay as they are.
#[derive(Debug, Args)]
struct RightsArguments {
    /// A model that the key may call, as `vendor/model` or `vendor/*`; may be repeated. `all`: every model.
    #[arg(long = "model", value_name = "MODEL", value_parser = model_name)]
    models: Vec<String>,
    /// An alias of a model, as `name=vendor/model` or `prefix*=vendor/model`; may be repeated.
    #[arg(long = "alias", value_name = "NAME=MODEL", value_parser = alias)]
    aliases: Vec<(String, String)>,
    /// Requests per minute, or `unlimited`. Default for a new key: `key_defaults` of the file, or unlimited.
    #[arg(long, value_name = "N")]
    rpm: Option<Limit<u32>>,
    /// Tokens per minute, or `unlimited`. Default for a new key: `key_defaults` of the file, or unlimited.
    #[arg(long, value_name = "N")]
    tpm: Option<Limit<u32>>,
    /// The most that all calls of the key together may cost, in dollars, or `unlimited`. Default for a new key:
    /// unlimited.
    #[arg(long, value_name = "USD")]
    spending_limit: Option<Limit<Amount>>,
    /// Whether the key's requests are refused if a part of them would be lost in translation.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    strict: Option<bool>,
}

/// A limit, or none.
#[derive(Clone, Copy, Debug)]
struct Limit<T>(Option<T>);

#[derive(Debug, Args)]
pub(super) struct One {
    /// The id.
    pub(super) id: String,
    #[command(flatten)]
    pub(super) format: OutputFormat,
}

#[derive(Serialize)]
struct Created<'a> {
    #[serde(flatten)]
    key: &'a Key,
    secret: &'a str,
}

fn alias(text: &str) -> Result<(String, String), String> {
    let (name, model) = text.split_once('=').ok_or("write NAME=MODEL")?;
    Ok((model_name(name)?, model_name(model)?))
}

/// Parses the name of a model.
fn model_name(text: &str) -> Result<String, String> {
    let why = || format!("a model's name has 1 to {MAX_NAME_BYTES} visible ASCII characters");
    is_model_name(text).then(|| text.to_owned()).ok_or_else(why)
}

impl KeyCommand {
    pub(super) fn run(
        &self,
        store: &Store,
        defaults: RateLimits,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        match self {
            Self::Create(create) => create.run(store, defaults, out),
            Self::Set(change) => change.run(store, out),
            Self::List(format) => format.list(&store.keys()?, HEADINGS, row, out),
            Self::Show(one) => one.show(store, out),
            Self::Disable(one) => {
                store.set_key_status(&one.id, Status::Disabled)?;
                one.show(store, out)
            }
            Self::Enable(one) => {
                store.set_key_status(&one.id, Status::Active)?;
                one.show(store, out)
            }
            Self::Delete(one) => {
                store.delete_key(&one.id)?;
                one.confirm("deleted", out)
            }
        }
    }
}

impl Create {
    fn run(&self, store: &Store, rate: RateLimits, out: &mut dyn Write) -> Result<(), CommandError> {
        if self.account == DEFAULT_ACCOUNT && store.account(DEFAULT_ACCOUNT).is_err() {
            store.create_account(DEFAULT_ACCOUNT)?;
        }
        let (account, name) = (self.account.clone(), self.name.clone());
        let rights = self.rights.applied(Rights { rate, ..Rights::default() });
        let (key, secret) = store.create_key(&NewKey { account, name, rights })?;
        if self.format.json {
            return print(&Created { key: &key, secret: secret.expose() }, out);
        }
        writeln!(out, "{}\n\n{} cannot be shown again: keep it now.", secret.expose(), key.id)?;
        Ok(())
    }
}

impl Change {
    fn run(&self, store: &Store, out: &mut dyn Write) -> Result<(), CommandError> {
        let rights = self.rights.applied(store.key(&self.one.id)?.rights);
        store.set_rights(&self.one.id, &rights)?;
        self.one.show(store, out)
    }
}

impl RightsArguments {
    /// Returns the rights of a key that had the rights `before`.
    fn applied(&self, before: Rights) -> Rights {
        let mut rights = before;
        match self.models.as_slice() {
            [] => {}
            [all] if all == "all" => rights.models = None,
            models => rights.models = Some(models.to_vec()),
        }
        for (name, model) in &self.aliases {
            rights.aliases.insert(name.clone(), model.clone());
        }
        if let Some(Limit(rpm)) = self.rpm {
            rights.rate.rpm = rpm;
        }
        if let Some(Limit(tpm)) = self.tpm {
            rights.rate.tpm = tpm;
        }
        if let Some(Limit(limit)) = self.spending_limit {
            rights.spending_limit = limit;
        }
        rights.strict = self.strict.unwrap_or(rights.strict);
        rights
    }
}

impl<T: FromStr> FromStr for Limit<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text == "unlimited" { Ok(Self(None)) } else { text.parse().map(Some).map(Self) }
    }
}

impl One {
    fn show(&self, store: &Store, out: &mut dyn Write) -> Result<(), CommandError> {
        let key = store.key(&self.id)?;
        if self.format.json { print(&key, out) } else { table(HEADINGS, &[row(&key)], out) }
    }

    pub(super) fn confirm(&self, what: &str, out: &mut dyn Write) -> Result<(), CommandError> {
        match self.format.json {
            true => print(&BTreeMap::from([("id", json!(self.id)), (what, json!(true))]), out)?,
            false => writeln!(out, "{} {what}", self.id)?,
        }
        Ok(())
    }
}

fn row(key: &Key) -> Vec<String> {
    let Rights { models, aliases, rate, spending_limit, strict } = &key.rights;
    let aliases: Vec<_> = aliases.iter().map(|(name, model)| format!("{name}={model}")).collect();
    vec![
        key.id.clone(),
        key.account.clone(),
        key.status.to_string(),
        limit(rate.rpm),
        limit(rate.tpm),
        limit(*spending_limit),
        if *strict { "yes" } else { "no" }.to_owned(),
        models.as_ref().map_or_else(|| "all".to_owned(), |models| models.join(",")),
        aliases.join(","),
        key.name.clone(),
    ]
}

fn limit<T: ToString>(limit: Option<T>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}

const HEADINGS: &[&str] =
    &["KEY", "ACCOUNT", "STATUS", "RPM", "TPM", "LIMIT USD", "STRICT", "MODELS", "ALIASES", "NAME"];
