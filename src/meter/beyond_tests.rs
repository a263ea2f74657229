//! The cost of calls beside their tokens at the plain price, and beyond the money that was set aside for them.

use proptest::prelude::*;

use super::tests::{ACCOUNT, audited, grant, killed, prices, recovered, runtime, tokens, usd, used};
use super::*;
use crate::canon::{InnerUsage, Rate, Rates, Usage};
use crate::money::Amount;

/// Opens a call that may cost `dollars`.
fn open(ledger: &Ledger, grant: &crate::auth::Grant, dollars: u64) -> Bill {
    let expected = tokens(dollars - 1, dollars - 1);
    let mut bill = runtime().block_on(Bill::open(ledger, grant, "m", vec![prices()], expected)).unwrap();
    bill.forward();
    bill
}

fn balance(ledger: &Ledger) -> Wallet {
    runtime().block_on(ledger.wallet(ACCOUNT)).unwrap().unwrap()
}

/// Reads the last call from the books: its hold, its charge beyond that, and whether it was capped.
fn last(folder: &std::path::Path) -> (Amount, Amount, bool) {
    let store = crate::store::open(folder).unwrap();
    let sql = "SELECT amount, excess, capped FROM charges ORDER BY call DESC LIMIT 1";
    store.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap()
}

#[test]
fn what_a_call_really_used_is_paid_for_as_far_as_the_balance_goes() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path(), Some("100"), None);
    let ledger = Ledger::open(folder.path()).unwrap();
    let mut other = open(&ledger, &grant, 10);
    open(&ledger, &grant, 10).settle(used(20, 20));
    assert_eq!(balance(&ledger), Wallet { balance: usd("60"), held: usd("10") });
    assert_eq!(last(folder.path()), (usd("40"), usd("30"), false));
    // Nobody has counted that.
    open(&ledger, &grant, 10).settle(used(u64::MAX, 0));
    assert_eq!(balance(&ledger), Wallet { balance: usd("50"), held: usd("10") });
    Books::open(folder.path()).unwrap().top_up(ACCOUNT, usd("10"), "u").unwrap();
    // All but what others hold.
    open(&ledger, &grant, 10).settle(used(500, 500));
    assert_eq!(balance(&ledger), Wallet { balance: usd("10"), held: usd("10") });
    assert_eq!(last(folder.path()), (usd("50"), usd("40"), true));
    other.settle(used(11, 0));
    assert_eq!(balance(&ledger), Wallet { balance: usd("0"), held: usd("0") });
    ledger.close();
    assert_eq!(audited(folder.path()).1.capped, 3);
}

#[test]
fn what_nobody_has_counted_costs_no_more_than_the_hold() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path(), Some("100"), None);
    let ledger = Ledger::open(folder.path()).unwrap();
    let cost = |end: fn(&mut Bill)| {
        let mut bill = open(&ledger, &grant, 10);
        end(&mut bill);
        bill.charge().unwrap().amount.to_string()
    };
    assert_eq!(cost(|bill| (bill.deliver(50), bill.settle(None)).1), "10.00");
    assert_eq!(cost(|bill| (bill.deliver(50), bill.break_off(None)).1), "10.00");
    assert_eq!(cost(|bill| (bill.deliver(50), bill.break_off(used(1, 1))).1), "10.00");
    assert_eq!(cost(|bill| (bill.deliver(1), bill.break_off(used(12, 2))).1), "14.00", "it was counted");
    assert_eq!(cost(|bill| (bill.deliver(3), bill.settle(used(0, 0))).1), "4.00", "it was answered");
    ledger.close();
    audited(folder.path());
}

#[test]
fn a_spending_limit_holds_beyond_the_hold() {
    let folder = tempfile::tempdir().unwrap();
    let (limited, other) = (grant(folder.path(), Some("100"), Some("20")), grant(folder.path(), None, None));
    let ledger = Ledger::open(folder.path()).unwrap();
    drop(open(&ledger, &other, 10));
    let mut held = open(&ledger, &limited, 5);
    open(&ledger, &limited, 5).settle(used(50, 0));
    assert_eq!(balance(&ledger).balance, usd("84"));
    assert_eq!(last(folder.path()), (usd("15"), usd("10"), true));
    held.settle(used(6, 0));
    ledger.close();
    assert_eq!(audited(folder.path()).0.balance, usd("79"));
}

#[test]
fn two_calls_never_spend_the_same_cent() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path(), Some("30"), None);
    let (one, two) = (Ledger::open(folder.path()).unwrap(), Ledger::open(folder.path()).unwrap());
    let mut bills = [open(&one, &grant, 5), open(&two, &grant, 5), open(&one, &grant, 5)];
    bills.iter_mut().for_each(|bill| bill.settle(used(40, 0)));
    for ledger in [&one, &two, &one] {
        balance(ledger);
    }
    one.close();
    two.close();
    let left = audited(folder.path()).0.balance;
    // What is in the leased balance of one is not there for the other.
    assert!(left < usd("15"), "{left}");
}

