//! The error forms of the Gemini protocol.

use bytes::Bytes;

use crate::failure::{Failure, Kind};
use crate::json::write;

/// Returns the body of an error response.
pub(super) fn envelope(failure: &Failure, request_id: &str) -> Bytes {
    let mut out = Vec::new();
    write_envelope(failure, request_id, &mut out);
    out.into()
}

/// Returns the event that ends a stream. SDKs raise it only if `error` is the first member.
pub(super) fn in_stream(failure: &Failure, request_id: &str) -> Bytes {
    [b"data: ", envelope(failure, request_id).as_ref(), b"\n\n"].concat().into()
}

/// Appends the object with the error.
fn write_envelope(failure: &Failure, request_id: &str, out: &mut Vec<u8>) {
    let status = failure.status();
    write::object(out, |o| {
        o.object("error", |o| {
            o.number("code", status.into()).text("message", &message(failure)).text("status", code(status));
            o.array("details", |list| {
                list.object(|o| {
                    let reason = failure.code().to_ascii_uppercase();
                    let reason = if reason.is_empty() { code(status) } else { &reason };
                    o.text("@type", "type.googleapis.com/google.rpc.ErrorInfo").text("reason", reason);
                    o.text("domain", "crossmodel").object("metadata", |o| {
                        if let Some(param) = failure.param() {
                            o.text("param", param);
                        }
                        o.text("request_id", request_id);
                    });
                });
                if let Some(seconds) = failure.retry_after().filter(|_| matches!(status, 429 | 503)) {
                    list.object(|o| {
                        o.text("@type", "type.googleapis.com/google.rpc.RetryInfo");
                        o.text("retryDelay", &format!("{seconds}s"));
                    });
                }
            });
        });
    });
}

/// Returns the message. By the words in front, clients find out that they have to shorten the conversation.
fn message(failure: &Failure) -> String {
    let text = failure.message();
    match failure.kind() {
        Kind::ContextLength if !text.contains(TOO_LONG) => {
            format!("The input token count {TOO_LONG} allowed. {text}")
        }
        _ => text.to_owned(),
    }
}

/// Returns the name that Google gives to a status.
fn code(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        402 => "FAILED_PRECONDITION",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        405 => "UNIMPLEMENTED",
        408 => "DEADLINE_EXCEEDED",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        400..500 => "INVALID_ARGUMENT",
        _ => "INTERNAL",
    }
}

const TOO_LONG: &str = "exceeds the maximum number of tokens";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_googles_form_and_tell_when_to_try_again() {
        let failure = Failure::new(Kind::RateLimited, "m").with_retry_after(35);
        let told = String::from_utf8(in_stream(&failure, "r").to_vec()).unwrap();
        let info = r#"{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"RATE_LIMIT_EXCEEDED","domain":"crossmodel","metadata":{"request_id":"r"}}"#;
        let retry = r#"{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"35s"}"#;
        let error = r#"{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":["#;
        assert_eq!(told, format!("data: {{\"error\":{error}{info},{retry}]}}}}\n\n"));
    }

    #[test]
    fn a_conversation_that_is_too_long_is_told_of_in_the_words_that_clients_look_for() {
        let failure = Failure::new(Kind::ContextLength, "prompt is too long: 9");
        let told = String::from_utf8(envelope(&failure, "r").to_vec()).unwrap();
        assert!(
            told.contains("exceeds the maximum number of tokens allowed. prompt is too long: 9"),
            "{told}"
        );
        assert!(told.contains("INVALID_ARGUMENT"));
    }
}
