//! Money: what calls may cost, what they have cost, and who has paid.
//!
//! A call is *held*: the most that it can cost is set aside, on the disk, before anything goes upstream. Then it
//! is *settled* at what it has cost, or *released*; either is written to the journal before the client is
//! told the end of the answer. What is held comes from a purse, which a *lease* has filled. [`Bill`] is one call's way through this, [`Ledger`] the books in which all
//! are kept, [`Books`] the same for reading, topping up and auditing.

mod audit;
mod batch;
#[cfg(test)]
mod beyond_tests;
mod bill;
mod books;
mod commit;
mod journal;
mod ledger;
mod price;
mod purse;
mod queue;
mod recover;
mod report;
#[cfg(test)]
mod tests;

use crate::canon::Usage;
use crate::money::Amount;

pub use audit::{Audit, Finding, Step};
pub use bill::{Bill, Charge, Expected};
pub use books::{Books, Wallet};
pub use ledger::{Held, Ledger, Refusal, Request};
pub use price::{Extras, Prices, RateSettings, TierSettings};
pub use report::{Report, Tally};

/// The number of a call, of which there is no other in the same store: an epoch, and a count in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct CallId(i64);

/// How a call has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct End {
    /// What it costs, which may be more than was held for it.
    charge: Amount,
    /// The part of it that other models have cost, at their own prices.
    others: Amount,
    /// Whether all of it was answered by another model, so that the usage is a part of `others`, too.
    elsewhere: bool,
    /// The version of the prices, where they are not the ones by which money was set aside.
    price: Option<i64>,
    outcome: Outcome,
    usage: Usage,
    /// Would it have cost more than it may be charged for?
    capped: bool,
    /// Was it answered in full?
    whole: bool,
}

/// By what a call was charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
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
    fn released() -> Self {
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
    /// The call of this number in an epoch.
    fn new(epoch: i64, count: u64) -> Self {
        Self(epoch << COUNT_BITS | (count.cast_signed() & ((1 << COUNT_BITS) - 1)))
    }
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Estimated => "estimated",
            Self::Recovered => "recovered",
            Self::Released => "released",
        }
    }
}

/// Bits for the calls of one epoch: a million million of them.
const COUNT_BITS: u32 = 40;

/// Where the journals are, below the data folder.
const JOURNALS: &str = "journal";
