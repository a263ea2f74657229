//! The sampling parameters that OpenAI's protocols have in common.

use crate::canon::{Losses, Request, Sampling, SamplingCaps, Target};
use crate::failure::Result;
use crate::json::write::Object;

/// Writes `temperature` and `top_p`, as far as the provider and its model accept them.
///
/// # Errors
/// Returns 400 if a parameter is lost in strict mode.
pub(super) fn write(
    o: &mut Object<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<()> {
    let (samplers, profile) = (&request.samplers, target.profile);
    let none = profile.sampling == Sampling::None || target.caps.sampling == SamplingCaps::None;
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
