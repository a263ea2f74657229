//! Reloads of the configuration and of certificates while the gateway runs.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;

use crate::admin::{Actor, Operations};
use crate::config::{
    self, Config, ConfigError, ConfigStatus, ContentPaths, DiskFile, LoadOptions, LoadedFile,
    ProcessSettings, RefusedFile, ReloadTrigger, Timeouts,
};
use crate::edge::gateway::Gateway;
use crate::edge::server::certificates::{Certificates, Renewal};
use crate::edge::server::reload_requests::{ReloadAnswer, ReloadOutcome};
use crate::edge::server::webhooks;
use crate::notify::Webhook;

/// The files that are put into effect again on a signal, or once they have changed and are no longer being
/// written.
#[derive(Debug)]
pub(in crate::edge) struct Reload {
    gateway: Gateway,
    certificates: Certificates,
    file: Option<PathBuf>,
    options: LoadOptions,
    /// The settings of the process, as the file had them when it started. Arguments of the command may overrule them.
    process: Option<ProcessSettings>,
    /// The file in force.
    in_force: InForce,
    status: ConfigStatus,
    timeouts: Timeouts,
    configuration: Watch,
    pairs: Watch,
    /// The data folder, whose store has the audit log.
    data: PathBuf,
}

/// The file in force, for a comparison with the next one.
#[derive(Debug, Default)]
struct InForce {
    text: String,
    /// The digest of the file and of the secrets and operators' credentials to which it refers.
    digest: String,
}

impl InForce {
    fn of(text: String, config: &Config) -> Self {
        let files: Vec<_> =
            config.watched.iter().map(|file| std::fs::read(file).unwrap_or_default()).collect();
        let secrets = config.providers.iter().flat_map(|provider| provider.secrets()).map(str::as_bytes);
        let secrets = secrets.chain(config.webhooks.iter().flat_map(Webhook::secret_parts));
        let guards = config.guards.iter().filter_map(|guard| Some(guard.secret.as_ref()?.bytes()));
        let texts = std::iter::once(text.as_bytes())
            .chain(secrets)
            .chain(files.iter().map(Vec::as_slice))
            .chain(guards);
        let of_file = config::sha256(texts);
        let tokens = config.admin.iter().flat_map(|admin| &admin.tokens).map(|known| known.token.digest());
        let keys = config.declarations.keys.iter().map(|key| key.digest);
        let digests: Vec<_> = tokens.chain(keys).map(|digest| digest.to_hex()).collect();
        let digests = std::iter::once(&of_file).chain(&digests);
        let digest = config::sha256(digests.map(|digest| digest.as_bytes()));
        Self { text, digest }
    }
}

impl Reload {
    pub(in crate::edge) fn new(
        gateway: Gateway,
        certificates: Certificates,
        file: Option<PathBuf>,
        config: &Config,
    ) -> Self {
        let (options, timeouts) = (config.options.clone(), config.timeouts);
        let configuration = Watch::new(watched(file.as_deref(), config));
        let pairs = Watch::new(certificates.files());
        let started = file.as_deref().and_then(|file| read(file, &options).ok());
        let process = started.as_ref().map(|(_, config)| ProcessSettings::of(config));
        let has_other_data = started.as_ref().is_some_and(|(_, started)| started.data != config.data);
        let overridden = config::overridden(&options, has_other_data);
        let in_force = started.map(|(text, config)| InForce::of(text, &config)).unwrap_or_default();
        let warnings = config.warnings().iter().map(|warning| warning.trap.clone()).collect();
        let content = ContentPaths::of(config);
        let status =
            ConfigStatus { file: file.clone(), overridden, warnings, content, ..ConfigStatus::default() };
        let mut reload = Self {
            gateway,
            certificates,
            file,
            options,
            process,
            in_force,
            status,
            timeouts,
            configuration,
            pairs,
            data: config.data.clone(),
        };
        reload.note_loaded(ReloadTrigger::Start);
        reload.note_certificates();
        reload
    }

    /// Reads all files again, and opens the access log again if its file was renamed.
    pub(in crate::edge) fn now(&mut self) {
        self.gateway.reopen_log();
        self.configuration.look();
        self.configure(ReloadTrigger::Signal);
        self.pairs.look();
        self.renew();
    }

    /// Reads the configuration again because an operator has asked for it. The operation writes the audit log.
    pub(in crate::edge) fn on_request(&mut self) -> ReloadAnswer {
        self.configuration.look();
        (self.load(ReloadTrigger::Api), self.gateway.config_status())
    }

    /// Checks the files. It is to be called regularly.
    pub(in crate::edge) fn tick(&mut self) {
        if self.configuration.has_changed() {
            self.configure(ReloadTrigger::Watch);
        }
        if self.pairs.has_changed() {
            self.renew();
        }
    }

    /// Returns the time-outs in force.
    pub(in crate::edge) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// Reads the configuration again without a request, and writes to the audit log what has come of it.
    fn configure(&mut self, trigger: ReloadTrigger) {
        if self.load(trigger) == ReloadOutcome::Unchanged {
            return;
        }
        let file = self.file.as_deref().unwrap_or_else(|| Path::new(""));
        let actor = Actor::configuration(&file.display().to_string());
        let noted = Operations::open(&self.data).and_then(|store| store.note_reload(&actor, &self.status));
        if let Err(error) = noted {
            log::error!("audit: {error}");
        }
    }

