//! Decoding of a provider's answer, event by event, or of a complete answer into the events of its stream.

use std::collections::BTreeMap;

use crate::canon::{Anomaly, Args, Decode, Event, Finish, Profile, Seal, Sink, UpstreamError};
use crate::json::{self, JsonStr, Lenient as _, Malformed, Raw};
use crate::protocol::node::{Node, Type};
use crate::protocol::pick::{elements, readable_fields_named};

use crate::protocol::messages::usage;

use super::reply::{EMPTY_INPUT, EventWire, cite, whole_input};

/// A decoder of a provider's answer.
#[derive(Debug, Default)]
pub(in crate::protocol::messages) struct MessagesDecoder {
    /// The blocks that are not complete, by their indexes. It is a map because there may be very many.
    open: BTreeMap<u64, OpenBlockState>,
    calls: u32,
    started: bool,
    ended: bool,
    finish: Option<Finish<'static>>,
    /// Whether there was text already.
    spoke: bool,
    /// Whether another block stood behind the last text.
    interrupted: bool,
}

#[derive(Debug)]
enum OpenBlockState {
    Text {
        spoke: bool,
    },
    Thinking {
        spoke: bool,
        sealed: bool,
        signature: JsonStr<'static>,
    },
    Call {
        key: u32,
        /// The input that the block began with, if none follows.
        input: Option<Raw<'static>>,
    },
    /// A web search of the provider: its id, and the input so far.
    Search {
        id: String,
        input: String,
    },
    /// A block that no client is shown.
    Other,
}

impl MessagesDecoder {
    pub(in crate::protocol::messages) fn new(_profile: &Profile) -> Self {
        Self::default()
    }

    /// Takes the beginning of the answer, with these members.
    fn start(&mut self, message: &Node<'_, '_>, sink: &mut Sink<'_>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let id = message.find("id").and_then(|id| id.string().ok()).filter(|id| !id.is_empty());
        sink(Event::Start { id, created: None });
    }

    /// Takes token counts and the service tier.
    fn usage(&self, counts: Option<Node<'_, '_>>, sink: &mut Sink<'_>) {
        let Some(counts) = counts else { return };
        let tier = counts.find("service_tier").and_then(|tier| tier.string().ok());
        match tier.as_deref() {
            Some("standard" | "batch") => sink(Event::Tier("default".into())),
            Some("priority") => sink(Event::Tier("priority".into())),
            _ => {}
        }
        if let Some(part) = usage::read(counts.text.as_bytes()) {
            sink(Event::Usage(part));
        }
    }

    /// Takes blocks that come complete.
    fn blocks(&mut self, content: &Node<'_, '_>, sink: &mut Sink<'_>) {
        for (index, (_, span)) in json::elements(content.text.as_bytes()).lenient().enumerate() {
            let index = u64::try_from(index).unwrap_or(u64::MAX);
            let block = Node::root(content.text.get(span).unwrap_or_default());
            self.block_start(index, &block, sink);
            self.block_stop(index, sink);
        }
    }

    /// Keeps the finish reason; the last one counts.
    fn remember(&mut self, delta: &Node<'_, '_>, sink: &mut Sink<'_>) {
        let Some(reason) = delta.find("stop_reason").and_then(|reason| reason.string().ok()) else { return };
        self.finish = Some(match &*reason {
            "end_turn" | "compaction" => Finish::Stop,
            "stop_sequence" => {
                let text = delta.find("stop_sequence").and_then(|text| text.json_str().ok());
                Finish::StopSequence(text.map(JsonStr::into_owned))
            }
            "tool_use" => Finish::ToolUse,
            "max_tokens" => Finish::Length,
            "model_context_window_exceeded" => Finish::ContextWindow,
            "refusal" => {
                let details = delta.find("stop_details");
                let words = details.and_then(|details| details.find("explanation"));
                let words = words.and_then(|words| words.json_str().ok()).filter(|words| !words.is_empty());
                Finish::Refusal(words.map(JsonStr::into_owned))
            }
            "pause_turn" => Finish::Pause,
            _ => {
                sink(Event::Anomaly(Anomaly::Finish));
                Finish::Unknown
            }
        });
    }

    /// Completes the answer.
    fn finish(&mut self, sink: &mut Sink<'_>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        // Some providers do not end their blocks.
        while let Some(index) = self.open.keys().next().copied() {
            self.block_stop(index, sink);
        }
        let known = self.finish.take().filter(|finish| !(self.calls > 0 && *finish == Finish::Unknown));
        let finish = known.unwrap_or_else(|| self.usual_finish());
        sink(Event::Finish(finish));
        sink(Event::End);
    }

