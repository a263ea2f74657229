//! From settings to a configuration: references are resolved, and each dangling one is reported.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use once_cell::sync::OnceCell;
use secrecy::{ExposeSecret, SecretString};

use crate::auth::{AccountScope, Aliases, Digest, OperatorToken, Role, Token};
use crate::located::{Located, SourcePosition};
use crate::meter::{Prices, TierSettings};
use crate::observe::{
    AccessLogSettings, ContentLogSettings, ContentRules, Destination, MAX_ACCOUNT_SERIES, MetricsSettings,
};
use crate::private::{self, Exposure};
use crate::provider::Provider;
use crate::route::{
    Catalog, Credentials, MAX_NAME_BYTES, ModelEntry, ModelSettings, ModelTarget, TargetHealth, TargetId,
    TargetSettings, is_model_name,
};

use super::admin::OperatorSettings;
use super::cors::{Cors, CorsSettings, OriginSettings, Origins, is_origin};
use super::declared::{DeclarationSettings, Declarations};
use super::error::Problem;
use super::first_run::{self, DEMO, demo_models};
use super::secret::{Exposed, SecretReference, SecretSource};
use super::settings::{DEFAULT_ADMIN, DEFAULT_DATA, DEFAULT_LISTEN};
use super::webhooks;
use super::{
    AdminListener, AdminSettings, Config, Listener, ListenerSettings, LoadOptions, Settings, TlsFiles, secret,
};

/// The names that a file declares, rightly or wrongly: an error that follows from another one is not reported.
#[derive(Default)]
pub(super) struct DeclaredNames<'a> {
    /// The names of all providers.
    pub(super) providers: &'a [String],
    /// The paths of all members that were left out because they are invalid.
    pub(super) wrong: &'a [String],
}

/// The input of the build besides the settings.
pub(super) struct BuildInput<'a> {
    /// The names that the file declares.
    pub(super) declared: &'a DeclaredNames<'a>,
    /// The folder from which relative paths are taken.
    pub(super) folder: &'a Path,
    /// The file, if there is one.
    pub(super) file: Option<&'a Path>,
    /// The options that go before the file.
    pub(super) options: &'a LoadOptions,
}

/// The parts that are built already, and the problems so far.
pub(super) struct Build<'a> {
    problems: &'a mut Vec<Problem>,
    pub(super) known: &'a DeclaredNames<'a>,
    pub(super) folder: &'a Path,
    pub(super) providers: BTreeMap<String, Arc<Provider>>,
    /// The states of the credentials of providers that have several.
    pub(super) credentials: BTreeMap<String, Arc<Credentials>>,
    addresses: BTreeSet<String>,
    exposed: Vec<Exposed>,
    /// Files besides the configuration that are watched like it: those of secrets, and those to which providers refer.
    watched: Vec<PathBuf>,
    /// The references that were not followed; `None` if all are followed.
    references: Option<Vec<SecretReference>>,
}

