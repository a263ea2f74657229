//! The stream for a client.

use std::sync::Arc;
use std::time::Instant;

use crate::canon::{Carrier, Context, Encode, Event, Finish, Overflow, Queue, Usage};
use crate::failure::Failure;

use super::answer::{self, ResponseFrame, ResponseState};
use super::event_writer::EventWriter;
use super::output_items::OutputWriter;
use crate::protocol::responses::{error, keep_alive};

/// An encoder of the stream for a client.
#[derive(Debug)]
pub(in crate::protocol::responses) struct ResponsesEncoder {
    context: Arc<Context>,
    queue: Queue,
    items: OutputWriter,
    sequence: u64,
    started: bool,
    over: bool,
    created: u64,
    tier: Option<String>,
    usage: Option<Usage>,
    finish: Option<Finish<'static>>,
    clock: Instant,
}

impl ResponsesEncoder {
    pub(in crate::protocol::responses) fn new(context: Arc<Context>) -> Self {
        Self {
            created: context.now,
            context,
            queue: Queue::default(),
            items: OutputWriter::default(),
            sequence: 0,
            started: false,
            over: false,
            tier: None,
            usage: None,
            finish: None,
            clock: Instant::now(),
        }
    }

    fn start(&mut self, id: Option<&str>, created: Option<u64>, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        self.created = created.unwrap_or(self.context.now);
        self.items = OutputWriter::new(self.context.answer_id(id));
        let state = ResponseState { status: "in_progress", ..ResponseState::default() };
        self.lifecycle("response.created", &state, out);
        self.lifecycle("response.in_progress", &state, out);
    }

    fn piece(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        let Self { queue, items, context, sequence, .. } = self;
        let mut events = EventWriter::new(out, sequence);
        if queue.take(event, &mut |step| items.step(step, context, &mut events)).is_err() {
            self.fail(&Failure::provider(Overflow::DETAIL), out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let cut = self.finish.as_ref().is_some_and(Finish::is_cut);
        let Self { queue, items, context, sequence, finish, .. } = self;
        let mut events = EventWriter::new(out, sequence);
        queue.finish(cut, &mut |step| items.step(step, context, &mut events));
        items.finish(finish.as_ref(), cut, &mut events);
        let now = self.context.now.saturating_add(self.clock.elapsed().as_secs());
        let items = std::mem::take(&mut self.items);
        let state = ResponseState::ended(self.finish.as_ref(), items.output(), self.usage.clone(), now);
        let name = match state.incomplete {
            Some(_) => "response.incomplete",
            None => "response.completed",
        };
        let frame = ResponseFrame {
            context: &self.context,
            echo: self.context.echo_in_stream(),
            id: items.id(),
            created: self.created,
            tier: self.tier.as_deref(),
        };
        emit(name, &frame, &state, &mut self.sequence, out);
        self.over = true;
    }

    fn lifecycle(&mut self, name: &'static str, state: &ResponseState<'_>, out: &mut Vec<u8>) {
        let tier = self.tier.as_deref();
        let echo = self.context.echo_in_stream();
        let frame =
            ResponseFrame { context: &self.context, echo, id: self.items.id(), created: self.created, tier };
        emit(name, &frame, state, &mut self.sequence, out);
    }
}

/// Writes an event that holds the response object.
fn emit(
    name: &'static str,
    frame: &ResponseFrame<'_>,
    state: &ResponseState<'_>,
    sequence: &mut u64,
    out: &mut Vec<u8>,
) {
    EventWriter::new(out, sequence).event(name, |o| {
        o.object("response", |o| answer::write(frame, state, o));
    });
}

impl Encode for ResponsesEncoder {
    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        match event {
            Event::Start { id, created } => self.start(id.as_deref(), created, out),
            Event::Tier(tier) => self.tier = Some(tier.into_owned()),
            Event::Usage(part) => self.usage.get_or_insert_default().absorb(&part),
            Event::Finish(finish) => self.finish = Some(finish.into_owned()),
            Event::Fail(_) => {}
            Event::Compacting => {
                self.start(None, None, out);
                self.items.begin_summary(&mut EventWriter::new(out, &mut self.sequence));
            }
            Event::Summary(text) => {
                let sealed = self.context.seal(&Carrier::of_summary(&text));
                self.items.end_summary(&sealed, &mut EventWriter::new(out, &mut self.sequence));
            }
            Event::End => {
                self.start(None, None, out);
                self.end(out);
            }
            piece => {
                self.start(None, None, out);
                self.piece(piece, out);
            }
        }
    }

    /// Some clients only count events, and their libraries want the stream to be opened before any other event.
    fn keep_alive(&mut self, out: &mut Vec<u8>) {
        match self.started {
            true => keep_alive::append(self.sequence, out),
            false => self.start(None, None, out),
        }
    }

    fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.start(None, None, out);
        self.items.fail();
        let items = std::mem::take(&mut self.items);
        let state = ResponseState {
            status: "failed",
            error: Some((error::code(failure), failure.message())),
            output: items.output(),
            usage: self.usage.clone(),
            ..ResponseState::default()
        };
        let frame = ResponseFrame {
            context: &self.context,
            echo: self.context.echo_in_stream(),
            id: items.id(),
            created: self.created,
            tier: self.tier.as_deref(),
        };
        emit("response.failed", &frame, &state, &mut self.sequence, out);
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
