//! Requests of each protocol, for providers of each other one.

use crossmodel::provider::preset;
use crossmodel_core::canon::{Caps, Profile, ProtocolId, Sealer, Target};
use crossmodel_core::failure::Result;
use crossmodel_core::translate::bridge::{Rendered, RequestFacts, render};

use crate::mutate::Rng;
use crate::{fuzz, is_json, seeds};

#[test]
fn chat() {
    requests(ProtocolId::Chat);
}

#[test]
fn responses() {
    requests(ProtocolId::Responses);
}

#[test]
fn gemini() {
    requests(ProtocolId::Gemini);
}

#[test]
fn messages() {
    requests(ProtocolId::Messages);
}

fn requests(client: ProtocolId) {
    let seeds = seeds::requests(client);
    fuzz(&format!("requests of {client}"), &seeds, 1200, |input, rng| {
        for upstream in others(client) {
            let to = To::any(upstream, rng);
            check(&to.render(client, input), client);
            assert_same(&to.render(client, input), &to.render(client, input));
        }
    });
}

fn check(rendered: &Result<Rendered>, client: ProtocolId) {
    match rendered {
        Ok(rendered) => {
            assert!(is_json(&rendered.body), "not JSON: {}", rendered.body.escape_ascii());
            let header = rendered.losses.header().unwrap_or_default();
            assert!(header.bytes().all(|b| matches!(b, b' '..=b'~')), "{header:?}");
        }
        Err(failure) => {
            assert!((400..500).contains(&failure.status()), "{failure:?}");
            assert!(is_json(&client.protocol().envelope(failure, "req")), "{failure:?}");
        }
    }
}

fn assert_same(one: &Result<Rendered>, other: &Result<Rendered>) {
    match (one, other) {
        (Ok(one), Ok(other)) => {
            assert_eq!(one.body, other.body);
            assert_eq!(one.losses.header(), other.losses.header());
        }
        (Err(one), Err(other)) => assert_eq!(one.message(), other.message()),
        _ => panic!("once refused, and once not"),
    }
}

/// Where a request goes.
pub(crate) struct To {
    pub(crate) protocol: ProtocolId,
    pub(crate) profile: Profile,
    model: &'static str,
    strict: bool,
    counting: bool,
}

impl To {
    /// Any provider, any model.
    pub(crate) fn any(protocol: ProtocolId, rng: &mut Rng) -> Self {
        let known = preset(rng.pick::<&str>(PRESETS));
        let profile = known.map_or_else(Profile::default, |known| Profile::default().with(&known.profile));
        let (strict, counting) = (rng.below(8) == 0, rng.below(8) == 0);
        Self { protocol, profile, model: rng.pick::<&str>(MODELS), strict, counting }
    }

    pub(crate) fn render(&self, client: ProtocolId, body: &[u8]) -> Result<Rendered> {
        let caps = Caps::of(self.protocol, self.model, &self.profile);
        let target = Target {
            protocol: self.protocol,
            origin: "plain",
            model: self.model,
            profile: &self.profile,
            caps: &caps,
            sealer: &Sealer::default(),
        };
        let facts = RequestFacts {
            request_id: "req_cm_fuzz",
            now: 1_767_225_600,
            model: "vendor/model",
            strict: self.strict,
            counting: self.counting,
            output_cap: None,
        };
        render(client.protocol(), body, &target, &facts)
    }
}

/// The protocols that a client of this one is translated to.
pub(crate) fn others(client: ProtocolId) -> impl Iterator<Item = ProtocolId> {
    ProtocolId::ALL.into_iter().filter(move |id| *id != client)
}

/// Some have habits, some are no names at all.
const PRESETS: &[&str] =
    &["none", "openai", "anthropic", "gemini", "deepseek", "mistral", "openrouter", "groq", "xai", "ollama"];

const MODELS: &[&str] =
    &["m", "gpt-5", "o3", "claude-sonnet-4-5", "claude-opus-4-1", "claude-3-haiku", "gemini-3-pro"];
