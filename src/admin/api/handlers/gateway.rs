//! The running gateway.

use crate::admin::api::call::{Call, Reply};
use crate::admin::api::view::GatewayView;
use crate::admin::error::{Code, OperationError, OperationResult};
use crate::admin::model::List;

pub(in crate::admin::api) fn instance(call: &mut Call<'_>) -> OperationResult<Reply> {
    Reply::new(200, &running(call)?.instance())
}

pub(in crate::admin::api) fn document(call: &mut Call<'_>) -> OperationResult<Reply> {
    Ok(Reply { status: 200, body: (call.document)().into_bytes(), etag: None, secret: None })
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

fn running<'a>(call: &Call<'a>) -> OperationResult<&'a dyn GatewayView> {
    let message = "this needs a running gateway, and there is none";
    call.view.ok_or_else(|| OperationError::new(Code::NotFound, message))
}
