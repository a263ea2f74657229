//! OpenAI Chat Completions.

mod decode;
mod encode;
mod error;
mod fields;
mod relay;
mod usage;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::canon::{
    Answer, Context, Decode, Encode, Field, Losses, Profile, Request, ResponseMetadata, Target, ToolNames,
};
use crate::failure::{Failure, Result};
use crate::json::{Document, Edit};
use crate::sse::SseEvent;

use super::{EventSummary, Head, Protocol, ProtocolId, RequestMembers, StreamFacts, Written};

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

    fn members(&self) -> &'static RequestMembers {
        &relay::request::MEMBERS
    }

    fn usage_edits(&self, body: &[u8], head: &Head<'_>) -> Vec<Edit> {
        relay::request::usage_edits(body, head)
    }

    fn output_cap(&self, profile: &Profile) -> &'static str {
        encode::request::limit_member(profile)
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

    fn finish_edits(&self, data: &[u8], called: &mut BTreeSet<u64>) -> Vec<Edit> {
        relay::finish::edits(data, called)
    }

    fn read_finish(&self, data: &[u8], metadata: &mut ResponseMetadata) {
        relay::finish::read(data, metadata);
    }

    fn envelope(&self, failure: &Failure, _request_id: &str) -> Bytes {
        error::envelope(failure)
    }

    fn stream_failure(&self, failure: &Failure, _stream: &StreamFacts<'_>) -> Bytes {
        error::in_stream(failure)
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
        Box::new(decode::stream::ChatDecoder::new(profile))
    }

    fn encoder(&self, context: Arc<Context>) -> Box<dyn Encode> {
        Box::new(encode::stream::ChatEncoder::new(context))
    }

    fn encode_reply(&self, answer: &Answer, context: &Context) -> Bytes {
        encode::reply::write(answer, context)
    }
}
