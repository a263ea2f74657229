//! The request's body, which is read completely before anything depends on it.
//!
//! It is kept here, and what a session has read it with is let go of.

use std::io;
use std::time::Duration;

use http::Version;
use http::header;
use pingora::protocols::http::ServerSession;
use pingora::{Error, ErrorType};
use pingora_proxy::Session;
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::Limits;
use crate::edge::call::admission::Admission;
use crate::edge::call::refusal::Refusal;
use crate::edge::request::decode::{BodyDecoder, ContentEncoding};
use crate::edge::request::headers;
use crate::edge::wire::chunks;
use crate::edge::wire::quirks;
use crate::failure::{Failure, Kind, Result};
use crate::json::Body;

/// A body that is being read.
struct BodyReader<'e> {
    admission: &'e mut Admission,
    limits: Limits,
    begun: Instant,
    /// Bytes that have arrived, encoded or not.
    received: usize,
    /// The decoder of a body with a content encoding.
    decoder: Option<BodyDecoder>,
    body: Body,
}

/// Sets up a session, including one that replaces another.
pub(in crate::edge) fn prepare(session: &mut Session, write: Duration) {
    let session = &mut session.downstream_session;
    // Keep-alive is absent if the client has asked for the connection to be closed.
    if session.get_keepalive().is_some() {
        session.set_keepalive(Some(KEEPALIVE));
    }
    session.set_write_timeout(Some(write));
    session.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
}

/// Reads the body.
///
/// # Errors
/// Returns 413 if the body is too large, 415 if its content encoding is unknown, 408 if it arrives too slowly, 503 if
/// there is no room for it, and 400 if it ends early, when no client is left to read the answer.
pub(in crate::edge) async fn read(
    session: &mut Session,
    limits: Limits,
    admission: &mut Admission,
) -> Result<Body> {
    let request = session.req_header();
    let encoding = ContentEncoding::of(&request.headers)?;
    let length = headers::content_length(&request.headers);
    if length.is_some_and(|length| length > limits.body_bytes) {
        return Err(too_large(limits.body_bytes));
    }
    admission.has_room(length.unwrap_or_default())?;
    if let Some(encoding) = encoding {
        // It is returned when the room for the request is, whose bytes are counted anew.
        admission.hold(encoding.memory())?;
    }
    let decoder = encoding.map(ContentEncoding::decoder).transpose()?;
    let body = Body::with_capacity(length.filter(|_| decoder.is_none()).unwrap_or(FIRST_GUESS));
    let mut reader = BodyReader { admission, limits, begun: Instant::now(), received: 0, decoder, body };
    let read = reader.read(session, length).await;
    let body = reader.body;
    if read.is_err() {
        quirks::close_after_answer(&mut session.downstream_session);
    }
    read.map(|()| body)
}

/// Reads and drops a small body, so that the connection can be used again after an early answer.
pub(in crate::edge) async fn discard(session: &mut Session) {
    let request = session.req_header();
    let small = headers::content_length(&request.headers).unwrap_or(0) <= DISCARDED;
    let asks = request.headers.contains_key(header::EXPECT);
    if request.version < Version::HTTP_2
        && small
        && !asks
        && !request.headers.contains_key(header::TRANSFER_ENCODING)
    {
        // A failure here only costs the connection.
        let _ = timeout(DISCARD_TIME, session.downstream_session.drain_request_body()).await;
    }
}

