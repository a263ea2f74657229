//! Operations that share a transaction.
//!
//! Wallets and sums are read once, changed in memory and written once, however many calls concern them: a
//! call by itself costs three statements.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rusqlite::{OptionalExtension, Row, Transaction, params};

use crate::canon::Usage;
use crate::money::Amount;

use super::books::Wallet;
use super::journal::Record;
use super::ledger::{Held, Op, Refusal, Reply, Request};
use super::price::Prices;
use super::report::{self, Report, Tally};
use super::{CallId, End};

/// A transaction on its way.
pub(super) struct Batch<'t> {
    transaction: &'t Transaction<'t>,
    now: i64,
    wallets: HashMap<String, Changing<Option<Wallet>>>,
    spending: HashMap<String, Spending>,
    usage: HashMap<(String, String), Tally>,
    prices: HashMap<Prices, i64>,
    answers: Answers,
}

/// What those get to know who wait, in the order in which they have asked.
#[derive(Debug, Default)]
pub(super) struct Answers {
    holds: Vec<Result<Held, Refusal>>,
    wallets: Vec<Option<Wallet>>,
    reports: Vec<Report>,
    /// Holds, less ends.
    pub(super) opened: i64,
}

/// Something as it was read, and as it is to be written.
struct Changing<T> {
    before: T,
    now: T,
}

/// What a key has spent and is about to.
#[derive(Clone, Copy, Debug, Default)]
struct Spending {
    spent: Amount,
    held: Amount,
}

/// A call as it was held.
struct Open {
    account: String,
    key: String,
    model: String,
    price: i64,
    amount: Amount,
}

impl<'t> Batch<'t> {
    pub(super) fn new(transaction: &'t Transaction<'t>, now: i64) -> Self {
        Self {
            transaction,
            now,
            wallets: HashMap::new(),
            spending: HashMap::new(),
            usage: HashMap::new(),
            prices: HashMap::new(),
            answers: Answers::default(),
        }
    }

    /// Carries out one operation.
    pub(super) fn carry_out(&mut self, op: &Op) -> rusqlite::Result<()> {
        match op {
            Op::Hold(call, request, _) => {
                let held = self.hold(*call, request)?;
                self.answers.holds.push(held);
            }
            Op::Record(record) => self.record(record)?,
            Op::Free(grant, tally) => self.count(&grant.account, &grant.id, tally),
            Op::Wallet(account, _) => {
                let wallet = *self.wallet(account)?;
                self.answers.wallets.push(wallet);
            }
            Op::Report(account, _) => {
                // What is still only in memory belongs to it.
                self.write_usage()?;
                self.answers.reports.push(report::read(self.transaction, account, None, self.now)?);
            }
        }
        Ok(())
    }

    /// Carries out what the journal says.
    pub(super) fn record(&mut self, record: &Record) -> rusqlite::Result<()> {
        match record {
            Record::Mark(call, delivered) => {
                let sql = "UPDATE holds SET delivered = ?2 WHERE call = ?1";
                let delivered = i64::try_from(*delivered).unwrap_or(i64::MAX);
                self.transaction.prepare_cached(sql)?.execute(params![call.0, delivered])?;
                Ok(())
            }
            Record::End(call, end) => self.end(*call, end),
        }
    }

    /// Writes what was changed in memory.
    pub(super) fn finish(mut self) -> rusqlite::Result<Answers> {
        self.write_usage()?;
        let mut wallets = self
            .transaction
            .prepare_cached("UPDATE wallets SET balance = ?2, held = ?3 WHERE account = ?1")?;
        for (account, wallet) in &self.wallets {
            // Who only asks what there is changes nothing.
            if let Some(wallet) = wallet.now.filter(|_| wallet.now != wallet.before) {
                wallets.execute(params![account, wallet.balance, wallet.held])?;
            }
        }
        let mut spending =
            self.transaction.prepare_cached("INSERT OR REPLACE INTO spending VALUES (?1, ?2, ?3)")?;
        for (key, sums) in &self.spending {
            spending.execute(params![key, sums.spent, sums.held])?;
        }
        Ok(self.answers)
    }

