//! Recovery after the death of a process: its journal is taken over, and calls without an end in it are charged by an
//! estimate.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::canon::{Rates, Usage};
use crate::money::Amount;
use crate::store::{self, StoreError};

use super::batch::Batch;
use super::invariant::{Invariant, violated};
use super::journal::{self, JournalRecord, Orphan};
use super::limit_set;
use super::price::Prices;
use super::types::{BalanceSelector, COUNT_BITS, CallEnd, CallId, ChargeBasis, UnusedLease};

/// Takes over everything that no living process owns.
///
/// # Errors
/// Fails if the store or a journal cannot be read or written; then nothing was changed.
pub(super) fn all(connection: &mut Connection, journals: &Path) -> Result<(), StoreError> {
    let orphans = Orphan::find(journals)?;
    let records: usize = orphans.iter().map(|orphan| orphan.records.len()).sum();
    if records > 0 {
        log::info!("ledger: {records} records of {} processes that are gone are taken over", orphans.len());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut late = Vec::new();
    for orphan in &orphans {
        late.push((orphan.epoch, replay(&transaction, orphan)?));
    }
    let gone: Vec<_> = orphans.iter().map(|orphan| orphan.epoch).collect();
    let living = journal::epochs(journals)?;
    for epoch in epochs(&transaction)? {
        if gone.contains(&epoch) || !living.contains(&epoch) {
            let late = late.iter().find(|(other, _)| *other == epoch).map_or(&[][..], |(_, late)| late);
            estimate(&transaction, epoch, late)?;
            charge_beyond(&transaction, epoch, late)?;
            end_leases(&transaction, epoch)?;
        }
    }
    transaction.commit()?;
    for orphan in orphans {
        orphan.remove()?;
    }
    Ok(())
}

/// Releases the leases of this process, which ends and has no call in flight.
///
/// # Errors
/// Fails if the store cannot be written.
pub(super) fn release_leases(connection: &mut Connection, epoch: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    end_leases(&transaction, epoch)?;
    transaction.commit()
}

/// Writes what a journal says to the store, and gives the ends of calls that have cost more than was held for them:
/// these come last, when it is known what the others have not needed.
fn replay(transaction: &Transaction<'_>, orphan: &Orphan) -> rusqlite::Result<Vec<JournalRecord>> {
    let mut batch = Batch::new(transaction, orphan.epoch, store::now());
    // A place may have been used again, so an end may stand before its beginning.
    let is_hold = |record: &&JournalRecord| matches!(record, JournalRecord::Hold(..));
    let (holds, others): (Vec<_>, Vec<_>) = orphan.records.iter().partition(is_hold);
    for record in holds {
        batch.record(record, no_balances)?;
    }
    finish(batch)?;
    let held = held(transaction, orphan.epoch)?;
    let is_late = |record: &&JournalRecord| match record {
        JournalRecord::End(call, end) => held.get(call).is_some_and(|held| end.charge > *held),
        JournalRecord::Hold(..) | JournalRecord::Mark(..) => false,
    };
    let (late, others): (Vec<_>, Vec<_>) = others.into_iter().partition(is_late);
    let mut batch = Batch::new(transaction, orphan.epoch, store::now());
    for record in others {
        batch.record(record, no_balances)?;
    }
    finish(batch)?;
    Ok(late.into_iter().cloned().collect())
}

/// Ends the calls of an epoch of which no end is known; that of some is `known`.
fn estimate(transaction: &Transaction<'_>, epoch: i64, known: &[JournalRecord]) -> rusqlite::Result<()> {
    let mut batch = Batch::new(transaction, epoch, store::now());
    let known: HashSet<_> = known.iter().map(JournalRecord::call).collect();
    for call in unfinished(transaction, epoch)?.into_iter().filter(|call| !known.contains(&call.id)) {
        log::warn!("ledger: call {} was found unfinished and is charged by an estimate", call.id.0);
        batch.record(&JournalRecord::End(call.id, call.end()), no_balances)?;
    }
    finish(batch)?;
    Ok(())
}

/// Ends calls of an epoch that have cost more than was held for them. What the epoch has lent and holds for no call is
/// there for them, too.
fn charge_beyond(transaction: &Transaction<'_>, epoch: i64, late: &[JournalRecord]) -> rusqlite::Result<()> {
    for record in late {
        let JournalRecord::End(call, _) = record else { continue };
        let spare = spare(transaction, epoch)?;
        let mut batch = Batch::new(transaction, epoch, store::now());
        batch.record(record, |selector| match selector {
            BalanceSelector::Sharing(limits) => {
                spare.iter().filter(|spare| limits.shares(&spare.limits)).cloned().collect()
            }
            BalanceSelector::Key(_) => Vec::new(),
        })?;
        finish(batch)?;
        log::debug!("ledger: call {} has cost more than was held for it", call.0);
    }
    Ok(())
}

/// Writes what a batch has kept in memory, and gives the alerts that are due.
fn finish(batch: Batch<'_>) -> rusqlite::Result<()> {
    let (_, alerts) = batch.finish()?;
    alerts.iter().for_each(|alert| log::warn!("ledger: {alert}"));
    Ok(())
}

/// The money that an epoch has lent and holds for no call.
fn spare(transaction: &Transaction<'_>, epoch: i64) -> rusqlite::Result<Vec<UnusedLease>> {
    let mut query = transaction.prepare_cached(
        "SELECT balance, amount - (SELECT COALESCE(SUM(amount), 0) FROM holds
            WHERE holds.balance = leases.balance AND call BETWEEN ?2 AND ?3) AS spare
         FROM leases WHERE epoch = ?1 AND spare > 0",
    )?;
    let [first, last] = CallId::range(epoch);
    let spare = query.query_map([epoch, first, last], |row| Ok((row.get(0)?, row.get(1)?)))?;
    unused(transaction, spare.collect::<rusqlite::Result<_>>()?)
}

