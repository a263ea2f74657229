//! The settings of webhooks.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::located::{Located, SourcePosition};
use crate::notify::{EventKind, Webhook, WebhookFormat, WebhookSecret, WebhookUrl};

use super::secret;

/// A receiver of events.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    /// The name, for metrics and the log.
    pub name: Located<String>,
    /// The URL that gets a POST for each event; or a reference to it, `env:NAME` or `file:PATH`, if it contains a secret.
    pub url: Located<String>,
    /// A reference to the secret that signs, `env:NAME` or `file:PATH`, or two of them while one is replaced: `whsec_` and
    /// Base64, or a text of at least 24 bytes. Default: none; then nothing is signed.
    #[serde(default)]
    pub secret: WebhookSecretSettings,
    /// The events: their names, or the beginning of names and `*`. Default: all.
    #[serde(default = "all_events")]
    pub events: Vec<Located<String>>,
    /// The form of bodies: `standard`, or `slack` for one line of text. Default: `standard`.
    #[serde(default)]
    pub format: WebhookFormat,
}

/// The references to the secrets of a webhook.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum WebhookSecretSettings {
    /// One.
    One(Located<String>),
    /// Several, which all sign.
    All(Vec<Located<String>>),
}

impl Default for WebhookSecretSettings {
    fn default() -> Self {
        Self::All(Vec::new())
    }
}

impl WebhookSecretSettings {
    fn all(&self) -> &[Located<String>] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::All(all) => all,
        }
    }
}

/// Mistakes of the settings, with their places.
type Mistakes = Vec<(SourcePosition, String)>;

/// Makes the webhooks, as far as their settings are right, and reports what is wrong. `resolve` follows a reference to a
/// secret. Unless `has_secrets`, secrets are not read.
pub(super) fn build(
    all: &[WebhookSettings],
    has_secrets: bool,
    mut resolve: impl FnMut(&str, &Located<String>) -> Option<SecretString>,
) -> (Vec<Webhook>, Mistakes) {
    let (mut webhooks, mut wrong) = (Vec::new(), wrong_names(all));
    for settings in all {
        let mut follow = |member: &str, reference: &Located<String>| {
            resolve(&format!("webhooks.{}.{member}", settings.name.value), reference)
        };
        let secrets = settings.secret.all().iter().map(|reference| follow("secret", reference));
        let Some(mut secrets) = secrets.collect::<Option<Vec<_>>>() else { continue };
        let mut url = settings.url.value.clone();
        if secret::is_reference(&url) {
            let Some(resolved) = follow("url", &settings.url) else { continue };
            url = if has_secrets { resolved.expose_secret().to_owned() } else { UNKNOWN_URL.to_owned() };
        }
        if !has_secrets {
            secrets.clear();
        }
        match webhook(settings, &url, &secrets) {
            Ok(webhook) => webhooks.push(webhook),
            Err(mistakes) => wrong.extend(mistakes),
        }
    }
    (webhooks, wrong)
}

/// Checks the names of webhooks; returns what is wrong, and where.
fn wrong_names(all: &[WebhookSettings]) -> Mistakes {
    let mut known = BTreeSet::new();
    let mut wrong = Vec::new();
    for Located { value, place } in all.iter().map(|webhook| &webhook.name) {
        let is_name = (1..=MAX_NAME_BYTES).contains(&value.len())
            && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        if !is_name {
            wrong.push((*place, format!("webhooks: '{value}' is no name: write letters, digits and ._-")));
        } else if !known.insert(value) {
            wrong.push((*place, format!("webhooks: there is more than one '{value}'")));
        }
    }
    if let Some(one) = all.get(MAX_WEBHOOK_COUNT) {
        wrong.push((one.name.place, format!("webhooks: at most {MAX_WEBHOOK_COUNT} are possible")));
    }
    wrong
}

/// Makes a webhook from its settings, its URL and its secrets.
///
/// # Errors
/// Fails with what is wrong, and where.
fn webhook(settings: &WebhookSettings, url: &str, secrets: &[SecretString]) -> Result<Webhook, Mistakes> {
    let setting = |member: &str, why: &str| format!("webhooks.{}.{member}: {why}", settings.name.value);
    let mut wrong = Vec::new();
    for Located { value, place } in &settings.events {
        if !EventKind::ALL.iter().any(|kind| kind.matches(value)) {
            let all = EventKind::ALL.map(EventKind::name).join(", ");
            wrong.push((
                *place,
                setting("events", &format!("there is no event '{value}': write one of {all}")),
            ));
        }
    }
    let place = settings.secret.all().first().map_or(settings.name.place, |secret| secret.place);
    let mut parsed = Vec::new();
    for secret in secrets {
        match WebhookSecret::parse(secret.expose_secret()) {
            Ok(secret) => parsed.push(secret),
            Err(why) => wrong.push((place, setting("secret", &why))),
        }
    }
    match WebhookUrl::parse(url) {
        Ok(url) if wrong.is_empty() => Ok(Webhook {
            name: settings.name.value.clone(),
            url,
            secrets: parsed,
            events: settings.events.iter().map(|pattern| pattern.value.clone()).collect(),
            format: settings.format,
        }),
        Ok(_) => Err(wrong),
        Err(why) => {
            wrong.push((settings.url.place, setting("url", &why)));
            Err(wrong)
        }
    }
}

fn all_events() -> Vec<Located<String>> {
    vec![Located { value: "*".to_owned(), place: SourcePosition::default() }]
}

/// The URL in place of one that is not read.
const UNKNOWN_URL: &str = "https://localhost/";

/// The longest name.
const MAX_NAME_BYTES: usize = 64;

/// The most webhooks. A chosen value.
const MAX_WEBHOOK_COUNT: usize = 16;
