//! The state of the configuration, for people and programs: what is in force, what was refused, and what waits for a new
//! process.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{ClientAuth, Config, ConfigError, TlsFiles};

/// The state of the configuration of a process.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ConfigStatus {
    /// The file; absent if the gateway was started without one.
    pub file: Option<PathBuf>,
    /// The configuration in force.
    pub in_force: Option<LoadedFile>,
    /// The last file that was refused, as long as the one in force is an earlier one.
    pub refused: Option<RefusedFile>,
    /// The settings whose new values only a new process puts into effect.
    pub restart_required: Vec<&'static str>,
    /// The traps in the configuration in force.
    pub warnings: Vec<String>,
}

/// A file that was put into effect.
#[derive(Clone, Debug, Serialize)]
pub struct LoadedFile {
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// The time at which it was put into effect.
    pub loaded_at: Timestamp,
    /// The reason for which it was read.
    pub trigger: ReloadTrigger,
}

/// A file that was refused.
#[derive(Clone, Debug, Serialize)]
pub struct RefusedFile {
    /// The time at which it was refused.
    pub at: Timestamp,
    /// Its mistakes.
    pub problems: Vec<String>,
}

/// The reason for which the configuration was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadTrigger {
    /// The process has started.
    Start,
    /// A signal.
    Signal,
    /// The file has changed.
    Watch,
}

/// The settings that only a new process puts into effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSettings {
    /// The addresses for clients, and of those with TLS, what they ask of clients.
    listen: Vec<(String, Option<ClientChecks>)>,
    admin: Option<super::AdminListener>,
    data: PathBuf,
    threads: usize,
    demo: bool,
}

/// The certificates that a listener asks of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ClientChecks {
    authorities: Option<PathBuf>,
    auth: ClientAuth,
}

impl ProcessSettings {
    /// Takes the settings from a configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let clients =
            |tls: &TlsFiles| ClientChecks { authorities: tls.client_ca.clone(), auth: tls.client_auth };
        let listen = config.listeners.iter();
        Self {
            listen: listen
                .map(|listener| (listener.address.clone(), listener.tls.as_ref().map(clients)))
                .collect(),
            admin: config.admin.clone(),
            data: config.data.clone(),
            threads: config.threads,
            demo: config.demo.is_some(),
        }
    }

    /// Returns the names of the settings that differ.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let address = |settings: &Self| settings.admin.as_ref().map(|admin| admin.address.clone());
        let admin = match address(self) == address(other) {
            true if self.admin == other.admin => None,
            true => Some("admin"),
            false => Some("admin.address"),
        };
        let named = [
            (self.listen != other.listen).then_some("listen"),
            admin,
            (self.data != other.data).then_some("data"),
            (self.threads != other.threads).then_some("threads"),
            (self.demo != other.demo).then_some("providers.demo"),
        ];
        named.into_iter().flatten().collect()
    }
}

impl RefusedFile {
    /// Makes the record of a file that is refused now.
    #[must_use]
    pub fn new(error: &ConfigError) -> Self {
        let problems = error.problems().iter().map(|problem| problem.message.clone());
        Self { at: Timestamp::now(), problems: problems.collect() }
    }
}

/// Returns the SHA-256 of texts, in hexadecimal. Each text ends with a byte that none of them contains.
#[must_use]
pub fn sha256<'t>(texts: impl IntoIterator<Item = &'t [u8]>) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text);
        hash.update([0]);
    }
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Returns the names of the sections that differ between two files in block style: the members of the document with all
/// lines below them.
#[must_use]
pub fn changed_sections(before: &str, after: &str) -> Vec<String> {
    let (before, after) = (sections(before), sections(after));
    let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .filter(|name| before.get(**name) != after.get(**name))
        .map(|n| (*n).to_owned())
        .collect()
}

fn sections(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut sections: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut current = "";
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty()) {
        if line.starts_with(|first: char| first.is_ascii_alphabetic())
            && let Some((name, _)) = line.split_once(':')
        {
            current = name.trim_end();
        }
        sections.entry(current).or_default().push(line);
    }
    sections.remove("");
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> ProcessSettings {
        let text = format!("{text}\nproviders: {{demo: {{}}}}\n");
        ProcessSettings::of(&Config::parse(&text, |_| Some("a-long-token".to_owned())).unwrap())
    }

    #[test]
    fn what_needs_a_new_process_is_named() {
        let before = settings("threads: 2");
        for (text, names) in [
            ("threads: 2\nlimits: {calls: 5}", vec![]),
            ("threads: 3", vec!["threads"]),
            ("threads: 2\nlisten: [{address: \"127.0.0.1:1\"}]", vec!["listen"]),
            ("threads: 2\nadmin: \"127.0.0.1:1\"", vec!["admin.address"]),
            ("threads: 2\nadmin: {token: \"env:X\"}", vec!["admin"]),
            ("threads: 2\ndata: elsewhere", vec!["data"]),
        ] {
            assert_eq!(before.differences(&settings(text)), names, "{text}");
        }
    }

    #[test]
    fn the_sections_that_have_changed_are_named() {
        let before = "# a\nlisten: x\nproviders:\n  a: {}\n\n  b: {}\naliases: {}\n";
        let after = "listen: x\nproviders:\n  a: {}\n  # more\n  b: {x: 1}\nmodels: []\naliases: {}\n";
        assert_eq!(changed_sections(before, after), ["models", "providers"]);
        assert_eq!(changed_sections(before, before), Vec::<String>::new());
    }
}
