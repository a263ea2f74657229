//! The members of content blocks in a client's request.

use std::borrow::Cow;

use crate::canon::{Cache, Text, not_carried};
use crate::failure::Result;
use crate::json::Lit;
use crate::protocol::node::{Node, Type};

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
