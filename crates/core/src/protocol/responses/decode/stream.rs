//! Decoding of a provider's answer, event by event, or of a complete answer into the events of its stream.

use crate::canon::{Decode, Event, Profile, Sink, UpstreamError};
use crate::json::{self, JsonStr, Malformed};

use super::output_items::{ItemSlot, OutputItems, OutputKind, probabilities};
use super::reply;
use crate::protocol::pick::fields_named;

/// A decoder of a provider's answer.
#[derive(Debug, Default)]
pub(in crate::protocol::responses) struct ResponsesDecoder {
    output_items: OutputItems,
    started: bool,
    over: bool,
}

/// The members of an event that matter.
#[derive(Default)]
struct EventMembers<'a> {
    kind: Option<&'a str>,
    output_index: Option<u64>,
    /// `content_index` or `summary_index`.
    part_index: u64,
    delta: Option<&'a str>,
    text: Option<&'a str>,
    refusal: Option<&'a str>,
    arguments: Option<&'a str>,
    item: Option<&'a str>,
    part: Option<&'a str>,
    annotation: Option<&'a str>,
    logprobs: Option<&'a str>,
    response: Option<&'a str>,
}

impl ResponsesDecoder {
    pub(in crate::protocol::responses) fn new(_profile: &Profile) -> Self {
        Self::default()
    }

    fn dispatch(&mut self, kind: &str, data: &str, event: &EventMembers<'_>, sink: &mut Sink<'_>) {
        match kind {
            "response.created" | "response.queued" | "response.in_progress" => {
                self.lifecycle(event.response.unwrap_or_default(), sink);
            }
            "response.completed" | "response.incomplete" => {
                self.finish(event.response.unwrap_or("{}"), sink);
            }
            "response.failed" => self.fail(event.response.unwrap_or(data), sink),
            "error" => self.fail(data, sink),
            _ if kind.starts_with("response.") => {
                self.started(sink);
                self.progress(kind.get("response.".len()..).unwrap_or_default(), event, sink);
            }
            _ => {}
        }
    }

    fn progress(&mut self, kind: &str, event: &EventMembers<'_>, sink: &mut Sink<'_>) {
        match kind {
            "output_item.added" => self.added(event, sink),
            "output_item.done" => self.done(event, sink),
            "content_part.done" => self.part_done(event, sink),
            "output_text.delta" => self.say(event, event.delta, &mut |text| Event::Text(text), sink),
            "output_text.done" => self.text_done(event, event.text, &mut |text| Event::Text(text), sink),
            "output_text.annotation.added" => {
                if let (Some(slot), Some(annotation)) =
                    (self.slot(event, OutputKind::Message), event.annotation)
                {
                    self.output_items.cite(slot, event.part_index, annotation, sink);
                }
            }
            "refusal.delta" => self.say(event, event.delta, &mut |text| Event::Refusal(text), sink),
            "refusal.done" => self.text_done(event, event.refusal, &mut |text| Event::Refusal(text), sink),
            "reasoning_summary_text.delta" => self.think(event, event.delta, true, sink),
            "reasoning_text.delta" => self.think(event, event.delta, false, sink),
            "reasoning_summary_text.done" => self.thought(event, true, sink),
            "reasoning_text.done" => self.thought(event, false, sink),
            "function_call_arguments.delta" | "custom_tool_call_input.delta" => {
                if let Some((slot, text)) =
                    self.slot(event, OutputKind::Call).zip(event.delta.and_then(JsonStr::read))
                {
                    self.output_items.argue(slot, text, sink);
                }
            }
            "function_call_arguments.done" | "custom_tool_call_input.done" => {
                if let Some((slot, whole)) = self.slot(event, OutputKind::Call).zip(event.arguments) {
                    self.output_items.argued(slot, whole, sink);
                }
            }
            _ => {}
        }
    }

    fn slot(&mut self, event: &EventMembers<'_>, kind: OutputKind) -> Option<ItemSlot> {
        self.output_items.slot(event.output_index, kind)
    }

    fn started(&mut self, sink: &mut Sink<'_>) {
        if !std::mem::replace(&mut self.started, true) {
            sink(Event::Start { id: None, created: None });
        }
    }

    fn lifecycle(&mut self, response: &str, sink: &mut Sink<'_>) {
        if reply::failure(response).is_some() {
            return self.fail(response, sink);
        }
        if !std::mem::replace(&mut self.started, true) {
            reply::start(response, sink);
        }
    }

    /// Takes the response object of a complete answer.
    fn finish(&mut self, response: &str, sink: &mut Sink<'_>) {
        if reply::failure(response).is_some() {
            return self.fail(response, sink);
        }
        if !std::mem::replace(&mut self.started, true) {
            reply::start(response, sink);
        }
        reply::finish(response, &mut self.output_items, sink);
        self.over = true;
    }

    /// Takes the object that holds, or is, an error.
    fn fail(&mut self, json: &str, sink: &mut Sink<'_>) {
        self.over = true;
        sink(Event::Fail(UpstreamError::read(json.as_bytes())));
    }

