//! The bill of one call: the money that is set aside for it, and its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::auth::Grant;
use crate::canon::{Rates, Usage};
use crate::money::Amount;
use crate::store;

use super::invariant::{Invariant, violated};
use super::ledger::Ledger;
use super::price::{Extras, Prices};
use super::report::Tally;
use super::types::{
    BudgetWindow, CallEnd, ChargeBasis, CountedCall, HeldMoney, HoldRefusal, HoldRequest, PriceTerms,
};
use super::usage::{ServedBy, UsageSums};

/// The bill of one call. It ends exactly once: settled, broken off or released. If it is dropped before that, it
/// ends like a call whose client has left.
#[derive(Debug)]
pub struct Bill {
    ledger: Ledger,
    grant: Grant,
    held: Option<Holding>,
    /// The prices of a call whose cost is only counted.
    tracked: Option<Arc<Prices>>,
    /// The windows of budgets to which a call belongs whose cost is only counted.
    windows: Vec<BudgetWindow>,
    expected: Expected,
    /// The prices of the other model that has answered, if one has.
    served: Option<Arc<Prices>>,
    /// The prices of models that the provider has asked inside of the call, by its names of them.
    inner: Vec<(String, Arc<Prices>)>,
    /// Tokens of the answer that have been passed on, estimated.
    delivered: u64,
    /// Tokens of it that its provider is presumed to have written by now, seen or not.
    presumed: u64,
    /// Whether the request has gone upstream.
    forwarded: bool,
    marked: Instant,
    ended: Option<Charge>,
    /// The model and the provider that have answered.
    answered: Option<ServedBy>,
}

/// Money that is set aside.
#[derive(Debug)]
struct Holding {
    held: HeldMoney,
    /// The prices that hold, and their version; absent where these are not known: then all of it is charged.
    current: Option<(Arc<Prices>, i64)>,
}

impl Holding {
    /// Makes the holding of a call that goes to a target with these prices.
    fn new(held: HeldMoney, prices: &Prices) -> Self {
        let mut holding = Self { held, current: None };
        holding.charge_by(prices);
        holding
    }

    /// Charges by these of the prices for which the money was set aside.
    fn charge_by(&mut self, prices: &Prices) {
        let PriceTerms { prices: all, versions, .. } = &*self.held.terms;
        let known = all.iter().zip(versions).find(|(known, _)| ***known == *prices);
        self.current = known.map(|(prices, version)| (Arc::clone(prices), *version));
        if self.current.is_none() {
            let call = self.held.call.0;
            violated(Invariant::UnknownPrice, format_args!("call {call} goes to a target of other prices"));
        }
    }

    /// Returns the number of output tokens that are surely paid for.
    fn affordable(&self, Expected { prompt_most, extras, .. }: &Expected) -> u64 {
        let affordable = |prices: &Arc<Prices>| prices.affordable(*prompt_most, self.held.amount, extras);
        match &self.current {
            Some((prices, _)) => affordable(prices),
            None => self.held.terms.prices.iter().map(affordable).min().unwrap_or(0),
        }
    }
}

/// The facts that are known of the cost of a call before it is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Tokens that the prompt surely does not exceed.
    pub prompt_most: u64,
    /// Tokens that the prompt is likely to have.
    pub prompt: u64,
    /// Tokens that the answer cannot exceed.
    pub output_most: u64,
    /// Tokens to which the answer may be limited if there is no money for more.
    pub output_least: u64,
    /// Its possible cost beside the tokens of its text.
    pub extras: Extras,
    /// Whether it is refused if its account has no wallet.
    pub needs_wallet: bool,
}

/// The cost of a usage, by its parts.
struct ChargeParts {
    /// With all that was done at the call's own prices.
    usage: Usage,
    /// The cost of other models, at their prices.
    others: Amount,
    /// Whether all of it was answered by another model.
    elsewhere: bool,
    cost: Amount,
}

/// The charge for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The cost. Of what is beyond the money that was set aside, the account pays what its balance covers.
    pub amount: Amount,
    /// The tokens that were charged for.
    pub usage: Usage,
}

