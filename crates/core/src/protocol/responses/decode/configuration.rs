//! Settings that stand beside the conversation, or among its items: the effort, and the form of the answer.

use crate::canon::{Effort, Format, Losses, Part, Request, Role, Thinking, ThinkingMode, not_carried};
use crate::failure::Result;
use crate::protocol::node::Node;
use crate::protocol::pick::{members_or_losses, unused_members};

/// Reads an item that changes the request's settings from here on. The last one counts.
pub(super) fn update<'a>(node: &Node<'a, '_>, request: &mut Request<'a>, losses: &mut Losses) -> Result<()> {
    node.members(|name, value| match name {
        "reasoning" => value.members(|name, value| match name {
            "effort" => effort(&value, &mut request.thinking),
            _ => losses.drop(&value.path),
        }),
        "text" => value.members(|name, value| match name {
            "format" => {
                request.format = format(&value, losses)?;
                Ok(())
            }
            _ => losses.drop(&value.path),
        }),
        "type" | "id" | "status" => Ok(()),
        _ => losses.drop(&value.path),
    })
}

/// Leaves out the reasoning before the last message of the user.
pub(super) fn forget_reasoning(request: &mut Request<'_>) {
    let last = request.turns.iter().rposition(|turn| {
        turn.role == Role::User && !turn.parts.iter().all(|part| matches!(part, Part::Result(_)))
    });
    for turn in request.turns.iter_mut().take(last.unwrap_or_default()) {
        turn.parts.retain(|part| !matches!(part, Part::Reasoning(_)));
    }
    request.turns.retain(|turn| !turn.parts.is_empty());
}

/// Reads `reasoning.effort`.
pub(super) fn effort(node: &Node<'_, '_>, thinking: &mut Thinking) -> Result<()> {
    let level = Effort::read(&node.string()?);
    thinking.effort = Some(level.ok_or_else(|| not_carried(node.path.to_string()))?);
    thinking.mode = (level == Some(Effort::None)).then_some(ThinkingMode::Off);
    Ok(())
}

/// Reads `text.format`.
pub(super) fn format<'a>(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Format<'a>> {
    let [kind, name, description, schema, strict] =
        members_or_losses(node, ["type", "name", "description", "schema", "strict"], &[], losses)?;
    let kind = node.at("type", kind.unwrap_or_default()).string()?;
    if matches!(kind.as_ref(), "text" | "json_object") {
        let members = [("name", name), ("description", description), ("schema", schema), ("strict", strict)];
        unused_members(node, members, losses)?;
    }
    match (kind.as_ref(), schema) {
        ("text", _) => Ok(Format::Text),
        ("json_object", _) => Ok(Format::JsonObject),
        ("json_schema", Some(schema)) => Ok(Format::Schema {
            name: name.map(|text| node.at("name", text).json_str()).transpose()?,
            description: description.map(|text| node.at("description", text).json_str()).transpose()?,
            schema: node.at("schema", schema).raw()?,
            strict: strict.map(|text| node.at("strict", text).bool()).transpose()?,
        }),
        ("json_schema", None) => Err(node.missing("schema").wrong("an object")),
        _ => Err(not_carried(node.path.to_string())),
    }
}
