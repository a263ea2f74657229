//! Writing what has happened: holds, charges, sums, and leases that go back.
//!
//! Sums are written once, however many calls they contain. A call that has begun and ended in one posting costs one
//! statement of its own, and any other call three.

use std::sync::Arc;

use rusqlite::{Params, Transaction, params};

use crate::meter::alert::TouchedLimits;
use crate::meter::funds::Funds;
use crate::meter::invariant::{Invariant, difference, sum, violated};
use crate::meter::posting::{BalanceCost, EndedCall, KeySums, PostedSums, Posting};
use crate::meter::report;
use crate::meter::types::{BillingKey, BudgetWindow, CallEnd, CallId, LimitSet, OpenHold, UnusedLease};
use crate::money::Amount;

/// An open transaction about the calls of one epoch.
pub(super) struct PostingWriter<'t> {
    transaction: &'t Transaction<'t>,
    epoch: i64,
    now: i64,
    sums: PostedSums,
    /// The limits that have paid for something.
    touched: TouchedLimits,
}

impl<'t> PostingWriter<'t> {
    pub(super) fn new(transaction: &'t Transaction<'t>, epoch: i64, now: i64) -> Self {
        Self { transaction, epoch, now, sums: PostedSums::default(), touched: TouchedLimits::default() }
    }

    /// Writes what has happened. Returns the calls that stay open, because there is too little for their cost.
    pub(super) fn write(&mut self, posting: &Posting) -> rusqlite::Result<Vec<CallId>> {
        self.give_back(&posting.returns)?;
        for hold in &posting.begun {
            self.write_hold(hold)?;
        }
        for (call, delivered) in &posting.marks {
            self.mark(*call, *delivered)?;
        }
        self.sums = posting.counted.clone();
        for EndedCall { hold, end, is_known, .. } in &posting.ends {
            // The end of a call that has ended changes nothing.
            if !is_known || self.close(hold.call)? {
                self.charge(hold, end, Amount::ZERO)?;
            }
        }
        let mut short = Vec::new();
        for call in &posting.beyond {
            if !self.charge_beyond(call)? {
                short.push(call.hold.call);
            }
        }
        Ok(short)
    }

    /// Writes the sums. Returns the limits that have paid for something.
    pub(super) fn finish(mut self) -> rusqlite::Result<TouchedLimits> {
        self.write_sums()?;
        Ok(self.touched)
    }

    /// Takes back leases that are not needed.
    pub(super) fn give_back(&self, spare: &[UnusedLease]) -> rusqlite::Result<()> {
        for UnusedLease { limits, amount } in spare {
            change_lease(self.transaction, self.epoch, limits, -amount.nano().cast_signed())?;
        }
        if !spare.is_empty() {
            let sql = "DELETE FROM leases WHERE epoch = ?1 AND amount = 0";
            self.transaction.prepare_cached(sql)?.execute([self.epoch])?;
        }
        Ok(())
    }

    fn write_hold(&self, hold: &OpenHold) -> rusqlite::Result<()> {
        let OpenHold { call, billing, limits, amount, prompt, rates } = hold;
        let sql = "INSERT INTO holds (call, account, key, model, price, amount, prompt, time, rates, balance)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let BillingKey { account, key, model, price } = &**billing;
        let prompt = count(*prompt);
        let (rates, balance) = (rates.bits(), limits.number);
        let row = params![call.0, account, key, model, price, amount, prompt, self.now, rates, balance];
        self.transaction.prepare_cached(sql)?.execute(row)?;
        Ok(())
    }

    /// Notes how far a call has come. In a journal that has begun anew from its start, a later mark stands before an earlier
    /// one.
    fn mark(&self, call: CallId, delivered: u64) -> rusqlite::Result<()> {
        let sql = "UPDATE holds SET delivered = MAX(delivered, ?2) WHERE call = ?1";
        self.transaction.prepare_cached(sql)?.execute(params![call.0, count(delivered)])?;
        Ok(())
    }

    /// Removes the hold of a call; returns whether there was one.
    fn close(&self, call: CallId) -> rusqlite::Result<bool> {
        let sql = "DELETE FROM holds WHERE call = ?1";
        Ok(self.transaction.prepare_cached(sql)?.execute([call.0])? > 0)
    }

    /// Ends a call that has cost more than its hold: the rest is taken from what is not leased of its limits. Returns
    /// whether the call is over; it is not if it may wait for more.
    fn charge_beyond(&mut self, call: &EndedCall) -> rusqlite::Result<bool> {
        let EndedCall { hold, end, is_last, .. } = call;
        let over = difference(end.charge, hold.amount);
        self.write_sums()?;
        let free = Funds::read(self.transaction, &hold.limits)?.map(|funds| funds.free()).unwrap_or_default();
        if free < over && !is_last {
            return Ok(false);
        }
        if self.close(hold.call)? {
            self.charge(hold, end, over.min(free))?;
        }
        Ok(true)
    }

    /// Charges a call, of whose cost so much beyond its hold can be taken.
    fn charge(&mut self, hold: &OpenHold, end: &CallEnd, excess: Amount) -> rusqlite::Result<()> {
        let held = sum(hold.amount, excess);
        let charge = end.charge.min(held);
        self.write_charge(hold, end, (held, excess, charge))?;
        self.sums.charge(hold, end, (charge, excess));
        Ok(())
    }

