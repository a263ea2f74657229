//! The estimate of what a call needs, before it goes anywhere.

use crate::edge::call::target::Call;
use crate::meter::{Bill, Expected, Extras};
use crate::protocol::{Demand, Head, Service};
use crate::translate::BYTES_PER_TOKEN;

/// How a call is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) enum Payment {
    /// Money is held for it before it goes anywhere: it has a price at one of its targets.
    Held,
    /// It costs nothing.
    Free,
}

/// The tokens and the money that a call needs at most.
#[derive(Clone, Copy, Debug)]
pub(in crate::edge) struct CostEstimate {
    pub(in crate::edge) expected: Expected,
    pub(in crate::edge) context_window: u64,
    /// The tokens to which each of the answers is limited, so that it costs no more than is set aside: what the client
    /// asks for, or less. Absent for calls that are not paid for.
    pub(in crate::edge) output_cap: Option<u64>,
    choices: u64,
    /// Whether that is all that the client wants, or the model can write anyway.
    harmless: bool,
}

impl CostEstimate {
    /// The estimate for a request of so many bytes, which is paid for or not. Where losses are not
    /// wanted (`strict`), the answer is not limited to what there is money for.
    pub(in crate::edge) fn of(
        call: &Call,
        head: &Head<'_>,
        length: usize,
        payment: Payment,
        strict: bool,
    ) -> Self {
        let entry = &call.found.entry;
        let caps = &call.caps;
        let wanted = head.output_cap;
        let unknown = if wanted.is_some() { u64::MAX } else { DEFAULT_OUTPUT };
        let most = caps.max_output.unwrap_or(unknown);
        let least = LEAST_OUTPUT.max(call.provider().profile.min_max_tokens.into());
        let output = wanted.unwrap_or(most).min(most).max(least);
        let reducible = wanted.is_none() && !strict;
        let output_least = if reducible { output.min(WORTHWHILE) } else { output };
        let context_window = entry.context_window.unwrap_or(u64::MAX);
        let bytes = length as u64;
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
            extras: extras(&head.demand, head.choices),
        };
        // Some providers refuse a low limit, but what the client asks for is between the two: nothing at all, where
        // that only fills the prompt cache.
        let cap = wanted.map_or(output, |wanted| wanted.min(most));
        let output_cap = (payment == Payment::Held).then_some(cap);
        let harmless = match wanted {
            Some(wanted) => wanted <= cap,
            None => caps.max_output.is_some_and(|known| known <= cap),
        };
        Self { expected, context_window, output_cap, choices: head.choices, harmless }
    }

    /// Whether the call is paid for.
    pub(in crate::edge) fn is_paid(&self) -> bool {
        self.output_cap.is_some()
    }

    /// Limits the answer to what is paid for.
    pub(in crate::edge) fn limit(&mut self, bill: &Bill) {
        if let Some(cap) = &mut self.output_cap {
            let paid = bill.output_cap() / self.choices;
            self.harmless &= paid >= *cap;
            *cap = paid.min(*cap);
        }
    }

    /// The notice for the client that its answer is limited, and to how many tokens.
    pub(in crate::edge) fn notice(&self) -> Option<String> {
        let cap = self.output_cap.filter(|_| !self.harmless)?;
        Some(format!("max_output_tokens={cap}"))
    }
}

/// The possible cost of a request beside the tokens of its text.
fn extras(demand: &Demand, choices: u64) -> Extras {
    let asks = |service| demand.services.iter().any(|(asked, _)| *asked == service);
    Extras {
        rates: demand.rates.iter().map(|(rate, _)| *rate).collect(),
        long_cache: demand.long_cache,
        audio_input: asks(Service::AudioInput),
        audio_output: asks(Service::AudioOutput),
        searches: if asks(Service::WebSearch) { SEARCHES_HELD.saturating_mul(choices) } else { 0 },
    }
}

/// Output tokens where neither the client nor the catalog says how many there may be.
const DEFAULT_OUTPUT: u64 = 8192;

/// Tokens below which some providers refuse a limit.
const LEAST_OUTPUT: u64 = 16;

/// Output tokens for which a call is worth while, when there is no money for more.
const WORTHWHILE: u64 = 1024;

/// Tokens that providers add to a prompt: their own instructions, where tools are given.
pub(in crate::edge) const OVERHEAD: u64 = 1024;

/// Tokens of a picture, or of some pages, beyond the bytes that stand for them.
const MEDIUM: u64 = 5000;

/// Tokens of a prompt of which the request does not show how long it becomes, for models whose context window is not
/// configured: the window of GPT-5. What is more is paid for from the balance.
const DEFAULT_CONTEXT_WINDOW: u64 = 400_000;

/// Web searches for which money is set aside: more than answers mostly need. Others are paid for from the balance.
const SEARCHES_HELD: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::Rate;

    #[test]
    fn what_is_asked_for_is_set_aside() {
        let demand = Demand {
            rates: vec![(Rate::Fast, "speed"), (Rate::Us, "inference_geo")],
            long_cache: true,
            services: vec![(Service::WebSearch, String::new()), (Service::AudioOutput, String::new())],
            ..Demand::default()
        };
        let rates = [Rate::Fast, Rate::Us].into_iter().collect();
        let searches = 2 * SEARCHES_HELD;
        let expected = Extras { rates, long_cache: true, audio_input: false, audio_output: true, searches };
        assert_eq!(extras(&demand, 2), expected);
    }
}
