//! Settings that stand among the items of the conversation instead of beside it.

use crate::canon::{Losses, Part, Request, Role};
use crate::failure::Result;
use crate::protocol::node::Node;

use super::request;

/// Reads an item that changes the request's settings from here on. The last one counts.
pub(super) fn update<'a>(node: &Node<'a, '_>, request: &mut Request<'a>, losses: &mut Losses) -> Result<()> {
    node.members(|name, value| match name {
        "reasoning" => value.members(|name, value| match name {
            "effort" => request::effort(&value, &mut request.thinking),
            _ => losses.drop(&value.path),
        }),
        "text" => value.members(|name, value| match name {
            "format" => {
                request.format = request::format(&value)?;
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
