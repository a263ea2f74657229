//! Prices, and what a call costs by them.
//!
//! A price is micro-USD for a million tokens, so the cost of a call in nano-USD is tokens times price divided
//! by 1,000. The products are added up first; what is left of a nano-USD counts as a whole one, once for each
//! call. So no part of a unit is lost, and none is counted twice.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::canon::Usage;
use crate::money::Amount;

/// Prices in the configuration, from some size of the prompt on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TierSettings {
    /// Prompt tokens from which on these prices hold, for the whole call. Default: 0.
    #[serde(default)]
    pub threshold: u64,
    /// Micro-USD for a million input tokens: 1 USD is 1000000.
    pub input: u64,
    /// Micro-USD for a million output tokens, reasoning included.
    pub output: u64,
    /// Micro-USD for a million input tokens read from the provider's prompt cache. Default: as `input`.
    pub cache_read: Option<u64>,
    /// Micro-USD for a million input tokens written to the provider's prompt cache. Default: as `input`.
    pub cache_write: Option<u64>,
}

/// A model's prices, in tiers by the size of the prompt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Prices(Vec<Tier>);

/// Micro-USD for a million tokens of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Tier {
    threshold: u64,
    input: u64,
    output: u64,
    cache_read: u64,
    cache_write: u64,
}

impl Prices {
    /// The prices of these tiers, in any order.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(tiers: &[TierSettings]) -> Result<Self, String> {
        let mut tiers: Vec<_> = tiers.iter().map(Tier::from).collect();
        tiers.sort_by_key(|tier| tier.threshold);
        if tiers.first().is_none_or(|first| first.threshold != 0) {
            return Err("one tier needs the threshold 0, or none".to_owned());
        }
        if let Some([one, _]) = tiers.array_windows().find(|[one, next]| one.threshold == next.threshold) {
            return Err(format!("two tiers have the threshold {}", one.threshold));
        }
        Ok(Self(tiers))
    }

    /// The prices of what costs nothing.
    #[must_use]
    pub fn free() -> Self {
        Self(vec![Tier::from(&TierSettings::default())])
    }

    /// Is everything free?
    #[must_use]
    pub fn are_zero(&self) -> bool {
        self.0.iter().all(|tier| tier.dearest_input() == 0 && tier.output == 0)
    }

    /// Whether longer prompts have prices of their own.
    #[must_use]
    pub fn are_tiered(&self) -> bool {
        self.0.len() > 1
    }

    /// What a call with these tokens costs.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> Amount {
        let prompt = usage.prompt();
        let Some(tier) = self.0.iter().rev().find(|tier| tier.threshold <= prompt) else {
            return Amount::ZERO;
        };
        rounded_up(&[
            (usage.input, tier.input),
            (usage.cache_read, tier.cache_read),
            (usage.cache_write, tier.cache_write),
            (usage.output, tier.output),
        ])
    }

    /// The most that a call can cost whose prompt and output have at most so many tokens.
    #[must_use]
    pub fn ceiling(&self, prompt: u64, output: u64) -> Amount {
        let dearest = self.dearest(prompt);
        rounded_up(&[(prompt, dearest.input), (output, dearest.output)])
    }

    /// The most output tokens that surely cost no more than `amount`, beside a prompt of at most so many.
    #[must_use]
    pub fn affordable(&self, prompt: u64, amount: Amount) -> u64 {
        let dearest = self.dearest(prompt);
        let rest = (u128::from(amount.nano()) * PER_NANO).saturating_sub(product(prompt, dearest.input));
        match u128::from(dearest.output) {
            0 => u64::MAX,
            price => u64::try_from(rest / price).unwrap_or(u64::MAX),
        }
    }

    /// The highest price of each direction that can apply to a prompt of at most so many tokens.
    fn dearest(&self, prompt: u64) -> Tier {
        let possible = || self.0.iter().filter(|tier| tier.threshold <= prompt);
        let input = possible().map(Tier::dearest_input).max().unwrap_or(0);
        let output = possible().map(|tier| tier.output).max().unwrap_or(0);
        Tier { threshold: 0, input, output, cache_read: input, cache_write: input }
    }
}

impl Tier {
    fn dearest_input(&self) -> u64 {
        self.input.max(self.cache_read).max(self.cache_write)
    }
}

