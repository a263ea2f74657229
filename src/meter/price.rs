//! Prices, and the cost of a call by them.
//!
//! A price is micro-USD for a million tokens, so the cost of a call in nano-USD is tokens times price divided
//! by 1,000. The products are added up first, and a part of a nano-USD that is left counts as a whole one: once for each
//! price list by which a call is charged, which is more than one only if its provider has asked other models. A
//! multiplier rounds up the thousandths of a nano-USD. So no part of a unit is lost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::canon::{Rate, Rates, Usage};
use crate::money::Amount;

/// Prices in the configuration that apply from a prompt of some size on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TierSettings {
    /// The smallest prompt, in tokens, to which these prices apply; they then apply to the whole call. Default: 0.
    #[serde(default)]
    pub threshold: u64,
    /// Micro-USD for a million input tokens: 1 USD is 1000000.
    pub input: u64,
    /// Micro-USD for a million output tokens, reasoning included.
    pub output: u64,
    /// Micro-USD for a million input tokens read from the provider's prompt cache. Default: the same as `input`.
    pub cache_read: Option<u64>,
    /// Micro-USD for a million input tokens written to the provider's prompt cache. Default: the same as `input`.
    pub cache_write: Option<u64>,
    /// Micro-USD for a million input tokens written to the prompt cache for an hour or longer. Default: twice
    /// `input` if `cache_write` is given, otherwise the same as `input`.
    pub cache_write_long: Option<u64>,
    /// Micro-USD for a million input tokens of audio. Default: none, and requests with audio are refused.
    pub audio_input: Option<u64>,
    /// Micro-USD for a million output tokens of audio. Default: none, and requests for audio are refused.
    pub audio_output: Option<u64>,
    /// Micro-USD for one web search by the provider. Default: none. Then the tool is left out of requests that
    /// also have other tools, and requests for nothing but a search are refused.
    pub web_search: Option<u64>,
    /// Multipliers for all tokens of a call that is answered with another class of service, speed or geography
    /// than the usual one. Default: none.
    #[serde(default)]
    pub rates: RateSettings,
}

/// Multipliers of the token prices, in hundredths: 200 doubles the price. A request for a more expensive rate
/// without a multiplier is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateSettings {
    /// For `speed: "fast"` of Messages, and the service tier `fast`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fast: Option<u32>,
    /// For the service tier `priority`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// For the service tier `ultrafast`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ultrafast: Option<u32>,
    /// For the service tier `flex`. Default: 100, the full price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flex: Option<u32>,
    /// For `inference_geo: "us"` of Messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub us: Option<u32>,
}

/// The things beside the tokens of its text that a call may be charged for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// The rates that it asks for.
    pub rates: Rates,
    /// Whether it may write to the prompt cache for longer than the default.
    pub long_cache: bool,
    /// Whether a part of its prompt may be sound.
    pub audio_input: bool,
    /// Whether a part of its answer may be sound.
    pub audio_output: bool,
    /// Web searches for which money is set aside.
    pub searches: u64,
}

/// A model's prices, in tiers by the size of the prompt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Tier>", into = "Vec<Tier>")]
pub struct Prices {
    /// The tier of the smallest prompts: there always is one.
    first: Tier,
    /// The others, by rising thresholds.
    more: Vec<Tier>,
}

/// The prices of a million tokens of each kind, from a size of the prompt on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenPrices {
    /// The smallest prompt, in tokens.
    pub threshold: u64,
    /// The price of input.
    pub input: Amount,
    /// The price of output.
    pub output: Amount,
    /// The price of input that is read from the provider's cache.
    pub cache_read: Amount,
    /// The price of input that is written to the provider's cache.
    pub cache_write: Amount,
}

/// Micro-USD for a million tokens of each kind. A price that a list of an earlier version does not
/// name is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Tier {
    threshold: u64,
    input: u64,
    output: u64,
    cache_read: u64,
    cache_write: u64,
    /// Absent: as `cache_write`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cache_write_long: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audio_input: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audio_output: Option<u64>,
    /// Micro-USD for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    web_search: Option<u64>,
    #[serde(default, skip_serializing_if = "RateSettings::is_empty")]
    rates: RateSettings,
}

/// A part of an answer that may be reported, and for which a model may have no price: rates, and services that are not
/// counted in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpriced {
    /// A rate for which there is no multiplier.
    Rate(Rate),
    /// Web searches.
    WebSearch,
    /// Sound in the prompt.
    AudioInput,
    /// Sound in the answer.
    AudioOutput,
}

