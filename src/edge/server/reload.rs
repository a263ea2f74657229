//! Reloads of the configuration and of certificates while the gateway runs.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::config::{Config, LoadOptions};
use crate::edge::gateway::Gateway;
use crate::edge::server::certificates::{Certificates, Renewal};

/// The files that are put into effect again on a signal, or once they have changed and are no longer being
/// written.
#[derive(Debug)]
pub(in crate::edge) struct Reload {
    gateway: Gateway,
    certificates: Certificates,
    file: Option<PathBuf>,
    options: LoadOptions,
    /// Whether there is a provider `demo`, which is started only with the process.
    demo: bool,
    configuration: Watch,
    pairs: Watch,
}

impl Reload {
    pub(in crate::edge) fn new(
        gateway: Gateway,
        certificates: Certificates,
        file: Option<PathBuf>,
        config: &Config,
    ) -> Self {
        let configuration = Watch::new(file.iter().cloned().collect());
        let pairs = Watch::new(certificates.files());
        let (options, demo) = (config.options.clone(), config.demo.is_some());
        Self { gateway, certificates, file, options, demo, configuration, pairs }
    }

    /// Reads all files again.
    pub(in crate::edge) fn now(&mut self) {
        self.configuration.look();
        self.configure();
        self.pairs.look();
        self.renew();
    }

    /// Checks the files. It is to be called regularly.
    pub(in crate::edge) fn tick(&mut self) {
        if self.configuration.has_changed() {
            self.configure();
        }
        if self.pairs.has_changed() {
            self.renew();
        }
    }

    fn configure(&mut self) {
        let Some(file) = &self.file else { return };
        match Config::load_with(file, self.options.clone()) {
            Ok(config) => {
                if config.demo.is_some() && !self.demo {
                    log::warn!("the provider 'demo' is started with the gateway: restart it");
                }
                self.gateway.reload(&config);
                self.certificates.rename(&config.listeners);
                self.pairs.files = self.certificates.files();
                log::info!("the configuration is in force again, from {}", file.display());
            }
            Err(error) => {
                self.gateway.metrics().bad_reloads.inc();
                log::error!("the configuration stays as it was:\n{error}");
            }
        }
    }

    fn renew(&self) {
        for renewal in self.certificates.renew() {
            let metrics = self.gateway.metrics();
            match renewal {
                Renewal::New => metrics.certificates.inc(),
                Renewal::Refused => metrics.bad_certificates.inc(),
            }
        }
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
