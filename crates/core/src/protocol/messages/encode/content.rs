//! Content blocks of a request.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::canon::{Cache, Call, DocumentPart, Part, Source, Text, ToolNames, ToolResult};
use crate::failure::{Failure, Kind, Result};
use crate::json::JsonStr;
use crate::json::write::{Array, Object};
use crate::protocol::{input, phrases};

use super::ids::CallIds;
use super::mark::{self, CacheMarks};
use super::reasoning;

/// One item that becomes a block.
#[derive(Clone, Copy, Debug)]
pub(super) enum BlockItem<'r, 'a> {
    /// A part of a turn.
    Part(&'r Part<'a>),
    /// Instructions, with the role of their message.
    Text(&'r Text<'a>),
    /// Instructions in a user message, marked as such.
    Note(&'r Text<'a>),
    /// The user's placeholder text before a conversation that begins with the model.
    Dot,
}

impl<'r> BlockItem<'r, '_> {
    pub(super) fn mark(&self) -> Option<Cache> {
        match self {
            Self::Part(part) => mark::of(part),
            Self::Text(text) | Self::Note(text) => text.cache,
            Self::Dot => None,
        }
    }

    pub(super) fn is_thinking(&self) -> bool {
        matches!(self, Self::Part(Part::Reasoning(_)))
    }

    pub(super) fn is_blank(&self) -> bool {
        match self {
            Self::Part(Part::Text(text)) => text.text.is_blank(),
            Self::Part(Part::Refusal(text)) => text.is_blank(),
            _ => false,
        }
    }
}

/// The writer of a request's blocks.
pub(super) struct Blocks<'w> {
    pub(super) names: &'w ToolNames,
    pub(super) ids: CallIds<'w>,
    pub(super) marks: CacheMarks,
}

impl Blocks<'_> {
    /// Writes one block, or the several blocks of reasoning. `last` is whether the model continues after it.
    pub(super) fn write(&mut self, item: BlockItem<'_, '_>, last: bool, blocks: &mut Array<'_>) {
        let cache = item.mark();
        match item {
            BlockItem::Part(Part::Reasoning(thought)) => reasoning::write(thought, blocks),
            item => {
                blocks.object(|o| {
                    self.members(item, last, o);
                    self.marks.write(cache, o);
                });
            }
        }
    }

    /// Writes a block of instructions.
    pub(super) fn text(&mut self, text: &Text<'_>, blocks: &mut Array<'_>) {
        self.write(BlockItem::Text(text), false, blocks);
    }

    fn members(&self, item: BlockItem<'_, '_>, last: bool, o: &mut Object<'_>) {
        match item {
            BlockItem::Dot => {
                o.text("type", "text").text("text", ".");
            }
            BlockItem::Text(text) => {
                o.text("type", "text").json_str("text", &text.text);
            }
            BlockItem::Note(text) => {
                o.text("type", "text").string("text", |out| {
                    out.plain(phrases::SYSTEM_NOTE);
                    out.json_str(&text.text);
                });
            }
            BlockItem::Part(part) => self.part(part, last, o),
        }
    }

    fn part(&self, part: &Part<'_>, last: bool, o: &mut Object<'_>) {
        match part {
            Part::Text(Text { text, .. }) | Part::Refusal(text) => {
                let text = if last { without_trailing_space(text) } else { text.borrow() };
                o.text("type", "text").json_str("text", &text);
            }
            Part::Image(image) => self::image(&image.source, o),
            Part::Document(document) => self::document(document, o),
            Part::Call(call) => self.call(call, o),
            Part::Result(result) => self.result(result, o),
            // These were refused or left out before; reasoning is written elsewhere.
            Part::Audio(_) | Part::Reasoning(_) => {}
        }
    }

    fn call(&self, call: &Call<'_>, o: &mut Object<'_>) {
        let name = self.names.upstream(call.namespace.as_deref(), &call.name);
        o.text("type", "tool_use").text("id", self.ids.of(&call.id)).text("name", &name);
        o.value("input", |out| input::write(&call.args, call.custom, out));
    }

    fn result(&self, result: &ToolResult<'_>, o: &mut Object<'_>) {
        o.text("type", "tool_result").text("tool_use_id", self.ids.of(&result.id));
        let shown = || result.content.iter().filter(|part| !is_empty(part));
        match (shown().next(), shown().nth(1)) {
            (None, _) => {}
            (Some(Part::Text(only)), None) => {
                o.json_str("content", &only.text);
            }
            _ => {
                o.array("content", |blocks| {
                    for part in shown() {
                        blocks.object(|o| self.part(part, false, o));
                    }
                });
            }
        }
        if result.is_error {
            o.bool("is_error", true);
        }
    }
}

