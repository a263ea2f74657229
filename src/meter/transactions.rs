//! Transactions of wallets: what operators have paid in and taken out.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Serialize, Serializer};

use crate::money::Amount;
use crate::store::{self, StoreError};

use super::alert;

/// The kind of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TransactionKind {
    /// Money was paid in.
    TopUp,
    /// Money was taken out.
    Refund,
}

/// A transaction that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewTransaction<'a> {
    /// The account.
    pub account: &'a str,
    /// The kind.
    pub kind: TransactionKind,
    /// The amount.
    pub amount: Amount,
    /// The operator's own id of it: a transaction is made once for each reference.
    pub reference: &'a str,
    /// The reason, for people.
    pub reason: Option<&'a str>,
    /// The one who makes it.
    pub actor: Option<&'a str>,
}

/// A transaction that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WalletTransaction {
    /// The id, `txn_…`.
    pub id: String,
    /// The account.
    pub account: String,
    /// The kind.
    pub kind: TransactionKind,
    /// The amount.
    #[serde(rename = "amount_usd", serialize_with = "text")]
    pub amount: Amount,
    /// The operator's own id of it.
    pub reference: String,
    /// The reason, for people.
    pub reason: Option<String>,
    /// The one who has made it.
    pub actor: Option<String>,
    /// The time.
    pub time: jiff::Timestamp,
}

impl TransactionKind {
    /// Returns the name in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TopUp => "top_up",
            Self::Refund => "refund",
        }
    }

    /// Returns the name in messages.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::TopUp => "top-up",
            Self::Refund => "refund",
        }
    }
}

impl WalletTransaction {
    /// Returns the place in the order of transactions.
    #[must_use]
    pub fn number(&self) -> i64 {
        self.id.strip_prefix(ID_PREFIX).and_then(|number| number.parse().ok()).unwrap_or_default()
    }
}

/// Makes a transaction of a wallet; the first top-up makes the wallet. One whose reference is known changes nothing, so
/// that one whose answer was lost can be repeated. Returns whether it was new.
///
/// # Errors
/// Fails with [`StoreError::NotFound`] for an unknown account, or a refund from no wallet, with [`StoreError::Differs`]
/// for a known reference with another account, kind or amount, with [`StoreError::TooMuch`] if the balance would not
/// fit, with [`StoreError::BalanceInUse`] for a refund of more than is free, and if the store cannot be written.
pub fn transact(connection: &Connection, new: &NewTransaction<'_>) -> Result<bool, StoreError> {
    let NewTransaction { account, kind, amount, reference, reason, actor } = *new;
    if let Some(known) = find_transaction(connection, reference)? {
        let same = (known.account.as_str(), known.kind, known.amount) == (account, kind, amount);
        return if same { Ok(false) } else { Err(StoreError::Differs(described(&known))) };
    }
    if !connection
        .prepare_cached("SELECT 1 FROM accounts WHERE id = ?1 AND deleted IS NULL")?
        .exists([account])?
    {
        return Err(StoreError::NotFound(format!("account '{account}'")));
    }
    match kind {
        TransactionKind::TopUp => pay_in(connection, account, amount)?,
        TransactionKind::Refund => take_out(connection, account, amount)?,
    }
    let sql = "INSERT INTO transactions (account, kind, amount, reference, reason, actor, time)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    connection.prepare_cached(sql)?.execute(params![
        account,
        kind.name(),
        amount,
        reference,
        reason,
        actor,
        store::now()
    ])?;
    Ok(true)
}

/// Returns at most `limit` transactions of an account, the latest first, from before the one with the number `before`, if
/// that is given.
///
/// # Errors
/// Fails if the store cannot be read.
pub fn transactions(
    connection: &Connection,
    account: &str,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<WalletTransaction>, StoreError> {
    let sql = format!("{SELECT} WHERE account = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3");
    let mut query = connection.prepare_cached(&sql)?;
    let all = query.query_map(params![account, before.unwrap_or(i64::MAX), limit], transaction)?;
    Ok(all.collect::<Result<_, _>>()?)
}

fn pay_in(connection: &Connection, account: &str, amount: Amount) -> Result<(), StoreError> {
    let balance = balance(connection, account)?.map_or(Amount::ZERO, |(balance, _)| balance);
    let balance = balance.checked_add(amount).ok_or(StoreError::TooMuch)?;
    let sql = "INSERT INTO wallets (account, balance) VALUES (?1, ?2)
        ON CONFLICT (account) DO UPDATE SET balance = excluded.balance";
    connection.prepare_cached(sql)?.execute(params![account, balance])?;
    Ok(alert::note_payment(connection, account)?)
}

fn take_out(connection: &Connection, account: &str, amount: Amount) -> Result<(), StoreError> {
    let none = || StoreError::NotFound(format!("wallet of account '{account}'"));
    let (balance, leased) = balance(connection, account)?.ok_or_else(none)?;
    let free = balance.checked_sub(leased).unwrap_or_default();
    if free < amount {
        return Err(StoreError::BalanceInUse { balance, free });
    }
    let rest = balance.checked_sub(amount).unwrap_or_default();
    let sql = "UPDATE wallets SET balance = ?2 WHERE account = ?1";
    connection.prepare_cached(sql)?.execute(params![account, rest])?;
    Ok(())
}

/// Returns the balance of a wallet, and the part of it that gateways have leased for calls.
fn balance(connection: &Connection, account: &str) -> rusqlite::Result<Option<(Amount, Amount)>> {
    let mut query = connection.prepare_cached("SELECT balance, leased FROM wallets WHERE account = ?1")?;
    query.query_row([account], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

/// Returns the transaction that has a reference; `None` if there is none.
///
/// # Errors
/// Fails if the store cannot be read.
pub fn find_transaction(
    connection: &Connection,
    reference: &str,
) -> rusqlite::Result<Option<WalletTransaction>> {
    let mut query = connection.prepare_cached(&format!("{SELECT} WHERE reference = ?1"))?;
    query.query_row([reference], transaction).optional()
}

/// Describes the transaction that has a reference already.
fn described(known: &WalletTransaction) -> String {
    let WalletTransaction { account, kind, amount, reference, time, .. } = known;
    let date = jiff::tz::TimeZone::UTC.to_datetime(*time).date();
    format!("{} '{reference}': {amount} USD for '{account}' on {date}", kind.words())
}

fn transaction(row: &Row<'_>) -> rusqlite::Result<WalletTransaction> {
    let (id, kind, time): (i64, String, i64) = (row.get(0)?, row.get(2)?, row.get(7)?);
    let refund = kind == TransactionKind::Refund.name();
    Ok(WalletTransaction {
        id: format!("{ID_PREFIX}{id}"),
        account: row.get(1)?,
        kind: if refund { TransactionKind::Refund } else { TransactionKind::TopUp },
        amount: row.get(3)?,
        reference: row.get(4)?,
        reason: row.get(5)?,
        actor: row.get(6)?,
        time: jiff::Timestamp::from_second(time).unwrap_or_default(),
    })
}

fn text<S: Serializer>(value: &impl ToString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}

/// The prefix of the ids of transactions.
const ID_PREFIX: &str = "txn_";

const SELECT: &str = "SELECT id, account, kind, amount, reference, reason, actor, time FROM transactions";
