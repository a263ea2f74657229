//! The provider's answer on its way to the client.
//!
//! A stream is passed on as it comes. Any other answer is held until it is whole: only then is it known
//! whether it is an error, what its status must be and how long it is. Pingora has no hook to hold a
//! response's head, but it drops informational heads when told so; a held answer's head is made one, and
//! the real one is written when the exchange is over.

use bytes::{Bytes, BytesMut};
use http::header;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;

use crate::failure::{Failure, Kind, Result};
use crate::protocol::UpstreamError;
use crate::translate::{self, relay};

use super::answer;
use super::exchange::{Exchange, Held, Reply};
use super::headers;

/// Takes the head of the provider's answer and turns it into the client's.
///
/// # Errors
/// When the exchange has no call, or a header can not be written.
pub(super) fn head(exchange: &mut Exchange, head: &mut ResponseHeader) -> pingora::Result<()> {
    if head.status.is_informational() {
        return Ok(());
    }
    let readable = is_readable(head);
    let streams = head.status == 200 && is_event_stream(head) && readable && !is_empty(head);
    if streams && exchange.call.as_ref().is_some_and(|call| call.infers) {
        return stream_head(exchange, head);
    }
    let held = Held {
        status: head.status.as_u16(),
        retry_after: headers::retry_after(&head.headers),
        should_retry: headers::should_retry(&head.headers),
        readable,
        parts: Vec::new(),
        size: 0,
    };
    exchange.upstream_id = headers::upstream_id(&head.headers);
    exchange.reply = Reply::Held(held);
    *head = ResponseHeader::build_no_case(DROPPED, None)?;
    Ok(())
}

fn stream_head(exchange: &mut Exchange, head: &mut ResponseHeader) -> pingora::Result<()> {
    let Some(call) = &exchange.call else { return Ok(()) };
    let model = exchange.requested_model.as_deref().unwrap_or_default();
    exchange.reply = Reply::Stream(Box::new(call.stream(model, exchange.snapshot.limits.event_bytes)));
    exchange.status = 200;
    exchange.upstream_id = headers::upstream_id(&head.headers);
    *head = stream_start(exchange)?;
    Ok(())
}

/// The head of a stream to the client.
///
/// # Errors
/// When a header can not be written.
pub(super) fn stream_start(exchange: &Exchange) -> pingora::Result<ResponseHeader> {
    let mut fresh = ResponseHeader::build_no_case(200, Some(10))?;
    fresh.insert_header(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")?;
    fresh.insert_header(header::CACHE_CONTROL, "no-cache")?;
    fresh.insert_header("x-accel-buffering", "no")?;
    headers::identify(&mut fresh, exchange)?;
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
    match &mut exchange.reply {
        Reply::None | Reply::Bridged => Ok(()),
        Reply::Held(held) => held.take(body.take(), exchange.snapshot.limits.reply_bytes),
        Reply::Stream(stream) => {
            let mut out = match body.take() {
                Some(chunk) if !chunk.is_empty() => stream.push(chunk)?,
                _ => Bytes::new(),
            };
            let (delivered, over) = (stream.delivered(), stream.is_over());
            exchange.usage = stream.usage();
            exchange.deliver(delivered);
            if over {
                exchange.settle();
            }
            if ends {
                out = joined(out, end_of_stream(exchange, None));
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

/// Ends the stream: what is left of it and, unless it is whole, the failure in the client's grammar.
pub(super) fn end_of_stream(exchange: &mut Exchange, failure: Option<Failure>) -> Bytes {
    let Reply::Stream(stream) = &mut exchange.reply else { return Bytes::new() };
    let (rest, end) = stream.end();
    let delivered = stream.delivered();
    let broken = match &end {
        relay::End::Broken(error) => Some(stream.broken(error)),
        relay::End::Whole | relay::End::Reported => None,
    };
    exchange.usage = stream.usage();
    exchange.deliver(delivered);
    let failure = match broken {
        Some(broken) => failure.unwrap_or(broken),
        None if end == relay::End::Whole => {
            exchange.settle();
            return rest;
        }
        None => {
            exchange.fail_in_stream(delivered);
            exchange.failure = Some(Failure::provider("the provider reported a failure in its stream"));
            return rest;
        }
    };
    exchange.fail_in_stream(delivered);
    let events = failure_events(exchange, &failure);
    exchange.failure = Some(failure);
    joined(rest, events)
}

/// The events that tell the client of a failure.
fn failure_events(exchange: &Exchange, failure: &Failure) -> Bytes {
    let Reply::Stream(stream) = &exchange.reply else { return Bytes::new() };
    let model = exchange.requested_model.as_deref().unwrap_or_default();
    let now = u64::try_from(exchange.time.as_second()).unwrap_or(0);
    stream.failure(failure, &exchange.id, model, now)
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
    if session.response_written().is_none() {
        session.write_response_header(Box::new(stream_start(exchange)?), false).await?;
    }
    let unwritten = exchange.unwritten.rest(session.body_bytes_sent());
    let last = end_of_stream(exchange, Some(failure));
    exchange.bytes_out += last.len();
    session.write_response_body(Some(joined(unwritten, last)), true).await
}

/// Writes a held answer, now that it is whole.
///
/// # Errors
/// When the client is gone.
pub(super) async fn deliver(session: &mut Session, exchange: &mut Exchange) -> pingora::Result<()> {
    let held = match std::mem::take(&mut exchange.reply) {
        Reply::Held(held) => held,
        // What was a stream stays one, for the access line.
        other => {
            exchange.reply = other;
            return Ok(());
        }
    };
    match whole(exchange, held) {
        Ok(body) => {
            exchange.deliver(body.len() as u64 / translate::BYTES_PER_TOKEN);
            exchange.settle();
            answer::write(session, exchange, 200, answer::JSON, body).await
        }
        Err(failure) => answer::fail(session, exchange, failure).await,
    }
}

fn whole(exchange: &mut Exchange, held: Held) -> Result<Bytes> {
    let call = exchange.call()?;
    let client_model = exchange.requested_model.as_deref().unwrap_or_default();
    let body = held.joined();
    if held.status == 200 && !call.infers {
        return Ok(body);
    }
    if held.status != 200 {
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
    Ok(body)
}

impl Held {
    fn take(&mut self, part: Option<Bytes>, limit: usize) -> Result<()> {
        let Some(part) = part.filter(|part| self.readable && !part.is_empty()) else { return Ok(()) };
        self.size += part.len();
        if self.size > limit {
            return Err(Failure::new(Kind::Provider, "The provider's answer is too large."));
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

/// Providers are asked for bodies as they are. One that is compressed all the same says nothing here.
fn is_readable(head: &ResponseHeader) -> bool {
    head.headers.get(header::CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity")
}

/// A stream without a body would end without a call of the body filter, as if it were whole.
fn is_empty(head: &ResponseHeader) -> bool {
    headers::content_length(&head.headers) == Some(0)
}

pub(super) fn is_event_stream(head: &ResponseHeader) -> bool {
    let kind = head.headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
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
