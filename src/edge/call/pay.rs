//! The reservation of tokens and money for a call before it goes anywhere, and the settling of both at its end.

use std::sync::Arc;

use crate::edge::call::estimate::{CostEstimate, OVERHEAD};
use crate::edge::call::exchange::Exchange;
use crate::edge::call::target::Call;
use crate::edge::upstream;
use crate::failure::{Failure, Kind, Result};
use crate::limit::Limiter;
use crate::meter::{self, Bill, Expected, HoldRefusal, Invariant, Ledger, Prices};
use crate::observe::LimitRefusal;
use crate::route::{AttemptOutcome, ModelEntry};

/// The rate limits and the ledger.
#[derive(Debug)]
pub(in crate::edge) struct Quotas {
    pub(in crate::edge) limiter: Limiter,
    pub(in crate::edge) ledger: Ledger,
}

impl CostEstimate {
    /// Reserves the key's tokens and sets the call's money aside; of a request that was written anew, `written`
    /// is the length, and others may answer at the prices `elsewhere`. From here on, the call has a bill.
    ///
    /// # Errors
    /// 429, 402, or 503 when the store cannot be written.
    pub(in crate::edge) async fn reserve(
        &mut self,
        quotas: &Quotas,
        exchange: &mut Exchange,
        call: &Call,
        elsewhere: Vec<Option<Arc<Prices>>>,
        written: usize,
    ) -> Result<()> {
        let longest = (written as u64 + OVERHEAD).min(self.context_window);
        self.expected.prompt_most = self.expected.prompt_most.max(longest);
        let Expected { prompt, output_least, .. } = self.expected;
        if let Some(ticket) = &mut exchange.ticket {
            let reserved = ticket.reserve(prompt + output_least.min(MOST_RESERVED));
            exchange.standing = ticket.status();
            if reserved.is_err() {
                exchange.limit = Some(LimitRefusal::Tokens);
            }
            reserved?;
        }
        let grant = exchange.grant.as_ref().ok_or_else(upstream::unknown)?;
        let bill = if self.is_paid() {
            let prices = std::iter::once(call.prices.clone()).chain(elsewhere).map(or_free).collect();
            let bill = Bill::open(&quotas.ledger, grant, &call.found.entry.id, prices, self.expected).await;
            bill.map_err(|refusal| {
                exchange.limit = limit(refusal);
                refused(refusal)
            })?
        } else {
            Bill::free(&quotas.ledger, grant, self.expected)
        };
        self.limit(&bill);
        exchange.bill = Some(bill);
        Ok(())
    }

    /// The estimate for the same request at another target, which is charged from now on.
    ///
    /// # Errors
    /// 503 for a target that is paid for when no money is set aside.
    pub(in crate::edge) fn elsewhere(&self, exchange: &mut Exchange, call: &Call) -> Result<Self> {
        let mut estimate = *self;
        if call.prices.is_some() && !exchange.bill.as_ref().is_some_and(Bill::is_held) {
            let id = &call.found.entry.id;
            meter::violated(Invariant::UnheldCall, format_args!("a call of {id} has no hold"));
            return Err(refused(HoldRefusal::Store));
        }
        if let Some(bill) = &mut exchange.bill {
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

impl Exchange {
    /// Whether losses lead to a refusal, because the client, the key or the model wants it.
    pub(in crate::edge) fn is_strict(&self, model: &ModelEntry) -> bool {
        self.strict || model.strict || self.grant.as_ref().is_some_and(|key| key.rights.strict)
    }

    /// The answer is whole. When this returns, its end may be passed on.
    pub(in crate::edge) fn settle(&mut self) {
        let usage = self.usage.clone();
        self.note_pace();
        self.note(AttemptOutcome::Succeeded);
        self.close_bill(|bill| bill.settle(usage));
    }

    /// The answer breaks off after a part of it has been passed on, or with the client.
    pub(in crate::edge) fn break_off(&mut self) {
        let usage = self.usage.clone();
        self.close_bill(|bill| bill.break_off(usage));
    }

    /// The call has failed, and the client has got nothing of an answer.
    pub(in crate::edge) fn release(&mut self) {
        self.close_bill(Bill::release);
    }

    /// The answer ends with a failure, after so many tokens of it. One that the provider has written in vain is charged
    /// for, whatever of it has come: how much it says, and in which form, is the client's to ask for.
    pub(in crate::edge) fn fail(&mut self, failure: &Failure, delivered: u64) {
        if failure.is_costly() {
            self.waste();
        } else if delivered == 0 {
            self.release();
        } else {
            self.break_off();
        }
    }

    /// The provider itself has told the client of a failure in its stream, after so many tokens.
    pub(in crate::edge) fn fail_as_told(&mut self, delivered: u64) {
        self.note(AttemptOutcome::Succeeded);
        let failure = Failure::provider("the provider reported a failure in its stream");
        self.fail(&failure, delivered);
        self.failure = Some(failure);
    }

    /// The call has failed when its client was gone already.
    pub(in crate::edge) fn fail_unseen(&mut self, failure: Failure) {
        self.note_failure(&failure);
        self.fail(&failure, self.bytes_out as u64);
        self.failure = Some(failure);
    }

    /// So many tokens of the answer have been passed on, estimated.
    pub(in crate::edge) fn deliver(&mut self, tokens: u64) {
        if let Some(bill) = &mut self.bill {
            bill.deliver(tokens);
        }
    }

    fn close_bill(&mut self, close: impl FnOnce(&mut Bill)) {
        self.price_others();
        let Some(bill) = &mut self.bill else { return };
        close(bill);
        // What is reserved stays so for a bill that is not closed.
        if let (Some(charge), Some(ticket)) = (bill.charge(), &mut self.ticket) {
            ticket.settle(charge.usage.prompt().saturating_add(charge.usage.output));
        }
    }
}

/// The limit that a refusal is, for metrics. That the store fails is none.
fn limit(refusal: HoldRefusal) -> Option<LimitRefusal> {
    match refusal {
        HoldRefusal::NoWallet => Some(LimitRefusal::NoWallet),
        HoldRefusal::Balance(_) => Some(LimitRefusal::Balance),
        HoldRefusal::Limit(_) => Some(LimitRefusal::Spending),
        HoldRefusal::InFlight(_) => Some(LimitRefusal::InFlight),
        HoldRefusal::Store => None,
    }
}

/// The failure for the client whose money cannot be set aside.
fn refused(refusal: HoldRefusal) -> Failure {
    let insufficient = |message: String| Failure::new(Kind::InsufficientBalance, message);
    match refusal {
        HoldRefusal::NoWallet => Failure::new(Kind::NoWallet, "The account of this API key has no wallet.")
            .with_should_retry(false),
        HoldRefusal::Balance(balance) => {
            insufficient(format!("Insufficient balance: {balance} USD is less than this request can cost."))
                .with_should_retry(false)
        }
        HoldRefusal::Limit(limit) => {
            insufficient(format!("The spending limit of this API key, {limit} USD, is reached."))
                .with_should_retry(false)
        }
        HoldRefusal::InFlight(balance) => {
            insufficient(format!("Other requests in flight hold too much of the balance of {balance} USD."))
                .with_retry_after(1)
                .with_should_retry(true)
        }
        HoldRefusal::Store => Failure::new(Kind::Unavailable, "Requests cannot be paid for at the moment.")
            .with_code("db_error"),
    }
}

/// Output tokens that are reserved of a key's limit: few answers are longer, and all are made good at the end.
const MOST_RESERVED: u64 = 4096;