/// Whether it is nothing that a result can show.
fn is_empty(part: &Part<'_>) -> bool {
    match part {
        Part::Text(text) => text.text.is_empty(),
        Part::Refusal(text) => text.is_empty(),
        Part::Image(_) | Part::Document(_) => false,
        Part::Audio(_) | Part::Reasoning(_) | Part::Call(_) | Part::Result(_) => true,
    }
}

/// Returns the text without trailing white space, which the protocol forbids before a continuation.
fn without_trailing_space<'l>(text: &'l JsonStr<'_>) -> JsonStr<'l> {
    let mut rest = text.raw();
    loop {
        let trimmed = rest.trim_end();
        let escaped = ["\\n", "\\t", "\\r"].iter().find_map(|escape| trimmed.strip_suffix(escape));
        match escaped {
            // After an even number of backslashes, the last one begins the escape.
            Some(before) if before.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 0 => {
                rest = before;
            }
            _ => return JsonStr::part(trimmed),
        }
    }
}

/// The form of a source in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Medium {
    Image,
    Document,
    /// A text document in base 64.
    TextFile,
}

/// Refuses parts that the protocol has no place for; all others can be written.
pub(super) fn check(part: &Part<'_>) -> Result<()> {
    match part {
        Part::Image(image) if medium(&image.source, true).is_none() => {
            let message = "Images must be JPEG, PNG, GIF or WebP for this model.";
            Err(refused(message, &image.path).with_code("unsupported_image_media_type"))
        }
        Part::Document(document) if medium(&document.source, false).is_none() => {
            let message = "Files must be PDF or text for this model.";
            Err(refused(message, &document.path).with_code("unsupported_file_type"))
        }
        Part::Audio(audio) => Err(refused("Audio is not supported for this model.", &audio.path)),
        Part::Result(result) => result.content.iter().try_for_each(check_inner),
        _ => Ok(()),
    }
}

fn refused(message: &'static str, path: &str) -> Failure {
    Failure::new(Kind::Unsupported, message).with_param(path.to_owned())
}

fn check_inner(part: &Part<'_>) -> Result<()> {
    match part {
        // Results do not nest.
        Part::Result(_) => Ok(()),
        other => check(other),
    }
}

/// Writes the members of an image's block.
fn image(source: &Source<'_>, o: &mut Object<'_>) {
    media_block(source, true, None, o);
}

/// Writes the members of a document's block.
fn document(document: &DocumentPart<'_>, o: &mut Object<'_>) {
    media_block(&document.source, false, Some(document), o);
}

fn media_block(source: &Source<'_>, is_image: bool, document: Option<&DocumentPart<'_>>, o: &mut Object<'_>) {
    let medium = medium(source, is_image).unwrap_or(Medium::Document);
    o.text("type", if medium == Medium::Image { "image" } else { "document" });
    o.object("source", |o| match source {
        Source::Url(url) => {
            o.text("type", "url").json_str("url", url);
        }
        Source::Text(text) => {
            o.text("type", "text").text("media_type", "text/plain").json_str("data", text);
        }
        Source::Base64 { data, .. } if medium == Medium::TextFile => {
            let text = text_of(data).unwrap_or_default();
            o.text("type", "text").text("media_type", "text/plain").text("data", &text);
        }
        Source::Base64 { mime, data } => {
            o.text("type", "base64").text("media_type", mime).text("data", data);
        }
    });
    if let Some(document) = document.filter(|_| medium != Medium::Image) {
        optional("title", document.name.as_ref(), o);
        optional("context", document.context.as_ref(), o);
    }
}

fn optional(name: &str, text: Option<&JsonStr<'_>>, o: &mut Object<'_>) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        o.json_str(name, text);
    }
}

/// Returns the form of a source, if the protocol has a place for it. The media type decides, whatever block the
/// bytes came in.
fn medium(source: &Source<'_>, is_image: bool) -> Option<Medium> {
    match source {
        Source::Url(_) if is_image => Some(Medium::Image),
        Source::Url(_) | Source::Text(_) => Some(Medium::Document),
        Source::Base64 { mime, data } => match &**mime {
            "image/jpeg" | "image/png" | "image/gif" | "image/webp" => Some(Medium::Image),
            "application/pdf" => Some(Medium::Document),
            mime if mime.starts_with("text/") && !is_image => text_of(data).map(|_| Medium::TextFile),
            _ => None,
        },
    }
}

fn text_of(data: &str) -> Option<String> {
    String::from_utf8(LENIENT.decode(data).ok()?).ok()
}

/// A base 64 decoder that accepts data with or without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_at_the_end_is_cut_and_nothing_else() {
        for (text, expected) in
            [(r"x \n\t ", "x"), (r"x\\n", r"x\\n"), (r"x\\\n", r"x\\"), (r"x\ny", r"x\ny"), ("", "")]
        {
            let literal = format!("\"{text}\"");
            assert_eq!(without_trailing_space(&JsonStr::read(&literal).unwrap()).raw(), expected, "{text}");
        }
    }
}
