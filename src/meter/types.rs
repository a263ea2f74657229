//! Types that the parts of the ledger share: calls and their ends, billing keys and prices, holds and leases.

use std::sync::Arc;

use crate::auth::{Budget, BudgetOwner, Grant, Period};
use crate::canon::{Rates, Usage};
use crate::money::Amount;

use super::invariant::{Invariant, violated};
use super::price::Prices;
use super::report::Tally;
use super::usage::{ServedBy, UsageSums};

/// The number of a call, unique in its store: an epoch in the upper bits, and a count in the lower [`COUNT_BITS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct CallId(pub(super) i64);

/// The end of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CallEnd {
    /// The charge, which may be more than the hold.
    pub(super) charge: Amount,
    /// The part of the charge that is due to other models, at their own prices.
    pub(super) others: Amount,
    /// Whether another model has answered, so that `others` includes the usage.
    pub(super) elsewhere: bool,
    /// The version of the prices; absent for the version of the billing key.
    pub(super) price: Option<i64>,
    pub(super) outcome: ChargeBasis,
    pub(super) usage: Usage,
    /// Whether the call would have cost more than its charge.
    pub(super) capped: bool,
    /// Whether the call was answered in full.
    pub(super) whole: bool,
    /// The model and the provider that have answered. They are not in the journal.
    pub(super) served: Option<ServedBy>,
}

/// The basis of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChargeBasis {
    /// The usage that the provider has reported.
    Exact,
    /// An estimate from the bytes in both directions.
    Estimated,
    /// An estimate by a process that found the call unfinished.
    Recovered,
    /// Nothing: the call has failed.
    Released,
}

impl CallEnd {
    /// Returns the end of a call that costs nothing.
    pub(super) fn released() -> Self {
        let usage = Usage::default();
        Self {
            charge: Amount::ZERO,
            others: Amount::ZERO,
            elsewhere: false,
            price: None,
            outcome: ChargeBasis::Released,
            usage,
            capped: false,
            whole: false,
            served: None,
        }
    }
}

impl CallId {
    /// Returns the number of a call in an epoch, or `None` if the epoch has no numbers left.
    pub(super) fn new(epoch: i64, count: u64) -> Option<Self> {
        let [first, last] = Self::range(epoch);
        let call = first.checked_add_unsigned(count).filter(|call| (0..=last).contains(call)).map(Self);
        if call.is_none() {
            violated(Invariant::CallNumbers, format_args!("call {count} of epoch {epoch}"));
        }
        call
    }

    /// Returns the first and the last number that a call of an epoch can have.
    pub(super) fn range(epoch: i64) -> [i64; 2] {
        [epoch << COUNT_BITS, epoch << COUNT_BITS | ((1 << COUNT_BITS) - 1)]
    }
}

impl ChargeBasis {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Estimated => "estimated",
            Self::Recovered => "recovered",
            Self::Released => "released",
        }
    }
}

/// A request to set money aside for a call.
#[derive(Clone, Debug)]
pub struct HoldRequest {
    /// The key that pays.
    pub grant: Grant,
    /// The model of the call.
    pub model: Arc<str>,
    /// The prices at each of the targets that may answer, the first target's first.
    pub prices: Vec<Arc<Prices>>,
    /// The highest possible cost of the call.
    pub wanted: Amount,
    /// The highest possible cost if the output is limited to the least that is useful.
    pub least: Amount,
    /// An estimate of the prompt's tokens.
    pub prompt: u64,
    /// The rates that the call asks for.
    pub rates: Rates,
    /// The time at which the call began, in seconds since the epoch: it belongs to the windows of budgets then.
    pub time: i64,
    /// Whether the account needs a wallet.
    pub needs_wallet: bool,
}

/// Money that is set aside for one call.
#[derive(Clone, Debug)]
pub struct HeldMoney {
    pub(super) call: CallId,
    /// The amount.
    pub amount: Amount,
    /// The billing key and the prices.
    pub(super) terms: Arc<PriceTerms>,
}

impl HeldMoney {
    /// Returns the hold, without what only an estimate needs.
    pub(super) fn open_hold(&self) -> OpenHold {
        let (billing, limits) = (Arc::clone(&self.terms.billing), Arc::clone(&self.terms.limits));
        let rates = Rates::default();
        OpenHold { call: self.call, billing, limits, amount: self.amount, prompt: 0, rates }
    }
}

/// The reason for which no money is set aside for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldRefusal {
    /// The account has no wallet.
    NoWallet,
    /// The wallet or a hard budget has too little left.
    Exceeded(Shortage),
    /// The wallet or a hard budget has enough left, but other calls in flight hold too much of it.
    InFlight(Shortage),
    /// The store or the journal cannot be written, or an invariant of the ledger is violated.
    Store,
}

impl HoldRefusal {
    /// Adds the output tokens for which what is left would suffice, as `affordable` counts them.
    pub(super) fn with_output(self, affordable: impl Fn(Amount) -> u64) -> Self {
        let with = |shortage: Shortage| Shortage {
            output: Some(affordable(shortage.left)).filter(|&tokens| tokens > 0),
            ..shortage
        };
        match self {
            Self::Exceeded(shortage) => Self::Exceeded(with(shortage)),
            other => other,
        }
    }
}

