//! The reasoning that a Chat client asks for, in all the ways in which such clients ask.

use crate::canon::{Effort, Losses, Request, Thinking, ThinkingMode};
use crate::failure::Result;
use crate::protocol::node::{Node, Type};

/// Reads a member that is about thinking; false for all others.
pub(super) fn member(
    name: &str,
    node: Node<'_, '_>,
    request: &mut Request<'_>,
    losses: &mut Losses,
) -> Result<bool> {
    let thinking = &mut request.thinking;
    match name {
        "reasoning_effort" => effort(&node, thinking, losses)?,
        "reasoning" => reasoning(&node, thinking, losses)?,
        "thinking" => toggle(&node, thinking, losses)?,
        "enable_thinking" => switch(thinking, node.bool()?),
        "thinking_budget" => budget(thinking, node.count()?),
        "chat_template_kwargs" => node.members(|name, node| match name {
            "enable_thinking" | "thinking" if node.kind() == Type::Bool => {
                switch(thinking, node.bool()?);
                Ok(())
            }
            _ => losses.drop(&node.path),
        })?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Reads a level. An unknown one is left out, because it only tunes the answer.
fn effort(node: &Node<'_, '_>, thinking: &mut Thinking, losses: &mut Losses) -> Result<()> {
    match Effort::read(&node.string()?) {
        Some(level) => {
            thinking.effort = Some(level);
            if level == Effort::None {
                thinking.mode = Some(ThinkingMode::Off);
            }
            Ok(())
        }
        None => losses.drop(&node.path),
    }
}

/// Reads OpenRouter's object.
fn reasoning(node: &Node<'_, '_>, thinking: &mut Thinking, losses: &mut Losses) -> Result<()> {
    node.members(|name, node| {
        match name {
            "effort" => effort(&node, thinking, losses)?,
            "max_tokens" => budget(thinking, node.count()?),
            "enabled" => switch(thinking, node.bool()?),
            "exclude" => thinking.show = node.bool()?.then_some(false),
            _ => losses.drop(&node.path)?,
        }
        Ok(())
    })
}

/// Reads the object of servers with a toggle.
fn toggle(node: &Node<'_, '_>, thinking: &mut Thinking, losses: &mut Losses) -> Result<()> {
    node.members(|name, node| {
        match name {
            "type" => match node.string()?.as_ref() {
                "disabled" => switch(thinking, false),
                "enabled" => switch(thinking, true),
                "adaptive" | "auto" => thinking.mode = Some(ThinkingMode::Adaptive),
                _ => losses.drop(&node.path)?,
            },
            "budget_tokens" => budget(thinking, node.count()?),
            _ => losses.drop(&node.path)?,
        }
        Ok(())
    })
}

fn switch(thinking: &mut Thinking, on: bool) {
    thinking.mode = Some(if on { ThinkingMode::On } else { ThinkingMode::Off });
}

fn budget(thinking: &mut Thinking, tokens: u64) {
    thinking.budget = Some(tokens);
    thinking.mode.get_or_insert(ThinkingMode::On);
}
