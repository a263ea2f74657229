//! The content of messages: text, images, files and audio.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::canon::{
    Audio, Cache, DataUrl, DocumentPart, Image, Losses, Part, Reasoning, Request, Source, Text, sniff,
};
use crate::failure::{Failure, Kind, Result};
use crate::json::JsonStr;
use crate::protocol::node::{Node, Type};
use crate::protocol::pick::{members_or_losses, unknown_member, unused_members};

/// Reads a `content`, a string or a list of parts.
pub(super) fn content<'a>(node: Node<'a, '_>, parts: &mut Vec<Part<'a>>, losses: &mut Losses) -> Result<()> {
    if node.kind() == Type::String {
        parts.push(Part::Text(Text::new(node.json_str()?)));
        return Ok(());
    }
    node.items(|node| {
        if node.kind() == Type::String {
            parts.push(Part::Text(Text::new(node.json_str()?)));
            return Ok(());
        }
        parts.push(part(node, losses)?);
        Ok(())
    })
}

/// The members of a part, before its type decides which of them are used.
#[derive(Default)]
struct PartWire<'a> {
    kind: &'a str,
    /// The members that parts of one type have, in the order of [`DATA`].
    data: [Option<&'a str>; DATA.len()],
    cache: Option<Cache>,
}

impl<'a> PartWire<'a> {
    fn read(node: &Node<'a, '_>, losses: &mut Losses) -> Result<Self> {
        let mut wire = Self::default();
        node.members(|name, node| {
            match name {
                "type" => wire.kind = node.text.trim_matches('"'),
                "cache_control" | "prompt_cache_breakpoint" => wire.cache = Some(cache(node)?),
                // They stand in parts of answers.
                "annotations" | "citations" | "index" => {}
                _ => match DATA.iter().zip(&mut wire.data).find(|((known, _), _)| *known == name) {
                    Some((_, slot)) => *slot = Some(node.text),
                    None => unknown_member(&node, losses)?,
                },
            }
            Ok(())
        })?;
        Ok(wire)
    }

    /// Returns the text of a member, empty if it is absent.
    fn text(&self, name: &str) -> &'a str {
        let found = DATA.iter().zip(self.data).find(|((known, _), _)| *known == name);
        found.and_then(|(_, text)| text).unwrap_or_default()
    }

    /// Lists the members that belong to parts of other types.
    fn list_foreign(&self, node: &Node<'a, '_>, losses: &mut Losses) -> Result<()> {
        let foreign = DATA.iter().zip(self.data).filter(|((_, kind), _)| *kind != self.kind);
        unused_members(node, foreign.map(|((name, _), text)| (*name, text)), losses)
    }
}

fn part<'a>(node: Node<'a, '_>, losses: &mut Losses) -> Result<Part<'a>> {
    let draft = PartWire::read(&node, losses)?;
    draft.list_foreign(&node, losses)?;
    let inner = |member| node.at(member, draft.text(member));
    match draft.kind {
        "text" => Ok(Part::Text(Text { text: inner("text").json_str()?, cache: draft.cache })),
        "refusal" => Ok(Part::Refusal(inner("refusal").json_str()?)),
        "image_url" => image(inner("image_url"), draft.cache, losses),
        "file" => file(inner("file"), draft.cache, losses),
        "document_url" => {
            let name = Some(inner("document_name")).filter(|name| !name.text.is_empty());
            let name = name.map(|name| name.json_str()).transpose()?;
            document(&inner("document_url"), name, draft.cache, losses)
        }
        "input_audio" => audio(inner("input_audio"), draft.cache, losses),
        "thinking" => thinking(inner("thinking"), losses),
        kind => {
            let path = node.path.key("type").to_string();
            let shown: String = kind.chars().take(MAX_SHOWN_LEN).collect();
            let message = format!("Content of type '{shown}' is not supported for this model.");
            Err(refused("unsupported_content_type", message, path))
        }
    }
}

/// Returns an image from an object with a `url`, or from the URL itself.
fn image<'a>(node: Node<'a, '_>, cache: Option<Cache>, losses: &mut Losses) -> Result<Part<'a>> {
    let (mut url, mut detail) = (None, None);
    match node.kind() {
        Type::String => url = Some(node.json_str()?),
        _ => node.members(|name, node| {
            match name {
                "url" => url = Some(node.json_str()?),
                "detail" => detail = Some(node.json_str()?),
                _ => unknown_member(&node, losses)?,
            }
            Ok(())
        })?,
    }
    let url = url.ok_or_else(|| node.missing("url").wrong("a string"))?;
    let source = Source::of_url(url).ok_or_else(|| {
        let message = "A data URL of an image must be in base 64.".to_owned();
        refused("invalid_base64_image", message, node.path.to_string())
    })?;
    Ok(Part::Image(Image { source, path: node.path.to_string(), detail, cache }))
}

