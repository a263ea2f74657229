//! The client's side of HTTP/1: a request and its answer on a connection to a provider.
//!
//! Pingora's session writes a request in two parts, with a system call for each, and makes buffers, maps and timers for each
//! request. Here, a request whose body is not large goes out in one write, a connection that waits has no buffer, and there
//! is one timer for all reads.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use memchr::memmem;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Stream;
use pingora::{Error, ErrorType};
use tokio::io::{AsyncRead as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, timeout};

use crate::edge::upstream::answer_head::{self, End};
use crate::edge::wire::alarm::Alarm;

/// A connection on which one request is asked.
pub(in crate::edge) struct Http1 {
    stream: Stream,
    /// Bytes that were read and belong to what comes next.
    ahead: BytesMut,
    /// The first of these, in which no end of a head was found.
    searched: usize,
    head: Option<Box<ResponseHeader>>,
    /// Whether a head was read.
    answered: bool,
    /// The framing of the body; absent: it has ended.
    end: Option<End>,
    keeps: bool,
    write_timeout: Option<Duration>,
    silence: Silence,
}

impl Http1 {
    /// One that nothing was asked on yet, or whose last answer is whole.
    pub(in crate::edge) fn new(stream: Stream) -> Self {
        Self {
            stream,
            ahead: BytesMut::new(),
            searched: 0,
            head: None,
            answered: false,
            end: None,
            keeps: false,
            write_timeout: None,
            silence: Silence::default(),
        }
    }

    /// Sets the time for the whole of a request.
    pub(in crate::edge) fn set_write_timeout(&mut self, time: Option<Duration>) {
        self.write_timeout = time;
    }

    /// Sets the longest time between two parts of an answer.
    pub(in crate::edge) fn set_read_timeout(&mut self, time: Option<Duration>) {
        self.silence.longest = time;
    }

    /// Writes a request, in one piece if its body is not large.
    ///
    /// # Errors
    /// Fails if it cannot be written, or not in time, or if the provider refuses it before it has all of it. The refusal can be
    /// read.
    pub(in crate::edge) async fn write(&mut self, head: &RequestHeader, body: &[u8]) -> pingora::Result<()> {
        let (joined, apart) = if body.len() <= MAX_JOINED { (body, &[][..]) } else { (&[][..], body) };
        let first = request(head, joined)?;
        let time = self.write_timeout;
        let written = async {
            for mut part in [&first, apart] {
                poll_fn(|cx| self.poll_write(&mut part, cx)).await?;
            }
            let flushed = self.stream.flush().await;
            flushed.or_else(|error| Error::e_because(ErrorType::WriteError, "a request", error))
        };
        match time {
            Some(time) => timeout(time, written)
                .await
                .unwrap_or_else(|_| Error::e_explain(ErrorType::WriteTimedout, "a request")),
            None => written.await,
        }
    }