impl Bill {
    /// Makes the bill of a call that costs nothing.
    #[must_use]
    pub fn free(ledger: &Ledger, grant: &Grant, expected: Expected) -> Self {
        Self {
            ledger: ledger.clone(),
            grant: Arc::clone(grant),
            held: None,
            tracked: None,
            windows: Vec::new(),
            expected,
            served: None,
            inner: Vec::new(),
            delivered: 0,
            presumed: 0,
            forwarded: false,
            marked: Instant::now(),
            ended: None,
            answered: None,
        }
    }

    /// Makes the bill of a call whose cost at these prices is counted, and which nobody pays for.
    #[must_use]
    pub fn track(ledger: &Ledger, grant: &Grant, prices: Arc<Prices>, expected: Expected) -> Self {
        let mut bill = Self::free(ledger, grant, expected);
        bill.tracked = Some(prices);
        if !grant.budgets.is_empty() {
            bill.windows = BudgetWindow::at(store::now(), &grant.budgets);
        }
        bill
    }

    /// Sets aside the most that a call can cost at the dearest of some prices, of which the first apply for now. When
    /// this returns, the hold is on the disk.
    ///
    /// # Errors
    /// Fails if the account or the key cannot pay for the call, or if its hold cannot be written.
    pub async fn open(
        ledger: &Ledger,
        grant: &Grant,
        model: &str,
        prices: Vec<Arc<Prices>>,
        expected: Expected,
    ) -> Result<Self, HoldRefusal> {
        let mut bill = Self::free(ledger, grant, expected);
        let Some(first) = prices.first().cloned() else {
            violated(Invariant::NoPrices, format_args!("a call of {model} has no prices"));
            return Err(HoldRefusal::Store);
        };
        let dearest = |output| {
            let ceiling = |prices: &Prices| prices.ceiling(expected.prompt_most, output, &expected.extras);
            prices.iter().fold(ceiling(&first), |most, prices| most.max(ceiling(prices)))
        };
        let held = ledger.hold(HoldRequest {
            grant: Arc::clone(grant),
            model: model.into(),
            wanted: dearest(expected.output_most),
            least: dearest(expected.output_least),
            prices: prices.clone(),
            prompt: expected.prompt,
            rates: expected.extras.rates,
            time: store::now(),
            needs_wallet: expected.needs_wallet,
        });
        let held = held.await.map_err(|refusal| {
            refusal.with_output(|left| {
                let affordable =
                    |prices: &Arc<Prices>| prices.affordable(expected.prompt_most, left, &expected.extras);
                prices.iter().map(affordable).min().unwrap_or(0)
            })
        });
        bill.held = Some(Holding::new(held?, &first));
        Ok(bill)
    }

    /// Notes that another target answers the call: from now on, these of the prices apply.
    pub fn charge_by(&mut self, prices: &Arc<Prices>) {
        if let Some(holding) = &mut self.held {
            holding.charge_by(prices);
        }
        if let Some(tracked) = &mut self.tracked {
            tracked.clone_from(prices);
        }
        // What the earlier one has done is not paid for.
        (self.delivered, self.presumed, self.forwarded) = (0, 0, false);
    }

    /// Returns the number of tokens that the answer may have: as many as were asked for, or fewer if no more are paid
    /// for.
    #[must_use]
    pub fn output_cap(&self) -> u64 {
        let most = self.expected.output_most;
        self.held.as_ref().map_or(most, |holding| holding.affordable(&self.expected).min(most))
    }

    /// Notes that another model than the one that was asked has answered, which has these prices.
    pub fn served_at(&mut self, prices: &Arc<Prices>) {
        self.served = Some(Arc::clone(prices));
    }

    /// Notes the model, by its id in the catalog, and the provider that have answered the call.
    pub fn answered_by(&mut self, served: ServedBy) {
        self.answered = Some(served);
    }

    /// Notes that the provider has asked another model inside of the call, which has these prices.
    pub fn inner_at(&mut self, model: &str, prices: &Arc<Prices>) {
        self.inner.push((model.to_owned(), Arc::clone(prices)));
    }

