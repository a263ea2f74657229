//! The running gateway.

use crate::admin::api::call::{Call, Reply};
use crate::admin::api::view::GatewayView;
use crate::admin::error::{Code, Mistake, OperationError, OperationResult};
use crate::admin::model::{KeyActivity, LimitUse, List, Moment};
use crate::auth::BudgetOwner;
use crate::observe::FailedRequest;

pub(in crate::admin::api) fn instance(call: &mut Call<'_>) -> OperationResult<Reply> {
    Reply::new(200, &running(call)?.instance())
}

pub(in crate::admin::api) fn document(call: &mut Call<'_>) -> OperationResult<Reply> {
    Ok(Reply::json((call.document)()))
}

pub(in crate::admin::api) fn status(call: &mut Call<'_>) -> OperationResult<Reply> {
    Reply::new(200, &running(call)?.status())
}

pub(in crate::admin::api) fn models(call: &mut Call<'_>) -> OperationResult<Reply> {
    Reply::new(200, &List { data: running(call)?.models(), has_more: false, next_cursor: None })
}

pub(in crate::admin::api) fn model(call: &mut Call<'_>) -> OperationResult<Reply> {
    let model = running(call)?.models().into_iter().find(|model| model.id == call.id);
    Reply::new(
        200,
        &model
            .ok_or_else(|| OperationError::new(Code::NotFound, format!("there is no model '{}'", call.id)))?,
    )
}

/// Returns the limits of a key, and what it uses of them.
pub(in crate::admin::api) fn key_limits(call: &mut Call<'_>) -> OperationResult<Reply> {
    let key = call.operations.key(call.id)?;
    let budgets = call.operations.budgets(BudgetOwner::Key, call.id)?.data;
    let activity = running(call)?.activity(call.id);
    let limited = |used: u64, limit: Option<u32>| LimitUse { used, limit: limit.map(u64::from) };
    let limits = KeyActivity {
        object: "key_limits".to_owned(),
        key: key.id,
        as_of: Moment::now(),
        requests: limited(activity.requests, key.rpm),
        tokens: limited(activity.tokens, key.tpm),
        concurrent: limited(activity.in_flight, key.max_concurrent),
        budgets,
    };
    Reply::new(200, &limits)
}

pub(in crate::admin::api) fn config(call: &mut Call<'_>) -> OperationResult<Reply> {
    let mut status = (*running(call)?.config()).clone();
    let is_of_key = |id: &str| call.operations.key(id).is_ok_and(|key| call.scope.includes(&key.account));
    status.declared.disabled_although_declared.retain(|id| call.scope.includes(id) || is_of_key(id));
    Reply::new(200, &status)
}

/// Reads the configuration again.
pub(in crate::admin::api) fn reload(call: &mut Call<'_>) -> OperationResult<Reply> {
    let (status, has_effect) = running(call)?.reload()?;
    if has_effect {
        call.operations.note_reload(call.intent.actor, &status)?;
    }
    match &status.refused {
        None => Reply::new(200, &*status),
        // The row of the audit log is there.
        Some(refused) => {
            let message = "the file was refused, and the configuration stays as it was";
            let mistakes = refused.problems.iter().map(|problem| Mistake::new("", problem.as_str()));
            Err(OperationError {
                details: mistakes.collect(),
                ..OperationError::new(Code::Conflict, message)
            })
        }
    }
}

pub(in crate::admin::api) fn failures(call: &mut Call<'_>) -> OperationResult<Reply> {
    let mut failures = running(call)?.failures();
    let is_seen = |request: &FailedRequest| {
        call.scope.is_all() || request.account.as_ref().is_some_and(|account| call.scope.includes(account))
    };
    failures.failed.retain(is_seen);
    failures.refused.retain(is_seen);
    Reply::new(200, &failures)
}

/// Returns the running gateway.
///
/// # Errors
/// Fails if there is none.
pub(super) fn running<'a>(call: &Call<'a>) -> OperationResult<&'a dyn GatewayView> {
    let message = "this needs a running gateway, and there is none";
    call.view.ok_or_else(|| OperationError::new(Code::NotFound, message))
}
