//! The server's side of HTTP/1: one request of a client, and its answer.
//!
//! Pingora's session would read the head once more that was checked already, copy the body twice and keep it, and write the
//! head of an answer and its body one after the other. This one stands in its place ([`ServerSession::Custom`]) on the
//! gateway's own listeners. What it writes goes out together; what it reads of a body is not kept.
//!
//! [`ServerSession::Custom`]: pingora::protocols::http::ServerSession::Custom

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderValue};
use http::response::Parts;
use http::{Method, StatusCode, Version};
use parking_lot::Mutex;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session;
use pingora::protocols::http::date::get_cached_date;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::{Digest, SocketDigest, Stream};
use pingora::{Error, ErrorType};
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;

use crate::edge::wire::client_subject::ClientSubject;
use crate::edge::wire::framing::{self, Framing};
use crate::edge::wire::head::{self, Length, Malformed};

/// Messages beside an answer, of which HTTP/1 has none.
type MessageReader = Box<dyn futures_core::Stream<Item = pingora::Result<Bytes>> + Unpin + Send + Sync>;

/// The place for the connection of a request after which another one may follow. Its session puts it there.
#[derive(Debug, Default)]
pub(in crate::edge) struct Return(Mutex<Option<Stream>>);

impl Return {
    /// Takes the connection, if there is one.
    pub(in crate::edge) fn take(&self) -> Option<Stream> {
        self.0.lock().take()
    }

    fn put(&self, stream: Stream) {
        *self.0.lock() = Some(stream);
    }
}

/// A request and its answer.
pub(in crate::edge) struct Served {
    /// Absent when the session is over.
    stream: Option<Stream>,
    /// The addresses of the connection.
    socket: Option<Arc<SocketDigest>>,
    /// The TLS connection of a client that has shown a certificate.
    digest: Option<Box<Digest>>,
    back: Arc<Return>,
    request: Box<RequestHeader>,
    framing: Framing,
    /// Bytes of the body that were read and not taken.
    ahead: BytesMut,
    read: usize,
    answer: Option<Box<ResponseHeader>>,
    outgoing: Outgoing,
    /// Bytes that go out with the next ones, or at the end.
    out: BytesMut,
    sent: usize,
    /// Whether another request may follow.
    keeps: bool,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    drain_timeout: Option<Duration>,
}

/// The framing of an answer's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outgoing {
    /// So many bytes are still to come.
    Sized(u64),
    Chunked,
    /// All up to the end of the connection.
    Closed,
    Ended,
}

