//! Operations on accounts.

use rusqlite::Connection;

use crate::admin::error::{Code, OperationError, OperationResult};
use crate::admin::model::{Account, AccountPatch, List, Moment, NewAccount, Usd, WalletView};
use crate::admin::records;
use crate::admin::records::accounts::AccountRecord;
use crate::admin::records::declaration::Ownership;
use crate::auth::{AccountLimits, BudgetOwner, RateLimits, Status};
use crate::meter::Wallet;
use crate::money::Amount;

use super::managed::{check_deletion, check_members};
use super::operations::{Actor, Changed, Intent, Operations, checked, etag, merge};
use super::owned_budgets;
use super::page::Page;

impl Operations {
    /// Returns a page of accounts, newest first.
    ///
    /// # Errors
    /// Fails for a wrong cursor, and if the store cannot be read.
    pub fn accounts(&self, page: &Page) -> OperationResult<List<Account>> {
        let rows = records::accounts::list(
            &self.connection,
            self.scope.accounts(),
            (page.before("accounts")?, page.rows()),
        )?;
        page.list("accounts", rows, |account| account.number, |account| object(&self.connection, account))
    }

    /// Returns an account.
    ///
    /// # Errors
    /// Fails with [`Code::NotFound`], and if the store cannot be read.
    pub fn account(&self, id: &str) -> OperationResult<Account> {
        object(&self.connection, known(&self.connection, id)?)
    }

    /// Makes an account. It gets a wallet with its first top-up.
    ///
    /// # Errors
    /// Fails with [`Code::Exists`], if the account is wrong, and if the store cannot be written.
    pub fn create_account(&mut self, intent: &Intent<'_>, new: &NewAccount) -> OperationResult<Account> {
        checked(new)?;
        self.change(intent, ("account.create", &new.id), |transaction, now| {
            if let Some(known) = records::accounts::read_any(transaction, &new.id)? {
                let was_deleted = if known.deleted.is_some() { ", which was deleted" } else { "" };
                let message = format!("there is already an account '{}'{was_deleted}", new.id);
                return Err(OperationError::new(Code::Exists, message));
            }
            let account = AccountRecord {
                number: 0,
                id: new.id.clone(),
                name: new.name.clone(),
                status: Status::Active,
                low_balance: new.low_balance_usd.map(|Usd(amount)| amount),
                limits: AccountLimits {
                    models: new.models.clone(),
                    rate: RateLimits { rpm: new.rpm, tpm: new.tpm },
                    max_concurrent: new.max_concurrent,
                },
                tags: new.tags.clone(),
                origin: intent.actor.origin(),
                owner: Ownership::default(),
                created: now,
                created_by: intent.actor.name.clone(),
                deleted: None,
                revision: 0,
            };
            records::accounts::insert(transaction, &account)?;
            if !new.budgets.is_empty() {
                owned_budgets::replace(transaction, (BudgetOwner::Account, &new.id), &new.budgets)?;
            }
            let made = object(transaction, known(transaction, &new.id)?)?;
            let changed = Changed::new(&new.id, Some(&new.id), (None, Some(&made)), ());
            Ok(changed.with(made))
        })
    }

    /// Changes an account.
    ///
    /// # Errors
    /// Fails with [`Code::NotFound`], with [`Code::PreconditionFailed`], if the change is wrong, and if the store
    /// cannot be written.
    pub fn update_account(
        &mut self,
        intent: &Intent<'_>,
        id: &str,
        patch: &AccountPatch,
    ) -> OperationResult<Account> {
        self.change(intent, ("account.update", id), |transaction, _| {
            checked(patch)?;
            let before = known(transaction, id)?;
            intent.expect("account", &etag(before.revision))?;
            let after = patched(before.clone(), patch);
            let owner = before.owner.clone();
            let earlier = object(transaction, before)?;
            if let Some(new) = &patch.budgets {
                let new = new.as_deref().unwrap_or_default();
                owned_budgets::replace(transaction, (BudgetOwner::Account, id), new)?;
            }
            let planned = object(transaction, after.clone())?;
            let changed = Changed::new(id, Some(id), (Some(&earlier), Some(&planned)), ());
            check_members(&format!("account '{id}'"), &owner, &changed)?;
            if changed.is_empty() && after.owner == owner {
                return Ok(changed.with(earlier));
            }
            records::accounts::update(transaction, &after)?;
            Ok(changed.with(object(transaction, known(transaction, id)?)?))
        })
    }

