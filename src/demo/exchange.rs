//! One call: from the body of a request to the script of its answer.
//!
//! Comes in: a protocol and a body. Goes out: the reply in that protocol, at once or as a stream, with what
//! its directives make of it. Faults that stand in the bytes are made here; those of the connection are the
//! script's.

use super::directive::{Directives, InjectedFault};
use super::error::{self, ProviderError};
use super::event_buffer::EventBuffer;
use super::protocol::{DemoProtocol, JSON};
use super::reply::{self, DemoReply};
use super::request::{self, DemoRequest};
use super::responses::ResponsePhase;
use super::script::{Headers, Script};
use super::{chat, json, messages, responses};

/// One request on its way to an answer.
pub(super) struct DemoExchange<'a> {
    protocol: DemoProtocol,
    request: &'a DemoRequest<'a>,
    directives: Directives,
    /// The user's text without the directives.
    said: String,
}

impl DemoExchange<'_> {
    fn reply(&self) -> DemoReply<'_> {
        DemoReply::new(self.request, &self.directives, &self.said, self.protocol.model())
    }

    fn failure(&self) -> ProviderError<'_> {
        ProviderError::late(self.protocol, self.directives.code.as_deref())
    }

    fn headers(&self, kind: &str) -> Headers {
        self.protocol.headers(kind, &self.request.hash)
    }

    fn unary(&self, status: u16, body: Vec<u8>) -> Script {
        Script::unary(status, self.headers(JSON), body, &self.directives)
    }
}

/// Answers one call of a protocol; `then` depends on the path.
pub(super) fn exchange(protocol: DemoProtocol, body: &[u8], then: fn(&DemoExchange<'_>) -> Script) -> Script {
    let Some(request) = DemoRequest::read(body) else {
        return refuse(protocol, 400, &ProviderError::request(NOT_JSON, "invalid_request_error"), body);
    };
    let (directives, said) = Directives::read(&request.conversation.user);
    let exchange = DemoExchange { protocol, request: &request, directives, said };
    match exchange.directives.status {
        Some(status) => fault(&exchange, status),
        None => then(&exchange),
    }
}

/// Makes the model's answer.
pub(super) fn generate(exchange: &DemoExchange<'_>) -> Script {
    if exchange.request.wire.stream == Some(true) { stream(exchange) } else { unary(exchange) }
}

fn unary(exchange: &DemoExchange<'_>) -> Script {
    let (protocol, reply) = (exchange.protocol, exchange.reply());
    let body = match (exchange.directives.fault, protocol) {
        (Some(InjectedFault::ErrorFirst), _) => exchange.failure().body(protocol, &exchange.request.hash),
        (Some(InjectedFault::Failed(_)), DemoProtocol::Responses) => {
            responses::unary(&reply, ResponsePhase::Failed(&exchange.failure()))
        }
        _ => whole(protocol, &reply),
    };
    exchange.unary(200, body)
}

fn stream(exchange: &DemoExchange<'_>) -> Script {
    let mut buffer = EventBuffer::default();
    if exchange.directives.fault != Some(InjectedFault::ErrorFirst) {
        events(exchange.protocol, &mut buffer, &exchange.reply());
    }
    inject_fault(&mut buffer, exchange);
    Script::stream(exchange.headers(EVENTS), buffer, &exchange.directives)
}

/// Writes the whole answer as one body.
fn whole(protocol: DemoProtocol, reply: &DemoReply<'_>) -> Vec<u8> {
    match protocol {
        DemoProtocol::Chat => chat::unary(reply),
        DemoProtocol::Responses => responses::unary(reply, ResponsePhase::Complete),
        DemoProtocol::Messages => messages::unary(reply),
    }
}

/// Writes the whole answer as events.
fn events(protocol: DemoProtocol, buffer: &mut EventBuffer, reply: &DemoReply<'_>) {
    match protocol {
        DemoProtocol::Chat => chat::stream(buffer, reply),
        DemoProtocol::Responses => responses::stream(buffer, reply),
        DemoProtocol::Messages => messages::stream(buffer, reply),
    }
}

/// Writes the event that reports a failure.
fn error_event(protocol: DemoProtocol, buffer: &mut EventBuffer, failure: &ProviderError<'_>, hash: &str) {
    match protocol {
        DemoProtocol::Chat => {
            buffer.data(|o| failure.envelope(o, protocol, hash));
        }
        DemoProtocol::Responses => responses::error(buffer, failure),
        DemoProtocol::Messages => {
            buffer.event("error", |o| failure.anthropic(o, hash));
        }
    }
}

/// Puts faults into the bytes; faults of the connection are made by the script.
fn inject_fault(buffer: &mut EventBuffer, exchange: &DemoExchange<'_>) {
    let error = |buffer: &mut EventBuffer| {
        error_event(exchange.protocol, buffer, &exchange.failure(), &exchange.request.hash);
    };
    match (exchange.directives.fault, exchange.protocol) {
        (Some(InjectedFault::ErrorFirst), _) => error(buffer),
        (Some(InjectedFault::Error(place)), _) => {
            buffer.keep(place);
            error(buffer);
        }
        (Some(InjectedFault::Failed(place)), DemoProtocol::Responses) => {
            buffer.keep(place);
            responses::fail(buffer, &exchange.reply(), &exchange.failure());
        }
        (Some(InjectedFault::End(place)), _) => buffer.keep(place),
        _ => {}
    }
}

/// The error status a directive asks for.
fn fault(exchange: &DemoExchange<'_>, status: u16) -> Script {
    let (directives, hash) = (&exchange.directives, &exchange.request.hash);
    let failure = ProviderError::of(status, directives.code.as_deref());
    let (kind, body) = match directives.html {
        true => (HTML, error::html(status)),
        false => (JSON, failure.body(exchange.protocol, hash)),
    };
    let mut headers = exchange.headers(kind);
    headers.extend(error::retry_after(status).map(|seconds| ("retry-after", seconds.to_owned())));
    Script::unary(status, headers, body, directives)
}

/// Makes the answer with the size of the prompt.
pub(super) fn count(exchange: &DemoExchange<'_>) -> Script {
    let tokens = reply::prompt_tokens(exchange.request);
    let body = json::body(|o| {
        if exchange.protocol == DemoProtocol::Responses {
            o.text("object", "response.input_tokens");
        }
        o.number("input_tokens", tokens);
    });
    exchange.unary(200, body)
}

/// An error without any directive: the request itself is not understood.
pub(super) fn refuse(
    protocol: DemoProtocol,
    status: u16,
    failure: &ProviderError<'_>,
    body: &[u8],
) -> Script {
    let hash = request::hash(body);
    let answer = failure.body(protocol, &hash);
    Script::unary(status, protocol.headers(JSON, &hash), answer, &Directives::default())
}

const EVENTS: &str = "text/event-stream; charset=utf-8";
const HTML: &str = "text/html";
const NOT_JSON: &str = "We could not parse the JSON body of your request.";
