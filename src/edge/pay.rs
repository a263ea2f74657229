//! What a call may use and must pay, before it goes anywhere; and what it has used and paid, at its end.

use std::sync::Arc;

use crate::failure::{Failure, Kind, Result};
use crate::limit::Limiter;
use crate::meter::{self, Bill, Expected, Invariant, Ledger, Prices, Refusal};
use crate::protocol::Head;
use crate::route::Sign;
use crate::translate::BYTES_PER_TOKEN;

use super::call::Call;
use super::exchange::Exchange;
use super::{priced, upstream};

/// Where limits and money are kept.
#[derive(Debug)]
pub(super) struct Till {
    pub(super) limiter: Limiter,
    pub(super) ledger: Ledger,
}

/// What a call is going to need.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    expected: Expected,
    context_window: u64,
    /// The tokens to which each of the answers is limited, so that it costs no more than is set aside: what the client
    /// asks for, or less. Absent for calls that are not paid for.
    pub(super) output_cap: Option<u64>,
    choices: u64,
    /// Is that all that the client wants, or the model can write anyway?
    harmless: bool,
}

impl Need {
    /// What a request of so many bytes is going to need.
    ///
    /// # Errors
    /// 400 for a limit that can not be read, where it decides on money.
    pub(super) fn of(exchange: &Exchange, call: &Call, head: &Head<'_>, body: &[u8]) -> Result<Self> {
        let entry = &call.found.entry;
        let caps = call.caps();
        let paid = exchange.snapshot.billing.is_on()
            && call.found.entry.targets.iter().any(|target| target.prices.is_some());
        let wanted = head.output_cap;
        let unknown = if wanted.is_some() { u64::MAX } else { DEFAULT_OUTPUT };
        let most = caps.max_output.unwrap_or(unknown);
        let least = LEAST_OUTPUT.max(call.provider().profile.min_max_tokens.into());
        let output = wanted.unwrap_or(most).min(most).max(least);
        let reducible = wanted.is_none() && !exchange.is_strict();
        let output_least = if reducible { output.min(WORTHWHILE) } else { output };
        let context_window = entry.context_window.unwrap_or(u64::MAX);
        let bytes = body.len() as u64;
        let media = head.demand.media.saturating_mul(MEDIUM);
        let seen = (bytes + OVERHEAD).saturating_add(media).min(context_window);
        let unseen =
            head.demand.unbounded.as_ref().map(|_| entry.context_window.unwrap_or(DEFAULT_CONTEXT_WINDOW));
        let prompt_most = seen.max(unseen.unwrap_or(0));
        let expected = Expected {
            prompt_most,
            prompt: bytes.div_ceil(BYTES_PER_TOKEN).min(prompt_most),
            output_most: output.saturating_mul(head.choices),
            output_least: output_least.saturating_mul(head.choices),
            extras: priced::extras(&head.demand, head.choices),
        };
        // Some providers refuse a low limit, but what the client asks for is between the two: nothing at all, where
        // that only fills the prompt cache.
        let cap = wanted.map_or(output, |wanted| wanted.min(most));
        let output_cap = (call.infers && paid).then_some(cap);
        let harmless = match wanted {
            Some(wanted) => wanted <= cap,
            None => caps.max_output.is_some_and(|known| known <= cap),
        };
        Ok(Self { expected, context_window, output_cap, choices: head.choices, harmless })
    }

    /// Reserves the key's tokens and sets the call's money aside; of a request that was written anew, `written`
    /// is the length, and others may answer at the prices `elsewhere`. From here on, the call has a bill.
    ///
    /// # Errors
    /// 429, 402, or 503 when the store can not be written.
    pub(super) async fn meet(
        &mut self,
        till: &Till,
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
            exchange.standing = ticket.standing();
            if reserved.is_err() {
                exchange.limit = Some("tokens");
            }
            reserved?;
        }
        let grant = exchange.grant.as_ref().ok_or_else(upstream::unknown)?;
        let mut prices: Vec<_> = std::iter::once(call.prices.clone()).chain(elsewhere).collect();
        let paid = exchange.snapshot.billing.is_on() && prices.iter().any(Option::is_some);
        let bill = if paid {
            let prices = prices.drain(..).map(or_free).collect();
            let bill = Bill::open(&till.ledger, grant, &call.found.entry.id, prices, self.expected).await;
            bill.map_err(|refusal| {
                exchange.limit = limit(refusal);
                refused(refusal)
            })?
        } else {
            Bill::free(&till.ledger, grant, self.expected)
        };
        self.limit(&bill);
        exchange.bill = Some(bill);
        Ok(())
    }

    /// What the same request needs of another target, which is charged from now on.
    ///
    /// # Errors
    /// 503 for a target that is paid for when no money is set aside.
    pub(super) fn elsewhere(&self, exchange: &mut Exchange, call: &Call) -> Result<Self> {
        let mut need = *self;
        let paid = exchange.snapshot.billing.is_on() && call.prices.is_some();
        if paid && !exchange.bill.as_ref().is_some_and(Bill::is_held) {
            let id = &call.found.entry.id;
            meter::violated(Invariant::UnheldCall, format_args!("a call of {id} has no hold"));
            return Err(refused(Refusal::Store));
        }
        if let Some(bill) = &mut exchange.bill {
            bill.charge_by(&or_free(call.prices.clone()));
            need.limit(bill);
        }
        Ok(need)
    }

    /// Limits the answer to what is paid for.
    fn limit(&mut self, bill: &Bill) {
        if let Some(cap) = &mut self.output_cap {
            let paid = bill.output_cap() / self.choices;
            self.harmless &= paid >= *cap;
            *cap = paid.min(*cap);
        }
    }

    /// What the client has to be told: that its answer is limited, and to what.
    pub(super) fn notice(&self) -> Option<String> {
        let cap = self.output_cap.filter(|_| !self.harmless)?;
        Some(format!("max_output_tokens={cap}"))
    }
}

