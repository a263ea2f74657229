//! Content blocks of a client's request: text, reasoning, calls and their results, pictures, documents, search results.

use std::borrow::Cow;

use crate::canon::{
    Args, Cache, Call, Carrier, DocumentPart, Image, Losses, Part, Reasoning, Role, Sealed, Source, Target,
    Text, ToolResult, not_carried,
};
use crate::failure::{Failure, Kind, Result};
use crate::json::{self, JsonStr, Raw};
use crate::protocol::node::{Node, Type};
use crate::protocol::pick::{unknown_member, unused_members};

use super::changes::ConversationChanges;

/// The place of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockContext {
    /// In a message.
    Message(Role),
    /// In the result of a tool.
    Result,
}

/// Reads one block.
pub(super) fn read<'a>(
    node: &Node<'a, '_>,
    place: BlockContext,
    target: &Target<'_>,
    parts: &mut Vec<Part<'a>>,
    changes: &mut ConversationChanges<'a>,
    losses: &mut Losses,
) -> Result<()> {
    let block = ContentBlock::read(node, losses)?;
    let assistant = place == BlockContext::Message(Role::Assistant);
    let in_result = place == BlockContext::Result;
    match &*block.kind {
        "text" => parts.push(Part::Text(text(node, &block)?)),
        // No other protocol has a place for images that a model makes.
        "image" | "document" if assistant => losses.drop(&node.path)?,
        "image" => parts.push(Part::Image(image(node, &block, losses)?)),
        "document" => document(node, &block, parts, losses)?,
        "search_result" => parts.push(Part::Text(search_result(node, &block, losses)?)),
        "thinking" | "redacted_thinking" if !in_result => {
            parts.push(reasoning(node, &block, target, losses)?);
        }
        "tool_use" if !in_result => {
            let call = call(node, &block)?;
            changes.mention(call.name.clone());
            parts.push(Part::Call(call));
        }
        "tool_result" if !in_result => {
            parts.push(Part::Result(result(node, &block, target, changes, losses)?));
        }
        "tool_reference" if in_result => {
            let name = required(node, "tool_name", block.tool_name)?;
            changes.mention(name.string()?);
            let name = name.json_str()?;
            let text = JsonStr::concat(&[&JsonStr::plain("Tool loaded: "), &name]);
            parts.push(Part::Text(Text { text, cache: block.cache }));
        }
        // A user uploads a file so that the model reads it; in the model's own messages it is history.
        "container_upload" if !assistant => return Err(not_carried(node.path.to_string())),
        // A listing tells what the provider itself may call.
        "mcp_tool_listing" => losses.drop(&node.path)?,
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

/// Returns the model's reasoning. A signature is either the gateway's own carrier, or was made for another
/// provider.
fn reasoning<'a>(
    node: &Node<'a, '_>,
    block: &ContentBlock<'a>,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Part<'a>> {
    let text = optional(node, "thinking", block.thinking)?;
    let opaque = match &*block.kind {
        "thinking" => optional(node, "signature", block.signature)?,
        _ => optional(node, "data", block.data)?,
    };
    let sealed = match opaque {
        Some(opaque) if Carrier::is_carrier(opaque.raw()) => {
            target.open(&opaque.decode(), losses).map(Sealed::Carried)
        }
        Some(opaque) if !opaque.is_empty() => Some(Sealed::Thinking(node.raw()?)),
        _ => None,
    };
    Ok(Part::Reasoning(Reasoning { text: text.filter(|text| !text.is_empty()), sealed }))
}

fn call<'a>(node: &Node<'a, '_>, block: &ContentBlock<'a>) -> Result<Call<'a>> {
    let args = match block.input {
        None => Args::Raw(Raw::constant("{}")),
        Some(text) => {
            let input = node.at("input", text);
            match input.kind() {
                Type::String => Args::Str(input.json_str()?),
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
    block: &ContentBlock<'a>,
    target: &Target<'_>,
    changes: &mut ConversationChanges<'a>,
    losses: &mut Losses,
) -> Result<ToolResult<'a>> {
    let id = required(node, "tool_use_id", block.tool_use_id)?.string()?;
    let mut content = Vec::new();
    if let Some(text) = block.content {
        let inside = node.at("content", text);
        match inside.kind() {
            Type::Array => {
                inside
                    .items(|item| read(&item, BlockContext::Result, target, &mut content, changes, losses))?;
            }
            Type::Object => content.push(Part::Text(Text::new(object(inside.raw()?.get())))),
            _ => content.extend(
                Some(inside.json_str()?).filter(|text| !text.is_empty()).map(Text::new).map(Part::Text),
            ),
        }
    }
    let is_error = match block.is_error {
        Some(text) => node.at("is_error", text).bool()?,
        None => false,
    };
    Ok(ToolResult { id, custom: false, content, is_error, cache: block.cache })
}

/// Returns an object in the place of a text: its JSON is the text.
fn object(json: &str) -> JsonStr<'static> {
    let mut compact = Vec::with_capacity(json.len());
    json::compact(json, &mut compact);
    JsonStr::of(&String::from_utf8(compact).unwrap_or_default())
}

/// Whether a block is something that the provider did by itself in earlier turns. Its results live on in the text.
fn is_server_tool(kind: &str) -> bool {
    matches!(kind, "server_tool_use" | "container_upload" | "mcp_tool_use" | "compaction" | "fallback")
        || kind.ends_with("_tool_result")
}

/// Reads an `image` block.
fn image<'a>(node: &Node<'a, '_>, block: &ContentBlock<'a>, losses: &mut Losses) -> Result<Image<'a>> {
    let place = required(node, "source", block.source)?;
    let source = SourceWire::read(&place, losses)?;
    match &*source.kind {
        "url" | "base64" => Ok(Image {
            source: source.media(&place)?,
            path: place.path.to_string(),
            detail: None,
            cache: block.cache,
        }),
        _ => Err(not_carried(place.path.to_string())),
    }
}

