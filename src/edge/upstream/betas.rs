//! Beta features of the Messages protocol that make a call more expensive than its prices say.
//!
//! A client names them in `anthropic-beta`. If a model has prices, a feature that changes them is forwarded only
//! if the model has a price for it. Other features change nothing by themselves: the requests that they allow are
//! judged by their bodies.

use crate::canon::Rate;
use crate::meter::Prices;

/// The effect of a feature on the price of a call.
enum Effect {
    /// The whole call is charged at this rate.
    Rate(Rate),
    /// Prompts may be longer than the plain prices allow for.
    LongPrompts,
}

/// Whether a feature may be forwarded to the provider, for a call with these prices.
pub(in crate::edge) fn may_pass(beta: &str, prices: Option<&Prices>) -> bool {
    let effect = DEAR.iter().find(|(family, _)| is_of(beta, family)).map(|(_, effect)| effect);
    match (effect, prices) {
        (None, _) | (_, None) => true,
        (Some(Effect::Rate(rate)), Some(prices)) => prices.have_rate(*rate),
        (Some(Effect::LongPrompts), Some(prices)) => prices.are_tiered(),
    }
}

/// Whether `beta` is a version of a feature: the feature's name, followed by a date.
fn is_of(beta: &str, family: &str) -> bool {
    beta.get(..family.len()).is_some_and(|start| start.eq_ignore_ascii_case(family))
        && beta.get(family.len()..).is_some_and(|date| date.is_empty() || date.starts_with('-'))
}

/// The features that change prices. Longer answers (`output-128k`) and a longer prompt cache
/// (`extended-cache-ttl`) are not among them, because the tokens of both have prices.
const DEAR: &[(&str, Effect)] =
    &[("fast-mode", Effect::Rate(Rate::Fast)), ("context-1m", Effect::LongPrompts)];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::TierSettings;

    fn prices(thresholds: &[u64]) -> Prices {
        let tier =
            |threshold: &u64| TierSettings { threshold: *threshold, input: 1, ..TierSettings::default() };
        Prices::new(&thresholds.iter().map(tier).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn what_makes_a_call_dearer_needs_a_price() {
        let (plain, tiered) = (prices(&[0]), prices(&[0, 200_000]));
        for beta in ["fast-mode-2026-02-01", "Fast-Mode-2030-01-01", "context-1m-2025-08-07", "context-1m"] {
            assert!(!may_pass(beta, Some(&plain)), "{beta}");
            assert!(may_pass(beta, None), "{beta}");
        }
        assert!(may_pass("context-1m-2025-08-07", Some(&tiered)));
        assert!(!may_pass("fast-mode-2026-02-01", Some(&tiered)));
    }

    #[test]
    fn what_coding_clients_ask_for_goes_on() {
        for beta in [
            "claude-code-20250219",
            "interleaved-thinking-2025-05-14",
            "thinking-token-count-2026-05-13",
            "context-management-2025-06-27",
            "prompt-caching-scope-2026-01-05",
            "structured-outputs-2025-11-13",
            "mid-conversation-system-2026-04-07",
            "effort-2025-11-24",
            "extended-cache-ttl-2025-04-11",
            "fast-modest-2026-01-01",
        ] {
            assert!(may_pass(beta, Some(&prices(&[0]))), "{beta}");
        }
    }
}
