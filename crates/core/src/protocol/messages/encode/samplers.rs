//! The sampling parameters that a model accepts.

use crate::canon::{AnthropicVersion, Losses, Request, Sampling, SamplingCaps, Target};
use crate::failure::Result;
use crate::json::Raw;
use crate::json::write::Object;

/// The remaining sampling parameters, with their original spelling.
#[derive(Debug, Default)]
pub(super) struct SamplerMembers<'r> {
    temperature: Option<&'r str>,
    top_p: Option<&'r str>,
    top_k: Option<&'r str>,
}

impl<'r> SamplerMembers<'r> {
    /// Selects the parameters that the model accepts. While it thinks (`thinks`), it accepts fewer.
    ///
    /// # Errors
    /// Returns 400 in strict mode.
    pub(super) fn new(
        request: &'r Request<'_>,
        target: &Target<'_>,
        thinks: bool,
        losses: &mut Losses,
    ) -> Result<Self> {
        let none = target.caps.sampling == SamplingCaps::None
            || target.profile.sampling == Sampling::None
            || target.profile.anthropic_version == AnthropicVersion::V2026;
        let sent = &request.samplers;
        let temperature = sent.temperature.as_ref().map(|raw| (raw.get(), number(raw)));
        let top_p = sent.top_p.as_ref().map(|raw| (raw.get(), number(raw)));
        let top_k = sent.top_k.as_ref().map(|raw| (raw.get(), number(raw)));
        // In other servers, zero and minus one turn it off.
        let top_k = top_k.filter(|(_, value)| *value > 0.0);
        let both = target.caps.sampling == SamplingCaps::NotBoth && temperature.is_some();
        let mut kept = Self::default();
        match temperature {
            Some((_, value)) if none || thinks => lose("temperature", value, losses)?,
            Some((_, value)) if value > MAX_TEMPERATURE => {
                losses.change("temperature", MAX_TEMPERATURE_TEXT)?;
                kept.temperature = Some(MAX_TEMPERATURE_TEXT);
            }
            other => kept.temperature = other.map(|(text, _)| text),
        }
        let both = both && kept.temperature.is_some();
        match top_p {
            Some((_, value))
                if none || both || thinks && !(MIN_TOP_P_WITH_THINKING..=1.0).contains(&value) =>
            {
                lose("top_p", value, losses)?;
            }
            other => kept.top_p = other.map(|(text, _)| text),
        }
        match top_k {
            Some(_) if none || thinks => losses.drop_named("top_k")?,
            other => kept.top_k = other.map(|(text, _)| text),
        }
        Ok(kept)
    }

    pub(super) fn write(&self, o: &mut Object<'_>) {
        let members = [("temperature", self.temperature), ("top_p", self.top_p), ("top_k", self.top_k)];
        for (name, value) in members {
            if let Some(value) = value {
                o.json(name, value);
            }
        }
    }
}

/// Leaves a parameter out. It is no loss if its value is 1, the model's default.
#[expect(clippy::float_cmp, reason = "exactly one")]
fn lose(name: &str, value: f64, losses: &mut Losses) -> Result<()> {
    if value == 1.0 { Ok(()) } else { losses.drop_named(name) }
}

fn number(raw: &Raw<'_>) -> f64 {
    raw.get().parse().unwrap_or(f64::NAN)
}

/// The highest temperature that the protocol allows.
const MAX_TEMPERATURE: f64 = 1.0;
const MAX_TEMPERATURE_TEXT: &str = "1.0";

/// The lowest nucleus that is allowed while a model thinks.
const MIN_TOP_P_WITH_THINKING: f64 = 0.95;
