//! Operations that share a transaction.
//!
//! Sums are kept in memory and written once, however many calls they contain. A call that has begun and ended
//! since the last transaction costs one statement of its own, and any other call three.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{OptionalExtension, Params, Row, Transaction, params};

use crate::auth::{Grant, Key};
use crate::canon::Rates;
use crate::money::Amount;

use super::books::Wallet;
use super::invariant::{Invariant, difference, sum, violated};
use super::journal::{Hold, JournalRecord};
use super::price::Prices;
use super::report::{self, Tally, UsageReport};
use super::types::{
    BalanceSelector, BillingKey, CallEnd, CallId, HoldRefusal, HoldRequest, Lease, OpenHold, PriceTerms,
    UnusedLease,
};

/// An open transaction about the calls of one epoch.
pub(super) struct Batch<'t> {
    transaction: &'t Transaction<'t>,
    epoch: i64,
    now: i64,
    /// Holds that are not in the store yet.
    open: HashMap<CallId, OpenHold>,
    /// By key.
    sums: HashMap<Arc<str>, KeySums>,
    prices: HashMap<Prices, i64>,
    /// Keys that got a lease, and the largest lease for one call.
    lent: HashMap<Arc<str>, (Grant, Amount)>,
}

/// Replies to the waiting callers, in the order of their requests.
#[derive(Debug, Default)]
pub(super) struct BatchAnswers {
    pub(super) leases: Vec<Result<Lease, HoldRefusal>>,
    pub(super) wallets: Vec<Option<Wallet>>,
    pub(super) reports: Vec<UsageReport>,
    /// Leases for later calls.
    pub(super) more: Vec<UnusedLease>,
}

/// The sums of one key's calls.
struct KeySums {
    account: Arc<str>,
    tally: Tally,
    /// The part of the cost beyond the holds.
    excess: Amount,
    /// The part of the cost that nobody pays.
    tracked: Amount,
}

impl KeySums {
    fn of(account: &str) -> Self {
        Self { account: account.into(), tally: Tally::default(), excess: Amount::ZERO, tracked: Amount::ZERO }
    }
}

impl<'t> Batch<'t> {
    pub(super) fn new(transaction: &'t Transaction<'t>, epoch: i64, now: i64) -> Self {
        Self {
            transaction,
            epoch,
            now,
            open: HashMap::new(),
            sums: HashMap::new(),
            prices: HashMap::new(),
            lent: HashMap::new(),
        }
    }

