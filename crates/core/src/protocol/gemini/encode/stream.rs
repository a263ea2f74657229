//! The stream for a client. Each event is an answer of its own, with pieces of the whole.

use std::sync::Arc;

use crate::canon::{Context, Encode, Event, Finish, Overflow, Queue, SegmentKind, SegmentStep, Usage};
use crate::failure::Failure;
use crate::json::JsonStr;
use crate::json::write::{self, Object};
use crate::protocol::gemini::{KEEP_ALIVE, error};

use super::answer::{self, CallPart, PendingState, Sources, TokenProbabilities};

/// An encoder of the stream for a client.
#[derive(Debug)]
pub(in crate::protocol::gemini) struct GeminiEncoder {
    queue: Queue,
    state: GeminiWriter,
}

#[derive(Debug)]
struct GeminiWriter {
    context: Arc<Context>,
    ended: bool,
    /// The id of the answer.
    id: String,
    /// The kind of the segment that is being written, if it is one whose text is kept until its end.
    kept: Option<SegmentKind>,
    /// The text of that segment, as the inside of a literal.
    text: String,
    /// Number of bytes of text before the segment.
    base: usize,
    is_refusal: bool,
    is_thought: bool,
    pending: PendingState,
    sources: Sources,
    probabilities: TokenProbabilities,
    usage: Usage,
    finish: Option<Finish<'static>>,
    /// The text of the model's refusal, as the inside of a literal.
    refused: Option<String>,
}

impl GeminiEncoder {
    pub(in crate::protocol::gemini) fn new(context: Arc<Context>) -> Self {
        let state = GeminiWriter {
            id: context.answer_id(None),
            context,
            ended: false,
            kept: None,
            text: String::new(),
            base: 0,
            is_refusal: false,
            is_thought: false,
            pending: PendingState::default(),
            sources: Sources::default(),
            probabilities: TokenProbabilities::default(),
            usage: Usage::default(),
            finish: None,
            refused: None,
        };
        Self { queue: Queue::default(), state }
    }
}

impl Encode for GeminiEncoder {
    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        let Self { queue, state } = self;
        if state.ended {
            return;
        }
        match event {
            Event::Start { id, .. } => state.id = state.context.answer_id(id.as_deref()),
            Event::Usage(part) => state.usage.absorb(&part),
            Event::Finish(finish) => state.finish = Some(finish.into_owned()),
            Event::Tier(_) | Event::Fail(_) => {}
            Event::End => {
                let cut = matches!(state.finish, Some(Finish::Length | Finish::ContextWindow));
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
        out.extend_from_slice(KEEP_ALIVE);
    }

    fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.state.ended, true) {
            out.extend_from_slice(&error::in_stream(failure, &self.state.context.request_id));
        }
    }
}

impl GeminiWriter {
    fn step(&mut self, step: SegmentStep<'_>, out: &mut Vec<u8>) {
        match step {
            SegmentStep::Open { kind, .. } => self.open(kind),
            SegmentStep::Delta(text) => self.delta(&text, out),
            SegmentStep::Cite(cite) => self.sources.cite(cite, self.base),
            SegmentStep::Close { seals, complete } => {
                let text = std::mem::take(&mut self.text);
                self.pending.add(seals, &JsonStr::part(&text));
                if let Some(kind) = self.kept.take() {
                    self.whole(&kind, &text, complete, out);
                }
            }
            SegmentStep::Opaque(seals) => self.pending.add(seals, &JsonStr::default()),
            SegmentStep::Logprobs(list) => self.probabilities.take(list),
        }
    }

    fn open(&mut self, kind: &SegmentKind) {
        self.text.clear();
        self.base = self.sources.length();
        self.is_refusal = *kind == SegmentKind::Refusal;
        self.is_thought = *kind == SegmentKind::Reasoning;
        let is_text = matches!(kind, SegmentKind::Text | SegmentKind::Refusal | SegmentKind::Reasoning);
        self.kept = (!is_text).then(|| kind.clone());
    }

    fn delta(&mut self, text: &JsonStr<'_>, out: &mut Vec<u8>) {
        if self.kept.is_some() {
            return self.text.push_str(text.raw());
        }
        if self.is_thought {
            self.text.push_str(text.raw());
            if self.context.show_reasoning == Some(true) {
                self.send(|o| answer::text(text, true, None, o), |_| {}, out);
            }
            return;
        }
        if self.is_refusal {
            self.refused.get_or_insert_default().push_str(text.raw());
        }
        self.sources.say(text);
        let signature = self.pending.take(&self.context);
        self.send(|o| answer::text(text, false, signature.as_deref(), o), |_| {}, out);
    }

    /// Takes a segment that is known as a whole.
    fn whole(&mut self, kind: &SegmentKind, text: &str, complete: bool, out: &mut Vec<u8>) {
        let args = JsonStr::part(text);
        match kind {
            SegmentKind::Search(_) => self.sources.search(text),
            SegmentKind::Image => self.send(|o| answer::image(&args, o), |_| {}, out),
            // A client would run a call whose arguments were cut off.
            SegmentKind::Call { id, name, custom, .. } if complete => {
                let signature = self.pending.take(&self.context);
                let call = CallPart { id, name, custom: *custom, args };
                self.send(|o| call.write(signature.as_deref(), o), |_| {}, out);
            }
            _ => {}
        }
    }

    /// Writes the last event.
    fn end(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let signature = self.pending.take(&self.context);
        let refused = self.refused.as_deref().map(JsonStr::part);
        let (reason, words) = answer::finish(self.finish.as_ref(), refused.as_ref());
        self.send(
            |o| answer::text(&JsonStr::default(), false, signature.as_deref(), o),
            |o| {
                o.text("finishReason", reason);
                if let Some(words) = words {
                    o.json_str("finishMessage", words);
                }
                self.sources.write(o);
                self.probabilities.write(o);
            },
            out,
        );
    }

    fn send(&self, part: impl FnOnce(&mut Object<'_>), end: impl FnOnce(&mut Object<'_>), out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: {");
        answer::candidate(
            |list| {
                list.object(part);
            },
            end,
            out,
        );
        out.push(b',');
        write::members(out, |o| answer::tail(&self.id, &self.usage, &self.context, o));
        out.extend_from_slice(b"}\n\n");
    }
}
