//! How a client wants the model to think, and the form in which it wants the answer.

use crate::canon::{Format, Level, Losses, Request, Thinking, ThinkingMode, not_carried};
use crate::failure::Result;
use crate::protocol::node::Node;

/// Reads `thinking`. A kind that is not known is left out: it is a matter of tuning.
pub(super) fn thinking(node: &Node<'_, '_>, thinking: &mut Thinking, losses: &mut Losses) -> Result<()> {
    (thinking.mode, thinking.budget, thinking.show) = (None, None, None);
    node.members(|key, value| {
        match key {
            "type" => match &*value.string()? {
                "enabled" => thinking.mode = Some(ThinkingMode::On),
                "adaptive" | "between_tools" => thinking.mode = Some(ThinkingMode::Adaptive),
                "disabled" => thinking.mode = Some(ThinkingMode::Off),
                _ => losses.drop(&node.path)?,
            },
            "budget_tokens" => thinking.budget = Some(value.count()?),
            "display" => thinking.show = Some(value.string()? != "omitted"),
            _ => losses.drop(&value.path)?,
        }
        Ok(())
    })?;
    if thinking.mode != Some(ThinkingMode::On) {
        thinking.budget = None;
    }
    Ok(())
}

/// Reads `output_config`.
pub(super) fn output<'a>(node: &Node<'a, '_>, request: &mut Request<'a>, losses: &mut Losses) -> Result<()> {
    node.members(|key, value| {
        match key {
            "effort" => match Level::read(&value.string()?) {
                Some(level) => request.thinking.effort = Some(level),
                None => losses.drop(&value.path)?,
            },
            "format" => request.format = format(&value)?,
            _ => losses.drop(&value.path)?,
        }
        Ok(())
    })
}

/// Reads `output_config.format`, or `output_format` as it was called before.
pub(super) fn format<'a>(node: &Node<'a, '_>) -> Result<Format<'a>> {
    let (mut kind, mut schema) = (None, None);
    node.members(|key, value| {
        match key {
            "type" => kind = Some(value.string()?),
            "schema" => schema = Some(value.raw()?),
            _ => {}
        }
        Ok(())
    })?;
    match (kind.as_deref(), schema) {
        (Some("json_schema"), Some(schema)) => {
            Ok(Format::Schema { name: None, description: None, schema, strict: None })
        }
        (Some("json_schema"), None) => Err(node.missing("schema").wrong("given")),
        _ => Err(not_carried(node.path.to_string())),
    }
}
