//! The content of messages of users and tools, and of instructions.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::canon::{
    Cache, CacheParts, DataUrl, DocumentPart, Image, Part, Profile, Source, Text, ToolResult, Turn,
};
use crate::json::JsonStr;
use crate::json::write::{self, Array, Object};
use crate::protocol::phrases;

use super::ids;
use super::reasoning::PastReasoning;

/// The writer of content for a provider.
#[derive(Clone, Copy)]
pub(super) struct ContentWriter<'c> {
    pub(super) profile: &'c Profile,
    /// The call whose images are written.
    pub(super) id: Option<&'c str>,
}

/// Whether this is part of a message of its own, and not a result.
pub(super) fn is_said(part: &Part<'_>) -> bool {
    !matches!(part, Part::Result(_) | Part::Reasoning(_) | Part::Call(_))
}

impl ContentWriter<'_> {
    /// Writes a `content` of texts only.
    pub(super) fn texts<'p, 'a: 'p>(
        &self,
        o: &mut Object<'_>,
        texts: impl Iterator<Item = &'p Text<'a>> + Clone,
    ) {
        let marked =
            self.profile.cache_parts != CacheParts::None && texts.clone().any(|text| text.cache.is_some());
        if marked {
            o.array("content", |list| texts.for_each(|text| self.text(list, &text.text, text.cache)));
        } else {
            o.string("content", |out| {
                for (index, text) in texts.enumerate() {
                    if index > 0 {
                        out.json_str(&JsonStr::PARAGRAPH);
                    }
                    out.json_str(&text.text);
                }
            });
        }
    }

    /// Writes a `content` of any parts: as a string if possible, because models that only know text refuse lists.
    pub(super) fn write<'p, 'a: 'p>(
        &self,
        o: &mut Object<'_>,
        parts: impl Iterator<Item = &'p Part<'a>> + Clone,
        between: &JsonStr<'_>,
    ) {
        let text_only = parts.clone().all(|part| self.is_text(part));
        let many = self.profile.content_arrays && parts.clone().filter(|part| !is_empty(part)).count() > 1;
        if text_only && !many && !parts.clone().any(|part| self.is_marked(part)) {
            o.string("content", |out| self.join(out, parts, between));
        } else {
            o.array("content", |list| parts.for_each(|part| self.part(list, part)));
        }
    }

    /// Writes instructions in mid-conversation as a note, for a provider that has no place for them there.
    pub(super) fn system_note<'p, 'a: 'p>(
        &self,
        o: &mut Object<'_>,
        parts: impl Iterator<Item = &'p Part<'a>>,
    ) {
        o.string("content", |out| {
            out.plain(phrases::SYSTEM_NOTE);
            self.join(out, parts, &JsonStr::PARAGRAPH);
        });
    }

    /// Writes the `content` of a result.
    pub(super) fn result(&self, o: &mut Object<'_>, result: &ToolResult<'_>) {
        let parts = || result.content.iter();
        let media = parts().any(|part| self.is_media(part)) && self.profile.tool_result_images;
        let many = self.profile.content_arrays && parts().count() > 1;
        let marked = self.profile.cache_parts != CacheParts::None
            && (result.cache.is_some() || parts().any(|part| self.is_marked(part)));
        let error = if is_plain_error(result) { phrases::ERROR_PREFIX } else { "" };
        let listed = media || many || marked && parts().next().is_some();
        if !listed {
            o.string("content", |out| {
                out.plain(error);
                for (index, part) in parts().enumerate() {
                    out.plain(if index > 0 { "\n" } else { "" });
                    if self.is_media(part) { out.plain(SEE_BELOW) } else { self.plain(out, part) }
                }
            });
            return;
        }
        let last = result.content.len().saturating_sub(1);
        o.array("content", |list| {
            if !error.is_empty() && !matches!(result.content.first(), Some(Part::Text(_))) {
                self.text(list, &JsonStr::plain(phrases::ERROR_PREFIX), None);
            }
            for (index, part) in parts().enumerate() {
                let mark = result.cache.filter(|_| index == last);
                match part {
                    Part::Text(text) if index == 0 && !error.is_empty() => {
                        let text = JsonStr::concat(&[&JsonStr::plain(phrases::ERROR_PREFIX), &text.text]);
                        self.text(list, &text, mark);
                    }
                    Part::Text(text) => self.text(list, &text.text, text.cache.or(mark)),
                    part if self.is_media(part) && !self.profile.tool_result_images => {
                        self.text(list, &JsonStr::plain(SEE_BELOW), mark);
                    }
                    part => self.part(list, part),
                }
            }
        });
    }

    /// Writes the images and files of a result, each after the id of its call.
    pub(super) fn pictures(&self, list: &mut Array<'_>, parts: &[Part<'_>]) {
        for part in parts.iter().filter(|part| self.is_media(part)) {
            let id = ids::upstream(self.id.unwrap_or_default(), self.profile);
            list.object(|o| {
                o.text("type", "text").string("text", |text| {
                    text.plain("Image from tool result ");
                    text.plain(&id);
                });
            });
            self.part(list, part);
        }
    }

    /// Whether this is a picture or a file, and no text, for this provider.
    pub(super) fn is_media(&self, part: &Part<'_>) -> bool {
        !self.is_text(part)
    }

    /// Whether this is text for the provider. OpenAI itself reads text files, all others get what is in them.
    fn is_text(&self, part: &Part<'_>) -> bool {
        match part {
            Part::Text(_) | Part::Refusal(_) => true,
            Part::Document(document) if !self.profile.is_openai => match &document.source {
                Source::Text(_) => true,
                Source::Base64 { mime, .. } => mime.starts_with("text/"),
                Source::Url(_) => false,
            },
            _ => false,
        }
    }

    fn is_marked(&self, part: &Part<'_>) -> bool {
        let mark = match part {
            Part::Text(text) => text.cache,
            Part::Image(image) => image.cache,
            Part::Document(document) => document.cache,
            _ => None,
        };
        self.profile.cache_parts != CacheParts::None && mark.is_some()
    }

    fn join<'p, 'a: 'p>(
        &self,
        out: &mut write::TextWriter<'_>,
        parts: impl Iterator<Item = &'p Part<'a>>,
        between: &JsonStr<'_>,
    ) {
        for (index, part) in parts.filter(|part| !is_empty(part)).enumerate() {
            if index > 0 {
                out.json_str(between);
            }
            self.plain(out, part);
        }
    }

    /// Writes the text of a part that is text.
    fn plain(&self, out: &mut write::TextWriter<'_>, part: &Part<'_>) {
        match part {
            Part::Text(text) => out.json_str(&text.text),
            Part::Refusal(text) => out.json_str(text),
            Part::Document(document) => {
                if let Some(context) = &document.context {
                    out.json_str(context);
                    out.json_str(&JsonStr::PARAGRAPH);
                }
                if let Some(name) = &document.name {
                    out.json_str(name);
                    out.plain("\n");
                }
                match &document.source {
                    Source::Text(text) => out.json_str(text),
                    Source::Base64 { data, .. } => out.plain(&decoded(data)),
                    Source::Url(_) => {}
                }
            }
            _ => {}
        }
    }

    fn part(&self, list: &mut Array<'_>, part: &Part<'_>) {
        match part {
            Part::Text(text) => self.text(list, &text.text, text.cache),
            Part::Refusal(text) => self.text(list, text, None),
            Part::Image(image) => {
                list.object(|o| self.image(o, image));
            }
            Part::Document(document) if self.is_text(part) => {
                list.object(|o| {
                    o.text("type", "text").string("text", |out| self.plain(out, part));
                    self.mark(o, document.cache);
                });
            }
            Part::Document(document) => {
                if let Some(context) = &document.context {
                    self.text(list, context, None);
                }
                list.object(|o| self.file(o, document));
            }
            Part::Audio(audio) => {
                list.object(|o| {
                    o.text("type", "input_audio").object("input_audio", |o| {
                        o.json_str("data", &audio.data).json_str("format", &audio.format);
                    });
                    self.mark(o, audio.cache);
                });
            }
            Part::Reasoning(_) | Part::Call(_) | Part::Result(_) => {}
        }
    }

    /// Writes a text part. An empty one has no content, and some providers refuse it, so it is left out.
    pub(super) fn text(&self, list: &mut Array<'_>, text: &JsonStr<'_>, cache: Option<Cache>) {
        if !text.is_empty() {
            list.object(|o| {
                o.text("type", "text").json_str("text", text);
                self.mark(o, cache);
            });
        }
    }

    fn image(&self, o: &mut Object<'_>, image: &Image<'_>) {
        o.text("type", "image_url").object("image_url", |o| {
            match &image.source {
                Source::Url(url) | Source::Text(url) => o.json_str("url", url),
                Source::Base64 { mime, data } => o.string("url", |url| DataUrl::write(url, mime, data)),
            };
            if let Some(detail) = &image.detail {
                o.json_str("detail", detail);
            }
        });
        self.mark(o, image.cache);
    }

    fn file(&self, o: &mut Object<'_>, document: &DocumentPart<'_>) {
        o.text("type", "file").object("file", |o| {
            match &document.name {
                Some(name) => o.json_str("filename", name),
                None => o.text(
                    "filename",
                    if is_plain(&document.source) { "document.txt" } else { "document.pdf" },
                ),
            };
            o.string("file_data", |url| match &document.source {
                Source::Base64 { mime, data } => DataUrl::write(url, mime, data),
                Source::Text(text) | Source::Url(text) => {
                    DataUrl::write(url, "text/plain", &STANDARD.encode(text.decode().as_bytes()));
                }
            });
        });
        self.mark(o, document.cache);
    }

    fn mark(&self, o: &mut Object<'_>, cache: Option<Cache>) {
        let Some(Cache { long }) = cache else { return };
        match self.profile.cache_parts {
            CacheParts::OpenaiBreakpoint => o.json(
                "prompt_cache_breakpoint",
                if long { r#"{"mode":"explicit","ttl":"12h"}"# } else { r#"{"mode":"explicit"}"# },
            ),
            CacheParts::AnthropicCacheControl => o.json(
                "cache_control",
                if long { r#"{"type":"ephemeral","ttl":"1h"}"# } else { r#"{"type":"ephemeral"}"# },
            ),
            CacheParts::None => return,
        };
    }
}

/// Returns the text of an assistant's part, if it is not empty. A refusal counts as text.
pub(super) fn spoken<'p>(part: &'p Part<'_>) -> Option<&'p JsonStr<'p>> {
    let text = match part {
        Part::Text(text) => &text.text,
        Part::Refusal(text) => text,
        _ => return None,
    };
    Some(text).filter(|text| !text.is_empty())
}

