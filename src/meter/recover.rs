//! What is done for processes that are gone: their journals are taken over, and calls of which they say no
//! end are charged by what is known of them.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::canon::Usage;
use crate::money::Amount;
use crate::store::{self, Error};

use super::batch::Batch;
use super::journal::{self, Orphan, Record};
use super::price::Prices;
use super::{COUNT_BITS, CallId, End, Outcome};

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
    let mut batch = Batch::new(&transaction, store::now());
    for record in orphans.iter().flat_map(|orphan| &orphan.records) {
        batch.record(record)?;
    }
    batch.finish()?;
    let gone: Vec<_> = orphans.iter().map(|orphan| orphan.epoch).collect();
    let living = journal::epochs(journals)?;
    let unfinished = unfinished(&transaction)?;
    let mut batch = Batch::new(&transaction, store::now());
    for call in &unfinished {
        let epoch = call.id.0 >> COUNT_BITS;
        if gone.contains(&epoch) || !living.contains(&epoch) {
            log::warn!("ledger: call {} was found unfinished and is charged by an estimate", call.id.0);
            batch.record(&Record::End(call.id, call.end()))?;
        }
    }
    batch.finish()?;
    transaction.commit()?;
    for orphan in orphans {
        orphan.remove()?;
    }
    Ok(())
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

fn unfinished(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<Unfinished>> {
    let mut query = transaction.prepare(
        "SELECT call, tiers, amount, prompt, delivered FROM holds LEFT JOIN prices ON version = price",
    )?;
    let calls = query.query_map([], |row| {
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
