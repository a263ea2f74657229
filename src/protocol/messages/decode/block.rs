//! Content blocks of a client's request.

use std::borrow::Cow;

use crate::canon::{
    Args, Cache, Call, Carrier, Losses, Part, Reasoning, Role, Sealed, Target, Text, not_carried,
};
use crate::failure::{Failure, Kind, Result};
use crate::json::{Lit, Raw};
use crate::protocol::node::{Node, Type};

use super::{media, result};

/// Where a block stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a message.
    Message(Role),
    /// In the result of a tool.
    Result,
}

/// The members of a block, of whatever type, before they are read.
#[derive(Default)]
pub(super) struct Block<'a> {
    pub(super) kind: Cow<'a, str>,
    pub(super) text: Option<&'a str>,
    pub(super) source: Option<&'a str>,
    pub(super) title: Option<&'a str>,
    pub(super) context: Option<&'a str>,
    pub(super) content: Option<&'a str>,
    pub(super) id: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) input: Option<&'a str>,
    pub(super) is_error: Option<&'a str>,
    pub(super) opaque: Option<&'a str>,
    pub(super) cache: Option<Cache>,
}

impl<'a> Block<'a> {
    pub(super) fn read(node: &Node<'a, '_>) -> Result<Self> {
        let mut block = Self::default();
        node.members(|key, value| {
            let place = match key {
                "type" => {
                    block.kind = value.string()?;
                    return Ok(());
                }
                "cache_control" => {
                    block.cache = cache(&value);
                    return Ok(());
                }
                "text" | "thinking" => &mut block.text,
                "source" => &mut block.source,
                "title" => &mut block.title,
                "context" => &mut block.context,
                "content" => &mut block.content,
                "id" | "tool_use_id" => &mut block.id,
                "name" | "tool_name" => &mut block.name,
                "input" => &mut block.input,
                "is_error" => &mut block.is_error,
                "signature" | "data" => &mut block.opaque,
                // Citations, transformations, callers: nothing is lost by them.
                _ => return Ok(()),
            };
            *place = Some(value.text);
            Ok(())
        })?;
        Ok(block)
    }
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
        "tool_result" if !in_result => parts.push(Part::Result(result::read(node, &block, target, losses)?)),
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

/// A block that has to be text, as instructions are.
pub(super) fn only_text<'a>(node: &Node<'a, '_>) -> Result<Text<'a>> {
    let block = Block::read(node)?;
    match &*block.kind {
        "text" => text(node, &block),
        _ => Err(not_carried(node.path.to_string())),
    }
}

pub(super) fn text<'a>(node: &Node<'a, '_>, block: &Block<'a>) -> Result<Text<'a>> {
    Ok(Text { text: required(node, "text", block.text)?.lit()?, cache: block.cache })
}

/// A member that has to be there.
pub(super) fn required<'a, 'q>(
    node: &'q Node<'a, '_>,
    name: &'static str,
    text: Option<&'a str>,
) -> Result<Node<'a, 'q>> {
    let member = node.at(name, text.unwrap_or_default());
    if text.is_some() { Ok(member) } else { Err(member.wrong("given")) }
}

/// A text that may be there.
pub(super) fn optional<'a>(
    node: &Node<'a, '_>,
    name: &'static str,
    text: Option<&'a str>,
) -> Result<Option<Lit<'a>>> {
    text.map(|text| node.at(name, text).lit()).transpose()
}

/// A mark for the prompt cache. Odd ones are none: they only make things cheaper.
pub(super) fn cache(node: &Node<'_, '_>) -> Option<Cache> {
    (node.kind() == Type::Object)
        .then(|| Cache { long: node.find("ttl").is_some_and(|ttl| ttl.text == "\"1h\"") })
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

/// What the provider did by itself in earlier turns; its results live on in the text.
fn is_server_tool(kind: &str) -> bool {
    matches!(kind, "server_tool_use" | "container_upload" | "mcp_tool_use" | "compaction" | "fallback")
        || kind.ends_with("_tool_result")
}
