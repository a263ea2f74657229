//! The build of providers from their settings.

use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};
use once_cell::sync::OnceCell;
use secrecy::{ExposeSecret, SecretString};

use crate::auth;
use crate::located::Located;
use crate::protocol::ProtocolId;
use crate::provider::{self, Auth, Credential, CredentialSettings, Provider, ProviderSettings};
use crate::route::Credentials;

use super::build::Build;
use super::connection::Server;
use super::first_run::DEMO;
use super::secret;

impl Build<'_> {
    /// Builds a provider, unless something of it is wrong. `demo` is the port of the built-in one, if that is in use.
    pub(super) fn provider(
        &mut self,
        name: &Located<String>,
        settings: &ProviderSettings,
        demo: Option<u16>,
        variable: &impl Fn(&str) -> Option<String>,
    ) {
        let built_in = demo.filter(|_| name.value == DEMO).map(|port| demo_settings(settings, port));
        let settings = built_in.as_ref().unwrap_or(settings);
        let headers = self.headers(&name.value, settings, variable);
        let credentials = match built_in {
            Some(_) => Some(vec![Credential::only(demo_key())]),
            None => self.credentials(name, settings, variable),
        };
        let Some(credentials) = credentials else { return };
        match Provider::build(&name.value, settings, credentials, headers) {
            Ok(provider) => {
                let server = Server { name, url: &provider.base_url };
                let connection = self.connection(server, settings, variable);
                let provider = Arc::new(provider.connected(connection));
                let states = Credentials::of(&provider).map(|states| (name.value.clone(), states));
                self.credentials.extend(states);
                self.providers.insert(name.value.clone(), provider);
            }
            Err((member, _)) if self.known.wrong.contains(&format!("providers.{}.{member}", name.value)) => {}
            Err((member, why)) => {
                let place = match member {
                    "base_url" => settings.base_url.as_ref().map(|url| url.place),
                    "preset" => settings.preset.as_ref().map(|preset| preset.place),
                    _ => None,
                };
                self.report(place.unwrap_or(name.place), format!("providers.{}.{member}: {why}", name.value));
            }
        }
    }

    /// Returns the credentials of a provider, or nothing if one of them is wrong.
    fn credentials(
        &mut self,
        Located { value: provider, place }: &Located<String>,
        settings: &ProviderSettings,
        variable: &impl Fn(&str) -> Option<String>,
    ) -> Option<Vec<Credential>> {
        let Some(several) = &settings.keys else {
            let Some(reference) = &settings.key else { return Some(Vec::new()) };
            let key = self.secret(&format!("providers.{provider}.key"), reference, variable)?;
            return Some(vec![Credential::only(key)]);
        };
        let setting = format!("providers.{provider}.keys");
        if settings.key.is_some() {
            self.report(*place, format!("{setting}: give either `key` or `keys`"));
            return None;
        }
        if several.is_empty() {
            if !self.known.wrong.iter().any(|path| path.starts_with(&setting)) {
                self.report(*place, format!("{setting}: name at least one credential"));
            }
            return None;
        }
        let named = several.iter().enumerate().map(|(place, Located { value, .. })| {
            let name = value.name.clone().unwrap_or_else(|| (place + 1).to_string());
            (Arc::<str>::from(name), value.weight.unwrap_or(1))
        });
        let named: Vec<_> = named.collect();
        if let Err((wrong, why)) = provider::check_credentials(&named) {
            let place = several.get(wrong).map_or(*place, |wrong| wrong.place);
            self.report(place, format!("{setting}[{wrong}]: {why}"));
            return None;
        }
        // All of them are read, so that all mistakes are reported at once.
        let all = several.iter().zip(named).enumerate().map(
            |(number, (Located { value, place }, (name, weight)))| {
                let CredentialSettings { key, .. } = value;
                let reference = Located { value: key.clone(), place: *place };
                let key = self.secret(&format!("{setting}[{number}]"), &reference, variable)?;
                Some(Credential { name, weight, key })
            },
        );
        let all: Vec<_> = all.collect();
        all.into_iter().collect()
    }

    /// Returns the headers of a provider's own that are right.
    fn headers(
        &mut self,
        provider: &str,
        settings: &ProviderSettings,
        variable: &impl Fn(&str) -> Option<String>,
    ) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
        for (Located { value: name, place }, value) in &settings.headers {
            let setting = format!("providers.{provider}.headers.{name}");
            let parsed = match provider::header_name(name) {
                Ok(parsed) if headers.iter().any(|(other, _)| *other == parsed) => {
                    self.report(*place, format!("{setting}: is there already, in another case"));
                    continue;
                }
                Ok(parsed) => parsed,
                Err(why) => {
                    self.report(*place, format!("{setting}: {why}"));
                    continue;
                }
            };
            let made = if secret::is_reference(&value.value) {
                let Some(secret) = self.secret(&setting, value, variable) else { continue };
                provider::header_value(secret.expose_secret(), true)
            } else {
                provider::header_value(&value.value, false)
            };
            match made {
                Ok(made) => headers.push((parsed, made)),
                Err(why) => self.report(value.place, format!("{setting}: {why}")),
            }
        }
        headers
    }
}

/// Returns the settings of the built-in provider. It listens on loopback, where other users can reach it, too, so
/// it asks for a credential that only this process knows.
fn demo_settings(settings: &ProviderSettings, port: u16) -> ProviderSettings {
    ProviderSettings {
        base_url: Some(format!("http://127.0.0.1:{port}").into()),
        auth: Some(Auth::Bearer),
        // The demo fails when a marker asks for it, so its failures say nothing about its health.
        breaker_failures: settings.breaker_failures.or(Some(0)),
        protocols: Some(vec![ProtocolId::Chat, ProtocolId::Responses, ProtocolId::Messages]),
        ..settings.clone()
    }
}

/// Returns the credential of the built-in provider, which differs between processes and stays the same after a
/// reload.
fn demo_key() -> SecretString {
    DEMO_KEY.get_or_init(|| SecretString::from(auth::random_id("demo-"))).clone()
}

static DEMO_KEY: OnceCell<SecretString> = OnceCell::new();
