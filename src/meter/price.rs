//! Prices, and what a call costs by them.
//!
//! A price is micro-USD for a million tokens, so the cost of a call in nano-USD is tokens times price divided
//! by 1,000. The products are added up first; what is left of a nano-USD counts as a whole one, once for each
//! call. So no part of a unit is lost, and none is counted twice.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::canon::{Rate, Rates, Usage};
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
    /// Micro-USD for a million input tokens written to the prompt cache for an hour or longer. Default: twice `input`
    /// where `cache_write` is given, else as `input`.
    pub cache_write_long: Option<u64>,
    /// Micro-USD for a million input tokens of sound. Default: none, and requests with sound are refused.
    pub audio_input: Option<u64>,
    /// Micro-USD for a million output tokens of sound. Default: none, and requests for sound are refused.
    pub audio_output: Option<u64>,
    /// Micro-USD for a web search of the provider. Default: none; then the tool is left out of
    /// requests that have others, and requests that are for a search are refused.
    pub web_search: Option<u64>,
    /// What all tokens of a call cost more, or less, that is answered at another class of service, speed or geography
    /// than the usual one.
    #[serde(default)]
    pub rates: RateSettings,
}

/// Multipliers of the prices of tokens, in hundredths: 200 is twice as dear. Requests that ask for a dearer rate that
/// has no multiplier are refused.
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
    /// For the service tier `flex`. Default: 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flex: Option<u32>,
    /// For `inference_geo: "us"` of Messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub us: Option<u32>,
}

/// What a call may be charged for beside the tokens of its text.
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
#[serde(transparent)]
pub struct Prices(Vec<Tier>);