impl Served {
    /// The session of a request whose head, of `end` bytes, stands at the beginning of `bytes`, with what has arrived of its
    /// body. When it is over, the connection is put `back` if another one may follow, and the client does not mind.
    ///
    /// # Errors
    /// The connection, if the request can be understood in two ways; the bytes are left as they are.
    pub(in crate::edge) fn new(
        stream: Stream,
        bytes: &mut BytesMut,
        (end, length): (usize, Length),
        may_follow: bool,
        back: &Arc<Return>,
    ) -> Result<Self, (Stream, Malformed)> {
        if let Err(malformed) = Framing::new(length).take(bytes.get(end..).unwrap_or_default()) {
            return Err((stream, malformed));
        }
        let mut ahead = std::mem::take(bytes);
        let head = if ahead.len() == end { std::mem::take(&mut ahead) } else { ahead.split_to(end) };
        let head = head.freeze();
        let request = match head::request(&head) {
            Ok(request) => request,
            Err(malformed) => {
                bytes.extend_from_slice(&head);
                return Err((stream, malformed));
            }
        };
        let mut framing = Framing::new(length);
        if framing.is_done() {
            framing.pass_over(&std::mem::take(&mut ahead));
        }
        let keeps = may_follow && asks_to_keep(&request);
        Ok(Self {
            socket: stream.get_socket_digest(),
            digest: ClientSubject::digest(&stream),
            stream: Some(stream),
            back: Arc::clone(back),
            request: Box::new(request),
            framing,
            ahead,
            read: 0,
            answer: None,
            outgoing: Outgoing::Ended,
            out: BytesMut::new(),
            sent: 0,
            keeps,
            read_timeout: None,
            write_timeout: None,
            drain_timeout: None,
        })
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<pingora::Result<Option<Bytes>>> {
        loop {
            if let Some(part) = self.part()? {
                self.read += part.len();
                return Poll::Ready(Ok(Some(part)));
            }
            if self.framing.is_done() {
                return Poll::Ready(Ok(None));
            }
            let mut room = [MaybeUninit::uninit(); READ];
            let mut arrived = ReadBuf::uninit(&mut room);
            let Some(stream) = &mut self.stream else { return Poll::Ready(Err(over())) };
            if let Err(error) = ready!(Pin::new(stream).poll_read(cx, &mut arrived)) {
                return Poll::Ready(Error::e_because(ErrorType::ReadError, "a request's body", error));
            }
            if arrived.filled().is_empty() {
                return Poll::Ready(Error::e_explain(ErrorType::ConnectionClosed, "before a request's end"));
            }
            self.ahead.extend_from_slice(arrived.filled());
        }
    }

    /// Takes the next part of the body from what was read.
    fn part(&mut self) -> pingora::Result<Option<Bytes>> {
        if self.ahead.is_empty() {
            return Ok(None);
        }
        let data = self.framing.data(&self.ahead).map_err(|Malformed(why)| {
            let error = io::Error::new(io::ErrorKind::InvalidData, why);
            Error::because(ErrorType::ReadError, "a request's body", error)
        })?;
        self.ahead.advance(data.start);
        let part = match data.len() == self.ahead.len() {
            true => std::mem::take(&mut self.ahead),
            false => self.ahead.split_to(data.len()),
        };
        if self.framing.is_done() {
            self.framing.pass_over(&std::mem::take(&mut self.ahead));
        }
        Ok((!part.is_empty()).then(|| part.freeze()))
    }

    /// Takes the head of an answer. It goes out with what follows.
    fn begin(&mut self, mut answer: Box<ResponseHeader>) -> pingora::Result<()> {
        if self.answer.as_ref().is_some_and(|before| !before.status.is_informational()) {
            return Ok(());
        }
        if answer.status.is_informational() {
            // RFC 9110, 15.2: a client of HTTP/1.0 knows none.
            if self.request.version != Version::HTTP_11 {
                return Ok(());
            }
        } else {
            self.outgoing = self.framing_of(&answer);
            let takes_all = self.framing.is_done() && self.framing.is_clear();
            self.keeps &= takes_all && self.outgoing != Outgoing::Closed;
            let connection = if self.keeps { "keep-alive" } else { "close" };
            // Pingora's own functions would read and copy each name once more.
            let mut head = Parts::from(*answer);
            let _ = head.headers.try_insert(header::DATE, get_cached_date());
            let _ = head.headers.try_insert(header::CONNECTION, HeaderValue::from_static(connection));
            answer = Box::new(head.into());
        }
        put_answer(&mut self.out, &answer);
        self.answer = Some(answer);
        Ok(())
    }

    fn framing_of(&self, head: &ResponseHeader) -> Outgoing {
        let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if bodiless || self.request.method == Method::HEAD {
            return Outgoing::Ended;
        }
        if head.headers.contains_key(header::TRANSFER_ENCODING) {
            return Outgoing::Chunked;
        }
        let length =
            head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        match length {
            Some(0) => Outgoing::Ended,
            Some(length) => Outgoing::Sized(length),
            None => Outgoing::Closed,
        }
    }

    /// Takes a part of the answer's body. It goes out with what follows, unless it is large.
    async fn push(&mut self, data: &[u8]) -> pingora::Result<()> {
        let data = match &mut self.outgoing {
            Outgoing::Ended => return Ok(()),
            Outgoing::Sized(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
                *left -= here as u64;
                if *left == 0 {
                    self.outgoing = Outgoing::Ended;
                }
                data.get(..here).unwrap_or_default()
            }
            Outgoing::Chunked | Outgoing::Closed => data,
        };
        if data.is_empty() {
            return Ok(());
        }
        let chunked = self.outgoing == Outgoing::Chunked;
        if chunked {
            put_size(&mut self.out, data.len());
        }
        if data.len() <= MAX_JOINED {
            self.out.put_slice(data);
        } else {
            self.send(data).await?;
        }
        if chunked {
            self.out.put_slice(b"\r\n");
        }
        self.sent += data.len();
        Ok(())
    }

    /// Ends the answer's body.
    fn end(&mut self) {
        match self.outgoing {
            Outgoing::Chunked => self.out.put_slice(b"0\r\n\r\n"),
            // Less than was announced: its client sees that by the connection's end.
            Outgoing::Sized(_) | Outgoing::Closed => self.keeps = false,
            Outgoing::Ended => {}
        }
        self.outgoing = Outgoing::Ended;
    }

    /// Writes what waits, and then this, in the time for one write.
    async fn send(&mut self, last: &[u8]) -> pingora::Result<()> {
        let Some(stream) = &mut self.stream else { return Err(over()) };
        let out = &self.out;
        let writing = async {
            stream.write_all(out).await?;
            if !last.is_empty() {
                stream.write_all(last).await?;
            }
            stream.flush().await
        };
        let written = match self.write_timeout {
            Some(time) => timeout(time, writing).await,
            None => Ok(writing.await),
        };
        self.out.clear();
        if self.out.capacity() > MAX_KEPT {
            self.out = BytesMut::new();
        }
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Error::e_because(ErrorType::WriteError, "an answer", error),
            Err(_) => Error::e_explain(ErrorType::WriteTimedout, "an answer"),
        }
    }

