//! Leased balances: the money that this process may hold for the calls of each key without asking the store.
//!
//! A balance is filled by a lease, which is in the store before anything is taken from the balance. So a call is
//! admitted by a look into memory, and all processes together never hold more than there is. What is not needed for
//! a while is returned.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::money::Amount;

use super::invariant::{Invariant, difference, violated};
use super::types::{HoldRequest, PriceTerms, UnusedLease};

/// The leased balances of all keys with recent calls.
#[derive(Debug)]
pub(super) struct LeasedBalances {
    balances: HashMap<Arc<str>, LeasedBalance>,
    looked: Instant,
}

#[derive(Debug)]
struct LeasedBalance {
    account: Arc<str>,
    /// The key's spending limit when the balance was filled.
    limit: Option<Amount>,
    /// Money that is leased and not held.
    spare: Amount,
    /// The lowest value of `spare` since [`LeasedBalances::take_unused`] last looked.
    unused: Amount,
    /// The prices of each model.
    terms: HashMap<Arc<str>, Arc<PriceTerms>>,
}

impl LeasedBalances {
    pub(super) fn new() -> Self {
        Self { balances: HashMap::new(), looked: Instant::now() }
    }

    /// Takes what a request wants, if there is as much and the prices are known.
    pub(super) fn take(&mut self, request: &HoldRequest) -> Option<Arc<PriceTerms>> {
        let balance = self.balances.get_mut(request.grant.id.as_str())?;
        let terms = balance.terms.get(&request.model).filter(|terms| terms.prices == request.prices)?;
        if balance.limit != request.grant.rights.spending_limit {
            return None;
        }
        balance.spare = balance.spare.checked_sub(request.wanted)?;
        balance.unused = balance.unused.min(balance.spare);
        Some(Arc::clone(terms))
    }

    /// Adds money to a key's balance: from a lease, or what a call has not needed.
    pub(super) fn deposit(&mut self, account: &Arc<str>, key: &Arc<str>, amount: Amount) {
        let balance = self.balance(account, key);
        match balance.spare.checked_add(amount) {
            Some(spare) => balance.spare = spare,
            // It stays leased, and nobody can spend it.
            None => {
                violated(Invariant::Amount, format_args!("a leased balance cannot take {amount} USD more"));
            }
        }
    }

    /// Remembers the prices of a request that was granted.
    pub(super) fn learn(&mut self, request: &HoldRequest, terms: &Arc<PriceTerms>) {
        let balance = self.balance(&terms.billing.account, &terms.billing.key);
        balance.limit = request.grant.rights.spending_limit;
        if balance.terms.len() >= MAX_TERMS {
            balance.terms.clear();
        }
        balance.terms.insert(Arc::clone(&terms.billing.model), Arc::clone(terms));
    }

    fn balance(&mut self, account: &Arc<str>, key: &Arc<str>) -> &mut LeasedBalance {
        self.balances.entry(Arc::clone(key)).or_insert_with(|| LeasedBalance {
            account: Arc::clone(account),
            limit: None,
            spare: Amount::ZERO,
            unused: Amount::ZERO,
            terms: HashMap::new(),
        })
    }

    /// Takes out all spare money of the selected keys and accounts.
    pub(super) fn empty(&mut self, selector: impl Fn(&str, &str) -> bool) -> Vec<UnusedLease> {
        self.take_out(selector, |balance| balance.spare)
    }

    /// Takes out what was not needed for [`UNUSED_LEASE_TIMEOUT`], once that time is over, and forgets empty balances.
    pub(super) fn take_unused(&mut self) -> Vec<UnusedLease> {
        if self.looked.elapsed() < UNUSED_LEASE_TIMEOUT {
            return Vec::new();
        }
        self.looked = Instant::now();
        let unused = self.take_out(|_, _| true, |balance| balance.unused);
        self.balances.retain(|_, balance| balance.spare > Amount::ZERO);
        self.balances.values_mut().for_each(|balance| balance.unused = balance.spare);
        unused
    }

    /// Returns the time until [`Self::take_unused`] has something to do, or `None` if there are no balances.
    pub(super) fn rest(&self) -> Option<Duration> {
        (!self.balances.is_empty()).then(|| UNUSED_LEASE_TIMEOUT.saturating_sub(self.looked.elapsed()))
    }

    fn take_out(
        &mut self,
        selector: impl Fn(&str, &str) -> bool,
        how_much: impl Fn(&LeasedBalance) -> Amount,
    ) -> Vec<UnusedLease> {
        let mut taken = Vec::new();
        for (key, balance) in
            self.balances.iter_mut().filter(|(key, balance)| selector(key, &balance.account))
        {
            let amount = how_much(balance).min(balance.spare);
            balance.spare = difference(balance.spare, amount);
            balance.unused = balance.unused.min(balance.spare);
            if amount > Amount::ZERO {
                taken.push(UnusedLease {
                    account: Arc::clone(&balance.account),
                    key: Arc::clone(key),
                    amount,
                });
            }
        }
        taken
    }
}

/// The time after which unused money is returned.
const UNUSED_LEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// The number of models of one key whose prices are remembered.
const MAX_TERMS: usize = 1024;
