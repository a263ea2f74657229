//! Purses: what this process may hold for the calls of each key without asking the store.
//!
//! A purse is filled by a lease, which stands in the store before anything is taken from it. So a call is let in
//! by a look into memory, and all processes together never hold more than there is. What is not needed for a
//! while goes back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::money::Amount;

use super::invariant::{Invariant, difference, violated};
use super::types::{Request, Spare, Terms};

/// The purses of all keys that have called lately.
#[derive(Debug)]
pub(super) struct Purses {
    purses: HashMap<Arc<str>, Purse>,
    looked: Instant,
}

#[derive(Debug)]
struct Purse {
    account: Arc<str>,
    /// What the key may spend in all, when the purse was filled.
    limit: Option<Amount>,
    /// What is leased and not held.
    spare: Amount,
    /// The least that was spare since somebody looked.
    unused: Amount,
    /// By model.
    terms: HashMap<Arc<str>, Arc<Terms>>,
}

impl Purses {
    pub(super) fn new() -> Self {
        Self { purses: HashMap::new(), looked: Instant::now() }
    }

    /// Takes what a request wants, if there is as much for it and its terms are known.
    pub(super) fn take(&mut self, request: &Request) -> Option<Arc<Terms>> {
        let purse = self.purses.get_mut(request.grant.id.as_str())?;
        let terms = purse.terms.get(&request.model).filter(|terms| terms.prices == request.prices)?;
        if purse.limit != request.grant.rights.spending_limit {
            return None;
        }
        purse.spare = purse.spare.checked_sub(request.wanted)?;
        purse.unused = purse.unused.min(purse.spare);
        Some(Arc::clone(terms))
    }

    /// Puts money into a key's purse: of a lease, or what a call has not needed.
    pub(super) fn put(&mut self, account: &Arc<str>, key: &Arc<str>, amount: Amount) {
        let purse = self.purse(account, key);
        match purse.spare.checked_add(amount) {
            Some(spare) => purse.spare = spare,
            // It stays leased, and nobody can spend it.
            None => violated(Invariant::Amount, format_args!("a purse cannot take {amount} USD more")),
        }
    }

    /// Remembers the terms on which a request was granted.
    pub(super) fn learn(&mut self, request: &Request, terms: &Arc<Terms>) {
        let purse = self.purse(&terms.tab.account, &terms.tab.key);
        purse.limit = request.grant.rights.spending_limit;
        if purse.terms.len() >= MOST_TERMS {
            purse.terms.clear();
        }
        purse.terms.insert(Arc::clone(&terms.tab.model), Arc::clone(terms));
    }

    fn purse(&mut self, account: &Arc<str>, key: &Arc<str>) -> &mut Purse {
        self.purses.entry(Arc::clone(key)).or_insert_with(|| Purse {
            account: Arc::clone(account),
            limit: None,
            spare: Amount::ZERO,
            unused: Amount::ZERO,
            terms: HashMap::new(),
        })
    }

    /// Takes out what is spare in the purses of some keys and accounts.
    pub(super) fn empty(&mut self, whose: impl Fn(&str, &str) -> bool) -> Vec<Spare> {
        self.take_out(whose, |purse| purse.spare)
    }

    /// Takes out what was not needed for a while, if it is time for that, and forgets purses that are empty then.
    pub(super) fn take_unused(&mut self) -> Vec<Spare> {
        if self.looked.elapsed() < WHILE {
            return Vec::new();
        }
        self.looked = Instant::now();
        let unused = self.take_out(|_, _| true, |purse| purse.unused);
        self.purses.retain(|_, purse| purse.spare > Amount::ZERO);
        self.purses.values_mut().for_each(|purse| purse.unused = purse.spare);
        unused
    }

    /// How long until [`Self::take_unused`] has something to do; nothing where there are no purses.
    pub(super) fn rest(&self) -> Option<Duration> {
        (!self.purses.is_empty()).then(|| WHILE.saturating_sub(self.looked.elapsed()))
    }

    fn take_out(
        &mut self,
        whose: impl Fn(&str, &str) -> bool,
        how_much: impl Fn(&Purse) -> Amount,
    ) -> Vec<Spare> {
        let mut taken = Vec::new();
        for (key, purse) in self.purses.iter_mut().filter(|(key, purse)| whose(key, &purse.account)) {
            let amount = how_much(purse).min(purse.spare);
            purse.spare = difference(purse.spare, amount);
            purse.unused = purse.unused.min(purse.spare);
            if amount > Amount::ZERO {
                taken.push(Spare { account: Arc::clone(&purse.account), key: Arc::clone(key), amount });
            }
        }
        taken
    }
}

/// How long money may lie in a purse of which nobody takes it.
const WHILE: Duration = Duration::from_secs(1);

/// Models of one key whose terms are remembered.
const MOST_TERMS: usize = 1024;
