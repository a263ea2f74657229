//! The provider's answer on its way to the client.
//!
//! A stream is passed on as it comes. Any other answer is held until it is whole: only then is it known
//! whether it is an error, what its status must be and how long it is. Pingora has no hook to hold a
//! response's head, but it drops informational heads when told so. The head of every answer is made one; the
//! real one is written when a held answer is whole, and when a stream has something to say: a provider may
//! send a head of success and then nothing but a failure.

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Version, header};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType};
use pingora_proxy::Session;

use crate::failure::{Failure, Kind, Result};
use crate::observe::Attempt;
use crate::protocol::UpstreamError;
use crate::translate::bridge::Bridge;
use crate::translate::{self, relay};

use super::exchange::{Exchange, Held, Reply};
use super::headers;
use super::{answer, call, priced};

/// Takes the head of the provider's answer and turns it into the client's.
///
/// # Errors
/// When the exchange has no call, or a header can not be written.
pub(super) fn head(exchange: &mut Exchange, head: &mut ResponseHeader) -> pingora::Result<()> {
    if head.status.is_informational() {
        return Ok(());
    }
    let streams = head.status == 200 && is_event_stream(head) && is_readable(head);
    exchange.upstream_id = upstream_id(exchange, head);
    exchange.reply = match exchange.call.as_ref().filter(|call| streams && call.streams && call.infers) {
        Some(call) => {
            let model = exchange.requested_model.as_deref().unwrap_or_default();
            Reply::Stream(Box::new(call.stream(model, exchange.snapshot.limits.event_bytes)))
        }
        None => Reply::Held(held(head, Bytes::new())),
    };
    *head = ResponseHeader::build_no_case(DROPPED, None)?;
    Ok(())
}

/// The id under which the provider knows the request, unless it is a key.
pub(super) fn upstream_id(exchange: &Exchange, head: &ResponseHeader) -> Option<HeaderValue> {
    headers::upstream_id(&head.headers).filter(|id| !exchange.snapshot.keys.is_in(id.as_bytes()))
}

/// An answer that is kept until it is whole, as far as it is there.
pub(super) fn held(head: &ResponseHeader, body: Bytes) -> Held {
    let readable = is_readable(head);
    let parts: Vec<_> = Some(body).filter(|body| readable && !body.is_empty()).into_iter().collect();
    Held {
        status: head.status.as_u16(),
        retry_after: headers::retry_after(&head.headers),
        should_retry: headers::should_retry(&head.headers),
        streams: is_event_stream(head),
        readable,
        size: parts.iter().map(Bytes::len).sum(),
        parts,
    }
}

/// Writes the head of a stream when the first part of its body is about to follow.
///
/// # Errors
/// When the client is gone.
pub(super) fn begin(
    session: &mut Session,
    exchange: &mut Exchange,
    body: Option<&Bytes>,
) -> pingora::Result<()> {
    let speaks = matches!(exchange.reply, Reply::Stream(_)) && body.is_some_and(|body| !body.is_empty());
    if !speaks || session.response_written().is_some() {
        return Ok(());
    }
    let head = stream_start(session, exchange)?;
    exchange.status = 200;
    exchange.commit();
    // The filter of bodies can not wait, and need not: this is the first that the connection takes since the
    // client has sent its request, so there is room for it.
    let write = tokio::task::unconstrained(session.write_response_header(Box::new(head), false));
    match pin!(write).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(written) => written.map_err(Error::into_down),
        Poll::Pending => Err(Error::new_down(ErrorType::WriteTimedout)),
    }
}

