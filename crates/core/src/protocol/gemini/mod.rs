//! Google's Gemini API: `generateContent` and `streamGenerateContent`.
//!
//! The path of a request names its model and its form. Clients' bodies get both as their last members, `model` and
//! `stream`, before anything reads them, so that the rest of the gateway finds them where other protocols have them;
//! a relay takes them out again.

mod decode;
mod encode;
mod error;
mod fields;
mod relay;
mod signature;
mod usage;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::canon::{
    Answer, Context, Decode, Encode, Field, Form, Losses, Profile, Rejections, Request, ResponseMetadata,
    Target, ToolNames,
};
use crate::failure::{Failure, Result};
use crate::json::{Document, Edit};
use crate::sse::SseEvent;

use super::{EventSummary, Head, Protocol, ProtocolId, RequestMembers, StreamFacts, Written};

/// Google's Gemini API.
#[derive(Clone, Copy, Debug)]
pub struct Gemini;

impl Protocol for Gemini {
    fn id(&self) -> ProtocolId {
        ProtocolId::Gemini
    }

    fn path(&self) -> &'static str {
        "/models/{model}:generateContent"
    }

    fn call_path(&self, model: &str, form: Form) -> Cow<'static, str> {
        let method = if form.is_stream() { "streamGenerateContent?alt=sse" } else { "generateContent" };
        method_path(model, method)
    }

    fn count_path(&self) -> Option<&'static str> {
        Some("/models/{model}:countTokens")
    }

    fn count_call_path(&self, model: &str) -> Option<Cow<'static, str>> {
        Some(method_path(model, "countTokens"))
    }

    fn members(&self) -> &'static RequestMembers {
        &relay::request::MEMBERS
    }

    fn usage_edits(&self, _body: &[u8], _head: &Head<'_>) -> Vec<Edit> {
        Vec::new()
    }

    fn addressed(&self, body: &[u8], model: &str, form: Form) -> Option<Edit> {
        relay::request::addressed(body, model, form)
    }

    fn address_edits(&self, body: &[u8], model: &str) -> Option<Vec<Edit>> {
        Some(relay::request::address_edits(body, model))
    }

    fn carrier_edits(&self, body: &[u8], rejections: &mut Rejections) -> Vec<Edit> {
        relay::carriers::edits(body, rejections)
    }

    fn is_preamble(&self, _event: &SseEvent<'_>) -> bool {
        // No event of this protocol only announces an answer.
        false
    }

    fn keep_alive(&self, _stream: &StreamFacts<'_>) -> Bytes {
        Bytes::from_static(KEEP_ALIVE)
    }

    fn output_cap(&self, _profile: &Profile) -> &'static str {
        relay::request::OUTPUT_CAP
    }

    fn read_event(&self, event: &SseEvent<'_>) -> EventSummary {
        relay::stream::read(event)
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
        error::in_stream(failure, stream.request_id)
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

    fn names_tools_by_identifiers(&self) -> bool {
        true
    }

    fn decoder(&self, _profile: &Profile) -> Box<dyn Decode> {
        Box::new(decode::stream::GeminiDecoder::default())
    }

    fn encoder(&self, context: Arc<Context>) -> Box<dyn Encode> {
        Box::new(encode::stream::GeminiEncoder::new(context))
    }

    fn encode_reply(&self, answer: &Answer, context: &Context) -> Bytes {
        encode::reply::write(answer, context)
    }
}

/// Returns the path of a method of a model. The name cannot leave its segment.
fn method_path(model: &str, method: &str) -> Cow<'static, str> {
    let (folder, name) = match model.split_once('/') {
        Some((folder @ ("tunedModels" | "endpoints"), name)) => (folder, name),
        Some(("models", name)) => ("models", name),
        _ => ("models", model),
    };
    format!("/{folder}/{}:{method}", utf8_percent_encode(name, ESCAPED)).into()
}

/// The bytes of a model's name that are escaped in a path: all but the unreserved ones of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The bytes that keep a stream alive: SDKs of this protocol take comments and event names for errors.
const KEEP_ALIVE: &[u8] = b"\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_model_stays_in_its_segment() {
        let path = |model| Gemini.call_path(model, Form::Whole).into_owned();
        assert_eq!(path("gemini-3-flash"), "/models/gemini-3-flash:generateContent");
        assert_eq!(path("../x?y#z"), "/models/..%2Fx%3Fy%23z:generateContent");
        assert_eq!(path("tunedModels/a"), "/tunedModels/a:generateContent");
        assert_eq!(Gemini.call_path("m", Form::Stream), "/models/m:streamGenerateContent?alt=sse");
        assert_eq!(Gemini.count_call_path("m").unwrap(), "/models/m:countTokens");
    }
}