    /// Leases money for a call: what it wants, or all that there is if that is enough for the least. `empty` takes
    /// spare money out of leased balances.
    pub(super) fn lease(
        &mut self,
        request: &HoldRequest,
        mut empty: impl FnMut(BalanceSelector<'_>) -> Vec<UnusedLease>,
    ) -> rusqlite::Result<Result<Lease, HoldRefusal>> {
        let Key { id, account, .. } = &*request.grant;
        self.post()?;
        self.give_back(&empty(BalanceSelector::Key(id)))?;
        let mut amount = self.affordable(request)?;
        if amount != Ok(request.wanted) {
            self.give_back(&empty(BalanceSelector::Account(account)))?;
            amount = self.affordable(request)?;
        }
        let amount = match amount {
            Ok(amount) => amount,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(terms) = self.terms(request)? else { return Ok(Err(HoldRefusal::Store)) };
        let billing = &terms.billing;
        self.lend(&billing.account, &billing.key, amount.nano().cast_signed())?;
        let grant = || (Arc::clone(&request.grant), amount);
        let (_, most) = self.lent.entry(Arc::clone(&billing.key)).or_insert_with(grant);
        *most = amount.max(*most);
        Ok(Ok(Lease { terms: Arc::new(terms), amount }))
    }

    /// Adds the hold of a call.
    pub(super) fn begin(&mut self, hold: OpenHold) {
        self.open.insert(hold.call, hold);
    }

    /// Takes over a record of the journal. `empty` takes spare money out of leased balances, for a call that has cost
    /// more than its hold.
    pub(super) fn record(
        &mut self,
        record: &JournalRecord,
        empty: impl FnMut(BalanceSelector<'_>) -> Vec<UnusedLease>,
    ) -> rusqlite::Result<()> {
        match record {
            JournalRecord::Hold(call, hold) => self.find(*call, hold),
            JournalRecord::Mark(call, delivered) => self.mark(*call, *delivered),
            JournalRecord::End(call, end) => self.end(*call, end, empty),
        }
    }

    /// Counts a call that nobody pays for.
    pub(super) fn count(&mut self, key: &Key, tally: &Tally) {
        let sums = || KeySums::of(&key.account);
        let sums = self.sums.entry(key.id.as_str().into()).or_insert_with(sums);
        sums.tally.add(tally);
        sums.tracked = sum(sums.tracked, tally.cost);
    }

    /// Reads the wallet of an account.
    pub(super) fn wallet(&mut self, account: &str) -> rusqlite::Result<Option<Wallet>> {
        self.post()?;
        Wallet::read(self.transaction, account)
    }

    /// Reads the usage of an account.
    pub(super) fn report(&mut self, account: &str) -> rusqlite::Result<UsageReport> {
        self.post()?;
        report::read(self.transaction, account, None, self.now)
    }

    /// Writes what was kept in memory. Returns leases for later calls of each key that needed one, each at most a
    /// quarter of what is left.
    pub(super) fn finish(mut self) -> rusqlite::Result<Vec<UnusedLease>> {
        self.post()?;
        let mut more = Vec::new();
        for (key, (grant, most)) in std::mem::take(&mut self.lent) {
            let Some(funds) = self.funds(&grant)? else { continue };
            let ahead = Amount::from_nano(u128::from(most.nano()) * CALLS_AHEAD);
            let free = funds.free().unwrap_or_default().min(funds.room());
            let share = Amount::from_nano(u128::from(free.nano()) / SHARE);
            let (account, amount) = (Arc::from(grant.account.as_str()), ahead.min(share));
            self.lend(&account, &key, amount.nano().cast_signed())?;
            more.push(UnusedLease { account, key, amount });
        }
        Ok(more)
    }

    /// Takes back leases that are not needed.
    pub(super) fn give_back(&self, spare: &[UnusedLease]) -> rusqlite::Result<()> {
        for UnusedLease { account, key, amount } in spare {
            self.lend(account, key, -amount.nano().cast_signed())?;
        }
        if !spare.is_empty() {
            let sql = "DELETE FROM leases WHERE epoch = ?1 AND amount = 0";
            self.transaction.prepare_cached(sql)?.execute([self.epoch])?;
        }
        Ok(())
    }

    /// Changes what is leased to a key by `nano` nano-USD.
    fn lend(&self, account: &str, key: &str, nano: i64) -> rusqlite::Result<()> {
        let sql = "UPDATE wallets SET leased = leased + ?2 WHERE account = ?1";
        self.change(sql, params![account, nano])?;
        let sql = "INSERT OR IGNORE INTO spending VALUES (?1, 0, 0)";
        self.transaction.prepare_cached(sql)?.execute([key])?;
        let sql = "UPDATE spending SET leased = leased + ?2 WHERE key = ?1";
        self.change(sql, params![key, nano])?;
        let sql = "INSERT OR IGNORE INTO leases VALUES (?1, ?2, ?3, 0)";
        self.transaction.prepare_cached(sql)?.execute(params![self.epoch, key, account])?;
        let sql = "UPDATE leases SET amount = amount + ?3 WHERE epoch = ?1 AND key = ?2";
        self.change(sql, params![self.epoch, key, nano])
    }

    /// Changes one row of an account or key, which must exist.
    fn change(&self, sql: &str, params: impl Params) -> rusqlite::Result<()> {
        if self.transaction.prepare_cached(sql)?.execute(params)? != 1 {
            violated(Invariant::MissingRow, format_args!("nothing to change by: {sql}"));
        }
        Ok(())
    }

    /// Returns the funds of a key, or `None` if its account has no wallet.
    fn funds(&self, key: &Key) -> rusqlite::Result<Option<Funds>> {
        self.funds_of(&key.account, &key.id, key.rights.spending_limit)
    }

    /// Returns the funds of a key with this id and spending limit.
    fn funds_of(&self, account: &str, key: &str, limit: Option<Amount>) -> rusqlite::Result<Option<Funds>> {
        let two = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let wallet = "SELECT balance, leased FROM wallets WHERE account = ?1";
        let wallet = self.transaction.prepare_cached(wallet)?.query_row([account], two).optional()?;
        let spending = "SELECT spent, leased FROM spending WHERE key = ?1";
        let spending = self.transaction.prepare_cached(spending)?.query_row([key], two).optional()?;
        Ok(wallet.map(|wallet| Funds { wallet, limit, spending: spending.unwrap_or_default() }))
    }

    fn affordable(&self, request: &HoldRequest) -> rusqlite::Result<Result<Amount, HoldRefusal>> {
        let funds = self.funds(&request.grant)?.ok_or(HoldRefusal::NoWallet);
        Ok(funds.and_then(|funds| funds.affordable(request)))
    }

    /// Returns the price terms of a request, or `None` if it has no prices, or the store cannot hold them.
    fn terms(&mut self, request: &HoldRequest) -> rusqlite::Result<Option<PriceTerms>> {
        let versions = request.prices.iter().map(|prices| self.price(prices));
        let Some(versions) = versions.collect::<rusqlite::Result<Option<Vec<_>>>>()? else { return Ok(None) };
        let Some(&price) = versions.first() else {
            violated(Invariant::NoPrices, format_args!("a call of {} has no prices", request.model));
            return Ok(None);
        };
        let billing = BillingKey {
            account: request.grant.account.as_str().into(),
            key: request.grant.id.as_str().into(),
            model: Arc::clone(&request.model),
            price,
        };
        let known = "SELECT tab FROM tabs WHERE key = ?1 AND model = ?2 AND price = ?3";
        let known = self
            .transaction
            .prepare_cached(known)?
            .query_row(params![billing.key, billing.model, billing.price], |row| row.get(0))
            .optional()?;
        let number = match known {
            Some(number) => number,
            None => {
                let sql = "INSERT INTO tabs (account, key, model, price) VALUES (?1, ?2, ?3, ?4)";
                self.transaction
                    .execute(sql, params![billing.account, billing.key, billing.model, billing.price])?;
                self.transaction.last_insert_rowid()
            }
        };
        Ok(Some(PriceTerms { number, billing: Arc::new(billing), prices: request.prices.clone(), versions }))
    }

    /// Adds the hold of a call from a journal, unless the store has it already, or its end.
    fn find(&mut self, call: CallId, hold: &Hold) -> rusqlite::Result<()> {
        let known = "SELECT 1 FROM holds WHERE call = ?1 UNION ALL SELECT 1 FROM charges WHERE call = ?1";
        if self.transaction.prepare_cached(known)?.exists([call.0])? {
            return Ok(());
        }
        let sql = "SELECT account, key, model, price FROM tabs WHERE tab = ?1";
        let billing =
            self.transaction.prepare_cached(sql)?.query_row([hold.billing], billing_key).optional()?;
        let Hold { amount, prompt, rates, .. } = *hold;
        match billing {
            Some(billing) => self.begin(OpenHold { call, billing: Arc::new(billing), amount, prompt, rates }),
            // The store is an older copy.
            None => log::error!("ledger: the store does not know who pays for call {}", call.0),
        }
        Ok(())
    }

    /// Notes how far a call has come. In a journal that has begun anew from its start, a later mark stands before an earlier
    /// one.
    fn mark(&self, call: CallId, delivered: u64) -> rusqlite::Result<()> {
        let sql = "UPDATE holds SET delivered = MAX(delivered, ?2) WHERE call = ?1";
        self.transaction.prepare_cached(sql)?.execute(params![call.0, count(delivered)])?;
        Ok(())
    }

    /// Ends a call. The end of a call that has ended changes nothing.
    fn end(
        &mut self,
        call: CallId,
        end: &CallEnd,
        empty: impl FnMut(BalanceSelector<'_>) -> Vec<UnusedLease>,
    ) -> rusqlite::Result<()> {
        let hold = match self.open.remove(&call) {
            Some(hold) => hold,
            None => {
                let sql = "DELETE FROM holds WHERE call = ?1 RETURNING account, key, model, price, amount";
                let open = |row: &Row<'_>| {
                    let (billing, amount, rates) =
                        (Arc::new(billing_key(row)?), row.get(4)?, Rates::default());
                    Ok(OpenHold { call, billing, amount, prompt: 0, rates })
                };
                let open = self.transaction.prepare_cached(sql)?.query_row([call.0], open).optional()?;
                let Some(open) = open else { return Ok(()) };
                open
            }
        };
        let over = difference(end.charge, hold.amount.min(end.charge));
        let excess = if over > Amount::ZERO { self.take(&hold.billing, over, empty)? } else { over };
        let held = sum(hold.amount, excess);
        let charge = end.charge.min(held);
        self.write_charge(&hold, end, (held, excess, charge))?;
        let BillingKey { account, key, .. } = &*hold.billing;
        let sums = self.sums.entry(Arc::clone(key)).or_insert_with(|| KeySums::of(account));
        sums.tally.add(&Tally::of(&end.usage, charge, end.whole));
        sums.excess = sum(sums.excess, excess);
        Ok(())
    }

    /// Returns how much of a call's cost beyond its hold can be taken: from what the account has not leased, then from
    /// spare money in leased balances, within the key's spending limit. It is taken with the sums.
    fn take(
        &mut self,
        billing: &BillingKey,
        over: Amount,
        mut empty: impl FnMut(BalanceSelector<'_>) -> Vec<UnusedLease>,
    ) -> rusqlite::Result<Amount> {
        self.post()?;
        let limit = "SELECT spending_limit FROM keys WHERE id = ?1";
        let limit =
            self.transaction.prepare_cached(limit)?.query_row([&billing.key], |row| row.get(0)).optional()?;
        let limit: Option<Amount> = limit.flatten();
        let mut left = self.left(billing, limit)?;
        if left < over {
            self.give_back(&empty(BalanceSelector::Account(&billing.account)))?;
            left = self.left(billing, limit)?;
        }
        Ok(over.min(left))
    }

    fn left(&self, billing: &BillingKey, limit: Option<Amount>) -> rusqlite::Result<Amount> {
        let funds = self.funds_of(&billing.account, &billing.key, limit)?;
        Ok(funds.and_then(|funds| Some(funds.free()?.min(funds.room()))).unwrap_or_default())
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
                rates, cache_write_long, audio_input, audio_output, searches, others, elsewhere, excess)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,
                ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)",
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
        ])?;
        Ok(())
    }

