//! The items of an answer, one after the other, each with the ladder of its events.
//!
//! Everything is written once, into the output that the last event repeats; the events before it copy from
//! there. An item ends when the next one begins or with the answer: only then is it known whether a limit cut it.

use crate::canon::{Carrier, Context, Finish, Seal, SegmentKind, Step};
use crate::json::{Lit, Raw, write};
use crate::protocol::phrases;

use super::answer::{begin_item, inner, written};
use super::event_writer::{Wire, quoted};
use super::output_message::{Message, Place};

/// The items of one answer.
#[derive(Debug, Default)]
pub(super) struct Items {
    /// What all ids have in common.
    id: String,
    /// The items so far, with commas between.
    output: Vec<u8>,
    count: u64,
    open: Option<Open>,
    refused: bool,
    said: bool,
}

#[derive(Debug)]
struct Open {
    id: String,
    index: u64,
    /// Where it begins in the output.
    start: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Message(Message),
    Reasoning(Reasoning),
    Call(Call),
    /// What was searched for.
    Search(String),
}

#[derive(Debug)]
struct Reasoning {
    /// Where the text begins in the output, if it is shown and has begun.
    shown: Option<usize>,
    /// The text, if it is not shown.
    hidden: String,
}

#[derive(Debug)]
struct Call {
    custom: bool,
    name: String,
    /// Where the arguments begin in the output.
    text: usize,
}

impl Items {
    /// The items of the answer with this id.
    pub(super) fn new(id: String) -> Self {
        Self { id, ..Self::default() }
    }

    /// The answer's id, without `resp_`.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// What was written, with commas between the items.
    pub(super) fn output(&self) -> &[u8] {
        &self.output
    }

    /// Takes the next step of the answer.
    pub(super) fn step(&mut self, step: Step<'_>, context: &Context, wire: &mut Wire<'_>) {
        match step {
            Step::Open { kind, paragraph } => self.begin(kind, paragraph, wire),
            Step::Delta(text) => self.delta(&text, context, wire),
            Step::Cite(cite) => {
                if let Some(Kind::Message(message)) = self.kind() {
                    message.cite(cite);
                }
            }
            Step::Logprobs(raw) => {
                if let Some(Kind::Message(message)) = self.kind() {
                    message.logprobs(raw);
                }
            }
            Step::Close { seals, complete } => match self.kind() {
                Some(Kind::Reasoning(_)) => self.end_reasoning(seals, complete, context, wire),
                Some(Kind::Search(_)) => self.end(COMPLETED, wire),
                _ => {}
            },
            Step::Opaque(seals) => {
                self.begin(&SegmentKind::Reasoning, false, wire);
                self.end_reasoning(seals, true, context, wire);
            }
        }
    }

    /// Ends the answer. `cut`: by a limit.
    pub(super) fn finish(&mut self, finish: Option<&Finish<'_>>, cut: bool, wire: &mut Wire<'_>) {
        if let Some(Finish::Refusal(why)) = finish
            && !self.refused
        {
            match why {
                Some(why) => self.refuse(why, wire),
                None if !self.said => self.refuse(&Lit::plain(phrases::DECLINED), wire),
                None => {}
            }
        }
        self.end(if cut { INCOMPLETE } else { COMPLETED }, wire);
        if self.count == 0 {
            self.begin(&SegmentKind::Text, false, wire);
            self.end(COMPLETED, wire);
        }
    }

    /// Ends the answer where it is: it has failed.
    pub(super) fn fail(&mut self) {
        let mut none = 0;
        self.end(INCOMPLETE, &mut Wire::silent(&mut none));
    }

    fn refuse(&mut self, why: &Lit<'_>, wire: &mut Wire<'_>) {
        self.begin(&SegmentKind::Refusal, false, wire);
        self.say(why, wire);
    }

    fn kind(&mut self) -> Option<&mut Kind> {
        self.open.as_mut().map(|open| &mut open.kind)
    }

    fn begin(&mut self, kind: &SegmentKind, paragraph: bool, wire: &mut Wire<'_>) {
        let refusal = *kind == SegmentKind::Refusal;
        self.refused |= refusal;
        match kind {
            SegmentKind::Text | SegmentKind::Refusal => {
                self.said |= !refusal;
                if paragraph || !matches!(self.kind(), Some(Kind::Message(_))) {
                    self.begin_message(wire);
                }
                if let Some(Open { id, index, kind: Kind::Message(message), .. }) = &mut self.open {
                    message.part(refusal, Place { id, index: *index }, &mut self.output, wire);
                }
            }
            SegmentKind::Reasoning => self.begin_reasoning(wire),
            SegmentKind::Search(_) => {
                let (id, start) = self.next("ws_", wire);
                self.put(id, start, Kind::Search(String::new()));
            }
            SegmentKind::Call { id, namespace, name, custom } => {
                self.begin_call(id, namespace.as_deref(), name, *custom, wire);
            }
        }
    }