/// Micro-USD for a million tokens of each kind. What a price list of an earlier version has not, it has no price for.
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
        let bad = |rate: &Rate| {
            let multiplier = |tier: &Tier| tier.rates.of(*rate);
            tiers.iter().filter_map(multiplier).any(|multiplier| !MULTIPLIERS.contains(&multiplier))
        };
        if let Some(rate) = Rate::ALL.iter().find(|rate| bad(rate)) {
            return Err(format!(
                "the rate '{}' must be from {} to {} hundredths",
                rate.name(),
                MULTIPLIERS.start(),
                MULTIPLIERS.end()
            ));
        }
        Ok(Self(tiers))
    }

    /// The prices of what costs nothing.
    #[must_use]
    pub fn free() -> Self {
        Self(vec![Tier::default()])
    }

    /// Is everything free?
    #[must_use]
    pub fn are_zero(&self) -> bool {
        let dearest = self.dearest(u64::MAX, &Extras::most());
        dearest.input == 0 && dearest.output == 0 && dearest.web_search.unwrap_or(0) == 0
    }

    /// Whether there is a multiplier for this rate, whatever the size of the prompt.
    #[must_use]
    pub fn have_rate(&self, rate: Rate) -> bool {
        self.0.iter().all(|tier| tier.rates.of(rate).is_some())
    }

    /// Those of some rates that make a call no cheaper.
    #[must_use]
    pub fn dearer(&self, rates: Rates) -> Rates {
        let cheaper = |tier: &Tier, rate| tier.rates.of(rate).is_some_and(|rate| u128::from(rate) < PLAIN);
        rates.iter().filter(|rate| !self.0.iter().any(|tier| cheaper(tier, *rate))).collect()
    }

    /// Whether there is a price for web searches, whatever the size of the prompt.
    #[must_use]
    pub fn have_searches(&self) -> bool {
        self.0.iter().all(|tier| tier.web_search.is_some())
    }

    /// Whether there is a price for sound in prompts, whatever their size.
    #[must_use]
    pub fn have_audio_input(&self) -> bool {
        self.0.iter().all(|tier| tier.audio_input.is_some())
    }

    /// Whether there is a price for sound in answers, whatever the size of the prompt.
    #[must_use]
    pub fn have_audio_output(&self) -> bool {
        self.0.iter().all(|tier| tier.audio_output.is_some())
    }

    /// What of a call there is no price for, so that the plain price holds, or none.
    #[must_use]
    pub fn unpriced(&self, usage: &Usage) -> Vec<&'static str> {
        let Some(tier) = self.tier(usage) else { return Vec::new() };
        // Without its own multiplier, what is cheaper costs as much as all else, and nobody loses.
        let rates = usage.rates.iter().filter(|rate| *rate != Rate::Flex && tier.rates.of(*rate).is_none());
        let others = [
            (usage.searches, tier.web_search, "web_search"),
            (usage.audio_input, tier.audio_input, "audio_input"),
            (usage.audio_output, tier.audio_output, "audio_output"),
        ];
        let others = others.into_iter().filter(|(count, price, _)| *count > 0 && price.is_none());
        rates.map(Rate::name).chain(others.map(|(_, _, name)| name)).collect()
    }

    /// Whether longer prompts have prices of their own.
    #[must_use]
    pub fn are_tiered(&self) -> bool {
        self.0.len() > 1
    }

    /// What a call with these tokens costs.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> Amount {
        let Some(tier) = self.tier(usage) else { return Amount::ZERO };
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

    /// The most that a call can cost whose prompt and output have at most so many tokens.
    #[must_use]
    pub fn ceiling(&self, prompt: u64, output: u64, extras: &Extras) -> Amount {
        let dearest = self.dearest(prompt, extras);
        let tokens = sum(&[(prompt, dearest.input), (output, dearest.output)]);
        let tokens = dearest.raises(extras).fold(tokens, multiplied);
        rounded_up(tokens.saturating_add(dearest.fees(extras.searches)))
    }

    /// The most output tokens that surely cost no more than `amount`, beside a prompt of at most so many.
    #[must_use]
    pub fn affordable(&self, prompt: u64, amount: Amount, extras: &Extras) -> u64 {
        let dearest = self.dearest(prompt, extras);
        let rest = (u128::from(amount.nano()) * PER_NANO).saturating_sub(dearest.fees(extras.searches));
        let divided = |rest: u128, multiplier| rest.saturating_mul(PLAIN) / u128::from(multiplier).max(1);
        let rest = dearest.raises(extras).fold(rest, divided).saturating_sub(product(prompt, dearest.input));
        match u128::from(dearest.output) {
            0 => u64::MAX,
            price => u64::try_from(rest / price).unwrap_or(u64::MAX),
        }
    }

    /// The tier that holds for a call.
    fn tier(&self, usage: &Usage) -> Option<&Tier> {
        let prompt = usage.prompt();
        self.0.iter().rev().find(|tier| tier.threshold <= prompt)
    }

    /// The highest price of each direction that can apply to a prompt of at most so many tokens.
    fn dearest(&self, prompt: u64, extras: &Extras) -> Tier {
        let possible = || self.0.iter().filter(|tier| tier.threshold <= prompt);
        let input = possible().map(|tier| tier.dearest_input(extras)).max().unwrap_or(0);
        let output = possible().map(|tier| tier.dearest_output(extras)).max().unwrap_or(0);
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

    /// The multipliers of what a call asks for, as far as they make it dearer: the provider may not do as it is asked.
    fn raises(&self, extras: &Extras) -> impl Iterator<Item = u32> {
        let rates = extras.rates.iter().filter_map(|rate| self.rates.of(rate));
        rates.filter(|multiplier| u128::from(*multiplier) > PLAIN)
    }

    /// What so many searches cost, in parts of a nano-USD.
    fn fees(&self, searches: u64) -> u128 {
        product(searches, self.web_search.unwrap_or(0)).saturating_mul(PER_MICRO)
    }
}

impl RateSettings {
    /// No multipliers.
    pub const NONE: Self = Self { fast: None, priority: None, ultrafast: None, flex: None, us: None };