/// Reads the limits of some leases.
fn unused(transaction: &Transaction<'_>, leases: Vec<(i64, Amount)>) -> rusqlite::Result<Vec<UnusedLease>> {
    let mut all = Vec::with_capacity(leases.len());
    for (balance, amount) in leases {
        match limit_set::read(transaction, balance)? {
            Some(limits) => all.push(UnusedLease { limits: Arc::new(limits), amount }),
            None => violated(Invariant::MissingRow, format_args!("a lease has no balance {balance}")),
        }
    }
    Ok(all)
}

/// The money that is held for each call of an epoch.
fn held(transaction: &Transaction<'_>, epoch: i64) -> rusqlite::Result<HashMap<CallId, Amount>> {
    let mut query =
        transaction.prepare_cached("SELECT call, amount FROM holds WHERE call BETWEEN ?1 AND ?2")?;
    let held = query.query_map(CallId::range(epoch), |row| Ok((CallId(row.get(0)?), row.get(1)?)))?;
    held.collect()
}

/// A process that is gone has no leased balances but its leases.
fn no_balances(_: BalanceSelector<'_>) -> Vec<UnusedLease> {
    Vec::new()
}

/// Gives back what was lent in an epoch.
fn end_leases(transaction: &Transaction<'_>, epoch: i64) -> rusqlite::Result<()> {
    let mut lent = transaction.prepare("SELECT balance, amount FROM leases WHERE epoch = ?1")?;
    let lent = lent.query_map([epoch], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let lent = unused(transaction, lent.collect::<rusqlite::Result<_>>()?)?;
    Batch::new(transaction, epoch, store::now()).give_back(&lent)
}

/// The epochs that have something to give back.
fn epochs(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<i64>> {
    let mut query = transaction.prepare("SELECT call >> ?1 FROM holds UNION SELECT epoch FROM leases")?;
    let epochs = query.query_map([COUNT_BITS], |row| row.get(0))?;
    epochs.collect()
}

/// A call of which no end is known.
struct Unfinished {
    id: CallId,
    prices: Option<Prices>,
    held: Amount,
    /// The estimated tokens.
    prompt: u64,
    delivered: u64,
    /// The rates that were asked for.
    rates: Rates,
}

fn unfinished(transaction: &Transaction<'_>, epoch: i64) -> rusqlite::Result<Vec<Unfinished>> {
    let mut query = transaction.prepare(
        "SELECT call, tiers, amount, prompt, delivered, rates FROM holds LEFT JOIN prices ON version = price
         WHERE call BETWEEN ?1 AND ?2",
    )?;
    let calls = query.query_map(CallId::range(epoch), |row| {
        let tiers: Option<String> = row.get(1)?;
        let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        Ok(Unfinished {
            id: CallId(row.get(0)?),
            prices: tiers.and_then(|tiers| serde_json::from_str(&tiers).ok()),
            held: row.get(2)?,
            prompt: count(3)?,
            delivered: count(4)?,
            rates: Rates::from_bits(row.get(5)?),
        })
    })?;
    calls.collect()
}

impl Unfinished {
    /// Its provider may have charged for the prompt, and for what was passed on.
    fn end(&self) -> CallEnd {
        let outcome = ChargeBasis::Recovered;
        let usage = Usage { input: self.prompt, output: self.delivered, ..Usage::default() };
        let Some(prices) = &self.prices else {
            violated(Invariant::UnknownPrice, format_args!("the store has no prices for call {}", self.id.0));
            return CallEnd { charge: self.held, outcome, usage, ..CallEnd::released() };
        };
        let usage = Usage { rates: prices.dearer(self.rates), ..usage };
        let cost = prices.cost(&usage);
        let charge = cost.min(self.held);
        CallEnd { charge, outcome, usage, capped: cost > charge, ..CallEnd::released() }
    }
}
