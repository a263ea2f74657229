//! The running gateway.

use crate::admin::api::call::{Call, Reply};
use crate::admin::api::view::GatewayView;
use crate::admin::error::{Code, OperationError, OperationResult};
use crate::admin::model::{KeyActivity, LimitUse, List, Moment};
use crate::auth::BudgetOwner;

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
        concurrent: limited(activity.in_flight, None),
        budgets,
    };
    Reply::new(200, &limits)
}

pub(in crate::admin::api) fn config(call: &mut Call<'_>) -> OperationResult<Reply> {
    Reply::new(200, &*running(call)?.config())
}

/// Returns the running gateway.
///
/// # Errors
/// Fails if there is none.
pub(super) fn running<'a>(call: &Call<'a>) -> OperationResult<&'a dyn GatewayView> {
    let message = "this needs a running gateway, and there is none";
    call.view.ok_or_else(|| OperationError::new(Code::NotFound, message))
}
