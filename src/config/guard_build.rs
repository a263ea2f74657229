//! The build of guards from their settings.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use crate::located::Located;
use crate::notify::WebhookSecret;
use crate::protocol::ProtocolId;
use crate::provider::{Auth, BaseUrl, Provider, ProviderSettings, TimeoutSettings};

use super::build::{Build, NOT_READ};
use super::guards::{Guard, GuardSettings};

impl Build<'_> {
    /// Builds the guards that are right.
    pub(super) fn guards(
        &mut self,
        settings: Vec<Located<GuardSettings>>,
        variable: &impl Fn(&str) -> Option<String>,
    ) -> Vec<Guard> {
        let mut guards: Vec<Guard> = Vec::new();
        for (number, Located { value: settings, place }) in settings.into_iter().enumerate() {
            let setting = format!("guards[{number}]");
            if guards.iter().any(|guard| *guard.name == *settings.name) {
                self.report(place, format!("{setting}: the name '{}' is taken", settings.name));
            }
            let secret = match &settings.secret {
                None => None,
                Some(reference) => match self.secret(&format!("{setting}.secret"), reference, variable) {
                    Some(secret) => signing_secret(secret.expose_secret()).transpose(),
                    None => continue,
                },
            };
            match secret.transpose().and_then(|secret| guard(settings, secret)) {
                Ok(guard) => guards.push(guard),
                Err(why) => self.report(place, format!("{setting}: {why}")),
            }
        }
        guards
    }
}

fn guard(settings: GuardSettings, secret: Option<WebhookSecret>) -> Result<Guard, String> {
    let GuardSettings { name, url, at, send, models, timeout_ms, on_error, .. } = settings;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > MAX_NAME_LEN || !name.chars().all(is_plain) {
        let form = format!("write 1 to {MAX_NAME_LEN} letters, digits, `-`, `_` and `.`");
        return Err(format!("'{name}' is no name for a guard: {form}"));
    }
    let timeout = timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS);
    if timeout == 0 || timeout > MAX_TIMEOUT_MS {
        return Err(format!("timeout_ms: write 1 to {MAX_TIMEOUT_MS}"));
    }
    BaseUrl::parse(&url).map_err(|why| format!("url {why}"))?;
    let path = url.parse::<http::Uri>().map(|uri| uri.path().to_owned()).unwrap_or_default();
    let seconds = timeout.div_ceil(1000);
    let server = ProviderSettings {
        base_url: Some(url.into()),
        auth: Some(Auth::None),
        protocols: Some(vec![ProtocolId::Chat]),
        timeouts: TimeoutSettings {
            connect: Some(seconds),
            first_byte: Some(seconds),
            silence: Some(seconds),
            total: Some(seconds),
        },
        ..ProviderSettings::default()
    };
    let server = Provider::build(&format!("guard {name}"), &server, Vec::new(), Vec::new());
    Ok(Guard {
        name: name.into(),
        server: Arc::new(server.map_err(|(_, why)| format!("url {why}"))?),
        path,
        moment: at,
        view: send,
        models,
        timeout: Duration::from_millis(timeout),
        fallback: on_error,
        secret,
    })
}

/// Returns the secret that signs questions; `None` if it was not read, and so is not judged.
fn signing_secret(text: &str) -> Result<Option<WebhookSecret>, String> {
    if text == NOT_READ {
        return Ok(None);
    }
    let secret = WebhookSecret::parse(text);
    secret.map(Some).map_err(|why| format!("secret: it {why}: make one with `openssl rand -hex 24`"))
}

/// The longest name of a guard, in bytes.
const MAX_NAME_LEN: usize = 64;

/// The time for an answer, in milliseconds: by default, and at most. Chosen values: a call waits for it.
const DEFAULT_TIMEOUT_MS: u64 = 500;
const MAX_TIMEOUT_MS: u64 = 10_000;
