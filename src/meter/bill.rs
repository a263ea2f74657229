//! One call's bill: what was set aside for it, and how it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::auth::Grant;
use crate::canon::Usage;
use crate::money::Amount;

use super::ledger::{Held, Ledger, Refusal, Request};
use super::price::Prices;
use super::purse::Terms;
use super::report::Tally;
use super::{End, Outcome};

/// What is to be paid for one call. It ends exactly once: settled, broken off or released. One that is
/// dropped before ends as a call whose client is gone.
#[derive(Debug)]
pub struct Bill {
    ledger: Ledger,
    grant: Grant,
    held: Option<Holding>,
    expected: Expected,
    /// Tokens of the answer that have been passed on, estimated.
    delivered: u64,
    /// Tokens of it that its provider is presumed to have written by now, seen or not.
    presumed: u64,
    /// Has the request gone upstream?
    forwarded: bool,
    marked: Instant,
    ended: Option<Charge>,
}

/// Money that is set aside.
#[derive(Debug)]
struct Holding {
    held: Held,
    /// Which of its prices hold.
    current: usize,
}

/// The size of a call, as far as it is known before it is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Tokens that the prompt surely does not exceed.
    pub prompt_most: u64,
    /// Tokens that the prompt is likely to have.
    pub prompt: u64,
    /// Tokens that the answer can not exceed.
    pub output_most: u64,
    /// Tokens to which the answer may be limited if there is no money for more.
    pub output_least: u64,
}

/// What a call has cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The cost.
    pub amount: Amount,
    /// The tokens that were charged for.
    pub usage: Usage,
}

impl Bill {
    /// The bill of a call that costs nothing.
    #[must_use]
    pub fn free(ledger: &Ledger, grant: &Grant, expected: Expected) -> Self {
        Self {
            ledger: ledger.clone(),
            grant: Arc::clone(grant),
            held: None,
            expected,
            delivered: 0,
            presumed: 0,
            forwarded: false,
            marked: Instant::now(),
            ended: None,
        }
    }

    /// Sets aside what a call can cost, at the dearest of some prices; the first hold for now. When this returns,
    /// it stands on the disk.
    ///
    /// # Errors
    /// Why it is not possible.
    pub async fn open(
        ledger: &Ledger,
        grant: &Grant,
        model: &str,
        prices: Vec<Arc<Prices>>,
        expected: Expected,
    ) -> Result<Self, Refusal> {
        let mut bill = Self::free(ledger, grant, expected);
        let dearest = |output| {
            prices.iter().map(|prices| prices.ceiling(expected.prompt_most, output)).max().unwrap_or_default()
        };
        let held = ledger.hold(Request {
            grant: Arc::clone(grant),
            model: model.into(),
            wanted: dearest(expected.output_most),
            least: dearest(expected.output_least),
            prices,
            prompt: expected.prompt,
        });
        bill.held = Some(Holding { held: held.await?, current: 0 });
        Ok(bill)
    }

    /// Another target answers the call: from now on, these of the prices hold.
    pub fn charge_by(&mut self, prices: &Prices) {
        if let Some(holding) = &mut self.held
            && let Some(place) = holding.held.terms.prices.iter().position(|known| **known == *prices)
        {
            holding.current = place;
        }
        // What the earlier one has done is not paid for.
        (self.delivered, self.presumed, self.forwarded) = (0, 0, false);
    }

    /// Tokens that the answer may have: what was asked for, or what is paid for.
    #[must_use]
    pub fn output_cap(&self) -> u64 {
        let most = self.expected.output_most;
        let affordable = |holding: &Holding| {
            let prices = holding.held.terms.prices.get(holding.current);
            prices.map_or(most, |prices| prices.affordable(self.expected.prompt_most, holding.held.amount))
        };
        self.held.as_ref().map_or(most, |holding| affordable(holding).min(most))
    }

    /// The request goes upstream: from now on, its provider may charge for it.
    pub fn forward(&mut self) {
        self.forwarded = true;
    }

    /// So many tokens of the answer have been passed on in all, estimated.
    pub fn deliver(&mut self, tokens: u64) {
        self.delivered = tokens;
        if let Some(Holding { held, .. }) = &self.held
            && self.marked.elapsed() >= MARK_EVERY
        {
            self.marked = Instant::now();
            self.ledger.mark(held, tokens);
        }
    }

    /// Whether money is held.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Whoever has waited for the answer is gone, and its provider is presumed to have written so many tokens by now,
    /// seen or not. It cannot have written more than was asked for and is held.
    pub fn presume(&mut self, tokens: u64) {
        self.presumed = tokens.min(self.output_cap());
    }

    /// The answer is whole. When this returns, its end may be passed on.
    pub fn settle(&mut self, usage: Option<Usage>) {
        match usage {
            Some(usage) => self.end(usage, Outcome::Exact, true),
            None => self.end(self.estimate(), Outcome::Estimated, true),
        }
    }

    /// The call breaks off, because the client is gone or the provider has failed in the middle. Charged is what
    /// has gone either way, if anything has.
    pub fn break_off(&mut self, usage: Option<Usage>) {
        if !self.forwarded {
            return self.release();
        }
        let estimate = self.estimate();
        let usage = match usage {
            // What a provider says before it is done may count only the beginning of its answer.
            Some(usage) if usage.prompt() > 0 => Usage { output: usage.output.max(estimate.output), ..usage },
            _ => estimate,
        };
        self.end(usage, Outcome::Estimated, false);
    }

    /// The call has failed and costs nothing.
    pub fn release(&mut self) {
        self.end(Usage::default(), Outcome::Released, false);
    }

    /// What the call has cost; nothing before it has ended.
    #[must_use]
    pub fn charge(&self) -> Option<Charge> {
        self.ended
    }

    fn estimate(&self) -> Usage {
        let output = self.delivered.max(self.presumed);
        Usage { input: self.expected.prompt, output, ..Usage::default() }
    }

    fn end(&mut self, usage: Usage, outcome: Outcome, whole: bool) {
        if self.ended.is_some() {
            return;
        }
        let usage = plausible(usage);
        let Some(Holding { held, current }) = &self.held else {
            self.ended = Some(Charge { amount: Amount::ZERO, usage });
            return self.ledger.count(&self.grant, Tally::of(&usage, Amount::ZERO, whole));
        };
        let Terms { prices, versions, .. } = &*held.terms;
        let cost = prices.get(*current).map(|prices| prices.cost(&usage)).unwrap_or_default();
        let price = versions.get(*current).copied();
        let charge = cost.min(held.amount);
        self.ended = Some(Charge { amount: charge, usage });
        let end = End { charge, price, outcome, usage, capped: cost > charge, whole };
        self.ledger.end(held, end);
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        self.break_off(None);
    }
}

/// Counts as large as they can be meant, so that sums of them stay numbers.
fn plausible(usage: Usage) -> Usage {
    Usage {
        input: usage.input.min(MOST_TOKENS),
        cache_read: usage.cache_read.min(MOST_TOKENS),
        cache_write: usage.cache_write.min(MOST_TOKENS),
        output: usage.output.min(MOST_TOKENS),
        reasoning: usage.reasoning,
    }
}

/// How often the progress of an answer is noted, for the case that the process dies.
const MARK_EVERY: Duration = Duration::from_secs(2);

/// Tokens: a thousand times the largest context window.
const MOST_TOKENS: u64 = 1 << 30;