/// Writes the assistant's `content`: adjacent texts are joined, and others become paragraphs.
pub(super) fn assistant(o: &mut Object<'_>, run: &[Turn<'_>], thoughts: &PastReasoning, profile: &Profile) {
    let marked = profile.cache_parts != CacheParts::None
        && run
            .iter()
            .flat_map(|turn| &turn.parts)
            .any(|part| matches!(part, Part::Text(text) if text.cache.is_some()));
    if !marked && !thoughts.in_content() {
        o.string("content", |out| join_turns(out, run));
        return;
    }
    o.array("content", |list| {
        if thoughts.in_content() {
            list.object(|o| {
                o.text("type", "thinking").array("thinking", |list| {
                    list.object(|o| {
                        o.text("type", "text").json_str("text", &JsonStr::part(&thoughts.text));
                    });
                });
            });
        }
        let content = ContentWriter { profile, id: None };
        for part in run.iter().flat_map(|turn| &turn.parts) {
            match part {
                Part::Text(text) => content.text(list, &text.text, text.cache),
                Part::Refusal(text) => content.text(list, text, None),
                _ => {}
            }
        }
    });
}

fn join_turns(out: &mut write::TextWriter<'_>, run: &[Turn<'_>]) {
    let (mut any, mut apart) = (false, false);
    for turn in run {
        for part in &turn.parts {
            match spoken(part) {
                Some(text) => {
                    if any && apart {
                        out.json_str(&JsonStr::PARAGRAPH);
                    }
                    out.json_str(text);
                    (any, apart) = (true, false);
                }
                None => apart |= !matches!(part, Part::Text(_)),
            }
        }
        apart = true;
    }
}

fn is_plain(source: &Source<'_>) -> bool {
    matches!(source, Source::Text(_))
}

fn is_empty(part: &Part<'_>) -> bool {
    matches!(part, Part::Text(text) if text.text.is_empty())
}

/// Whether a result must say that it is an error, because it does not begin so.
fn is_plain_error(result: &ToolResult<'_>) -> bool {
    let says_so = match result.content.first() {
        Some(Part::Text(text)) => {
            text.text.raw().get(..5).is_some_and(|start| start.eq_ignore_ascii_case("error"))
        }
        _ => false,
    };
    result.is_error && !says_so
}

fn decoded(data: &str) -> String {
    let bytes = STANDARD.decode(data.as_bytes()).unwrap_or_default();
    match String::from_utf8_lossy(&bytes) {
        Cow::Borrowed(text) => text.to_owned(),
        Cow::Owned(text) => text,
    }
}

const SEE_BELOW: &str = "[image: see next user message]";
