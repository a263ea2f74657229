//! The events that keep a client's stream alive.
//!
//! A comment would not do: some clients only count events. Libraries refuse any event before `response.created`, so a
//! stream without events is opened first.

use bytes::Bytes;
use serde::Serialize;

use crate::json;
use crate::protocol::StreamFacts;

use super::error::{ResponseWire, made_up_id};

/// Number of events that open a stream: `response.created` and `response.in_progress`.
pub(super) const OPENING_EVENTS: u64 = 2;

/// Returns the events that keep a stream alive.
pub(super) fn write(stream: &StreamFacts<'_>) -> Bytes {
    let mut out = Vec::new();
    match stream.events {
        0 => open(stream, &mut out),
        events => append(events, &mut out),
    }
    out.into()
}

/// Appends the event that keeps a stream with so many events alive. It takes no number of its own.
pub(super) fn append(events: u64, out: &mut Vec<u8>) {
    let event = KeepAlive { r#type: "keepalive", sequence_number: events.saturating_sub(1) };
    emit(event.r#type, &event, out);
}

fn open(stream: &StreamFacts<'_>, out: &mut Vec<u8>) {
    let id = made_up_id(stream.request_id);
    for (sequence_number, name) in (0..).zip(["response.created", "response.in_progress"]) {
        let response = ResponseWire::new("in_progress", None, stream, &id);
        emit(name, &Opening { r#type: name, sequence_number, response }, out);
    }
}

fn emit(name: &str, event: &impl Serialize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    out.extend_from_slice(&json::write::bytes(event));
    out.extend_from_slice(b"\n\n");
}

#[derive(Serialize)]
struct KeepAlive {
    r#type: &'static str,
    sequence_number: u64,
}

#[derive(Serialize)]
struct Opening<'a> {
    r#type: &'static str,
    sequence_number: u64,
    response: ResponseWire<'a>,
}