    fn usual_finish(&self) -> Finish<'static> {
        if self.calls > 0 { Finish::ToolUse } else { Finish::Stop }
    }

    fn block_start(&mut self, index: u64, block: &Node<'_, '_>, sink: &mut Sink<'_>) {
        self.block_stop(index, sink);
        let [kind, id, name, input] = readable_fields_named(block.text, ["type", "id", "name", "input"]);
        let kind = kind.and_then(JsonStr::read).unwrap_or_default();
        let state = match kind.raw() {
            "text" => OpenBlockState::Text { spoke: false },
            "thinking" => {
                OpenBlockState::Thinking { spoke: false, sealed: false, signature: JsonStr::default() }
            }
            "redacted_thinking" => {
                if let Some(data) = block.find("data").and_then(|data| data.json_str().ok()) {
                    sink(Event::Seal(Seal::Redacted(data)));
                }
                OpenBlockState::Other
            }
            "tool_use" => self.call(id, name, input, sink),
            "server_tool_use" if name == Some(WEB_SEARCH) => OpenBlockState::Search {
                id: id.and_then(JsonStr::read).unwrap_or_default().decode().into_owned(),
                input: input.unwrap_or_default().to_owned(),
            },
            // The client has no use for the calls and results of the provider's own tools.
            kind if kind == "server_tool_use" || kind.ends_with("_tool_result") => OpenBlockState::Other,
            _ => {
                sink(Event::Anomaly(Anomaly::Content));
                OpenBlockState::Other
            }
        };
        self.interrupted |= !matches!(state, OpenBlockState::Text { .. });
        self.open.insert(index, state);
        match kind.raw() {
            "text" => {
                let [text, citations] = readable_fields_named(block.text, ["text", "citations"]);
                self.text(index, text, sink);
                for citation in elements(citations.unwrap_or_default()) {
                    cite(&Node::root(citation), sink);
                }
            }
            "thinking" => {
                let [text, signature] = readable_fields_named(block.text, ["thinking", "signature"]);
                self.thought(index, text, sink);
                if let Some(OpenBlockState::Thinking { signature: waiting, .. }) = self.find(index) {
                    *waiting = signature.and_then(JsonStr::read).unwrap_or_default().into_owned();
                }
            }
            _ => {}
        }
    }

    fn call(
        &mut self,
        id: Option<&str>,
        name: Option<&str>,
        input: Option<&str>,
        sink: &mut Sink<'_>,
    ) -> OpenBlockState {
        let key = self.calls;
        self.calls += 1;
        sink(Event::Open {
            key,
            id: id.and_then(JsonStr::read).unwrap_or_default().into_text(),
            namespace: None,
            name: name.and_then(JsonStr::read).unwrap_or_default().into_text(),
            custom: false,
        });
        OpenBlockState::Call { key, input: input.and_then(whole_input) }
    }

    fn block_delta(&mut self, index: u64, delta: &str, sink: &mut Sink<'_>) {
        let [kind, text, thinking, json, signature, citation] = readable_fields_named(
            delta,
            ["type", "text", "thinking", "partial_json", "signature", "citation"],
        );
        match kind.unwrap_or_default() {
            r#""text_delta""# => self.text(index, text, sink),
            r#""thinking_delta""# => self.thought(index, thinking, sink),
            r#""input_json_delta""# => self.input(index, json, sink),
            r#""signature_delta""# => {
                let signature = signature.and_then(JsonStr::read).filter(|text| !text.is_empty());
                if let (Some(OpenBlockState::Thinking { sealed, .. }), Some(text)) =
                    (self.find(index), signature)
                    && !std::mem::replace(sealed, true)
                {
                    sink(Event::Seal(Seal::Signature(text)));
                }
            }
            r#""citations_delta""# => {
                if let (Some(OpenBlockState::Text { .. }), Some(citation)) = (self.find(index), citation) {
                    cite(&Node::root(citation), sink);
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, index: u64, literal: Option<&str>, sink: &mut Sink<'_>) {
        let Some(text) = literal.and_then(JsonStr::read).filter(|text| !text.is_empty()) else { return };
        let Some(OpenBlockState::Text { spoke }) = self.find(index) else { return };
        if !std::mem::replace(spoke, true) && std::mem::replace(&mut self.interrupted, false) && self.spoke {
            sink(Event::Break);
        }
        self.spoke = true;
        sink(Event::Text(text));
    }

    fn thought(&mut self, index: u64, literal: Option<&str>, sink: &mut Sink<'_>) {
        let Some(text) = literal.and_then(JsonStr::read).filter(|text| !text.is_empty()) else { return };
        if let Some(OpenBlockState::Thinking { spoke, sealed: false, .. }) = self.find(index) {
            *spoke = true;
            sink(Event::Thought(text));
        }
    }

    fn input(&mut self, index: u64, literal: Option<&str>, sink: &mut Sink<'_>) {
        let Some(text) = literal.and_then(JsonStr::read).filter(|text| !text.is_empty()) else { return };
        match self.find(index) {
            Some(OpenBlockState::Call { key, input }) => {
                *input = None;
                sink(Event::Args { key: *key, part: Args::Str(text) });
            }
            Some(OpenBlockState::Search { input, .. }) if input.len() < MAX_SEARCH_BYTES => {
                if input == EMPTY_INPUT {
                    input.clear();
                }
                input.push_str(&text.decode());
            }
            _ => {}
        }
    }

    fn block_stop(&mut self, index: u64, sink: &mut Sink<'_>) {
        let Some(block) = self.open.remove(&index) else { return };
        match block {
            OpenBlockState::Text { spoke: true } => sink(Event::Close(None)),
            OpenBlockState::Thinking { sealed: false, signature, .. } if !signature.is_empty() => {
                sink(Event::Seal(Seal::Signature(signature)));
            }
            OpenBlockState::Thinking { spoke: true, sealed: false, .. } => sink(Event::Close(None)),
            OpenBlockState::Call { key, input } => {
                if let Some(input) = input {
                    sink(Event::Args { key, part: Args::Raw(input) });
                }
                sink(Event::Close(Some(key)));
            }
            OpenBlockState::Search { id, input } => {
                let query = Node::root(&input).find("query").and_then(|query| query.json_str().ok());
                sink(Event::Search { id: id.into(), query: query.unwrap_or_default() });
            }
            OpenBlockState::Text { .. } | OpenBlockState::Thinking { .. } | OpenBlockState::Other => {}
        }
    }

    fn find(&mut self, index: u64) -> Option<&mut OpenBlockState> {
        self.open.get_mut(&index)
    }
}

