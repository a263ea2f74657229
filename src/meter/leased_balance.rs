//! Leased balances: the money that this process may hold for the calls of each key without asking the store.
//!
//! A balance is filled by a lease, which is in the store before anything is taken from the balance. So a call is
//! admitted by a look into memory, and all processes together never hold more than there is. A key has a balance for
//! each set of limits that its calls have had, and its calls take from the latest one. What is not needed for a while
//! is returned.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::auth::Budget;
use crate::money::Amount;

use super::invariant::{Invariant, difference, violated};
use super::types::{HoldRequest, LimitSet, PriceTerms, UnusedLease};

/// The leased balances of all keys with recent calls.
#[derive(Debug)]
pub(super) struct LeasedBalances {
    /// By their numbers.
    balances: HashMap<i64, LeasedBalance>,
    /// The balance from which the calls of a key take.
    latest: HashMap<Arc<str>, i64>,
    looked: Instant,
}

#[derive(Debug)]
struct LeasedBalance {
    limits: Arc<LimitSet>,
    /// The budgets of the key and its account when the balance was filled.
    budgets: Arc<[Budget]>,
    /// The times, in seconds since the epoch, of calls that belong to the windows of these limits.
    times: Range<i64>,
    /// Money that is leased and not held.
    spare: Amount,
    /// The lowest value of `spare` since [`LeasedBalances::take_unused`] last looked.
    unused: Amount,
    /// The prices of each model.
    terms: HashMap<Arc<str>, Arc<PriceTerms>>,
}

impl LeasedBalance {
    /// Whether a call has these limits.
    fn limits(&self, request: &HoldRequest) -> bool {
        let HoldRequest { grant, time, needs_wallet, .. } = request;
        *self.limits.account == *grant.account
            && (self.limits.has_wallet || !grant.has_wallet && !needs_wallet)
            && self.times.contains(time)
            && (Arc::ptr_eq(&self.budgets, &grant.budgets) || self.budgets == grant.budgets)
    }
}

impl LeasedBalance {
    /// Takes out a part of the spare money, if that is more than nothing.
    fn take(&mut self, amount: Amount) -> Option<UnusedLease> {
        self.spare = difference(self.spare, amount);
        self.unused = self.unused.min(self.spare);
        (amount > Amount::ZERO).then(|| UnusedLease { limits: Arc::clone(&self.limits), amount })
    }
}

impl LeasedBalances {
    pub(super) fn new() -> Self {
        Self { balances: HashMap::new(), latest: HashMap::new(), looked: Instant::now() }
    }

    /// Takes what a request wants, if there is as much and the limits and the prices are known.
    pub(super) fn take(&mut self, request: &HoldRequest) -> Option<Arc<PriceTerms>> {
        let latest = self.latest.get(request.grant.id.as_str())?;
        let balance = self.balances.get_mut(latest).filter(|balance| balance.limits(request))?;
        let terms = balance.terms.get(&request.model).filter(|terms| terms.prices == request.prices)?;
        balance.spare = balance.spare.checked_sub(request.wanted)?;
        balance.unused = balance.unused.min(balance.spare);
        Some(Arc::clone(terms))
    }

    /// Adds money to a balance: from a lease, or what a call has not needed.
    pub(super) fn deposit(&mut self, limits: &Arc<LimitSet>, amount: Amount) {
        let balance = self.balance(limits);
        match balance.spare.checked_add(amount) {
            Some(spare) => balance.spare = spare,
            // It stays leased, and nobody can spend it.
            None => {
                violated(Invariant::Amount, format_args!("a leased balance cannot take {amount} USD more"));
            }
        }
    }

    /// Remembers the limits and the prices of a request that was granted.
    pub(super) fn learn(&mut self, request: &HoldRequest, terms: &Arc<PriceTerms>) {
        let limits = &terms.limits;
        self.latest.insert(Arc::clone(&limits.key), limits.number);
        let balance = self.balance(limits);
        if balance.budgets != request.grant.budgets || balance.times.is_empty() {
            balance.budgets = Arc::clone(&request.grant.budgets);
            balance.times = times(&balance.budgets, request.time);
        }
        if balance.terms.len() >= MAX_TERMS {
            balance.terms.clear();
        }
        balance.terms.insert(Arc::clone(&terms.billing.model), Arc::clone(terms));
    }

    fn balance(&mut self, limits: &Arc<LimitSet>) -> &mut LeasedBalance {
        self.balances.entry(limits.number).or_insert_with(|| LeasedBalance {
            limits: Arc::clone(limits),
            budgets: Arc::default(),
            times: 0..0,
            spare: Amount::ZERO,
            unused: Amount::ZERO,
            terms: HashMap::new(),
        })
    }

    /// Takes out all spare money of a key's balances. Returns it, and whether others that share a limit with it have some.
    pub(super) fn empty_key(&mut self, account: &str, key: &str) -> (Vec<UnusedLease>, bool) {
        let (mut own, mut have_spare) = (Vec::new(), false);
        for balance in self.balances.values_mut().filter(|balance| balance.spare > Amount::ZERO) {
            if *balance.limits.key == *key {
                own.extend(balance.take(balance.spare));
            } else {
                have_spare |= balance.limits.shares(account, key);
            }
        }
        (own, have_spare)
    }

    /// Takes out all spare money of the selected balances.
    pub(super) fn empty(&mut self, selector: impl Fn(&LimitSet) -> bool) -> Vec<UnusedLease> {
        self.take_out(selector, |balance| balance.spare)
    }

    /// Takes out what was not needed for [`UNUSED_LEASE_TIMEOUT`], once that time is over, and forgets empty balances.
    pub(super) fn take_unused(&mut self) -> Vec<UnusedLease> {
        if self.looked.elapsed() < UNUSED_LEASE_TIMEOUT {
            return Vec::new();
        }
        self.looked = Instant::now();
        let unused = self.take_out(|_| true, |balance| balance.unused);
        self.balances.retain(|_, balance| balance.spare > Amount::ZERO);
        self.latest.retain(|_, number| self.balances.contains_key(number));
        self.balances.values_mut().for_each(|balance| balance.unused = balance.spare);
        unused
    }

    /// Returns the time until [`Self::take_unused`] has something to do, or `None` if there are no balances.
    pub(super) fn rest(&self) -> Option<Duration> {
        (!self.balances.is_empty()).then(|| UNUSED_LEASE_TIMEOUT.saturating_sub(self.looked.elapsed()))
    }

    fn take_out(
        &mut self,
        selector: impl Fn(&LimitSet) -> bool,
        how_much: impl Fn(&LeasedBalance) -> Amount,
    ) -> Vec<UnusedLease> {
        let selected = self.balances.values_mut().filter(|balance| selector(&balance.limits));
        selected.filter_map(|balance| balance.take(how_much(balance).min(balance.spare))).collect()
    }
}

/// Returns the times that belong to the same windows of these budgets as this one.
fn times(budgets: &[Budget], time: i64) -> Range<i64> {
    let windows = budgets.iter().filter_map(|Budget { period, .. }| {
        let start = period.start(time);
        period.end(start).map(|end| (start.saturating_mul(SECONDS_PER_DAY), end))
    });
    windows.fold(i64::MIN..i64::MAX, |all, (start, end)| all.start.max(start)..all.end.min(end))
}

/// The time after which unused money is returned.
const UNUSED_LEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// The number of models of one key whose prices are remembered.
const MAX_TERMS: usize = 1024;

const SECONDS_PER_DAY: i64 = 86_400;
