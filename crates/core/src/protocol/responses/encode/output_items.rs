//! The items of an answer, one after the other, each with its sequence of events.
//!
//! Everything is written once, into the output that the last event repeats; the events before it copy from there.
//! An item ends when the next one begins, or with the answer: only then it is known whether a limit cut it off.

use crate::canon::{Carrier, Context, Finish, Seal, SegmentKind, SegmentStep};
use crate::json::{JsonStr, Raw, write};
use crate::protocol::phrases;

use super::answer::{begin_item, inner, written};
use super::event_writer::{EventWriter, quoted};
use super::output_message::{ItemPosition, OutputMessage};

/// The items of one answer.
#[derive(Debug, Default)]
pub(super) struct OutputWriter {
    /// The common part of all ids.
    id: String,
    /// The items so far, separated by commas.
    output: Vec<u8>,
    count: u64,
    open: Option<OpenItem>,
    refused: bool,
    said: bool,
}

#[derive(Debug)]
struct OpenItem {
    id: String,
    index: u64,
    /// The position in the output at which the item begins.
    start: usize,
    kind: OpenItemKind,
}

#[derive(Debug)]
enum OpenItemKind {
    Message(OutputMessage),
    Reasoning(ReasoningItem),
    Call(CallItem),
    /// The search query.
    Search(String),
    /// The data URL of an image.
    Image(String),
    Summary,
}

#[derive(Debug)]
struct ReasoningItem {
    /// The position in the output at which the text begins, if it is shown and has begun.
    shown: Option<usize>,
    /// The text, if it is not shown.
    hidden: String,
}

#[derive(Debug)]
struct CallItem {
    custom: bool,
    name: String,
    /// The position in the output at which the arguments begin.
    text: usize,
}

impl OutputWriter {
    /// Creates the items of the answer with this id.
    pub(super) fn new(id: String) -> Self {
        Self { id, ..Self::default() }
    }

    /// Returns the answer's id, without `resp_`.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Returns the items so far, separated by commas.
    pub(super) fn output(&self) -> &[u8] {
        &self.output
    }

    /// Takes the next step of the answer.
    pub(super) fn step(&mut self, step: SegmentStep<'_>, context: &Context, events: &mut EventWriter<'_>) {
        match step {
            SegmentStep::Open { kind, paragraph } => self.begin(kind, paragraph, events),
            SegmentStep::Delta(text) => self.delta(&text, context, events),
            SegmentStep::Cite(cite) => {
                if let Some(OpenItemKind::Message(message)) = self.kind() {
                    message.cite(cite);
                }
            }
            SegmentStep::Logprobs(raw) => {
                if let Some(OpenItemKind::Message(message)) = self.kind() {
                    message.logprobs(raw);
                }
            }
            SegmentStep::Close { seals, complete } => match self.kind() {
                Some(OpenItemKind::Reasoning(_)) => self.end_reasoning(seals, complete, context, events),
                Some(OpenItemKind::Search(_) | OpenItemKind::Image(_)) => self.end(COMPLETED, events),
                _ => {}
            },
            SegmentStep::Opaque(seals) => {
                self.begin(&SegmentKind::Reasoning, false, events);
                self.end_reasoning(seals, true, context, events);
            }
        }
    }

    /// Begins the item of a summary, whose text is not shown.
    pub(super) fn begin_summary(&mut self, events: &mut EventWriter<'_>) {
        let (id, start) = self.next("cmp_", events);
        let index = self.count;
        events.event(ADDED, |o| {
            o.number("output_index", index).object("item", |o| summary(&id, "", o));
        });
        events.event("response.compaction.compacting", |o| {
            o.text("item_id", &id).number("output_index", index);
        });
        // The item is written when it is whole: an answer without it has failed.
        self.output.truncate(start);
        self.push_item(id, start, OpenItemKind::Summary);
    }

    /// Ends the item of a summary, which is sealed.
    pub(super) fn end_summary(&mut self, sealed: &str, events: &mut EventWriter<'_>) {
        let Some(OpenItem { id, kind: OpenItemKind::Summary, .. }) = &self.open else { return };
        write::object(&mut self.output, |o| summary(id, sealed, o));
        self.done(events);
    }

