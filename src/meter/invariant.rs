//! Invariants of the ledger, which hold whatever clients and providers do, unless the gateway has a defect.
//!
//! A violation stops a build with debug assertions, and so every test. A release build counts it, logs it, and
//! continues on the safe side: no money is given away. If a charge cannot be computed, the whole hold is charged;
//! if a hold cannot be made, the call is refused.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::money::Amount;

/// An invariant of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    /// A call that is paid for has prices.
    NoPrices,
    /// The prices of a call are among those for which money was set aside, and in the store.
    UnknownPrice,
    /// A price list can be written.
    UnwritablePrices,
    /// A target with prices is only asked when money is set aside.
    UnheldCall,
    /// Sums of money fit, and a part is no larger than its whole.
    Amount,
    /// No more is leased than an account has.
    Overleased,
    /// Money only moves between accounts and keys that the store knows.
    MissingRow,
    /// No more calls end than have begun.
    OpenHolds,
    /// Every call has a number of its own.
    CallNumbers,
    /// Each fact of a call fits into a record of the journal.
    Record,
    /// The store takes over no more records than were written.
    Journal,
    /// Whoever waits for the store gets exactly one answer.
    Answers,
}

impl Invariant {
    /// All of them, in their order.
    const ALL: [Self; 12] = [
        Self::NoPrices,
        Self::UnknownPrice,
        Self::UnwritablePrices,
        Self::UnheldCall,
        Self::Amount,
        Self::Overleased,
        Self::MissingRow,
        Self::OpenHolds,
        Self::CallNumbers,
        Self::Record,
        Self::Journal,
        Self::Answers,
    ];

    /// The name, for metrics and the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoPrices => "no_prices",
            Self::UnknownPrice => "unknown_price",
            Self::UnwritablePrices => "unwritable_prices",
            Self::UnheldCall => "unheld_call",
            Self::Amount => "amount",
            Self::Overleased => "overleased",
            Self::MissingRow => "missing_row",
            Self::OpenHolds => "open_holds",
            Self::CallNumbers => "call_numbers",
            Self::Record => "record",
            Self::Journal => "journal",
            Self::Answers => "answers",
        }
    }
}

/// Violations in this process so far, of each invariant in the order of [`Invariant::ALL`].
static VIOLATIONS: [AtomicU64; Invariant::ALL.len()] = [const { AtomicU64::new(0) }; Invariant::ALL.len()];

/// The number of violations of each invariant in this process: none, unless the gateway has a defect.
pub fn violations() -> impl Iterator<Item = (Invariant, u64)> {
    Invariant::ALL.into_iter().zip(VIOLATIONS.iter().map(|count| count.load(Ordering::Relaxed)))
}

/// Reports that an invariant is violated. The caller then takes the safe side.
pub(crate) fn violated(which: Invariant, details: impl fmt::Display) {
    if let Some(count) = VIOLATIONS.get(which as usize) {
        count.fetch_add(1, Ordering::Relaxed);
    }
    let which_name = which.as_str();
    log::error!(
        "ledger: the invariant '{which_name}' is violated, which is a defect of the gateway: {details}"
    );
    #[cfg(test)]
    if expected::note(which) {
        return;
    }
    debug_assert!(false, "the invariant '{which_name}' is violated: {details}");
}

/// Adds amounts; the largest amount if the sum does not fit.
pub(super) fn sum(a: Amount, b: Amount) -> Amount {
    a.checked_add(b).unwrap_or_else(|| {
        violated(Invariant::Amount, format_args!("{a} and {b} USD do not fit"));
        Amount::MAX
    })
}

/// Subtracts a part from its whole; nothing is left if the part is larger.
pub(super) fn difference(whole: Amount, part: Amount) -> Amount {
    whole.checked_sub(part).unwrap_or_else(|| {
        violated(Invariant::Amount, format_args!("{part} USD is more than the whole, {whole} USD"));
        Amount::ZERO
    })
}

/// Violations that a test provokes, to see the safe side.
#[cfg(test)]
pub(super) mod expected {
    use std::cell::RefCell;

    use super::Invariant;

    thread_local! {
        static SEEN: RefCell<Option<Vec<Invariant>>> = const { RefCell::new(None) };
    }

    /// Acts as a release build does, on this thread; gives what was violated too.
    pub(in crate::meter) fn violations<T>(act: impl FnOnce() -> T) -> (T, Vec<Invariant>) {
        SEEN.set(Some(Vec::new()));
        let done = act();
        (done, SEEN.take().unwrap_or_default())
    }

    /// Notes a violation; gives whether a test expects it.
    pub(super) fn note(which: Invariant) -> bool {
        SEEN.with_borrow_mut(|seen| seen.as_mut().map(|seen| seen.push(which)).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_invariant_has_its_count_and_its_name() {
        for (n, which) in Invariant::ALL.into_iter().enumerate() {
            assert_eq!(which as usize, n);
            let count = || violations().find(|(other, _)| *other == which).unwrap().1;
            let before = count();
            let ((), seen) = expected::violations(|| violated(which, "a test"));
            assert!(count() > before && seen == [which]);
        }
        let mut names = Invariant::ALL.map(Invariant::as_str).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Invariant::ALL.len());
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "'amount' is violated")]
    fn a_violation_stops_a_test() {
        difference(Amount::ZERO, Amount::MAX);
    }

    #[test]
    fn amounts_that_do_not_fit_are_reported() {
        let (sum, seen) = expected::violations(|| sum(Amount::MAX, Amount::from_nano(1)));
        assert_eq!((sum, seen), (Amount::MAX, vec![Invariant::Amount]));
        let (rest, seen) = expected::violations(|| difference(Amount::ZERO, Amount::from_nano(1)));
        assert_eq!((rest, seen), (Amount::ZERO, vec![Invariant::Amount]));
    }
}