/// Reads a `document` block. One that consists of other blocks is replaced by these.
fn document<'a>(
    node: &Node<'a, '_>,
    block: &ContentBlock<'a>,
    parts: &mut Vec<Part<'a>>,
    losses: &mut Losses,
) -> Result<()> {
    let place = required(node, "source", block.source)?;
    let source = SourceWire::read(&place, losses)?;
    let name = optional(node, "title", block.title)?.filter(|title| !title.is_empty());
    let context = optional(node, "context", block.context)?.filter(|context| !context.is_empty());
    let source = match &*source.kind {
        "content" => {
            parts.extend(heading(name, context).map(Text::new).map(Part::Text));
            return pieces(&required(&place, "content", source.content)?, block, parts, losses);
        }
        "text" => Source::Text(required(&place, "data", source.data)?.json_str()?),
        "url" | "base64" => source.media(&place)?,
        _ => return Err(not_carried(place.path.to_string())),
    };
    parts.push(Part::Document(DocumentPart {
        source,
        path: place.path.to_string(),
        name,
        context,
        cache: block.cache,
    }));
    Ok(())
}

/// Reads the blocks of a document. Its mark for the cache belongs to the last one.
fn pieces<'a>(
    content: &Node<'a, '_>,
    outer: &ContentBlock<'a>,
    parts: &mut Vec<Part<'a>>,
    losses: &mut Losses,
) -> Result<()> {
    if content.kind() == Type::String {
        parts.push(Part::Text(Text { text: content.json_str()?, cache: outer.cache }));
        return Ok(());
    }
    content.items(|item| {
        let block = ContentBlock::read(&item, losses)?;
        parts.push(match &*block.kind {
            "text" => Part::Text(text(&item, &block)?),
            "image" => Part::Image(image(&item, &block, losses)?),
            _ => return Err(not_carried(item.path.to_string())),
        });
        Ok(())
    })?;
    if let Some(Part::Text(Text { cache, .. }) | Part::Image(Image { cache, .. })) = parts.last_mut() {
        *cache = cache.or(outer.cache);
    }
    Ok(())
}

