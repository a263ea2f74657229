//! Ending the epochs of processes that are gone: their journals are taken over, and calls without an end in them are
//! charged by an estimate.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, ToSql, Transaction};

use crate::canon::{Rates, Usage};
use crate::meter::batch::Batch;
use crate::meter::invariant::{Invariant, sum, violated};
use crate::meter::journal::{Hold, JournalRecord};
use crate::meter::limit_set;
use crate::meter::posting::Posting;
use crate::meter::price::Prices;
use crate::meter::types::{
    BillingKey, COUNT_BITS, CallEnd, CallId, ChargeBasis, LimitSet, OpenHold, UnusedLease,
};
use crate::meter::vault::{Loss, Seen, Statement};
use crate::store;

use super::write::PostingWriter;

/// Ends an epoch by what its journal says. Calls that have cost more than their holds come last, when it is known what
/// the others have not needed.
pub(super) fn end_epoch(transaction: &Transaction<'_>, statement: &Statement<'_>) -> rusqlite::Result<Loss> {
    let epoch = statement.epoch;
    let mut batch = Batch::new(epoch, 0, true);
    let mut calls = UnfinishedCalls::read(transaction, epoch)?;
    // A place may have been used again, so an end may stand before its beginning.
    for record in statement.records {
        if let JournalRecord::Hold(call, hold) = record {
            calls.find(&mut batch, *call, hold)?;
        }
    }
    for record in statement.records {
        match record {
            JournalRecord::Hold(..) => {}
            JournalRecord::Mark(call, delivered) => calls.mark(*call, *delivered),
            JournalRecord::End(call, end) => calls.end(&mut batch, *call, end),
        }
    }
    let loss = calls.estimate(&mut batch)?;
    let mut posting = batch.finish();
    let beyond = std::mem::take(&mut posting.beyond);
    write(transaction, &posting)?;
    // What the epoch has lent and holds for no call is there for them, too.
    let returns = spare(transaction, epoch)?;
    write(transaction, &Posting { epoch, returns, beyond, ..Posting::default() })?;
    end_leases(transaction, epoch)?;
    Ok(loss)
}

/// Writes a posting that asks for nothing, and gives the alerts that are due.
fn write(transaction: &Transaction<'_>, posting: &Posting) -> rusqlite::Result<()> {
    let now = store::now();
    let mut writer = PostingWriter::new(transaction, posting.epoch, now);
    writer.write(posting)?;
    let alerts = writer.finish()?.alerts(transaction, now)?;
    alerts.iter().for_each(|alert| log::warn!("ledger: {alert}"));
    Ok(())
}

/// Gives back what was lent in an epoch.
pub(super) fn end_leases(transaction: &Transaction<'_>, epoch: i64) -> rusqlite::Result<()> {
    let sql = "SELECT balance, amount FROM leases WHERE epoch = ?1";
    let lent = leases(transaction, sql, &[&epoch])?;
    PostingWriter::new(transaction, epoch, store::now()).give_back(&lent)
}

/// The epochs that have something to give back.
pub(super) fn epochs(connection: &Connection) -> rusqlite::Result<Vec<Seen>> {
    let mut query = connection.prepare("SELECT call >> ?1 FROM holds UNION SELECT epoch FROM leases")?;
    let epochs = query.query_map([COUNT_BITS], |row| Ok(Seen { epoch: row.get(0)? }))?;
    epochs.collect()
}

/// The money that an epoch has lent and holds for no call.
fn spare(transaction: &Transaction<'_>, epoch: i64) -> rusqlite::Result<Vec<UnusedLease>> {
    let sql = "SELECT balance, amount - (SELECT COALESCE(SUM(amount), 0) FROM holds
            WHERE holds.balance = leases.balance AND call BETWEEN ?2 AND ?3) AS spare
         FROM leases WHERE epoch = ?1 AND spare > 0";
    let [first, last] = CallId::range(epoch);
    leases(transaction, sql, &[&epoch, &first, &last])
}

/// Reads leases with their limits.
fn leases(
    transaction: &Transaction<'_>,
    sql: &str,
    params: &[&dyn ToSql],
) -> rusqlite::Result<Vec<UnusedLease>> {
    let mut query = transaction.prepare_cached(sql)?;
    let all = query.query_map(params, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut leases = Vec::new();
    for lease in all {
        let (balance, amount) = lease?;
        match limit_set::read(transaction, balance)? {
            Some(limits) => leases.push(UnusedLease { limits: Arc::new(limits), amount }),
            None => violated(Invariant::MissingRow, format_args!("a lease has no balance {balance}")),
        }
    }
    Ok(leases)
}

/// The calls of an epoch of which no end is known yet.
struct UnfinishedCalls<'t> {
    transaction: &'t Transaction<'t>,
    calls: HashMap<CallId, UnfinishedCall>,
    limits: HashMap<i64, Arc<LimitSet>>,
}

/// A call of which no end is known.
struct UnfinishedCall {
    hold: OpenHold,
    /// Tokens of its answer that have been passed on.
    delivered: u64,
}