    fn added(&mut self, event: &EventMembers<'_>, sink: &mut Sink<'_>) {
        let Some(item) = event.item else { return };
        let kind = OutputKind::of(item);
        let slot = self.output_items.announce(event.output_index, kind);
        if kind != OutputKind::Call {
            return;
        }
        self.output_items.open(slot, item, sink);
        let [arguments, input] = fields_named(item, ["arguments", "input"]);
        if let Some(first) = arguments.or(input).and_then(JsonStr::read) {
            self.output_items.argue(slot, first, sink);
        }
    }

    fn done(&mut self, event: &EventMembers<'_>, sink: &mut Sink<'_>) {
        let Some(item) = event.item else { return };
        let slot = self.output_items.completing(event.output_index, OutputKind::of(item));
        self.output_items.complete(slot, item, sink);
    }

    fn part_done(&mut self, event: &EventMembers<'_>, sink: &mut Sink<'_>) {
        let Some(part) = event.part else { return };
        if !matches!(fields_named(part, ["type"]), [Some("\"output_text\"" | "\"refusal\"")]) {
            return;
        }
        if let Some(slot) = self.slot(event, OutputKind::Message) {
            self.output_items.complete_part(slot, event.part_index, part, sink);
        }
    }

    fn say<'e>(
        &mut self,
        event: &EventMembers<'e>,
        text: Option<&'e str>,
        make: &mut dyn FnMut(JsonStr<'e>) -> Event<'e>,
        sink: &mut Sink<'_>,
    ) {
        let Some(text) = text.and_then(JsonStr::read).filter(|text| !text.is_empty()) else { return };
        if let Some(slot) = self.slot(event, OutputKind::Message) {
            self.output_items.say(slot, event.part_index, make(text), sink);
            probabilities(event.logprobs, sink);
        }
    }

    /// Takes the complete text of a part. It is only emitted if the part had no content so far.
    fn text_done<'e>(
        &mut self,
        event: &EventMembers<'e>,
        text: Option<&'e str>,
        make: &mut dyn FnMut(JsonStr<'e>) -> Event<'e>,
        sink: &mut Sink<'_>,
    ) {
        let slot = self.slot(event, OutputKind::Message);
        if slot.is_some_and(|slot| !self.output_items.has_spoken(slot, event.part_index, text)) {
            self.say(event, text, make, sink);
        }
    }

    fn think(&mut self, event: &EventMembers<'_>, text: Option<&str>, summary: bool, sink: &mut Sink<'_>) {
        let Some(text) = text.and_then(JsonStr::read) else { return };
        if let Some(slot) = self.slot(event, OutputKind::Reasoning) {
            self.output_items.think(slot, event.part_index, summary, text, sink);
        }
    }

    fn thought(&mut self, event: &EventMembers<'_>, summary: bool, sink: &mut Sink<'_>) {
        let slot = self.slot(event, OutputKind::Reasoning);
        if slot.is_some_and(|slot| !self.output_items.has_spoken(slot, event.part_index, event.text)) {
            self.think(event, event.text, summary, sink);
        }
    }
}

impl Decode for ResponsesDecoder {
    fn event(&mut self, name: Option<&str>, data: &str, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        if self.over || data == "[DONE]" {
            return Ok(());
        }
        let event = EventMembers::read(data)?;
        let kind = event.kind.map(|kind| kind.trim_matches('"')).or(name);
        if let Some(kind) = kind {
            self.dispatch(kind, data, &event, sink);
        }
        Ok(())
    }

    fn reply(&mut self, body: &str, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        json::members(body.as_bytes()).finish()?;
        let [status, output, error] = fields_named(body, ["status", "output", "error"]);
        match status {
            // The work continues elsewhere, so this is not an answer.
            Some("\"in_progress\"" | "\"queued\"") => {}
            None if output.is_none() && error.is_none() => {}
            _ => self.finish(body, sink),
        }
        Ok(())
    }

    fn end(&mut self, _sink: &mut Sink<'_>) {}
}

impl<'a> EventMembers<'a> {
    fn read(data: &'a str) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        let mut members = json::members(data.as_bytes());
        for member in members.by_ref() {
            let member = member?;
            let Some(value) = data.get(member.span.clone()).filter(|value| *value != "null") else {
                continue;
            };
            match member.key {
                b"type" => fields.kind = Some(value),
                b"output_index" => fields.output_index = value.parse().ok(),
                b"content_index" | b"summary_index" => fields.part_index = value.parse().unwrap_or_default(),
                b"delta" => fields.delta = Some(value),
                b"text" => fields.text = Some(value),
                b"refusal" => fields.refusal = Some(value),
                b"arguments" | b"input" => fields.arguments = Some(value),
                b"item" => fields.item = Some(value),
                b"part" => fields.part = Some(value),
                b"annotation" => fields.annotation = Some(value),
                b"logprobs" => fields.logprobs = Some(value),
                b"response" => fields.response = Some(value),
                _ => {}
            }
        }
        members.finish()?;
        Ok(fields)
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
