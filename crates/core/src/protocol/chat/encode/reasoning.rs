//! Whether and how hard the model shall think, in the words that the provider understands.

use std::collections::BTreeSet;

use crate::canon::{Effort, Level, Losses, Profile, Request, Target, Thinking, ThinkingMode};
use crate::failure::Result;
use crate::json::write::Object;

use super::tools::Plan;

/// Is thinking switched off, by the client or for the sake of a forced call?
pub(super) fn is_off(request: &Request<'_>, plan: &Plan<'_, '_>, profile: &Profile) -> bool {
    request.thinking.is_off() || excludes(plan, profile)
}

/// Does a forced call exclude thinking? The choice wins: these models think unless they are told not to.
fn excludes(plan: &Plan<'_, '_>, profile: &Profile) -> bool {
    plan.is_forced() && !profile.forced_with_thinking
}

/// Writes the members.
pub(super) fn write(
    o: &mut Object<'_>,
    request: &Request<'_>,
    plan: &Plan<'_, '_>,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<()> {
    let (thinking, profile) = (&request.thinking, target.profile);
    let levels: BTreeSet<Level> = profile.efforts.intersection(&target.caps.efforts).copied().collect();
    if is_off(request, plan, profile) {
        if thinking.is_wanted() {
            losses.drop_named(PATH)?;
        }
        return off(o, profile.effort, &levels, losses);
    }
    if !thinking.is_wanted() {
        return Ok(());
    }
    // OpenAI's models refuse functions and reasoning together in this protocol.
    if profile.is_openai && plan.has_tools() {
        losses.drop_named(PATH)?;
        return if levels.contains(&Level::None) { off(o, profile.effort, &levels, losses) } else { Ok(()) };
    }
    on(o, thinking, profile.effort, &levels, losses)
}

fn off(o: &mut Object<'_>, way: Effort, levels: &BTreeSet<Level>, losses: &mut Losses) -> Result<()> {
    match way {
        Effort::ReasoningEffort if levels.contains(&Level::None) => o.text("reasoning_effort", "none"),
        Effort::ReasoningEffort | Effort::None => return losses.drop_named(PATH),
        Effort::ReasoningObject => o.json("reasoning", r#"{"enabled":false}"#),
        Effort::ThinkingToggleEffort => o.json("thinking", r#"{"type":"disabled"}"#),
        Effort::EnableThinking => o.bool("enable_thinking", false),
    };
    Ok(())
}

fn on(
    o: &mut Object<'_>,
    thinking: &Thinking,
    way: Effort,
    levels: &BTreeSet<Level>,
    losses: &mut Losses,
) -> Result<()> {
    let wish = thinking.effort.or_else(|| thinking.budget.map(Level::of_budget));
    let level = wish.and_then(|wish| wish.nearest(levels));
    if wish.is_none() && thinking.mode == Some(ThinkingMode::Adaptive) && way != Effort::None {
        // As the model likes: that is what it does.
        return Ok(());
    }
    match way {
        Effort::None => return losses.drop_named(PATH),
        Effort::ReasoningEffort => match (level, wish) {
            (Some(level), _) => {
                o.text("reasoning_effort", level.as_str());
            }
            (None, Some(_)) => return losses.drop_named(PATH),
            (None, None) => {}
        },
        Effort::ThinkingToggleEffort => {
            o.json("thinking", r#"{"type":"enabled"}"#);
            if let Some(level) = level {
                o.text("reasoning_effort", level.as_str());
            }
        }
        Effort::ReasoningObject => {
            o.object("reasoning", |o| {
                match (thinking.effort.and(level), thinking.budget) {
                    (Some(level), _) => o.text("effort", level.as_str()),
                    (None, Some(budget)) => o.number("max_tokens", budget),
                    (None, None) => o.bool("enabled", true),
                };
            });
        }
        Effort::EnableThinking => {
            o.bool("enable_thinking", true);
            if let (None, Some(budget)) = (thinking.effort, thinking.budget) {
                o.number("thinking_budget", budget);
            }
        }
    }
    Ok(())
}

/// What the client is told of a wish that can not be fulfilled.
const PATH: &str = "reasoning_effort";
