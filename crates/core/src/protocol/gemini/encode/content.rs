//! Parts of a request's contents: text, media, and results of tools.

use std::borrow::Cow;

use crate::canon::{DocumentPart, Part, Source, Text, ToolResult, sniff};
use crate::failure::{Failure, Kind, Result};
use crate::json::JsonStr;
use crate::json::write::{Array, Object};
use crate::protocol::gemini::signature;
use crate::protocol::phrases;

use super::ids;

/// Refuses parts that the provider would refuse; all others can be written.
pub(super) fn check(part: &Part<'_>) -> Result<()> {
    match part {
        Part::Image(image) if mime(&image.source, true).is_none() => {
            let message = "Images must have a known media type, such as image/png, for this model.";
            let failure = Failure::new(Kind::Unsupported, message).with_param(image.path.clone());
            Err(failure.with_code("unsupported_image_media_type"))
        }
        Part::Document(document) if mime(&document.source, false).is_none() => {
            let message = "Files must have a known media type, such as application/pdf, for this model.";
            let failure = Failure::new(Kind::Unsupported, message).with_param(document.path.clone());
            Err(failure.with_code("unsupported_file_type"))
        }
        Part::Result(result) => result.content.iter().try_for_each(|part| match part {
            Part::Result(_) => Ok(()),
            other => check(other),
        }),
        _ => Ok(()),
    }
}

/// Returns the media type of a source, if it is known and the provider reads it.
fn mime<'s>(source: &'s Source<'_>, is_image: bool) -> Option<Cow<'s, str>> {
    match source {
        Source::Text(_) => Some("text/plain".into()),
        Source::Url(url) => Some(of_ending(&url.decode(), is_image).into()),
        Source::Base64 { mime, data } => {
            let mime = if mime.is_empty() { Cow::Borrowed(sniff(data)?) } else { Cow::Borrowed(&**mime) };
            let is_drawing = mime.starts_with("image/svg") || is_image && !mime.starts_with("image/");
            Some(mime).filter(|_| !is_drawing)
        }
    }
}

/// Returns the media type that the end of an address suggests.
fn of_ending(url: &str, is_image: bool) -> &'static str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let ending = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "pdf" => "application/pdf",
        _ if is_image => "image/jpeg",
        _ => "application/pdf",
    }
}

/// Writes a part of text.
pub(super) fn text(text: &JsonStr<'_>, list: &mut Array<'_>) {
    list.object(|o| {
        o.json_str("text", text);
    });
}

/// Writes a part of text with a note in front that it is an instruction.
pub(super) fn note(text: &Text<'_>, list: &mut Array<'_>) {
    list.object(|o| {
        o.string("text", |out| {
            out.plain(phrases::SYSTEM_NOTE);
            out.json_str(&text.text);
        });
    });
}

/// Writes an image or a file.
pub(super) fn media(part: &Part<'_>, list: &mut Array<'_>) {
    match part {
        Part::Image(image) => source(&image.source, true, list),
        Part::Document(document) => self::document(document, list),
        Part::Audio(audio) => {
            list.object(|o| {
                o.object("inlineData", |o| {
                    let format = audio.format.decode();
                    let format = if format == "mp3" { "mpeg" } else { &*format };
                    o.text("mimeType", &format!("audio/{format}")).json_str("data", &audio.data);
                });
            });
        }
        _ => {}
    }
}

fn source(source: &Source<'_>, is_image: bool, list: &mut Array<'_>) {
    let mime = mime(source, is_image).unwrap_or_default();
    match source {
        Source::Url(url) => {
            list.object(|o| {
                o.object("fileData", |o| {
                    o.json_str("fileUri", url).text("mimeType", &mime);
                });
            });
        }
        Source::Base64 { data, .. } => {
            list.object(|o| inline(&mime, data, o));
        }
        Source::Text(data) => text(data, list),
    }
}

fn inline(mime: &str, data: &str, o: &mut Object<'_>) {
    o.object("inlineData", |o| {
        o.text("mimeType", mime).text("data", &signature::standard_alphabet(data));
    });
}

