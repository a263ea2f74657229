//! The reasoning that a client asks for.

use crate::canon::{Effort, Losses, Thinking, ThinkingMode};
use crate::failure::{Failure, Kind, Result};
use crate::protocol::node::Node;

use super::lenient;

/// Reads `thinkingConfig`. Thoughts are shown only to clients that ask for them.
pub(super) fn thinking(node: &Node<'_, '_>, thinking: &mut Thinking, losses: &mut Losses) -> Result<()> {
    *thinking = Thinking { show: Some(false), is_carried: true, ..Thinking::default() };
    let (mut has_budget, mut has_level) = (false, false);
    lenient::members(node, |name, value| {
        match name {
            "thinkingBudget" => {
                has_budget = true;
                match lenient::number(&value)?.get() {
                    "-1" => thinking.mode = Some(ThinkingMode::Adaptive),
                    _ => match lenient::count(&value)? {
                        0 => thinking.mode = Some(ThinkingMode::Off),
                        budget => {
                            (thinking.mode, thinking.budget) = (Some(ThinkingMode::On), Some(budget));
                        }
                    },
                }
            }
            "thinkingLevel" => {
                let level = lenient::word(&value)?.to_ascii_lowercase();
                match Effort::read(&level).filter(|level| *level != Effort::None) {
                    Some(level) => (has_level, thinking.effort) = (true, Some(level)),
                    None if level == "thinking_level_unspecified" => {}
                    None => losses.drop(&value.path)?,
                }
            }
            "includeThoughts" => thinking.show = Some(value.bool()?),
            _ => losses.drop(&value.path)?,
        }
        Ok(())
    })?;
    if has_budget && has_level {
        let message = "'thinkingBudget' and 'thinkingLevel' exclude each other: send one of them.";
        return Err(Failure::new(Kind::Unsupported, message).with_param(node.path.to_string()));
    }
    Ok(())
}