    /// Ends the answer. `cut` is whether a limit cut it off.
    pub(super) fn finish(&mut self, finish: Option<&Finish<'_>>, cut: bool, events: &mut EventWriter<'_>) {
        if let Some(Finish::Refusal(why)) = finish
            && !self.refused
        {
            match why {
                Some(why) => self.refuse(why, events),
                None if !self.said => self.refuse(&JsonStr::plain(phrases::DECLINED), events),
                None => {}
            }
        }
        self.end(if cut { INCOMPLETE } else { COMPLETED }, events);
        if self.count == 0 {
            self.begin(&SegmentKind::Text, false, events);
            self.end(COMPLETED, events);
        }
    }

    /// Ends the answer at its current position, because it has failed.
    pub(super) fn fail(&mut self) {
        let mut none = 0;
        self.end(INCOMPLETE, &mut EventWriter::silent(&mut none));
    }

    fn refuse(&mut self, why: &JsonStr<'_>, events: &mut EventWriter<'_>) {
        self.begin(&SegmentKind::Refusal, false, events);
        self.say(why, events);
    }

    fn kind(&mut self) -> Option<&mut OpenItemKind> {
        self.open.as_mut().map(|open| &mut open.kind)
    }

    fn begin(&mut self, kind: &SegmentKind, paragraph: bool, events: &mut EventWriter<'_>) {
        let refusal = *kind == SegmentKind::Refusal;
        self.refused |= refusal;
        match kind {
            SegmentKind::Text | SegmentKind::Refusal => {
                self.said |= !refusal;
                if paragraph || !matches!(self.kind(), Some(OpenItemKind::Message(_))) {
                    self.begin_message(events);
                }
                if let Some(OpenItem { id, index, kind: OpenItemKind::Message(message), .. }) = &mut self.open
                {
                    message.part(refusal, ItemPosition { id, index: *index }, &mut self.output, events);
                }
            }
            SegmentKind::Reasoning => self.begin_reasoning(events),
            SegmentKind::Search(_) => {
                let (id, start) = self.next("ws_", events);
                self.push_item(id, start, OpenItemKind::Search(String::new()));
            }
            SegmentKind::Image => {
                let (id, start) = self.next("ig_", events);
                self.push_item(id, start, OpenItemKind::Image(String::new()));
            }
            SegmentKind::Call { id, namespace, name, custom } => {
                self.begin_call(id, namespace.as_deref(), name, *custom, events);
            }
        }
    }

    /// Ends the item before; returns the id of the next one, and the position at which it begins.
    fn next(&mut self, prefix: &str, events: &mut EventWriter<'_>) -> (String, usize) {
        self.end(COMPLETED, events);
        (format!("{prefix}{}_{}", self.id, self.count), begin_item(&mut self.output))
    }

    fn push_item(&mut self, id: String, start: usize, kind: OpenItemKind) {
        self.open = Some(OpenItem { id, index: self.count, start, kind });
        self.count += 1;
    }

    fn begin_message(&mut self, events: &mut EventWriter<'_>) {
        let (id, start) = self.next("msg_", events);
        let message =
            OutputMessage::begin(ItemPosition { id: &id, index: self.count }, &mut self.output, events);
        self.push_item(id, start, OpenItemKind::Message(message));
    }

    fn begin_reasoning(&mut self, events: &mut EventWriter<'_>) {
        let (id, start) = self.next("rs_", events);
        let index = self.count;
        events.event(ADDED, |o| {
            o.number("output_index", index).object("item", |o| {
                o.text("id", &id).text("type", "reasoning").array("summary", |_| {});
            });
        });
        write::object(&mut self.output, |o| {
            o.text("id", &id).text("type", "reasoning");
        });
        self.output.pop();
        self.output.extend_from_slice(b",\"summary\":[");
        self.push_item(
            id,
            start,
            OpenItemKind::Reasoning(ReasoningItem { shown: None, hidden: String::new() }),
        );
    }

