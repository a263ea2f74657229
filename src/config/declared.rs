//! The keys and accounts that the file declares.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::auth::{
    AddressList, Aliases, ContentLogging, Digest, MAX_ADDRESS_COUNT, MAX_NAME_CHARS, MAX_NOTES_CHARS,
    MAX_TAG_COUNT, Period, Secret, is_tag_name, is_tag_value,
};
use crate::located::{Located, SourcePosition};
use crate::meter::{self, NewBudget};
use crate::money::Amount;
use crate::route::{MAX_NAME_BYTES, is_model_name};

use super::dollars::DollarSetting;
use super::error::Problem;
use super::rate::RateSetting;

/// An account that the file declares.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountSettings {
    /// The id.
    pub id: Located<String>,
    /// A human-readable name.
    pub name: Option<String>,
    /// The budgets of all its keys together.
    pub budgets: Option<Vec<Located<BudgetSettings>>>,
    /// The balance in dollars below which somebody wants to be told, or `none`.
    pub low_balance: Option<Located<DollarSetting>>,
    /// The models that its keys may call, as ids or `vendor/*`. Default: all.
    pub models: Option<Vec<Located<String>>>,
    /// Requests per minute of all its keys together, or `unlimited`. Default: `unlimited`.
    pub rpm: Option<RateSetting>,
    /// Tokens per minute of all its keys together, or `unlimited`. Default: `unlimited`.
    pub tpm: Option<RateSetting>,
    /// The most calls of all its keys that are answered at once, or `unlimited`. Default: `unlimited`.
    pub max_concurrent: Option<RateSetting>,
    /// Names and values for your own use.
    pub tags: Option<BTreeMap<String, String>>,
}

/// A key that the file declares. The members that the file has are ruled by the file, and the others by operators.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// The id. Default: `key_` and the name, if that consists of lower-case letters, digits, `_` and `-`.
    pub id: Option<Located<String>>,
    /// A human-readable name.
    pub name: Option<String>,
    /// The account that owns it. Default: `default`.
    pub account: Option<String>,
    /// A reference to its secret, which is `cm-` and 40 letters and digits: `env:NAME` or `file:PATH`.
    pub secret: Option<Located<String>>,
    /// The SHA-256 of its secret, hexadecimal, instead of a reference. `crossmodel key hash -` prints it.
    pub sha256: Option<Located<String>>,
    /// The models that it may call, as ids or `vendor/*`. Default: all.
    pub models: Option<Vec<Located<String>>>,
    /// Its own aliases.
    pub aliases: Option<Aliases>,
    /// Requests per minute, or `unlimited`. Default: `key_defaults`.
    pub rpm: Option<RateSetting>,
    /// Tokens per minute, or `unlimited`. Default: `key_defaults`.
    pub tpm: Option<RateSetting>,
    /// The most calls that are answered at once, or `unlimited`. Default: `unlimited`.
    pub max_concurrent: Option<RateSetting>,
    /// The addresses from which it may be used, and blocks of them such as `10.0.0.0/8`. Default: all.
    pub allow_ips: Option<Located<AddressList>>,
    /// Its budgets. That for all time (`total`) is its spending limit.
    pub budgets: Option<Vec<Located<BudgetSettings>>>,
    /// Whether its requests are refused if a part of them would be lost in translation. Default: `false`.
    pub strict: Option<bool>,
    /// Whether it has metrics of its own. Default: `false`.
    pub watch: Option<bool>,
    /// Whether the content of its calls may be written to the content log: `on` or `off`. Default: `on`.
    pub content_log: Option<ContentLogging>,
    /// The time from which it no longer works, as a date or a time in UTC, or `never`. Default: `never`.
    pub expires: Option<Located<String>>,
    /// Names and values for your own use.
    pub tags: Option<BTreeMap<String, String>>,
    /// Notes for operators.
    pub notes: Option<String>,
}

/// The limit of what a key or an account may spend in each period.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetSettings {
    /// The length of its windows, in UTC.
    pub period: Period,
    /// The limit of each window, in dollars.
    pub limit: DollarSetting,
    /// Whether it refuses calls; otherwise it only gives alerts. Default: `true`.
    pub hard: Option<bool>,
    /// The percentages of the limit at which it gives an alert. Default: `[80]`.
    pub alert_at: Option<Vec<u32>>,
}

