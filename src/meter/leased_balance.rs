//! Leased balances: what this process may hold for the calls of each key without asking the store.
//!
//! A leased balance is filled by a lease, which stands in the store before anything is taken from it. So a call is let in
//! by a look into memory, and all processes together never hold more than there is. What is not needed for a
//! while goes back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::money::Amount;

use super::invariant::{Invariant, difference, violated};
use super::types::{PriceTerms, Request, UnusedLease};

/// The leased balances of all keys that have called lately.
#[derive(Debug)]
pub(super) struct LeasedBalances {
    balances: HashMap<Arc<str>, LeasedBalance>,
    looked: Instant,
}

#[derive(Debug)]
struct LeasedBalance {
    account: Arc<str>,
    /// What the key may spend in all, when the leased balance was filled.
    limit: Option<Amount>,
    /// What is leased and not held.
    spare: Amount,
    /// The least that was spare since somebody looked.
    unused: Amount,
    /// By model.
    terms: HashMap<Arc<str>, Arc<PriceTerms>>,
}

impl LeasedBalances {
    pub(super) fn new() -> Self {
        Self { balances: HashMap::new(), looked: Instant::now() }
    }

    /// Takes what a request wants, if there is as much for it and its terms are known.
    pub(super) fn take(&mut self, request: &Request) -> Option<Arc<PriceTerms>> {
        let balance = self.balances.get_mut(request.grant.id.as_str())?;
        let terms = balance.terms.get(&request.model).filter(|terms| terms.prices == request.prices)?;
        if balance.limit != request.grant.rights.spending_limit {
            return None;
        }
        balance.spare = balance.spare.checked_sub(request.wanted)?;
        balance.unused = balance.unused.min(balance.spare);
        Some(Arc::clone(terms))
    }

    /// Puts money into a key's leased balance: of a lease, or what a call has not needed.
    pub(super) fn put(&mut self, account: &Arc<str>, key: &Arc<str>, amount: Amount) {
        let balance = self.balance(account, key);
        match balance.spare.checked_add(amount) {
            Some(spare) => balance.spare = spare,
            // It stays leased, and nobody can spend it.
            None => {
                violated(Invariant::Amount, format_args!("a leased balance cannot take {amount} USD more"))
            }
        }
    }

    /// Remembers the terms on which a request was granted.
    pub(super) fn learn(&mut self, request: &Request, terms: &Arc<PriceTerms>) {
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

    /// Takes out what is spare in the leased balances of some keys and accounts.
    pub(super) fn empty(&mut self, selector: impl Fn(&str, &str) -> bool) -> Vec<UnusedLease> {
        self.take_out(selector, |balance| balance.spare)
    }

    /// Takes out what was not needed for a while, if it is time for that, and forgets leased balances that are empty then.
    pub(super) fn take_unused(&mut self) -> Vec<UnusedLease> {
        if self.looked.elapsed() < WHILE {
            return Vec::new();
        }
        self.looked = Instant::now();
        let unused = self.take_out(|_, _| true, |balance| balance.unused);
        self.balances.retain(|_, balance| balance.spare > Amount::ZERO);
        self.balances.values_mut().for_each(|balance| balance.unused = balance.spare);
        unused
    }

    /// How long until [`Self::take_unused`] has something to do; nothing where there are no leased balances.
    pub(super) fn rest(&self) -> Option<Duration> {
        (!self.balances.is_empty()).then(|| WHILE.saturating_sub(self.looked.elapsed()))
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

/// How long money may lie in a leased balance of which nobody takes it.
const WHILE: Duration = Duration::from_secs(1);

/// Models of one key whose terms are remembered.
const MAX_TERMS: usize = 1024;