    /// Writes all of `part`. As long as the provider does not take it, it is listened to (RFC 9112, 9.5).
    fn poll_write(&mut self, part: &mut &[u8], cx: &mut Context<'_>) -> Poll<pingora::Result<()>> {
        while !part.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, part) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Error::e_explain(ErrorType::WriteError, "a request"));
                }
                Poll::Ready(Ok(written)) => part.advance(written),
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Error::e_because(ErrorType::WriteError, "a request", error));
                }
                Poll::Pending => {
                    ready!(self.poll_refused(cx))?;
                    return Poll::Ready(Error::e_explain(ErrorType::WriteError, "refused before its end"));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Resolves if the provider has refused a request that it does not have yet.
    fn poll_refused(&mut self, cx: &mut Context<'_>) -> Poll<pingora::Result<()>> {
        loop {
            match answer_head::status(&self.ahead)? {
                Some(status) if !status.is_success() => return Poll::Ready(Ok(())),
                // What it says beside reading on is read when it has all of the request.
                Some(_) => return Poll::Pending,
                None if self.ahead.len() > MAX_HEAD => return Poll::Pending,
                None => {}
            }
            if !ready!(self.poll_more(cx))? {
                return Poll::Ready(Error::e_explain(ErrorType::ConnectionClosed, "before a request's end"));
            }
        }
    }

    /// Reads the next head of an answer. After an informational one, there is another.
    ///
    /// # Errors
    /// Fails if it is none, or the connection is over.
    pub(in crate::edge) async fn read_head(&mut self) -> pingora::Result<()> {
        loop {
            if self.may_hold_head()
                && let Some((head, length)) = answer_head::read(&self.ahead)?
            {
                self.ahead.advance(length);
                self.searched = 0;
                let end = answer_head::end(&head)?;
                self.keeps = answer_head::keeps(&head) && !matches!(end, End::Closed);
                self.end = Some(end);
                (self.head, self.answered) = (Some(Box::new(head)), true);
                return Ok(());
            }
            if self.ahead.len() > MAX_HEAD {
                return Err(answer_head::invalid("too large"));
            }
            if !poll_fn(|cx| self.poll_more(cx)).await? {
                return Error::e_explain(ErrorType::ConnectionClosed, "before the answer's head");
            }
        }
    }

    /// Whether a head may end in what was read. A head that comes byte by byte is not looked at again with each of them: after
    /// the first look, only when an empty line has come, or twice as much as before.
    fn may_hold_head(&mut self) -> bool {
        let before = std::mem::replace(&mut self.searched, self.ahead.len());
        let fresh = self.ahead.get(before.saturating_sub(EMPTY_LINE)..).unwrap_or_default();
        before.checked_ilog2() != self.searched.checked_ilog2()
            || memmem::find(fresh, b"\n\r\n").is_some()
            || memmem::find(fresh, b"\n\n").is_some()
    }

    /// Whether anything of an answer has come.
    pub(in crate::edge) fn has_begun(&self) -> bool {
        self.answered || !self.ahead.is_empty()
    }

    /// The head that was read last.
    pub(in crate::edge) fn head(&self) -> Option<&ResponseHeader> {
        self.head.as_deref()
    }

    /// The head that was read last, for its only reader.
    pub(in crate::edge) fn take_head(&mut self) -> Option<Box<ResponseHeader>> {
        self.head.take()
    }

    /// Reads the next part of the body; nothing at its end. It may be dropped and begun anew.
    ///
    /// # Errors
    /// Fails if the connection is over before the body is, or silent for too long.
    pub(in crate::edge) async fn read_body(&mut self) -> pingora::Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_body(cx)).await
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<pingora::Result<Option<Bytes>>> {
        loop {
            if let Some(part) = self.part()? {
                return Poll::Ready(Ok(Some(part)));
            }
            if self.is_whole() {
                return Poll::Ready(Ok(None));
            }
            if !ready!(self.poll_more(cx))? {
                if let Some(End::Closed) = self.end.take() {
                    return Poll::Ready(Ok(None));
                }
                self.keeps = false;
                let error = Error::explain(ErrorType::ConnectionClosed, "before the answer's end");
                return Poll::Ready(Err(error));
            }
        }
    }

    /// Takes the next part of the body from what was read.
    fn part(&mut self) -> pingora::Result<Option<Bytes>> {
        if self.ahead.is_empty() {
            return Ok(None);
        }
        let part = match &mut self.end {
            None => return Ok(None),
            Some(End::Closed) => std::mem::take(&mut self.ahead),
            Some(End::Sized(left)) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(self.ahead.len());
                *left -= here as u64;
                split(&mut self.ahead, here)
            }
            Some(End::Chunked(chunks)) => match chunks.data(&self.ahead, 0) {
                Ok(data) => {
                    self.ahead.advance(data.start);
                    split(&mut self.ahead, data.len())
                }
                Err(_) => {
                    (self.end, self.keeps) = (None, false);
                    return Error::e_explain(ErrorType::InvalidHTTPHeader, "the framing of chunks");
                }
            },
        };
        Ok((!part.is_empty()).then(|| part.freeze()))
    }

    /// Whether the answer has come to its end.
    fn is_whole(&self) -> bool {
        match &self.end {
            None | Some(End::Sized(0)) => self.answered,
            Some(End::Chunked(chunks)) => chunks.is_over(),
            Some(End::Sized(_) | End::Closed) => false,
        }
    }

    /// Whether another request can be asked on the connection.
    pub(in crate::edge) fn is_reusable(&self) -> bool {
        self.is_whole() && self.keeps && self.ahead.is_empty()
    }

    /// The connection.
    pub(in crate::edge) fn into_inner(self) -> Stream {
        self.stream
    }

    /// Reads what has arrived; gives whether there was any before the connection's end.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<pingora::Result<bool>> {
        let mut room = [MaybeUninit::uninit(); READ];
        let mut arrived = ReadBuf::uninit(&mut room);
        match Pin::new(&mut self.stream).poll_read(cx, &mut arrived) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => {
                return Poll::Ready(Error::e_because(ErrorType::ReadError, "an answer", error));
            }
            Poll::Pending => {
                ready!(self.silence.poll_over(cx));
                return Poll::Ready(Error::e_explain(ErrorType::ReadTimedout, "an answer"));
            }
        }
        self.silence.broken();
        self.ahead.extend_from_slice(arrived.filled());
        Poll::Ready(Ok(!arrived.filled().is_empty()))
    }
}

