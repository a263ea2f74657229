//! One call: from the body of a request to the script of its answer.
//!
//! Comes in: a protocol and a body. Goes out: the reply in that protocol, at once or as a stream, with what
//! its directives make of it. Faults that stand in the bytes are made here; those of the connection are the
//! script's.

use super::directive::{Directives, Fault};
use super::error::{self, Failure};
use super::event_buffer::EventBuffer;
use super::protocol::{JSON, Protocol};
use super::reply::{self, Reply};
use super::request::{self, Request};
use super::responses::State;
use super::script::{Headers, Script};
use super::{chat, json, messages, responses};

/// One request on its way to an answer.
pub(super) struct Exchange<'a> {
    protocol: Protocol,
    request: &'a Request<'a>,
    directives: Directives,
    /// The user's text without the directives.
    said: String,
}

impl Exchange<'_> {
    fn reply(&self) -> Reply<'_> {
        Reply::new(self.request, &self.directives, &self.said, self.protocol.model())
    }

    fn failure(&self) -> Failure<'_> {
        Failure::late(self.protocol, self.directives.code.as_deref())
    }

    fn headers(&self, kind: &str) -> Headers {
        self.protocol.headers(kind, &self.request.hash)
    }

    fn unary(&self, status: u16, body: Vec<u8>) -> Script {
        Script::unary(status, self.headers(JSON), body, &self.directives)
    }
}

/// Answers one call of a protocol; `then` is what the path asks for.
pub(super) fn exchange(protocol: Protocol, body: &[u8], then: fn(&Exchange<'_>) -> Script) -> Script {
    let Some(request) = Request::read(body) else {
        return refuse(protocol, 400, &Failure::request(NOT_JSON, "invalid_request_error"), body);
    };
    let (directives, said) = Directives::read(&request.conversation.user);
    let exchange = Exchange { protocol, request: &request, directives, said };
    match exchange.directives.status {
        Some(status) => fault(&exchange, status),
        None => then(&exchange),
    }
}

/// The model's answer.
pub(super) fn generate(exchange: &Exchange<'_>) -> Script {
    if exchange.request.wire.stream == Some(true) { stream(exchange) } else { unary(exchange) }
}

fn unary(exchange: &Exchange<'_>) -> Script {
    let (protocol, reply) = (exchange.protocol, exchange.reply());
    let body = match (exchange.directives.fault, protocol) {
        (Some(Fault::ErrorFirst), _) => exchange.failure().body(protocol, &exchange.request.hash),
        (Some(Fault::Failed(_)), Protocol::Responses) => {
            responses::unary(&reply, State::Failed(&exchange.failure()))
        }
        _ => whole(protocol, &reply),
    };
    exchange.unary(200, body)
}

fn stream(exchange: &Exchange<'_>) -> Script {
    let mut buffer = EventBuffer::default();
    if exchange.directives.fault != Some(Fault::ErrorFirst) {
        events(exchange.protocol, &mut buffer, &exchange.reply());
    }
    go_wrong(&mut buffer, exchange);
    Script::stream(exchange.headers(EVENTS), buffer, &exchange.directives)
}

/// Writes the whole answer as one body.
fn whole(protocol: Protocol, reply: &Reply<'_>) -> Vec<u8> {
    match protocol {
        Protocol::Chat => chat::unary(reply),
        Protocol::Responses => responses::unary(reply, State::Complete),
        Protocol::Messages => messages::unary(reply),
    }
}

/// Writes the whole answer as events.
fn events(protocol: Protocol, buffer: &mut EventBuffer, reply: &Reply<'_>) {
    match protocol {
        Protocol::Chat => chat::stream(buffer, reply),
        Protocol::Responses => responses::stream(buffer, reply),
        Protocol::Messages => messages::stream(buffer, reply),
    }
}

/// Writes the event that reports a failure.
fn error_event(protocol: Protocol, buffer: &mut EventBuffer, failure: &Failure<'_>, hash: &str) {
    match protocol {
        Protocol::Chat => {
            buffer.data(|o| failure.envelope(o, protocol, hash));
        }
        Protocol::Responses => responses::error(buffer, failure),
        Protocol::Messages => {
            buffer.event("error", |o| failure.anthropic(o, hash));
        }
    }
}

/// The faults that stand in the bytes; those of the connection are the script's.
fn go_wrong(buffer: &mut EventBuffer, exchange: &Exchange<'_>) {
    let error = |buffer: &mut EventBuffer| {
        error_event(exchange.protocol, buffer, &exchange.failure(), &exchange.request.hash);
    };
    match (exchange.directives.fault, exchange.protocol) {
        (Some(Fault::ErrorFirst), _) => error(buffer),
        (Some(Fault::Error(place)), _) => {
            buffer.keep(place);
            error(buffer);
        }
        (Some(Fault::Failed(place)), Protocol::Responses) => {
            buffer.keep(place);
            responses::fail(buffer, &exchange.reply(), &exchange.failure());
        }
        (Some(Fault::End(place)), _) => buffer.keep(place),
        _ => {}
    }
}

/// The error status a directive asks for.
fn fault(exchange: &Exchange<'_>, status: u16) -> Script {
    let (directives, hash) = (&exchange.directives, &exchange.request.hash);
    let failure = Failure::of(status, directives.code.as_deref());
    let (kind, body) = match directives.html {
        true => (HTML, error::html(status)),
        false => (JSON, failure.body(exchange.protocol, hash)),
    };
    let mut headers = exchange.headers(kind);
    headers.extend(error::retry_after(status).map(|seconds| ("retry-after", seconds.to_owned())));
    Script::unary(status, headers, body, directives)
}

/// The size of the prompt.
pub(super) fn count(exchange: &Exchange<'_>) -> Script {
    let tokens = reply::prompt_tokens(exchange.request);
    let body = json::body(|o| {
        if exchange.protocol == Protocol::Responses {
            o.text("object", "response.input_tokens");
        }
        o.number("input_tokens", tokens);
    });
    exchange.unary(200, body)
}

/// An error without any directive: the request itself is not understood.
pub(super) fn refuse(protocol: Protocol, status: u16, failure: &Failure<'_>, body: &[u8]) -> Script {
    let hash = request::hash(body);
    let answer = failure.body(protocol, &hash);
    Script::unary(status, protocol.headers(JSON, &hash), answer, &Directives::default())
}

const EVENTS: &str = "text/event-stream; charset=utf-8";
const HTML: &str = "text/html";
const NOT_JSON: &str = "We could not parse the JSON body of your request.";