/// Builds as much as possible. Returns `None` only if there is no port for the built-in provider.
pub(super) fn build(
    mut settings: Settings,
    input: &BuildInput<'_>,
    variable: &impl Fn(&str) -> Option<String>,
    problems: &mut Vec<Problem>,
) -> Option<Config> {
    if settings.providers_from_environment {
        first_run::add_from_environment(&mut settings, variable);
    }
    let mut build = Build {
        problems,
        known: input.declared,
        folder: input.folder,
        providers: BTreeMap::new(),
        credentials: BTreeMap::new(),
        addresses: BTreeSet::new(),
        exposed: Vec::new(),
        watched: Vec::new(),
        references: input.options.without_secrets.then(Vec::new),
    };
    let demo = settings.providers.keys().any(|name| name.value == DEMO).then(demo_port).transpose();
    let demo =
        demo.map_err(|e| build.report(SourcePosition::default(), format!("no port is free: {e}"))).ok()?;
    for (name, provider) in &settings.providers {
        build.provider(name, provider, demo, variable);
    }
    build.no_model_twice(&settings.models);
    let mut models = settings.models;
    if demo.is_some() {
        // The file may have its own models under these names.
        let taken = |model: &ModelSettings| models.iter().any(|other| other.id.value == model.id.value);
        let missing: Vec<_> = demo_models(None).filter(|model| !taken(model)).collect();
        models.extend(missing);
    }
    let entries = models.iter().filter_map(|model| build.model(model)).collect();
    build.aliases(&settings.aliases);
    let listeners = build.listeners(settings.listen);
    let admin = build.admin(settings.admin, variable);
    let cors = build.cors(settings.cors);
    let has_secrets = build.references.is_none();
    let resolve = |setting: &str, reference: &Located<String>| build.secret(setting, reference, variable);
    let (webhooks, wrong) = webhooks::build(&settings.webhooks, has_secrets, resolve);
    wrong.into_iter().for_each(|(place, message)| build.report(place, message));
    let declared =
        DeclarationSettings { instance: settings.instance, accounts: settings.accounts, keys: settings.keys };
    let declarations = build.declarations(declared, input.file, variable);
    let guards = build.guards(settings.guards, variable);
    let data = input.folder.join(settings.data.unwrap_or_else(|| PathBuf::from(DEFAULT_DATA)));
    Some(Config {
        listeners,
        admin,
        access_log: build.access_log(settings.access_log, &data),
        content_log: settings.content_log.and_then(|settings| build.content_log(settings)),
        data,
        threads: settings.threads.filter(|&n| n > 0).unwrap_or_else(cores),
        billing: settings.billing,
        key_defaults: settings.key_defaults.rate(),
        usage: settings.usage.retention(),
        webhooks,
        tags: settings.tags.rules(build.problems),
        audit: settings.audit,
        metrics: build.metrics(settings.metrics),
        cors,
        trusted_proxies: settings.trusted_proxies,
        guards,
        limits: settings.limits,
        timeouts: settings.timeouts,
        catalog: Catalog::new(entries, settings.aliases),
        providers: build.providers.into_values().collect(),
        declarations,
        demo,
        exposed: build.exposed,
        watched: build.watched,
        references: build.references.unwrap_or_default(),
        options: input.options.clone(),
    })
}