impl From<&TierSettings> for Tier {
    fn from(settings: &TierSettings) -> Self {
        Self {
            threshold: settings.threshold,
            input: settings.input,
            output: settings.output,
            cache_read: settings.cache_read.unwrap_or(settings.input),
            cache_write: settings.cache_write.unwrap_or(settings.input),
        }
    }
}

fn product(tokens: u64, price: u64) -> u128 {
    u128::from(tokens) * u128::from(price)
}

fn rounded_up(parts: &[(u64, u64)]) -> Amount {
    let sum = parts.iter().fold(0_u128, |sum, &(tokens, price)| sum.saturating_add(product(tokens, price)));
    Amount::from_nano(sum.div_ceil(PER_NANO))
}

/// Tokens times micro-USD for a million of them, in one nano-USD.
const PER_NANO: u128 = 1_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tier(threshold: u64, input: u64, output: u64) -> TierSettings {
        TierSettings { threshold, input, output, ..TierSettings::default() }
    }

    #[test]
    fn each_kind_has_its_price() {
        let prices = Prices::new(&[TierSettings {
            cache_read: Some(300_000),
            cache_write: Some(3_750_000),
            ..tier(0, 3_000_000, 15_000_000)
        }])
        .unwrap();
        let usage =
            Usage { input: 1_000, cache_read: 10_000, cache_write: 100, output: 500, ..Usage::default() };
        // 3 + 3 + 0.375 + 7.5 thousandths of a dollar.
        assert_eq!(prices.cost(&usage).nano(), 13_875_000);
    }

    #[test]
    fn the_tier_of_the_prompt_holds_for_the_whole_call() {
        let prices = Prices::new(&[tier(200_000, 2_000, 4_000), tier(0, 1_000, 2_000)]).unwrap();
        let cost = |input, output| prices.cost(&Usage { input, output, ..Usage::default() }).nano();
        assert_eq!((cost(199_999, 1), cost(200_000, 1)), (199_999 + 2, 400_000 + 4));
        // A prompt that may reach the second tier is held at its price.
        assert_eq!(prices.ceiling(200_000, 1).nano(), 400_004);
        assert_eq!(prices.ceiling(199_999, 1).nano(), 200_001);
    }

    #[test]
    fn a_part_of_a_unit_counts_once_for_a_call() {
        let prices = Prices::new(&[tier(0, 1, 1)]).unwrap();
        let cost = |input, output| prices.cost(&Usage { input, output, ..Usage::default() }).nano();
        assert_eq!([cost(0, 0), cost(1, 0), cost(1, 1), cost(500, 500), cost(500, 501)], [0, 1, 1, 1, 2]);
    }

    #[test]
    fn tiers_begin_at_nothing_and_differ() {
        assert!(Prices::new(&[]).is_err());
        assert!(Prices::new(&[tier(1, 1, 1)]).is_err());
        assert!(Prices::new(&[tier(0, 1, 1), tier(0, 2, 2)]).is_err());
        assert!(Prices::new(&[tier(0, 0, 0)]).unwrap().are_zero());
    }

    proptest! {
        #[test]
        fn no_usage_within_the_bounds_costs_more_than_the_ceiling(
            tiers in proptest::collection::vec((0..3_u64, 0..u64::MAX, 0..u64::MAX, 0..u64::MAX), 1..3),
            parts in (0..1_000_u64, 0..1_000_u64, 0..1_000_u64, 0..1_000_u64),
            room in 0..1_000_u64,
        ) {
            let tiers: Vec<_> = tiers.into_iter().enumerate().map(|(n, (step, input, output, cache))| {
                let threshold = n as u64 * (step + 1) * 700;
                TierSettings { threshold, input, output, cache_read: Some(cache), cache_write: None }
            }).collect();
            let prices = Prices::new(&tiers).unwrap();
            let (input, cache_read, cache_write, output) = parts;
            let usage = Usage { input, cache_read, cache_write, output, reasoning: None };
            let prompt = usage.prompt() + room;
            prop_assert!(prices.cost(&usage) <= prices.ceiling(prompt, output + room));
            let amount = prices.ceiling(prompt, output);
            prop_assert!(prices.affordable(prompt, amount) >= output || amount == Amount::MAX);
            let most = prices.affordable(prompt, amount);
            prop_assert!(amount == Amount::MAX || prices.ceiling(prompt, most) <= amount);
        }
    }
}
