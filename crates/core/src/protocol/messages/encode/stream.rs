//! The stream for a client.

use std::sync::Arc;

use crate::canon::{Context, Encode, Event, Finish, Overflow, Queue, Seal, SegmentKind, SegmentStep, Usage};
use crate::failure::Failure;
use crate::json::JsonStr;
use crate::json::write::{self, Object};

use crate::protocol::messages::{PING, error, usage};
use crate::protocol::phrases;

use super::answer::{self, OpaqueBlock, StopMembers};

/// An encoder of the stream for a client.
#[derive(Debug)]
pub(in crate::protocol::messages) struct MessagesEncoder {
    queue: Queue,
    state: MessageWriter,
}

#[derive(Debug)]
struct MessageWriter {
    context: Arc<Context>,
    started: bool,
    ended: bool,
    /// The index of the next block.
    index: u64,
    block: OpenBlock,
    usage: Usage,
    finish: Option<Finish<'static>>,
    calls: bool,
    /// Whether there was text already.
    spoke: bool,
    /// The text of the model's refusal, as the inside of a literal.
    refused: Option<String>,
}

/// The block that is being written.
#[derive(Debug)]
enum OpenBlock {
    Text,
    Refusal {
        shown: bool,
    },
    Thinking,
    /// Reasoning that the client does not want to see, although its provider may want it back.
    Hidden(String),
    Call,
    /// The call of a freeform tool, whose text is written as a member of an object.
    Custom {
        spoke: bool,
    },
    /// The text in the place of an image.
    Image,
    /// A block that no client is shown.
    None,
}

impl MessagesEncoder {
    pub(in crate::protocol::messages) fn new(context: Arc<Context>) -> Self {
        let state = MessageWriter {
            context,
            started: false,
            ended: false,
            index: 0,
            block: OpenBlock::None,
            usage: Usage::default(),
            finish: None,
            calls: false,
            spoke: false,
            refused: None,
        };
        Self { queue: Queue::default(), state }
    }
}

impl Encode for MessagesEncoder {
    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        let Self { queue, state } = self;
        if state.ended {
            return;
        }
        match event {
            Event::Start { id, .. } => state.start(id.as_deref(), out),
            Event::Usage(part) => state.usage.absorb(&part),
            Event::Finish(finish) => state.finish = Some(finish.into_owned()),
            Event::Tier(_) | Event::Fail(_) => {}
            Event::End => {
                let cut = state.finish.as_ref().is_some_and(Finish::is_cut);
                queue.finish(cut, &mut |step| state.step(step, out));
                state.end(out);
            }
            event => {
                if queue.take(event, &mut |step| state.step(step, out)).is_err() {
                    self.fail(&Failure::provider(Overflow::DETAIL), out);
                }
            }
        }
    }

    fn keep_alive(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(PING);
    }

    fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.state.ended, true) {
            return;
        }
        out.extend_from_slice(b"event: error\ndata: ");
        out.extend_from_slice(&error::envelope(failure, &self.state.context.request_id));
        out.extend_from_slice(b"\n\n");
    }
}

impl MessageWriter {
    fn start(&mut self, id: Option<&str>, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        send("message_start", out, |o| {
            o.object("message", |o| {
                answer::head(id, &self.context, o);
                o.json("content", "[]").null("stop_reason").null("stop_sequence");
                o.object("usage", |o| usage::write(&self.usage, o));
            });
        });
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.start(None, out);
        self.ended = true;
        let refused = self.refused.as_deref().map(JsonStr::part);
        let stop = StopMembers::new(self.finish.as_ref(), self.calls, refused.as_ref(), &self.context);
        send("message_delta", out, |o| {
            o.object("delta", |o| stop.write(o));
            o.object("usage", |o| usage::write(&self.usage, o));
        });
        send("message_stop", out, |_| {});
    }

    fn step(&mut self, step: SegmentStep<'_>, out: &mut Vec<u8>) {
        self.start(None, out);
        match step {
            SegmentStep::Open { kind, .. } => self.open(kind, out),
            SegmentStep::Delta(text) => self.delta(&text, out),
            SegmentStep::Close { seals, .. } => self.close(seals, out),
            SegmentStep::Opaque(seals) => self.opaque(seals, &JsonStr::default(), out),
            SegmentStep::Cite(_) | SegmentStep::Logprobs(_) => {}
        }
    }