/// A call that nobody pays for.
#[derive(Debug)]
pub(super) struct CountedCall {
    pub(super) key: Grant,
    pub(super) tally: Tally,
    pub(super) sums: UsageSums,
    pub(super) served: Option<ServedBy>,
    /// The windows of budgets to which it belongs.
    pub(super) windows: Vec<BudgetWindow>,
}

/// A limit that has too little left for a call: the tightest one, of equal ones the key's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// The limit.
    pub limit: MoneyLimit,
    /// The balance of the wallet, or the limit of the budget.
    pub total: Amount,
    /// The part that is not spent.
    pub left: Amount,
    /// The part of that which calls in flight do not hold.
    pub free: Amount,
    /// The money that the call needs at least.
    pub needs: Amount,
    /// The output tokens for which the rest would suffice, if it suffices for the prompt.
    pub output: Option<u64>,
}

/// The kind of a limit of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoneyLimit {
    /// The wallet of the account.
    Wallet,
    /// A budget, and the time at which its next window begins, in seconds since the epoch.
    Budget(BudgetOwner, Period, Option<i64>),
}

/// The limits from which the money for calls of a key is leased together: a balance of the store.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LimitSet {
    /// The number of the balance in the store.
    pub(super) number: i64,
    pub(super) account: Arc<str>,
    pub(super) key: Arc<str>,
    pub(super) has_wallet: bool,
    pub(super) windows: Vec<BudgetWindow>,
}

impl LimitSet {
    /// Whether these have a limit in common with those of a key of an account.
    pub(super) fn shares(&self, account: &str, key: &str) -> bool {
        *self.account == *account || *self.key == *key
    }
}

impl BudgetWindow {
    /// Returns the windows of these budgets to which a time belongs.
    pub(super) fn at(time: i64, budgets: &[Budget]) -> Vec<Self> {
        let window = |budget: &Budget| Self { budget: budget.id, start: budget.period.start(time) };
        budgets.iter().map(window).collect()
    }
}

/// One period of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct BudgetWindow {
    pub(super) budget: i64,
    /// The first day, in days since the epoch.
    pub(super) start: i64,
}

/// An account, key, model and price version: the row of the store to which a call is charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BillingKey {
    pub(super) account: Arc<str>,
    pub(super) key: Arc<str>,
    pub(super) model: Arc<str>,
    /// The version of the prices.
    pub(super) price: i64,
}

/// The prices of a key's calls to a model, with their versions in the store.
#[derive(Debug)]
pub(super) struct PriceTerms {
    /// The number of the billing key in the store.
    pub(super) number: i64,
    pub(super) billing: Arc<BillingKey>,
    pub(super) limits: Arc<LimitSet>,
    /// The prices at each target that may answer; the first are those of the billing key.
    pub(super) prices: Vec<Arc<Prices>>,
    /// The version of each of the prices.
    pub(super) versions: Vec<i64>,
}

/// Money taken out of a [leased balance](super::leased_balance), to be returned to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnusedLease {
    pub(super) limits: Arc<LimitSet>,
    pub(super) amount: Amount,
}

/// Money that is leased for one call, and its prices.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) terms: Arc<PriceTerms>,
    pub(super) amount: Amount,
}

/// The hold of a call in flight.
#[derive(Clone, Debug)]
pub(super) struct OpenHold {
    pub(super) call: CallId,
    pub(super) billing: Arc<BillingKey>,
    pub(super) limits: Arc<LimitSet>,
    pub(super) amount: Amount,
    /// An estimate of the prompt's tokens.
    pub(super) prompt: u64,
    /// The rates that the call asks for.
    pub(super) rates: Rates,
}

/// Bits of a [`CallId`] that count the calls of one epoch: about 10^12 calls. Stored numbers depend on it.
pub(super) const COUNT_BITS: u32 = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_an_epoch_are_those_that_the_store_takes_for_it() {
        let [first, last] = CallId::range(7);
        assert_eq!((first >> COUNT_BITS, last >> COUNT_BITS, (last + 1) >> COUNT_BITS), (7, 7, 8));
        assert_eq!(CallId::new(7, 0), Some(CallId(first)));
        assert_eq!(CallId::new(7, last.abs_diff(first)), Some(CallId(last)));
        // A migration has run as it stands, and cannot be told the number.
        let migration = include_str!("../store/3_leases.sql");
        let shifts: Vec<_> = migration.split("call >> ").skip(1).collect();
        assert!(!shifts.is_empty() && shifts.iter().all(|rest| rest.starts_with(&format!("{COUNT_BITS}"))));
        for source in [
            include_str!("audit.rs"),
            include_str!("vault/sqlite/restate.rs"),
            include_str!("vault/sqlite/write.rs"),
        ] {
            let by_value = |rest: &&str| rest.starts_with(|c: char| c.is_ascii_digit());
            assert_eq!(source.split("call >> ").skip(1).find(by_value), None);
        }
    }
}