    fn hold(&mut self, call: CallId, request: &Request) -> rusqlite::Result<Result<Held, Refusal>> {
        let grant = &request.grant;
        let Some(wallet) = *self.wallet(&grant.account)? else { return Ok(Err(Refusal::NoWallet)) };
        let spending = *self.spending(&grant.id)?;
        let amount = match affordable(request, &wallet, &spending) {
            Ok(amount) => amount,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let (Some(held), Some(held_by_key)) =
            (wallet.held.checked_add(amount), spending.held.checked_add(amount))
        else {
            return Ok(Err(Refusal::Balance(wallet.balance)));
        };
        let versions = request.prices.iter().map(|prices| self.price(prices));
        let versions = versions.collect::<rusqlite::Result<Vec<_>>>()?;
        let price = versions.first();
        let sql = "INSERT INTO holds (call, account, key, model, price, amount, prompt, time)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let prompt = i64::try_from(request.prompt).unwrap_or(i64::MAX);
        let row = params![call.0, grant.account, grant.id, request.model, price, amount, prompt, self.now];
        self.transaction.prepare_cached(sql)?.execute(row)?;
        *self.wallet(&grant.account)? = Some(Wallet { held, ..wallet });
        self.spending(&grant.id)?.held = held_by_key;
        self.answers.opened += 1;
        Ok(Ok(Held { call, amount, versions }))
    }

    /// Ends a call, once: what is said of it again changes nothing.
    fn end(&mut self, call: CallId, end: &End) -> rusqlite::Result<()> {
        let sql = "DELETE FROM holds WHERE call = ?1 RETURNING account, key, model, price, amount";
        let open = self.transaction.prepare_cached(sql)?.query_row([call.0], open).optional()?;
        let Some(open) = open else { return Ok(()) };
        self.answers.opened -= 1;
        let charge = end.charge.min(open.amount);
        self.write_charge(call, &open, end, charge)?;
        if let Some(wallet) = self.wallet(&open.account)? {
            wallet.balance = wallet.balance.checked_sub(charge).unwrap_or_default();
            wallet.held = wallet.held.checked_sub(open.amount).unwrap_or_default();
        }
        let spending = self.spending(&open.key)?;
        spending.spent = spending.spent.checked_add(charge).unwrap_or(Amount::MAX);
        spending.held = spending.held.checked_sub(open.amount).unwrap_or_default();
        self.count(&open.account, &open.key, &Tally::of(&end.usage, charge, end.whole));
        Ok(())
    }

    fn write_charge(&self, call: CallId, open: &Open, end: &End, charge: Amount) -> rusqlite::Result<()> {
        let Usage { input, cache_read, cache_write, output, .. } = end.usage;
        let count = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
        let mut insert = self.transaction.prepare_cached(
            "INSERT INTO charges (call, account, key, model, price, held, amount, outcome, capped,
                input, cache_read, cache_write, output, time)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?;
        insert.execute(params![
            call.0,
            open.account,
            open.key,
            open.model,
            end.price.unwrap_or(open.price),
            open.amount,
            charge,
            end.outcome.name(),
            end.capped,
            count(input),
            count(cache_read),
            count(cache_write),
            count(output),
            self.now,
        ])?;
        Ok(())
    }

    fn count(&mut self, account: &str, key: &str, tally: &Tally) {
        self.usage.entry((account.to_owned(), key.to_owned())).or_default().add(tally);
    }

    fn write_usage(&mut self) -> rusqlite::Result<()> {
        let (day, transaction) = (report::day(self.now), self.transaction);
        let mut upsert = transaction.prepare_cached(
            "INSERT INTO usage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (account, day, key) DO UPDATE SET
                cost = cost + excluded.cost, prompt = prompt + excluded.prompt,
                completion = completion + excluded.completion, requests = requests + excluded.requests,
                successes = successes + excluded.successes",
        )?;
        let count = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
        for ((account, key), tally) in self.usage.drain() {
            upsert.execute(params![
                account,
                day,
                key,
                tally.cost,
                count(tally.prompt),
                count(tally.completion),
                count(tally.requests),
                count(tally.successes),
            ])?;
        }
        Ok(())
    }

    fn wallet(&mut self, account: &str) -> rusqlite::Result<&mut Option<Wallet>> {
        match self.wallets.entry(account.to_owned()) {
            Entry::Occupied(known) => Ok(&mut known.into_mut().now),
            Entry::Vacant(place) => {
                let wallet = Wallet::read(self.transaction, account)?;
                Ok(&mut place.insert(Changing { before: wallet, now: wallet }).now)
            }
        }
    }

    fn spending(&mut self, key: &str) -> rusqlite::Result<&mut Spending> {
        match self.spending.entry(key.to_owned()) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let sql = "SELECT spent, held FROM spending WHERE key = ?1";
                let read = |row: &Row<'_>| Ok(Spending { spent: row.get(0)?, held: row.get(1)? });
                let sums = self.transaction.prepare_cached(sql)?.query_row([key], read).optional()?;
                Ok(place.insert(sums.unwrap_or_default()))
            }
        }
    }

    /// The version of a price list.
    fn price(&mut self, prices: &Prices) -> rusqlite::Result<i64> {
        if let Some(version) = self.prices.get(prices) {
            return Ok(*version);
        }
        let tiers = serde_json::to_string(prices).unwrap_or_default();
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
        Ok(version)
    }
}

impl Answers {
    /// Tells those who wait.
    pub(super) fn give(self, ops: Vec<Op>) {
        let Self { holds, wallets, reports, .. } = self;
        let (mut holds, mut wallets, mut reports) =
            (holds.into_iter(), wallets.into_iter(), reports.into_iter());
        for op in ops {
            match op {
                Op::Hold(_, _, reply) => answer(reply, holds.next()),
                Op::Wallet(_, reply) => answer(reply, wallets.next().map(Ok)),
                Op::Report(_, reply) => answer(reply, reports.next().map(Ok)),
                Op::Record(_) | Op::Free(..) => {}
            }
        }
    }
}

/// Who waited may be gone.
fn answer<T>(reply: Reply<T>, answer: Option<T>) {
    if let Some(answer) = answer {
        drop(reply.send(answer));
    }
}

/// How much is set aside for a call: what it wants, or all that there is if that is enough for the least.
fn affordable(request: &Request, wallet: &Wallet, spending: &Spending) -> Result<Amount, Refusal> {
    let Request { wanted, least, .. } = *request;
    let free = wallet.balance.checked_sub(wallet.held).unwrap_or_default();
    if free < least {
        let waits = wallet.balance >= least;
        return Err(if waits { Refusal::InFlight(wallet.balance) } else { Refusal::Balance(wallet.balance) });
    }
    let amount = wanted.min(free);
    let Some(limit) = request.grant.rights.spending_limit else { return Ok(amount) };
    let unspent = limit.checked_sub(spending.spent).unwrap_or_default();
    let room = unspent.checked_sub(spending.held).unwrap_or_default();
    if room < least {
        return Err(if unspent >= least { Refusal::InFlight(wallet.balance) } else { Refusal::Limit(limit) });
    }
    Ok(amount.min(room))
}

fn open(row: &Row<'_>) -> rusqlite::Result<Open> {
    Ok(Open {
        account: row.get(0)?,
        key: row.get(1)?,
        model: row.get(2)?,
        price: row.get(3)?,
        amount: row.get(4)?,
    })
}
