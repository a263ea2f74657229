//! Operations on wallets.

use rusqlite::Connection;

use crate::admin::error::{OperationError, OperationResult};
use crate::admin::model::{List, Moment, Payment, Transaction, Usd};
use crate::auth::random_id;
use crate::meter::{self, NewTransaction, TransactionKind, Wallet, WalletTransaction};

use super::accounts::known;
use super::operations::{Changed, Intent, Operations, checked};
use super::page::Page;

impl Operations {
    /// Adds to an account's balance; the first time this makes its wallet. A top-up whose reference is known changes
    /// nothing.
    ///
    /// # Errors
    /// Fails with [`Code::NotFound`] for an unknown account, with [`Code::Exists`] for a known reference with another
    /// account, kind or amount, if the amount is wrong, and if the store cannot be written.
    ///
    /// [`Code::NotFound`]: crate::admin::Code::NotFound
    /// [`Code::Exists`]: crate::admin::Code::Exists
    pub fn top_up(
        &mut self,
        intent: &Intent<'_>,
        account: &str,
        payment: &Payment,
    ) -> OperationResult<Transaction> {
        self.pay(intent, ("wallet.top_up", TransactionKind::TopUp), account, payment)
    }

    /// Takes money out of an account's balance that no call holds. A refund whose reference is known changes nothing.
    ///
    /// # Errors
    /// Fails as [`Self::top_up`] does, and with [`Code::BalanceInUse`] if less is free.
    ///
    /// [`Code::BalanceInUse`]: crate::admin::Code::BalanceInUse
    pub fn refund(
        &mut self,
        intent: &Intent<'_>,
        account: &str,
        payment: &Payment,
    ) -> OperationResult<Transaction> {
        self.pay(intent, ("wallet.refund", TransactionKind::Refund), account, payment)
    }

    /// Returns a page of an account's transactions, newest first.
    ///
    /// # Errors
    /// Fails with [`Code::NotFound`] for an unknown account, for a wrong cursor, and if the store cannot be read.
    ///
    /// [`Code::NotFound`]: crate::admin::Code::NotFound
    pub fn transactions(&self, account: &str, page: &Page) -> OperationResult<List<Transaction>> {
        known(&self.connection, account)?;
        let limit = u32::try_from(page.rows()).unwrap_or(u32::MAX);
        let before = page.before("transactions")?;
        let rows = meter::transactions(&self.connection, account, Some(before), limit)?;
        page.list("transactions", rows, WalletTransaction::number, |row| Ok(object(row)))
    }

    fn pay(
        &mut self,
        intent: &Intent<'_>,
        (action, kind): (&str, TransactionKind),
        account: &str,
        payment: &Payment,
    ) -> OperationResult<Transaction> {
        self.change(intent, (action, account), |transaction, _| {
            checked(payment)?;
            known(transaction, account)?;
            let reference = payment.reference.clone().unwrap_or_else(|| random_id("ref_"));
            let new = meter::transact(
                transaction,
                &NewTransaction {
                    account,
                    kind,
                    amount: payment.amount_usd.0,
                    reference: &reference,
                    reason: payment.reason.as_deref(),
                    actor: Some(&intent.actor.name),
                },
            )?;
            let made = made(transaction, account, &reference, !new)?;
            let after = Some(&made).filter(|_| new);
            let mut changed = Changed::new(account, Some(account), (None, after), ());
            // A repeated request reads the transaction by its reference.
            if intent.repeatable.is_some() {
                changed.subject.clone_from(&reference);
            }
            Ok(changed.with(made))
        })
    }
}

/// Reads a transaction that is made, with the balance of its account.
fn made(
    connection: &Connection,
    account: &str,
    reference: &str,
    repeated: bool,
) -> OperationResult<Transaction> {
    let found = meter::find_transaction(connection, reference)?;
    let found = found.ok_or_else(|| OperationError::not_found("transaction", reference))?;
    let balance = Wallet::read(connection, account)?.unwrap_or_default().balance;
    Ok(Transaction { balance_usd: Some(Usd(balance)), repeated, ..object(found) })
}

fn object(transaction: WalletTransaction) -> Transaction {
    Transaction {
        object: "transaction".to_owned(),
        id: transaction.id,
        account: transaction.account,
        kind: transaction.kind.name().to_owned(),
        amount_usd: Usd(transaction.amount),
        balance_usd: None,
        reference: transaction.reference,
        reason: transaction.reason,
        created_by: transaction.actor,
        created_at: Moment(transaction.time.as_second()),
        repeated: false,
    }
}
