//! The state of the configuration, for people and programs: what is in force, what was refused, and what waits for a new
//! process.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{AdminListener, ClientAuth, Config, ConfigError, ContentPaths, LoadOptions, TlsFiles};

/// The state of the configuration of a process.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct ConfigStatus {
    /// The file; absent if the gateway was started without one.
    pub file: Option<PathBuf>,
    /// The configuration in force.
    pub in_force: Option<LoadedFile>,
    /// The file as it is on the disk; absent if it cannot be read.
    pub on_disk: Option<DiskFile>,
    /// The last file that was refused, as long as the one in force is an earlier one.
    pub refused: Option<RefusedFile>,
    /// The settings whose new values only a new process puts into effect.
    pub restart_required: Vec<&'static str>,
    /// The traps in the configuration in force.
    pub warnings: Vec<String>,
    /// The keys and accounts that the configuration in force declares.
    pub declared: DeclaredStatus,
    /// The arguments of the command that go before settings of the file.
    pub overridden: Vec<&'static str>,
    /// The services and files that see the content of calls in the configuration in force, or carry it.
    #[serde(flatten)]
    pub content: ContentPaths,
}

/// The state of the keys and accounts that a configuration declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DeclaredStatus {
    /// The owner of these objects in the store; empty if there are none.
    pub instance: String,
    /// The number of accounts.
    pub accounts: usize,
    /// The number of keys.
    pub keys: usize,
    /// The ids of those that an operator has disabled: they stay so until somebody enables them.
    pub disabled_although_declared: Vec<String>,
}

/// A file as it is on the disk.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct DiskFile {
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// The time at which it was changed.
    #[schemars(with = "String")]
    pub changed_at: Timestamp,
}

/// A file that was put into effect.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct LoadedFile {
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// The time at which it was put into effect.
    #[schemars(with = "String")]
    pub loaded_at: Timestamp,
    /// The reason for which it was read.
    pub trigger: ReloadTrigger,
}

/// A file that was refused.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RefusedFile {
    /// The time at which it was refused.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// Its mistakes.
    pub problems: Vec<String>,
}

/// The reason for which the configuration was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReloadTrigger {
    /// The process has started.
    Start,
    /// A signal.
    Signal,
    /// The file has changed.
    Watch,
    /// An operator has asked for it.
    Api,
}

/// The settings that only a new process puts into effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSettings {
    /// The addresses for clients, and of those with TLS, what they ask of clients.
    listen: Vec<(String, Option<ClientChecks>)>,
    admin: Option<AdminProcessSettings>,
    data: PathBuf,
    threads: usize,
    demo: bool,
}

/// The settings of the listener for operators that only a new process puts into effect. Tokens are no part of them, only
/// whether one is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AdminProcessSettings {
    address: String,
    has_token: bool,
    hosts: Vec<String>,
    plaintext: bool,
    tls: Option<ClientChecks>,
}

impl AdminProcessSettings {
    fn of(listener: &AdminListener) -> Self {
        Self {
            address: listener.address.clone(),
            has_token: listener.token.is_some(),
            hosts: listener.hosts.clone(),
            plaintext: listener.plaintext,
            tls: listener.tls.as_ref().map(ClientChecks::of),
        }
    }
}

impl DiskFile {
    /// Looks at a file.
    #[must_use]
    pub fn look(path: &Path) -> Option<Self> {
        let changed = std::fs::metadata(path).ok()?.modified().ok()?;
        let bytes = std::fs::read(path).ok()?;
        Some(Self { sha256: sha256([bytes.as_slice()]), changed_at: Timestamp::try_from(changed).ok()? })
    }
}

/// The certificates that a listener asks of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ClientChecks {
    authorities: Option<PathBuf>,
    auth: ClientAuth,
}

impl ClientChecks {
    fn of(files: &TlsFiles) -> Self {
        Self { authorities: files.client_ca.clone(), auth: files.client_auth }
    }
}

impl ProcessSettings {
    /// Takes the settings from a configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let listen = config.listeners.iter();
        Self {
            listen: listen
                .map(|listener| (listener.address.clone(), listener.tls.as_ref().map(ClientChecks::of)))
                .collect(),
            admin: config.admin.as_ref().map(AdminProcessSettings::of),
            data: config.data.clone(),
            threads: config.threads,
            demo: config.demo.is_some(),
        }
    }

    /// Returns the names of the settings that differ.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let address = |settings: &Self| settings.admin.as_ref().map(|admin| admin.address.clone());
        let tls = |settings: &Self| settings.admin.as_ref().and_then(|admin| admin.tls.clone());
        let admin = match address(self) == address(other) {
            true if self.admin == other.admin => None,
            true if tls(self) != tls(other) => Some("admin.tls"),
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

/// Returns the arguments of the command that go before settings of the file.
#[must_use]
pub fn overridden(options: &LoadOptions, has_other_data: bool) -> Vec<&'static str> {
    let all = [
        (!options.listen.is_empty()).then_some("--listen"),
        options.admin.is_some().then_some("--admin"),
        has_other_data.then_some("--data"),
    ];
    all.into_iter().flatten().collect()
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
            ("threads: 2\nadmin: {hosts: [a]}", vec!["admin"]),
            (
                &format!(
                    "threads: 2\nadmin: {{tokens: [{{name: a, role: read, sha256: \"{}\"}}]}}",
                    "a".repeat(64)
                ),
                vec![],
            ),
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

    #[test]
    fn a_file_on_the_disk_is_told_apart_from_the_one_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("conf.yaml");
        assert!(DiskFile::look(&path).is_none());
        std::fs::write(&path, "threads: 2").unwrap();
        let looked = DiskFile::look(&path).unwrap();
        assert_eq!(looked.sha256, sha256([b"threads: 2".as_slice()]));
        assert!((Timestamp::now().as_second() - looked.changed_at.as_second()).abs() < 3600);
    }

    #[test]
    fn arguments_that_go_before_the_file_are_named() {
        let options = LoadOptions { listen: vec!["127.0.0.1:1".to_owned()], ..LoadOptions::default() };
        assert_eq!(overridden(&options, false), ["--listen"]);
        let options = LoadOptions { admin: Some("off".to_owned()), ..LoadOptions::default() };
        assert_eq!(overridden(&options, true), ["--admin", "--data"]);
        assert!(overridden(&LoadOptions::default(), false).is_empty());
    }
}
