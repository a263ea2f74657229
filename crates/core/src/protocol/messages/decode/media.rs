//! Pictures, documents and search results in a client's request.

use std::borrow::Cow;

use crate::canon::{Document, Image, Part, Source, Text, not_carried};
use crate::failure::Result;
use crate::json::Lit;
use crate::protocol::node::{Node, Type};

use super::members::{self, Block};

/// Reads an `image` block.
pub(super) fn image<'a>(node: &Node<'a, '_>, block: &Block<'a>) -> Result<Image<'a>> {
    let place = members::required(node, "source", block.source)?;
    let source = Wire::read(&place)?;
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

/// Reads a `document` block; one that is made of other blocks becomes these.
pub(super) fn document<'a>(node: &Node<'a, '_>, block: &Block<'a>, parts: &mut Vec<Part<'a>>) -> Result<()> {
    let place = members::required(node, "source", block.source)?;
    let source = Wire::read(&place)?;
    let name = members::optional(node, "title", block.title)?.filter(|title| !title.is_empty());
    let context = members::optional(node, "context", block.context)?.filter(|context| !context.is_empty());
    let source = match &*source.kind {
        "content" => {
            parts.extend(heading(name, context).map(Text::new).map(Part::Text));
            return pieces(&members::required(&place, "content", source.content)?, block, parts);
        }
        "text" => Source::Text(members::required(&place, "data", source.data)?.lit()?),
        "url" | "base64" => source.media(&place)?,
        _ => return Err(not_carried(place.path.to_string())),
    };
    parts.push(Part::Document(Document {
        source,
        path: place.path.to_string(),
        name,
        context,
        cache: block.cache,
    }));
    Ok(())
}

/// The blocks of which a document is made. Its mark for the cache belongs to the last one.
fn pieces<'a>(content: &Node<'a, '_>, outer: &Block<'a>, parts: &mut Vec<Part<'a>>) -> Result<()> {
    if content.kind() == Type::String {
        parts.push(Part::Text(Text { text: content.lit()?, cache: outer.cache }));
        return Ok(());
    }
    content.items(|item| {
        let block = Block::read(&item)?;
        parts.push(match &*block.kind {
            "text" => Part::Text(members::text(&item, &block)?),
            "image" => Part::Image(image(&item, &block)?),
            _ => return Err(not_carried(item.path.to_string())),
        });
        Ok(())
    })?;
    if let Some(Part::Text(Text { cache, .. }) | Part::Image(Image { cache, .. })) = parts.last_mut() {
        *cache = cache.or(outer.cache);
    }
    Ok(())
}

/// Title and context of a document, each on its own line.
fn heading<'a>(name: Option<Lit<'a>>, context: Option<Lit<'a>>) -> Option<Lit<'a>> {
    match (name, context) {
        (Some(name), Some(context)) => Some(Lit::concat(&[&name, &LINE, &context])),
        (name, context) => name.or(context),
    }
}

/// Reads a `search_result` block: title, source and texts, each on its own line.
pub(super) fn search_result<'a>(node: &Node<'a, '_>, block: &Block<'a>) -> Result<Text<'a>> {
    let mut lines = Vec::new();
    lines.push(members::required(node, "title", block.title)?.lit()?);
    lines.push(members::required(node, "source", block.source)?.lit()?);
    members::required(node, "content", block.content)?.items(|item| {
        lines.push(members::only_text(&item)?.text);
        Ok(())
    })?;
    let mut pieces = Vec::with_capacity(2 * lines.len());
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            pieces.push(&LINE);
        }
        pieces.push(line);
    }
    Ok(Text { text: Lit::concat(&pieces), cache: block.cache })
}

/// The members of a `source` object, before they are read.
#[derive(Default)]
struct Wire<'a> {
    kind: Cow<'a, str>,
    media_type: Option<&'a str>,
    data: Option<&'a str>,
    url: Option<&'a str>,
    content: Option<&'a str>,
}

impl<'a> Wire<'a> {
    fn read(node: &Node<'a, '_>) -> Result<Self> {
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
                _ => return Ok(()),
            };
            *place = Some(value.text);
            Ok(())
        })?;
        Ok(wire)
    }

    /// An address, or the bytes themselves.
    fn media(&self, node: &Node<'a, '_>) -> Result<Source<'a>> {
        if self.kind == "url" {
            return Ok(Source::Url(members::required(node, "url", self.url)?.lit()?));
        }
        let mime = members::required(node, "media_type", self.media_type)?.string()?;
        let mime = match mime.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(mime.to_ascii_lowercase()),
            false => mime,
        };
        Ok(Source::Base64 { mime, data: members::required(node, "data", self.data)?.string()? })
    }
}

static LINE: Lit<'static> = Lit::plain("\\n");