/// Returns the title and context of a document, each on its own line.
fn heading<'a>(name: Option<JsonStr<'a>>, context: Option<JsonStr<'a>>) -> Option<JsonStr<'a>> {
    match (name, context) {
        (Some(name), Some(context)) => Some(JsonStr::concat(&[&name, &LINE, &context])),
        (name, context) => name.or(context),
    }
}

/// Reads a `search_result` block: title, source and texts, each on its own line.
fn search_result<'a>(node: &Node<'a, '_>, block: &ContentBlock<'a>, losses: &mut Losses) -> Result<Text<'a>> {
    let mut lines = Vec::new();
    lines.push(required(node, "title", block.title)?.json_str()?);
    lines.push(required(node, "source", block.source)?.json_str()?);
    required(node, "content", block.content)?.items(|item| {
        lines.push(only_text(&item, losses)?.text);
        Ok(())
    })?;
    let mut pieces = Vec::with_capacity(2 * lines.len());
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            pieces.push(&LINE);
        }
        pieces.push(line);
    }
    Ok(Text { text: JsonStr::concat(&pieces), cache: block.cache })
}

/// The members of a `source` object, unread.
#[derive(Default)]
struct SourceWire<'a> {
    kind: Cow<'a, str>,
    media_type: Option<&'a str>,
    data: Option<&'a str>,
    url: Option<&'a str>,
    content: Option<&'a str>,
}

impl<'a> SourceWire<'a> {
    fn read(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Self> {
        let mut wire = Self::default();
        node.members(|key, value| {
            let place = match key {
                "type" => {
                    wire.kind = value.string()?;
                    return Ok(());
                }
                "media_type" => &mut wire.media_type,
                "data" => &mut wire.data,
                "url" => &mut wire.url,
                "content" => &mut wire.content,
                _ => return unknown_member(&value, losses),
            };
            *place = Some(value.text);
            Ok(())
        })?;
        wire.list_foreign(node, losses)?;
        Ok(wire)
    }

    /// Lists the members that belong to sources of other types.
    fn list_foreign(&self, node: &Node<'a, '_>, losses: &mut Losses) -> Result<()> {
        let own: &[&str] = match &*self.kind {
            "content" => &["content"],
            "url" => &["url"],
            "text" | "base64" => &["media_type", "data"],
            _ => return Ok(()),
        };
        let members = [
            ("media_type", self.media_type),
            ("data", self.data),
            ("url", self.url),
            ("content", self.content),
        ];
        unused_members(node, members.into_iter().filter(|(name, _)| !own.contains(name)), losses)
    }

    /// Returns an address, or the bytes themselves.
    fn media(&self, node: &Node<'a, '_>) -> Result<Source<'a>> {
        if self.kind == "url" {
            return Ok(Source::Url(required(node, "url", self.url)?.json_str()?));
        }
        let mime = required(node, "media_type", self.media_type)?.string()?;
        let mime = match mime.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(mime.to_ascii_lowercase()),
            false => mime,
        };
        Ok(Source::Base64 { mime, data: required(node, "data", self.data)?.string()? })
    }
}

static LINE: JsonStr<'static> = JsonStr::plain("\\n");

/// The members of a block of any type, unread.
#[derive(Default)]
struct ContentBlock<'a> {
    kind: Cow<'a, str>,
    text: Option<&'a str>,
    thinking: Option<&'a str>,
    signature: Option<&'a str>,
    data: Option<&'a str>,
    source: Option<&'a str>,
    title: Option<&'a str>,
    context: Option<&'a str>,
    content: Option<&'a str>,
    id: Option<&'a str>,
    name: Option<&'a str>,
    input: Option<&'a str>,
    tool_use_id: Option<&'a str>,
    is_error: Option<&'a str>,
    tool_name: Option<&'a str>,
    cache: Option<Cache>,
}

