//! The provider's answer where it is kept until it is whole.
//!
//! Only a stream is passed on as it comes. Of any other answer it is known only then whether it is an error, what its
//! status must be and how long it is.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Version, header};
use pingora::http::ResponseHeader;
use pingora_proxy::Session;

use crate::canon::Form;
use crate::edge::call::exchange::Exchange;
use crate::edge::call::target::{Bridged, Call};
use crate::edge::request::headers;
use crate::edge::request::plan;
use crate::failure::{Failure, Kind, Result};
use crate::protocol::UpstreamError;
use crate::translate;
use crate::translate::bridge::{Bridge, refused};

/// The head of an answer, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(in crate::edge) struct Head {
    pub(in crate::edge) status: u16,
    retry_after: Option<u64>,
    should_retry: Option<bool>,
    /// Whether its body is a stream of events.
    pub(in crate::edge) streams: bool,
    /// Whether its body can be read at all. Providers are asked for bodies as they are; one that is compressed all the
    /// same says nothing here.
    readable: bool,
}

impl Head {
    pub(in crate::edge) fn of(head: &ResponseHeader) -> Self {
        let readable =
            head.headers.get(header::CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity");
        Self {
            status: head.status.as_u16(),
            retry_after: headers::retry_after(&head.headers),
            should_retry: headers::should_retry(&head.headers),
            streams: is_event_stream(head),
            readable,
        }
    }

    /// Whether its body is a stream that can be passed on as it comes.
    pub(in crate::edge) fn flows(&self) -> bool {
        self.status == 200 && self.streams && self.readable
    }

    /// The failure that its status is before anything is known of its body; nothing where that tells whose failure it is.
    pub(in crate::edge) fn refusal(&self) -> Option<Failure> {
        let tells = self.status != 200 && !matches!(self.status, 402 | 403);
        tells.then(|| translate::read_error(self.status, &UpstreamError::default(), self.retry_after))
    }
}

/// The id under which the provider knows the request, unless it is a key.
pub(in crate::edge) fn upstream_id(exchange: &Exchange, head: &ResponseHeader) -> Option<HeaderValue> {
    headers::upstream_id(&head.headers).filter(|id| !exchange.snapshot.keys.is_in(id.as_bytes()))
}

/// Makes a head that of a stream to the client.
///
/// # Errors
/// When a header cannot be written.
pub(in crate::edge) fn stream_start(
    session: &Session,
    exchange: &Exchange,
    head: &mut ResponseHeader,
) -> pingora::Result<()> {
    head.insert_header(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")?;
    head.insert_header(header::CACHE_CONTROL, "no-cache")?;
    head.insert_header("x-accel-buffering", "no")?;
    if session.req_header().version == Version::HTTP_11 && !session.downstream_session.is_http2() {
        head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    headers::identify(head, exchange);
    Ok(())
}

/// An answer that is whole, as its client gets it.
pub(in crate::edge) struct Whole {
    pub(in crate::edge) body: Bytes,
    /// Whether it is all events of a stream.
    pub(in crate::edge) streams: bool,
    /// Tokens, estimated.
    tokens: u64,
}

impl Whole {
    /// An answer that is no stream.
    fn json(body: Bytes) -> Self {
        let tokens = body.len() as u64 / translate::BYTES_PER_TOKEN;
        Self { body, streams: false, tokens }
    }
}

/// Takes an answer that is whole, and charges for it. Gives what the client gets of it.
///
/// # Errors
/// The failure that it is.
pub(in crate::edge) fn whole(exchange: &mut Exchange, head: &Head, body: Bytes) -> Result<Whole> {
    let body = if head.readable { body } else { Bytes::new() };
    let call = exchange.call()?;
    if head.status != 200 {
        return Err(failed(call, head, body, exchange.client_model()));
    }
    let whole = match &call.bridged {
        None => relayed(exchange, head.streams, body)?,
        Some(Bridged { client, .. }) => {
            Whole::json(translate::count::write(*client, translate::count::read(&body)?))
        }
    };
    exchange.deliver(whole.tokens);
    exchange.settle();
    Ok(whole)
}

/// Makes the client's answer of one in its own protocol.
fn relayed(exchange: &mut Exchange, streams: bool, body: Bytes) -> Result<Whole> {
    let call = exchange.call()?;
    if !call.infers {
        // It may be an error all the same, and is small.
        return Ok(Whole::json(call.keys.cleaned(body)));
    }
    if streams != call.streams {
        return turned(exchange, streams, body);
    }
    let mut reply = call.reply(exchange.client_model());
    let body = reply.whole(body)?;
    exchange.usage = reply.usage();
    exchange.note_served(reply.served());
    exchange.said = reply.metadata();
    Ok(Whole::json(body))
}

/// The failure that an answer of another status than 200 is.
fn failed(call: &Call, head: &Head, body: Bytes, client_model: &str) -> Failure {
    let body = call.keys.cleaned(body);
    let failure = refused(head.status, &body, head.retry_after, &call.upstream_model, client_model);
    if call.bridged.is_some() {
        return failure;
    }
    let failure = head.should_retry.into_iter().fold(failure, Failure::with_should_retry);
    translate::keep_body(failure, call.protocol, body, &call.upstream_model, client_model)
}

/// An answer in the other form than it was asked for: the whole of a stream, or a stream of what is whole.
///
/// # Errors
/// The failure that it is.
fn turned(exchange: &mut Exchange, streams: bool, body: Bytes) -> Result<Whole> {
    let call = exchange.call()?;
    let context = plan::context(exchange, call)?;
    let (speaker, profile) = (call.protocol.protocol(), &call.provider().profile);
    let limit = exchange.snapshot.limits.event_bytes;
    let bridge =
        Bridge::new(speaker, speaker, profile, Arc::clone(&context), Form::of_stream(!streams), limit);
    let mut bridge = bridge.hiding(&call.keys);
    match streams {
        true => bridge.push(body).and_then(|()| bridge.end())?,
        false => bridge.reply(&body)?,
    }
    exchange.usage = bridge.usage();
    exchange.note_served(bridge.served());
    exchange.said = bridge.metadata();
    exchange.oddities = bridge.anomalies();
    let tokens = bridge.delivered();
    let body = if streams { bridge.whole(speaker, &context) } else { bridge.ready() };
    Ok(Whole { body, streams: !streams, tokens })
}

/// The failure of a provider whose answer is larger than may be: how large it is is its client's to ask for.
pub(in crate::edge) fn too_large() -> Failure {
    Failure::new(Kind::Provider, "The provider's answer is too large.").at_cost()
}

fn is_event_stream(head: &ResponseHeader) -> bool {
    let kind = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.trim_ascii_start()
        .get(..EVENT_STREAM.len())
        .is_some_and(|kind| kind.eq_ignore_ascii_case(EVENT_STREAM))
}

const EVENT_STREAM: &[u8] = b"text/event-stream";
