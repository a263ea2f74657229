//! The rows of the audit log about the configuration.

use serde::Serialize;

use crate::admin::error::{Code, OperationResult};
use crate::config::ConfigStatus;

use super::operations::{Actor, Operations};

/// The part of a configuration that the audit log shows.
#[derive(Serialize)]
struct Shown<'s> {
    sha256: Option<&'s str>,
    problems: Option<&'s [String]>,
    restart_required: Option<&'s [&'static str]>,
}

impl Operations {
    /// Writes to the audit log that a configuration was put into effect, or refused.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub fn note_reload(&self, actor: &Actor, status: &ConfigStatus) -> OperationResult<()> {
        let sha256 = status.in_force.as_ref().map(|file| file.sha256.as_str());
        let problems = status.refused.as_ref().map(|refused| refused.problems.as_slice());
        let waiting = Some(&*status.restart_required).filter(|settings| !settings.is_empty());
        let shown = Shown { sha256, problems, restart_required: waiting };
        let (action, outcome) = match problems {
            Some(_) => ("config.refused", Code::InvalidRequest.parts().0),
            None => ("config.reload", "applied"),
        };
        let subject = status.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
        self.note(actor, (action, &subject), outcome, &shown)
    }
}