    /// Notes that the request goes upstream: from now on, its provider may charge for it.
    pub fn forward(&mut self) {
        self.forwarded = true;
    }

    /// Notes the number of tokens of the answer that have been passed on in all, which is estimated.
    pub fn deliver(&mut self, tokens: u64) {
        self.delivered = tokens;
        if let Some(Holding { held, .. }) = &self.held
            && self.marked.elapsed() >= MIN_MARK_INTERVAL
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

    /// Notes that nobody waits for the answer any more, and that its provider is presumed to have written so many tokens
    /// by now, seen or not. It cannot have written more than was asked for and is held.
    pub fn presume(&mut self, tokens: u64) {
        self.presumed = tokens.min(self.output_cap());
    }

    /// Ends a call whose answer is whole. When this returns, the end of the answer may be passed on.
    pub fn settle(&mut self, usage: Option<Usage>) {
        // A provider that reports nothing but zeros does not count: the answer was there.
        match usage.filter(|usage| !usage.is_empty()) {
            Some(usage) => self.end(usage, ChargeBasis::Exact, true, None),
            None => self.end(self.estimate(), ChargeBasis::Estimated, true, None),
        }
    }

    /// Ends a call that has broken off, because the client is gone or the provider has failed in the middle. It costs
    /// what has gone in each direction, if anything has. The provider's count applies where there is one, and the
    /// estimate of the answer where that is larger.
    pub fn break_off(&mut self, reported: Option<Usage>) {
        if !self.forwarded {
            return self.release();
        }
        let estimate = self.estimate();
        let usage = match &reported {
            // What a provider says before it is done may count only the beginning of its answer, or not yet the prompt.
            Some(usage) if !usage.is_empty() => {
                let input = if usage.prompt() > 0 { usage.input } else { estimate.input };
                Usage { input, output: usage.output.max(estimate.output), ..usage.clone() }
            }
            _ => estimate,
        };
        self.end(usage, ChargeBasis::Estimated, false, reported);
    }

    /// Ends a call that has failed and costs nothing.
    pub fn release(&mut self) {
        self.end(Usage::default(), ChargeBasis::Released, false, None);
    }

    /// Whether the call has not ended yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.ended.is_none()
    }

    /// Returns the charge, or `None` before the call has ended.
    #[must_use]
    pub fn charge(&self) -> Option<Charge> {
        self.ended.clone()
    }

    fn estimate(&self) -> Usage {
        let output = self.delivered.max(self.presumed);
        Usage { input: self.expected.prompt, output, ..Usage::default() }
    }

    /// Ends the call, unless it has ended. `reported` is what the provider has counted of a call that has broken off.
    fn end(&mut self, usage: Usage, outcome: ChargeBasis, whole: bool, reported: Option<Usage>) {
        if self.ended.is_some() {
            return;
        }
        let Some(Holding { held, current }) = &self.held else {
            let charge = self.count(usage, outcome);
            self.ledger.count(CountedCall {
                key: Arc::clone(&self.grant),
                tally: Tally::of(&charge.usage, charge.amount, whole),
                sums: UsageSums::of(&charge.usage, charge.amount, whole),
                served: self.answered.clone(),
                windows: self.windows.clone(),
            });
            self.ended = Some(charge);
            return;
        };
        let own = current.as_ref().map(|(prices, _)| &**prices);
        let asked = self.asked(outcome);
        let is_sure = outcome == ChargeBasis::Exact && is_believable(&usage);
        let ChargeParts { usage, others, elsewhere, cost } = self.sum(usage, own, asked);
        let price = current.as_ref().map(|(_, version)| *version);
        // What nobody has counted, or nobody can have counted right, never costs more than what was set aside for it.
        let reported = reported.filter(is_believable);
        let reported = reported.map_or(Amount::ZERO, |usage| self.sum(usage, own, Rates::default()).cost);
        let most = if is_sure { cost } else { reported.max(held.amount) };
        let is_known = own.is_some() || elsewhere || outcome == ChargeBasis::Released;
        let charge = if is_known { cost.min(most) } else { held.amount };
        let end = CallEnd {
            charge,
            others,
            elsewhere,
            price,
            outcome,
            usage: usage.clone(),
            capped: cost > charge,
            whole,
            served: self.answered.clone(),
        };
        self.ledger.end(held, end);
        self.ended = Some(Charge { amount: charge, usage });
    }

