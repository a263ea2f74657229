//! Lending what is wanted.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{OptionalExtension, Transaction, params};

use super::write::change_lease;
use crate::meter::alert::TouchedLimits;
use crate::meter::funds::Funds;
use crate::meter::invariant::{Invariant, violated};
use crate::meter::limit_set;
use crate::meter::posting::{Denial, Want};
use crate::meter::price::Prices;
use crate::meter::types::{BillingKey, Lease, LimitSet, PriceTerms, UnusedLease};
use crate::money::Amount;

/// An open transaction that lends money to one epoch.
pub(super) struct Lender<'t> {
    transaction: &'t Transaction<'t>,
    epoch: i64,
    now: i64,
    prices: HashMap<Prices, i64>,
    limits: HashMap<i64, Arc<LimitSet>>,
    /// Balances that got a lease, and the most that is to be lent ahead for each.
    lent: HashMap<i64, (Arc<LimitSet>, Amount)>,
}

impl<'t> Lender<'t> {
    pub(super) fn new(transaction: &'t Transaction<'t>, epoch: i64, now: i64) -> Self {
        let (prices, limits, lent) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { transaction, epoch, now, prices, limits, lent }
    }

    /// Lends what is wanted, or all that there is if that is enough. Limits that have too little are noted as touched.
    pub(super) fn lend(
        &mut self,
        want: &Want,
        touched: &mut TouchedLimits,
    ) -> rusqlite::Result<Result<Lease, Denial>> {
        let Some(limits) = self.limit_set(want)? else { return Ok(Err(Denial::NoWallet)) };
        let Some(funds) = Funds::read(self.transaction, &limits)? else { return Ok(Err(Denial::Broken)) };
        let Some(amount) = funds.affordable(want.wanted, want.threshold()) else {
            if let Some(refusal) = funds.refusal(want.least) {
                touched.refuse(&limits, refusal);
            }
            return Ok(Err(Denial::Short(funds)));
        };
        let Some(terms) = self.terms(want, &limits)? else { return Ok(Err(Denial::Broken)) };
        change_lease(self.transaction, self.epoch, &limits, amount.nano().cast_signed())?;
        let ahead = Amount::from_nano(u128::from(amount.nano()) * u128::from(want.ahead));
        let (_, most) = self.lent.entry(limits.number).or_insert((limits, ahead));
        *most = ahead.max(*most);
        Ok(Ok(Lease { terms: Arc::new(terms), amount }))
    }

    /// Lends for later calls of each balance that needed a lease, at most a quarter of what is left.
    pub(super) fn lend_ahead(self) -> rusqlite::Result<Vec<UnusedLease>> {
        let mut ahead = Vec::new();
        for (limits, most) in self.lent.into_values() {
            let free = Funds::read(self.transaction, &limits)?.map(|funds| funds.free()).unwrap_or_default();
            let amount = most.min(Amount::from_nano(u128::from(free.nano()) / SHARE));
            change_lease(self.transaction, self.epoch, &limits, amount.nano().cast_signed())?;
            ahead.push(UnusedLease { limits, amount });
        }
        Ok(ahead)
    }

    /// Returns the limits of a want, with their number in the store; `None` if it needs a wallet and has none.
    fn limit_set(&mut self, want: &Want) -> rusqlite::Result<Option<Arc<LimitSet>>> {
        let Want { account, key, windows, needs_wallet, .. } = want;
        let wallet = "SELECT 1 FROM wallets WHERE account = ?1";
        let has_wallet = self.transaction.prepare_cached(wallet)?.exists([account])?;
        if *needs_wallet && !has_wallet {
            return Ok(None);
        }
        let number = limit_set::number(self.transaction, (account, key), has_wallet, windows)?;
        let set = || {
            let (account, key, windows) = (Arc::clone(account), Arc::clone(key), windows.clone());
            Arc::new(LimitSet { number, account, key, has_wallet, windows })
        };
        Ok(Some(Arc::clone(self.limits.entry(number).or_insert_with(set))))
    }

    /// Returns the price terms of a want, or `None` if it has no prices, or the store cannot hold them.
    fn terms(&mut self, want: &Want, limits: &Arc<LimitSet>) -> rusqlite::Result<Option<PriceTerms>> {
        let versions = want.prices.iter().map(|prices| self.price(prices));
        let Some(versions) = versions.collect::<rusqlite::Result<Option<Vec<_>>>>()? else { return Ok(None) };
        let Some(&price) = versions.first() else {
            violated(Invariant::NoPrices, format_args!("a call of {} has no prices", want.model));
            return Ok(None);
        };
        let billing = BillingKey {
            account: Arc::clone(&limits.account),
            key: Arc::clone(&limits.key),
            model: Arc::clone(&want.model),
            price,
        };
        let number = self.tab(&billing)?;
        let (limits, prices) = (Arc::clone(limits), want.prices.clone());
        Ok(Some(PriceTerms { number, billing: Arc::new(billing), limits, prices, versions }))
    }

    /// Returns the number of a billing key; the first time this makes it.
    fn tab(&self, billing: &BillingKey) -> rusqlite::Result<i64> {
        let BillingKey { account, key, model, price } = billing;
        let known = "SELECT tab FROM tabs WHERE key = ?1 AND model = ?2 AND price = ?3";
        let known = self
            .transaction
            .prepare_cached(known)?
            .query_row(params![key, model, price], |row| row.get(0))
            .optional()?;
        if let Some(number) = known {
            return Ok(number);
        }
        let sql = "INSERT INTO tabs (account, key, model, price) VALUES (?1, ?2, ?3, ?4)";
        self.transaction.execute(sql, params![account, key, model, price])?;
        Ok(self.transaction.last_insert_rowid())
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

/// The divisor for the most of the remaining money that is lent for later calls: a quarter.
const SHARE: u128 = 4;