/// Takes the first bytes; if that is all, without a handle for the rest.
fn split(bytes: &mut BytesMut, length: usize) -> BytesMut {
    if length == bytes.len() { std::mem::take(bytes) } else { bytes.split_to(length) }
}

/// The wire form of a request, up to the end of `body`.
fn request(head: &RequestHeader, body: &[u8]) -> pingora::Result<BytesMut> {
    let target = head.raw_path();
    if target.iter().any(|byte| byte.is_ascii_control() || *byte == b' ') {
        return Err(answer_head::invalid("the target"));
    }
    let mut out = BytesMut::with_capacity(HEAD_GUESS + body.len());
    for part in [head.method.as_str().as_bytes(), b" ", target, b" HTTP/1.1\r\n"] {
        out.put_slice(part);
    }
    head.header_to_h1_wire(&mut out);
    out.put_slice(b"\r\n");
    out.put_slice(body);
    Ok(out)
}

/// The watch over the time for which nothing comes.
#[derive(Debug, Default)]
struct Silence {
    longest: Option<Duration>,
    /// The beginning of the silence.
    since: Option<Instant>,
    alarm: Alarm,
}

impl Silence {
    /// Resolves when the silence has lasted too long.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(longest) = self.longest else { return Poll::Pending };
        let since = *self.since.get_or_insert_with(Instant::now);
        since.checked_add(longest).map_or(Poll::Pending, |end| self.alarm.poll(end, cx))
    }

    /// Something has come.
    fn broken(&mut self) {
        self.since = None;
    }
}

/// Bytes of a body that are copied behind the head, so that both go out in one write.
const MAX_JOINED: usize = 64 << 10;

/// Bytes before the last one of an empty line and of the line end before it.
const EMPTY_LINE: usize = 2;

/// Bytes of a request's head, as a guess.
const HEAD_GUESS: usize = 512;

/// Bytes of an answer's head. Real ones have fewer than 8 KiB.
const MAX_HEAD: usize = 256 << 10;