    /// Writes what waits.
    async fn flush(&mut self) -> pingora::Result<()> {
        if self.out.is_empty() { Ok(()) } else { self.send(&[]).await }
    }
}

#[async_trait]
impl Session for Served {
    fn req_header(&self) -> &RequestHeader {
        &self.request
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.request
    }

    async fn read_body_bytes(&mut self) -> pingora::Result<Option<Bytes>> {
        let time = self.read_timeout;
        let read = poll_fn(|cx| self.poll_body(cx));
        match time {
            None => read.await,
            Some(time) => {
                let late = |_| Error::e_explain(ErrorType::ReadTimedout, "a request's body");
                timeout(time, read).await.unwrap_or_else(late)
            }
        }
    }

    async fn drain_request_body(&mut self) -> pingora::Result<()> {
        let Some(time) = self.drain_timeout.filter(|time| !time.is_zero()) else { return Ok(()) };
        let rest = async {
            while poll_fn(|cx| self.poll_body(cx)).await?.is_some() {}
            Ok(())
        };
        let late = |_| Error::e_explain(ErrorType::ReadTimedout, "the rest of a request");
        timeout(time, rest).await.unwrap_or_else(late)
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, _: bool) -> pingora::Result<()> {
        let waits_for_nothing = head.status.is_informational();
        self.begin(head)?;
        if waits_for_nothing { self.flush().await } else { Ok(()) }
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, ends: bool) -> pingora::Result<()> {
        self.write_response_header(Box::new(head.clone()), ends).await
    }

    async fn write_body(&mut self, data: Bytes, ends: bool) -> pingora::Result<()> {
        self.push(&data).await?;
        if ends {
            self.end();
        }
        self.flush().await
    }