/// The keys and accounts that a configuration declares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declarations {
    /// The owner of these objects in the store.
    pub instance: String,
    /// The file.
    pub file: Option<PathBuf>,
    /// The accounts.
    pub accounts: Vec<DeclaredAccount>,
    /// The keys.
    pub keys: Vec<DeclaredKey>,
}

/// An account that a configuration declares. Members that are absent are not declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredAccount {
    /// The place in the file.
    pub place: SourcePosition,
    /// The id.
    pub id: String,
    /// A human-readable name.
    pub name: Option<String>,
    /// The budgets of all its keys together.
    pub budgets: Option<Vec<NewBudget>>,
    /// The balance below which somebody wants to be told.
    pub low_balance: Option<Option<Amount>>,
    /// The models that its keys may call.
    pub models: Option<Vec<String>>,
    /// Requests per minute of all its keys together.
    pub rpm: Option<Option<u32>>,
    /// Tokens per minute of all its keys together.
    pub tpm: Option<Option<u32>>,
    /// The most calls of all its keys that are answered at once.
    pub max_concurrent: Option<Option<u32>>,
    /// Names and values for the operator's own use.
    pub tags: Option<BTreeMap<String, String>>,
}

/// A key that a configuration declares. Members that are absent are not declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredKey {
    /// The place in the file.
    pub place: SourcePosition,
    /// The id.
    pub id: String,
    /// The digest of its secret.
    pub digest: Digest,
    /// The last four characters of its secret, if the secret is known.
    pub hint: Option<String>,
    /// A human-readable name.
    pub name: Option<String>,
    /// The account that owns it.
    pub account: Option<String>,
    /// The models that it may call.
    pub models: Option<Vec<String>>,
    /// Its own aliases.
    pub aliases: Option<Aliases>,
    /// Requests per minute.
    pub rpm: Option<Option<u32>>,
    /// Tokens per minute.
    pub tpm: Option<Option<u32>>,
    /// The most calls that are answered at once.
    pub max_concurrent: Option<Option<u32>>,
    /// The addresses from which it may be used.
    pub allow_ips: Option<AddressList>,
    /// Its budgets.
    pub budgets: Option<Vec<NewBudget>>,
    /// Whether its requests are refused if a part of them would be lost in translation.
    pub strict: Option<bool>,
    /// Whether it has metrics of its own.
    pub watch: Option<bool>,
    /// Whether the content of its calls may be written to the content log.
    pub content_log: Option<ContentLogging>,
    /// The time from which it no longer works, in seconds since the epoch.
    pub expires: Option<Option<i64>>,
    /// Names and values for the operator's own use.
    pub tags: Option<BTreeMap<String, String>>,
    /// Notes for operators.
    pub notes: Option<String>,
}

/// The settings of all declared objects.
pub(super) struct DeclarationSettings {
    pub(super) instance: Option<Located<String>>,
    pub(super) accounts: Vec<Located<AccountSettings>>,
    pub(super) keys: Vec<Located<KeySettings>>,
}

/// The mistakes in declarations so far.
#[derive(Default)]
struct Mistakes {
    found: Vec<Problem>,
    /// The ids of all keys, even of those whose secret is not read.
    key_ids: Vec<(String, SourcePosition)>,
    /// Whether a key has lost its secret because of a mistake that is reported.
    lacks_proof: bool,
}

impl Declarations {
    /// Checks declarations, and finds the digests of their secrets. `secret` resolves a reference; `None` stands for
    /// a secret that is not read, or of which the mistake is reported. `wrong` has the paths of members that were left out
    /// because they are invalid.
    pub(super) fn build(
        settings: DeclarationSettings,
        (file, wrong): (Option<PathBuf>, &[String]),
        secret: &mut impl FnMut(&str, &Located<String>) -> Option<SecretString>,
    ) -> (Self, Vec<Problem>) {
        let lacks_proof = wrong.iter().any(|path| matches!(path.as_str(), "keys.secret" | "keys.sha256"));
        let mut mistakes = Mistakes { lacks_proof, ..Mistakes::default() };
        let named = settings.instance.map(|instance| mistakes.instance(instance));
        let path = || file.as_ref().map(|file| file.display().to_string());
        let accounts: Vec<_> =
            settings.accounts.into_iter().map(|account| mistakes.account(account)).collect();
        let keys = settings.keys.into_iter().enumerate();
        let keys: Vec<_> = keys.filter_map(|(n, key)| mistakes.key(n, key, secret)).collect();
        mistakes.unique("account", accounts.iter().map(|account| (account.id.as_str(), account.place)));
        let ids = std::mem::take(&mut mistakes.key_ids);
        mistakes.unique("key", ids.iter().map(|(id, place)| (id.as_str(), *place)));
        mistakes.unique_secrets(&keys);
        let instance = named.or_else(path).unwrap_or_else(|| DEFAULT_INSTANCE.to_owned());
        (Self { instance, file, accounts, keys }, mistakes.found)
    }

