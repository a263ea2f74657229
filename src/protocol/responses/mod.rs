//! OpenAI Responses.

mod error;
mod reply;
mod request;
mod stream;
mod usage;

use bytes::Bytes;

use crate::failure::{Failure, Result};
use crate::json::Edit;
use crate::sse::Event;

use super::{Head, Members, Protocol, ProtocolId, Sight, StreamFacts};

/// OpenAI Responses.
#[derive(Clone, Copy, Debug)]
pub struct Responses;

impl Protocol for Responses {
    fn id(&self) -> ProtocolId {
        ProtocolId::Responses
    }

    fn path(&self) -> &'static str {
        "/responses"
    }

    fn count_path(&self) -> Option<&'static str> {
        Some("/responses/input_tokens")
    }

    fn members(&self) -> &'static Members {
        &request::MEMBERS
    }

    fn usage_edits(&self, _body: &[u8], _head: &Head<'_>) -> Vec<Edit> {
        Vec::new()
    }

    fn read_event(&self, event: &Event<'_>) -> Sight {
        stream::read(event)
    }

    fn read_reply(&self, body: &[u8]) -> Result<Sight> {
        reply::read(body)
    }

    fn envelope(&self, failure: &Failure, _request_id: &str) -> Bytes {
        error::envelope(failure)
    }

    fn stream_failure(&self, failure: &Failure, stream: &StreamFacts<'_>) -> Bytes {
        error::in_stream(failure, stream)
    }
}