    /// Ends the item before; the id of the next one, and where it begins.
    fn next(&mut self, prefix: &str, wire: &mut Wire<'_>) -> (String, usize) {
        self.end(COMPLETED, wire);
        (format!("{prefix}{}_{}", self.id, self.count), begin_item(&mut self.output))
    }

    fn put(&mut self, id: String, start: usize, kind: Kind) {
        self.open = Some(Open { id, index: self.count, start, kind });
        self.count += 1;
    }

    fn begin_message(&mut self, wire: &mut Wire<'_>) {
        let (id, start) = self.next("msg_", wire);
        let message = Message::begin(Place { id: &id, index: self.count }, &mut self.output, wire);
        self.put(id, start, Kind::Message(message));
    }

    fn begin_reasoning(&mut self, wire: &mut Wire<'_>) {
        let (id, start) = self.next("rs_", wire);
        let index = self.count;
        wire.event(ADDED, |o| {
            o.number("output_index", index).object("item", |o| {
                o.text("id", &id).text("type", "reasoning").array("summary", |_| {});
            });
        });
        write::object(&mut self.output, |o| {
            o.text("id", &id).text("type", "reasoning");
        });
        self.output.pop();
        self.output.extend_from_slice(b",\"summary\":[");
        self.put(id, start, Kind::Reasoning(Reasoning { shown: None, hidden: String::new() }));
    }

