//! The books without a gateway: the command line reads them and fills wallets.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde::Serialize;

use crate::money::Amount;
use crate::store::{self, StoreError};

use super::audit::{self, Audit, AuditStep};
use super::report::{self, UsageReport};

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

    /// Reads the wallet of an account, or `None` if it has none.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn wallet(&self, account: &str) -> Result<Option<Wallet>, StoreError> {
        Ok(Wallet::read(&self.0, account)?)
    }

    /// Adds to an account's balance; the first time this makes its wallet. A top-up whose id is known changes
    /// nothing, so that one whose answer was lost can be repeated. Returns whether it was new.
    ///
    /// # Errors
    /// Fails with [`StoreError::NotFound`] for an unknown account, with [`StoreError::Exists`] for a known id with another account or
    /// amount, with [`StoreError::TooMuch`] if the balance would not fit, and if the store cannot be written.
    pub fn top_up(&mut self, account: &str, amount: Amount, id: &str) -> Result<bool, StoreError> {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let known = "SELECT account, amount FROM topups WHERE id = ?1";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let known: Option<(String, Amount)> = transaction.query_row(known, [id], read).optional()?;
        if let Some(known) = known {
            let same = known == (account.to_owned(), amount);
            return if same { Ok(false) } else { Err(StoreError::Exists(format!("other top-up '{id}'"))) };
        }
        let exists = transaction.query_row("SELECT 1 FROM accounts WHERE id = ?1", [account], |_| Ok(()));
        exists.optional()?.ok_or_else(|| StoreError::NotFound(format!("account '{account}'")))?;
        let wallet = Wallet::read(&transaction, account)?.unwrap_or_default();
        let balance = wallet.balance.checked_add(amount).ok_or(StoreError::TooMuch)?;
        transaction.execute(
            "INSERT INTO wallets (account, balance) VALUES (?1, ?2)
             ON CONFLICT (account) DO UPDATE SET balance = excluded.balance",
            params![account, balance],
        )?;
        let sql = "INSERT INTO topups (id, account, amount, time) VALUES (?1, ?2, ?3, ?4)";
        transaction.execute(sql, params![id, account, amount, store::now()])?;
        transaction.commit()?;
        Ok(true)
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
    pub(super) fn read(connection: &Connection, account: &str) -> rusqlite::Result<Option<Self>> {
        let mut query = connection.prepare_cached(
            "SELECT balance, (SELECT COALESCE(SUM(h.amount), 0) FROM holds h JOIN balances b ON b.balance = h.balance
                WHERE h.account = wallets.account AND b.wallet)
             FROM wallets WHERE account = ?1",
        )?;
        query.query_row([account], |row| Ok(Self { balance: row.get(0)?, held: row.get(1)? })).optional()
    }
}
