//! Budgets of keys and accounts.

use crate::admin::api::call::{Call, Reply};
use crate::admin::error::OperationResult;
use crate::admin::model::NewBudgets;
use crate::auth::BudgetOwner;

pub(in crate::admin::api) fn of_key(call: &mut Call<'_>) -> OperationResult<Reply> {
    show(call, BudgetOwner::Key)
}

pub(in crate::admin::api) fn of_account(call: &mut Call<'_>) -> OperationResult<Reply> {
    show(call, BudgetOwner::Account)
}

pub(in crate::admin::api) fn set_of_key(call: &mut Call<'_>) -> OperationResult<Reply> {
    set(call, BudgetOwner::Key)
}

pub(in crate::admin::api) fn set_of_account(call: &mut Call<'_>) -> OperationResult<Reply> {
    set(call, BudgetOwner::Account)
}

fn show(call: &Call<'_>, owner: BudgetOwner) -> OperationResult<Reply> {
    Reply::new(200, &call.operations.budgets(owner, call.id)?)
}

fn set(call: &mut Call<'_>, owner: BudgetOwner) -> OperationResult<Reply> {
    let new: NewBudgets = call.body()?;
    Reply::new(200, &call.operations.set_budgets(&call.intent, (owner, call.id), &new)?)
}
