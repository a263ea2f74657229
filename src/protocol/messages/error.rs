//! The error forms of the Messages protocol.

use bytes::Bytes;
use serde::Serialize;

use crate::failure::{Failure, Kind};
use crate::json;
use crate::protocol::StreamFacts;

#[derive(Serialize)]
struct Envelope<'a> {
    r#type: &'static str,
    error: Error<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Error<'a> {
    r#type: &'a str,
    message: &'a str,
}

pub(super) fn envelope(failure: &Failure, request_id: &str) -> Bytes {
    let prefixed = format!("prompt is too long: {}", failure.message());
    // Clients find out by these words that they have to shorten the conversation.
    let message = match failure.kind() {
        Kind::ContextLength if !failure.message().starts_with("prompt is too long") => &prefixed,
        _ => failure.message(),
    };
    let error = Error { r#type: failure.kind().row().anthropic_type, message };
    json::write::bytes(&Envelope { r#type: "error", error, request_id })
}

/// The `error` event, which makes the SDKs raise; no `message_stop` follows.
pub(super) fn in_stream(failure: &Failure, stream: &StreamFacts<'_>) -> Bytes {
    [b"event: error\ndata: ", envelope(failure, stream.request_id).as_ref(), b"\n\n"].concat().into()
}
