//! The stream for a client.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::canon::{Args, Citation, Context, Encode, Event, Finish, Seal, Usage};
use crate::failure::Failure;
use crate::json::write::{self, Object};
use crate::json::{JsonStr, Raw, characters};
use crate::protocol::chat::{error, usage};

use super::answer::{self, DetailEntries};

/// An encoder of the stream for a client.
///
/// Everything is written at once, because this protocol's clients assemble pieces by their indexes. Only content
/// that they would assemble wrongly waits for the end.
#[derive(Debug)]
pub(in crate::protocol::chat) struct ChatEncoder {
    context: Arc<Context>,
    /// The beginning of every event; empty until the answer begins.
    head: Vec<u8>,
    tier: Option<String>,
    last: LastSegment,
    /// Whether the last segment is complete.
    closed: bool,
    /// Whether the next text is a paragraph of its own.
    paragraph: bool,
    /// White space after a call: dropped unless text follows.
    blank: String,
    /// Number of characters of text so far; `begin` is the position at which the last segment began.
    characters: u64,
    begin: u64,
    texts: bool,
    cites: Vec<Citation<'static>>,
    annotations: DetailEntries,
    /// The reasoning that is not sealed yet.
    thought: String,
    thoughts: bool,
    details: DetailEntries,
    /// Calls by their keys, which count up. It is a map because a provider may make very many.
    calls: BTreeMap<u32, OpenCall>,
    /// State that is bound to the next call.
    extra: Option<Raw<'static>>,
    refused: bool,
    /// The verdict of the provider's moderation, for the last event with a choice.
    moderation: Option<Raw<'static>>,
    usage: Option<Usage>,
    finished: bool,
}

/// The kind of the last segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastSegment {
    Nothing,
    Text,
    Refusal,
    Thought,
    Call,
    Search,
    Image,
}

#[derive(Clone, Copy, Debug)]
struct OpenCall {
    index: u64,
    custom: bool,
    /// Whether it has any arguments.
    spoke: bool,
}

impl ChatEncoder {
    pub(in crate::protocol::chat) fn new(context: Arc<Context>) -> Self {
        Self {
            context,
            head: Vec::new(),
            tier: None,
            last: LastSegment::Nothing,
            closed: false,
            paragraph: false,
            blank: String::new(),
            characters: 0,
            begin: 0,
            texts: false,
            cites: Vec::new(),
            annotations: DetailEntries::default(),
            thought: String::new(),
            thoughts: false,
            details: DetailEntries::default(),
            calls: BTreeMap::new(),
            extra: None,
            refused: false,
            moderation: None,
            usage: None,
            finished: false,
        }
    }
}

impl Encode for ChatEncoder {
    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, created } => return self.start(id.as_deref(), created, out),
            Event::Tier(tier) => return self.tier(&tier),
            Event::Usage(part) => return self.usage.get_or_insert_default().absorb(&part),
            Event::Anomaly(_) | Event::Fail(_) => return,
            _ => {}
        }
        if self.head.is_empty() {
            self.start(None, None, out);
        }
        match event {
            Event::Text(text) => self.text(&text, out),
            Event::Logprobs(list) => self.chunk(out, None, Some(&list), |_| {}),
            Event::Refusal(text) => self.refusal(&text, out),
            Event::Thought(text) => self.thought(&text, out),
            Event::Seal(seal) => self.seal(seal),
            Event::Cite(cite) => self.cites.push(cite.into_owned()),
            Event::Image(url) => self.image(&url, out),
            Event::Moderation(verdict) => self.moderation = Some(verdict.into_owned()),
            Event::Search { .. } => {
                self.enter_segment(LastSegment::Search);
            }
            Event::Open { key, id, name, custom, .. } => self.open(key, &id, &name, custom, out),
            Event::Args { key, part } => self.args(key, &part, out),
            Event::Close(None) => self.closed = true,
            Event::Close(Some(key)) => self.close(key, out),
            Event::Break => self.paragraph = true,
            Event::Finish(finish) => self.finish(Some(&finish), out),
            Event::End => self.end(out),
            // Only Responses has compactions.
            Event::Compacting | Event::Summary(_) => {}
            Event::Start { .. } | Event::Tier(_) | Event::Usage(_) | Event::Anomaly(_) | Event::Fail(_) => {}
        }
    }

    fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        out.extend_from_slice(&error::in_stream(failure));
    }
}