    fn begin_call(
        &mut self,
        call_id: &str,
        namespace: Option<&str>,
        name: &str,
        custom: bool,
        wire: &mut Wire<'_>,
    ) {
        let (id, start) = self.next(if custom { "ctc_" } else { "fc_" }, wire);
        let index = self.count;
        let head = |o: &mut write::Object<'_>| {
            o.text("id", &id).text("type", if custom { "custom_tool_call" } else { "function_call" });
            o.text("call_id", call_id).text("name", name);
            if let Some(namespace) = namespace {
                o.text("namespace", namespace);
            }
        };
        let member = if custom { "input" } else { "arguments" };
        wire.event(ADDED, |o| {
            o.number("output_index", index).object("item", |o| {
                head(o);
                o.text("status", "in_progress").text(member, "");
            });
        });
        write::object(&mut self.output, |o| {
            head(o);
            o.text(member, "");
        });
        // What is left open takes the arguments.
        self.output.truncate(self.output.len() - "\"}".len());
        let call = Call { custom, name: name.to_owned(), text: self.output.len() };
        self.put(id, start, Kind::Call(call));
    }

    fn delta(&mut self, text: &Lit<'_>, context: &Context, wire: &mut Wire<'_>) {
        match self.kind() {
            Some(Kind::Message(_)) => self.say(text, wire),
            Some(Kind::Reasoning(_)) => self.think(text, context.show_reasoning == Some(true), wire),
            Some(Kind::Call(_)) => self.argue(text, wire),
            Some(Kind::Search(query)) => query.push_str(text.raw()),
            None => {}
        }
    }

    fn say(&mut self, text: &Lit<'_>, wire: &mut Wire<'_>) {
        if let Some(Open { id, index, kind: Kind::Message(message), .. }) = &self.open {
            message.delta(text, Place { id, index: *index }, &mut self.output, wire);
        }
    }

    fn think(&mut self, text: &Lit<'_>, show: bool, wire: &mut Wire<'_>) {
        let Some(Open { id, index, kind: Kind::Reasoning(reasoning), .. }) = &mut self.open else { return };
        if !show {
            return reasoning.hidden.push_str(text.raw());
        }
        let place = Place { id, index: *index };
        if reasoning.shown.is_none() {
            wire.event("response.reasoning_summary_part.added", |o| {
                place.name(o);
                o.number("summary_index", 0).object("part", |o| {
                    o.text("type", "summary_text").text("text", "");
                });
            });
            self.output.extend_from_slice(SUMMARY);
            reasoning.shown = Some(self.output.len());
        }
        self.output.extend_from_slice(text.raw().as_bytes());
        wire.event("response.reasoning_summary_text.delta", |o| {
            place.name(o);
            o.number("summary_index", 0).lit("delta", text);
        });
    }

    fn argue(&mut self, text: &Lit<'_>, wire: &mut Wire<'_>) {
        let Some(Open { id, index, kind: Kind::Call(call), .. }) = &self.open else { return };
        self.output.extend_from_slice(text.raw().as_bytes());
        let name = match call.custom {
            true => "response.custom_tool_call_input.delta",
            false => "response.function_call_arguments.delta",
        };
        wire.event(name, |o| {
            Place { id, index: *index }.name(o);
            o.lit("delta", text);
        });
    }

    /// Ends reasoning, of which more is known than the text.
    fn end_reasoning(
        &mut self,
        seals: &[Seal<'static>],
        complete: bool,
        context: &Context,
        wire: &mut Wire<'_>,
    ) {
        let Some(Open { id, index, kind: Kind::Reasoning(reasoning), .. }) = &self.open else { return };
        let place = Place { id, index: *index };
        let carrier = {
            let shown = reasoning.shown.and_then(|start| self.output.get(start..));
            let text = shown.and_then(|text| std::str::from_utf8(text).ok());
            carrier(text.unwrap_or(&reasoning.hidden), seals, context)
        };
        if let Some(start) = reasoning.shown {
            wire.event("response.reasoning_summary_text.done", |o| {
                place.name(o);
                inner(o.number("summary_index", 0), "text", self.output.get(start..).unwrap_or_default());
            });
            self.output.extend_from_slice(b"\"}");
            wire.event("response.reasoning_summary_part.done", |o| {
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
        self.done(wire);
    }

    /// Ends the item that is open, if there is one.
    fn end(&mut self, status: &'static str, wire: &mut Wire<'_>) {
        let Some(Open { id, index, kind, .. }) = &mut self.open else { return };
        let place = Place { id, index: *index };
        match kind {
            Kind::Message(message) => message.end(status, place, &mut self.output, wire),
            Kind::Call(_) => self.end_call(status, wire),
            Kind::Search(query) => {
                let query = std::mem::take(query);
                write::object(&mut self.output, |o| search(place.id, status, &query, o));
                wire.event(ADDED, |o| {
                    o.number("output_index", place.index);
                    o.object("item", |o| search(place.id, "in_progress", &query, o));
                });
            }
            // Only a failure ends it here.
            Kind::Reasoning(reasoning) => {
                let quote: &[u8] = if reasoning.shown.is_some() { b"\"}" } else { b"" };
                self.output.extend_from_slice(quote);
                self.output.extend_from_slice(b"],\"status\":\"incomplete\"}");
            }
        }
        self.done(wire);
    }

    fn end_call(&mut self, status: &str, wire: &mut Wire<'_>) {
        let Some(Open { kind: Kind::Call(call), .. }) = &self.open else { return };
        if self.output.len() == call.text && !call.custom {
            // Clients parse the arguments, and nothing is no JSON.
            self.argue(&EMPTY, wire);
        }
        let Some(Open { id, index, kind: Kind::Call(call), .. }) = &self.open else { return };
        let place = Place { id, index: *index };
        let text = self.output.get(call.text..).unwrap_or_default();
        match call.custom {
            true => wire.event("response.custom_tool_call_input.done", |o| {
                place.name(o);
                inner(o, "input", text);
            }),
            false => wire.event("response.function_call_arguments.done", |o| {
                place.name(o);
                inner(o.text("name", &call.name), "arguments", text);
            }),
        }
        self.output.extend_from_slice(b"\",\"status\":");
        quoted(status.as_bytes(), &mut self.output);
        self.output.push(b'}');
    }

    /// The item is written: tells of it.
    fn done(&mut self, wire: &mut Wire<'_>) {
        let Some(open) = self.open.take() else { return };
        wire.event("response.output_item.done", |o| {
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

/// What a client carries back of reasoning: the provider's own blocks, or the text if the provider wants it back.
fn carrier(text: &str, seals: &[Seal<'static>], context: &Context) -> Option<String> {
    let text = Lit::part(text);
    let mut blocks: Vec<Raw<'static>> = Vec::with_capacity(seals.len() + 1);
    let bound_to_calls = seals.iter().all(|seal| matches!(seal, Seal::Call { .. }));
    if bound_to_calls && context.returns_reasoning && !text.is_empty() {
        blocks.push(Seal::Plain.block(&text));
    }
    blocks.extend(seals.iter().map(|seal| seal.block(&text)));
    (!blocks.is_empty()).then(|| context.seal(&Carrier { blocks }))
}

const ADDED: &str = "response.output_item.added";

const COMPLETED: &str = "completed";

const INCOMPLETE: &str = "incomplete";

const SUMMARY: &[u8] = b"{\"type\":\"summary_text\",\"text\":\"";

const EMPTY: Lit<'static> = Lit::plain("{}");