    fn open(&mut self, kind: &SegmentKind, out: &mut Vec<u8>) {
        self.block = match kind {
            SegmentKind::Text => {
                self.spoke = true;
                self.begin(out, |o| {
                    o.text("type", "text").text("text", "");
                });
                OpenBlock::Text
            }
            SegmentKind::Refusal => {
                // After other text of the model, a refusal is not shown as text: it is only the explanation.
                let shown = !self.spoke;
                self.refused.get_or_insert_default();
                if shown {
                    self.begin(out, |o| {
                        o.text("type", "text").text("text", "");
                    });
                }
                OpenBlock::Refusal { shown }
            }
            SegmentKind::Reasoning if self.context.show_reasoning == Some(false) => {
                OpenBlock::Hidden(String::new())
            }
            SegmentKind::Reasoning => {
                self.begin(out, |o| {
                    o.text("type", "thinking").text("thinking", "").text("signature", "");
                });
                OpenBlock::Thinking
            }
            SegmentKind::Image => {
                self.begin(out, |o| {
                    o.text("type", "text").text("text", "");
                });
                piece(self.index, "text_delta", "text", &phrases::IMAGE_OMITTED, out);
                OpenBlock::Image
            }
            SegmentKind::Search(_) => OpenBlock::None,
            // Clients of this protocol know no namespaces, so one that a provider adds is left out.
            SegmentKind::Call { id, name, custom, .. } => {
                self.calls = true;
                self.begin(out, |o| {
                    o.text("type", "tool_use").text("id", id).text("name", name).json("input", "{}");
                });
                if *custom { OpenBlock::Custom { spoke: false } } else { OpenBlock::Call }
            }
        };
    }

    fn delta(&mut self, text: &JsonStr<'_>, out: &mut Vec<u8>) {
        let index = self.index;
        match &mut self.block {
            OpenBlock::Text => piece(index, "text_delta", "text", text, out),
            OpenBlock::Refusal { shown } => {
                self.refused.get_or_insert_default().push_str(text.raw());
                if *shown {
                    piece(index, "text_delta", "text", text, out);
                }
            }
            OpenBlock::Thinking => piece(index, "thinking_delta", "thinking", text, out),
            OpenBlock::Hidden(hidden) => hidden.push_str(text.raw()),
            OpenBlock::Call => piece(index, "input_json_delta", "partial_json", text, out),
            OpenBlock::Custom { spoke } => {
                let before = if std::mem::replace(spoke, true) { "" } else { CUSTOM_HEAD };
                custom_piece(index, before, text.raw(), "", out);
            }
            OpenBlock::Image | OpenBlock::None => {}
        }
    }

    fn close(&mut self, seals: &[Seal<'_>], out: &mut Vec<u8>) {
        match std::mem::replace(&mut self.block, OpenBlock::None) {
            OpenBlock::None | OpenBlock::Refusal { shown: false } => return,
            OpenBlock::Hidden(text) => return self.opaque(seals, &JsonStr::part(&text), out),
            OpenBlock::Thinking => {
                // The carrier does not hold the text, because the client was shown it.
                if let OpaqueBlock::Signature(text) =
                    OpaqueBlock::of_shown(seals, &JsonStr::default(), &self.context)
                {
                    piece(self.index, "signature_delta", "signature", &text, out);
                }
            }
            OpenBlock::Custom { spoke } => {
                let before = if spoke { "" } else { CUSTOM_HEAD };
                custom_piece(self.index, before, "", CUSTOM_TAIL, out);
            }
            OpenBlock::Text | OpenBlock::Image | OpenBlock::Call | OpenBlock::Refusal { shown: true } => {}
        }
        self.stop(out);
    }

    /// Writes reasoning without visible text, in one block.
    fn opaque(&mut self, seals: &[Seal<'_>], text: &JsonStr<'_>, out: &mut Vec<u8>) {
        match OpaqueBlock::of_hidden(seals, text, &self.context) {
            None => {}
            Some(OpaqueBlock::Redacted(data)) => {
                self.begin(out, |o| {
                    o.text("type", "redacted_thinking").json_str("data", &data);
                });
                self.stop(out);
            }
            Some(OpaqueBlock::Signature(signature)) => {
                self.begin(out, |o| {
                    o.text("type", "thinking").text("thinking", "").text("signature", "");
                });
                piece(self.index, "signature_delta", "signature", &signature, out);
                self.stop(out);
            }
        }
    }

    fn begin(&self, out: &mut Vec<u8>, block: impl FnOnce(&mut Object<'_>)) {
        send("content_block_start", out, |o| {
            o.number("index", self.index).object("content_block", block);
        });
    }

    fn stop(&mut self, out: &mut Vec<u8>) {
        send("content_block_stop", out, |o| {
            o.number("index", self.index);
        });
        self.index += 1;
    }
}

/// Writes an event. Its name stands in it twice, because official clients read the line and others the member.
fn send(name: &str, out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    write::object(out, |o| {
        o.text("type", name);
        fill(o);
    });
    out.extend_from_slice(b"\n\n");
}

/// Writes a piece of a block.
fn piece(index: u64, kind: &str, name: &str, text: &JsonStr<'_>, out: &mut Vec<u8>) {
    send("content_block_delta", out, |o| {
        o.number("index", index).object("delta", |o| {
            o.text("type", kind).json_str(name, text);
        });
    });
}

/// Writes a piece of a freeform tool's text, which is the inside of a literal in the JSON of the input.
fn custom_piece(index: u64, before: &str, text: &str, after: &str, out: &mut Vec<u8>) {
    send("content_block_delta", out, |o| {
        o.number("index", index).object("delta", |o| {
            o.text("type", "input_json_delta").string("partial_json", |json| {
                json.plain(before);
                json.plain(text);
                json.plain(after);
            });
        });
    });
}

const CUSTOM_HEAD: &str = "{\"input\":\"";
const CUSTOM_TAIL: &str = "\"}";

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
