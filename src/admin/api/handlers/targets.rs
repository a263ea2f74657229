//! Targets.

use crate::admin::api::call::{Call, Reply};
use crate::admin::error::{OperationError, OperationResult};
use crate::admin::model::{List, Target};

use super::gateway::running;

pub(in crate::admin::api) fn list(call: &mut Call<'_>) -> OperationResult<Reply> {
    Reply::new(200, &List { data: running(call)?.targets(), has_more: false, next_cursor: None })
}

pub(in crate::admin::api) fn show(call: &mut Call<'_>) -> OperationResult<Reply> {
    Reply::new(200, &known(call)?)
}

/// Returns the target in the path.
fn known(call: &Call<'_>) -> OperationResult<Target> {
    let target = running(call)?.targets().into_iter().find(|target| target.snapshot.id == call.id);
    target.ok_or_else(|| OperationError::not_found("target", call.id))
}
