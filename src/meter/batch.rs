//! Operations that share a transaction.
//!
//! Sums are kept in memory and written once, however many calls they contain. A call that has begun and ended
//! since the last transaction costs one statement of its own, and any other call three.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{OptionalExtension, Params, Row, Transaction, params};

use crate::auth::Key;
use crate::canon::Rates;
use crate::money::Amount;

use super::alert::{Alert, TouchedLimits};
use super::books::Wallet;
use super::funds::Funds;
use super::invariant::{Invariant, difference, sum, violated};
use super::journal::{Hold, JournalRecord};
use super::limit_set;
use super::price::Prices;
use super::report::{self, Tally, UsageReport};
use super::types::{
    BalanceSelector, BillingKey, BudgetWindow, CallEnd, CallId, CountedCall, HoldRefusal, HoldRequest, Lease,
    LimitSet, OpenHold, PriceTerms, UnusedLease,
};
use super::usage::{NewUsage, ServedBy, UsageSums};

/// An open transaction about the calls of one epoch.
pub(super) struct Batch<'t> {
    transaction: &'t Transaction<'t>,
    epoch: i64,
    now: i64,
    /// Holds that are not in the store yet.
    open: HashMap<CallId, OpenHold>,
    /// By key.
    sums: HashMap<Arc<str>, KeySums>,
    /// By balance.
    costs: HashMap<i64, BalanceCost>,
    /// The cost of calls that nobody pays for, by the windows that they belong to.
    tracked: HashMap<BudgetWindow, Amount>,
    /// The limits that have paid for something, or refused it.
    touched: TouchedLimits,
    usage: NewUsage,
    prices: HashMap<Prices, i64>,
    limits: HashMap<i64, Arc<LimitSet>>,
    /// Balances that got a lease, and the largest lease for one call.
    lent: HashMap<i64, (Arc<LimitSet>, Amount)>,
}

/// Replies to the waiting callers, in the order of their requests.
#[derive(Debug, Default)]
pub(super) struct BatchAnswers {
    pub(super) leases: Vec<Result<Lease, HoldRefusal>>,
    pub(super) wallets: Vec<Option<Wallet>>,
    pub(super) reports: Vec<UsageReport>,
    /// Leases for later calls.
    pub(super) more: Vec<UnusedLease>,
    /// Limits that have come close to their end.
    pub(super) alerts: Vec<Alert>,
}

/// The sums of one key's calls.
struct KeySums {
    account: Arc<str>,
    tally: Tally,
    /// The part of the cost that nobody pays.
    tracked: Amount,
}

/// The cost of the calls that one balance pays for.
struct BalanceCost {
    limits: Arc<LimitSet>,
    cost: Amount,
    /// The part of the cost beyond the holds.
    excess: Amount,
}

