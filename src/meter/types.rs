//! The words that the parts of the ledger share: calls and how they end, who pays by which prices, and what is lent.

use std::sync::Arc;

use crate::auth::Grant;
use crate::canon::{Rates, Usage};
use crate::money::Amount;

use super::invariant::{Invariant, violated};
use super::price::Prices;

/// The number of a call, of which there is no other in the same store: an epoch, and a count in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct CallId(pub(super) i64);

/// How a call has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// What it costs, which may be more than was held for it.
    pub(super) charge: Amount,
    /// The part of it that other models have cost, at their own prices.
    pub(super) others: Amount,
    /// Whether all of it was answered by another model, so that the usage is a part of `others`, too.
    pub(super) elsewhere: bool,
    /// The version of the prices, where they are not the ones by which money was set aside.
    pub(super) price: Option<i64>,
    pub(super) outcome: Outcome,
    pub(super) usage: Usage,
    /// Would it have cost more than it may be charged for?
    pub(super) capped: bool,
    /// Was it answered in full?
    pub(super) whole: bool,
}

/// By what a call was charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// By the usage that its provider has reported.
    Exact,
    /// By what had gone either way.
    Estimated,
    /// The same, by a process that found it unfinished.
    Recovered,
    /// It has failed and costs nothing.
    Released,
}

impl End {
    /// The end of a call that costs nothing.
    pub(super) fn released() -> Self {
        let usage = Usage::default();
        Self {
            charge: Amount::ZERO,
            others: Amount::ZERO,
            elsewhere: false,
            price: None,
            outcome: Outcome::Released,
            usage,
            capped: false,
            whole: false,
        }
    }
}

impl CallId {
    /// The call of this number in an epoch; nothing where there are no numbers left.
    pub(super) fn new(epoch: i64, count: u64) -> Option<Self> {
        let [first, last] = Self::range(epoch);
        let call = first.checked_add_unsigned(count).filter(|call| (0..=last).contains(call)).map(Self);
        if call.is_none() {
            violated(Invariant::CallNumbers, format_args!("call {count} of epoch {epoch}"));
        }
        call
    }

    /// The first and the last number that a call of an epoch can have.
    pub(super) fn range(epoch: i64) -> [i64; 2] {
        [epoch << COUNT_BITS, epoch << COUNT_BITS | ((1 << COUNT_BITS) - 1)]
    }
}

impl Outcome {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Estimated => "estimated",
            Self::Recovered => "recovered",
            Self::Released => "released",
        }
    }
}

/// What a call may cost, and who pays.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who pays.
    pub grant: Grant,
    /// The model that is charged for.
    pub model: Arc<str>,
    /// Its prices, at each of the targets that may answer.
    pub prices: Vec<Arc<Prices>>,
    /// The most that it can cost.
    pub wanted: Amount,
    /// What it can be made to cost at most, by a lower limit of its output.
    pub least: Amount,
    /// Tokens of the prompt, estimated.
    pub prompt: u64,
    /// The rates that it asks for.
    pub rates: Rates,
}

/// Money that is set aside for one call.
#[derive(Clone, Debug)]
pub struct Held {
    pub(super) call: CallId,
    /// How much.
    pub amount: Amount,
    /// Who pays, and by which prices.
    pub(super) terms: Arc<PriceTerms>,
}

/// Why nothing is set aside for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The account has no wallet.
    NoWallet,
    /// It does not have as much. This is its balance.
    Balance(Amount),
    /// It has, but other calls in flight hold it.
    InFlight(Amount),
    /// The key may not spend as much in all.
    Limit(Amount),
    /// The store can not be written.
    Store,
}

/// Who pays for which model, and by which prices: a row of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BillingKey {
    pub(super) account: Arc<str>,
    pub(super) key: Arc<str>,
    pub(super) model: Arc<str>,
    /// The version of the prices.
    pub(super) price: i64,
}

/// What the calls of a key to a model are charged by.
#[derive(Debug)]
pub(super) struct PriceTerms {
    /// The number of the billing key.
    pub(super) number: i64,
    pub(super) billing: Arc<BillingKey>,
    /// At each of the targets that may answer; the first is the billing key's.
    pub(super) prices: Vec<Arc<Prices>>,
    /// Their versions.
    pub(super) versions: Vec<i64>,
}

/// Money that was taken out of a leased balance, to be given back to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnusedLease {
    pub(super) account: Arc<str>,
    pub(super) key: Arc<str>,
    pub(super) amount: Amount,
}

/// Money that is lent for one call, and the terms of it.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) terms: Arc<PriceTerms>,
    pub(super) amount: Amount,
}

/// A call in flight.
#[derive(Clone, Debug)]
pub(super) struct OpenHold {
    pub(super) call: CallId,
    pub(super) billing: Arc<BillingKey>,
    pub(super) amount: Amount,
    /// Tokens, estimated.
    pub(super) prompt: u64,
    /// What was asked for.
    pub(super) rates: Rates,
}

/// BalanceSelector leased balances are to be emptied.
#[derive(Clone, Copy, Debug)]
pub(super) enum BalanceSelector<'a> {
    Key(&'a str),
    Account(&'a str),
}

/// Bits for the calls of one epoch: a million million of them.
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
        for source in [include_str!("audit.rs"), include_str!("recover.rs"), include_str!("batch.rs")] {
            let by_value = |rest: &&str| rest.starts_with(|c: char| c.is_ascii_digit());
            assert_eq!(source.split("call >> ").skip(1).find(by_value), None);
        }
    }
}
