//! The estimate of a call's tokens and cost, before the request goes anywhere.

use crate::edge::call::target::Call;
use crate::meter::{Bill, Expected, Extras};
use crate::protocol::{Demand, Head, Service};
use crate::translate::BYTES_PER_TOKEN;

/// The way in which a call is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) enum Payment {
    /// Money is held for it before it goes anywhere: it has a price at one of its targets, and a wallet or a budget
    /// that limits it.
    Held {
        /// Whether it is refused if its account has no wallet.
        needs_wallet: bool,
    },
    /// Its cost is counted, and nobody pays for it.
    Tracked,
    /// It costs nothing.
    Free,
}

/// The most tokens and money that a call needs.
#[derive(Clone, Copy, Debug)]
pub(in crate::edge) struct CostEstimate {
    pub(in crate::edge) expected: Expected,
    pub(in crate::edge) context_window: u64,
    /// The limit of tokens for each answer, so that it costs no more than is set aside: the client's own limit, or
    /// a lower one. Absent for calls that are not paid for.
    pub(in crate::edge) output_cap: Option<u64>,
    pub(in crate::edge) payment: Payment,
    choices: u64,
    /// Whether the limit changes nothing, because the client wants no more, or the model cannot write more.
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
            needs_wallet: payment == Payment::Held { needs_wallet: true },
        };
        // Some providers refuse a low limit, but the client's own limit is passed on: it may even ask for no
        // output, only to fill the prompt cache.
        let cap = wanted.map_or(output, |wanted| wanted.min(most));
        let output_cap = matches!(payment, Payment::Held { .. }).then_some(cap);
        let harmless = match wanted {
            Some(wanted) => wanted <= cap,
            None => caps.max_output.is_some_and(|known| known <= cap),
        };
        Self { expected, context_window, output_cap, payment, choices: head.choices, harmless }
    }

    /// Limits the answer to what is paid for.
    pub(in crate::edge) fn limit(&mut self, bill: &Bill) {
        if let Some(cap) = &mut self.output_cap {
            let paid = bill.output_cap() / self.choices;
            self.harmless &= paid >= *cap;
            *cap = paid.min(*cap);
        }
    }

    /// Returns the notice for the client that its answer is limited to so many tokens, if it is.
    pub(in crate::edge) fn notice(&self) -> Option<String> {
        let cap = self.output_cap.filter(|_| !self.harmless)?;
        Some(format!("max_output_tokens={cap}"))
    }
}

/// Returns the possible cost of a request besides the tokens of its text.
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

/// The assumed output tokens if neither the client nor the catalog limits them.
const DEFAULT_OUTPUT: u64 = 8192;

/// The output tokens below which some providers refuse a limit.
const LEAST_OUTPUT: u64 = 16;

/// The output tokens from which on a call is worth while if the account cannot pay for more.
const WORTHWHILE: u64 = 1024;

/// The tokens that providers add to a prompt, for example their own instructions for tools.
pub(in crate::edge) const OVERHEAD: u64 = 1024;

/// The tokens of an image, or of some pages, beyond its bytes in the request.
const MEDIUM: u64 = 5000;

/// The assumed tokens of a prompt whose length the request does not show, for models without a configured context
/// window: the window of GPT-5. Tokens beyond it are paid for from the balance.
const DEFAULT_CONTEXT_WINDOW: u64 = 400_000;

/// The web searches for which money is set aside. A chosen value: few answers need more. Further ones are paid for
/// from the balance.
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
