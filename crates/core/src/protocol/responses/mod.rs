//! OpenAI Responses.

mod decode;
mod echo;
mod encode;
mod error;
mod fields;
mod keep_alive;
mod kept_messages;
mod relay;
mod usage;

use std::sync::Arc;

use bytes::Bytes;

use crate::canon::{
    Answer, Context, Decode, Encode, Field, Losses, Profile, Rejections, Request, ResponseMetadata, Sealer,
    Target, ToolNames,
};
use crate::failure::{Failure, Result};
use crate::json::{Document, Edit};
use crate::sse::SseEvent;

use super::{EventSummary, Head, Protocol, ProtocolId, RequestMembers, StreamFacts, Written, carriers};

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

    fn compact_path(&self) -> Option<&'static str> {
        Some("/responses/compact")
    }

    fn members(&self) -> &'static RequestMembers {
        &relay::request::MEMBERS
    }

    fn usage_edits(&self, _body: &[u8], _head: &Head<'_>) -> Vec<Edit> {
        Vec::new()
    }

    fn carrier_edits(&self, body: &[u8], rejections: &mut Rejections) -> Vec<Edit> {
        carriers::edits(body, &relay::request::CARRIERS, rejections)
    }

    fn summary_edits(&self, body: &[u8], sealer: &Sealer) -> Vec<Edit> {
        relay::summaries::edits(body, sealer)
    }

    fn output_cap(&self, _profile: &Profile) -> &'static str {
        "max_output_tokens"
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

    fn read_containers(&self, data: &[u8], found: &mut dyn FnMut(&str)) {
        relay::containers::read(data, found);
    }

    fn envelope(&self, failure: &Failure, _request_id: &str) -> Bytes {
        error::envelope(failure)
    }

    fn error_object(&self, failure: &Failure) -> Option<Bytes> {
        Some(error::object(failure))
    }

    fn stream_failure(&self, failure: &Failure, stream: &StreamFacts<'_>) -> Bytes {
        error::in_stream(failure, stream)
    }

    fn keep_alive(&self, stream: &StreamFacts<'_>) -> Bytes {
        keep_alive::write(stream)
    }

    fn opening(&self, request_id: &str) -> Option<(String, u64)> {
        Some((error::made_up_id(request_id), keep_alive::OPENING_EVENTS))
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

    fn echo(&self, document: &Document<'_>) -> Bytes {
        echo::write(document)
    }

    fn kept_messages(&self, document: &Document<'_>, request_id: &str) -> Bytes {
        kept_messages::write(document, request_id)
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

    fn takes_custom_tools(&self, profile: &Profile) -> bool {
        profile.custom_tools
    }

    fn decoder(&self, profile: &Profile) -> Box<dyn Decode> {
        Box::new(decode::stream::ResponsesDecoder::new(profile))
    }

    fn encoder(&self, context: Arc<Context>) -> Box<dyn Encode> {
        Box::new(encode::stream::ResponsesEncoder::new(context))
    }

    fn encode_reply(&self, answer: &Answer, context: &Context) -> Bytes {
        encode::reply::write(answer, context)
    }
}