impl BodyReader<'_> {
    async fn read(&mut self, session: &mut Session, length: Option<usize>) -> Result<()> {
        if session.req_header().headers.contains_key(header::EXPECT) {
            quirks::tell_to_go_on(&mut session.downstream_session).await.map_err(gone)?;
        }
        match (session.downstream_session.is_http2(), length) {
            (true, _) => self.read_h2(session).await,
            (false, length) => self.read_h1(session, length).await,
        }?;
        match self.decoder.take() {
            Some(decoder) => decoder.finish(&mut |part| self.grow(part)),
            None => Ok(()),
        }
    }

    /// Takes a part as it has arrived.
    fn take(&mut self, part: &[u8], length: Option<usize>) -> Result<()> {
        self.received += part.len();
        match (self.decoder.take(), length) {
            (Some(mut decoder), _) => {
                let decoded = decoder.push(part, &mut |part| self.grow(part));
                self.decoder = Some(decoder);
                decoded
            }
            (None, Some(_)) => self.push(part),
            (None, None) => self.grow(part),
        }
    }

    /// Reads a body over HTTP/1. Without a declared length, its size is not known before its end.
    async fn read_h1(&mut self, session: &mut Session, length: Option<usize>) -> Result<()> {
        while let Some(part) =
            self.in_time(session.downstream_session.read_request_body()).await?.map_err(gone)?
        {
            self.take(&part, length)?;
        }
        if self.received > KEPT {
            quirks::forget_body(session).await.map_err(gone)?;
        }
        Ok(())
    }

    /// Reads a body over HTTP/2.
    async fn read_h2(&mut self, session: &mut Session) -> Result<()> {
        let ServerSession::H2(h2) = &mut *session.downstream_session else { return Ok(()) };
        while let Some(part) = self.in_time(h2.read_body_bytes()).await?.map_err(gone)? {
            self.take(&part, None)?;
        }
        Ok(())
    }

    /// Waits for a read for as long as the body's pace allows. Every byte that has arrived extends the time, at
    /// the configured rate.
    async fn in_time<T>(&self, read: impl Future<Output = T>) -> Result<T> {
        let Limits { body_seconds, body_grace_seconds, body_bytes_per_second, .. } = self.limits;
        let received = self.received as u64;
        let bought = received.checked_div(body_bytes_per_second).unwrap_or(body_seconds);
        let seconds = body_seconds.min(body_grace_seconds.saturating_add(bought));
        let end = self.begun + Duration::from_secs(seconds);
        timeout_at(end, read).await.map_err(|_| too_slow())
    }

    /// Adds a part.
    fn push(&mut self, part: &[u8]) -> Result<()> {
        self.admission.hold(part.len())?;
        self.body.push(part);
        Ok(())
    }

    /// Adds a part to a body whose length may be unknown. If it turns out to be large, it gets all the room that
    /// it may ever need: room that is not written to takes no memory, but copying the body into ever larger
    /// buffers takes more than twice its size.
    fn grow(&mut self, part: &[u8]) -> Result<()> {
        let limit = self.limits.body_bytes;
        let size = self.body.bytes().len() + part.len();
        if size > limit {
            return Err(too_large(limit));
        }
        if size > SMALL {
            self.body.reserve(limit);
        }
        self.push(part)
    }
}

fn too_slow() -> Failure {
    Failure::new(Kind::RequestTimeout, "The request body did not arrive in time.")
}

fn too_large(limit: usize) -> Failure {
    Failure::new(Kind::TooLarge, format!("The request body is larger than {limit} bytes."))
}

#[expect(clippy::needless_pass_by_value, reason = "it is called with the errors of results")]
fn gone(error: Box<Error>) -> Failure {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    match error.etype() {
        ErrorType::ReadTimedout => too_slow(),
        _ if cause.is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData) => {
            Refusal::Malformed(chunks::MALFORMED.0).failure()
        }
        _ => interrupted(crate::edge::upstream::reason::reason(&error)),
    }
}

fn interrupted(why: String) -> Failure {
    Failure::new(Kind::InvalidJson, "The request body could not be read.").with_detail(why)
}

/// The bytes of a body that may stay in Pingora's buffers: about what arrives together with a head.
const KEPT: usize = 4 << 10;

/// The largest body, in bytes, that is read only to be dropped.
const DISCARDED: usize = 64 << 10;

/// The bytes that are reserved for a body of unknown length.
const FIRST_GUESS: usize = 16 << 10;

/// The bytes up to which a body grows by copying.
const SMALL: usize = 1 << 20;

/// The value by which a connection is kept; for how long, `accept` says.
const KEEPALIVE: u64 = 75;

/// The time for which the rest of an unwanted body is read.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The time for reading a small unwanted body.
const DISCARD_TIME: Duration = Duration::from_secs(2);
