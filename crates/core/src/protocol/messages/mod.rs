//! Anthropic Messages.

mod decode;
mod encode;
mod error;
mod fields;
mod relay;
mod usage;

use std::sync::Arc;

use bytes::Bytes;

use crate::canon::{
    Answer, Context, Decode, Encode, Field, Losses, Profile, Rejections, Request, ResponseMetadata, Target,
    ToolNames,
};
use crate::failure::{Failure, Result};
use crate::json::{Document, Edit};
use crate::sse::SseEvent;

use super::{EventSummary, Head, Protocol, ProtocolId, RequestMembers, StreamFacts, Written, carriers};

/// The event that keeps a stream alive.
const PING: &[u8] = b"event: ping\ndata: {\"type\":\"ping\"}\n\n";

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

    fn members(&self) -> &'static RequestMembers {
        &relay::request::MEMBERS
    }

    fn usage_edits(&self, _body: &[u8], _head: &Head<'_>) -> Vec<Edit> {
        Vec::new()
    }

    fn attribution_edit(&self, body: &[u8], head: &Head<'_>) -> Option<Edit> {
        relay::request::attribution_edit(body, head)
    }

    fn carrier_edits(&self, body: &[u8], rejections: &mut Rejections) -> Vec<Edit> {
        carriers::edits(body, &relay::request::CARRIERS, rejections)
    }

    fn names_sources(&self) -> bool {
        // The protocol's own citations need data that only its own provider has.
        false
    }

    fn keep_alive(&self, _stream: &StreamFacts<'_>) -> Bytes {
        Bytes::from_static(PING)
    }

    fn output_cap(&self, _profile: &Profile) -> &'static str {
        "max_tokens"
    }

    fn read_event(&self, event: &SseEvent<'_>) -> EventSummary {
        relay::stream::read(event)
    }

    fn is_preamble(&self, event: &SseEvent<'_>) -> bool {
        relay::stream::is_preamble(event)
    }

    fn read_reply(&self, body: &[u8]) -> Result<EventSummary> {
        relay::reply::read(body)
    }

    fn read_finish(&self, data: &[u8], metadata: &mut ResponseMetadata) {
        relay::finish::read(data, metadata);
    }

    fn envelope(&self, failure: &Failure, request_id: &str) -> Bytes {
        error::envelope(failure, request_id)
    }

    fn stream_failure(&self, failure: &Failure, stream: &StreamFacts<'_>) -> Bytes {
        error::in_stream(failure, stream)
    }

    fn fields(&self) -> &'static [Field] {
        fields::FIELDS
    }

    fn decode_request<'a>(
        &self,
        document: &Document<'a>,
        target: &Target<'_>,
        losses: &mut Losses,
    ) -> Result<Request<'a>> {
        decode::request::read(document, target, losses)
    }

    fn check_request(&self, request: &Request<'_>) -> Result<()> {
        decode::request::check(request)
    }

    fn max_tool_name_len(&self) -> usize {
        MAX_TOOL_NAME_LEN
    }

    fn encode_request(
        &self,
        request: &Request<'_>,
        target: &Target<'_>,
        names: &ToolNames,
        losses: &mut Losses,
        out: &mut Vec<u8>,
    ) -> Result<Written> {
        encode::request::write(request, target, names, losses, out)
    }

    fn decoder(&self, profile: &Profile) -> Box<dyn Decode> {
        Box::new(decode::stream::MessagesDecoder::new(profile))
    }

    fn encoder(&self, context: Arc<Context>) -> Box<dyn Encode> {
        Box::new(encode::stream::MessagesEncoder::new(context))
    }

    fn encode_reply(&self, answer: &Answer, context: &Context) -> Bytes {
        encode::reply::write(answer, context)
    }
}

/// Maximum number of characters of a tool's name that the protocol allows.
const MAX_TOOL_NAME_LEN: usize = 128;