    /// Writes the holds and sums that were kept in memory.
    fn post(&mut self) -> rusqlite::Result<()> {
        for hold in std::mem::take(&mut self.open).into_values() {
            self.write_hold(&hold)?;
        }
        for (key, KeySums { account, tally, excess, tracked }) in std::mem::take(&mut self.sums) {
            self.write_usage(&account, &key, &tally, tracked)?;
            let cost = difference(tally.cost, tracked);
            if cost == Amount::ZERO {
                continue;
            }
            let held = difference(cost, excess);
            let sql = "UPDATE wallets SET balance = balance - ?2, leased = leased - ?3 WHERE account = ?1";
            self.change(sql, params![account, cost, held])?;
            let sql = "UPDATE spending SET spent = spent + ?2, leased = leased - ?3 WHERE key = ?1";
            self.change(sql, params![key, cost, held])?;
            // A lease of nothing is removed, and what was taken beyond holds was not leased.
            if held > Amount::ZERO {
                let sql = "UPDATE leases SET amount = amount - ?3 WHERE epoch = ?1 AND key = ?2";
                self.change(sql, params![self.epoch, key, held])?;
            }
        }
        Ok(())
    }

    fn write_hold(&self, hold: &OpenHold) -> rusqlite::Result<()> {
        let OpenHold { call, billing, amount, prompt, rates } = hold;
        let sql = "INSERT INTO holds (call, account, key, model, price, amount, prompt, time, rates)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let BillingKey { account, key, model, price } = &**billing;
        let prompt = count(*prompt);
        let row = params![call.0, account, key, model, price, amount, prompt, self.now, rates.bits()];
        self.transaction.prepare_cached(sql)?.execute(row)?;
        Ok(())
    }

