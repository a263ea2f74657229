//! The error forms of the Messages protocol.

use bytes::Bytes;
use serde::Serialize;

use crate::failure::{Failure, Kind};
use crate::json;
use crate::protocol::StreamFacts;

#[derive(Serialize)]
struct MessagesEnvelopeWire<'a> {
    r#type: &'static str,
    error: MessagesErrorWire<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct MessagesErrorWire<'a> {
    r#type: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<ErrorDetailsWire>,
}

/// The member by which newer SDKs distinguish errors of one type.
#[derive(Serialize)]
struct ErrorDetailsWire {
    error_code: &'static str,
}

pub(super) fn envelope(failure: &Failure, request_id: &str) -> Bytes {
    let prefixed = format!("prompt is too long: {}", failure.message());
    // By these words, clients find out that they have to shorten the conversation.
    let message = match failure.kind() {
        Kind::ContextLength if !failure.message().starts_with("prompt is too long") => &prefixed,
        _ => failure.message(),
    };
    let error =
        MessagesErrorWire { r#type: failure.kind().row().anthropic_type, message, details: details(failure) };
    json::write::bytes(&MessagesEnvelopeWire { r#type: "error", error, request_id })
}

/// Returns the details of an error. Tool runners ask for a conversation that the provider keeps, and go on without
/// one if they are told in these words.
fn details(failure: &Failure) -> Option<ErrorDetailsWire> {
    let refused = failure.kind() == Kind::Unsupported && failure.param() == Some("thread");
    refused.then_some(ErrorDetailsWire { error_code: "thread_unsupported_request" })
}

/// Returns the `error` event, which makes the SDKs raise; no `message_stop` follows.
pub(super) fn in_stream(failure: &Failure, stream: &StreamFacts<'_>) -> Bytes {
    [b"event: error\ndata: ", envelope(failure, stream.request_id).as_ref(), b"\n\n"].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_thread_says_so_in_the_words_that_sdks_act_on() {
        let told = |param: &'static str| {
            let failure = Failure::new(Kind::Unsupported, "m").with_param(param);
            String::from_utf8(envelope(&failure, "r").to_vec()).unwrap()
        };
        let error = r#"{"type":"invalid_request_error","message":"m""#;
        let details = r#","details":{"error_code":"thread_unsupported_request"}"#;
        let rest = r#"},"request_id":"r"}"#;
        assert_eq!(told("thread"), format!(r#"{{"type":"error","error":{error}{details}{rest}"#));
        assert_eq!(told("container"), format!(r#"{{"type":"error","error":{error}{rest}"#));
    }
}
