//! The prices of everything besides tokens that a request may ask for, and of other models that a provider calls
//! by itself.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::canon::Rate;
use crate::failure::{Failure, Kind, Result};
use crate::meter::Prices;
use crate::protocol::{Demand, RequestMembers, Service, Spare};
use crate::route::{ModelEntry, ResolvedModel, TargetChoice};

/// Removes the targets that have prices, but none for something that the request asks for.
///
/// # Errors
/// Returns 400 if no target would be left; then all of them are kept.
pub(in crate::edge) fn retain(
    choices: &mut VecDeque<TargetChoice>,
    found: &ResolvedModel,
    demand: &Demand,
) -> Result<()> {
    let is_covered = |choice: &TargetChoice| {
        prices(choice, found).map_or(Ok(()), |prices| {
            check_name(prices, found)?;
            check(prices, &found.entry, demand)
        })
    };
    let refusals: Vec<_> = choices.iter().map(|choice| is_covered(choice).err()).collect();
    if refusals.iter().any(Option::is_none) {
        let mut refused = refusals.iter().map(Option::is_some);
        choices.retain(|_| !refused.next().unwrap_or_default());
        return Ok(());
    }
    refusals.into_iter().flatten().next().map_or(Ok(()), Err)
}

/// Returns the tools that the request can do without, so that the first target with prices can be called.
pub(in crate::edge) fn spare(
    choices: &VecDeque<TargetChoice>,
    found: &ResolvedModel,
    body: &[u8],
    members: &RequestMembers,
) -> Option<Spare> {
    let all = choices.iter().filter_map(|choice| prices(choice, found));
    all.filter_map(|prices| Spare::of(body, members, |service| covers(prices, &found.entry, service))).next()
}

/// Returns the prices of the model at a target, or `None` if it is free.
pub(in crate::edge) fn prices<'f>(
    choice: &TargetChoice,
    found: &'f ResolvedModel,
) -> Option<&'f Arc<Prices>> {
    found.entry.targets.get(choice.target)?.prices.as_ref()
}

/// Checks what the name of a model asks for, if the client has chosen all of the name.
///
/// # Errors
/// Returns 400 if the name asks a router for a web search that has no price.
fn check_name(prices: &Prices, found: &ResolvedModel) -> Result<()> {
    let searches = *found.entry.id != *found.id && found.id.to_ascii_lowercase().contains(SEARCHING);
    if searches && !covers(prices, &found.entry, Service::WebSearch) {
        return Err(refused(Service::WebSearch.name(), "model".to_owned(), setting(Service::WebSearch)));
    }
    Ok(())
}

/// Checks that these prices cover a request.
fn check(prices: &Prices, entry: &ModelEntry, demand: &Demand) -> Result<()> {
    // A cheaper class of service costs the usual price here, unless it has a price of its own.
    let is_covered = |rate| rate == Rate::Flex || prices.have_rate(rate);
    if let Some((rate, member)) = demand.rates.iter().find(|(rate, _)| !is_covered(*rate)) {
        return Err(refused(rate.name(), (*member).to_owned(), "set a price for it (`rates`)"));
    }
    match demand.services.iter().find(|(service, _)| !covers(prices, entry, *service)) {
        Some((service, member)) => Err(refused(service.name(), member.clone(), setting(*service))),
        None => Ok(()),
    }
}

/// Whether a service has a price, or the operator pays for it.
fn covers(prices: &Prices, entry: &ModelEntry, service: Service) -> bool {
    match service {
        _ if entry.unmetered.contains(&service) => true,
        Service::WebSearch => prices.have_searches(),
        Service::AudioInput => prices.have_audio_input(),
        Service::AudioOutput => prices.have_audio_output(),
        Service::ImageGeneration | Service::CodeExecution | Service::FileSearch | Service::Plugins => false,
    }
}

/// Returns the setting that allows a service for a model.
fn setting(service: Service) -> &'static str {
    match service {
        Service::WebSearch | Service::AudioInput | Service::AudioOutput => {
            "set a price for it (`prices`) or give it away (`unmetered`)"
        }
        Service::ImageGeneration | Service::CodeExecution | Service::FileSearch | Service::Plugins => {
            "give it away (`unmetered`)"
        }
    }
}

fn refused(name: &str, member: String, setting: &str) -> Failure {
    let message = format!(
        "The member '{member}' asks for '{name}', and this model has no price for it. Leave it out, or choose another \
         model; the gateway's operator can {setting}."
    );
    Failure::new(Kind::Unsupported, message).with_param(member)
}

