//! What is done for processes that are gone: their journals are taken over, and calls of which they say no
//! end are charged by what is known of them.

use std::path::Path;

use rusqlite::{Connection, Row, Transaction, TransactionBehavior};

use crate::canon::Usage;
use crate::money::Amount;
use crate::store::{self, Error};

use super::batch::Batch;
use super::journal::{self, Orphan, Record};
use super::price::Prices;
use super::purse::Spare;
use super::{CallId, End, Outcome};

/// Takes over everything that no living process owns.
///
/// # Errors
/// When the store or a journal can not be read or written; then nothing was changed.
pub(super) fn all(connection: &mut Connection, journals: &Path) -> Result<(), Error> {
    let orphans = Orphan::find(journals)?;
    let records: usize = orphans.iter().map(|orphan| orphan.records.len()).sum();
    if records > 0 {
        log::info!("ledger: {records} records of {} processes that are gone are taken over", orphans.len());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for orphan in &orphans {
        replay(&transaction, orphan)?;
    }
    let gone: Vec<_> = orphans.iter().map(|orphan| orphan.epoch).collect();
    let living = journal::epochs(journals)?;
    for epoch in epochs(&transaction)? {
        if gone.contains(&epoch) || !living.contains(&epoch) {
            estimate(&transaction, epoch)?;
            end_leases(&transaction, epoch)?;
        }
    }
    transaction.commit()?;
    for orphan in orphans {
        orphan.remove()?;
    }
    Ok(())
}

/// Ends the leases of a process that ends, and has no call in flight.
///
/// # Errors
/// When the store can not be written.
pub(super) fn leave(connection: &mut Connection, epoch: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    end_leases(&transaction, epoch)?;
    transaction.commit()
}

/// Writes what a journal says to the store.
fn replay(transaction: &Transaction<'_>, orphan: &Orphan) -> rusqlite::Result<()> {
    let mut batch = Batch::new(transaction, orphan.epoch, store::now());
    // A place may have been used again, so an end may stand before its beginning.
    let is_hold = |record: &&Record| matches!(record, Record::Hold(..));
    let (holds, others): (Vec<_>, Vec<_>) = orphan.records.iter().partition(is_hold);
    for record in holds {
        batch.record(record)?;
    }
    batch.finish()?;
    let mut batch = Batch::new(transaction, orphan.epoch, store::now());
    for record in others {
        batch.record(record)?;
    }
    batch.finish()?;
    Ok(())
}

/// Ends the calls of an epoch of which no end is known.
fn estimate(transaction: &Transaction<'_>, epoch: i64) -> rusqlite::Result<()> {
    let mut batch = Batch::new(transaction, epoch, store::now());
    for call in unfinished(transaction, epoch)? {
        log::warn!("ledger: call {} was found unfinished and is charged by an estimate", call.id.0);
        batch.record(&Record::End(call.id, call.end()))?;
    }
    batch.finish()?;
    Ok(())
}

/// Gives back what was lent in an epoch.
fn end_leases(transaction: &Transaction<'_>, epoch: i64) -> rusqlite::Result<()> {
    let mut lent = transaction.prepare("SELECT account, key, amount FROM leases WHERE epoch = ?1")?;
    let spare = |row: &Row<'_>| Ok(Spare { account: row.get(0)?, key: row.get(1)?, amount: row.get(2)? });
    let lent = lent.query_map([epoch], spare)?.collect::<rusqlite::Result<Vec<_>>>()?;
    Batch::new(transaction, epoch, store::now()).give_back(&lent)
}

/// The epochs that have something to give back.
fn epochs(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<i64>> {
    let mut query = transaction.prepare("SELECT call >> 40 FROM holds UNION SELECT epoch FROM leases")?;
    let epochs = query.query_map([], |row| row.get(0))?;
    epochs.collect()
}

/// A call of which no end is known.
struct Unfinished {
    id: CallId,
    prices: Option<Prices>,
    held: Amount,
    /// Tokens, estimated.
    prompt: u64,
    delivered: u64,
}

fn unfinished(transaction: &Transaction<'_>, epoch: i64) -> rusqlite::Result<Vec<Unfinished>> {
    let mut query = transaction.prepare(
        "SELECT call, tiers, amount, prompt, delivered FROM holds LEFT JOIN prices ON version = price
         WHERE call BETWEEN ?1 AND ?2",
    )?;
    let range = [CallId::new(epoch, 0).0, CallId::new(epoch, u64::MAX).0];
    let calls = query.query_map(range, |row| {
        let tiers: Option<String> = row.get(1)?;
        let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        Ok(Unfinished {
            id: CallId(row.get(0)?),
            prices: tiers.and_then(|tiers| serde_json::from_str(&tiers).ok()),
            held: row.get(2)?,
            prompt: count(3)?,
            delivered: count(4)?,
        })
    })?;
    calls.collect()
}

impl Unfinished {
    /// Its provider may have charged for the prompt, and for what was passed on.
    fn end(&self) -> End {
        let usage = Usage { input: self.prompt, output: self.delivered, ..Usage::default() };
        let cost = self.prices.as_ref().map_or(Amount::ZERO, |prices| prices.cost(&usage));
        let charge = cost.min(self.held);
        End { charge, price: None, outcome: Outcome::Recovered, usage, capped: cost > charge, whole: false }
    }
}