#[test]
fn the_excess_is_taken_once_whoever_does_it() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path(), Some("100"), None);
    let ledger = Ledger::open(folder.path()).unwrap();
    let after = || recovered(killed(folder.path()).path()).to_string();
    let unfinished = open(&ledger, &grant, 50);
    open(&ledger, &grant, 10).settle(used(30, 0));
    assert_eq!(after(), "69.00", "the store knows nothing of it; one unfinished call costs its prompt");
    balance(&ledger);
    assert_eq!(after(), "69.00", "the store knows, and the journal still says it");
    let copy = killed(folder.path());
    assert_eq!(recovered(copy.path()).to_string(), "69.00");
    assert_eq!(recovered(copy.path()).to_string(), "69.00", "by one after the other");
    // More than is there while another one is in flight, of which the most comes back.
    open(&ledger, &grant, 10).settle(used(65, 0));
    assert_eq!(after(), "4.00", "what the unfinished one did not need was there for it");
    balance(&ledger);
    assert_eq!(after(), "49.00", "it was not, before");
    drop(unfinished);
    ledger.close();
    audited(folder.path());
}

fn million(tokens: u64) -> u64 {
    tokens * 1_000_000
}

/// Prices of a micro-USD for a token, or as `change` makes them.
fn plain(change: impl Fn(&mut TierSettings)) -> std::sync::Arc<Prices> {
    let mut tier = TierSettings { input: million(1), output: million(1), ..TierSettings::default() };
    change(&mut tier);
    std::sync::Arc::new(Prices::new(&[tier]).unwrap())
}

#[test]
fn what_the_provider_did_besides_is_on_the_bill_at_its_own_price() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path(), Some("100"), None);
    let ledger = Ledger::open(folder.path()).unwrap();
    let part = |model: Option<&str>, input, output| InnerUsage {
        model: model.map(str::to_owned),
        usage: Usage { input, output, ..Usage::default() },
    };
    let usage =
        |inner: &[InnerUsage]| Usage { input: 10, output: 1, inner: Some(inner.into()), ..Usage::default() };
    let charged = |inner: &[InnerUsage], served: Option<u64>| {
        let expected = Expected { prompt_most: 10, prompt: 10, ..Expected::default() };
        let opened = Bill::open(&ledger, &grant, "m", vec![plain(|_| ())], expected);
        let mut bill = runtime().block_on(opened).unwrap();
        bill.forward();
        bill.inner_at("dear", &plain(|tier| (tier.input, tier.output) = (million(5), million(7))));
        if let Some(price) = served {
            bill.served_at(&plain(|tier| (tier.input, tier.output) = (million(price), million(price))));
        }
        bill.settle(Some(usage(inner)));
        let charge = bill.charge().unwrap();
        balance(&ledger);
        assert_eq!(last(folder.path()).0, charge.amount);
        (charge.amount.nano() / 1000, charge.usage.input, charge.usage.output)
    };
    assert_eq!(charged(&[part(None, 100_000, 3_000)], None), (103_011, 100_010, 3_001));
    assert_eq!(charged(&[part(Some("dear"), 10, 10)], None), (11 + 50 + 70, 10, 1));
    assert_eq!(charged(&[part(Some("unknown"), 10, 10)], None), (31, 20, 11), "at the call's own");
    assert_eq!(
        charged(&[part(Some("dear"), 10, 10)], Some(3)),
        (33 + 120, 10, 1),
        "another one has answered"
    );
    assert_eq!(charged(&[], Some(3)), (33, 10, 1));
    ledger.close();
    audited(folder.path());
}

#[test]
fn a_call_that_breaks_off_has_the_rates_that_it_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant(folder.path(), Some("100"), None);
    let rates = RateSettings { priority: Some(200), flex: Some(50), ..RateSettings::NONE };
    let cost = |asked: Rate, end: fn(&mut Bill)| {
        let ledger = Ledger::open(folder.path()).unwrap();
        let extras = Extras { rates: Rates::default().with(asked), ..Extras::default() };
        let expected = Expected { extras, ..Expected { prompt_most: 10, prompt: 10, ..tokens(10, 10) } };
        let rated = plain(|tier| tier.rates = rates);
        let mut bill = runtime().block_on(Bill::open(&ledger, &grant, "m", vec![rated], expected)).unwrap();
        bill.forward();
        bill.deliver(2);
        end(&mut bill);
        let before = audited(folder.path()).0.balance;
        if bill.is_open() {
            std::mem::forget(bill);
            ledger.die();
            let after = recovered(folder.path());
            return before.checked_sub(after).unwrap().nano() / 1000;
        }
        ledger.close();
        bill.charge().unwrap().amount.nano() / 1000
    };
    assert_eq!(cost(Rate::Priority, |bill| bill.break_off(None)), 24);
    assert_eq!(cost(Rate::Flex, |bill| bill.break_off(None)), 12, "it may not have been cheaper");
    assert_eq!(cost(Rate::Priority, |bill| bill.settle(used(10, 2))), 12, "the answer says");
    assert_eq!(cost(Rate::Priority, |_| ()), 20, "also when the process is killed");
    audited(folder.path());
}