    /// Whether nothing is declared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.keys.is_empty()
    }
}

impl DeclaredAccount {
    /// Returns the names of the members that the file rules, as the admin API has them.
    #[must_use]
    pub fn members(&self) -> Vec<String> {
        named([
            (self.name.is_some(), "name"),
            (self.budgets.is_some(), "budgets"),
            (self.low_balance.is_some(), "low_balance_usd"),
            (self.models.is_some(), "models"),
            (self.rpm.is_some(), "rpm"),
            (self.tpm.is_some(), "tpm"),
            (self.max_concurrent.is_some(), "max_concurrent"),
            (self.tags.is_some(), "tags"),
        ])
    }
}

impl DeclaredKey {
    /// Returns the names of the members that the file rules, as the admin API has them.
    #[must_use]
    pub fn members(&self) -> Vec<String> {
        named([
            (true, "secrets"),
            (self.name.is_some(), "name"),
            (self.account.is_some(), "account"),
            (self.models.is_some(), "models"),
            (self.aliases.is_some(), "aliases"),
            (self.rpm.is_some(), "rpm"),
            (self.tpm.is_some(), "tpm"),
            (self.max_concurrent.is_some(), "max_concurrent"),
            (self.allow_ips.is_some(), "allow_ips"),
            (self.budgets.is_some(), "budgets"),
            (self.budgets.is_some(), "spending_limit_usd"),
            (self.strict.is_some(), "strict"),
            (self.watch.is_some(), "watch"),
            (self.content_log.is_some(), "content_log"),
            (self.expires.is_some(), "expires_at"),
            (self.tags.is_some(), "tags"),
            (self.notes.is_some(), "notes"),
        ])
    }
}

fn named<const N: usize>(members: [(bool, &str); N]) -> Vec<String> {
    members.into_iter().filter(|(is_declared, _)| *is_declared).map(|(_, name)| name.to_owned()).collect()
}

impl Mistakes {
    fn add(&mut self, place: SourcePosition, message: impl Into<String>) {
        self.found.push(Problem { place, message: message.into() });
    }

    fn instance(&mut self, Located { value, place }: Located<String>) -> String {
        if value.is_empty()
            || value.len() > MAX_NAME_CHARS
            || !value.bytes().all(|byte| byte.is_ascii_graphic())
        {
            self.add(place, format!("instance: write 1 to {MAX_NAME_CHARS} visible ASCII characters"));
        }
        value
    }

    fn account(&mut self, Located { value: settings, place }: Located<AccountSettings>) -> DeclaredAccount {
        let AccountSettings { id, name, budgets, low_balance, models, rpm, tpm, max_concurrent, tags } =
            settings;
        if id.value.is_empty() {
            self.add(id.place, "accounts: the id is empty");
        }
        self.text(id.place, "accounts: the id", &id.value, MAX_NAME_CHARS);
        let about = format!("account '{}'", id.value);
        self.text(place, &format!("{about}: the name"), name.as_deref().unwrap_or_default(), MAX_NAME_CHARS);
        self.tags(place, &about, tags.as_ref());
        self.models(place, &about, models.as_deref(), None);
        DeclaredAccount {
            place,
            name,
            budgets: self.budgets(place, &about, budgets),
            low_balance: low_balance.map(|low_balance| low_balance.value.0),
            models: models.map(|models| models.into_iter().map(|model| model.value).collect()),
            rpm: rpm.map(RateSetting::limit),
            tpm: tpm.map(RateSetting::limit),
            max_concurrent: max_concurrent.map(RateSetting::limit),
            tags,
            id: id.value,
        }
    }

