//! Anthropic Messages.

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

/// Anthropic Messages.
#[derive(Clone, Copy, Debug)]
pub struct Messages;

impl Protocol for Messages {
    fn id(&self) -> ProtocolId {
        ProtocolId::Messages
    }

    fn path(&self) -> &'static str {
        "/messages"
    }

    fn count_path(&self) -> Option<&'static str> {
        Some("/messages/count_tokens")
    }

    fn members(&self) -> &'static Members {
        &request::MEMBERS
    }

    fn usage_edits(&self, _body: &[u8], _head: &Head<'_>) -> Vec<Edit> {
        Vec::new()
    }

    fn attribution_edit(&self, body: &[u8], head: &Head<'_>) -> Option<Edit> {
        request::attribution_edit(body, head)
    }

    fn read_event(&self, event: &Event<'_>) -> Sight {
        stream::read(event)
    }

    fn read_reply(&self, body: &[u8]) -> Result<Sight> {
        reply::read(body)
    }

    fn envelope(&self, failure: &Failure, request_id: &str) -> Bytes {
        error::envelope(failure, request_id)
    }

    fn stream_failure(&self, failure: &Failure, stream: &StreamFacts<'_>) -> Bytes {
        error::in_stream(failure, stream)
    }
}