/// The ways in which a call of the property ends.
#[derive(Clone, Debug)]
enum Ending {
    Settled,
    SettledUncounted,
    BrokenOff,
    Gone,
    Failed,
    Killed,
}

#[derive(Clone, Debug)]
struct Planned {
    asked: u8,
    long_cache: bool,
    searches: u64,
    prompt: u64,
    output: u64,
    usage: Usage,
    delivered: u64,
    ending: Ending,
}

fn any_count() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..2_000_u64, 1 => Just(0), 1 => Just(u64::MAX), 1 => 0..1_u64 << 40]
}

fn any_usage() -> impl Strategy<Value = Usage> {
    let counts = proptest::collection::vec(any_count(), 8);
    let inner = proptest::collection::vec((proptest::bool::ANY, 0..3_000_u64, 0..3_000_u64), 0..3);
    (counts, 0..32_u8, inner).prop_map(|(counts, rates, inner)| {
        let inner = inner.into_iter().map(|(other, input, output)| InnerUsage {
            model: other.then(|| "other".to_owned()),
            usage: Usage { input, output, ..Usage::default() },
        });
        let inner = inner.collect::<Vec<_>>();
        Usage {
            input: counts[0],
            cache_read: counts[1],
            cache_write: counts[2],
            output: counts[3],
            cache_write_long: counts[4],
            audio_input: counts[5],
            audio_output: counts[6],
            searches: counts[7] % 20,
            rates: Rates::from_bits(rates),
            inner: (!inner.is_empty()).then(|| inner.into()),
            reasoning: None,
        }
    })
}

fn any_call() -> impl Strategy<Value = Planned> {
    let ending = prop_oneof![
        6 => Just(Ending::Settled),
        1 => Just(Ending::SettledUncounted),
        3 => Just(Ending::BrokenOff),
        1 => Just(Ending::Gone),
        1 => Just(Ending::Failed),
        1 => Just(Ending::Killed),
    ];
    let sizes = (1..2_000_u64, 1..2_000_u64, 0..3_000_u64);
    (0..32_u8, proptest::bool::ANY, 0..9_u64, sizes, any_usage(), ending).prop_map(
        |(asked, long_cache, searches, (prompt, output, delivered), usage, ending)| Planned {
            asked,
            long_cache,
            searches,
            prompt,
            output,
            usage,
            delivered,
            ending,
        },
    )
}

fn any_tier() -> impl Strategy<Value = TierSettings> {
    let price = || 1..5_000_000_u64;
    let maybe = || proptest::option::of(1..9_000_000_u64);
    let rate = || proptest::option::of(10..400_u32);
    (
        (price(), price()),
        (maybe(), maybe(), maybe(), maybe(), maybe(), maybe()),
        (rate(), rate(), rate(), rate()),
    )
        .prop_map(
            |((input, output), (read, write, long, heard, spoken, search), (fast, priority, flex, us))| {
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
                    rates: RateSettings { fast, priority, ultrafast: None, flex, us },
                }
            },
        )
}

/// The cost of a usage by a price list, as somebody would work it out by hand, in nano-USD.
fn by_hand(tier: &TierSettings, usage: &Usage) -> u128 {
    let most = 1 << 30;
    let count = |tokens: u64| u128::from(tokens.min(most));
    let price = |price: Option<u64>, other: u64| u128::from(price.unwrap_or(other));
    let write = price(tier.cache_write, tier.input);
    let long_price = match (tier.cache_write_long, tier.cache_write) {
        (Some(long), _) => u128::from(long),
        (None, Some(_)) => u128::from(tier.input) * 2,
        (None, None) => write,
    };
    let long = count(usage.cache_write_long).min(count(usage.cache_write));
    let heard = count(usage.audio_input).min(count(usage.input));
    let spoken = count(usage.audio_output).min(count(usage.output));
    let mut sum = (count(usage.input) - heard) * u128::from(tier.input)
        + heard * price(tier.audio_input, tier.input)
        + count(usage.cache_read) * price(tier.cache_read, tier.input)
        + (count(usage.cache_write) - long) * write
        + long * long_price
        + (count(usage.output) - spoken) * u128::from(tier.output)
        + spoken * price(tier.audio_output, tier.output);
    for rate in usage.rates.iter() {
        sum = (sum * u128::from(tier.rates.of(rate).unwrap_or(100))).div_ceil(100);
    }
    (sum + u128::from(usage.searches * tier.web_search.unwrap_or(0)) * 1_000_000).div_ceil(1000)
}