    fn key(
        &mut self,
        n: usize,
        Located { value: settings, place }: Located<KeySettings>,
        secret: &mut impl FnMut(&str, &Located<String>) -> Option<SecretString>,
    ) -> Option<DeclaredKey> {
        let id = self.key_id(place, settings.id, settings.name.as_deref())?;
        self.key_ids.push((id.clone(), place));
        let about = format!("key '{id}'");
        let proof = self.proof(&format!("keys[{n}]"), place, (settings.secret, settings.sha256), secret);
        let name = settings.name.as_deref().unwrap_or_default();
        self.text(place, &format!("{about}: the name"), name, MAX_NAME_CHARS);
        self.text(
            place,
            &format!("{about}: the notes"),
            settings.notes.as_deref().unwrap_or_default(),
            MAX_NOTES_CHARS,
        );
        self.tags(place, &about, settings.tags.as_ref());
        self.models(place, &about, settings.models.as_deref(), settings.aliases.as_ref());
        self.addresses(&about, settings.allow_ips.as_ref());
        let expires = settings.expires.map(|expires| self.expiry(&about, &expires));
        let budgets = self.budgets(place, &about, settings.budgets);
        let (digest, hint) = proof?;
        Some(DeclaredKey {
            place,
            id,
            digest,
            hint,
            name: settings.name,
            account: settings.account,
            models: settings.models.map(|models| models.into_iter().map(|model| model.value).collect()),
            aliases: settings.aliases,
            rpm: settings.rpm.map(RateSetting::limit),
            tpm: settings.tpm.map(RateSetting::limit),
            max_concurrent: settings.max_concurrent.map(RateSetting::limit),
            allow_ips: settings.allow_ips.map(|list| list.value),
            budgets,
            strict: settings.strict,
            watch: settings.watch,
            content_log: settings.content_log,
            expires,
            tags: settings.tags,
            notes: settings.notes,
        })
    }

    /// Returns the id that a key is given, or the one that follows from its name.
    fn key_id(
        &mut self,
        place: SourcePosition,
        id: Option<Located<String>>,
        name: Option<&str>,
    ) -> Option<String> {
        let is_plain = |text: &str, upper: bool| {
            let fits = |byte: u8| {
                byte.is_ascii_lowercase()
                    || byte.is_ascii_digit()
                    || b"_-".contains(&byte)
                    || upper && byte.is_ascii_uppercase()
            };
            !text.is_empty() && text.bytes().all(fits)
        };
        let found = match (id, name) {
            (Some(id), _) if is_plain(&id.value, true) => id.value,
            (Some(id), _) => {
                self.add(id.place, "keys: an id consists of letters, digits, `_` and `-`");
                return None;
            }
            (None, Some(name)) if is_plain(name, false) => format!("key_{name}"),
            (None, _) => {
                let why = "no id follows from the name of a key unless it consists of lower-case letters, digits, `_` and `-`";
                self.add(place, format!("keys: {why}: give the key an `id`, such as key_ci"));
                return None;
            }
        };
        self.text(place, "keys: the id", &found, MAX_NAME_CHARS + "key_".len());
        Some(found)
    }

    /// Returns the digest of a key's secret, and the last characters of the secret if it is known.
    fn proof(
        &mut self,
        setting: &str,
        place: SourcePosition,
        (reference, sha256): (Option<Located<String>>, Option<Located<String>>),
        secret: &mut impl FnMut(&str, &Located<String>) -> Option<SecretString>,
    ) -> Option<(Digest, Option<String>)> {
        match (reference, sha256) {
            (None, Some(hex)) => {
                let digest = Digest::from_hex(&hex.value);
                if digest.is_none() {
                    self.add(hex.place, format!("{setting}: `sha256` is not 64 hexadecimal digits: print it with `crossmodel key hash -`"));
                }
                digest.map(|digest| (digest, None))
            }
            (Some(reference), None) => {
                let text = secret(&format!("{setting}.secret"), &reference)?;
                let parsed = Secret::parse(text.expose_secret());
                if parsed.is_none() {
                    let form =
                        "write `cm-` and 40 letters and digits, for example cm-$(openssl rand -hex 20)";
                    self.add(reference.place, format!("{setting}: this is no secret of a key: {form}"));
                }
                parsed.map(|secret| (secret.digest(), Some(secret.hint().to_owned())))
            }
            (None, None) if self.lacks_proof => None,
            _ => {
                self.add(place, format!("{setting}: give either `secret` or `sha256`"));
                None
            }
        }
    }

    fn models(
        &mut self,
        place: SourcePosition,
        about: &str,
        models: Option<&[Located<String>]>,
        aliases: Option<&Aliases>,
    ) {
        let models = models.unwrap_or_default().iter().map(|model| (model.place, model.value.as_str()));
        let aliases = aliases.into_iter().flat_map(Aliases::iter).flat_map(|(alias, model)| [alias, model]);
        let all = models.chain(aliases.map(|name| (place, name)));
        for (place, name) in all.filter(|(_, name)| !is_model_name(name)) {
            let form = format!("write 1 to {MAX_NAME_BYTES} visible ASCII characters");
            self.add(place, format!("{about}: '{name}' is no model's name: {form}"));
        }
    }

