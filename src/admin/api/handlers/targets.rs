//! Targets.

use crate::admin::api::call::{Call, Reply};
use crate::admin::error::{OperationError, OperationResult};
use crate::admin::model::{List, NewRest, Target};

use super::gateway::running;

pub(in crate::admin::api) fn list(call: &mut Call<'_>) -> OperationResult<Reply> {
    Reply::new(200, &List { data: running(call)?.targets(), has_more: false, next_cursor: None })
}

pub(in crate::admin::api) fn show(call: &Call<'_>) -> OperationResult<Reply> {
    Reply::new(200, &known(call)?)
}

pub(in crate::admin::api) fn rest(call: &mut Call<'_>) -> OperationResult<Reply> {
    let rest: NewRest = call.body()?;
    known(call)?;
    call.operations.rest_target(&call.intent, call.id, &rest)?;
    reply(call)
}

pub(in crate::admin::api) fn enable(call: &mut Call<'_>) -> OperationResult<Reply> {
    known(call)?;
    call.operations.enable_target(&call.intent, call.id)?;
    reply(call)
}

/// Puts the orders into effect here at once, and returns the target.
fn reply(call: &Call<'_>) -> OperationResult<Reply> {
    running(call)?.obey(call.operations.rested_targets()?);
    Reply::new(200, &known(call)?)
}

/// Returns the target in the path.
fn known(call: &Call<'_>) -> OperationResult<Target> {
    let target = running(call)?.targets().into_iter().find(|target| target.snapshot.id == call.id);
    target.ok_or_else(|| OperationError::not_found("target", call.id))
}