    fn begin_call(
        &mut self,
        call_id: &str,
        namespace: Option<&str>,
        name: &str,
        custom: bool,
        events: &mut EventWriter<'_>,
    ) {
        let (id, start) = self.next(if custom { "ctc_" } else { "fc_" }, events);
        let index = self.count;
        let head = |o: &mut write::Object<'_>| {
            o.text("id", &id).text("type", if custom { "custom_tool_call" } else { "function_call" });
            o.text("call_id", call_id).text("name", name);
            if let Some(namespace) = namespace {
                o.text("namespace", namespace);
            }
        };
        let member = if custom { "input" } else { "arguments" };
        events.event(ADDED, |o| {
            o.number("output_index", index).object("item", |o| {
                head(o);
                o.text("status", "in_progress").text(member, "");
            });
        });
        write::object(&mut self.output, |o| {
            head(o);
            o.text(member, "");
        });
        // The item is left open for the arguments.
        self.output.truncate(self.output.len() - "\"}".len());
        let call = CallItem { custom, name: name.to_owned(), text: self.output.len() };
        self.push_item(id, start, OpenItemKind::Call(call));
    }

    fn delta(&mut self, text: &JsonStr<'_>, context: &Context, events: &mut EventWriter<'_>) {
        match self.kind() {
            Some(OpenItemKind::Message(_)) => self.say(text, events),
            Some(OpenItemKind::Reasoning(_)) => {
                self.think(text, context.show_reasoning == Some(true), events);
            }
            Some(OpenItemKind::Call(_)) => self.argue(text, events),
            Some(OpenItemKind::Search(held) | OpenItemKind::Image(held)) => held.push_str(text.raw()),
            Some(OpenItemKind::Summary) | None => {}
        }
    }

    fn say(&mut self, text: &JsonStr<'_>, events: &mut EventWriter<'_>) {
        if let Some(OpenItem { id, index, kind: OpenItemKind::Message(message), .. }) = &self.open {
            message.delta(text, ItemPosition { id, index: *index }, &mut self.output, events);
        }
    }

    fn think(&mut self, text: &JsonStr<'_>, show: bool, events: &mut EventWriter<'_>) {
        let Some(OpenItem { id, index, kind: OpenItemKind::Reasoning(reasoning), .. }) = &mut self.open
        else {
            return;
        };
        if !show {
            return reasoning.hidden.push_str(text.raw());
        }
        let place = ItemPosition { id, index: *index };
        if reasoning.shown.is_none() {
            events.event("response.reasoning_summary_part.added", |o| {
                place.name(o);
                o.number("summary_index", 0).object("part", |o| {
                    o.text("type", "summary_text").text("text", "");
                });
            });
            self.output.extend_from_slice(SUMMARY);
            reasoning.shown = Some(self.output.len());
        }
        self.output.extend_from_slice(text.raw().as_bytes());
        events.event("response.reasoning_summary_text.delta", |o| {
            place.name(o);
            o.number("summary_index", 0).json_str("delta", text);
        });
    }

    fn argue(&mut self, text: &JsonStr<'_>, events: &mut EventWriter<'_>) {
        let Some(OpenItem { id, index, kind: OpenItemKind::Call(call), .. }) = &self.open else { return };
        self.output.extend_from_slice(text.raw().as_bytes());
        let name = match call.custom {
            true => "response.custom_tool_call_input.delta",
            false => "response.function_call_arguments.delta",
        };
        events.event(name, |o| {
            ItemPosition { id, index: *index }.name(o);
            o.json_str("delta", text);
        });
    }

    /// Ends reasoning, and writes its carrier.
    fn end_reasoning(
        &mut self,
        seals: &[Seal<'static>],
        complete: bool,
        context: &Context,
        events: &mut EventWriter<'_>,
    ) {
        let Some(OpenItem { id, index, kind: OpenItemKind::Reasoning(reasoning), .. }) = &self.open else {
            return;
        };
        let place = ItemPosition { id, index: *index };
        let carrier = {
            let shown = reasoning.shown.and_then(|start| self.output.get(start..));
            let text = shown.and_then(|text| std::str::from_utf8(text).ok());
            carrier(text.unwrap_or(&reasoning.hidden), seals, context)
        };
        if let Some(start) = reasoning.shown {
            events.event("response.reasoning_summary_text.done", |o| {
                place.name(o);
                inner(o.number("summary_index", 0), "text", self.output.get(start..).unwrap_or_default());
            });
            self.output.extend_from_slice(b"\"}");
            events.event("response.reasoning_summary_part.done", |o| {
                place.name(o);
                let part = self.output.get(start - SUMMARY.len()..).unwrap_or_default();
                written(o.number("summary_index", 0), "part", part);
            });
        }
        self.output.push(b']');
        if let Some(carrier) = carrier {
            self.output.extend_from_slice(b",\"encrypted_content\":");
            quoted(carrier.as_bytes(), &mut self.output);
        }
        if !complete {
            self.output.extend_from_slice(b",\"status\":\"incomplete\"");
        }
        self.output.push(b'}');
        self.done(events);
    }

    /// Ends the item that is open, if there is one.
    fn end(&mut self, status: &'static str, events: &mut EventWriter<'_>) {
        let Some(OpenItem { id, index, kind, .. }) = &mut self.open else { return };
        let place = ItemPosition { id, index: *index };
        match kind {
            OpenItemKind::Message(message) => message.end(status, place, &mut self.output, events),
            OpenItemKind::Call(_) => self.end_call(status, events),
            OpenItemKind::Search(query) => {
                let query = std::mem::take(query);
                write::object(&mut self.output, |o| search(place.id, status, &query, o));
                events.event(ADDED, |o| {
                    o.number("output_index", place.index);
                    o.object("item", |o| search(place.id, "in_progress", &query, o));
                });
            }
            OpenItemKind::Image(url) => {
                let data = url.split_once(',').map_or("", |(_, data)| data);
                write::object(&mut self.output, |o| image(place.id, status, data, o));
                events.event(ADDED, |o| {
                    o.number("output_index", place.index);
                    o.object("item", |o| image(place.id, "in_progress", "", o));
                });
            }
            // Only a failure ends a summary here: there is nothing to show of it.
            OpenItemKind::Summary => {}
            // Only a failure ends reasoning here.
            OpenItemKind::Reasoning(reasoning) => {
                let quote: &[u8] = if reasoning.shown.is_some() { b"\"}" } else { b"" };
                self.output.extend_from_slice(quote);
                self.output.extend_from_slice(b"],\"status\":\"incomplete\"}");
            }
        }
        self.done(events);
    }

    fn end_call(&mut self, status: &str, events: &mut EventWriter<'_>) {
        let Some(OpenItem { kind: OpenItemKind::Call(call), .. }) = &self.open else { return };
        if self.output.len() == call.text && !call.custom {
            // Clients parse the arguments, and an empty text is not JSON.
            self.argue(&EMPTY, events);
        }
        let Some(OpenItem { id, index, kind: OpenItemKind::Call(call), .. }) = &self.open else { return };
        let place = ItemPosition { id, index: *index };
        let text = self.output.get(call.text..).unwrap_or_default();
        match call.custom {
            true => events.event("response.custom_tool_call_input.done", |o| {
                place.name(o);
                inner(o, "input", text);
            }),
            false => events.event("response.function_call_arguments.done", |o| {
                place.name(o);
                inner(o.text("name", &call.name), "arguments", text);
            }),
        }
        self.output.extend_from_slice(b"\",\"status\":");
        quoted(status.as_bytes(), &mut self.output);
        self.output.push(b'}');
    }

    /// Emits the event for an item that is complete.
    fn done(&mut self, events: &mut EventWriter<'_>) {
        let Some(open) = self.open.take() else { return };
        events.event("response.output_item.done", |o| {
            o.number("output_index", open.index);
            written(o, "item", self.output.get(open.start..).unwrap_or_default());
        });
    }
}