    fn addresses(&mut self, about: &str, list: Option<&Located<AddressList>>) {
        let Some(Located { value: list, place }) = list else { return };
        if list.is_empty() {
            self.add(*place, format!("{about}: `allow_ips` is empty; leave it out to allow all addresses"));
        }
        if list.len() > MAX_ADDRESS_COUNT {
            self.add(*place, format!("{about}: `allow_ips` has more than {MAX_ADDRESS_COUNT} addresses"));
        }
    }

    fn budgets(
        &mut self,
        place: SourcePosition,
        about: &str,
        settings: Option<Vec<Located<BudgetSettings>>>,
    ) -> Option<Vec<NewBudget>> {
        let settings = settings?;
        let at = settings.first().map_or(place, |budget| budget.place);
        let budgets: Vec<_> = settings.into_iter().map(|Located { value, .. }| value.into()).collect();
        if let Err(why) = meter::check_budgets(&budgets) {
            self.add(at, format!("{about}: {why}"));
        }
        Some(budgets)
    }

    /// Returns the time of an expiry; `None`: never.
    fn expiry(&mut self, about: &str, Located { value, place }: &Located<String>) -> Option<i64> {
        if value == "never" {
            return None;
        }
        let date = |text: &str| text.parse::<Date>().and_then(|date| TimeZone::UTC.to_timestamp(date.into()));
        let time = value.parse::<jiff::Timestamp>().or_else(|_| date(value)).map(|time| time.as_second());
        if time.is_err() {
            let form = "write 2027-01-31, 2027-01-31T12:00:00Z or never";
            self.add(*place, format!("{about}: '{value}' is no time: {form}"));
        }
        time.ok()
    }

    fn tags(&mut self, place: SourcePosition, about: &str, tags: Option<&BTreeMap<String, String>>) {
        let Some(tags) = tags else { return };
        if tags.len() > MAX_TAG_COUNT {
            self.add(place, format!("{about}: there are more than {MAX_TAG_COUNT} tags"));
        }
        for (name, value) in tags {
            let mut wrong = |why: &str| self.add(place, format!("{about}: the tag '{name}': {why}"));
            if !is_tag_name(name) {
                wrong("the name is not of 1 to 32 characters a-z, 0-9, '_', '.' and '-'");
            }
            if !is_tag_value(value) {
                wrong("the value is not of 1 to 64 letters, digits and characters of _.:@/-");
            }
        }
    }

    /// Checks the length of a text.
    fn text(&mut self, place: SourcePosition, about: &str, text: &str, most: usize) {
        if text.chars().count() > most {
            self.add(place, format!("{about} has more than {most} characters"));
        }
    }

    /// Checks that no two objects have one id.
    fn unique<'a>(&mut self, kind: &str, ids: impl Iterator<Item = (&'a str, SourcePosition)>) {
        let mut seen: BTreeMap<&str, SourcePosition> = BTreeMap::new();
        for (id, place) in ids {
            if let Some(first) = seen.insert(id, place) {
                self.add(place, format!("{kind} '{id}' is there already, in line {}", first.line));
            }
        }
    }

    /// Checks that no two keys have one secret.
    fn unique_secrets(&mut self, keys: &[DeclaredKey]) {
        let mut seen: BTreeMap<[u8; 32], &DeclaredKey> = BTreeMap::new();
        for key in keys {
            if let Some(first) = seen.insert(key.digest.0, key) {
                let message = format!(
                    "key '{}' has the secret of key '{}' in line {}",
                    key.id, first.id, first.place.line
                );
                self.add(key.place, message);
            }
        }
    }
}

impl From<BudgetSettings> for NewBudget {
    fn from(settings: BudgetSettings) -> Self {
        Self {
            period: settings.period,
            // A budget of nothing is refused with all other mistakes.
            limit: settings.limit.0.unwrap_or_default(),
            is_hard: settings.hard.unwrap_or(true),
            alert_at: settings.alert_at.unwrap_or_else(|| vec![meter::DEFAULT_ALERT]),
        }
    }
}

/// The owner of what a configuration declares that has no file and names no instance.
const DEFAULT_INSTANCE: &str = "configuration";