/// Bytes that are read at once.
const READ: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;

    /// Reads an answer that comes in pieces of this size, and then the connection's end; gives its body, and whether the
    /// connection could have been used again before that.
    async fn answered(answer: &str, size: usize) -> pingora::Result<(u16, String, bool)> {
        let (own, mut other) = duplex(size);
        let mut connection = Http1::new(Box::new(own));
        let answer = answer.to_owned();
        let writing = tokio::spawn(async move { other.write_all(answer.as_bytes()).await });
        connection.read_head().await?;
        while connection.head().unwrap().status.is_informational() {
            connection.read_head().await?;
        }
        let status = connection.take_head().unwrap().status.as_u16();
        assert!(connection.has_begun() && connection.head().is_none());
        let mut body = Vec::new();
        while let Some(part) = connection.read_body().await? {
            body.extend_from_slice(&part);
        }
        let reusable = connection.is_reusable();
        drop((connection, writing));
        Ok((status, String::from_utf8(body).unwrap(), reusable))
    }

    #[tokio::test]
    async fn an_answer_is_the_same_however_it_comes() {
        for (answer, body, reusable) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "hello", true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "", true),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\na: b\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
                "ok",
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;x\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
                "hello!",
                true,
            ),
            ("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello", "hello", false),
        ] {
            for size in [1, 2, 3, 7, 1000] {
                let expected = (200, body.to_owned(), reusable);
                assert_eq!(answered(answer, size).await.unwrap(), expected, "{size}: {answer:?}");
            }
        }
        let closed = answered("HTTP/1.1 200 OK\r\n\r\nall there is", 1000).await.unwrap();
        assert_eq!(closed, (200, "all there is".to_owned(), false));
    }

    #[tokio::test]
    async fn what_ends_too_early_or_goes_on_is_no_whole_answer() {
        for answer in [
            "",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello!\r\n",
        ] {
            assert!(answered(answer, 1000).await.is_err(), "{answer:?}");
        }
        let more = answered("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1", 1000).await.unwrap();
        assert_eq!(more, (200, "ok".to_owned(), false));
    }

    #[tokio::test]
    async fn a_head_that_comes_byte_by_byte_is_looked_at_a_few_times() {
        let mut connection = Http1::new(Box::new(duplex(1).0));
        let looks = |connection: &mut Http1, byte: u8| {
            connection.ahead.put_u8(byte);
            usize::from(connection.may_hold_head())
        };
        let of_all: usize = (0..100_000).map(|_| looks(&mut connection, b'x')).sum();
        assert!(of_all <= 17, "{of_all}");
        for end in [&b"\r\n\r\n"[..], b"\n\n"] {
            let of_end: Vec<usize> = end.iter().map(|byte| looks(&mut connection, *byte)).collect();
            assert_eq!((of_end.last(), of_end.iter().sum()), (Some(&1), 1), "{end:?}");
            looks(&mut connection, b'x');
            looks(&mut connection, b'x');
        }
    }

    #[tokio::test]
    async fn a_request_has_its_head_and_its_body() {
        let mut head = RequestHeader::build_no_case("POST", b"/v1/x?beta=true", None).unwrap();
        head.insert_header("host", "h").unwrap();
        for size in [0, 10, MAX_JOINED, MAX_JOINED + 1] {
            let (own, mut other) = duplex(1 << 20);
            let body = "b".repeat(size);
            Http1::new(Box::new(own)).write(&head, body.as_bytes()).await.unwrap();
            let mut written = String::new();
            other.read_to_string(&mut written).await.unwrap();
            assert_eq!(
                written.to_lowercase(),
                format!("post /v1/x?beta=true http/1.1\r\nhost: h\r\n\r\n{body}"),
                "{size}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_bounded_from_the_last_part_on() {
        let (own, mut other) = duplex(64);
        let mut connection = Http1::new(Box::new(own));
        connection.set_read_timeout(Some(Duration::from_secs(10)));
        other.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n").await.unwrap();
        connection.read_head().await.unwrap();
        let feeding = tokio::spawn(async move {
            for _ in 0..4 {
                tokio::time::sleep(Duration::from_secs(8)).await;
                other.write_all(b"x").await.unwrap();
            }
            other
        });
        for _ in 0..4 {
            assert_eq!(connection.read_body().await.unwrap().unwrap(), "x");
        }
        let start = Instant::now();
        let error = connection.read_body().await.unwrap_err();
        assert_eq!((error.etype(), start.elapsed().as_secs()), (&ErrorType::ReadTimedout, 10));
        drop(feeding);
    }
}
