//! One `message` item of an answer, which is written part by part.

use crate::canon::Citation;
use crate::json::write::{self, Array, Object};
use crate::json::{JsonStr, Raw, characters, compact};

use super::answer::{inner, written};
use super::event_writer::{EventWriter, quoted};

/// A message that is being written.
#[derive(Debug, Default)]
pub(super) struct OutputMessage {
    /// Number of parts so far.
    parts: u64,
    open: Option<OpenPart>,
}

#[derive(Debug)]
struct OpenPart {
    refusal: bool,
    /// The position in the output at which the part begins; `text` is that of its text.
    start: usize,
    text: usize,
    cites: Vec<Citation<'static>>,
    /// The elements of its token probabilities, separated by commas.
    logprobs: Vec<u8>,
}

/// The position of an item, as events about it give it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ItemPosition<'p> {
    pub(super) id: &'p str,
    pub(super) index: u64,
}

impl ItemPosition<'_> {
    /// Writes the members by which an event identifies its item.
    pub(super) fn name(self, o: &mut Object<'_>) {
        o.text("item_id", self.id).number("output_index", self.index);
    }
}

impl OutputMessage {
    /// Writes the beginning of the item.
    pub(super) fn begin(place: ItemPosition<'_>, output: &mut Vec<u8>, events: &mut EventWriter<'_>) -> Self {
        events.event("response.output_item.added", |o| {
            o.number("output_index", place.index).object("item", |o| {
                head(place, o);
                o.text("status", "in_progress").array("content", |_| {});
            });
        });
        write::object(output, |o| head(place, o));
        output.pop();
        output.extend_from_slice(b",\"content\":[");
        Self::default()
    }

    /// Ends the part before and begins another one.
    pub(super) fn part(
        &mut self,
        refusal: bool,
        place: ItemPosition<'_>,
        output: &mut Vec<u8>,
        events: &mut EventWriter<'_>,
    ) {
        self.end_part(place, output, events);
        if self.parts > 0 {
            output.push(b',');
        }
        let index = self.parts;
        events.event("response.content_part.added", |o| {
            place.name(o);
            o.number("content_index", index).object("part", |o| match refusal {
                true => {
                    o.text("type", "refusal").text("refusal", "");
                }
                false => {
                    o.text("type", "output_text").text("text", "");
                    o.array("annotations", |_| {}).array("logprobs", |_| {});
                }
            });
        });
        let start = output.len();
        output.extend_from_slice(if refusal { REFUSAL } else { TEXT });
        let (cites, logprobs) = (Vec::new(), Vec::new());
        self.open = Some(OpenPart { refusal, start, text: output.len(), cites, logprobs });
        self.parts += 1;
    }

    /// Appends to the part's text.
    pub(super) fn delta(
        &self,
        text: &JsonStr<'_>,
        place: ItemPosition<'_>,
        output: &mut Vec<u8>,
        events: &mut EventWriter<'_>,
    ) {
        let Some(part) = &self.open else { return };
        output.extend_from_slice(text.raw().as_bytes());
        let name = if part.refusal { "response.refusal.delta" } else { "response.output_text.delta" };
        events.event(name, |o| {
            place.name(o);
            o.number("content_index", self.parts - 1).json_str("delta", text);
            if !part.refusal {
                o.array("logprobs", |_| {});
            }
        });
    }

    /// Adds a source of the part's text.
    pub(super) fn cite(&mut self, cite: &Citation<'static>) {
        self.open.iter_mut().for_each(|part| part.cites.push(cite.clone()));
    }

    /// Adds token probabilities of the part's text, an array.
    pub(super) fn logprobs(&mut self, raw: &Raw<'_>) {
        let Some(part) = &mut self.open else { return };
        let inner = raw.get().trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let Some(inner) = inner.filter(|inner| !inner.trim().is_empty()) else { return };
        if !part.logprobs.is_empty() {
            part.logprobs.push(b',');
        }
        compact(inner, &mut part.logprobs);
    }

    /// Writes the end of the item.
    pub(super) fn end(
        &mut self,
        status: &str,
        place: ItemPosition<'_>,
        output: &mut Vec<u8>,
        events: &mut EventWriter<'_>,
    ) {
        self.end_part(place, output, events);
        output.extend_from_slice(b"],\"status\":");
        quoted(status.as_bytes(), output);
        output.push(b'}');
    }

    fn end_part(&mut self, place: ItemPosition<'_>, output: &mut Vec<u8>, events: &mut EventWriter<'_>) {
        let Some(part) = self.open.take() else { return };
        let index = self.parts - 1;
        let end = output.len();
        output.push(b'"');
        if part.refusal {
            events.event("response.refusal.done", |o| {
                place.name(o);
                inner(
                    o.number("content_index", index),
                    "refusal",
                    output.get(part.text..end).unwrap_or_default(),
                );
            });
        } else {
            let length = characters::count(output.get(part.text..end).unwrap_or_default());
            part.annotate(index, length, place, events);
            events.event("response.output_text.done", |o| {
                place.name(o);
                inner(
                    o.number("content_index", index),
                    "text",
                    output.get(part.text..end).unwrap_or_default(),
                );
                part.probabilities(o);
            });
            output.extend_from_slice(b",\"annotations\":");
            write::array(output, |list| part.annotations(length, list));
            output.extend_from_slice(b",\"logprobs\":[");
            output.extend_from_slice(&part.logprobs);
            output.push(b']');
        }
        output.push(b'}');
        events.event("response.content_part.done", |o| {
            place.name(o);
            written(o.number("content_index", index), "part", output.get(part.start..).unwrap_or_default());
        });
    }
}

impl OpenPart {
    fn annotate(&self, index: u64, length: u64, place: ItemPosition<'_>, events: &mut EventWriter<'_>) {
        for (number, cite) in (0..).zip(&self.cites) {
            events.event("response.output_text.annotation.added", |o| {
                place.name(o);
                o.number("content_index", index).number("annotation_index", number);
                o.object("annotation", |o| annotation(cite, length, o));
            });
        }
    }

    fn annotations(&self, length: u64, list: &mut Array<'_>) {
        for cite in &self.cites {
            list.object(|o| annotation(cite, length, o));
        }
    }

    fn probabilities(&self, o: &mut Object<'_>) {
        o.value("logprobs", |out| {
            out.push(b'[');
            out.extend_from_slice(&self.logprobs);
            out.push(b']');
        });
    }
}

fn head(place: ItemPosition<'_>, o: &mut Object<'_>) {
    o.text("id", place.id).text("type", "message").text("role", "assistant");
}

/// Writes a citation. One without a span covers the whole text.
fn annotation(cite: &Citation<'_>, length: u64, o: &mut Object<'_>) {
    let (start, end) = cite.span.unwrap_or((0, length));
    o.text("type", "url_citation").json_str("url", &cite.url).json_str("title", &cite.title);
    o.number("start_index", start).number("end_index", end);
}

const TEXT: &[u8] = b"{\"type\":\"output_text\",\"text\":\"";

const REFUSAL: &[u8] = b"{\"type\":\"refusal\",\"refusal\":\"";
