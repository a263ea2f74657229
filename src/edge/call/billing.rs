//! The reservation of tokens and money before a call goes anywhere, and their settlement at its end.

use std::sync::Arc;

use crate::auth::{Grant, Tags};
use crate::edge::call::attempts::Attempts;
use crate::edge::call::estimate::{CostEstimate, OVERHEAD, Payment};
use crate::edge::call::money_refusal;
use crate::edge::call::target::Call;
use crate::failure::{Failure, Result};
use crate::limit::{Limiter, RateLimitStatus, Ticket};
use crate::meter::{self, Bill, Expected, HoldRefusal, Invariant, Ledger, Prices, ServedBy};
use crate::observe::LimitRefusal;
use crate::route::Catalog;

/// The rate limits and the ledger.
#[derive(Debug)]
pub(in crate::edge) struct Quotas {
    pub(in crate::edge) limiter: Limiter,
    pub(in crate::edge) ledger: Ledger,
}

/// The tokens and the money that are set aside for a call, until it is known what it has cost.
#[derive(Debug, Default)]
pub(in crate::edge) struct Billing {
    /// The call's place in the limits of its key and its account.
    ticket: Option<Ticket>,
    /// The state of the key's limits.
    standing: RateLimitStatus,
    /// The limit of its key or account by which the call was refused.
    limit: Option<LimitRefusal>,
    /// The tags by which the call is counted.
    pub(in crate::edge) tags: Tags,
    bill: Option<Bill>,
}

impl CostEstimate {
    /// Reserves the key's tokens and sets the call's money aside. `written` is the length of the request as it was
    /// written for the target, and `elsewhere` are the prices of its other targets. From here on, the call has a
    /// bill.
    ///
    /// # Errors
    /// Returns 429 if a limit is exceeded, 402 if the account cannot pay, and 503 if the store cannot be written.
    pub(in crate::edge) async fn reserve(
        &mut self,
        quotas: &Quotas,
        grant: &Grant,
        billing: &mut Billing,
        call: &Call,
        elsewhere: Vec<Option<Arc<Prices>>>,
        written: usize,
    ) -> Result<()> {
        let longest = (written as u64 + OVERHEAD).min(self.context_window);
        self.expected.prompt_most = self.expected.prompt_most.max(longest);
        let Expected { prompt, output_least, .. } = self.expected;
        if let Some(ticket) = &mut billing.ticket {
            let reserved = ticket.reserve(prompt + output_least.min(MOST_RESERVED));
            billing.standing = ticket.status();
            reserved.map_err(|exceeded| {
                billing.limit = Some(LimitRefusal::Tokens(exceeded.owner));
                exceeded.failure
            })?;
        }
        let bill = match self.payment {
            Payment::Held { .. } => {
                let prices = std::iter::once(call.prices.clone()).chain(elsewhere).map(or_free).collect();
                let bill =
                    Bill::open(&quotas.ledger, grant, &call.found.entry.id, prices, self.expected).await;
                bill.map_err(|refusal| {
                    billing.limit = money_refusal::refusing_limit(refusal);
                    money_refusal::failure(refusal, &grant.account)
                })?
            }
            Payment::Tracked => {
                Bill::track(&quotas.ledger, grant, or_free(call.prices.clone()), self.expected)
            }
            Payment::Free => Bill::free(&quotas.ledger, grant, self.expected),
        };
        self.limit(&bill);
        billing.bill = Some(bill);
        Ok(())
    }

    /// Returns the estimate for the same request at another target, whose prices are charged from now on.
    ///
    /// # Errors
    /// Returns 503 if the target has prices but no money is set aside.
    pub(in crate::edge) fn elsewhere(&self, billing: &mut Billing, call: &Call) -> Result<Self> {
        let mut estimate = *self;
        if self.payment != Payment::Tracked && call.prices.is_some() && !billing.is_held() {
            let id = &call.found.entry.id;
            meter::violated(Invariant::UnheldCall, format_args!("a call of {id} has no hold"));
            return Err(money_refusal::failure(HoldRefusal::Store, ""));
        }
        if let Some(bill) = &mut billing.bill {
            bill.charge_by(&or_free(call.prices.clone()));
            estimate.limit(bill);
        }
        Ok(estimate)
    }
}

/// Treats a target without prices as free when another target of the model is priced.
fn or_free(prices: Option<Arc<Prices>>) -> Arc<Prices> {
    prices.unwrap_or_else(|| Arc::new(Prices::free()))
}

impl Billing {
    /// Counts the request against the rate limits of its key and its account.
    ///
    /// # Errors
    /// Returns 429 when one of them has made too many.
    pub(in crate::edge) fn enter(&mut self, limiter: &Limiter, grant: &Grant) -> Result<()> {
        match limiter.admit(grant) {
            Ok(ticket) => {
                self.standing = ticket.status();
                self.ticket = Some(ticket);
                Ok(())
            }
            Err(refused) => {
                let (exceeded, standing) = *refused;
                self.standing = standing;
                self.limit = Some(LimitRefusal::Requests(exceeded.owner));
                Err(exceeded.failure)
            }
        }
    }

    /// The state of the key's limits.
    pub(in crate::edge) fn standing(&self) -> &RateLimitStatus {
        &self.standing
    }

    /// The limit by which the call was refused.
    pub(in crate::edge) fn refused_by(&self) -> Option<LimitRefusal> {
        self.limit
    }

    /// Whether the call has a bill, which it has from its admission on.
    pub(in crate::edge) fn has_bill(&self) -> bool {
        self.bill.is_some()
    }