impl Unpriced {
    /// All that [`Prices::unpriced`] can return. The rate `flex` is none of them: without a price of its own it is not
    /// cheaper, and nobody loses.
    pub const ALL: [Self; 7] = [
        Self::Rate(Rate::Fast),
        Self::Rate(Rate::Priority),
        Self::Rate(Rate::Ultrafast),
        Self::Rate(Rate::Us),
        Self::WebSearch,
        Self::AudioInput,
        Self::AudioOutput,
    ];

    /// Returns the value of the metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rate(rate) => rate.name(),
            Self::WebSearch => "web_search",
            Self::AudioInput => "audio_input",
            Self::AudioOutput => "audio_output",
        }
    }
}

impl Prices {
    /// Makes the prices of these tiers, in any order.
    ///
    /// # Errors
    /// Fails if there is not exactly one tier for each threshold, with one for 0, or if a multiplier makes no sense.
    pub fn new(tiers: &[TierSettings]) -> Result<Self, String> {
        let mut tiers: Vec<_> = tiers.iter().map(Tier::from).collect();
        tiers.sort_by_key(|tier| tier.threshold);
        let prices = Self::try_from(tiers)?;
        let bad = |rate: &Rate| {
            let multiplier = |tier: &Tier| tier.rates.of(*rate);
            prices.tiers().filter_map(multiplier).any(|multiplier| !MULTIPLIERS.contains(&multiplier))
        };
        if let Some(rate) = Rate::ALL.iter().find(|rate| bad(rate)) {
            return Err(format!(
                "the rate '{}' must be from {} to {} hundredths",
                rate.name(),
                MULTIPLIERS.start(),
                MULTIPLIERS.end()
            ));
        }
        Ok(prices)
    }

    /// Returns the prices of tokens, by rising sizes of the prompt.
    #[must_use]
    pub fn of_tokens(&self) -> Vec<TokenPrices> {
        let amount = |micro: u64| Amount::from_nano(u128::from(micro) * 1_000);
        let prices = |tier: &Tier| TokenPrices {
            threshold: tier.threshold,
            input: amount(tier.input),
            output: amount(tier.output),
            cache_read: amount(tier.cache_read),
            cache_write: amount(tier.cache_write),
        };
        self.tiers().map(prices).collect()
    }

    /// Returns the prices of what costs nothing.
    #[must_use]
    pub fn free() -> Self {
        Self { first: Tier::default(), more: Vec::new() }
    }

    /// Whether everything is free.
    #[must_use]
    pub fn are_zero(&self) -> bool {
        let dearest = self.dearest(u64::MAX, &Extras::most());
        dearest.input == 0 && dearest.output == 0 && dearest.web_search.unwrap_or(0) == 0
    }

    /// Whether a price of tokens is so low that it may have been meant as dollars.
    #[must_use]
    pub fn are_tiny(&self) -> bool {
        let of = |tier: &Tier| {
            let certain = [tier.input, tier.output, tier.cache_read, tier.cache_write];
            let others = [tier.cache_write_long, tier.audio_input, tier.audio_output];
            certain
                .into_iter()
                .chain(others.into_iter().flatten())
                .any(|price| (1..TINY_PRICE).contains(&price))
        };
        self.tiers().any(of)
    }

    /// Whether there is a multiplier for this rate, whatever the size of the prompt.
    #[must_use]
    pub fn have_rate(&self, rate: Rate) -> bool {
        self.tiers().all(|tier| tier.rates.of(rate).is_some())
    }

    /// Returns those of some rates that make a call no cheaper.
    #[must_use]
    pub fn dearer(&self, rates: Rates) -> Rates {
        let cheaper = |tier: &Tier, rate| tier.rates.of(rate).is_some_and(|rate| u128::from(rate) < PLAIN);
        rates.iter().filter(|rate| !self.tiers().any(|tier| cheaper(tier, *rate))).collect()
    }

    /// Whether there is a price for web searches, whatever the size of the prompt.
    #[must_use]
    pub fn have_searches(&self) -> bool {
        self.tiers().all(|tier| tier.web_search.is_some())
    }

    /// Whether there is a price for sound in prompts, whatever their size.
    #[must_use]
    pub fn have_audio_input(&self) -> bool {
        self.tiers().all(|tier| tier.audio_input.is_some())
    }

    /// Whether there is a price for sound in answers, whatever the size of the prompt.
    #[must_use]
    pub fn have_audio_output(&self) -> bool {
        self.tiers().all(|tier| tier.audio_output.is_some())
    }

