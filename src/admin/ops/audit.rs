//! The audit log.

use crate::admin::error::OperationResult;
use crate::admin::model::{AuditRow, List, Moment};
use crate::admin::records;
use crate::admin::records::audit::AuditSelection;
use crate::store;

use super::operations::Operations;
use super::page::Page;

/// The rows that are wanted. Absent conditions hold for all.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// The operator.
    pub actor: Option<String>,
    /// The kind of change.
    pub action: Option<String>,
    /// The id of the object.
    pub subject: Option<String>,
    /// The first time.
    pub from: Option<Moment>,
    /// The time after the last one.
    pub to: Option<Moment>,
}

impl Operations {
    /// Removes some rows of the audit log that are older than so many days, and returns their number.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub fn prune_audit(&self, days: u32) -> OperationResult<usize> {
        let oldest = store::now() - i64::from(days) * SECONDS_PER_DAY;
        Ok(records::audit::remove_before(&self.connection, oldest)?)
    }

    /// Returns rows of the audit log, newest first.
    ///
    /// # Errors
    /// Fails for a wrong cursor, and if the store cannot be read.
    pub fn audit(&self, filter: &AuditFilter, page: &Page) -> OperationResult<List<AuditRow>> {
        let wanted = AuditSelection {
            actor: filter.actor.as_deref(),
            action: filter.action.as_deref(),
            subject: filter.subject.as_deref(),
            accounts: self.scope.accounts(),
            from: filter.from.map(|Moment(time)| time),
            to: filter.to.map(|Moment(time)| time),
            before: page.before("audit")?,
            limit: page.rows(),
        };
        page.list("audit", records::audit::list(&self.connection, &wanted)?, |row| row.seq, Ok)
    }
}

const SECONDS_PER_DAY: i64 = 86_400;
