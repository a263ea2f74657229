//! The error forms of the Responses protocol.

use bytes::Bytes;
use serde::Serialize;

use crate::canon;
use crate::failure::{Failure, Kind};
use crate::json;
use crate::protocol::StreamFacts;
use crate::protocol::error::openai_envelope;

pub(super) fn envelope(failure: &Failure) -> Bytes {
    openai_envelope(failure)
}

/// Returns the `response.failed` event, the only one from which every client learns of a failure; some ignore
/// `error`.
pub(super) fn in_stream(failure: &Failure, stream: &StreamFacts<'_>) -> Bytes {
    let made_up = made_up_id(stream.request_id);
    let event = Failed {
        r#type: "response.failed",
        sequence_number: stream.events,
        response: ResponseWire::new("failed", Some(failure), stream, stream.id.unwrap_or(&made_up)),
    };
    [b"event: response.failed\ndata: ", json::write::bytes(&event).as_ref(), b"\n\n"].concat().into()
}

/// Returns the id of a response to which the provider has given none.
pub(super) fn made_up_id(request_id: &str) -> String {
    format!("resp_{}", canon::made_up_id(request_id))
}

/// Returns the `error` of an answer that failed.
pub(super) fn object(failure: &Failure) -> Bytes {
    let own = Some(failure.code()).filter(|code| failure.kind() == Kind::BadRequest && !code.is_empty());
    json::write::bytes(&ResponsesErrorWire {
        code: own.unwrap_or_else(|| code(failure)),
        message: failure.message(),
    })
}

/// Returns the code under which an answer fails.
pub(super) fn code(failure: &Failure) -> &str {
    match failure.kind() {
        Kind::RateLimited => "rate_limit_exceeded",
        Kind::ContextLength => "context_length_exceeded",
        Kind::BadRequest | Kind::ContentPolicy => "invalid_prompt",
        _ => "server_error",
    }
}

#[derive(Serialize)]
struct Failed<'a> {
    r#type: &'static str,
    sequence_number: u64,
    response: ResponseWire<'a>,
}

#[derive(Serialize)]
struct ResponsesErrorWire<'a> {
    code: &'a str,
    message: &'a str,
}

/// The members that the official clients require in a response.
#[derive(Serialize)]
pub(super) struct ResponseWire<'a> {
    id: &'a str,
    object: &'static str,
    created_at: u64,
    status: &'static str,
    background: bool,
    error: Option<ResponsesErrorWire<'a>>,
    incomplete_details: Option<()>,
    instructions: Option<()>,
    max_output_tokens: Option<u64>,
    model: &'a str,
    output: [(); 0],
    parallel_tool_calls: bool,
    previous_response_id: Option<()>,
    store: bool,
    temperature: Option<()>,
    tool_choice: &'static str,
    tools: [(); 0],
    top_p: Option<()>,
    truncation: &'static str,
    usage: Option<()>,
    metadata: Empty,
}

#[derive(Serialize)]
struct Empty {}

impl<'a> ResponseWire<'a> {
    /// Creates a response without output.
    pub(super) fn new(
        status: &'static str,
        failure: Option<&'a Failure>,
        stream: &StreamFacts<'a>,
        id: &'a str,
    ) -> Self {
        Self {
            id,
            object: "response",
            created_at: stream.now,
            status,
            background: false,
            error: failure
                .map(|failure| ResponsesErrorWire { code: code(failure), message: failure.message() }),
            incomplete_details: None,
            instructions: None,
            max_output_tokens: None,
            model: stream.model,
            output: [],
            parallel_tool_calls: true,
            previous_response_id: None,
            store: false,
            temperature: None,
            tool_choice: "auto",
            tools: [],
            top_p: None,
            truncation: "disabled",
            usage: None,
            metadata: Empty {},
        }
    }
}