impl Build<'_> {
    pub(super) fn report(&mut self, place: SourcePosition, message: impl Into<String>) {
        self.problems.push(Problem { place, message: message.into() });
    }

    /// Returns the secret that a setting refers to.
    pub(super) fn secret(
        &mut self,
        setting: &str,
        reference: &Located<String>,
        variable: &impl Fn(&str) -> Option<String>,
    ) -> Option<SecretString> {
        if let Some(references) = &mut self.references {
            match secret::source(&reference.value, self.folder) {
                Ok(source) => references.push(SecretReference {
                    setting: setting.to_owned(),
                    place: reference.place,
                    source,
                }),
                Err(why) => {
                    self.report(reference.place, format!("{setting}: {why}"));
                    return None;
                }
            }
            return Some(SecretString::from(NOT_READ));
        }
        if let Ok(SecretSource::File(file)) = secret::source(&reference.value, self.folder) {
            self.watched.push(file);
        }
        let resolved = secret::resolve(&reference.value, self.folder, variable);
        let (secret, exposed) = match resolved {
            Ok((secret, exposed)) => (Some(secret), Ok(exposed)),
            Err(why) => (None, Err(why)),
        };
        self.judge(setting.to_owned(), reference.place, exposed);
        secret
    }

    /// Notes a file that is to be read again when it changes.
    pub(super) fn watch_file(&mut self, file: &Path) {
        self.watched.push(file.to_owned());
    }

    /// Whether files are not read, but only listed. Then it lists this one.
    pub(super) fn defer_file(&mut self, setting: &str, file: &Path, place: SourcePosition) -> bool {
        let Some(references) = &mut self.references else { return false };
        let source = SecretSource::File(file.to_owned());
        references.push(SecretReference { setting: setting.to_owned(), place, source });
        true
    }

    /// Notes who may use the file of a secret.
    pub(super) fn judge(
        &mut self,
        setting: String,
        place: SourcePosition,
        judged: Result<Option<(PathBuf, Exposure)>, String>,
    ) {
        match judged {
            Ok(exposed) => {
                let exposed = exposed.map(|(file, exposure)| Exposed { setting, place, file, exposure });
                self.exposed.extend(exposed);
            }
            Err(why) => self.report(place, format!("{setting}: {why}")),
        }
    }

    fn model(&mut self, settings: &ModelSettings) -> Option<ModelEntry> {
        let Located { value: id, place } = &settings.id;
        let before = self.problems.len();
        if !is_model_id(id) {
            self.report(*place, format!("'{id}' is not a model id: write `vendor/model` or `vendor/*`"));
        }
        if settings.targets.is_empty() {
            self.report(*place, format!("model '{id}' needs at least one target"));
        }
        let created = settings.created.as_ref().map_or(0, |date| self.seconds(date));
        let prices = self.prices(settings.prices.as_deref(), *place);
        let targets =
            settings.targets.iter().filter_map(|target| self.target(settings, target, prices.as_ref()));
        let targets = targets.collect();
        (self.problems.len() == before).then(|| ModelEntry {
            id: id.clone(),
            name: settings.name.clone().unwrap_or_else(|| id.clone()),
            created,
            status: settings.status,
            context_window: settings.context_window,
            max_output: settings.max_output,
            caps: settings.caps.clone(),
            strict: settings.strict,
            unmetered: settings.unmetered.clone(),
            targets,
        })
    }

    /// Returns the prices, unless all of them are zero.
    fn prices(&mut self, tiers: Option<&[TierSettings]>, place: SourcePosition) -> Option<Arc<Prices>> {
        match Prices::new(tiers?) {
            Ok(prices) => (!prices.are_zero()).then(|| Arc::new(prices)),
            Err(why) => {
                // A tier that was left out may be the one that is missed.
                if !self.known.wrong.iter().any(|path| path.split('.').any(|name| name == "prices")) {
                    self.report(place, format!("prices: {why}"));
                }
                None
            }
        }
    }

    fn target(
        &mut self,
        entry: &ModelSettings,
        settings: &TargetSettings,
        prices: Option<&Arc<Prices>>,
    ) -> Option<ModelTarget> {
        let Located { value: name, place } = &settings.provider;
        let Some(provider) = self.providers.get(name) else {
            if !self.known.providers.contains(name) {
                self.report(*place, format!("there is no provider '{name}'"));
            }
            return None;
        };
        let provider = Arc::clone(provider);
        let credentials = self.credentials.get(name).cloned();
        let weight = settings.weight.unwrap_or(1);
        if weight == 0 {
            self.report(*place, "a weight of 0 would never be chosen: leave the target out");
        }
        let id = entry.id.value.as_str();
        let own_name = || id.split_once('/').map(|(_, model)| model.to_owned());
        let model =
            if id.ends_with('*') { settings.model.clone() } else { settings.model.clone().or_else(own_name) };
        let is_twice = entry.targets.iter().filter(|other| other.provider.value == *name).count() > 1;
        let target_id = TargetId {
            model: id.into(),
            provider: name.as_str().into(),
            upstream_model: model.as_deref().filter(|_| is_twice).map(Into::into),
        };
        let health = Arc::new(TargetHealth::new(target_id, provider.breaker_failures, model.is_none()));
        let protocols = settings.protocols.clone().unwrap_or_else(|| provider.protocols.clone());
        if let Some(foreign) = protocols.iter().find(|protocol| !provider.speaks(**protocol)) {
            self.report(*place, format!("provider '{name}' does not speak {foreign}"));
        }
        let prices = match &settings.prices {
            Some(own) => self.prices(Some(own), *place),
            None => prices.cloned(),
        };
        let priority = settings.priority;
        Some(ModelTarget { provider, model, protocols, weight, priority, prices, health, credentials })
    }

    fn seconds(&mut self, date: &Located<String>) -> i64 {
        let midnight = date.value.parse::<Date>().and_then(|day| TimeZone::UTC.to_timestamp(day.into()));
        match midnight {
            Ok(midnight) => midnight.as_second(),
            Err(_) => {
                self.report(date.place, format!("'{}' is not a date: write YYYY-MM-DD", date.value));
                0
            }
        }
    }

    fn no_model_twice(&mut self, models: &[ModelSettings]) {
        let mut seen: BTreeMap<&str, SourcePosition> = BTreeMap::new();
        for Located { value: id, place } in models.iter().map(|model| &model.id) {
            if let Some(first) = seen.insert(id, *place) {
                self.report(*place, format!("model '{id}' is there already, in line {}", first.line));
            }
        }
    }

    fn aliases(&mut self, aliases: &Aliases) {
        for name in
            aliases.iter().flat_map(|(alias, model)| [alias, model]).filter(|name| !is_model_name(name))
        {
            let message = format!(
                "aliases: '{name}' is no model's name: write 1 to {MAX_NAME_BYTES} visible ASCII characters"
            );
            self.report(SourcePosition::default(), message);
        }
    }

    fn listeners(&mut self, settings: Option<Vec<ListenerSettings>>) -> Vec<Listener> {
        let Some(mut settings) = settings else {
            return vec![Listener { address: DEFAULT_LISTEN.to_owned(), tls: None }];
        };
        for tls in settings.iter_mut().filter_map(|listener| listener.tls.as_mut()) {
            tls.join(self.folder);
        }
        if settings.is_empty() && !self.known.wrong.iter().any(|path| path == "listen") {
            self.report(SourcePosition::default(), "listen: at least one address is needed");
        }
        for ListenerSettings { address, tls } in &settings {
            self.address(address);
            if let Some(files) = tls {
                self.tls_files(&format!("listen.{}.tls", address.value), address.place, files);
            }
        }
        settings.into_iter().map(|l| Listener { address: l.address.value, tls: l.tls }).collect()
    }

    /// Checks the files of a listener's certificate.
    fn tls_files(&mut self, setting: &str, place: SourcePosition, files: &TlsFiles) {
        let both = [("certificate", &files.certificate), ("key", &files.key)];
        if let Some(references) = &mut self.references {
            references.extend(both.map(|(member, file)| SecretReference {
                setting: format!("{setting}.{member}"),
                place,
                source: SecretSource::File(file.clone()),
            }));
            return;
        }
        for file in both.map(|(_, file)| file).into_iter().chain(&files.client_ca) {
            if let Err(why) = std::fs::metadata(file) {
                self.report(place, format!("{} cannot be read: {why}", file.display()));
            }
        }
        if let Ok(metadata) = std::fs::metadata(&files.key) {
            let judged = secret::judged(&files.key, private::exposure(&metadata));
            self.judge(format!("{setting}.key"), place, judged);
        }
    }

    fn admin(
        &mut self,
        settings: Option<Located<AdminSettings>>,
        variable: &impl Fn(&str) -> Option<String>,
    ) -> Option<AdminListener> {
        let Located { value: AdminSettings(members), place } = settings.unwrap_or_default();
        let mut address = members.address.unwrap_or_else(|| DEFAULT_ADMIN.to_owned().into());
        if address.place == SourcePosition::default() {
            address.place = place;
        }
        if address.value == "off" {
            return None;
        }
        self.address(&address);
        let token = members.token.and_then(|reference| self.secret("admin.token", &reference, variable));
        let token = token.map(|token| Token::new(token.expose_secret()));
        let mut tokens = self.operators(members.tokens, variable);
        tokens.extend(token.clone().map(|token| OperatorToken {
            name: "admin.token".to_owned(),
            role: Role::Read,
            token,
            accounts: AccountScope::default(),
        }));
        let plaintext = members.plaintext.is_some();
        let tls = members.tls.map(|Located { value: mut files, place }| {
            files.join(self.folder);
            self.tls_files("admin.tls", place, &files);
            files
        });
        Some(AdminListener { address: address.value, token, hosts: members.hosts, tokens, plaintext, tls })
    }

    /// Resolves the credentials of operators.
    fn operators(
        &mut self,
        settings: Vec<Located<OperatorSettings>>,
        variable: &impl Fn(&str) -> Option<String>,
    ) -> Vec<OperatorToken> {
        let mut tokens: Vec<OperatorToken> = Vec::new();
        for (n, Located { value: OperatorSettings { name, role, token, sha256, accounts }, place }) in
            settings.into_iter().enumerate()
        {
            let setting = format!("admin.tokens[{n}]");
            if tokens.iter().any(|known| known.name == name) {
                self.report(place, format!("{setting}: the name '{name}' is taken"));
            }
            if accounts.as_ref().is_some_and(Vec::is_empty) {
                self.report(
                    place,
                    format!("{setting}: `accounts` is empty: name at least one, or leave it out"),
                );
            }
            let accounts = AccountScope::new(accounts);
            let token = match (token, sha256) {
                (Some(reference), None) => {
                    let secret = self.secret(&setting, &reference, variable);
                    let is_short = |secret: &SecretString| secret.expose_secret().len() < MIN_TOKEN_LENGTH;
                    if secret.as_ref().is_some_and(is_short) {
                        let least =
                            format!("{setting}: the token has fewer than {MIN_TOKEN_LENGTH} characters");
                        self.report(place, format!("{least}: make one with `openssl rand -hex 24`"));
                    }
                    secret.map(|secret| Token::new(secret.expose_secret()))
                }
                (None, Some(hex)) => match Digest::from_hex(&hex) {
                    Some(digest) => Some(Token::from_digest(digest)),
                    None => {
                        self.report(place, format!("{setting}: `sha256` is not 64 hexadecimal digits"));
                        None
                    }
                },
                _ => {
                    self.report(place, format!("{setting}: give either `token` or `sha256`"));
                    None
                }
            };
            tokens.extend(token.map(|token| OperatorToken { name, role, token, accounts }));
        }
        tokens
    }

    /// Checks the keys and accounts that the file declares.
    fn declarations(
        &mut self,
        settings: DeclarationSettings,
        file: Option<&Path>,
        variable: &impl Fn(&str) -> Option<String>,
    ) -> Declarations {
        let file = file.map(|file| std::path::absolute(file).unwrap_or_else(|_| file.to_owned()));
        let (all_are_read, wrong) = (self.references.is_none(), self.known.wrong);
        let mut secret = |setting: &str, reference: &Located<String>| {
            self.secret(setting, reference, variable).filter(|_| all_are_read)
        };
        let (declarations, problems) = Declarations::build(settings, (file, wrong), &mut secret);
        self.problems.extend(problems);
        declarations
    }

    /// Returns the settings of the access log. The data folder is made at the start, and any other has to exist.
    fn access_log(&mut self, settings: Option<Located<AccessLogSettings>>, data: &Path) -> AccessLogSettings {
        let Located { value, place } = settings.unwrap_or_default();
        let Destination::File(path) = value.to else { return value };
        let path = self.folder.join(path);
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let missing = parent.filter(|parent| *parent != data && !parent.is_dir());
        if let Some(parent) = missing.filter(|_| self.references.is_none()) {
            self.report(place, format!("access_log: there is no folder {}", parent.display()));
        }
        AccessLogSettings { to: Destination::File(path), ..value }
    }

    fn metrics(&mut self, settings: Option<Located<MetricsSettings>>) -> MetricsSettings {
        let Located { value, place } = settings.unwrap_or_default();
        if value.accounts > MAX_ACCOUNT_SERIES {
            self.report(place, format!("metrics.accounts: is more than {MAX_ACCOUNT_SERIES}"));
        }
        value
    }

    /// Returns the rules of the content log, if they are right.
    fn content_log(&mut self, settings: Located<ContentLogSettings>) -> Option<Arc<ContentRules>> {
        let Located { value, place } = settings;
        let to = self.folder.join(&value.to);
        match ContentRules::new(ContentLogSettings { to, ..value }) {
            Ok(rules) => Some(Arc::new(rules)),
            Err(why) => {
                self.report(place, format!("content_log: {why}"));
                None
            }
        }
    }

    fn cors(&mut self, settings: CorsSettings) -> Cors {
        let CorsSettings::On(members) = settings else { return Cors { origins: Origins::None, max_age: 0 } };
        let origins = match members.origins {
            OriginSettings::Any => Origins::Any,
            OriginSettings::Listed(listed) => {
                for Located { value, place } in listed.iter().filter(|origin| !is_origin(&origin.value)) {
                    let form = "write scheme://host, in lower case and without a slash at the end";
                    self.report(*place, format!("cors.origins: '{value}' is not an origin: {form}"));
                }
                Origins::Listed(listed.into_iter().map(|origin| origin.value).collect())
            }
        };
        Cors { origins, max_age: members.max_age }
    }

    fn address(&mut self, address: &Located<String>) {
        if std::net::ToSocketAddrs::to_socket_addrs(&address.value.as_str()).is_err() {
            self.report(address.place, format!("'{}' is not an address: write host:port", address.value));
        }
        // Port 0 leaves the choice to the system, so it may occur several times.
        if !address.value.ends_with(":0") && !self.addresses.insert(address.value.clone()) {
            self.report(address.place, format!("'{}' is listened on already", address.value));
        }
    }
}

fn is_model_id(id: &str) -> bool {
    let parts = id.split_once('/');
    let plain = |text: &str| !text.is_empty() && !text.contains('*');
    is_model_name(id) && parts.is_some_and(|(vendor, model)| plain(vendor) && (model == "*" || plain(model)))
}

/// Returns the port of the built-in provider. It is chosen once, so that a reload finds the provider there.
fn demo_port() -> std::io::Result<u16> {
    let free = || Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port());
    DEMO_PORT.get_or_try_init(free).copied()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// The value in place of a secret that is not read.
pub(super) const NOT_READ: &str = "not-read";

static DEMO_PORT: OnceCell<u16> = OnceCell::new();

/// The fewest characters of an operator's credential in the file.
const MIN_TOKEN_LENGTH: usize = 32;
