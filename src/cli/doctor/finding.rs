//! The doctor's findings, and their output.

use std::io::Write;

use serde::Serialize;

use crate::cli::CommandError;
use crate::cli::table::{OutputFormat, print, table};

/// The state of a thing that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CheckState {
    Ok,
    /// The check was not possible.
    Unknown,
    /// It works, but not for long, or not for everything.
    Warning,
    Wrong,
}

/// One checked fact.
#[derive(Clone, Debug, Serialize)]
pub(super) struct DoctorFinding {
    pub(super) subject: String,
    pub(super) check: &'static str,
    pub(super) state: CheckState,
    pub(super) message: String,
    /// The advice for it.
    pub(super) advice: Option<String>,
}

impl DoctorFinding {
    pub(super) fn ok(subject: impl Into<String>, check: &'static str, message: impl Into<String>) -> Self {
        Self { subject: subject.into(), check, state: CheckState::Ok, message: message.into(), advice: None }
    }

    pub(super) fn new(
        state: CheckState,
        subject: impl Into<String>,
        check: &'static str,
        message: impl Into<String>,
        advice: &str,
    ) -> Self {
        let advice = Some(advice.to_owned());
        Self { subject: subject.into(), check, state, message: message.into(), advice }
    }
}

/// All findings, as JSON.
#[derive(Serialize)]
struct DoctorReport<'a> {
    ok: bool,
    checks: &'a [DoctorFinding],
}

/// Prints all findings.
///
/// # Errors
/// Fails if a finding is wrong, or if the output cannot be written.
pub(super) fn show(
    findings: &[DoctorFinding],
    format: OutputFormat,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let count = |state: CheckState| findings.iter().filter(|finding| finding.state == state).count();
    let wrong = count(CheckState::Wrong);
    if format.json {
        print(&DoctorReport { ok: wrong == 0, checks: findings }, out)?;
        return if wrong == 0 { Ok(()) } else { Err(CommandError::Shown) };
    }
    let rows: Vec<_> = findings.iter().map(row).collect();
    table(&["STATE", "SUBJECT", "CHECK", "FOUND"], &rows, out)?;
    let mut advised = findings.iter().filter(|finding| finding.advice.is_some()).peekable();
    if advised.peek().is_some() {
        writeln!(out, "\nWhat to do:")?;
    }
    for finding in advised {
        let advice = finding.advice.as_deref().unwrap_or_default();
        writeln!(out, "  {}, {}: {advice}", finding.subject, finding.check)?;
    }
    let (warnings, unknown) = (count(CheckState::Warning), count(CheckState::Unknown));
    writeln!(out, "\n{wrong} wrong, {warnings} to look at, {unknown} unknown, {} ok", count(CheckState::Ok))?;
    if wrong == 0 { Ok(()) } else { Err(CommandError::Shown) }
}

fn row(finding: &DoctorFinding) -> Vec<String> {
    let state = match finding.state {
        CheckState::Ok => "ok",
        CheckState::Unknown => "unknown",
        CheckState::Warning => "warning",
        CheckState::Wrong => "WRONG",
    };
    vec![state.to_owned(), finding.subject.clone(), finding.check.to_owned(), finding.message.clone()]
}