    /// Returns everything in a usage that has no price of its own, so that the plain price applies, or none.
    #[must_use]
    pub fn unpriced(&self, usage: &Usage) -> Vec<Unpriced> {
        let tier = self.tier(usage);
        // Without its own multiplier, what is cheaper costs as much as all else, and nobody loses.
        let rates = usage.rates.iter().filter(|rate| *rate != Rate::Flex && tier.rates.of(*rate).is_none());
        let others = [
            (usage.searches, tier.web_search, Unpriced::WebSearch),
            (usage.audio_input, tier.audio_input, Unpriced::AudioInput),
            (usage.audio_output, tier.audio_output, Unpriced::AudioOutput),
        ];
        let others = others.into_iter().filter(|(count, price, _)| *count > 0 && price.is_none());
        rates.map(Unpriced::Rate).chain(others.map(|(_, _, service)| service)).collect()
    }

    /// Whether longer prompts have prices of their own.
    #[must_use]
    pub fn are_tiered(&self) -> bool {
        !self.more.is_empty()
    }

    /// Returns the cost of a call with this usage.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> Amount {
        let tier = self.tier(usage);
        let long = usage.cache_write_long.min(usage.cache_write);
        // Sound that was read from the cache is charged as all that was.
        let heard = usage.audio_input.min(usage.input);
        let spoken = usage.audio_output.min(usage.output);
        let tokens = sum(&[
            (usage.input - heard, tier.input),
            (heard, tier.audio_input.unwrap_or(tier.input)),
            (usage.cache_read, tier.cache_read),
            (usage.cache_write - long, tier.cache_write),
            (long, tier.long()),
            (usage.output - spoken, tier.output),
            (spoken, tier.audio_output.unwrap_or(tier.output)),
        ]);
        let rates = usage.rates.iter().filter_map(|rate| tier.rates.of(rate));
        let tokens = rates.fold(tokens, multiplied);
        rounded_up(tokens.saturating_add(tier.fees(usage.searches)))
    }

    /// Returns the most that a call can cost whose prompt and output have at most so many tokens, unless its provider does
    /// something that is not among the `extras`.
    #[must_use]
    pub fn ceiling(&self, prompt: u64, output: u64, extras: &Extras) -> Amount {
        let dearest = self.dearest(prompt, extras);
        let tokens = sum(&[(prompt, dearest.input), (output, dearest.output)]);
        let tokens = dearest.raises(extras).fold(tokens, multiplied);
        rounded_up(tokens.saturating_add(dearest.fees(extras.searches)))
    }

    /// Returns the most output tokens that surely cost no more than `amount`, with a prompt of at most so many.
    #[must_use]
    pub fn affordable(&self, prompt: u64, amount: Amount, extras: &Extras) -> u64 {
        let dearest = self.dearest(prompt, extras);
        let rest = (u128::from(amount.nano()) * PER_NANO).saturating_sub(dearest.fees(extras.searches));
        let divided = |rest: u128, multiplier| rest.saturating_mul(PLAIN) / u128::from(multiplier).max(1);
        // In the opposite order, so that what is rounded here is rounded there.
        let raises = dearest.raises(extras).rev();
        let rest = raises.fold(rest, divided).saturating_sub(product(prompt, dearest.input));
        match u128::from(dearest.output) {
            0 => u64::MAX,
            price => u64::try_from(rest / price).unwrap_or(u64::MAX),
        }
    }

    /// Returns the tier that applies to a call.
    fn tier(&self, usage: &Usage) -> &Tier {
        let prompt = usage.prompt();
        self.more.iter().rev().find(|tier| tier.threshold <= prompt).unwrap_or(&self.first)
    }

    fn tiers(&self) -> impl Iterator<Item = &Tier> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// Returns the highest price of each direction that can apply to a prompt of at most so many tokens.
    fn dearest(&self, prompt: u64, extras: &Extras) -> Tier {
        let possible = || self.tiers().filter(|tier| tier.threshold <= prompt);
        let dearest = |of: fn(&Tier, &Extras) -> u64| {
            possible().fold(of(&self.first, extras), |most, tier| most.max(of(tier, extras)))
        };
        let (input, output) = (dearest(Tier::dearest_input), dearest(Tier::dearest_output));
        let rate = |of: fn(&RateSettings) -> Option<u32>| possible().filter_map(|tier| of(&tier.rates)).max();
        Tier {
            threshold: 0,
            input,
            output,
            cache_read: input,
            cache_write: input,
            web_search: possible().filter_map(|tier| tier.web_search).max(),
            rates: RateSettings {
                fast: rate(|rates| rates.fast),
                priority: rate(|rates| rates.priority),
                ultrafast: rate(|rates| rates.ultrafast),
                flex: rate(|rates| rates.flex),
                us: rate(|rates| rates.us),
            },
            ..Tier::default()
        }
    }
}

/// Tiers as the store holds them.
impl TryFrom<Vec<Tier>> for Prices {
    type Error = String;