impl<'a> ContentBlock<'a> {
    fn read(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Self> {
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
                "text" => &mut block.text,
                "thinking" => &mut block.thinking,
                "signature" => &mut block.signature,
                "data" => &mut block.data,
                "source" => &mut block.source,
                "title" => &mut block.title,
                "context" => &mut block.context,
                "content" => &mut block.content,
                "id" => &mut block.id,
                "name" => &mut block.name,
                "input" => &mut block.input,
                "tool_use_id" => &mut block.tool_use_id,
                "is_error" => &mut block.is_error,
                "tool_name" => &mut block.tool_name,
                // The sources of the model's own text are history; those of a document are asked for.
                "citations" if value.kind() == Type::Object => {
                    let is_on = value.find("enabled").is_some_and(|enabled| enabled.text == "true");
                    return if is_on { losses.drop(&value.path) } else { Ok(()) };
                }
                "caller" if value.find("type").is_some_and(|kind| kind.text == "\"direct\"") => return Ok(()),
                "citations" | "status" => return Ok(()),
                _ if is_server_tool(&block.kind) || block.kind == "mcp_tool_listing" => return Ok(()),
                _ => return unknown_member(&value, losses),
            };
            *place = Some(value.text);
            Ok(())
        })?;
        block.list_foreign(node, losses)?;
        Ok(block)
    }

    /// Lists the members that belong to blocks of other types. Ids say nothing to the model.
    fn list_foreign(&self, node: &Node<'a, '_>, losses: &mut Losses) -> Result<()> {
        let Some((_, own)) = MEMBERS.iter().find(|(kind, _)| *kind == self.kind) else { return Ok(()) };
        let members = [
            ("text", self.text),
            ("thinking", self.thinking),
            ("signature", self.signature),
            ("data", self.data),
            ("source", self.source),
            ("title", self.title),
            ("context", self.context),
            ("content", self.content),
            ("name", self.name),
            ("input", self.input),
            ("tool_use_id", self.tool_use_id),
            ("is_error", self.is_error),
            ("tool_name", self.tool_name),
        ];
        unused_members(node, members.into_iter().filter(|(name, _)| !own.contains(name)), losses)
    }
}

/// The members of blocks that are read, by the type of the block. Blocks of other types are left out or refused as a whole.
const MEMBERS: [(&str, &[&str]); 9] = [
    ("text", &["text"]),
    ("image", &["source"]),
    ("document", &["source", "title", "context"]),
    ("search_result", &["source", "title", "content"]),
    ("thinking", &["thinking", "signature"]),
    ("redacted_thinking", &["data"]),
    ("tool_use", &["name", "input"]),
    ("tool_result", &["tool_use_id", "content", "is_error"]),
    ("tool_reference", &["tool_name"]),
];

/// Returns a block that has to be text, as in instructions.
pub(super) fn only_text<'a>(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Text<'a>> {
    let block = ContentBlock::read(node, losses)?;
    match &*block.kind {
        "text" => text(node, &block),
        _ => Err(not_carried(node.path.to_string())),
    }
}

fn text<'a>(node: &Node<'a, '_>, block: &ContentBlock<'a>) -> Result<Text<'a>> {
    Ok(Text { text: required(node, "text", block.text)?.json_str()?, cache: block.cache })
}

/// Returns a required member.
pub(super) fn required<'a, 'q>(
    node: &'q Node<'a, '_>,
    name: &'static str,
    text: Option<&'a str>,
) -> Result<Node<'a, 'q>> {
    let member = node.at(name, text.unwrap_or_default());
    if text.is_some() { Ok(member) } else { Err(member.wrong("given")) }
}

/// Returns an optional text.
fn optional<'a>(
    node: &Node<'a, '_>,
    name: &'static str,
    text: Option<&'a str>,
) -> Result<Option<JsonStr<'a>>> {
    text.map(|text| node.at(name, text).json_str()).transpose()
}

/// Returns a mark for the prompt cache. A malformed one counts as none, because marks only save cost.
pub(super) fn cache(node: &Node<'_, '_>) -> Option<Cache> {
    (node.kind() == Type::Object)
        .then(|| Cache { long: node.find("ttl").is_some_and(|ttl| ttl.text == "\"1h\"") })
}