    fn load(&mut self, trigger: ReloadTrigger) -> ReloadOutcome {
        let Some(file) = &self.file else { return ReloadOutcome::Unchanged };
        self.status.on_disk = DiskFile::look(file);
        match read(file, &self.options) {
            Ok((text, config)) => {
                let next = InForce::of(text, &config);
                if next.digest == self.in_force.digest && self.status.refused.is_none() {
                    self.gateway.metrics().reloads.inc();
                    self.gateway.wake_credentials();
                    self.gateway.note_config(&self.status);
                    log::debug!("the configuration has not changed");
                    return ReloadOutcome::Unchanged;
                }
                match self.gateway.reload(&config) {
                    Ok(()) => self.put_into_effect(next, &config, trigger),
                    Err(error) => self.refuse(&error),
                }
            }
            Err(error) => self.refuse(&error),
        }
    }

    /// Tells of a file that is not put into effect.
    fn refuse(&mut self, error: &ConfigError) -> ReloadOutcome {
        self.gateway.metrics().bad_reloads.inc();
        log::error!("the configuration stays as it was:\n{error}");
        let refused = RefusedFile::new(error);
        webhooks::tell_of_refusal(&self.gateway, &refused);
        self.status.refused = Some(refused);
        self.gateway.note_config(&self.status);
        ReloadOutcome::Refused
    }

    /// Puts the rest of a configuration into effect that the gateway has, and tells what has changed and what needs a new
    /// process.
    fn put_into_effect(&mut self, next: InForce, config: &Config, trigger: ReloadTrigger) -> ReloadOutcome {
        self.timeouts = config.timeouts;
        self.certificates.rename(&config.listeners, config.admin.as_ref());
        self.pairs.files = self.certificates.files();
        self.configuration.follow(watched(self.file.as_deref(), config));
        let process = ProcessSettings::of(config);
        let pending = self.process.as_ref().map(|started| started.differences(&process));
        let pending = pending.unwrap_or_default();
        let is_pending = |section: &str| pending.iter().any(|name| name.split('.').next() == Some(section));
        let mut changed = config::changed_sections(&self.in_force.text, &next.text);
        changed.retain(|section| !is_pending(section) || section == "providers");
        if self.in_force.text == next.text && self.in_force.digest != next.digest {
            changed.push("secrets".to_owned());
        }
        let changed = if changed.is_empty() { String::new() } else { format!(": {}", changed.join(", ")) };
        log::info!("the configuration is in force again{changed}");
        for name in &pending {
            log::warn!("{name}: needs a new process: {}", advice(name));
        }
        self.status.restart_required = pending;
        self.in_force = next;
        self.status.content = ContentPaths::of(config);
        self.status.warnings = config.warnings().iter().map(|warning| warning.trap.clone()).collect();
        self.note_loaded(trigger);
        ReloadOutcome::Applied
    }

    fn note_loaded(&mut self, trigger: ReloadTrigger) {
        let sha256 = config::sha256([self.in_force.text.as_bytes()]);
        self.status.in_force = Some(LoadedFile { sha256, loaded_at: Timestamp::now(), trigger });
        self.status.refused = None;
        self.status.on_disk = self.file.as_deref().and_then(DiskFile::look);
        self.gateway.note_config(&self.status);
    }

    fn renew(&self) {
        for renewal in self.certificates.renew() {
            let metrics = self.gateway.metrics();
            match renewal {
                Renewal::New => metrics.certificates.inc(),
                Renewal::Refused => metrics.bad_certificates.inc(),
            }
        }
        self.note_certificates();
    }

    /// Sets the metrics of the certificates' ends.
    fn note_certificates(&self) {
        self.gateway.note_certificates(self.certificates.ends().collect());
    }
}

/// Reads and checks the configuration of a file.
fn read(file: &Path, options: &LoadOptions) -> Result<(String, Config), ConfigError> {
    let config = Config::load_with(file, options.clone())?;
    // A file that changes in between is read again at the next look.
    Ok((std::fs::read_to_string(file).unwrap_or_default(), config))
}

/// Returns the files whose changes are put into effect: the configuration, and the secrets to which it refers.
fn watched(file: Option<&Path>, config: &Config) -> Vec<PathBuf> {
    file.map(Path::to_owned).into_iter().chain(config.watched.iter().cloned()).collect()
}

/// Returns what puts the new value of a setting into effect.
fn advice(setting: &str) -> &'static str {
    match setting {
        // A successor finds the process by its data folder.
        "data" => "restart the gateway",
        _ => "systemctl kill -s USR2 crossmodel, or crossmodel --upgrade",
    }
}

/// Some files, and their last known state.
#[derive(Debug)]
struct Watch {
    files: Vec<PathBuf>,
    seen: Vec<Look>,
    settling: bool,
}

/// A file's time of change, length and inode: a name may come to mean another file.
type Look = Option<(SystemTime, u64, u64)>;

impl Watch {
    fn new(files: Vec<PathBuf>) -> Self {
        let seen = looks(&files);
        Self { files, seen, settling: false }
    }

    /// Notes the present state of the files.
    fn look(&mut self) {
        self.seen = looks(&self.files);
        self.settling = false;
    }

    /// Watches these files from now on.
    fn follow(&mut self, files: Vec<PathBuf>) {
        let seen = |file: &PathBuf| {
            let known = self.files.iter().position(|known| known == file);
            // A file that has changed since it was read is still to be noticed.
            known.and_then(|place| self.seen.get(place).copied()).unwrap_or_else(|| look(file))
        };
        self.seen = files.iter().map(seen).collect();
        self.files = files;
    }

    /// Whether a file has changed, and all files are stable: a file that is still being written differs at the
    /// next tick.
    fn has_changed(&mut self) -> bool {
        let now = looks(&self.files);
        if now != self.seen {
            self.seen = now;
            self.settling = true;
            return false;
        }
        std::mem::take(&mut self.settling)
    }
}

fn looks(files: &[PathBuf]) -> Vec<Look> {
    files.iter().map(|file| look(file)).collect()
}

fn look(file: &Path) -> Look {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}
