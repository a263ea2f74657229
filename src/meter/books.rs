//! The books without a gateway: the command line reads them and fills wallets.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde::Serialize;

use crate::auth::{BudgetOwner, Period};
use crate::money::Amount;
use crate::store::{self, StoreError};

use super::audit::{self, Audit, AuditStep};
use super::budgets::{self, BudgetState, NewBudget};
use super::report::{self, UsageReport};
use super::transactions::{self, NewTransaction, TransactionKind, WalletTransaction};
use super::usage::{self, UsageQuery, UsageRow};

/// The money of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Wallet {
    /// The balance, which includes what is held.
    #[serde(rename = "balance_micro")]
    pub balance: Amount,
    /// The money that is held for calls in flight.
    #[serde(rename = "uncollected_micro", serialize_with = "up")]
    pub held: Amount,
}

/// The store's books, opened beside whoever else uses them.
#[derive(Debug)]
pub struct Books(Connection);

impl Books {
    /// Opens the books in a data folder.
    ///
    /// # Errors
    /// Fails if the store cannot be opened.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Ok(Self(store::open(folder)?))
    }

    /// Opens the books in a data folder only to read them.
    ///
    /// # Errors
    /// Fails if there is no store, or it cannot be read.
    pub fn open_to_read(folder: &Path) -> Result<Self, StoreError> {
        Ok(Self(store::open_to_read(folder)?))
    }

    /// Returns the accounts that have spent most in this month, the first one first.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn biggest_spenders(&self, most: usize) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT account FROM usage WHERE day >= ?1
            GROUP BY account ORDER BY SUM(cost) DESC, account LIMIT ?2";
        let (since, most) = (Period::Month.start(store::now()), i64::try_from(most).unwrap_or(i64::MAX));
        let mut query = self.0.prepare_cached(sql)?;
        let rows = query.query_map(params![since, most], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Reads the wallet of an account, or `None` if it has none.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn wallet(&self, account: &str) -> Result<Option<Wallet>, StoreError> {
        Ok(Wallet::read(&self.0, account)?)
    }

    /// Adds to an account's balance under this reference, as [`transact`](super::transact) does.
    ///
    /// # Errors
    /// As [`transact`](super::transact).
    pub fn top_up(&mut self, account: &str, amount: Amount, reference: &str) -> Result<bool, StoreError> {
        let kind = TransactionKind::TopUp;
        self.transact(&NewTransaction { account, kind, amount, reference, reason: None, actor: None })
    }

    /// Makes a transaction of a wallet; see [`transact`](super::transact).
    ///
    /// # Errors
    /// As [`transact`](super::transact).
    pub fn transact(&mut self, new: &NewTransaction<'_>) -> Result<bool, StoreError> {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let is_new = transactions::transact(&transaction, new)?;
        transaction.commit()?;
        Ok(is_new)
    }

    /// Returns the latest transactions of an account, the last one first.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn transactions(&self, account: &str, limit: u32) -> Result<Vec<WalletTransaction>, StoreError> {
        transactions::transactions(&self.0, account, None, limit)
    }

    /// Replaces the budgets of a key or an account; see [`set_budgets`](super::set_budgets).
    ///
    /// # Errors
    /// As [`set_budgets`](super::set_budgets).
    pub fn set_budgets(
        &mut self,
        owner: (BudgetOwner, &str),
        budgets: &[NewBudget],
    ) -> Result<(), StoreError> {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        budgets::set_budgets(&transaction, owner, budgets)?;
        transaction.commit()?;
        Ok(())
    }

    /// Returns the budgets of a key or an account, with their states.
    ///
    /// # Errors
    /// Fails for an unknown owner, and if the store cannot be read.
    pub fn budgets(&self, owner: (BudgetOwner, &str)) -> Result<Vec<BudgetState>, StoreError> {
        budgets::budgets(&self.0, owner)
    }

    /// Returns the budgets of a key or an account, with their states; none for an unknown owner.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn budgets_if_any(&self, owner: (BudgetOwner, &str)) -> Result<Vec<BudgetState>, StoreError> {
        match self.budgets(owner) {
            Err(StoreError::NotFound(_)) => Ok(Vec::new()),
            budgets => budgets,
        }
    }

    /// Returns the time for which a balance of an account lasts at the mean cost of its last days, in seconds; `None` if
    /// nothing was spent.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn lasts(&self, account: &str, balance: Amount) -> Result<Option<u64>, StoreError> {
        Ok(report::lasts(&self.0, account, balance, store::now())?)
    }

    /// Reads the usage of an account, or of one of its keys, by now.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn report(&self, account: &str, key: Option<&str>) -> Result<UsageReport, StoreError> {
        Ok(report::read(&self.0, account, key, store::now())?)
    }

    /// Reads the cost of all calls of a key so far.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn spent(&self, key: &str) -> Result<Amount, StoreError> {
        let mut query = self.0.prepare_cached("SELECT COALESCE(SUM(cost), 0) FROM usage WHERE key = ?1")?;
        Ok(query.query_row([key], |row| row.get(0))?)
    }

    /// Answers a question about usage; see [`usage`](super::usage).
    ///
    /// # Errors
    /// As [`usage`](super::usage).
    pub fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        usage::usage(&self.0, query)
    }

    /// Checks that everything adds up.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn audit(&mut self) -> Result<Audit, StoreError> {
        self.audit_with(|_| {})
    }

    /// Checks that everything adds up, and tells `say` its progress from time to time.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn audit_with(&mut self, mut say: impl FnMut(AuditStep)) -> Result<Audit, StoreError> {
        Ok(audit::run(&mut self.0, &mut say)?)
    }
}

/// Writes an amount in micro-USD, a part of one counted as a whole.
fn up<S: serde::Serializer>(amount: &Amount, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(amount.micro_up())
}

impl Wallet {
    /// Reads the wallet of an account, or `None` if it has none.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn read(connection: &Connection, account: &str) -> rusqlite::Result<Option<Self>> {
        let mut query = connection.prepare_cached(
            "SELECT balance, (SELECT COALESCE(SUM(h.amount), 0) FROM holds h JOIN balances b ON b.balance = h.balance
                WHERE h.account = wallets.account AND b.wallet)
             FROM wallets WHERE account = ?1",
        )?;
        query.query_row([account], |row| Ok(Self { balance: row.get(0)?, held: row.get(1)? })).optional()
    }
}