    /// Returns the usage and the cost of a call that nobody pays for: none if it has no prices.
    fn count(&self, usage: Usage, outcome: ChargeBasis) -> Charge {
        let priced = self.tracked.as_deref();
        // What nobody can have counted right would spoil all sums.
        let usage = if priced.is_none() || is_believable(&usage) { usage } else { self.estimate() };
        let ChargeParts { usage, cost, .. } = self.sum(usage, priced, self.asked(outcome));
        Charge { amount: if priced.is_some() { cost } else { Amount::ZERO }, usage }
    }

    /// Returns the rates that the call has asked for, if it may have broken off before its rates were told.
    fn asked(&self, outcome: ChargeBasis) -> Rates {
        if outcome == ChargeBasis::Estimated { self.expected.extras.rates } else { Rates::default() }
    }

    /// Adds up the cost of a usage, which is the largest amount where it is more; at these prices where no other ones hold.
    /// Rates that were only `asked` for count where they make the call no cheaper, which differs between price lists.
    fn sum(&self, mut usage: Usage, own: Option<&Prices>, asked: Rates) -> ChargeParts {
        let (inner, reported) = (usage.inner.take(), usage.rates);
        let rates = |prices: &Prices| reported.and(prices.dearer(asked));
        let mut others = Amount::ZERO;
        let mut add = |amount| others = others.checked_add(amount).unwrap_or(Amount::MAX);
        for part in inner.iter().flat_map(|inner| inner.iter()) {
            let known = self.inner.iter().find(|(model, _)| Some(model) == part.model.as_ref());
            match known {
                Some((_, prices)) => {
                    add(prices.cost(&plausible(Usage { rates: rates(prices), ..part.usage.clone() })));
                }
                None => usage.add(&part.usage),
            }
        }
        let elsewhere = self.served.is_some();
        let charged_by = self.served.as_deref().or(own);
        let usage = plausible(Usage { rates: charged_by.map_or(reported, rates), ..usage });
        if let Some(served) = &self.served {
            add(served.cost(&usage));
        }
        let own = own.filter(|_| !elsewhere).map_or(Amount::ZERO, |own| own.cost(&usage));
        let cost = own.checked_add(others).unwrap_or(Amount::MAX);
        ChargeParts { usage, others, elsewhere, cost }
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        self.break_off(None);
    }
}

/// Whether these counts can be right, of whatever model.
fn is_believable(usage: &Usage) -> bool {
    let sums = [usage.prompt(), usage.output, usage.cache_write_long, usage.audio_input, usage.audio_output];
    let inner = usage.inner.as_deref().unwrap_or_default();
    sums.into_iter().all(|sum| sum <= MAX_TOKEN_COUNT)
        && usage.searches <= MAX_SEARCH_COUNT
        && inner.iter().all(|inner| is_believable(&inner.usage))
}

/// Limits counts to the largest that can be meant, so that sums of them stay numbers.
fn plausible(usage: Usage) -> Usage {
    let count = |tokens: u64| tokens.min(MAX_TOKEN_COUNT);
    Usage {
        input: count(usage.input),
        cache_read: count(usage.cache_read),
        cache_write: count(usage.cache_write),
        output: count(usage.output),
        cache_write_long: count(usage.cache_write_long),
        audio_input: count(usage.audio_input),
        audio_output: count(usage.audio_output),
        searches: usage.searches.min(MAX_SEARCH_COUNT),
        ..usage
    }
}

/// The shortest time between two notes of an answer's progress. They limit what is lost when the process dies.
const MIN_MARK_INTERVAL: Duration = Duration::from_secs(2);

/// Tokens beyond which no count is right: a thousand times the largest context window.
const MAX_TOKEN_COUNT: u64 = 1 << 30;

/// Web searches of one call: far more than any makes, and as many as a record of the journal holds.
const MAX_SEARCH_COUNT: u64 = u16::MAX as u64;
