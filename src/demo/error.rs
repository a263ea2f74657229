//! Errors of the demo: those that a marker asks for, and those of a malformed request.
//!
//! Comes in: a status, or the wish for an error inside a stream. Goes out: the wording, type and code that
//! the real providers give to it, in both kinds of envelope: that of OpenAI (chat, responses) and that of
//! Anthropic (messages).

use super::json::{self, ObjectWriter};
use super::protocol::DemoProtocol;

/// An error with the words of both kinds of provider.
#[derive(Debug)]
pub(super) struct ProviderError<'a> {
    message: &'a str,
    /// The type in the OpenAI envelope.
    kind: &'a str,
    /// The code in the OpenAI envelope.
    code: Option<&'a str>,
    /// The type in the Anthropic envelope.
    class: &'a str,
}

impl<'a> ProviderError<'a> {
    /// Makes the error that a provider returns with a status; `code` replaces its code or type.
    pub(super) fn of(status: u16, code: Option<&'a str>) -> Self {
        let (message, kind, known, class) = row(status);
        Self { message, kind, code: code.or(known), class: code.unwrap_or(class) }
    }

    /// Makes the error that a provider puts into a stream that has begun.
    pub(super) fn late(protocol: DemoProtocol, code: Option<&'a str>) -> Self {
        Self::of(if protocol == DemoProtocol::Messages { 529 } else { 500 }, code)
    }

    /// Makes an error of the request itself.
    pub(super) fn request(message: &'a str, class: &'a str) -> Self {
        Self { message, kind: "invalid_request_error", code: None, class }
    }

    /// Writes the error as a body, or as the data of an event.
    pub(super) fn envelope(&self, o: &mut ObjectWriter<'_>, protocol: DemoProtocol, hash: &str) {
        if protocol == DemoProtocol::Messages {
            o.text("type", "error");
            return self.anthropic(o, hash);
        }
        o.object("error", |o| {
            o.text("message", self.message)
                .text("type", self.kind)
                .raw("param", "null")
                .maybe("code", self.code);
        });
    }

    /// Writes the members of the Anthropic envelope that follow its type.
    pub(super) fn anthropic(&self, o: &mut ObjectWriter<'_>, hash: &str) {
        o.object("error", |o| o.text("type", self.class).text("message", self.message).done());
        o.text("request_id", &format!("req_demo_{hash}"));
    }

    /// Writes the members of a Responses stream's error event that follow its type.
    pub(super) fn event(&self, o: &mut ObjectWriter<'_>) {
        o.text("code", self.code.unwrap_or(self.kind)).text("message", self.message).raw("param", "null");
    }

    /// Writes the error inside of a failed response.
    pub(super) fn failed(&self, o: &mut ObjectWriter<'_>) {
        o.text("code", self.code.unwrap_or(self.kind)).text("message", self.message);
    }

    /// Returns the error as a body.
    pub(super) fn body(&self, protocol: DemoProtocol, hash: &str) -> Vec<u8> {
        json::body(|o| self.envelope(o, protocol, hash))
    }
}

/// Returns the message, the OpenAI type and code, and the Anthropic type of a status.
fn row(status: u16) -> (&'static str, &'static str, Option<&'static str>, &'static str) {
    const ASKED: &str = "invalid_request_error";
    const SERVER: &str = "server_error";
    match status {
        401 => (KEY, "authentication_error", Some("invalid_api_key"), "authentication_error"),
        402 => (QUOTA, "insufficient_quota", Some("insufficient_quota"), "billing_error"),
        403 => (ACCESS, "permission_error", Some("permission_denied"), "permission_error"),
        404 => (MODEL, ASKED, Some("model_not_found"), "not_found_error"),
        413 => (SIZE, ASKED, Some("request_too_large"), "request_too_large"),
        429 => (RATE, "rate_limit_error", Some("rate_limit_exceeded"), "rate_limit_error"),
        504 => ("The request timed out.", SERVER, None, "timeout_error"),
        503 => (BUSY, SERVER, Some("service_unavailable"), "overloaded_error"),
        529 => ("Overloaded", "overloaded_error", Some("overloaded"), "overloaded_error"),
        500.. => (FAULT, SERVER, None, "api_error"),
        _ => ("The request was not accepted.", ASKED, None, ASKED),
    }
}

/// Returns an HTML error page, like that of a proxy in front of a provider.
pub(super) fn html(status: u16) -> Vec<u8> {
    let title = format!("{status} {}", phrase(status));
    let head = format!("<html>\r\n<head><title>{title}</title></head>\r\n");
    format!("{head}<body>\r\n<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n").into_bytes()
}

fn phrase(status: u16) -> &'static str {
    match status {
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        _ => "Error",
    }
}

/// Returns the seconds that a client is told to wait after a status.
pub(super) fn retry_after(status: u16) -> Option<&'static str> {
    matches!(status, 429 | 503 | 529).then_some("7")
}

const KEY: &str = "Incorrect API key provided.";
const QUOTA: &str = "You exceeded your current quota, please check your plan and billing details.";
const ACCESS: &str = "You are not allowed to use this model.";
const MODEL: &str = "The model does not exist or you do not have access to it.";
const SIZE: &str = "The request exceeds the maximum size.";
const RATE: &str = "Rate limit reached. Please try again in 7s.";
const BUSY: &str = "The server is currently overloaded with other requests. Please try again later.";
const FAULT: &str = "The server had an error while processing your request. Sorry about that!";

#[cfg(test)]
mod tests {
    use super::*;

    fn body(status: u16, code: Option<&str>, protocol: DemoProtocol) -> String {
        String::from_utf8(ProviderError::of(status, code).body(protocol, "0")).unwrap()
    }

    #[test]
    fn has_two_envelopes() {
        let chat = body(429, None, DemoProtocol::Chat);
        assert!(chat.starts_with(r#"{"error":{"message":"#), "{chat}");
        assert!(
            chat.ends_with(r#""type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}"#),
            "{chat}"
        );
        let messages = body(529, None, DemoProtocol::Messages);
        assert_eq!(
            messages,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_demo_0"}"#
        );
    }

    #[test]
    fn a_code_replaces_code_or_type() {
        assert!(body(400, Some("too_long"), DemoProtocol::Responses).contains(r#""code":"too_long""#));
        assert!(body(400, Some("too_long"), DemoProtocol::Messages).contains(r#"{"type":"too_long""#));
    }
}
