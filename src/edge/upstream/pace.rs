//! The pace at which a provider's models write, measured by their complete answers. A call that breaks off because
//! its client left has no token count, so the tokens that its model has written unseen are estimated by this pace.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::canon::Usage;

/// The paces of all models of one provider.
#[derive(Debug, Default)]
pub(in crate::edge) struct Paces(Mutex<HashMap<Box<str>, Pace>>);

/// The pace of one model: the tokens of its answers and the time that they took. Older answers count less.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    tokens: u64,
    micros: u64,
    /// Whether an answer has reported reasoning tokens.
    reasons: bool,
}

impl Paces {
    /// Notes the time of a complete answer, from the request to its end.
    pub(in crate::edge) fn note(&self, model: &str, usage: &Usage, time: Duration) {
        let reasons = usage.reasoning.is_some_and(|tokens| tokens > 0);
        let counts = usage.output >= LEAST_TOKENS;
        if !reasons && !counts {
            return;
        }
        let mut paces = self.0.lock();
        if !paces.contains_key(model) && paces.len() >= MAX_MODELS {
            return;
        }
        let pace = match paces.get_mut(model) {
            Some(pace) => pace,
            None => paces.entry(model.into()).or_default(),
        };
        pace.reasons |= reasons;
        if counts {
            let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            pace.tokens = older(pace.tokens).saturating_add(usage.output);
            pace.micros = older(pace.micros).saturating_add(micros.max(1));
        }
    }

    /// Whether an answer of the model has reported reasoning tokens.
    pub(in crate::edge) fn has_reasoned(&self, model: &str) -> bool {
        self.0.lock().get(model).is_some_and(|pace| pace.reasons)
    }

    /// Returns the tokens that a model writes in this time, including hidden ones.
    pub(in crate::edge) fn tokens_in(&self, model: &str, time: Duration) -> u64 {
        let pace = self.0.lock().get(model).copied().unwrap_or_default();
        let (tokens, micros) = match pace {
            Pace { micros: 0, .. } => (DEFAULT_RATE, SECOND),
            Pace { tokens, micros, .. } => (tokens, micros),
        };
        let at = |tokens: u64, micros: u64| {
            time.as_micros().saturating_mul(u128::from(tokens)) / u128::from(micros)
        };
        let written = at(tokens, micros).clamp(at(MIN_RATE, SECOND), at(MAX_RATE, SECOND));
        u64::try_from(written).unwrap_or(u64::MAX)
    }
}

/// Returns the part of a sum that remains when one more answer is added: about the last sixteen answers count.
fn older(sum: u64) -> u64 {
    sum - sum / 16
}

/// A second in microseconds.
const SECOND: u64 = 1_000_000;

/// The assumed pace of an unknown model, in tokens per second. Hosted models of the usual size write 50 to 150
/// (public comparisons of output speed, such as that of Artificial Analysis).
const DEFAULT_RATE: u64 = 100;

/// The slowest assumed pace, in tokens per second: the slowest hosted models in the same comparisons have 20 to
/// 30. A client that makes a model seem slow, by long prompts with short answers, gains no more than that.
const MIN_RATE: u64 = 20;

/// The fastest assumed pace, in tokens per second: the fastest hosted models write 2,000 to 3,000. An answer that
/// comes from a cache would seem faster.
const MAX_RATE: u64 = 3_000;

/// The shortest answer that counts, in tokens: most of the time of a shorter one passes before its first token.
const LEAST_TOKENS: u64 = 50;

/// The most models of a provider whose paces are kept.
const MAX_MODELS: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(output: u64, reasoning: Option<u64>) -> Usage {
        Usage { input: 1, output, reasoning, ..Usage::default() }
    }

    const TEN: Duration = Duration::from_secs(10);

    #[test]
    fn the_pace_is_learned_from_long_answers() {
        let paces = Paces::default();
        assert_eq!(paces.tokens_in("m", TEN), 10 * DEFAULT_RATE, "nothing is known");
        paces.note("m", &usage(LEAST_TOKENS - 1, None), TEN);
        assert_eq!(paces.tokens_in("m", TEN), 10 * DEFAULT_RATE, "a short answer says nothing");
        paces.note("m", &usage(400, None), TEN);
        assert_eq!((paces.tokens_in("m", TEN), paces.tokens_in("other", TEN)), (400, 1000));
        (0..100).for_each(|_| paces.note("m", &usage(2000, None), TEN));
        assert!((1900..=2000).contains(&paces.tokens_in("m", TEN)), "{}", paces.tokens_in("m", TEN));
        assert_eq!(paces.tokens_in("m", Duration::ZERO), 0);
    }

    #[test]
    fn a_long_answer_counts_for_more_than_a_short_one() {
        let paces = Paces::default();
        paces.note("m", &usage(10_000, None), Duration::from_secs(100));
        paces.note("m", &usage(LEAST_TOKENS, None), TEN);
        assert!(paces.tokens_in("m", TEN) > 900, "{}", paces.tokens_in("m", TEN));
    }

    #[test]
    fn nothing_is_faster_than_the_fastest() {
        let paces = Paces::default();
        paces.note("m", &usage(100_000, None), Duration::from_millis(1));
        assert_eq!(paces.tokens_in("m", TEN), 10 * MAX_RATE);
        paces.note("s", &usage(LEAST_TOKENS, None), Duration::from_secs(1000));
        assert_eq!(paces.tokens_in("s", TEN), 10 * MIN_RATE, "nor slower than the slowest");
        paces.note("n", &usage(100_000, None), Duration::ZERO);
        assert_eq!(paces.tokens_in("n", TEN), 10 * MAX_RATE);
    }

    #[test]
    fn reasoning_is_remembered_also_of_a_short_answer() {
        let paces = Paces::default();
        paces.note("m", &usage(9, Some(0)), TEN);
        assert!(!paces.has_reasoned("m"));
        paces.note("m", &usage(9, Some(5)), TEN);
        assert!(paces.has_reasoned("m") && !paces.has_reasoned("n"));
        assert_eq!(paces.tokens_in("m", TEN), 10 * DEFAULT_RATE);
    }

    #[test]
    fn the_paces_of_only_so_many_models_are_kept() {
        let paces = Paces::default();
        (0..MAX_MODELS + 5).for_each(|n| paces.note(&n.to_string(), &usage(1000, Some(1)), TEN));
        assert_eq!(paces.0.lock().len(), MAX_MODELS);
        paces.note("7", &usage(1000, Some(1)), TEN);
        assert!(paces.has_reasoned("7"));
    }
}