    /// Whether money is set aside for the call.
    pub(in crate::edge) fn is_held(&self) -> bool {
        self.bill.as_ref().is_some_and(Bill::is_held)
    }

    /// Returns the cost of the call so far, in nano-USD.
    pub(in crate::edge) fn cost(&self) -> Option<u64> {
        self.bill.as_ref().and_then(Bill::charge).map(|charge| charge.amount.nano())
    }

    /// The request goes to a provider now.
    pub(in crate::edge) fn forward(&mut self) {
        if let Some(bill) = &mut self.bill {
            bill.forward();
        }
    }

    /// Notes how many tokens of the answer have been passed on, which is estimated.
    pub(in crate::edge) fn deliver(&mut self, tokens: u64) {
        if let Some(bill) = &mut self.bill {
            bill.deliver(tokens);
        }
    }

    /// Ends a call whose answer is complete. When this returns, the end of the answer may be passed on.
    pub(in crate::edge) fn settle(&mut self, catalog: &Catalog, attempts: &mut Attempts) {
        let usage = attempts.answer.usage.clone();
        attempts.note_pace();
        attempts.note_success();
        self.close(catalog, attempts, |bill| bill.settle(usage));
    }

    /// Ends a call whose answer breaks off after a part of it was passed on, or because the client left.
    pub(in crate::edge) fn break_off(&mut self, catalog: &Catalog, attempts: &Attempts) {
        let usage = attempts.answer.usage.clone();
        self.close(catalog, attempts, |bill| bill.break_off(usage));
    }

    /// Ends a call whose answer ends with a failure, after so many tokens. If the provider has written the answer
    /// in vain, it is charged regardless of how much has arrived, because the client chooses how much is sent, and
    /// in which form.
    pub(in crate::edge) fn fail(
        &mut self,
        catalog: &Catalog,
        attempts: &Attempts,
        failure: &Failure,
        delivered: u64,
    ) {
        if failure.is_costly() {
            self.waste(catalog, attempts);
        } else if delivered == 0 {
            // The client has got nothing of an answer.
            self.close(catalog, attempts, Bill::release);
        } else {
            self.break_off(catalog, attempts);
        }
    }

    /// Ends the call, because the client has left and the answer will not be complete. The charge is for what has
    /// arrived or, if the model reasons, for what it has presumably written in its time.
    pub(in crate::edge) fn leave(&mut self, catalog: &Catalog, attempts: &Attempts) {
        let reasons = |call: &Call| call.thinks || call.upstream.paces.has_reasoned(&call.upstream_model);
        if attempts.call.as_ref().is_some_and(|call| reasons(call)) {
            self.presume(attempts);
        }
        self.break_off(catalog, attempts);
    }

    /// Notes that the answer is unusable, but was written. The charge is for what the model has presumably written
    /// in its time.
    fn waste(&mut self, catalog: &Catalog, attempts: &Attempts) {
        self.presume(attempts);
        self.break_off(catalog, attempts);
    }

    fn presume(&mut self, attempts: &Attempts) {
        let (Some(call), Some(bill), Some(time)) = (&attempts.call, &mut self.bill, attempts.since_sent())
        else {
            return;
        };
        if call.infers() {
            let tokens = call.upstream.paces.tokens_in(&call.upstream_model, time);
            bill.presume(tokens.saturating_mul(call.choices));
        }
    }

    fn close(&mut self, catalog: &Catalog, attempts: &Attempts, close: impl FnOnce(&mut Bill)) {
        let Some(bill) = &mut self.bill else { return };
        price_others(bill, catalog, attempts);
        bill.answered_by(ServedBy { tags: self.tags.clone(), ..served_by(attempts) });
        close(bill);
        // The reservation stays for a bill that is not closed.
        if let (Some(charge), Some(ticket)) = (bill.charge(), &mut self.ticket) {
            ticket.settle(charge.usage.prompt().saturating_add(charge.usage.output));
        }
    }
}

/// Returns the model and the provider of the last attempt. A call without tokens is counted for the entry of the model in
/// the catalog, because a caller may invent names that a wildcard allows.
fn served_by(attempts: &Attempts) -> ServedBy {
    let Some(call) = &attempts.call else { return ServedBy::default() };
    let found = &call.found;
    let is_known = attempts.answer.usage.is_some() || *found.id == *found.entry.id;
    let model = if is_known { Arc::clone(&found.id) } else { found.entry.id.as_str().into() };
    ServedBy { model, provider: Arc::clone(&call.provider().name), tags: None }
}

/// Tells the bill the prices of other models, if one has answered or was called within the call.
fn price_others(bill: &mut Bill, catalog: &Catalog, attempts: &Attempts) {
    let Some(call) = &attempts.call else { return };
    if !bill.is_open() {
        return;
    }
    let prices = |model: &str| {
        let other = model != call.upstream_model;
        if other { catalog.prices_of(&call.provider().name, model) } else { None }
    };
    if let Some(prices) = attempts.answer.served.as_deref().and_then(prices) {
        bill.served_at(prices);
    }
    let inner = attempts.answer.usage.iter().filter_map(|usage| usage.inner.as_deref()).flatten();
    for model in inner.filter_map(|inner| inner.model.as_deref()) {
        if let Some(prices) = prices(model) {
            bill.inner_at(model, prices);
        }
    }
}

/// The most output tokens that are reserved of a key's limit. A chosen value: few answers are longer, and every
/// reservation is corrected at the end.
const MOST_RESERVED: u64 = 4096;
