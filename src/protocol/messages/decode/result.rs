//! Results of tools in a client's request.

use crate::canon::{Losses, Part, Target, Text, ToolResult};
use crate::failure::Result;
use crate::json::{self, Lit};
use crate::protocol::node::{Node, Type};

use super::block::{self, Block, Place};

/// Reads a `tool_result` block.
pub(super) fn read<'a>(
    node: &Node<'a, '_>,
    block: &Block<'a>,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<ToolResult<'a>> {
    let id = block::required(node, "tool_use_id", block.id)?.string()?;
    let mut content = Vec::new();
    if let Some(text) = block.content {
        let inside = node.at("content", text);
        match inside.kind() {
            Type::Array => {
                inside.items(|item| block::read(&item, Place::Result, target, &mut content, losses))?;
            }
            Type::Object => content.push(Part::Text(Text::new(object(inside.raw()?.get())))),
            _ => content
                .extend(Some(inside.lit()?).filter(|text| !text.is_empty()).map(Text::new).map(Part::Text)),
        }
    }
    let is_error = match block.is_error {
        Some(text) => node.at("is_error", text).bool()?,
        None => false,
    };
    Ok(ToolResult { id, custom: false, content, is_error, cache: block.cache })
}

/// An object where a text should be: its JSON is the text.
fn object(json: &str) -> Lit<'static> {
    let mut compact = Vec::with_capacity(json.len());
    json::compact(json, &mut compact);
    Lit::of(&String::from_utf8(compact).unwrap_or_default())
}