impl ChatEncoder {
    fn start(&mut self, id: Option<&str>, created: Option<u64>, out: &mut Vec<u8>) {
        if !self.head.is_empty() {
            return;
        }
        let context = &self.context;
        self.head.extend_from_slice(b"data: ");
        write::object(&mut self.head, |o| {
            o.string("id", |text| {
                text.plain("chatcmpl-");
                text.plain(&context.answer_id(id));
            });
            o.text("object", "chat.completion.chunk").number("created", created.unwrap_or(context.now));
            o.json_str("model", &context.model);
            if let Some(tier) = &self.tier {
                o.text("service_tier", answer::tier(tier));
            }
        });
        // The object continues in each event.
        self.head.pop();
        self.chunk(out, None, None, |o| {
            o.text("role", "assistant").text("content", "");
        });
    }

    fn tier(&mut self, tier: &str) {
        if self.tier.replace(tier.to_owned()).is_none() && !self.head.is_empty() {
            self.head.extend_from_slice(b",\"service_tier\":\"");
            write::escape(answer::tier(tier), &mut self.head);
            self.head.push(b'"');
        }
    }

    /// Writes one event with one choice.
    fn chunk(
        &self,
        out: &mut Vec<u8>,
        finish: Option<&str>,
        logprobs: Option<&Raw<'_>>,
        delta: impl FnOnce(&mut Object<'_>),
    ) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(br#","choices":[{"index":0,"delta":"#);
        write::object(out, delta);
        match logprobs {
            None => out.extend_from_slice(br#","logprobs":null"#),
            Some(list) => {
                out.extend_from_slice(br#","logprobs":{"content":"#);
                out.extend_from_slice(list.get().as_bytes());
                out.extend_from_slice(br#","refusal":null}"#);
            }
        }
        out.extend_from_slice(br#","finish_reason":"#);
        match finish {
            None => out.extend_from_slice(b"null}]"),
            Some(reason) => {
                out.push(b'"');
                out.extend_from_slice(reason.as_bytes());
                out.extend_from_slice(b"\"}]");
                if let Some(verdict) = &self.moderation {
                    out.extend_from_slice(br#","moderation":"#);
                    out.extend_from_slice(verdict.get().as_bytes());
                }
            }
        }
        if self.context.include_usage {
            out.extend_from_slice(br#","usage":null"#);
        }
        out.extend_from_slice(b"}\n\n");
    }

    /// Continues or begins a segment of this kind; returns whether it begins.
    fn enter_segment(&mut self, kind: LastSegment) -> bool {
        let begins = self.last != kind || self.closed;
        (self.last, self.closed) = (kind, false);
        begins
    }

    fn text(&mut self, text: &JsonStr<'_>, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        if self.last == LastSegment::Call && text.is_blank() {
            return self.blank.push_str(text.raw());
        }
        let after = self.last;
        let mut apart = false;
        if self.enter_segment(LastSegment::Text) {
            let paragraph = std::mem::take(&mut self.paragraph);
            apart = self.texts && (after != LastSegment::Text || paragraph);
            self.settle_cites();
            self.begin = self.characters + if apart { 2 } else { 0 };
            self.characters = self.begin;
        }
        self.texts = true;
        let blank = std::mem::take(&mut self.blank);
        self.characters += characters::count(blank.as_bytes()) + characters::count(text.raw().as_bytes());
        self.chunk(out, None, None, |o| {
            o.string("content", |content| {
                if apart {
                    content.json_str(&JsonStr::PARAGRAPH);
                }
                content.json_str(&JsonStr::part(&blank));
                content.json_str(text);
            });
        });
    }

    fn refusal(&mut self, text: &JsonStr<'_>, out: &mut Vec<u8>) {
        if !text.is_empty() {
            self.enter_segment(LastSegment::Refusal);
            self.refused = true;
            self.chunk(out, None, None, |o| {
                o.json_str("refusal", text);
            });
        }
    }

    fn image(&mut self, url: &JsonStr<'_>, out: &mut Vec<u8>) {
        self.enter_segment(LastSegment::Image);
        self.chunk(out, None, None, |o| {
            o.array("images", |list| answer::image(list, url));
        });
    }

    fn shows_reasoning(&self) -> bool {
        self.context.show_reasoning != Some(false)
    }

    fn thought(&mut self, text: &JsonStr<'_>, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let begins = self.enter_segment(LastSegment::Thought);
        if !self.shows_reasoning() {
            return;
        }
        if begins {
            self.thought.clear();
        }
        self.thought.push_str(text.raw());
        let apart = begins && std::mem::replace(&mut self.thoughts, true);
        self.chunk(out, None, None, |o| {
            o.string("reasoning_content", |content| {
                if apart {
                    content.json_str(&JsonStr::PARAGRAPH);
                }
                content.json_str(text);
            });
        });
    }

    fn seal(&mut self, seal: Seal<'_>) {
        if self.enter_segment(LastSegment::Thought) {
            self.thought.clear();
        }
        self.closed = true;
        match seal {
            Seal::Call { extra, .. } => self.extra = Some(extra.into_owned()),
            seal if self.shows_reasoning() => self.details.seal(&seal, &JsonStr::part(&self.thought)),
            _ => {}
        }
    }

    fn open(&mut self, key: u32, id: &str, name: &str, custom: bool, out: &mut Vec<u8>) {
        (self.last, self.closed) = (LastSegment::Call, false);
        self.blank.clear();
        let index = self.calls.len() as u64;
        self.calls.insert(key, OpenCall { index, custom, spoke: false });
        let extra = self.extra.take();
        self.call(index, out, |o| {
            let (kind, input) = kind(custom);
            o.text("id", id).text("type", kind).object(kind, |o| {
                o.text("name", name).text(input, "");
            });
            if let Some(extra) = &extra {
                o.raw("extra_content", extra);
            }
        });
    }

    fn args(&mut self, key: u32, part: &Args<'_>, out: &mut Vec<u8>) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        let nothing = match part {
            Args::Str(text) => text.is_empty() || !call.spoke && !call.custom && text.is_blank(),
            Args::Raw(_) => false,
        };
        if nothing {
            return;
        }
        call.spoke = true;
        let call = *call;
        self.argue(call, part, out);
    }

    fn argue(&self, call: OpenCall, part: &Args<'_>, out: &mut Vec<u8>) {
        let (kind, input) = kind(call.custom);
        self.call(call.index, out, |o| {
            o.object(kind, |o| {
                o.string(input, |text| match part {
                    Args::Str(lit) => text.json_str(lit),
                    Args::Raw(json) => text.plain(json.get()),
                });
            });
        });
    }

    /// Writes one event with a piece of one call.
    fn call(&self, index: u64, out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
        self.chunk(out, None, None, |o| {
            o.array("tool_calls", |list| {
                list.object(|o| {
                    o.number("index", index);
                    fill(o);
                });
            });
        });
    }

    fn close(&mut self, key: u32, out: &mut Vec<u8>) {
        if self.calls.get(&key).is_some_and(OpenCall::lacks_arguments) {
            self.args(key, &NO_ARGUMENTS, out);
        }
    }

    /// Adds the citations of the last text, whose end is known once the next one begins.
    fn settle_cites(&mut self) {
        for cite in std::mem::take(&mut self.cites) {
            let span = cite
                .span
                .map(|(start, end)| (self.begin.saturating_add(start), self.begin.saturating_add(end)));
            self.annotations.cite(&cite, span.unwrap_or((self.begin, self.characters)), true);
        }
    }

    fn finish(&mut self, finish: Option<&Finish<'_>>, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        for call in self.calls.values().filter(|call| call.lacks_arguments()) {
            self.argue(*call, &NO_ARGUMENTS, out);
        }
        self.settle_cites();
        if let Some(words) = answer::refusal(finish, self.texts).filter(|_| !self.refused) {
            self.refusal(&words, out);
        }
        for (name, entries) in [("annotations", &self.annotations), ("reasoning_details", &self.details)] {
            if entries.get().is_some() {
                self.chunk(out, None, None, |o| entries.write(name, o));
            }
        }
        let reason = answer::finish_reason(finish, !self.calls.is_empty());
        self.chunk(out, Some(reason), None, |_| {});
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.finish(None, out);
        if let Some(usage) = self.usage.as_ref().filter(|_| self.context.include_usage) {
            out.extend_from_slice(&self.head);
            out.extend_from_slice(br#","choices":[],"usage":"#);
            write::object(out, |o| usage::write(o, usage));
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

impl OpenCall {
    /// Whether a function call lacks arguments: clients parse them, and an empty text is not JSON.
    fn lacks_arguments(&self) -> bool {
        !self.spoke && !self.custom
    }
}

/// Returns the type of a call, and the member for its arguments.
fn kind(custom: bool) -> (&'static str, &'static str) {
    if custom { ("custom", "input") } else { ("function", "arguments") }
}

const NO_ARGUMENTS: Args<'static> = Args::Str(JsonStr::plain("{}"));

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