impl KeySums {
    fn of(account: &str) -> Self {
        Self { account: account.into(), tally: Tally::default(), tracked: Amount::ZERO }
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
            costs: HashMap::new(),
            tracked: HashMap::new(),
            touched: TouchedLimits::default(),
            usage: NewUsage::default(),
            limits: HashMap::new(),
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
        self.post()?;
        let Some(limits) = self.limit_set(request)? else { return Ok(Err(HoldRefusal::NoWallet)) };
        self.give_back(&empty(BalanceSelector::Key(&limits.key)))?;
        let mut amount = self.affordable(&limits, request)?;
        if amount != Ok(request.wanted) {
            self.give_back(&empty(BalanceSelector::Sharing(&limits)))?;
            amount = self.affordable(&limits, request)?;
        }
        let amount = match amount {
            Ok(amount) => amount,
            Err(refusal) => {
                self.touched.refuse(&limits, refusal);
                return Ok(Err(refusal));
            }
        };
        let Some(terms) = self.terms(request, &limits)? else { return Ok(Err(HoldRefusal::Store)) };
        self.lend(&limits, amount.nano().cast_signed())?;
        let (_, most) = self.lent.entry(limits.number).or_insert_with(|| (limits, amount));
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
    pub(super) fn count(&mut self, call: &CountedCall) {
        let CountedCall { key, tally, sums, served, windows } = call;
        let (account, id): (Arc<str>, Arc<str>) = (key.account.as_str().into(), key.id.as_str().into());
        self.usage.add((account, id), served.clone().unwrap_or_default(), sums);

        let sums = || KeySums::of(&key.account);
        let sums = self.sums.entry(key.id.as_str().into()).or_insert_with(sums);
        sums.tally.add(tally);
        sums.tracked = sum(sums.tracked, tally.cost);
        for window in windows.iter().filter(|_| tally.cost > Amount::ZERO) {
            let tracked = self.tracked.entry(*window).or_default();
            *tracked = sum(*tracked, tally.cost);
        }
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

    /// Writes what was kept in memory. Returns leases for later calls of each balance that needed one, each at most a
    /// quarter of what is left, and the limits that have come close to their end.
    pub(super) fn finish(mut self) -> rusqlite::Result<(Vec<UnusedLease>, Vec<Alert>)> {
        self.post()?;
        let mut more = Vec::new();
        for (limits, most) in std::mem::take(&mut self.lent).into_values() {
            let ahead = Amount::from_nano(u128::from(most.nano()) * CALLS_AHEAD);
            let share = Amount::from_nano(u128::from(self.free(&limits)?.nano()) / SHARE);
            let amount = ahead.min(share);
            self.lend(&limits, amount.nano().cast_signed())?;
            more.push(UnusedLease { limits, amount });
        }
        Ok((more, self.touched.alerts(self.transaction, self.now)?))
    }

    /// Takes back leases that are not needed.
    pub(super) fn give_back(&self, spare: &[UnusedLease]) -> rusqlite::Result<()> {
        for UnusedLease { limits, amount } in spare {
            self.lend(limits, -amount.nano().cast_signed())?;
        }
        if !spare.is_empty() {
            let sql = "DELETE FROM leases WHERE epoch = ?1 AND amount = 0";
            self.transaction.prepare_cached(sql)?.execute([self.epoch])?;
        }
        Ok(())
    }

    /// Changes what is leased from these limits by `nano` nano-USD.
    fn lend(&self, limits: &LimitSet, nano: i64) -> rusqlite::Result<()> {
        let LimitSet { number, account, has_wallet, windows, .. } = limits;
        if *has_wallet {
            let sql = "UPDATE wallets SET leased = leased + ?2 WHERE account = ?1";
            self.change(sql, params![account, nano])?;
        }
        for BudgetWindow { budget, start } in windows {
            let sql = "INSERT OR IGNORE INTO budget_windows (budget, start_day) VALUES (?1, ?2)";
            self.transaction.prepare_cached(sql)?.execute([budget, start])?;
            let sql = "UPDATE budget_windows SET leased = leased + ?3 WHERE budget = ?1 AND start_day = ?2";
            self.change(sql, [budget, start, &nano])?;
        }
        let sql = "INSERT OR IGNORE INTO leases VALUES (?1, ?2, 0)";
        self.transaction.prepare_cached(sql)?.execute([self.epoch, *number])?;
        let sql = "UPDATE leases SET amount = amount + ?3 WHERE epoch = ?1 AND balance = ?2";
        self.change(sql, [self.epoch, *number, nano])
    }

    /// Changes one row of an account or key, which must exist.
    fn change(&self, sql: &str, params: impl Params) -> rusqlite::Result<()> {
        if self.transaction.prepare_cached(sql)?.execute(params)? != 1 {
            violated(Invariant::MissingRow, format_args!("nothing to change by: {sql}"));
        }
        Ok(())
    }

    /// Returns the limits of a call, with their number in the store; `None` if it needs a wallet and has none.
    fn limit_set(&mut self, request: &HoldRequest) -> rusqlite::Result<Option<Arc<LimitSet>>> {
        let Key { id, account, budgets, .. } = &*request.grant;
        let wallet = "SELECT 1 FROM wallets WHERE account = ?1";
        let has_wallet = self.transaction.prepare_cached(wallet)?.exists([account])?;
        if request.needs_wallet && !has_wallet {
            return Ok(None);
        }
        let windows = BudgetWindow::at(request.time, budgets);
        let number = limit_set::number(self.transaction, (account, id), has_wallet, &windows)?;
        let set = || {
            let (account, key) = (account.as_str().into(), id.as_str().into());
            Arc::new(LimitSet { number, account, key, has_wallet, windows })
        };
        Ok(Some(Arc::clone(self.limits.entry(number).or_insert_with(set))))
    }

    /// Returns the limits that have this number in the store; `None` if there are none.
    fn limits_of(&mut self, number: i64) -> rusqlite::Result<Option<Arc<LimitSet>>> {
        if let Some(known) = self.limits.get(&number) {
            return Ok(Some(Arc::clone(known)));
        }
        let read = limit_set::read(self.transaction, number)?.map(Arc::new);
        self.limits.extend(read.iter().map(|limits| (number, Arc::clone(limits))));
        Ok(read)
    }

    fn affordable(
        &self,
        limits: &LimitSet,
        request: &HoldRequest,
    ) -> rusqlite::Result<Result<Amount, HoldRefusal>> {
        let funds = Funds::read(self.transaction, limits)?.ok_or(HoldRefusal::Store);
        Ok(funds.and_then(|funds| funds.affordable(request)))
    }

    /// Returns what can be leased from all of these limits.
    fn free(&self, limits: &LimitSet) -> rusqlite::Result<Amount> {
        Ok(Funds::read(self.transaction, limits)?.map(|funds| funds.free()).unwrap_or_default())
    }

    /// Returns the price terms of a request, or `None` if it has no prices, or the store cannot hold them.
    fn terms(
        &mut self,
        request: &HoldRequest,
        limits: &Arc<LimitSet>,
    ) -> rusqlite::Result<Option<PriceTerms>> {
        let versions = request.prices.iter().map(|prices| self.price(prices));
        let Some(versions) = versions.collect::<rusqlite::Result<Option<Vec<_>>>>()? else { return Ok(None) };
        let Some(&price) = versions.first() else {
            violated(Invariant::NoPrices, format_args!("a call of {} has no prices", request.model));
            return Ok(None);
        };
        let billing = BillingKey {
            account: Arc::clone(&limits.account),
            key: Arc::clone(&limits.key),
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
        let (limits, prices) = (Arc::clone(limits), request.prices.clone());
        Ok(Some(PriceTerms { number, billing: Arc::new(billing), limits, prices, versions }))
    }

    /// Adds the hold of a call from a journal, unless the store has it already, or its end.
    fn find(&mut self, call: CallId, hold: &Hold) -> rusqlite::Result<()> {
        let known = "SELECT 1 FROM holds WHERE call = ?1 UNION ALL SELECT 1 FROM charges WHERE call = ?1";
        if self.transaction.prepare_cached(known)?.exists([call.0])? {
            return Ok(());
        }
        let Hold { billing, balance, amount, prompt, rates } = *hold;
        // The first balance of a key is that of journals from before there were balances.
        let sql = "SELECT b.account, b.key, t.model, t.price, b.balance FROM tabs t JOIN balances b
            ON CASE ?2 WHEN 0 THEN b.key = t.key ELSE b.balance = ?2 END
            WHERE t.tab = ?1 ORDER BY b.balance LIMIT 1";
        let payer = |row: &Row<'_>| Ok((billing_key(row)?, row.get(4)?));
        let payer = self.transaction.prepare_cached(sql)?.query_row([billing, balance], payer).optional()?;
        let limits = payer.as_ref().map(|(_, balance)| self.limits_of(*balance)).transpose()?.flatten();
        match payer.zip(limits) {
            Some(((billing, _), limits)) => {
                self.begin(OpenHold { call, billing: Arc::new(billing), limits, amount, prompt, rates });
            }
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
                let Some(open) = self.close(call)? else { return Ok(()) };
                open
            }
        };
        let over = difference(end.charge, hold.amount.min(end.charge));
        let excess = if over > Amount::ZERO { self.take(&hold.limits, over, empty)? } else { over };
        let held = sum(hold.amount, excess);
        let charge = end.charge.min(held);
        self.write_charge(&hold, end, (held, excess, charge))?;
        let BillingKey { account, key, .. } = &*hold.billing;
        let sums = self.sums.entry(Arc::clone(key)).or_insert_with(|| KeySums::of(account));
        sums.tally.add(&Tally::of(&end.usage, charge, end.whole));
        let limits = &hold.limits;
        // The journal does not say who has answered.
        let unknown = || ServedBy { model: Arc::clone(&hold.billing.model), provider: "".into(), tags: None };
        let served = end.served.clone().unwrap_or_else(unknown);
        let owner = (Arc::clone(&limits.account), Arc::clone(&limits.key));
        self.usage.add(owner, served, &UsageSums::of(&end.usage, charge, end.whole));
        let none = || BalanceCost { limits: Arc::clone(limits), cost: Amount::ZERO, excess: Amount::ZERO };
        let costs = self.costs.entry(limits.number).or_insert_with(none);
        (costs.cost, costs.excess) = (sum(costs.cost, charge), sum(costs.excess, excess));
        Ok(())
    }

    /// Removes the hold of a call from the store; `None` if there is none.
    fn close(&mut self, call: CallId) -> rusqlite::Result<Option<OpenHold>> {
        let sql = "DELETE FROM holds WHERE call = ?1 RETURNING account, key, model, price, amount, balance";
        let open = |row: &Row<'_>| Ok((billing_key(row)?, row.get(4)?, row.get(5)?));
        let open = self.transaction.prepare_cached(sql)?.query_row([call.0], open).optional()?;
        let Some((billing, amount, balance)) = open else { return Ok(None) };
        let Some(limits) = self.limits_of(balance)? else {
            violated(Invariant::MissingRow, format_args!("call {} has no balance {balance}", call.0));
            return Ok(None);
        };
        let (billing, rates) = (Arc::new(billing), Rates::default());
        Ok(Some(OpenHold { call, billing, limits, amount, prompt: 0, rates }))
    }

    /// Returns how much of a call's cost beyond its hold can be taken: from what is not leased of its wallet and its
    /// hard budgets, then from spare money in leased balances. It is taken with the sums.
    fn take(
        &mut self,
        limits: &LimitSet,
        over: Amount,
        mut empty: impl FnMut(BalanceSelector<'_>) -> Vec<UnusedLease>,
    ) -> rusqlite::Result<Amount> {
        self.post()?;
        let mut left = self.free(limits)?;
        if left < over {
            self.give_back(&empty(BalanceSelector::Sharing(limits)))?;
            left = self.free(limits)?;
        }
        Ok(over.min(left))
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

    /// Writes the holds and sums that were kept in memory.
    fn post(&mut self) -> rusqlite::Result<()> {
        for hold in std::mem::take(&mut self.open).into_values() {
            self.write_hold(&hold)?;
        }
        for (key, KeySums { account, tally, tracked }) in std::mem::take(&mut self.sums) {
            self.write_usage(&account, &key, &tally, tracked)?;
        }
        self.usage.post(self.transaction, self.now)?;
        for cost in std::mem::take(&mut self.costs).into_values().filter(|costs| costs.cost > Amount::ZERO) {
            self.write_cost(&cost)?;
            self.touched.add(&cost.limits);
        }
        for (window, cost) in std::mem::take(&mut self.tracked) {
            let sql = "INSERT OR IGNORE INTO budget_windows (budget, start_day) VALUES (?1, ?2)";
            self.transaction.prepare_cached(sql)?.execute([window.budget, window.start])?;
            let sql = "UPDATE budget_windows SET spent = spent + ?3, tracked = tracked + ?3,
                allowed = MAX(allowed, spent + leased + ?3) WHERE budget = ?1 AND start_day = ?2";
            self.change(sql, params![window.budget, window.start, cost])?;
            self.touched.add_window(window);
        }
        Ok(())
    }

    /// Takes the cost of calls from the limits that it was leased from.
    fn write_cost(&self, BalanceCost { limits, cost, excess }: &BalanceCost) -> rusqlite::Result<()> {
        let held = difference(*cost, *excess);
        if limits.has_wallet {
            let sql = "UPDATE wallets SET balance = balance - ?2, leased = leased - ?3 WHERE account = ?1";
            self.change(sql, params![limits.account, cost, held])?;
        }
        for BudgetWindow { budget, start } in &limits.windows {
            let sql = "UPDATE budget_windows SET spent = spent + ?3, leased = leased - ?4
                WHERE budget = ?1 AND start_day = ?2";
            self.change(sql, params![budget, start, cost, held])?;
        }
        // A lease of nothing is removed, and what was taken beyond holds was not leased.
        if held > Amount::ZERO {
            let sql = "UPDATE leases SET amount = amount - ?3 WHERE epoch = ?1 AND balance = ?2";
            self.change(sql, params![self.epoch, limits.number, held])?;
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
