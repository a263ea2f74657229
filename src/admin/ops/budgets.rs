//! Operations on the budgets of keys and accounts.

use rusqlite::Connection;

use crate::admin::error::OperationResult;
use crate::admin::model::{Budgets, NewBudgets};
use crate::admin::records::declaration::Ownership;
use crate::auth::BudgetOwner;

use super::managed::check_members;
use super::operations::{Changed, Intent, Operations, etag};
use super::owned_budgets::{read, replace};
use super::{accounts, keys};

impl Operations {
    /// Returns the budgets of a key or an account, with their states.
    ///
    /// # Errors
    /// Fails with [`Code::NotFound`] for an unknown owner, and if the store cannot be read.
    ///
    /// [`Code::NotFound`]: crate::admin::Code::NotFound
    pub fn budgets(&self, owner: BudgetOwner, id: &str) -> OperationResult<Budgets> {
        read(&self.connection, owner, id)
    }

    /// Replaces the budgets of a key or an account. A budget whose period and kind stay keeps what was spent.
    ///
    /// # Errors
    /// Fails with [`Code::NotFound`] for an unknown owner, with [`Code::PreconditionFailed`], if the budgets are wrong,
    /// and if the store cannot be written.
    ///
    /// [`Code::NotFound`]: crate::admin::Code::NotFound
    /// [`Code::PreconditionFailed`]: crate::admin::Code::PreconditionFailed
    pub fn set_budgets(
        &mut self,
        intent: &Intent<'_>,
        (owner, id): (BudgetOwner, &str),
        new: &NewBudgets,
    ) -> OperationResult<Budgets> {
        let action = match owner {
            BudgetOwner::Key => "key.budgets",
            BudgetOwner::Account => "account.budgets",
        };
        self.change(intent, (action, id), |transaction, _| {
            let (account, revision, ownership) = found(transaction, owner, id)?;
            intent.expect(owner.name(), &etag(revision))?;
            let before = set(&read(transaction, owner, id)?);
            replace(transaction, (owner, id), &new.budgets)?;
            let after = read(transaction, owner, id)?;
            let changed = Changed::new(id, Some(&account), (Some(&before), Some(&set(&after))), ());
            check_members(&format!("{} '{id}'", owner.name()), &ownership, &changed)?;
            Ok(changed.with(after))
        })
    }
}

/// Returns the account, the revision and the ownership of a budget's owner.
fn found(connection: &Connection, owner: BudgetOwner, id: &str) -> OperationResult<(String, i64, Ownership)> {
    Ok(match owner {
        BudgetOwner::Key => keys::known(connection, id).map(|key| (key.account, key.revision, key.owner))?,
        BudgetOwner::Account => {
            accounts::known(connection, id).map(|account| (account.id, account.revision, account.owner))?
        }
    })
}

/// Returns budgets without their states.
fn set(budgets: &Budgets) -> NewBudgets {
    NewBudgets { budgets: budgets.data.iter().map(Into::into).collect() }
}