/// The form in which results of tools are written for a model.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResultWriter {
    /// Whether results may hold media.
    pub(super) holds_media: bool,
}

impl ResultWriter {
    /// Writes a result. `name` is the tool's name.
    pub(super) fn write(self, result: &ToolResult<'_>, name: &str, list: &mut Array<'_>) {
        let kept = || result.content.iter().filter(|part| self.keeps(part));
        list.object(|o| {
            o.object("functionResponse", |o| {
                ids::write(&result.id, o);
                o.text("name", name).object("response", |o| {
                    o.string(if result.is_error { "error" } else { "output" }, |out| {
                        let mut is_first = true;
                        for part in &result.content {
                            let said = match part {
                                Part::Text(text) => text.text.borrow(),
                                Part::Refusal(text) => text.borrow(),
                                Part::Document(document) if is_text(part) => whole_text(document),
                                Part::Image(_) | Part::Document(_) if !self.keeps(part) => {
                                    JsonStr::plain(SEE_BELOW)
                                }
                                _ => continue,
                            };
                            if !std::mem::replace(&mut is_first, false) {
                                out.plain("\n");
                            }
                            out.json_str(&said);
                        }
                    });
                });
                if kept().next().is_some() {
                    o.array("parts", |list| kept().for_each(|part| media(part, list)));
                }
            });
        });
    }

    /// Writes the media that a result could not hold, behind the results.
    pub(super) fn write_rest(self, result: &ToolResult<'_>, list: &mut Array<'_>) {
        for part in &result.content {
            let is_medium = matches!(part, Part::Image(_) | Part::Document(_)) && !is_text(part);
            if is_medium && !self.keeps(part) {
                list.object(|o| {
                    o.text("text", &format!("Image from tool result {}", result.id));
                });
                media(part, list);
            }
        }
    }

    /// Whether a part of a result stays in it.
    fn keeps(self, part: &Part<'_>) -> bool {
        let source = match part {
            Part::Image(image) => &image.source,
            Part::Document(document) => &document.source,
            _ => return false,
        };
        let is_data = matches!(source, Source::Base64 { .. });
        self.holds_media
            && is_data
            && mime(source, matches!(part, Part::Image(_))).is_some_and(|mime| IN_RESULTS.contains(&&*mime))
    }
}

/// Writes a document. What the client says of it stands in front of it.
fn document(document: &DocumentPart<'_>, list: &mut Array<'_>) {
    let DocumentPart { source: Source::Text(_), .. } = document else {
        if let Some(context) = document.context.as_ref().filter(|context| !context.is_empty()) {
            list.object(|o| {
                o.json_str("text", context);
            });
        }
        return source(&document.source, false, list);
    };
    list.object(|o| {
        o.json_str("text", &whole_text(document));
    });
}

/// Returns the text of a document behind what the client says of it and its name; empty if it is not a text.
fn whole_text<'d>(document: &'d DocumentPart<'_>) -> JsonStr<'d> {
    let Source::Text(text) = &document.source else { return JsonStr::default() };
    let given = |text: &'d Option<JsonStr<'_>>| text.as_ref().filter(|text| !text.is_empty());
    let (paragraph, line) = (JsonStr::PARAGRAPH, JsonStr::plain("\\n"));
    let mut pieces = Vec::with_capacity(5);
    for (heading, end) in [(given(&document.context), &paragraph), (given(&document.name), &line)] {
        if let Some(heading) = heading {
            pieces.extend([heading, end]);
        }
    }
    if pieces.is_empty() {
        return text.borrow();
    }
    pieces.push(text);
    JsonStr::concat(&pieces)
}

fn is_text(part: &Part<'_>) -> bool {
    matches!(part, Part::Document(DocumentPart { source: Source::Text(_), .. }))
}

/// The media types that results of tools may hold.
const IN_RESULTS: &[&str] = &["image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain"];

const SEE_BELOW: &str = "[image: see next user message]";
