//! Prices: what calls cost by them, and what they can cost at most.

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
    let usage = Usage { input: 1_000, cache_read: 10_000, cache_write: 100, output: 500, ..Usage::default() };
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
    // More than was written cannot last longer.
    let odd = Usage { cache_write: 1, cache_write_long: 600, ..Usage::default() };
    assert_eq!(prices(Some(0), None).cost(&odd).nano(), 2_000);
}

fn rated() -> Prices {
    let rates = RateSettings { fast: Some(200), flex: Some(50), us: Some(110), ..RateSettings::NONE };
    Prices::new(&[TierSettings { rates, web_search: Some(10_000), ..tier(0, 1_000_000, 1_000_000) }]).unwrap()
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
        (1_100_000, vec![Unpriced::Rate(Rate::Priority)]),
        "the plain price, and it is told"
    );
    let plain = Prices::new(&[tier(0, 1, 1)]).unwrap();
    let rates = Rates::default().with(Rate::Flex);
    let usage = Usage { searches: 1, audio_input: 1, audio_output: 1, rates, ..Usage::default() };
    assert_eq!(plain.unpriced(&usage), [Unpriced::WebSearch, Unpriced::AudioInput, Unpriced::AudioOutput]);
}

#[test]
fn two_rates_do_not_make_an_answer_dearer_than_what_it_may_cost() {
    for (fast, us) in [(150, 110), (250, 130), (333, 110)] {
        let rates = RateSettings { fast: Some(fast), us: Some(us), ..RateSettings::NONE };
        let prices = Prices::new(&[TierSettings { rates, ..tier(0, 1, 1) }]).unwrap();
        let extras = Extras { rates: [Rate::Fast, Rate::Us].into_iter().collect(), ..Extras::default() };
        for amount in (0..200).map(Amount::from_nano) {
            let most = prices.affordable(0, amount, &extras);
            assert!(prices.ceiling(0, most, &extras) <= amount, "{most} for {amount} at {fast} and {us}");
        }
    }
}

#[test]
fn sound_has_its_own_price() {
    let (audio_input, audio_output) = (Some(10_000_000), Some(20_000_000));
    let prices = Prices::new(&[TierSettings { audio_input, audio_output, ..tier(0, 1_000_000, 1_000_000) }]);
    let usage =
        Usage { input: 10, output: 10, audio_input: 4, audio_output: 9, cache_read: 5, ..Usage::default() };
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
    for empty in ["[]", &earlier.replace(r#""threshold":0"#, r#""threshold":1"#)] {
        assert!(serde_json::from_str::<Prices>(empty).is_err(), "a list without prices for all prompts");
    }
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