impl Decode for MessagesDecoder {
    fn event(&mut self, name: Option<&str>, data: &str, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        if data == "[DONE]" || self.ended {
            return Ok(());
        }
        let wire = EventWire::read(data)?;
        let kind = wire.kind.and_then(JsonStr::read);
        let index = wire.index.and_then(|index| index.parse().ok()).unwrap_or(0);
        match kind.as_ref().map(JsonStr::raw).or(name).unwrap_or_default() {
            "message_start" => {
                let message = Node::root(wire.message.unwrap_or("{}"));
                self.start(&message, sink);
                self.usage(message.find("usage"), sink);
                if let Some(content) = message.find("content").filter(|list| list.kind() == Type::Array) {
                    self.blocks(&content, sink);
                }
            }
            "content_block_start" => {
                self.block_start(index, &Node::root(wire.block.unwrap_or("{}")), sink);
            }
            "content_block_delta" => self.block_delta(index, wire.delta.unwrap_or_default(), sink),
            "content_block_stop" => self.block_stop(index, sink),
            "message_delta" => {
                self.usage(wire.usage.map(Node::root), sink);
                if let Some(delta) = wire.delta {
                    self.remember(&Node::root(delta), sink);
                }
            }
            "message_stop" => self.finish(sink),
            "error" => {
                self.ended = true;
                sink(Event::Fail(UpstreamError::read(data.as_bytes())));
            }
            _ => {}
        }
        Ok(())
    }

    fn reply(&mut self, body: &str, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        json::members(body.as_bytes()).finish()?;
        let body = Node::root(body);
        let content = body.find("content").filter(|content| content.kind() == Type::Array);
        let Some(content) = content else {
            if body.find("error").is_some() {
                sink(Event::Fail(UpstreamError::read(body.text.as_bytes())));
            }
            return Ok(());
        };
        self.start(&body, sink);
        self.blocks(&content, sink);
        self.usage(body.find("usage"), sink);
        self.remember(&body, sink);
        self.finish(sink);
        Ok(())
    }

    fn end(&mut self, sink: &mut Sink<'_>) {
        // An answer with a finish reason is complete.
        if self.finish.is_some() {
            self.finish(sink);
        }
    }

    fn has_finished(&self) -> bool {
        self.finish.is_some()
    }
}

/// The name of the provider's web search in its blocks.
const WEB_SEARCH: &str = r#""web_search""#;

/// Maximum length of a search's input, in bytes: more is not read.
const MAX_SEARCH_BYTES: usize = 64 << 10;

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
