//! `crossmodel key`.

use std::collections::BTreeMap;
use std::io::{Write, stderr};
use std::str::FromStr;

use clap::{Args, Subcommand};
use serde_json::json;

use crossmodel::admin::client::{Client, encoded, object_path};
use crossmodel::admin::model::{
    Key, KeyLookup, KeyPatch, KeyState, List, Moment, NewKey, Period, Rotation, SecretView, Usd,
};
use crossmodel::auth::{AddressBlock, AddressList, ContentLogging, Digest, Status};
use crossmodel::money::Amount;
use crossmodel::route::{MAX_NAME_BYTES, is_model_name};

use super::failure::CommandError;
use super::table::{OutputFormat, print, table};

/// The account of keys for which no account is named.
pub(super) const DEFAULT_ACCOUNT: &str = "default";

/// The path of keys.
const KEYS: &str = "/keys";

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Makes a key and prints it once.
    #[command(
        after_help = "Examples:\n  crossmodel key create --name 'the team' --model 'openai/*' --alias fast=openai/gpt-5-mini\n  crossmodel key create --account team --rpm 600 --tpm unlimited --spending-limit 50\n  crossmodel key create --json"
    )]
    Create(Create),
    /// Changes the rights of a key.
    #[command(
        after_help = "Examples:\n  crossmodel key set key_0123 --rpm unlimited --strict\n  crossmodel key set key_0123 --model all --expires never"
    )]
    Set(Box<Change>),
    /// Gives a key a new secret and prints it once. The earlier one still works for the overlap.
    #[command(
        after_help = "Examples:\n  crossmodel key rotate key_0123\n  crossmodel key rotate key_0123 --overlap 0s"
    )]
    Rotate(Rotate),
    /// Lists all keys, oldest first.
    #[command(
        after_help = "Examples:\n  crossmodel key list\n  crossmodel key list --account team --state active\n  crossmodel key list --sort last-used --json"
    )]
    List(ListArguments),
    /// Finds the key of a secret: the secret itself on standard input (`-`), its SHA-256, or its last four characters.
    #[command(after_help = "Examples:\n  crossmodel key find -\n  crossmodel key find x9Qz")]
    Find(Find),
    /// Prints the SHA-256 of a secret on standard input, for `sha256` of a key in the configuration file.
    #[command(
        after_help = "Examples:\n  crossmodel key hash -\n\nMake a secret with: echo \"cm-$(openssl rand -hex 20)\""
    )]
    Hash(HashArguments),
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
    life: LifeArguments,
    #[command(flatten)]
    format: OutputFormat,
}

#[derive(Debug, Args)]
pub(super) struct Change {
    /// A human-readable name.
    #[arg(long)]
    name: Option<String>,
    /// The account that owns the key from now on.
    #[arg(long)]
    account: Option<String>,
    #[command(flatten)]
    rights: RightsArguments,
    #[command(flatten)]
    life: LifeArguments,
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
    /// The most calls that are answered at once, or `unlimited`. Default for a new key: unlimited.
    #[arg(long, value_name = "N")]
    max_concurrent: Option<Limit<u32>>,
    /// An address or a block from which the key may be used, such as `10.0.0.0/8`; may be repeated. `all`: every
    /// address.
    #[arg(long = "allow-ip", value_name = "ADDRESS", value_parser = source)]
    allow_ips: Vec<Source>,
    /// The most that all calls of the key together may cost, in dollars, or `unlimited`. Default for a new key:
    /// unlimited.
    #[arg(long, value_name = "USD")]
    spending_limit: Option<Limit<Amount>>,
    /// Whether the key's requests are refused if a part of them would be lost in translation.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    strict: Option<bool>,
}

/// The facts about a key that are no rights.
#[derive(Debug, Args)]
struct LifeArguments {
    /// The time from which the key no longer works: a date, a time, a period from now such as `90d`, or `never`.
    #[arg(long, value_name = "TIME", value_parser = expiry)]
    expires: Option<Expiry>,
    /// A tag, as `name=value`; may be repeated. `name=` removes it.
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// Notes for operators.
    #[arg(long)]
    notes: Option<String>,
    /// Whether the key has metrics of its own.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    watch: Option<bool>,
    /// Whether the content of the key's calls may be written to the content log: `on` or `off`.
    #[arg(long, value_name = "on|off")]
    content_log: Option<ContentLogging>,
}