fn is_believable(usage: &Usage) -> bool {
    let most = 1 << 30;
    usage.prompt() <= most
        && [usage.output, usage.cache_write_long, usage.audio_input, usage.audio_output]
            .iter()
            .all(|n| *n <= most)
}

/// The same, with what the provider has done besides.
fn all_by_hand(own: &TierSettings, other: &TierSettings, usage: &Usage) -> u128 {
    let mut sum = Usage { inner: None, ..usage.clone() };
    let mut cost = 0;
    for inner in usage.inner.iter().flat_map(|inner| inner.iter()) {
        match inner.model {
            Some(_) => cost += by_hand(other, &Usage { rates: usage.rates, ..inner.usage.clone() }),
            None => sum.add(&inner.usage),
        }
    }
    cost + by_hand(own, &sum)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_reported_is_paid_for(
        (own, other) in (any_tier(), any_tier()),
        dollars in prop_oneof![Just("0.01"), Just("1"), Just("1000000")],
        calls in proptest::collection::vec(any_call(), 1..12),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let grant = grant(folder.path(), Some(dollars), None);
        let mut ledger = Ledger::open(folder.path()).unwrap();
        let (prices, others) = [own, other].map(|tier| std::sync::Arc::new(Prices::new(&[tier]).unwrap())).into();
        // One that is in flight all the time.
        let mut waiting: Option<Bill> = None;
        for call in calls {
            let Planned { asked, long_cache, searches, prompt, output, usage, delivered, ending } = call;
            let rates = Rates::from_bits(asked);
            let extras = Extras { rates, long_cache, searches, ..Extras::default() };
            let expected =
                Expected { prompt_most: prompt, prompt, extras, ..tokens(output, output) };
            let before = balance(&ledger);
            let opened = Bill::open(&ledger, &grant, "m", vec![std::sync::Arc::clone(&prices)], expected);
            let Ok(mut bill) = runtime().block_on(opened) else { continue };
            bill.forward();
            bill.inner_at("other", &others);
            bill.deliver(delivered);
            let held = balance(&ledger).held.nano() - before.held.nano();
            let cover = u128::from(before.balance.nano() - before.held.nano());
            let answered = matches!(ending, Ending::Settled | Ending::SettledUncounted);
            match ending {
                Ending::Settled => bill.settle(Some(usage.clone())),
                Ending::SettledUncounted => bill.settle(None),
                Ending::BrokenOff => bill.break_off(Some(usage.clone())),
                Ending::Gone => bill.break_off(None),
                Ending::Failed => bill.release(),
                Ending::Killed => {
                    bill.settle(Some(usage.clone()));
                    if let Some(waiting) = waiting.take() {
                        std::mem::forget(waiting);
                    }
                    ledger.die();
                    ledger = Ledger::open(folder.path()).unwrap();
                }
            }
            let after = balance(&ledger);
            let paid = u128::from(before.balance.nano() - after.balance.nano());
            let cost = all_by_hand(&own, &other, &usage);
            let counted = !usage.is_empty();
            // What nobody can have counted right is charged as far as the hold goes.
            let cover = if is_believable(&usage) { cover } else { held.into() };
            match ending {
                Ending::Settled if counted => prop_assert_eq!(paid, cost.min(cover)),
                Ending::BrokenOff if counted => {
                    prop_assert!(paid >= cost.min(cover), "{paid} paid of {cost}, {cover} to pay with");
                    prop_assert!(paid <= cost.max(held.into()).min(cover));
                }
                // A call that was in flight with it has been charged as well.
                Ending::Killed if counted => prop_assert!(paid >= cost.min(cover)),
                Ending::Failed => prop_assert_eq!(paid, 0),
                _ => prop_assert!(paid <= held.into()),
            }
            prop_assert!(paid > 0 || !answered, "it was answered");
            if waiting.is_none() {
                let expected = Expected { prompt_most: 5, prompt: 5, ..Expected::default() };
                let opened = Bill::open(&ledger, &grant, "m", vec![std::sync::Arc::clone(&prices)], expected);
                waiting = runtime().block_on(opened).ok();
                waiting.iter_mut().for_each(Bill::forward);
            }
        }
        drop(waiting);
        ledger.close();
        let (wallet, _) = audited(folder.path());
        prop_assert_eq!(wallet.held, Amount::ZERO);
    }
}
