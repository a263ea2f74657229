//! The audit log.

use crate::admin::api::call::{Call, Reply};
use crate::admin::error::OperationResult;
use crate::admin::ops::AuditFilter;

pub(in crate::admin::api) fn list(call: &mut Call<'_>) -> OperationResult<Reply> {
    let query = &call.query;
    let filter = AuditFilter {
        actor: query.text("actor"),
        action: query.text("action"),
        subject: query.text("subject"),
        from: query.parsed("from", "a time")?,
        to: query.parsed("to", "a time")?,
    };
    Reply::new(200, &call.operations.audit(&filter, &query.page()?)?)
}
