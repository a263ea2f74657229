//! `crossmodel status` and `crossmodel config`: the state of a running gateway, and of its configuration.

use std::collections::BTreeMap;
use std::io::Write;

use clap::Subcommand;
use serde::Deserialize;

use crossmodel::admin::client::Client;
use crossmodel::admin::model::{Condition, ConditionStatus, Members, Status};

use super::failure::CommandError;
use super::table::{OutputFormat, print, read_view, table};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Shows the configuration in force, the one on the disk, and what a reload refused or left for a restart.
    #[command(after_help = "Examples:\n  crossmodel config status\n  crossmodel config status --json")]
    Status(OutputFormat),
    /// Reads the configuration file again, and puts it into effect. Fails if the file is refused.
    #[command(after_help = "Examples:\n  crossmodel config reload\n  crossmodel config reload --json")]
    Reload(OutputFormat),
}

/// The configuration of a gateway, as far as the table shows it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConfigView {
    file: Option<String>,
    in_force: Option<LoadedView>,
    on_disk: Option<DiskView>,
    refused: Option<RefusedView>,
    restart_required: Vec<String>,
    warnings: Vec<String>,
    overridden: Vec<String>,
    declared: Option<DeclaredView>,
    proxies: BTreeMap<String, String>,
    guards: Vec<String>,
    content_log: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LoadedView {
    sha256: String,
    loaded_at: String,
    trigger: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DiskView {
    sha256: String,
    changed_at: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RefusedView {
    at: String,
    problems: Vec<ProblemView>,
}

/// A problem: its words, or its place and its words.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ProblemView {
    Words(String),
    Placed { line: Option<u64>, message: String },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DeclaredView {
    accounts: u64,
    keys: u64,
    disabled_although_declared: Vec<String>,
}

/// Shows the conditions of a gateway. Fails if one of those that matter most does not hold.
///
/// # Errors
/// Fails if the gateway cannot be asked, or cannot serve.
pub(super) fn show(client: &Client, format: OutputFormat, out: &mut dyn Write) -> Result<(), CommandError> {
    let status: Status = client.get("/status")?;
    if format.json {
        print(&status, out)?;
    } else {
        let rows: Vec<_> = status.conditions.iter().map(row).collect();
        table(HEADINGS, &rows, out)?;
    }
    let is_wrong = |condition: &Condition| {
        condition.status == ConditionStatus::False && GRAVE.contains(&condition.kind.as_str())
    };
    if status.conditions.iter().any(is_wrong) { Err(CommandError::Shown) } else { Ok(()) }
}

fn row(condition: &Condition) -> Vec<String> {
    let Condition { kind, status, reason, message, last_transition_time } = condition;
    let status = match status {
        ConditionStatus::True => "true",
        ConditionStatus::False => "FALSE",
        ConditionStatus::Unknown => "unknown",
    };
    vec![kind.clone(), status.to_owned(), last_transition_time.to_string(), reason.clone(), message.clone()]
}

impl ConfigCommand {
    /// Shows the configuration of a gateway, read again if that is wanted. Fails if the file on the disk was refused.
    pub(super) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), CommandError> {
        let (members, format): (Members, _) = match self {
            Self::Status(format) => (client.get("/config")?, format),
            Self::Reload(format) => (client.send("POST", "/config/reload", &Members::new())?, format),
        };
        let view: ConfigView = read_view(&members)?;
        if format.json {
            print(&members, out)?;
        } else {
            table(&["CONFIGURATION", ""], &view.rows(), out)?;
        }
        if view.refused.is_some() { Err(CommandError::Shown) } else { Ok(()) }
    }
}

impl ConfigView {
    /// Returns the facts, each with its name. Lists have one row for each entry.
    fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        let mut row = |name: &str, text: String| rows.push(vec![name.to_owned(), text]);
        row("file", self.file.clone().unwrap_or_else(|| "none: the environment".to_owned()));
        if let Some(LoadedView { sha256, loaded_at, trigger }) = &self.in_force {
            row("in force", format!("since {loaded_at} by {trigger}, sha256 {sha256}"));
        }
        if let Some(disk) = &self.on_disk {
            let loaded = self.in_force.as_ref().is_some_and(|loaded| loaded.sha256 == disk.sha256);
            let changed = disk.changed_at.as_ref().map(|at| format!(" since {at}")).unwrap_or_default();
            row("on disk", format!("{}{changed}", if loaded { "the same" } else { "another" }));
        }
        if let Some(RefusedView { at, problems }) = &self.refused {
            row("REFUSED", at.clone());
            problems.iter().for_each(|problem| row("", problem.words()));
        }
        let lists = [
            ("needs a restart", &self.restart_required),
            ("warning", &self.warnings),
            ("overridden by", &self.overridden),
        ];
        for (name, entries) in lists {
            entries.iter().for_each(|entry| row(name, entry.clone()));
        }
        if let Some(DeclaredView { accounts, keys, disabled_although_declared }) = &self.declared {
            row("declared", format!("{accounts} accounts, {keys} keys"));
            disabled_although_declared.iter().for_each(|id| row("disabled although declared", id.clone()));
        }
        for (provider, proxy) in &self.proxies {
            row("proxy", format!("{provider} through {proxy}"));
        }
        self.guards.iter().for_each(|guard| row("guard", guard.clone()));
        if let Some(file) = &self.content_log {
            row("content log", file.clone());
        }
        rows
    }
}

impl ProblemView {
    fn words(&self) -> String {
        match self {
            Self::Words(words) => words.clone(),
            Self::Placed { line: Some(line), message } => format!("line {line}: {message}"),
            Self::Placed { line: None, message } => message.clone(),
        }
    }
}

const HEADINGS: &[&str] = &["CONDITION", "HOLDS", "SINCE", "REASON", "MESSAGE"];

/// The conditions without which a gateway cannot be relied on.
const GRAVE: [&str; 3] = ["Ready", "StoreWritable", "ConfigurationCurrent"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_shown_with_all_that_an_operator_has_to_know() {
        let view: ConfigView = serde_json::from_str(
            r#"{"file":"/etc/c.yaml","in_force":{"sha256":"aa","loaded_at":"T1","trigger":"start"},
               "on_disk":{"sha256":"bb","changed_at":"T2"},
               "refused":{"at":"T3","problems":[{"line":4,"column":1,"message":"no"},"neither"]},
               "restart_required":["listen"],"warnings":["w"],"overridden":["--listen"],
               "declared":{"accounts":1,"keys":2,"disabled_although_declared":["key_ci"]},
               "proxies":{"openai":"proxy:3128"},"guards":["pii"],"content_log":"/c.jsonl","later":1}"#,
        )
        .unwrap();
        let rows: Vec<_> = view.rows().iter().map(|row| row.join(": ")).collect();
        let expected = [
            "file: /etc/c.yaml",
            "in force: since T1 by start, sha256 aa",
            "on disk: another since T2",
            "REFUSED: T3",
            ": line 4: no",
            ": neither",
            "needs a restart: listen",
            "warning: w",
            "overridden by: --listen",
            "declared: 1 accounts, 2 keys",
            "disabled although declared: key_ci",
            "proxy: openai through proxy:3128",
            "guard: pii",
            "content log: /c.jsonl",
        ];
        assert_eq!(rows, expected);
        let bare: ConfigView = serde_json::from_str("{}").unwrap();
        assert_eq!(bare.rows().len(), 1);
    }
}