/// An address or a block from which a key may be used; `None`: all addresses.
#[derive(Clone, Copy, Debug)]
struct Source(Option<AddressBlock>);

/// An expiry, or none.
#[derive(Clone, Copy, Debug)]
struct Expiry(Option<Moment>);

#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// The time for which the earlier secret still works, at most 30d.
    #[arg(long, value_name = "PERIOD", default_value = "24h")]
    overlap: String,
    #[command(flatten)]
    one: One,
}

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// Only the keys of this account.
    #[arg(long)]
    account: Option<String>,
    /// Only the keys in this state.
    #[arg(long, value_parser = ["active", "disabled", "expired", "account_disabled", "deleted"])]
    state: Option<String>,
    /// The order.
    #[arg(long, value_parser = ["created", "name", "account", "spent", "expires", "last-used"], default_value = "created")]
    sort: String,
    #[command(flatten)]
    format: OutputFormat,
}

#[derive(Debug, Args)]
pub(super) struct Find {
    /// `-`, a SHA-256, or four characters.
    what: String,
    #[command(flatten)]
    format: OutputFormat,
}

#[derive(Debug, Args)]
pub(super) struct HashArguments {
    /// `-`: the secret is on standard input.
    #[arg(value_parser = ["-"])]
    secret: String,
}

/// A limit, or none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit<T>(pub(super) Option<T>);

#[derive(Debug, Args)]
pub(super) struct One {
    /// The id.
    pub(super) id: String,
    #[command(flatten)]
    pub(super) format: OutputFormat,
}

fn alias(text: &str) -> Result<(String, String), String> {
    let (name, model) = text.split_once('=').ok_or("write NAME=MODEL")?;
    Ok((model_name(name)?, model_name(model)?))
}

/// Parses the name of a model.
pub(super) fn model_name(text: &str) -> Result<String, String> {
    let why = || format!("a model's name has 1 to {MAX_NAME_BYTES} visible ASCII characters");
    is_model_name(text).then(|| text.to_owned()).ok_or_else(why)
}

/// Parses an address or a block.
fn source(text: &str) -> Result<Source, String> {
    if text == "all" {
        return Ok(Source(None));
    }
    text.parse().map(Some).map(Source)
}

/// Parses an expiry.
fn expiry(text: &str) -> Result<Expiry, String> {
    if text == "never" {
        return Ok(Expiry(None));
    }
    if let Ok(Period(seconds)) = text.parse() {
        return Ok(Expiry(Some(Moment(Moment::now().0.saturating_add(seconds)))));
    }
    text.parse().map(Some).map(Expiry)
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl KeyCommand {
    /// Whether the command makes a key.
    pub(super) fn makes_keys(&self) -> bool {
        matches!(self, Self::Create(_))
    }

    /// Whether the command changes nothing.
    pub(super) fn only_reads(&self) -> bool {
        matches!(self, Self::List(_) | Self::Show(_) | Self::Find(_) | Self::Hash(_))
    }

    pub(super) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), CommandError> {
        match self {
            Self::Create(create) => create.run(client, out),
            Self::Set(change) => change.run(client, out),
            Self::Rotate(rotate) => rotate.run(client, out),
            Self::List(list) => list.run(client, out),
            Self::Find(find) => find.run(client, out),
            Self::Hash(hash) => hash.run(out),
            Self::Show(one) => one.show(client.get(&object_path(KEYS, &one.id))?, out),
            Self::Disable(one) => one.set_status(client, Status::Disabled, out),
            Self::Enable(one) => one.set_status(client, Status::Active, out),
            Self::Delete(one) => {
                client.delete(&object_path(KEYS, &one.id))?;
                one.confirm("deleted", out)
            }
        }
    }
}

impl Create {
    fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), CommandError> {
        let RightsArguments { models, aliases, rpm, tpm, spending_limit, strict, .. } = &self.rights;
        let new = NewKey {
            name: self.name.clone(),
            account: Some(self.account.clone()),
            models: models_of(models).flatten(),
            aliases: aliases.iter().cloned().collect::<BTreeMap<_, _>>().into(),
            rpm: rpm.map(|Limit(limit)| limit),
            tpm: tpm.map(|Limit(limit)| limit),
            spending_limit_usd: spending_limit.and_then(|Limit(limit)| limit.map(Usd)),
            max_concurrent: self.rights.max_concurrent.and_then(|Limit(limit)| limit),
            allow_ips: addresses_of(&self.rights.allow_ips).flatten(),
            strict: strict.unwrap_or_default(),
            watch: self.life.watch.unwrap_or_default(),
            content_log: self.life.content_log.unwrap_or_default(),
            tags: self.life.tags.iter().cloned().collect(),
            notes: self.life.notes.clone().unwrap_or_default(),
            expires_at: self.life.expires.and_then(|Expiry(time)| time),
            ..NewKey::default()
        };
        show_secret(&client.send("POST", KEYS, &new)?, self.format, out)
    }
}

