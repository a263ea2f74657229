//! The prices of things beside tokens that a request may ask for, and of other models that a
//! provider asks by itself.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::canon::Rate;
use crate::edge::call::exchange::Exchange;
use crate::failure::{Failure, Kind, Result};
use crate::meter::Prices;
use crate::protocol::{Demand, RequestMembers, Service, Spare};
use crate::route::{Choice, Entry, Found};

/// Leaves out the targets that have prices, but none for what a request asks for.
///
/// # Errors
/// 400 when no target would be left; then all of them are.
pub(in crate::edge) fn retain(choices: &mut VecDeque<Choice>, found: &Found, demand: &Demand) -> Result<()> {
    let is_covered = |choice: &Choice| {
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

/// The tools that a request can do without, so that the first target for which there are any can be asked.
pub(in crate::edge) fn spare(
    choices: &VecDeque<Choice>,
    found: &Found,
    body: &[u8],
    members: &RequestMembers,
) -> Option<Spare> {
    let all = choices.iter().filter_map(|choice| prices(choice, found));
    all.filter_map(|prices| Spare::of(body, members, |service| covers(prices, &found.entry, service))).next()
}

/// The prices of the model at a target; absent: it costs nothing.
pub(in crate::edge) fn prices<'f>(choice: &Choice, found: &'f Found) -> Option<&'f Arc<Prices>> {
    found.entry.targets.get(choice.target)?.prices.as_ref()
}

/// Refuses what the name of a model asks for, where the client has chosen all of it.
///
/// # Errors
/// 400 for a router's search of the web, if it has no price.
fn check_name(prices: &Prices, found: &Found) -> Result<()> {
    let searches = found.entry.id != found.id && found.id.to_ascii_lowercase().contains(SEARCHING);
    if searches && !covers(prices, &found.entry, Service::WebSearch) {
        return Err(refused(Service::WebSearch.name(), "model".to_owned(), setting(Service::WebSearch)));
    }
    Ok(())
}

/// Refuses what these prices do not cover.
fn check(prices: &Prices, entry: &Entry, demand: &Demand) -> Result<()> {
    // What is cheaper at the provider costs the usual price here, unless there is one for it.
    let is_covered = |rate| rate == Rate::Flex || prices.have_rate(rate);
    if let Some((rate, member)) = demand.rates.iter().find(|(rate, _)| !is_covered(*rate)) {
        return Err(refused(rate.name(), (*member).to_owned(), "set a price for it (`rates`)"));
    }
    match demand.services.iter().find(|(service, _)| !covers(prices, entry, *service)) {
        Some((service, member)) => Err(refused(service.name(), member.clone(), setting(*service))),
        None => Ok(()),
    }
}

/// Whether a service is paid for, or the operator gives it away.
fn covers(prices: &Prices, entry: &Entry, service: Service) -> bool {
    match service {
        _ if entry.unmetered.contains(&service) => true,
        Service::WebSearch => prices.have_searches(),
        Service::AudioInput => prices.have_audio_input(),
        Service::AudioOutput => prices.have_audio_output(),
        Service::ImageGeneration | Service::CodeExecution | Service::FileSearch | Service::Plugins => false,
    }
}

/// The setting that lets a model have a service.
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

impl Exchange {
    /// Notes the name of the model that has answered, unless it is the one that was asked.
    pub(in crate::edge) fn note_served(&mut self, name: Option<&str>) {
        if let (None, Some(call), Some(name)) = (&self.served, &self.call, name)
            && call.upstream_model != name
        {
            self.served = Some(name.to_owned());
        }
    }

    /// Tells the bill what other models cost, where one has answered or was asked inside of the call.
    pub(in crate::edge) fn price_others(&mut self) {
        let (Some(bill), Some(call)) = (&mut self.bill, &self.call) else { return };
        if !bill.is_open() {
            return;
        }
        let catalog = &self.snapshot.catalog;
        let prices = |model: &str| {
            let other = model != call.upstream_model;
            if other { catalog.prices_of(&call.provider().name, model) } else { None }
        };
        if let Some(prices) = self.served.as_deref().and_then(prices) {
            bill.served_at(prices);
        }
        let inner = self.usage.iter().filter_map(|usage| usage.inner.as_deref()).flatten();
        for model in inner.filter_map(|inner| inner.model.as_deref()) {
            if let Some(prices) = prices(model) {
                bill.inner_at(model, prices);
            }
        }
    }

    /// The prices of the call, if it is paid for.
    pub(in crate::edge) fn prices(&self) -> Option<&Prices> {
        self.call.as_ref().filter(|_| self.bill.is_some())?.prices.as_deref()
    }
}

/// The part of a router's model name that makes the model search the web.
const SEARCHING: &str = ":online";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::CapsSettings;
    use crate::meter::{RateSettings, TierSettings};
    use crate::route::ModelStatus;

    fn entry(unmetered: &[Service]) -> Entry {
        Entry {
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
        let found = Found { entry, id: "v/m".into() };
        let all: VecDeque<_> =
            [0, 1].map(|target| Choice { target, protocol: crate::protocol::ProtocolId::Chat }).into();
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