    fn try_from(tiers: Vec<Tier>) -> Result<Self, String> {
        let mut tiers = tiers.into_iter();
        let Some(first) = tiers.next().filter(|first| first.threshold == 0) else {
            return Err("one tier needs the threshold 0, or none".to_owned());
        };
        let prices = Self { first, more: tiers.collect() };
        let wrong = prices.tiers().zip(&prices.more).find(|(one, next)| one.threshold >= next.threshold);
        if let Some((_, next)) = wrong {
            return Err(format!("two tiers have the threshold {}", next.threshold));
        }
        Ok(prices)
    }
}

impl From<Prices> for Vec<Tier> {
    fn from(Prices { first, mut more }: Prices) -> Self {
        more.insert(0, first);
        more
    }
}

impl Tier {
    fn long(&self) -> u64 {
        self.cache_write_long.unwrap_or(self.cache_write)
    }

    fn dearest_input(&self, extras: &Extras) -> u64 {
        let long = extras.long_cache.then_some(self.long());
        let heard = self.audio_input.filter(|_| extras.audio_input);
        let plain = [self.input, self.cache_read, self.cache_write];
        plain.into_iter().chain(long).chain(heard).max().unwrap_or(0)
    }

    fn dearest_output(&self, extras: &Extras) -> u64 {
        self.output.max(self.audio_output.filter(|_| extras.audio_output).unwrap_or(0))
    }

    /// Returns the multipliers of the rates that a call asks for, as far as they make it dearer: the provider may not do as
    /// it is asked.
    fn raises(&self, extras: &Extras) -> impl DoubleEndedIterator<Item = u32> {
        let rates = extras.rates.iter().filter_map(|rate| self.rates.of(rate));
        rates.filter(|multiplier| u128::from(*multiplier) > PLAIN)
    }

    /// Returns the cost of so many searches, in thousandths of a nano-USD.
    fn fees(&self, searches: u64) -> u128 {
        product(searches, self.web_search.unwrap_or(0)).saturating_mul(PER_MICRO)
    }
}

impl RateSettings {
    /// No multipliers.
    pub const NONE: Self = Self { fast: None, priority: None, ultrafast: None, flex: None, us: None };

    /// Returns the multiplier of a rate.
    #[must_use]
    pub fn of(&self, rate: Rate) -> Option<u32> {
        match rate {
            Rate::Fast => self.fast,
            Rate::Priority => self.priority,
            Rate::Ultrafast => self.ultrafast,
            Rate::Flex => self.flex,
            Rate::Us => self.us,
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::NONE
    }
}

impl Extras {
    /// Returns everything that there may be a price for.
    fn most() -> Self {
        Self { rates: Rates::default(), long_cache: true, audio_input: true, audio_output: true, searches: 1 }
    }
}

impl From<&TierSettings> for Tier {
    fn from(settings: &TierSettings) -> Self {
        let cache_write = settings.cache_write.unwrap_or(settings.input);
        let twice = settings.cache_write.map(|_| settings.input.saturating_mul(2));
        Self {
            threshold: settings.threshold,
            input: settings.input,
            output: settings.output,
            cache_read: settings.cache_read.unwrap_or(settings.input),
            cache_write,
            cache_write_long: settings.cache_write_long.or(twice).filter(|long| *long != cache_write),
            audio_input: settings.audio_input,
            audio_output: settings.audio_output,
            web_search: settings.web_search,
            rates: settings.rates,
        }
    }
}

fn product(tokens: u64, price: u64) -> u128 {
    u128::from(tokens) * u128::from(price)
}

/// Returns the cost of so many tokens at such prices, in thousandths of a nano-USD.
fn sum(parts: &[(u64, u64)]) -> u128 {
    parts.iter().fold(0, |sum: u128, &(tokens, price)| sum.saturating_add(product(tokens, price)))
}

fn multiplied(sum: u128, multiplier: u32) -> u128 {
    sum.saturating_mul(multiplier.into()).div_ceil(PLAIN)
}

fn rounded_up(sum: u128) -> Amount {
    Amount::from_nano(sum.div_ceil(PER_NANO))
}

/// Tokens times micro-USD for a million of them, in one nano-USD: each is a thousandth of a nano-USD.
const PER_NANO: u128 = 1_000;

/// The same, in one micro-USD.
const PER_MICRO: u128 = 1_000_000;

/// The multiplier that changes nothing, in hundredths.
const PLAIN: u128 = 100;

/// Multipliers in hundredths that make sense: from a hundredth of the price to a thousand times as much.
const MULTIPLIERS: std::ops::RangeInclusive<u32> = 1..=100_000;

/// The price below which dollars may have been written as micro-USD for a million tokens. A chosen value: a thousandth of a
/// dollar, where the cheapest models cost a hundredth.
const TINY_PRICE: u64 = 1_000;

#[cfg(test)]
#[path = "price_tests.rs"]
mod tests;