impl<'t> UnfinishedCalls<'t> {
    /// Reads the calls that the store knows.
    fn read(transaction: &'t Transaction<'t>, epoch: i64) -> rusqlite::Result<Self> {
        let mut all = Self { transaction, calls: HashMap::new(), limits: HashMap::new() };
        let mut query = transaction.prepare(
            "SELECT account, key, model, price, call, amount, prompt, rates, delivered, balance FROM holds
             WHERE call BETWEEN ?1 AND ?2",
        )?;
        let mut rows = query.query(CallId::range(epoch))?;
        while let Some(row) = rows.next()? {
            let (call, balance) = (CallId(row.get(4)?), row.get(9)?);
            let Some(limits) = all.limits(balance)? else {
                violated(Invariant::MissingRow, format_args!("call {} has no balance {balance}", call.0));
                continue;
            };
            let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
            let hold = OpenHold {
                call,
                billing: Arc::new(billing_key(row)?),
                limits,
                amount: row.get(5)?,
                prompt: count(6)?,
                rates: Rates::from_bits(row.get(7)?),
            };
            all.calls.insert(call, UnfinishedCall { hold, delivered: count(8)? });
        }
        Ok(all)
    }

    /// Adds the hold of a call from a journal, unless the store has it already, or its end.
    fn find(&mut self, batch: &mut Batch, call: CallId, hold: &Hold) -> rusqlite::Result<()> {
        let ended = "SELECT 1 FROM charges WHERE call = ?1";
        if self.calls.contains_key(&call) || self.transaction.prepare_cached(ended)?.exists([call.0])? {
            return Ok(());
        }
        let Hold { billing, balance, amount, prompt, rates } = *hold;
        // The first balance of a key is that of journals from before there were balances.
        let sql = "SELECT b.account, b.key, t.model, t.price, b.balance FROM tabs t JOIN balances b
            ON CASE ?2 WHEN 0 THEN b.key = t.key ELSE b.balance = ?2 END
            WHERE t.tab = ?1 ORDER BY b.balance LIMIT 1";
        let payer = |row: &Row<'_>| Ok((billing_key(row)?, row.get(4)?));
        let payer = self.transaction.prepare_cached(sql)?.query_row([billing, balance], payer).optional()?;
        let limits = payer.as_ref().map(|(_, balance)| self.limits(*balance)).transpose()?.flatten();
        let Some(((billing, _), limits)) = payer.zip(limits) else {
            // The store is an older copy.
            log::error!("ledger: the store does not know who pays for call {}", call.0);
            return Ok(());
        };
        let hold = OpenHold { call, billing: Arc::new(billing), limits, amount, prompt, rates };
        batch.begin(hold.clone());
        self.calls.insert(call, UnfinishedCall { hold, delivered: 0 });
        Ok(())
    }

    /// Notes how far a call has come. In a journal that has begun anew from its start, a later mark stands before an
    /// earlier one.
    fn mark(&mut self, call: CallId, delivered: u64) {
        if let Some(call) = self.calls.get_mut(&call) {
            call.delivered = call.delivered.max(delivered);
        }
    }

    /// Ends a call. The end of a call that has ended changes nothing.
    fn end(&mut self, batch: &mut Batch, call: CallId, end: &CallEnd) {
        if let Some(call) = self.calls.remove(&call) {
            batch.end(call.hold, end.clone());
        }
    }

    /// Ends the remaining calls by an estimate.
    fn estimate(self, batch: &mut Batch) -> rusqlite::Result<Loss> {
        let mut loss = Loss::default();
        let mut calls: Vec<_> = self.calls.into_values().collect();
        calls.sort_by_key(|call| call.hold.call.0);
        for call in calls {
            let tiers = "SELECT tiers FROM prices WHERE version = ?1";
            let version = call.hold.billing.price;
            let mut tiers_of = self.transaction.prepare_cached(tiers)?;
            let tiers: Option<String> = tiers_of.query_row([version], |row| row.get(0)).optional()?;
            let end = call.estimate(tiers.and_then(|tiers| serde_json::from_str(&tiers).ok()).as_ref());
            loss = Loss { calls: loss.calls + 1, estimated: sum(loss.estimated, end.charge) };
            log::warn!(
                "ledger: call {} was found unfinished and is charged by an estimate",
                call.hold.call.0
            );
            batch.end(call.hold, end);
        }
        Ok(loss)
    }

    /// Returns the limits that have this number in the store; `None` if there are none.
    fn limits(&mut self, number: i64) -> rusqlite::Result<Option<Arc<LimitSet>>> {
        if let Some(known) = self.limits.get(&number) {
            return Ok(Some(Arc::clone(known)));
        }
        let read = limit_set::read(self.transaction, number)?.map(Arc::new);
        self.limits.extend(read.iter().map(|limits| (number, Arc::clone(limits))));
        Ok(read)
    }
}

impl UnfinishedCall {
    /// Its provider may have charged for the prompt, and for what was passed on.
    fn estimate(&self, prices: Option<&Prices>) -> CallEnd {
        let OpenHold { call, amount: held, prompt, rates, .. } = self.hold;
        let outcome = ChargeBasis::Recovered;
        let usage = Usage { input: prompt, output: self.delivered, ..Usage::default() };
        let Some(prices) = prices else {
            violated(Invariant::UnknownPrice, format_args!("the store has no prices for call {}", call.0));
            return CallEnd { charge: held, outcome, usage, ..CallEnd::released() };
        };
        let usage = Usage { rates: prices.dearer(rates), ..usage };
        let cost = prices.cost(&usage);
        let charge = cost.min(held);
        CallEnd { charge, outcome, usage, capped: cost > charge, ..CallEnd::released() }
    }
}

fn billing_key(row: &Row<'_>) -> rusqlite::Result<BillingKey> {
    Ok(BillingKey { account: row.get(0)?, key: row.get(1)?, model: row.get(2)?, price: row.get(3)? })
}
