//! Content blocks of a client's request.

use crate::canon::{
    Args, Call, Carrier, Losses, Part, Reasoning, Role, Sealed, Target, Text, ToolResult, not_carried,
};
use crate::failure::{Failure, Kind, Result};
use crate::json::{self, Lit, Raw};
use crate::protocol::node::{Node, Type};

use super::media;
use super::members::{Block, optional, required, text};

/// Where a block stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a message.
    Message(Role),
    /// In the result of a tool.
    Result,
}

/// Reads one block.
pub(super) fn read<'a>(
    node: &Node<'a, '_>,
    place: Place,
    target: &Target<'_>,
    parts: &mut Vec<Part<'a>>,
    losses: &mut Losses,
) -> Result<()> {
    let block = Block::read(node)?;
    let assistant = place == Place::Message(Role::Assistant);
    let in_result = place == Place::Result;
    match &*block.kind {
        "text" => parts.push(Part::Text(text(node, &block)?)),
        // No other protocol has a place for what a model draws.
        "image" | "document" if assistant => losses.drop(&node.path)?,
        "image" => parts.push(Part::Image(media::image(node, &block)?)),
        "document" => media::document(node, &block, parts)?,
        "search_result" => parts.push(Part::Text(media::search_result(node, &block)?)),
        "thinking" | "redacted_thinking" if !in_result => {
            parts.push(reasoning(node, &block, target, losses)?);
        }
        "tool_use" if !in_result => parts.push(Part::Call(call(node, &block)?)),
        "tool_result" if !in_result => parts.push(Part::Result(result(node, &block, target, losses)?)),
        "tool_reference" if in_result => {
            let name = required(node, "tool_name", block.name)?.lit()?;
            let text = Lit::concat(&[&Lit::plain("Tool loaded: "), &name]);
            parts.push(Part::Text(Text { text, cache: block.cache }));
        }
        // What a user uploads is meant to be read; in the model's own messages it is history.
        "container_upload" if !assistant => return Err(not_carried(node.path.to_string())),
        kind if is_server_tool(kind) => losses.drop(&node.path)?,
        "tool_reference" | "browser_state" => return Err(not_carried(node.path.to_string())),
        kind => {
            let message = format!("Content of type '{kind}' is not supported.");
            let failure = Failure::new(Kind::Unsupported, message).with_code("unsupported_content_type");
            return Err(failure.with_param(node.path.to_string()));
        }
    }
    Ok(())
}

/// What the model thought. A signature is the gateway's own carrier, or was made for another provider.
fn reasoning<'a>(
    node: &Node<'a, '_>,
    block: &Block<'a>,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Part<'a>> {
    let thinking = block.kind == "thinking";
    let text = if thinking { optional(node, "thinking", block.text)? } else { None };
    let opaque = optional(node, if thinking { "signature" } else { "data" }, block.opaque)?;
    let sealed = match opaque {
        Some(opaque) if Carrier::is_carrier(opaque.raw()) => {
            target.open(&opaque.decode(), losses).map(Sealed::Carried)
        }
        Some(opaque) if !opaque.is_empty() => Some(Sealed::Thinking(node.raw()?)),
        _ => None,
    };
    Ok(Part::Reasoning(Reasoning { text: text.filter(|text| !text.is_empty()), sealed }))
}

fn call<'a>(node: &Node<'a, '_>, block: &Block<'a>) -> Result<Call<'a>> {
    let args = match block.input {
        None => Args::Raw(Raw::constant("{}")),
        Some(text) => {
            let input = node.at("input", text);
            match input.kind() {
                Type::String => Args::Lit(input.lit()?),
                _ => Args::Raw(input.raw()?),
            }
        }
    };
    Ok(Call {
        id: required(node, "id", block.id)?.string()?,
        namespace: None,
        name: required(node, "name", block.name)?.string()?,
        custom: false,
        args,
        extra: None,
    })
}

/// Reads a `tool_result` block.
fn result<'a>(
    node: &Node<'a, '_>,
    block: &Block<'a>,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<ToolResult<'a>> {
    let id = required(node, "tool_use_id", block.id)?.string()?;
    let mut content = Vec::new();
    if let Some(text) = block.content {
        let inside = node.at("content", text);
        match inside.kind() {
            Type::Array => inside.items(|item| read(&item, Place::Result, target, &mut content, losses))?,
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

/// What the provider did by itself in earlier turns; its results live on in the text.
fn is_server_tool(kind: &str) -> bool {
    matches!(kind, "server_tool_use" | "container_upload" | "mcp_tool_use" | "compaction" | "fallback")
        || kind.ends_with("_tool_result")
}