    /// Writes the hold of a call, the part of it that was taken at its end, and the charge.
    fn write_charge(
        &self,
        hold: &OpenHold,
        end: &CallEnd,
        (held, excess, charge): (Amount, Amount, Amount),
    ) -> rusqlite::Result<()> {
        let usage = &end.usage;
        let mut insert = self.transaction.prepare_cached(
            "INSERT INTO charges (call, account, key, model, price, held, amount, outcome, capped,
                input, cache_read, cache_write, output, time,
                rates, cache_write_long, audio_input, audio_output, searches, others, elsewhere, excess, balance)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,
                ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23)",
        )?;
        insert.execute(params![
            hold.call.0,
            hold.billing.account,
            hold.billing.key,
            hold.billing.model,
            end.price.unwrap_or(hold.billing.price),
            held,
            charge,
            end.outcome.name(),
            end.capped || charge < end.charge,
            count(usage.input),
            count(usage.cache_read),
            count(usage.cache_write),
            count(usage.output),
            self.now,
            usage.rates.bits(),
            count(usage.cache_write_long),
            count(usage.audio_input),
            count(usage.audio_output),
            count(usage.searches),
            end.others,
            end.elsewhere,
            excess,
            hold.limits.number,
        ])?;
        Ok(())
    }

    /// Writes the sums that were kept in memory.
    fn write_sums(&mut self) -> rusqlite::Result<()> {
        let PostedSums { keys, costs, tracked, mut usage } = std::mem::take(&mut self.sums);
        for (key, sums) in &keys {
            self.write_usage(key, sums)?;
        }
        usage.post(self.transaction, self.now)?;
        for cost in costs.into_values().filter(|costs| costs.cost > Amount::ZERO) {
            self.write_cost(&cost)?;
            self.touched.add(&cost.limits);
        }
        for (window, cost) in tracked {
            let sql = "INSERT OR IGNORE INTO budget_windows (budget, start_day) VALUES (?1, ?2)";
            self.transaction.prepare_cached(sql)?.execute([window.budget, window.start])?;
            let sql = "UPDATE budget_windows SET spent = spent + ?3, tracked = tracked + ?3,
                allowed = MAX(allowed, spent + leased + ?3) WHERE budget = ?1 AND start_day = ?2";
            change(self.transaction, sql, params![window.budget, window.start, cost])?;
            self.touched.add_window(window);
        }
        Ok(())
    }

    /// Takes the cost of calls from the limits that it was leased from.
    fn write_cost(&self, BalanceCost { limits, cost, excess }: &BalanceCost) -> rusqlite::Result<()> {
        let held = difference(*cost, *excess);
        if limits.has_wallet {
            let sql = "UPDATE wallets SET balance = balance - ?2, leased = leased - ?3 WHERE account = ?1";
            change(self.transaction, sql, params![limits.account, cost, held])?;
        }
        for BudgetWindow { budget, start } in &limits.windows {
            let sql = "UPDATE budget_windows SET spent = spent + ?3, leased = leased - ?4
                WHERE budget = ?1 AND start_day = ?2";
            change(self.transaction, sql, params![budget, start, cost, held])?;
        }
        // A lease of nothing is removed, and what was taken beyond holds was not leased.
        if held > Amount::ZERO {
            let sql = "UPDATE leases SET amount = amount - ?3 WHERE epoch = ?1 AND balance = ?2";
            change(self.transaction, sql, params![self.epoch, limits.number, held])?;
        }
        Ok(())
    }

    fn write_usage(
        &self,
        key: &Arc<str>,
        KeySums { account, tally, tracked }: &KeySums,
    ) -> rusqlite::Result<()> {
        let mut upsert = self.transaction.prepare_cached(
            "INSERT INTO usage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (account, day, key) DO UPDATE SET
                cost = cost + excluded.cost, prompt = prompt + excluded.prompt,
                completion = completion + excluded.completion, requests = requests + excluded.requests,
                successes = successes + excluded.successes, tracked = tracked + excluded.tracked",
        )?;
        upsert.execute(params![
            account,
            report::day(self.now),
            key,
            tally.cost,
            count(tally.prompt),
            count(tally.completion),
            count(tally.requests),
            count(tally.successes),
            tracked,
        ])?;
        Ok(())
    }
}

/// Changes what an epoch has leased from these limits by `nano` nano-USD.
pub(super) fn change_lease(
    transaction: &Transaction<'_>,
    epoch: i64,
    limits: &LimitSet,
    nano: i64,
) -> rusqlite::Result<()> {
    let LimitSet { number, account, has_wallet, windows, .. } = limits;
    if *has_wallet {
        let sql = "UPDATE wallets SET leased = leased + ?2 WHERE account = ?1";
        change(transaction, sql, params![account, nano])?;
    }
    for BudgetWindow { budget, start } in windows {
        let sql = "INSERT OR IGNORE INTO budget_windows (budget, start_day) VALUES (?1, ?2)";
        transaction.prepare_cached(sql)?.execute([budget, start])?;
        let sql = "UPDATE budget_windows SET leased = leased + ?3 WHERE budget = ?1 AND start_day = ?2";
        change(transaction, sql, [budget, start, &nano])?;
    }
    let sql = "INSERT OR IGNORE INTO leases VALUES (?1, ?2, 0)";
    transaction.prepare_cached(sql)?.execute([epoch, *number])?;
    let sql = "UPDATE leases SET amount = amount + ?3 WHERE epoch = ?1 AND balance = ?2";
    change(transaction, sql, [epoch, *number, nano])
}

/// Changes one row of an account or key, which must exist.
fn change(transaction: &Transaction<'_>, sql: &str, params: impl Params) -> rusqlite::Result<()> {
    if transaction.prepare_cached(sql)?.execute(params)? != 1 {
        violated(Invariant::MissingRow, format_args!("nothing to change by: {sql}"));
    }
    Ok(())
}

/// Converts a count for the store, which has no larger ones. No money depends on it.
fn count(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}