fn search(id: &str, status: &str, query: &str, o: &mut write::Object<'_>) {
    o.text("id", id).text("type", "web_search_call").text("status", status);
    o.object("action", |o| {
        o.text("type", "search");
        inner(o, "query", query.as_bytes());
    });
}

fn image(id: &str, status: &str, data: &str, o: &mut write::Object<'_>) {
    o.text("id", id).text("type", "image_generation_call").text("status", status);
    match data {
        "" => o.null("result"),
        data => o.json_str("result", &JsonStr::part(data)),
    };
}

/// Returns the text in which a client carries reasoning: the provider's own blocks, or the text if the provider
/// wants it back.
fn carrier(text: &str, seals: &[Seal<'static>], context: &Context) -> Option<String> {
    let text = JsonStr::part(text);
    let mut blocks: Vec<Raw<'static>> = Vec::with_capacity(seals.len() + 1);
    let bound_to_calls = seals.iter().all(|seal| matches!(seal, Seal::Call { .. }));
    if bound_to_calls && context.returns_reasoning && !text.is_empty() {
        blocks.push(Seal::Plain.block(&text));
    }
    blocks.extend(seals.iter().map(|seal| seal.block(&text)));
    (!blocks.is_empty()).then(|| context.seal(&Carrier { blocks }))
}

/// Writes the item of a summary.
fn summary(id: &str, sealed: &str, o: &mut write::Object<'_>) {
    o.text("type", "compaction").text("id", id).text("encrypted_content", sealed);
}

const ADDED: &str = "response.output_item.added";

const COMPLETED: &str = "completed";

const INCOMPLETE: &str = "incomplete";

const SUMMARY: &[u8] = b"{\"type\":\"summary_text\",\"text\":\"";

const EMPTY: JsonStr<'static> = JsonStr::plain("{}");
