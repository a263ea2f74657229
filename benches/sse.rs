//! What one chunk of a stream costs on its way through the relay.
//!
//! `one_event` pushes a chunk that is one event: its time is the time per event. `many_events` pushes 64 KiB
//! of whole events, `cut_events` 64 KiB that begin and end inside of one: time per event is one over the
//! items per second. Each is measured with the model renamed and with a model that is called alike on both
//! sides; only Chat names it in every event. The yardsticks are a plain copy of the chunk (`copy`) and a
//! parser that checks the JSON of its events and keeps nothing of it (`serde_ignored`).
#![expect(clippy::unwrap_used, reason = "a benchmark that can not start shall say so and stop")]

use std::fmt;

use bytes::{Bytes, BytesMut};
use crossmodel::demo::{self, ScriptStep};
use crossmodel::provider::Profile;
use crossmodel_core::protocol::{ProtocolId, REGISTRY};
use crossmodel_core::sse::SseEvent;
use crossmodel_core::translate::relay;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use serde::de::IgnoredAny;

fn main() {
    divan::main();
}

#[divan::bench(args = relays())]
fn one_event(bencher: Bencher<'_, '_>, relay: &Relay) {
    relay.measure(bencher, &Chunk::one_event(relay.protocol));
}

#[divan::bench(args = relays())]
fn many_events(bencher: Bencher<'_, '_>, relay: &Relay) {
    relay.measure(bencher, &Chunk::many_events(relay.protocol));
}

#[divan::bench(args = relays())]
fn cut_events(bencher: Bencher<'_, '_>, relay: &Relay) {
    relay.measure(bencher, &Chunk::many_events(relay.protocol).cut());
}

mod copy {
    use super::{Bencher, Bytes, Chunk, ProtocolId, black_box, protocols};

    #[divan::bench(args = protocols())]
    fn one_event(bencher: Bencher<'_, '_>, protocol: ProtocolId) {
        measure(bencher, &Chunk::one_event(protocol));
    }

    #[divan::bench(args = protocols())]
    fn many_events(bencher: Bencher<'_, '_>, protocol: ProtocolId) {
        measure(bencher, &Chunk::many_events(protocol));
    }

    fn measure(bencher: Bencher<'_, '_>, chunk: &Chunk) {
        let counted = bencher.counter(chunk.items()).counter(chunk.length());
        counted.bench(|| Bytes::copy_from_slice(black_box(&chunk.bytes)));
    }
}

mod serde_ignored {
    use super::{Bencher, Chunk, IgnoredAny, ProtocolId, SseEvent, black_box, protocols};

    #[divan::bench(args = protocols())]
    fn one_event(bencher: Bencher<'_, '_>, protocol: ProtocolId) {
        measure(bencher, &Chunk::one_event(protocol));
    }

    #[divan::bench(args = protocols())]
    fn many_events(bencher: Bencher<'_, '_>, protocol: ProtocolId) {
        measure(bencher, &Chunk::many_events(protocol));
    }

    fn measure(bencher: Bencher<'_, '_>, chunk: &Chunk) {
        let data: Vec<_> =
            chunk.events.iter().map(|event| SseEvent::parse(event).data.unwrap().bytes).collect();
        let counted = bencher.counter(chunk.items()).counter(chunk.length());
        counted.bench(|| {
            for json in &data {
                black_box(serde_json::from_slice::<IgnoredAny>(black_box(json)).unwrap());
            }
        });
    }
}

/// One way through the relay.
struct Relay {
    protocol: ProtocolId,
    renamed: bool,
}

/// What arrives at once, and the events in it.
struct Chunk {
    bytes: Bytes,
    events: Vec<Bytes>,
}

/// The protocols that the built-in provider speaks.
fn protocols() -> impl Iterator<Item = ProtocolId> {
    REGISTRY.iter().map(|protocol| protocol.id()).filter(|protocol| *protocol != ProtocolId::Gemini)
}

fn relays() -> impl Iterator<Item = Relay> {
    protocols().flat_map(|protocol| [true, false].map(|renamed| Relay { protocol, renamed }))
}

impl Relay {
    fn measure(&self, bencher: Bencher<'_, '_>, chunk: &Chunk) {
        // As the built-in provider calls itself, or not.
        let model =
            if self.renamed { "bench/alias".to_owned() } else { format!("{}-2026-01-01", self.protocol) };
        let reply = relay::Reply::new(self.protocol.protocol(), &model);
        let mut stream = relay::Stream::new(reply, &Profile::default(), false, 8 << 20);
        // The first call finds out what the CPU can do.
        stream.push(chunk.bytes.clone()).unwrap();
        let counted = bencher.counter(chunk.items()).counter(chunk.length());
        // One stream that never ends: what is measured is its middle.
        counted.bench_local(|| stream.push(black_box(chunk.bytes.clone())).unwrap());
    }
}

impl Chunk {
    fn one_event(protocol: ProtocolId) -> Self {
        let event = deltas(protocol).swap_remove(0);
        Self { bytes: event.clone(), events: vec![event] }
    }

    fn many_events(protocol: ProtocolId) -> Self {
        let mut bytes = BytesMut::new();
        let mut fits = |event: &Bytes| {
            let fits = bytes.len() + event.len() <= CHUNK;
            if fits {
                bytes.extend_from_slice(event);
            }
            fits
        };
        let events = deltas(protocol).into_iter().take_while(&mut fits).collect();
        Self { bytes: bytes.freeze(), events }
    }

    /// The same bytes, but from inside of an event to inside of an event: sent again and again they make
    /// a stream of whole events all the same.
    fn cut(mut self) -> Self {
        let (end, start) = self.bytes.split_at(self.events.first().map_or(0, |event| event.len() / 2));
        self.bytes = [start, end].concat().into();
        self
    }

    fn items(&self) -> ItemsCount {
        ItemsCount::new(self.events.len())
    }

    fn length(&self) -> BytesCount {
        BytesCount::of_slice(&self.bytes)
    }
}

/// Events from the middle of a stream, each of them one word of the text.
fn deltas(protocol: ProtocolId) -> Vec<Bytes> {
    let said = r#"[{"role":"user","content":"[demo:words=1000]"}]"#;
    let body = format!(r#"{{"model":"{protocol}","stream":true,"messages":{said},"input":{said}}}"#);
    let path = format!("/v1{}", protocol.protocol().path());
    let steps = demo::answer("POST", &path, body.as_bytes()).steps;
    let sent = steps.into_iter().filter_map(|step| match step {
        ScriptStep::Send(event) => Some(event),
        ScriptStep::Wait(_) | ScriptStep::Stall | ScriptStep::Cut => None,
    });
    let is_word = |event: &Bytes| {
        let text = String::from_utf8_lossy(event);
        text.contains("delta") && text.contains(r#""word"#)
    };
    sent.filter(is_word).collect()
}

/// What the gateway reads at once at most.
const CHUNK: usize = 64 << 10;

impl fmt::Display for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.protocol, if self.renamed { "renamed" } else { "called alike" })
    }
}