fn file<'a>(node: Node<'a, '_>, cache: Option<Cache>, losses: &mut Losses) -> Result<Part<'a>> {
    let (mut data, mut title) = (None, None);
    node.members(|name, node| {
        match name {
            "file_data" => data = Some(node.json_str()?),
            "filename" => title = Some(node.json_str()?),
            // The file lies in another provider's account.
            "file_id" => return Err(crate::canon::not_carried(node.path.to_string())),
            _ => unknown_member(&node, losses)?,
        }
        Ok(())
    })?;
    let data = data.ok_or_else(|| node.missing("file_data").wrong("a string"))?;
    let source = file_source(data).ok_or_else(|| {
        let message = "The data of a file must be in base 64.".to_owned();
        refused("invalid_base64_file", message, node.path.key("file_data").to_string())
    })?;
    let path = node.path.key("file_data").to_string();
    Ok(Part::Document(DocumentPart { source, path, name: title, context: None, cache }))
}

/// Returns a document in Mistral's form: its URL, or an object with a `url`.
fn document<'a>(
    node: &Node<'a, '_>,
    name: Option<JsonStr<'a>>,
    cache: Option<Cache>,
    losses: &mut Losses,
) -> Result<Part<'a>> {
    let url = match node.kind() {
        Type::Object => {
            let [url] = members_or_losses(node, ["url"], &[], losses)?;
            node.at("url", url.unwrap_or_default()).json_str()
        }
        _ => node.json_str(),
    };
    let source = Source::of_url(url?).ok_or_else(|| {
        let message = "A data URL of a document must be in base 64.".to_owned();
        refused("invalid_base64_file", message, node.path.to_string())
    })?;
    Ok(Part::Document(DocumentPart { source, path: node.path.to_string(), name, context: None, cache }))
}

/// Turns text files into text, which every protocol has a place for; all others stay encoded.
fn file_source(data: JsonStr<'_>) -> Option<Source<'_>> {
    if !DataUrl::is_one(data.raw()) {
        let data = data.into_text();
        return Some(Source::Base64 { mime: sniff(&data).unwrap_or_default().into(), data });
    }
    let source = Source::of_url(data)?;
    if let Source::Base64 { mime, data } = &source
        && mime == "text/plain"
        && let Some(text) =
            STANDARD.decode(data.as_bytes()).ok().and_then(|text| String::from_utf8(text).ok())
    {
        return Some(Source::Text(JsonStr::of(&text)));
    }
    Some(source)
}

fn audio<'a>(node: Node<'a, '_>, cache: Option<Cache>, losses: &mut Losses) -> Result<Part<'a>> {
    let (mut data, mut format) = (None, None);
    node.members(|name, node| {
        match name {
            "data" => data = Some(node.json_str()?),
            "format" => format = Some(node.json_str()?),
            _ => unknown_member(&node, losses)?,
        }
        Ok(())
    })?;
    let missing = |member| node.missing(member).wrong("a string");
    let data = data.ok_or_else(|| missing("data"))?;
    let format = format.ok_or_else(|| missing("format"))?;
    Ok(Part::Audio(Audio { data, format, path: node.path.to_string(), cache }))
}

/// Returns reasoning in Mistral's form: a text, or a list of text parts.
fn thinking<'a>(node: Node<'a, '_>, losses: &mut Losses) -> Result<Part<'a>> {
    let mut text = JsonStr::default();
    match node.kind() {
        Type::String => text = node.json_str()?,
        _ => node.items(|item| {
            let [piece] = members_or_losses(&item, ["text"], &["type"], losses)?;
            if let Some(piece) = piece {
                text = JsonStr::concat(&[&text, &item.at("text", piece).json_str()?]);
            }
            Ok(())
        })?,
    }
    Ok(Part::Reasoning(Reasoning { text: Some(text).filter(|text| !text.is_empty()), sealed: None }))
}

/// Returns a mark for the prompt cache, in either of its two forms.
pub(super) fn cache(node: Node<'_, '_>) -> Result<Cache> {
    let mut mark = Cache { long: false };
    node.members(|name, node| {
        mark.long |= name == "ttl" && is_long(&node);
        Ok(())
    })?;
    Ok(mark)
}

/// Whether this lifetime of a mark is the longer one.
pub(super) fn is_long(node: &Node<'_, '_>) -> bool {
    matches!(node.text, "\"1h\"" | "\"12h\"" | "\"24h\"")
}

/// Gives all marks of a request the longer lifetime.
pub(super) fn lengthen(request: &mut Request<'_>) {
    let marks = request.turns.iter_mut().flat_map(|turn| &mut turn.parts).filter_map(|part| match part {
        Part::Text(text) => text.cache.as_mut(),
        Part::Image(image) => image.cache.as_mut(),
        Part::Document(document) => document.cache.as_mut(),
        Part::Audio(audio) => audio.cache.as_mut(),
        Part::Result(result) => result.cache.as_mut(),
        _ => None,
    });
    let others = request.system.iter_mut().filter_map(|text| text.cache.as_mut());
    marks.chain(others).for_each(|mark| mark.long = true);
}

fn refused(code: &'static str, message: String, path: String) -> Failure {
    Failure::new(Kind::Unsupported, message).with_code(code).with_param(path)
}

/// The members that only parts of one type have, each with that type.
const DATA: [(&str, &str); 8] = [
    ("text", "text"),
    ("image_url", "image_url"),
    ("file", "file"),
    ("input_audio", "input_audio"),
    ("refusal", "refusal"),
    ("thinking", "thinking"),
    ("document_url", "document_url"),
    ("document_name", "document_url"),
];

/// Maximum number of characters of a type that a message repeats.
const MAX_SHOWN_LEN: usize = 64;