/// What has no prices beside something that has costs nothing.
fn or_free(prices: Option<Arc<Prices>>) -> Arc<Prices> {
    prices.unwrap_or_else(|| Arc::new(Prices::free()))
}

impl Exchange {
    /// Do losses lead to a refusal, because the client, the key or the model wants it?
    pub(super) fn is_strict(&self) -> bool {
        self.strict || self.grant.as_ref().is_some_and(|key| key.rights.strict)
    }

    /// The answer is whole. When this returns, its end may be passed on.
    pub(super) fn settle(&mut self) {
        let usage = self.usage.clone();
        self.note_pace();
        self.note(Sign::Well);
        self.close_bill(|bill| bill.settle(usage));
    }

    /// The answer breaks off after a part of it has been passed on, or with the client.
    pub(super) fn break_off(&mut self) {
        let usage = self.usage.clone();
        self.close_bill(|bill| bill.break_off(usage));
    }

    /// The call has failed, and the client has got nothing of an answer.
    pub(super) fn release(&mut self) {
        self.close_bill(Bill::release);
    }

    /// The answer ends with a failure, after so many tokens of it. One that the provider has written in vain is charged
    /// for, whatever of it has come: how much it says, and in which form, is the client's to ask for.
    pub(super) fn fail(&mut self, failure: &Failure, delivered: u64) {
        if failure.is_costly() {
            self.waste();
        } else if delivered == 0 {
            self.release();
        } else {
            self.break_off();
        }
    }

    /// The provider itself has told the client of a failure in its stream, after so many tokens.
    pub(super) fn fail_as_told(&mut self, delivered: u64) {
        self.note(Sign::Well);
        let failure = Failure::provider("the provider reported a failure in its stream");
        self.fail(&failure, delivered);
        self.failure = Some(failure);
    }

    /// The call has failed when its client was gone already.
    pub(super) fn fail_unseen(&mut self, failure: Failure) {
        self.note_failure(&failure);
        self.fail(&failure, self.bytes_out as u64);
        self.failure = Some(failure);
    }

    /// So many tokens of the answer have been passed on, estimated.
    pub(super) fn deliver(&mut self, tokens: u64) {
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
fn limit(refusal: Refusal) -> Option<&'static str> {
    match refusal {
        Refusal::NoWallet => Some("no_wallet"),
        Refusal::Balance(_) => Some("balance"),
        Refusal::Limit(_) => Some("spending"),
        Refusal::InFlight(_) => Some("in_flight"),
        Refusal::Store => None,
    }
}

/// What the client is told when its money can not be set aside.
fn refused(refusal: Refusal) -> Failure {
    let insufficient = |message: String| Failure::new(Kind::InsufficientBalance, message);
    match refusal {
        Refusal::NoWallet => Failure::new(Kind::NoWallet, "The account of this API key has no wallet.")
            .with_should_retry(false),
        Refusal::Balance(balance) => {
            insufficient(format!("Insufficient balance: {balance} USD is less than this request can cost."))
                .with_should_retry(false)
        }
        Refusal::Limit(limit) => {
            insufficient(format!("The spending limit of this API key, {limit} USD, is reached."))
                .with_should_retry(false)
        }
        Refusal::InFlight(balance) => {
            insufficient(format!("Other requests in flight hold too much of the balance of {balance} USD."))
                .with_retry_after(1)
                .with_should_retry(true)
        }
        Refusal::Store => Failure::new(Kind::Unavailable, "Requests can not be paid for at the moment.")
            .with_code("db_error"),
    }
}

/// Output tokens where neither the client nor the catalog says how many there may be.
const DEFAULT_OUTPUT: u64 = 8192;

/// Tokens below which some providers refuse a limit.
const LEAST_OUTPUT: u64 = 16;

/// Output tokens for which a call is worth while, when there is no money for more.
const WORTHWHILE: u64 = 1024;

/// Output tokens that are reserved of a key's limit: few answers are longer, and all are made good at the end.
const MOST_RESERVED: u64 = 4096;

/// Tokens that providers add to a prompt: their own instructions, where tools are given.
const OVERHEAD: u64 = 1024;

/// Tokens of a picture, or of some pages, beyond the bytes that stand for them.
const MEDIUM: u64 = 5000;

/// Tokens of a prompt of which the request does not show how long it becomes, for models whose context window is not
/// configured: the window of GPT-5. What is more is paid for from the balance.
const DEFAULT_CONTEXT_WINDOW: u64 = 400_000;
