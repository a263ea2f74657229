//! The reasoning that a client asks for.

use crate::canon::{Losses, Thinking, ThinkingMode};
use crate::failure::Result;
use crate::protocol::node::Node;
use crate::protocol::pick::unused_members;

/// Reads `thinking`. An unknown kind is left out, because it only tunes the answer.
pub(super) fn thinking(node: &Node<'_, '_>, thinking: &mut Thinking, losses: &mut Losses) -> Result<()> {
    (thinking.mode, thinking.budget, thinking.show) = (None, None, None);
    let mut budget = None;
    node.members(|key, value| {
        match key {
            "type" => match &*value.string()? {
                "enabled" => thinking.mode = Some(ThinkingMode::On),
                "adaptive" | "between_tools" => thinking.mode = Some(ThinkingMode::Adaptive),
                "disabled" => thinking.mode = Some(ThinkingMode::Off),
                _ => losses.drop(&node.path)?,
            },
            "budget_tokens" => budget = Some(value.text),
            "display" => thinking.show = Some(value.string()? != "omitted"),
            _ => losses.drop(&value.path)?,
        }
        Ok(())
    })?;
    if thinking.mode != Some(ThinkingMode::On) {
        return unused_members(node, [("budget_tokens", budget)], losses);
    }
    thinking.budget = budget.map(|text| node.at("budget_tokens", text).count()).transpose()?;
    Ok(())
}