impl Change {
    fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), CommandError> {
        let RightsArguments { models, aliases, rpm, tpm, spending_limit, strict, .. } = &self.rights;
        let entries = |pairs: &[(String, String)]| -> Option<Option<BTreeMap<String, Option<String>>>> {
            let pairs = pairs.iter().map(|(name, value)| (name.clone(), Some(value.clone())));
            let pairs = pairs.map(|(name, value)| (name, value.filter(|value| !value.is_empty())));
            Some(Some(pairs.collect())).filter(|entries| *entries != Some(BTreeMap::new()))
        };
        let patch = KeyPatch {
            budgets: None,
            name: self.name.clone(),
            account: self.account.clone(),
            status: None,
            models: models_of(models),
            aliases: entries(aliases),
            rpm: rpm.map(|Limit(limit)| limit),
            tpm: tpm.map(|Limit(limit)| limit),
            spending_limit_usd: spending_limit.map(|Limit(limit)| limit.map(Usd)),
            max_concurrent: self.rights.max_concurrent.map(|Limit(limit)| limit),
            allow_ips: addresses_of(&self.rights.allow_ips),
            strict: *strict,
            watch: self.life.watch,
            content_log: self.life.content_log,
            tags: entries(&self.life.tags),
            notes: self.life.notes.clone().map(Some),
            expires_at: self.life.expires.map(|Expiry(time)| time),
        };
        self.one.patch(client, &patch, out)
    }
}

impl Rotate {
    fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), CommandError> {
        let overlap: Period = self.overlap.parse().map_err(CommandError::Usage)?;
        let path = format!("{}/rotate", object_path(KEYS, &self.one.id));
        show_secret(&client.send("POST", &path, &Rotation { overlap: Some(overlap) })?, self.one.format, out)
    }
}

impl ListArguments {
    fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), CommandError> {
        let mut query = String::new();
        if let Some(account) = &self.account {
            query.push_str(&format!("account={}&", encoded(account)));
        }
        match self.state.as_deref() {
            Some("deleted") => query.push_str("deleted=true&"),
            Some(state) => query.push_str(&format!("state={state}&")),
            None => {}
        }
        let mut keys: Vec<Key> = client.list(KEYS, &query)?;
        match self.sort.as_str() {
            "name" => keys.sort_by(|a, b| a.name.cmp(&b.name)),
            "account" => keys.sort_by(|a, b| a.account.cmp(&b.account)),
            "expires" => keys.sort_by_key(|key| key.expires_at.unwrap_or(Moment(i64::MAX))),
            "spent" => keys.sort_by_key(|key| std::cmp::Reverse(key.spent_this_month_usd.0)),
            "last-used" => keys.sort_by_key(|key| std::cmp::Reverse(last_used(key))),
            _ => {}
        }
        self.format.list(&keys, HEADINGS, row, out)
    }
}

impl Find {
    fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), CommandError> {
        let lookup = match self.what.as_str() {
            "-" => KeyLookup { sha256: Some(read_digest()?.to_hex()), hint: None },
            digest if digest.len() == 64 => KeyLookup { sha256: Some(digest.to_owned()), hint: None },
            hint => KeyLookup { sha256: None, hint: Some(hint.to_owned()) },
        };
        let found: List<Key> = client.send("POST", "/keys/lookup", &lookup)?;
        if found.data.is_empty() {
            return Err(CommandError::Usage("no key has this secret".to_owned()));
        }
        self.format.list(&found.data, HEADINGS, row, out)
    }
}

impl HashArguments {
    /// Prints the digest of a secret.
    ///
    /// # Errors
    /// Fails if standard input has none.
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), CommandError> {
        writeln!(out, "{}", read_digest()?.to_hex())?;
        Ok(())
    }
}

/// Returns the digest of the secret on standard input.
fn read_digest() -> Result<Digest, CommandError> {
    let mut secret = String::new();
    std::io::stdin().read_line(&mut secret)?;
    let form = "this is no secret of a key: it is cm- and 40 letters and digits";
    Digest::of(secret.trim()).ok_or_else(|| CommandError::Usage(form.to_owned()))
}