    /// Enables or disables an account, and with it all its keys.
    ///
    /// # Errors
    /// Fails as [`Self::update_account`] does.
    pub fn set_account_status(
        &mut self,
        intent: &Intent<'_>,
        id: &str,
        status: Status,
    ) -> OperationResult<Account> {
        self.update_account(intent, id, &AccountPatch { status: Some(status), ..AccountPatch::default() })
    }

    /// Deletes an account without keys and money.
    ///
    /// # Errors
    /// Fails with [`Code::NotFound`], with [`Code::PreconditionFailed`], with [`Code::Conflict`] if it has keys, with
    /// [`Code::BalanceInUse`] if it has money, and if the store cannot be written.
    pub fn delete_account(&mut self, intent: &Intent<'_>, id: &str) -> OperationResult<()> {
        self.change(intent, ("account.delete", id), |transaction, now| {
            let before = known(transaction, id)?;
            intent.expect("account", &etag(before.revision))?;
            check_deletion(&format!("account '{id}'"), &before.owner)?;
            let earlier = object(transaction, before.clone())?;
            if earlier.keys > 0 {
                let message = format!("account '{id}' has {} keys; delete or move them first", earlier.keys);
                return Err(OperationError::new(Code::Conflict, message));
            }
            if let Some(WalletView { balance_usd: Usd(balance), .. }) = earlier.wallet
                && balance != Amount::ZERO
            {
                let message = format!("account '{id}' has a balance of {balance} USD");
                return Err(OperationError::new(Code::BalanceInUse, message));
            }
            records::accounts::update(transaction, &AccountRecord { deleted: Some(now), ..before })?;
            let changed = Changed::new(id, Some(id), (Some(&earlier), None), ());
            Ok(changed)
        })
    }
}

/// Applies a change, except for the budgets.
fn patched(mut account: AccountRecord, patch: &AccountPatch) -> AccountRecord {
    if let Some(status) = patch.status {
        account.status = status;
        account.owner = account.owner.after_status();
    }
    if let Some(name) = &patch.name {
        account.name.clone_from(name);
    }
    if let Some(amount) = patch.low_balance_usd {
        account.low_balance = amount.map(|Usd(amount)| amount);
    }
    let limits = &mut account.limits;
    if let Some(models) = &patch.models {
        limits.models.clone_from(models);
    }
    limits.rate.rpm = patch.rpm.unwrap_or(limits.rate.rpm);
    limits.rate.tpm = patch.tpm.unwrap_or(limits.rate.tpm);
    limits.max_concurrent = patch.max_concurrent.unwrap_or(limits.max_concurrent);
    if let Some(tags) = &patch.tags {
        merge(&mut account.tags, tags.as_ref());
    }
    account
}

/// Makes an account by its id.
pub(super) fn ensure_default(operations: &mut Operations, actor: &Actor, id: &str) -> OperationResult<()> {
    let new = NewAccount { id: id.to_owned(), ..NewAccount::default() };
    operations.create_account(&Intent::of(actor), &new).map(drop)
}

pub(super) fn known(connection: &Connection, id: &str) -> OperationResult<AccountRecord> {
    records::accounts::read(connection, id)?.ok_or_else(|| OperationError::not_found("account", id))
}

pub(super) fn object(connection: &Connection, account: AccountRecord) -> OperationResult<Account> {
    let wallet = Wallet::read(connection, &account.id)?;
    let keys = records::keys::count(connection, &account.id)?;
    let budgets = match account.deleted {
        None => owned_budgets::read(connection, BudgetOwner::Account, &account.id)?.data,
        Some(_) => Vec::new(),
    };
    Ok(Account {
        object: "account".to_owned(),
        budgets,
        wallet: wallet
            .map(|wallet| WalletView { balance_usd: Usd(wallet.balance), held_usd: Usd(wallet.held) }),
        keys: keys.unsigned_abs(),
        id: account.id,
        name: account.name,
        status: account.status,
        low_balance_usd: account.low_balance.map(Usd),
        models: account.limits.models,
        rpm: account.limits.rate.rpm,
        tpm: account.limits.rate.tpm,
        max_concurrent: account.limits.max_concurrent,
        tags: account.tags,
        origin: account.origin,
        created_at: Moment(account.created),
        created_by: account.created_by,
        etag: etag(account.revision),
    })
}