    fn write_usage(&self, account: &str, key: &str, tally: &Tally, tracked: Amount) -> rusqlite::Result<()> {
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

    /// Returns the version of a price list, or `None` if the list cannot be written.
    fn price(&mut self, prices: &Prices) -> rusqlite::Result<Option<i64>> {
        if let Some(version) = self.prices.get(prices) {
            return Ok(Some(*version));
        }
        let tiers = match serde_json::to_string(prices) {
            Ok(tiers) => tiers,
            Err(error) => {
                violated(Invariant::UnwritablePrices, error);
                return Ok(None);
            }
        };
        let known = "SELECT version FROM prices WHERE tiers = ?1";
        let known =
            self.transaction.prepare_cached(known)?.query_row([&tiers], |row| row.get(0)).optional()?;
        let version = match known {
            Some(version) => version,
            None => {
                let sql = "INSERT INTO prices (tiers, time) VALUES (?1, ?2)";
                self.transaction.execute(sql, params![tiers, self.now])?;
                self.transaction.last_insert_rowid()
            }
        };
        self.prices.insert(prices.clone(), version);
        Ok(Some(version))
    }
}

/// The funds of a key: its account's balance and leases, its spending limit, its spending and leases.
struct Funds {
    wallet: (Amount, Amount),
    limit: Option<Amount>,
    spending: (Amount, Amount),
}

impl Funds {
    /// Returns what the account can lease, or `None` if its leases exceed its balance.
    fn free(&self) -> Option<Amount> {
        let (balance, leased) = self.wallet;
        let free = balance.checked_sub(leased);
        if free.is_none() {
            violated(Invariant::Overleased, format_args!("{leased} USD are leased of {balance} USD"));
        }
        free
    }