    /// The multiplier of a rate.
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
    /// Everything that there may be a price for.
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

/// What so many tokens at such prices cost, in parts of a nano-USD.
fn sum(parts: &[(u64, u64)]) -> u128 {
    parts.iter().fold(0, |sum: u128, &(tokens, price)| sum.saturating_add(product(tokens, price)))
}

fn multiplied(sum: u128, multiplier: u32) -> u128 {
    sum.saturating_mul(multiplier.into()).div_ceil(PLAIN)
}

fn rounded_up(sum: u128) -> Amount {
    Amount::from_nano(sum.div_ceil(PER_NANO))
}

/// Tokens times micro-USD for a million of them, in one nano-USD.
const PER_NANO: u128 = 1_000;

/// The same, in one micro-USD.
const PER_MICRO: u128 = 1_000_000;

/// The multiplier that changes nothing, in hundredths.
const PLAIN: u128 = 100;

/// Multipliers in hundredths that make sense: from a hundredth of the price to a thousand times as much.
const MULTIPLIERS: std::ops::RangeInclusive<u32> = 1..=100_000;

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
        assert_eq!(prices.ceiling(200_000, 1, &Extras::default()).nano(), 400_004);
        assert_eq!(prices.ceiling(199_999, 1, &Extras::default()).nano(), 200_001);
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

    #[test]
    fn writes_that_last_longer_have_their_own_price() {
        let prices = |cache_write, cache_write_long| {
            let tier = TierSettings { cache_write, cache_write_long, ..tier(0, 1_000_000, 1_000_000) };
            Prices::new(&[tier]).unwrap()
        };
        let usage = Usage { cache_write: 1_000, cache_write_long: 600, ..Usage::default() };
        let cost = |cache_write, long| prices(cache_write, long).cost(&usage).nano();
        assert_eq!(cost(Some(1_250_000), Some(2_000_000)), 1_700_000);
        assert_eq!(cost(Some(1_250_000), None), 1_700_000, "twice the input by default");
        assert_eq!(cost(None, None), 1_000_000, "unless writes cost no more than input");
        assert_eq!(cost(Some(1_250_000), Some(0)), 500_000);
        // More than was written can not last longer.
        let odd = Usage { cache_write: 1, cache_write_long: 600, ..Usage::default() };
        assert_eq!(prices(Some(0), None).cost(&odd).nano(), 2_000);
    }

    fn rated() -> Prices {
        let rates = RateSettings { fast: Some(200), flex: Some(50), us: Some(110), ..RateSettings::NONE };
        Prices::new(&[TierSettings { rates, web_search: Some(10_000), ..tier(0, 1_000_000, 1_000_000) }])
            .unwrap()
    }

    #[test]
    fn rates_multiply_tokens_and_fees_are_added() {
        let cost = |rates: &[Rate], searches| {
            let rates = rates.iter().copied().collect();
            let usage = Usage { input: 1_000, output: 100, searches, rates, ..Usage::default() };
            (rated().cost(&usage).nano(), rated().unpriced(&usage))
        };
        assert_eq!(cost(&[], 0), (1_100_000, vec![]));
        assert_eq!(cost(&[Rate::Fast], 0), (2_200_000, vec![]));
        assert_eq!(cost(&[Rate::Flex], 0), (550_000, vec![]));
        assert_eq!(cost(&[Rate::Fast, Rate::Us], 3), (2_420_000 + 30_000_000, vec![]));
        assert_eq!(
            cost(&[Rate::Priority], 0),
            (1_100_000, vec!["priority"]),
            "the plain price, and it is told"
        );
        let plain = Prices::new(&[tier(0, 1, 1)]).unwrap();
        let rates = Rates::default().with(Rate::Flex);
        let usage = Usage { searches: 1, audio_input: 1, audio_output: 1, rates, ..Usage::default() };
        assert_eq!(plain.unpriced(&usage), ["web_search", "audio_input", "audio_output"]);
    }

    #[test]
    fn sound_has_its_own_price() {
        let (audio_input, audio_output) = (Some(10_000_000), Some(20_000_000));
        let prices =
            Prices::new(&[TierSettings { audio_input, audio_output, ..tier(0, 1_000_000, 1_000_000) }]);
        let usage = Usage {
            input: 10,
            output: 10,
            audio_input: 4,
            audio_output: 9,
            cache_read: 5,
            ..Usage::default()
        };
        assert_eq!(prices.unwrap().cost(&usage).nano(), 6_000 + 40_000 + 5_000 + 1_000 + 180_000);
    }