/// The head of a stream to the client.
///
/// # Errors
/// When a header can not be written.
pub(super) fn stream_start(session: &Session, exchange: &Exchange) -> pingora::Result<ResponseHeader> {
    let mut fresh = ResponseHeader::build_no_case(200, Some(10))?;
    fresh.insert_header(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")?;
    fresh.insert_header(header::CACHE_CONTROL, "no-cache")?;
    fresh.insert_header("x-accel-buffering", "no")?;
    if session.req_header().version == Version::HTTP_11 && !session.downstream_session.is_http2() {
        fresh.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    headers::identify(&mut fresh, exchange);
    Ok(fresh)
}

/// Takes a part of the body; what is left in `body` goes to the client, who has `written` bytes of it.
///
/// # Errors
/// The failure with which the answer has to end.
pub(super) fn body(
    exchange: &mut Exchange,
    body: &mut Option<Bytes>,
    ends: bool,
    written: usize,
) -> Result<()> {
    let is_late = exchange.is_late();
    match &mut exchange.reply {
        Reply::None | Reply::Written => Ok(()),
        Reply::Held(_) if is_late && !ends => Err(Failure::late()),
        Reply::Held(held) => {
            let first = held.size == 0;
            held.take(body.take(), exchange.snapshot.limits.reply_bytes)?;
            if first && held.size > 0 {
                exchange.note_arrival();
            }
            if ends { elsewhere(exchange) } else { Ok(()) }
        }
        Reply::Stream(stream) => {
            let mut out = match body.take() {
                Some(chunk) if !chunk.is_empty() => {
                    exchange.attempt.as_mut().into_iter().for_each(Attempt::arrived);
                    stream.push(chunk)?
                }
                _ => Bytes::new(),
            };
            let (delivered, over) = (stream.delivered(), stream.is_over());
            exchange.usage = stream.usage();
            priced::note_served(&mut exchange.served, exchange.call.as_deref(), stream.served());
            exchange.deliver(delivered);
            if over {
                exchange.settle();
            }
            if ends {
                let (rest, failure) = end_of_stream(exchange);
                out = joined(out, rest);
                match failure {
                    Some(failure) if exchange.bytes_out == 0 && out.is_empty() => return Err(failure),
                    Some(failure) => out = joined(out, told(exchange, failure)),
                    None => {}
                }
            }
            if !out.is_empty() {
                exchange.note_first_byte();
                exchange.bytes_out += out.len();
                exchange.unwritten.push(out.clone(), written);
            }
            *body = Some(out);
            Ok(())
        }
    }
}

/// An answer that is held is whole now: a failure is raised if there is another target to ask.
fn elsewhere(exchange: &mut Exchange) -> Result<()> {
    if exchange.rest.is_none() {
        return Ok(());
    }
    let held = std::mem::take(&mut exchange.reply);
    let failed = match &held {
        Reply::Held(held) => whole(exchange, held).err().filter(|failure| failure.kind().is_the_providers()),
        _ => None,
    };
    exchange.reply = held;
    failed.map_or(Ok(()), Err)
}

/// What a status says before anything is known of the body; nothing where that tells whose failure it is.
pub(super) fn refusal(head: &ResponseHeader) -> Option<Failure> {
    let (status, retry_after) = (head.status.as_u16(), headers::retry_after(&head.headers));
    let alone = !matches!(status, 402 | 403);
    alone.then(|| translate::read_error(status, &UpstreamError::default(), retry_after))
}

/// Ends the stream: what is left of it and, unless it is whole, the failure of which the client does not know.
fn end_of_stream(exchange: &mut Exchange) -> (Bytes, Option<Failure>) {
    let Reply::Stream(stream) = &mut exchange.reply else { return (Bytes::new(), None) };
    let (rest, end) = stream.end();
    let delivered = stream.delivered();
    let unknown = match &end {
        relay::End::Broken(error) => Some(stream.broken(error)),
        relay::End::Whole | relay::End::Reported => None,
    };
    exchange.usage = stream.usage();
    priced::note_served(&mut exchange.served, exchange.call.as_deref(), stream.served());
    exchange.deliver(delivered);
    match end {
        relay::End::Whole => exchange.settle(),
        relay::End::Reported => exchange.fail_as_told(delivered),
        relay::End::Broken(_) => {}
    }
    (rest, unknown)
}

/// The events that tell the client of a failure.
fn told(exchange: &mut Exchange, failure: Failure) -> Bytes {
    let Reply::Stream(stream) = &exchange.reply else { return Bytes::new() };
    let model = exchange.requested_model.as_deref().unwrap_or_default();
    let events = stream.failure(&failure, &exchange.id, model, exchange.seconds());
    let delivered = stream.delivered();
    exchange.note_failure(&failure);
    exchange.fail(&failure, delivered);
    exchange.failure = Some(failure);
    events
}

/// Ends a stream that fails, with all that came before.
///
/// # Errors
/// When the client is gone.
pub(super) async fn break_off(
    session: &mut Session,
    exchange: &mut Exchange,
    failure: Failure,
) -> pingora::Result<()> {
    let unwritten = exchange.unwritten.rest(session.body_bytes_sent());
    let (rest, unknown) = end_of_stream(exchange);
    let last = unknown.map(|_| told(exchange, failure)).unwrap_or_default();
    let last = joined(rest, last);
    exchange.bytes_out += last.len();
    session.write_response_body(Some(joined(unwritten, last)), true).await
}

/// Writes a held answer, now that it is whole, or that there is none.
///
/// # Errors
/// When the client is gone.
pub(super) async fn deliver(session: &mut Session, exchange: &mut Exchange) -> pingora::Result<()> {
    let held = match std::mem::take(&mut exchange.reply) {
        Reply::Held(held) => held,
        // Head and end were one, and nothing between them.
        Reply::Stream(_) if session.response_written().is_none() => {
            return answer::fail(session, exchange, Failure::truncated()).await;
        }
        // What was a stream stays one, for the access line.
        other => {
            exchange.reply = other;
            return Ok(());
        }
    };
    match whole(exchange, &held) {
        Ok(whole) => {
            settle(exchange, &whole);
            write(session, exchange, whole).await
        }
        Err(failure) => answer::fail(session, exchange, failure).await,
    }
}

/// An answer that is whole, as its client gets it.
pub(super) struct Whole {
    body: Bytes,
    /// Is it all events of a stream?
    streams: bool,
    /// Tokens, estimated.
    tokens: u64,
}

impl Whole {
    /// An answer that is no stream.
    pub(super) fn json(body: Bytes) -> Self {
        let tokens = body.len() as u64 / translate::BYTES_PER_TOKEN;
        Self { body, streams: false, tokens }
    }
}

/// Charges for an answer that is whole.
pub(super) fn settle(exchange: &mut Exchange, whole: &Whole) {
    exchange.deliver(whole.tokens);
    exchange.settle();
}

/// Writes an answer that is whole.
///
/// # Errors
/// When the client is gone.
pub(super) async fn write(
    session: &mut Session,
    exchange: &mut Exchange,
    whole: Whole,
) -> pingora::Result<()> {
    if !whole.streams {
        return answer::write(session, exchange, 200, answer::JSON, whole.body).await;
    }
    let head = stream_start(session, exchange)?;
    (exchange.status, exchange.reply) = (200, Reply::Written);
    exchange.note_first_byte();
    session.write_response_header(Box::new(head), false).await?;
    exchange.bytes_out += whole.body.len();
    session.write_response_body(Some(whole.body), true).await
}

/// What the client gets of a held answer that is whole.
///
/// # Errors
/// The failure that it is.
pub(super) fn whole(exchange: &mut Exchange, held: &Held) -> Result<Whole> {
    let call = exchange.call()?;
    let client_model = exchange.requested_model.as_deref().unwrap_or_default();
    let body = held.joined();
    if held.status == 200 && !call.infers {
        // It may be an error all the same, and is small.
        return Ok(Whole::json(call.keys.cleaned(body)));
    }
    if held.status == 200 && held.streams != call.streams {
        return turned(exchange, held.streams, body);
    }
    if held.status != 200 {
        let body = call.keys.cleaned(body);
        let mut error = UpstreamError::read(&body);
        error.message = translate::rename(&error.message, &call.upstream_model, client_model);
        let status = held.status;
        let failure = translate::read_error(status, &error, held.retry_after);
        let failure = held.should_retry.into_iter().fold(failure, Failure::with_should_retry);
        let (protocol, upstream_model) = (call.protocol, call.upstream_model.as_str());
        return Err(translate::keep_body(failure, protocol, body, upstream_model, client_model));
    }
    let mut reply = call.reply(client_model);
    let body = reply.whole(body)?;
    exchange.usage = reply.usage();
    priced::note_served(&mut exchange.served, exchange.call.as_deref(), reply.served());
    exchange.said = reply.said();
    Ok(Whole::json(body))
}

/// An answer in the other form than it was asked for: the whole of a stream, or a stream of what is whole.
///
/// # Errors
/// The failure that it is.
fn turned(exchange: &mut Exchange, streams: bool, body: Bytes) -> Result<Whole> {
    let call = exchange.call()?;
    let context = call::context(exchange, call)?;
    let (speaker, profile) = (call.protocol.protocol(), &call.provider().profile);
    let limit = exchange.snapshot.limits.event_bytes;
    let bridge = Bridge::new(speaker, speaker, profile, Arc::clone(&context), !streams, limit);
    let mut bridge = bridge.hiding(&call.keys);
    match streams {
        true => bridge.push(body).and_then(|()| bridge.end())?,
        false => bridge.reply(&body)?,
    }
    exchange.usage = bridge.usage();
    priced::note_served(&mut exchange.served, exchange.call.as_deref(), bridge.served());
    exchange.said = bridge.said();
    exchange.oddities = bridge.oddities();
    let tokens = bridge.delivered();
    let body = if streams { bridge.whole(speaker, &context) } else { bridge.ready() };
    Ok(Whole { body, streams: !streams, tokens })
}

impl Held {
    fn take(&mut self, part: Option<Bytes>, limit: usize) -> Result<()> {
        let Some(part) = part.filter(|part| self.readable && !part.is_empty()) else { return Ok(()) };
        self.size += part.len();
        if self.size > limit {
            return Err(too_large());
        }
        self.parts.push(part);
        Ok(())
    }

    fn joined(&self) -> Bytes {
        if let [one] = self.parts.as_slice() {
            return one.clone();
        }
        let mut whole = BytesMut::with_capacity(self.size);
        self.parts.iter().for_each(|part| whole.extend_from_slice(part));
        whole.freeze()
    }
}

/// The failure of a provider whose answer is larger than may be: how large it is is its client's to ask for.
pub(super) fn too_large() -> Failure {
    Failure::new(Kind::Provider, "The provider's answer is too large.").at_cost()
}

/// Providers are asked for bodies as they are. One that is compressed all the same says nothing here.
pub(super) fn is_readable(head: &ResponseHeader) -> bool {
    head.headers.get(header::CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity")
}

pub(super) fn is_event_stream(head: &ResponseHeader) -> bool {
    let kind = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.trim_ascii_start()
        .get(..EVENT_STREAM.len())
        .is_some_and(|kind| kind.eq_ignore_ascii_case(EVENT_STREAM))
}

fn joined(first: Bytes, second: Bytes) -> Bytes {
    match (first.is_empty(), second.is_empty()) {
        (true, _) => second,
        (_, true) => first,
        _ => [first, second].concat().into(),
    }
}

const EVENT_STREAM: &[u8] = b"text/event-stream";

/// An informational status without a meaning of its own here: Pingora drops it.
const DROPPED: u16 = 103;
