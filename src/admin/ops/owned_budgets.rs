//! The budgets that a key or an account has.

use rusqlite::Connection;

use crate::admin::error::OperationResult;
use crate::admin::model::{Budget, Budgets, NewBudget};
use crate::auth::BudgetOwner;
use crate::meter;

/// Writes the budgets of a key or an account in place of all that it has.
pub(super) fn replace(
    connection: &Connection,
    owner: (BudgetOwner, &str),
    budgets: &[NewBudget],
) -> OperationResult<()> {
    let budgets: Vec<_> = budgets.iter().map(meter::NewBudget::from).collect();
    Ok(meter::set_budgets(connection, owner, &budgets)?)
}

/// Returns the budgets of a key or an account, with their states.
pub(super) fn read(connection: &Connection, owner: BudgetOwner, id: &str) -> OperationResult<Budgets> {
    let states = meter::budgets(connection, (owner, id))?;
    Ok(Budgets { data: states.into_iter().map(Budget::from).collect() })
}
