//! The configuration in force, and the latest changes of keys, accounts and credentials.

use serde::Serialize;

use crate::admin::{AuditFilter, DeclaredObjects, OperationResult, Operations, Page};
use crate::config::ConfigStatus;

use super::Sources;

/// The state of the configuration.
#[derive(Debug, Serialize)]
pub(super) struct ConfigNow {
    #[serde(flatten)]
    status: ConfigStatus,
}

/// A change, or a change that was refused.
#[derive(Debug, Serialize)]
pub(super) struct ChangeRow {
    seq: i64,
    /// Seconds since the epoch.
    time: i64,
    actor: String,
    via: String,
    action: String,
    subject: String,
    outcome: String,
    /// The names of the members that have changed.
    members: Vec<String>,
}

impl ConfigNow {
    /// Takes the state; the store knows more of the declared objects.
    pub(super) fn new(sources: &Sources<'_>) -> Self {
        Self { status: sources.config.clone() }
    }

    /// Returns the instance that owns the declared objects; empty if nothing is declared.
    pub(super) fn instance(&self) -> &str {
        &self.status.declared.instance
    }

    /// Adds the state of the declared objects.
    pub(super) fn complete(&mut self, objects: DeclaredObjects) {
        let declared = &mut self.status.declared;
        (declared.accounts, declared.keys) = (objects.accounts, objects.keys);
        declared.disabled_although_declared = objects.disabled;
    }
}

/// Reads the latest changes, newest first.
pub(super) fn latest(operations: &Operations) -> OperationResult<Vec<ChangeRow>> {
    let page = Page { limit: MAX_CHANGE_COUNT, ..Page::default() };
    let rows = operations.audit(&AuditFilter::default(), &page)?.data.into_iter();
    let rows = rows.map(|row| {
        let mut members: Vec<_> =
            [row.before, row.after].into_iter().flatten().flatten().map(|(name, _)| name).collect();
        members.sort();
        members.dedup();
        ChangeRow {
            seq: row.seq,
            time: row.time.0,
            actor: row.actor,
            via: row.via,
            action: row.action,
            subject: row.subject,
            outcome: row.outcome,
            members,
        }
    });
    Ok(rows.collect())
}

/// The changes that are shown.
const MAX_CHANGE_COUNT: u32 = 50;
