//! The content of messages and of tools' results: text, pictures, files, speech.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::canon::{Cache, CacheParts, DataUrl, DocumentPart, Image, Part, Profile, Source, Text};
use crate::json::JsonStr;
use crate::json::write::{Array, Object};

/// The names of the parts of a message.
#[derive(Clone, Copy)]
pub(super) struct PartNames {
    pub(super) role: &'static str,
    pub(super) text: &'static str,
    /// The beginning of the text.
    pub(super) note: &'static str,
}

pub(super) const USER: PartNames = PartNames { role: "user", text: "input_text", note: "" };
pub(super) const ASSISTANT: PartNames = PartNames { role: "assistant", text: "output_text", note: "" };
pub(super) const DEVELOPER: PartNames = PartNames { role: "developer", text: "input_text", note: "" };

/// The writer of the parts of a message, for a provider with this profile.
#[derive(Clone, Copy)]
pub(super) struct PartWriter<'p> {
    pub(super) profile: &'p Profile,
}

impl PartWriter<'_> {
    pub(super) fn part(&self, list: &mut Array<'_>, part_names: PartNames, part: &Part<'_>) {
        match part {
            Part::Text(text) => self.text(list, part_names, text),
            Part::Refusal(text) if part_names.role == ASSISTANT.role => {
                list.object(|o| {
                    o.text("type", "refusal").json_str("refusal", text);
                });
            }
            Part::Refusal(text) => self.text(list, part_names, &Text::new(text.borrow())),
            Part::Image(image) => {
                list.object(|o| {
                    picture(o, image);
                    self.mark(o, image.cache);
                });
            }
            Part::Document(document) => self.document(list, part_names, document),
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

    pub(super) fn text(&self, list: &mut Array<'_>, part_names: PartNames, text: &Text<'_>) {
        list.object(|o| {
            o.text("type", part_names.text).string("text", |out| {
                out.plain(part_names.note);
                out.json_str(&text.text);
            });
            self.mark(o, text.cache);
        });
    }

    fn mark(&self, o: &mut Object<'_>, cache: Option<Cache>) {
        if self.profile.cache_parts != CacheParts::OpenaiBreakpoint {
            return;
        }
        match cache {
            Some(Cache { long: true }) => o.json(BREAKPOINT, r#"{"mode":"explicit","ttl":"12h"}"#),
            Some(Cache { long: false }) => o.json(BREAKPOINT, r#"{"mode":"explicit"}"#),
            None => return,
        };
    }

    fn document(&self, list: &mut Array<'_>, part_names: PartNames, document: &DocumentPart<'_>) {
        if let Some(context) = document.context.as_ref().filter(|context| !context.is_empty()) {
            self.text(list, part_names, &Text::new(context.borrow()));
        }
        let Source::Text(text) = &document.source else {
            list.object(|o| {
                file(o, document);
                self.mark(o, document.cache);
            });
            return;
        };
        if self.profile.is_openai {
            list.object(|o| {
                o.text("type", "input_file");
                name(o, document, "document.txt");
                let text = text.decode();
                o.string("file_data", |out| {
                    out.plain("data:text/plain;base64,");
                    out.plain(&STANDARD.encode(text.as_bytes()));
                });
                self.mark(o, document.cache);
            });
            return;
        }
        // Servers that accept no files get their text.
        list.object(|o| {
            o.text("type", part_names.text).string("text", |out| {
                if let Some(title) = &document.name {
                    out.json_str(title);
                    out.plain("\n");
                }
                out.json_str(text);
            });
            self.mark(o, document.cache);
        });
    }

    /// Whether the provider is told of a mark.
    pub(super) fn is_marked(&self, cache: Option<Cache>) -> bool {
        cache.is_some() && self.profile.cache_parts == CacheParts::OpenaiBreakpoint
    }
}

pub(super) fn is_empty(part: &Part<'_>) -> bool {
    matches!(part, Part::Text(Text { text, .. }) | Part::Refusal(text) if text.is_empty())
}

fn picture(o: &mut Object<'_>, image: &Image<'_>) {
    o.text("type", "input_image");
    match &image.source {
        Source::Url(url) => o.json_str("image_url", url),
        Source::Base64 { mime, data } => o.string("image_url", |out| DataUrl::write(out, mime, data)),
        Source::Text(text) => o.json_str("image_url", text),
    };
    o.json_str("detail", image.detail.as_ref().unwrap_or(&AUTO));
}

fn file(o: &mut Object<'_>, document: &DocumentPart<'_>) {
    o.text("type", "input_file");
    match &document.source {
        Source::Url(url) => {
            o.json_str("file_url", url);
        }
        Source::Base64 { mime, data } => {
            name(o, document, if mime == "application/pdf" { "document.pdf" } else { "document" });
            o.string("file_data", |out| DataUrl::write(out, mime, data));
        }
        Source::Text(_) => {}
    }
}

fn name(o: &mut Object<'_>, document: &DocumentPart<'_>, default: &str) {
    match &document.name {
        Some(name) => o.json_str("filename", name),
        None => o.text("filename", default),
    };
}

const BREAKPOINT: &str = "prompt_cache_breakpoint";

const AUTO: JsonStr<'static> = JsonStr::plain("auto");