    /// There are none in HTTP/1 that clients look at.
    async fn write_trailers(&mut self, _: HeaderMap) -> pingora::Result<()> {
        Ok(())
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> pingora::Result<bool> {
        let mut ends = false;
        for task in tasks {
            ends = match task {
                HttpTask::Header(head, ends) => {
                    self.begin(head)?;
                    ends
                }
                HttpTask::Body(data, ends) | HttpTask::UpgradedBody(data, ends) => {
                    self.push(&data.unwrap_or_default()).await?;
                    ends
                }
                HttpTask::Trailer(_) | HttpTask::Done => true,
                HttpTask::Failed(error) => {
                    self.flush().await?;
                    return Err(error);
                }
            };
        }
        if ends {
            self.end();
        }
        self.flush().await?;
        Ok(ends)
    }

    fn set_read_timeout(&mut self, time: Option<Duration>) {
        self.read_timeout = time;
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.read_timeout
    }

    fn set_write_timeout(&mut self, time: Option<Duration>) {
        self.write_timeout = time;
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.write_timeout
    }

    /// With none, or one of zero, the rest of a body is not read, and no other request follows.
    fn set_total_drain_timeout(&mut self, time: Option<Duration>) {
        self.drain_timeout = time;
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.drain_timeout
    }

    /// Only what nobody wrote into it.
    fn request_summary(&self) -> String {
        self.request.method.to_string()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.answer.as_deref()
    }

    async fn shutdown(&mut self, _: u32, _: &str) {
        if let Some(stream) = self.stream.take() {
            framing::close(stream).await;
        }
    }

    fn is_body_done(&mut self) -> bool {
        self.framing.is_done()
    }

    /// Ends the answer, and gives the connection back or closes it.
    async fn finish(&mut self) -> pingora::Result<()> {
        self.end();
        self.flush().await?;
        let Some(stream) = self.stream.take() else { return Ok(()) };
        let is_clear = self.framing.is_clear();
        if self.keeps && self.answer.is_some() && is_clear {
            self.back.put(stream);
        } else if is_clear && self.framing.is_done() {
            framing::close(stream).await;
        } else {
            framing::linger(stream).await;
        }
        Ok(())
    }

    fn is_body_empty(&mut self) -> bool {
        self.read == 0 && self.framing.is_done()
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> pingora::Result<Option<Bytes>> {
        if !no_body_expected && !self.framing.is_done() {
            return self.read_body_bytes().await;
        }
        let Some(stream) = &mut self.stream else { return Err(over()) };
        let framing = &mut self.framing;
        let gone = poll_fn(|cx| framing.poll_gone(stream, cx)).await;
        self.keeps = false;
        match gone {
            Ok(()) => Error::e_explain(ErrorType::ConnectionClosed, "the client is gone"),
            Err(error) => Error::e_because(ErrorType::ReadError, "the client is gone", error),
        }
    }

    fn body_bytes_sent(&self) -> usize {
        self.sent
    }

    fn body_bytes_read(&self) -> usize {
        self.read
    }

    fn digest(&self) -> Option<&Digest> {
        self.digest.as_deref()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        None
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.socket.as_ref()?.peer_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.socket.as_ref()?.local_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        Bytes::new()
    }

    /// A body that was read is kept by whoever has read it.
    fn enable_retry_buffering(&mut self) {}

    fn retry_buffer_truncated(&self) -> bool {
        true
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        None
    }

    async fn finish_custom(&mut self) -> pingora::Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(&mut self) -> Option<MessageReader> {
        None
    }

    fn restore_custom_message_reader(&mut self, _: MessageReader) -> pingora::Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _: Box<dyn CustomMessageWrite>) -> pingora::Result<()> {
        Ok(())
    }
}

/// Whether the client wants to ask more on its connection (RFC 9112, 9.3).
fn asks_to_keep(request: &RequestHeader) -> bool {
    let says = |word: &str| {
        let values = request.headers.get_all(header::CONNECTION).iter();
        let mut words = values.flat_map(|value| value.to_str().unwrap_or("close").split(','));
        words.any(|token| token.trim().eq_ignore_ascii_case(word))
    };
    !says("close") && (request.version == Version::HTTP_11 || says("keep-alive"))
}

/// Writes the head of an answer as HTTP/1.1 has it.
pub(in crate::edge) fn put_answer(out: &mut BytesMut, head: &ResponseHeader) {
    let reason = head.status.canonical_reason().unwrap_or_default();
    out.reserve(HEAD_GUESS);
    for part in ["HTTP/1.1 ", head.status.as_str(), " ", reason, "\r\n"] {
        out.put_slice(part.as_bytes());
    }
    head.header_to_h1_wire(out);
    out.put_slice(b"\r\n");
}

/// Writes the line before a chunk.
fn put_size(out: &mut BytesMut, size: usize) {
    let mut digits = [0; 16];
    let (mut at, mut left) = (digits.len(), size);
    while let Some(place) = at.checked_sub(1).and_then(|place| digits.get_mut(place)).filter(|_| left > 0) {
        *place =
            char::from_digit(u32::try_from(left % 16).unwrap_or(0), 16).map_or(b'0', |digit| digit as u8);
        left /= 16;
        at -= 1;
    }
    out.put_slice(digits.get(at..).unwrap_or_default());
    out.put_slice(b"\r\n");
}

fn over() -> Box<Error> {
    Error::explain(ErrorType::ConnectionClosed, "the session is over")
}

/// Bytes of a part of a body that are copied behind what waits, so that both go out in one write.
const MAX_JOINED: usize = 16 << 10;

/// Bytes of room for what waits that are kept for the next part.
const MAX_KEPT: usize = 4 << 10;

/// Bytes of an answer's head, as a guess.
const HEAD_GUESS: usize = 512;

/// Bytes that are read at once.
const READ: usize = 16 << 10;

#[cfg(test)]
#[path = "served_tests.rs"]
mod tests;
