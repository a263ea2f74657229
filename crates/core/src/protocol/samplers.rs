//! The sampling parameters that OpenAI's protocols have in common.

use crate::canon::{Effort, Losses, Request, Sampling, SamplingCaps, Target, not_carried};
use crate::failure::Result;
use crate::json::write::Object;

/// Whether the model refuses to be told how to sample. `effort` is the effort that it is asked for, if it is.
pub(super) fn are_refused(target: &Target<'_>, effort: Option<Effort>) -> bool {
    match target.caps.sampling {
        SamplingCaps::Full | SamplingCaps::NotBoth => false,
        SamplingCaps::EffortNone => effort.or(target.caps.default_effort) != Some(Effort::None),
        SamplingCaps::None => true,
    }
}

/// Refuses log-probabilities that the model cannot give. `member` is the member that asks for them.
///
/// # Errors
/// Returns 400 if `refused`, which is whether the model refuses to be told how to sample.
pub(super) fn check_logprobs(request: &Request<'_>, refused: bool, member: &str) -> Result<()> {
    match request.logprobs {
        Some(_) if refused => Err(not_carried(member.to_owned())),
        _ => Ok(()),
    }
}

/// Writes `temperature` and `top_p`, as far as the provider and its model accept them. `refused` is whether the model
/// refuses to be told how to sample.
///
/// # Errors
/// Returns 400 if a parameter is lost in strict mode.
pub(super) fn write(
    o: &mut Object<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    refused: bool,
    losses: &mut Losses,
) -> Result<()> {
    let (samplers, profile) = (&request.samplers, target.profile);
    let none = profile.sampling == Sampling::None || refused;
    let one = target.caps.sampling == SamplingCaps::NotBoth && samplers.temperature.is_some();
    for (name, value, refused) in
        [("temperature", &samplers.temperature, none), ("top_p", &samplers.top_p, none || one)]
    {
        let Some(value) = value else { continue };
        let number: f64 = value.get().parse().unwrap_or(1.0);
        if refused {
            // The default has no effect.
            if number != 1.0 {
                losses.drop_named(name)?;
            }
        } else if name == "temperature" && profile.sampling == Sampling::Clamp1 && number > 1.0 {
            losses.change(name, 1)?;
            o.number(name, 1);
        } else {
            o.raw(name, value);
        }
    }
    Ok(())
}