    #[test]
    fn what_has_a_price_has_it_in_all_tiers() {
        let mut settings = [tier(0, 1, 1), tier(9, 1, 1)];
        settings[1].web_search = Some(0);
        settings[1].audio_input = Some(0);
        settings[1].rates.priority = Some(1);
        let has = |settings: &[TierSettings]| {
            let prices = Prices::new(settings).unwrap();
            (prices.have_rate(Rate::Priority), prices.have_searches(), prices.have_audio_input())
        };
        assert_eq!(has(&settings), (false, false, false));
        settings[0] = TierSettings { threshold: 0, ..settings[1] };
        assert_eq!(has(&settings), (true, true, true));
        settings[0].rates.priority = Some(0);
        assert!(Prices::new(&settings).unwrap_err().contains("'priority'"));
    }

    #[test]
    fn price_lists_of_earlier_versions_are_read_and_written_as_they_were() {
        let earlier = r#"[{"threshold":0,"input":5,"output":6,"cache_read":1,"cache_write":5}]"#;
        let prices: Prices = serde_json::from_str(earlier).unwrap();
        let settings = TierSettings { cache_read: Some(1), ..tier(0, 5, 6) };
        assert_eq!(prices, Prices::new(&[settings]).unwrap());
        assert_eq!(serde_json::to_string(&prices).unwrap(), earlier);
        let rated = rated();
        assert_eq!(serde_json::from_str::<Prices>(&serde_json::to_string(&rated).unwrap()).unwrap(), rated);
    }

    /// A tier with any prices, of which those beyond the plain ones may be absent.
    fn any_tier() -> impl Strategy<Value = TierSettings> {
        let price = || 0..u64::MAX;
        let maybe = || proptest::option::of(0..u64::MAX);
        let rate = || proptest::option::of(MULTIPLIERS);
        let rates = (rate(), rate(), rate(), rate(), rate());
        ((price(), price()), (maybe(), maybe(), maybe(), maybe(), maybe(), maybe()), rates).prop_map(
            |(
                (input, output),
                (read, write, long, heard, spoken, search),
                (fast, priority, ultrafast, flex, us),
            )| {
                TierSettings {
                    threshold: 0,
                    input,
                    output,
                    cache_read: read,
                    cache_write: write,
                    cache_write_long: long,
                    audio_input: heard,
                    audio_output: spoken,
                    web_search: search,
                    rates: RateSettings { fast, priority, ultrafast, flex, us },
                }
            },
        )
    }

    proptest! {
        #[test]
        fn no_usage_within_the_bounds_costs_more_than_the_ceiling(
            tiers in proptest::collection::vec((0..3_u64, any_tier()), 1..3),
            parts in (0..1_000_u64, 0..1_000_u64, 0..1_000_u64, 0..1_000_u64),
            special in (0..1_500_u64, 0..1_500_u64, 0..1_500_u64, 0..9_u64),
            (asked, reported) in (0..32_u8, 0..32_u8),
            room in 0..1_000_u64,
        ) {
            let tiers: Vec<_> = tiers.into_iter().enumerate().map(|(n, (step, tier))| {
                TierSettings { threshold: n as u64 * (step + 1) * 700, ..tier }
            }).collect();
            let prices = Prices::new(&tiers).unwrap();
            let (input, cache_read, cache_write, output) = parts;
            let (cache_write_long, audio_input, audio_output, searches) = special;
            // A provider may answer at less than it was asked for, but not at more.
            let (asked, rates) = (Rates::from_bits(asked), Rates::from_bits(asked & reported));
            let usage = Usage {
                input, cache_read, cache_write, output, cache_write_long, audio_input, audio_output, searches, rates,
                ..Usage::default()
            };
            let extras = Extras { rates: asked, long_cache: true, audio_input: true, audio_output: true, searches };
            let prompt = usage.prompt() + room;
            prop_assert!(prices.cost(&usage) <= prices.ceiling(prompt, output + room, &extras));
            let amount = prices.ceiling(prompt, output, &extras);
            prop_assert!(prices.affordable(prompt, amount, &extras) >= output || amount == Amount::MAX);
            let most = prices.affordable(prompt, amount, &extras);
            prop_assert!(amount == Amount::MAX || prices.ceiling(prompt, most, &extras) <= amount);
        }
    }
}