/// The part of a router's model name that makes the model search the web.
const SEARCHING: &str = ":online";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::CapsSettings;
    use crate::meter::{RateSettings, TierSettings};
    use crate::route::ModelStatus;

    fn entry(unmetered: &[Service]) -> ModelEntry {
        ModelEntry {
            id: "v/m".into(),
            name: String::new(),
            created: 0,
            status: ModelStatus::Active,
            context_window: None,
            max_output: None,
            caps: CapsSettings::default(),
            strict: false,
            unmetered: unmetered.to_vec(),
            targets: Vec::new(),
        }
    }

    fn prices(change: impl Fn(&mut TierSettings)) -> Prices {
        let mut tier = TierSettings { input: 1, output: 1, ..TierSettings::default() };
        change(&mut tier);
        Prices::new(&[tier]).unwrap()
    }

    fn rate(rate: Rate) -> Demand {
        Demand { rates: vec![(rate, "service_tier")], ..Demand::default() }
    }

    fn service(service: Service) -> Demand {
        Demand { services: vec![(service, "tools[0]".into())], ..Demand::default() }
    }

    #[test]
    fn a_dearer_rate_needs_its_own_price() {
        let priority = RateSettings { priority: Some(200), ..RateSettings::NONE };
        let (plain, rated) = (prices(|_| ()), prices(|tier| tier.rates = priority));
        let allowed = |prices, asked| check(prices, &entry(&[]), &rate(asked)).is_ok();
        assert!(!allowed(&plain, Rate::Priority) && allowed(&rated, Rate::Priority));
        assert!(allowed(&plain, Rate::Flex), "what is cheaper needs none");
        for other in [Rate::Fast, Rate::Ultrafast, Rate::Us] {
            assert!(!allowed(&rated, other), "{other:?}");
        }
        let failure = check(&plain, &entry(&[]), &rate(Rate::Priority)).unwrap_err();
        assert_eq!((failure.status(), failure.kind()), (400, Kind::Unsupported));
        assert!(failure.message().contains("this model has no price for"), "{}", failure.message());
    }

    #[test]
    fn a_service_needs_a_price_or_the_operators_leave() {
        use Service::{
            AudioInput, AudioOutput, CodeExecution, FileSearch, ImageGeneration, Plugins, WebSearch,
        };
        let all = [WebSearch, AudioInput, AudioOutput, CodeExecution, FileSearch, ImageGeneration, Plugins];
        let plain = prices(|_| ());
        let free = prices(|tier| {
            (tier.web_search, tier.audio_input, tier.audio_output) = (Some(0), Some(0), Some(0));
        });
        for (n, asked) in all.into_iter().enumerate() {
            let allowed =
                |prices, unmetered: &[Service]| check(prices, &entry(unmetered), &service(asked)).is_ok();
            assert!(!allowed(&plain, &[]), "{asked:?}");
            assert!(allowed(&plain, &[asked]), "{asked:?}");
            assert_eq!(allowed(&free, &[]), n < 3, "{asked:?}: a price of nothing is one");
        }
    }

    #[test]
    fn targets_without_the_price_are_passed_over() {
        let text = "providers: {p: {base_url: 'http://x', key: 'env:K', protocols: [chat]}}\nmodels:\n  - id: v/m\n    targets:\n";
        let targets = "    - {provider: p, prices: [{input: 1, output: 1}]}\n    - {provider: p, model: b, prices: [{input: 1, output: 1, rates: {priority: 200}}]}\n";
        let config = crate::Config::parse(&format!("{text}{targets}"), |_| Some("k".to_owned())).unwrap();
        let entry = Arc::clone(&config.catalog.entries()[0]);
        let found = ResolvedModel { entry, id: "v/m".into() };
        let all: VecDeque<_> = [0, 1]
            .map(|target| TargetChoice { target, protocol: crate::protocol::ProtocolId::Chat, credential: 0 })
            .into();
        let left = |demand: &Demand| {
            let mut choices = all.clone();
            retain(&mut choices, &found, demand)?;
            Ok::<_, Failure>(choices.iter().map(|choice| choice.target).collect::<Vec<_>>())
        };
        assert_eq!(left(&Demand::default()).unwrap(), [0, 1]);
        assert_eq!(left(&rate(Rate::Priority)).unwrap(), [1]);
        assert_eq!(left(&rate(Rate::Us)).unwrap_err().status(), 400);
    }
}