    /// Returns what the key may still spend: nothing if its limit was lowered below its spending.
    fn unspent(&self) -> Amount {
        self.limit.map_or(Amount::MAX, |limit| limit.checked_sub(self.spending.0).unwrap_or_default())
    }

    /// Returns what can be leased to the key: nothing if its limit was lowered below its spending and leases.
    fn room(&self) -> Amount {
        self.limit.map_or(Amount::MAX, |_| self.unspent().checked_sub(self.spending.1).unwrap_or_default())
    }

    /// Returns the amount to set aside: what the call wants, or all that there is if that is enough for the least.
    fn affordable(&self, request: &HoldRequest) -> Result<Amount, HoldRefusal> {
        let HoldRequest { wanted, least, .. } = *request;
        let (balance, _) = self.wallet;
        let free = self.free().ok_or(HoldRefusal::Store)?;
        if free < least {
            return Err(if balance >= least {
                HoldRefusal::InFlight(balance)
            } else {
                HoldRefusal::Balance(balance)
            });
        }
        if let Some(limit) = self.limit
            && self.room() < least
        {
            return Err(if self.unspent() >= least {
                HoldRefusal::InFlight(balance)
            } else {
                HoldRefusal::Limit(limit)
            });
        }
        Ok(wanted.min(free).min(self.room()))
    }
}

fn billing_key(row: &Row<'_>) -> rusqlite::Result<BillingKey> {
    Ok(BillingKey { account: row.get(0)?, key: row.get(1)?, model: row.get(2)?, price: row.get(3)? })
}

/// Converts a count for the store, which has no larger ones. No money depends on it.
fn count(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

/// The number of later calls for which a lease provides, and the divisor for the most of the remaining money that
/// is leased for them: a quarter.
const CALLS_AHEAD: u128 = 64;
const SHARE: u128 = 4;
