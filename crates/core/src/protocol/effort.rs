//! The effort that a model of OpenAI's protocols is asked for.

use std::collections::BTreeSet;

use crate::canon::{Effort, EffortFormat, Losses, Target};
use crate::failure::Result;

/// Returns the levels that both the provider and its model know.
pub(super) fn levels(target: &Target<'_>) -> BTreeSet<Effort> {
    match target.profile.effort {
        EffortFormat::None => BTreeSet::new(),
        _ => target.profile.efforts.intersection(&target.caps.efforts).copied().collect(),
    }
}

/// Whether there is a level at which a model thinks.
pub(super) fn can_think(levels: &BTreeSet<Effort>) -> bool {
    levels.iter().any(|level| *level != Effort::None)
}

/// Returns the level for a model that is not to think: `none`, if it has that. OpenAI's other models get their lowest
/// level, and `member` is listed.
///
/// # Errors
/// Returns 400 in strict mode.
pub(super) fn off(
    levels: &BTreeSet<Effort>,
    target: &Target<'_>,
    member: &str,
    losses: &mut Losses,
) -> Result<Option<Effort>> {
    let lowest = levels.first().copied();
    // One of OpenAI's models without any level does not think.
    let is_off = lowest == Some(Effort::None) || target.profile.is_openai && lowest.is_none();
    if !is_off {
        losses.drop_named(member)?;
    }
    Ok(lowest.filter(|_| is_off || target.profile.is_openai))
}
