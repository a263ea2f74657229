//! What the doctor finds, and how it is shown.

use std::io::Write;

use serde::Serialize;

use crate::cli::CommandError;
use crate::cli::table::{Format, print, table};

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Ok,
    /// It could not be looked at.
    Unknown,
    /// It works, but not for long, or not for everything.
    Warning,
    Wrong,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    pub(super) subject: String,
    pub(super) check: &'static str,
    pub(super) state: State,
    pub(super) message: String,
    /// What to do about it.
    pub(super) advice: Option<String>,
}

impl Finding {
    pub(super) fn ok(subject: impl Into<String>, check: &'static str, message: impl Into<String>) -> Self {
        Self { subject: subject.into(), check, state: State::Ok, message: message.into(), advice: None }
    }

    pub(super) fn new(
        state: State,
        subject: impl Into<String>,
        check: &'static str,
        message: impl Into<String>,
        advice: &str,
    ) -> Self {
        let advice = Some(advice.to_owned());
        Self { subject: subject.into(), check, state, message: message.into(), advice }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    checks: &'a [Finding],
}

/// Shows all findings.
///
/// # Errors
/// When something is wrong, and when it cannot be written.
pub(super) fn show(findings: &[Finding], format: Format, out: &mut dyn Write) -> Result<(), CommandError> {
    let count = |state: State| findings.iter().filter(|finding| finding.state == state).count();
    let wrong = count(State::Wrong);
    if format.json {
        print(&Report { ok: wrong == 0, checks: findings }, out)?;
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
    let (warnings, unknown) = (count(State::Warning), count(State::Unknown));
    writeln!(out, "\n{wrong} wrong, {warnings} to look at, {unknown} unknown, {} ok", count(State::Ok))?;
    if wrong == 0 { Ok(()) } else { Err(CommandError::Shown) }
}

fn row(finding: &Finding) -> Vec<String> {
    let state = match finding.state {
        State::Ok => "ok",
        State::Unknown => "unknown",
        State::Warning => "warning",
        State::Wrong => "WRONG",
    };
    vec![state.to_owned(), finding.subject.clone(), finding.check.to_owned(), finding.message.clone()]
}
