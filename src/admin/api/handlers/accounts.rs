//! Accounts.

use crate::admin::api::call::{Call, Reply};
use crate::admin::error::OperationResult;
use crate::admin::model::{Account, AccountPatch, NewAccount, Payment};

pub(in crate::admin::api) fn list(call: &mut Call<'_>) -> OperationResult<Reply> {
    Reply::new(200, &call.operations.accounts(&call.query.page()?)?)
}

pub(in crate::admin::api) fn create(call: &mut Call<'_>) -> OperationResult<Reply> {
    let new: NewAccount = call.body()?;
    reply(201, &call.operations.create_account(&call.intent, &new)?)
}

pub(in crate::admin::api) fn show(call: &mut Call<'_>) -> OperationResult<Reply> {
    reply(200, &call.operations.account(call.id)?)
}

pub(in crate::admin::api) fn update(call: &mut Call<'_>) -> OperationResult<Reply> {
    let patch: AccountPatch = call.body()?;
    reply(200, &call.operations.update_account(&call.intent, call.id, &patch)?)
}

pub(in crate::admin::api) fn delete(call: &mut Call<'_>) -> OperationResult<Reply> {
    call.operations.delete_account(&call.intent, call.id)?;
    Ok(Reply::empty())
}

pub(in crate::admin::api) fn top_up(call: &mut Call<'_>) -> OperationResult<Reply> {
    let payment: Payment = call.body()?;
    Reply::new(201, &call.operations.top_up(&call.intent, call.id, &payment)?)
}

/// Answers a repeated top-up: it is made again by its reference, which changes nothing.
pub(in crate::admin::api) fn top_up_again(call: &mut Call<'_>, reference: &str) -> OperationResult<Reply> {
    let payment = Payment { reference: Some(reference.to_owned()), ..call.body()? };
    Reply::new(201, &call.operations.top_up(&call.intent, call.id, &payment)?)
}

pub(in crate::admin::api) fn refund(call: &mut Call<'_>) -> OperationResult<Reply> {
    let payment: Payment = call.body()?;
    Reply::new(201, &call.operations.refund(&call.intent, call.id, &payment)?)
}

/// Answers a repeated refund as [`top_up_again`] does a top-up.
pub(in crate::admin::api) fn refund_again(call: &mut Call<'_>, reference: &str) -> OperationResult<Reply> {
    let payment = Payment { reference: Some(reference.to_owned()), ..call.body()? };
    Reply::new(201, &call.operations.refund(&call.intent, call.id, &payment)?)
}

pub(in crate::admin::api) fn transactions(call: &mut Call<'_>) -> OperationResult<Reply> {
    Reply::new(200, &call.operations.transactions(call.id, &call.query.page()?)?)
}

fn reply(status: u16, account: &Account) -> OperationResult<Reply> {
    Ok(Reply::new(status, account)?.with_etag(&account.etag))
}
