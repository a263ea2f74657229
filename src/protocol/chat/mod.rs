//! OpenAI Chat Completions.

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

/// OpenAI Chat Completions.
#[derive(Clone, Copy, Debug)]
pub struct Chat;

impl Protocol for Chat {
    fn id(&self) -> ProtocolId {
        ProtocolId::Chat
    }

    fn path(&self) -> &'static str {
        "/chat/completions"
    }

    fn count_path(&self) -> Option<&'static str> {
        None
    }

    fn members(&self) -> &'static Members {
        &request::MEMBERS
    }

    fn usage_edits(&self, body: &[u8], head: &Head<'_>) -> Vec<Edit> {
        request::usage_edits(body, head)
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

    fn stream_failure(&self, failure: &Failure, _stream: &StreamFacts<'_>) -> Bytes {
        error::in_stream(failure)
    }
}