/// Returns the models of arguments: `None` if none are named, and `Some(None)` for all models.
pub(super) fn models_of(models: &[String]) -> Option<Option<Vec<String>>> {
    match models {
        [] => None,
        [all] if all == "all" => Some(None),
        models => Some(Some(models.to_vec())),
    }
}

/// Returns the addresses of arguments: `None` if none are named, and `Some(None)` for all addresses.
fn addresses_of(sources: &[Source]) -> Option<Option<AddressList>> {
    match sources {
        [] => None,
        sources => Some(sources.iter().map(|Source(block)| *block).collect()),
    }
}

/// Prints a key's new secret.
fn show_secret(key: &Key, format: OutputFormat, out: &mut dyn Write) -> Result<(), CommandError> {
    if format.json {
        return print(key, out);
    }
    let secret = key.secret.as_deref().unwrap_or_default();
    writeln!(out, "{secret}")?;
    // Standard output is the secret alone, so that a shell can keep it.
    let _ = writeln!(stderr(), "{} cannot be shown again: keep it now.", key.id);
    warn(key);
    Ok(())
}

/// Says what of a key is hardly meant.
fn warn(key: &Key) {
    for warning in &key.warnings {
        let _ = writeln!(stderr(), "warning: {warning}");
    }
}

impl<T: FromStr> FromStr for Limit<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text == "unlimited" { Ok(Self(None)) } else { text.parse().map(Some).map(Self) }
    }
}

impl One {
    fn show(&self, key: Key, out: &mut dyn Write) -> Result<(), CommandError> {
        if self.format.json {
            return print(&key, out);
        }
        warn(&key);
        table(HEADINGS, &[row(&key)], out)
    }

    fn patch(&self, client: &Client, patch: &KeyPatch, out: &mut dyn Write) -> Result<(), CommandError> {
        self.show(client.send("PATCH", &object_path(KEYS, &self.id), patch)?, out)
    }

    fn set_status(&self, client: &Client, status: Status, out: &mut dyn Write) -> Result<(), CommandError> {
        self.patch(client, &KeyPatch { status: Some(status), ..KeyPatch::default() }, out)
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
    let state = match key.state {
        KeyState::Active => "active",
        KeyState::Disabled => "disabled",
        KeyState::Expired => "expired",
        KeyState::AccountDisabled => "account_disabled",
        KeyState::Deleted => "deleted",
    };
    let hint = |secret: &SecretView| format!("cm-…{}", secret.hint.as_deref().unwrap_or_default());
    vec![
        key.id.clone(),
        key.name.clone(),
        key.account.clone(),
        state.to_owned(),
        key.secrets.iter().map(hint).collect::<Vec<_>>().join(","),
        format!("{}", key.spent_this_month_usd.0),
        limits(key),
        key.expires_at.map_or_else(|| "never".to_owned(), Moment::date),
        last_used(key).map_or_else(|| "never".to_owned(), |time| time.to_string()),
    ]
}

/// Returns the limits of a key that it has, in a few words.
fn limits(key: &Key) -> String {
    let mut limits = Vec::new();
    limits.extend(key.rpm.map(|rpm| format!("{rpm} rpm")));
    limits.extend(key.tpm.map(|tpm| format!("{tpm} tpm")));
    limits.extend(key.max_concurrent.map(|most| format!("{most} at once")));
    limits.extend(key.allow_ips.as_ref().map(|list| format!("from {list}")));
    limits.extend(key.spending_limit_usd.map(|Usd(limit)| format!("{limit} USD")));
    limits.extend(key.models.as_ref().map(|models| models.join("+")));
    limits.extend(key.aliases.iter().map(|(name, model)| format!("{name}={model}")));
    limits.extend(key.strict.then(|| "strict".to_owned()));
    limits.extend((key.content_log == ContentLogging::Off).then(|| "content log off".to_owned()));
    if limits.is_empty() { "none".to_owned() } else { limits.join(", ") }
}

fn last_used(key: &Key) -> Option<Moment> {
    key.secrets.iter().filter_map(|secret| secret.last_used_at).max()
}

const HEADINGS: &[&str] =
    &["KEY", "NAME", "ACCOUNT", "STATE", "SECRET", "SPENT", "LIMITS", "EXPIRES", "LAST USED"];
