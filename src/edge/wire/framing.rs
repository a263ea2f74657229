//! The end of an HTTP/1 request: Pingora gets nothing that follows the request.
//!
//! Pingora gives up a call if more than its request arrives, and loses what it has read too far. So it gets the
//! bytes of one request and no more. If a client sends something after a request before that is answered, the
//! connection ends after the answer.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use pingora::apps::{HttpPersistentSettings, ReusedHttpStream};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use tokio::io::{AsyncRead as _, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use crate::edge::wire::chunks::{Chunks, MALFORMED};
use crate::edge::wire::head::{Length, Malformed};
use crate::edge::wire::{Reader, Wire};

/// The remaining bytes of a request's body, and those that came after it.
#[derive(Debug)]
pub(in crate::edge) struct Framing {
    rest: Rest,
    /// The bytes that came too early and were dropped.
    behind: usize,
    /// The number of these that belong to an empty line, which means nothing.
    blank: usize,
}

#[derive(Debug)]
enum Rest {
    Sized(u64),
    Chunked(Chunks),
    /// The framing is malformed, so the end is not known.
    Broken,
}

impl Framing {
    pub(super) fn new(length: Length) -> Self {
        let rest = match length {
            Length::Sized(bytes) => Rest::Sized(bytes),
            Length::Chunked => Rest::Chunked(Chunks::default()),
        };
        Self { rest, behind: 0, blank: 0 }
    }

    /// Takes what has arrived, and returns how much of it belongs to the body.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let own = match &mut self.rest {
            Rest::Sized(left) => {
                let own = (*left).min(bytes.len() as u64);
                *left -= own;
                usize::try_from(own).unwrap_or(bytes.len())
            }
            Rest::Chunked(chunks) => match chunks.take(bytes) {
                Ok(None) => bytes.len(),
                Ok(Some(end)) => {
                    self.rest = Rest::Sized(0);
                    end
                }
                Err(malformed) => {
                    self.rest = Rest::Broken;
                    return Err(malformed);
                }
            },
            Rest::Broken => 0,
        };
        self.pass_over(bytes.get(own..).unwrap_or_default());
        Ok(own)
    }

    /// Takes the beginning of what has arrived, up to the end of the first data among it; gives where that is.
    pub(super) fn data(&mut self, bytes: &[u8]) -> Result<Range<usize>, Malformed> {
        match &mut self.rest {
            Rest::Sized(left) => {
                let own = (*left).min(bytes.len() as u64);
                *left -= own;
                Ok(0..usize::try_from(own).unwrap_or(bytes.len()))
            }
            Rest::Chunked(chunks) => {
                let data = chunks.data(bytes, 0);
                match &data {
                    Ok(_) if chunks.is_over() => self.rest = Rest::Sized(0),
                    Ok(_) => {}
                    Err(_) => self.rest = Rest::Broken,
                }
                data
            }
            Rest::Broken => Err(MALFORMED),
        }
    }

    /// Whether all of the body has come.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.rest, Rest::Sized(0))
    }

    /// Takes bytes that came too early.
    pub(super) fn pass_over(&mut self, bytes: &[u8]) {
        let line = EMPTY_LINE.get(self.behind..).unwrap_or_default();
        if self.blank == self.behind {
            self.blank += line.iter().zip(bytes).take_while(|(known, byte)| known == byte).count();
        }
        self.behind += bytes.len();
    }

    /// Whether nothing of the next request was dropped.
    pub(super) fn is_clear(&self) -> bool {
        self.behind == 0 || self.behind == EMPTY_LINE.len() && self.blank == self.behind
    }

    /// Waits until the client leaves. What it sends in the meantime is dropped.
    pub(super) fn poll_gone(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.behind < MAX_BEHIND {
            let mut room = [0; 512];
            let mut arrived = ReadBuf::new(&mut room);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut arrived))?;
            match arrived.filled().len() {
                0 => return Poll::Ready(Ok(())),
                _ => self.pass_over(arrived.filled()),
            }
        }
        Poll::Pending
    }
}

impl Reader for Framing {
    fn poll_read(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.rest {
            Rest::Sized(0) => return self.poll_gone(stream, cx),
            Rest::Broken => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            Rest::Sized(_) | Rest::Chunked(_) => {}
        }
        let before = buf.filled().len();
        ready!(Pin::new(stream).poll_read(cx, buf))?;
        let fresh = buf.filled().get(before..).unwrap_or_default();
        match self.take(fresh) {
            Ok(own) => {
                buf.set_filled(before + own);
                Poll::Ready(Ok(()))
            }
            Err(Malformed(why)) => Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why))),
        }
    }
}

/// Makes a session for the request whose head has `end` bytes and is at the beginning of `bytes`, followed by what
/// has arrived of its body.
///
/// # Errors
/// Returns the connection if the framing of the body is malformed; then `bytes` is unchanged.
pub(in crate::edge) fn session(
    stream: Stream,
    bytes: &mut BytesMut,
    end: usize,
    length: Length,
) -> Result<ServerSession, (Stream, Malformed)> {
    let mut framing = Framing::new(length);
    match framing.take(bytes.get(end..).unwrap_or_default()) {
        Ok(own) => bytes.truncate(end + own),
        Err(malformed) => return Err((stream, malformed)),
    }
    let mut session = ServerSession::new_http1(Box::new(Wire { reader: framing, stream }));
    session.set_pipelined_prefix(std::mem::take(bytes));
    Ok(session)
}

/// Returns the connection of a request that was answered, if another request can follow.
pub(in crate::edge) async fn reused(
    reused: ReusedHttpStream,
) -> Option<(Stream, Option<HttpPersistentSettings>)> {
    let (stream, settings) = reused.consume();
    let wire = stream.into_any().downcast::<Wire<Framing>>().ok()?;
    let Wire { reader, stream } = *wire;
    if !reader.is_clear() {
        Box::pin(linger(stream)).await;
        return None;
    }
    Some((stream, settings))
}

/// Writes the last answer of a connection, and closes it. A client that cannot be reached has left anyway.
pub(in crate::edge) async fn answer_last(mut stream: Stream, answer: &[u8]) {
    if let Ok(Ok(())) = timeout(LINGER, stream.write_all(answer)).await {
        linger(stream).await;
    }
}

/// Closes a connection of which everything was read. Over TLS, a client has to take a last word, and not all do.
pub(super) async fn close(mut stream: Stream) {
    let _ = timeout(LINGER, AsyncWriteExt::shutdown(&mut stream)).await;
}

/// Closes a connection whose client may not have read its answer yet. If it were closed before everything is read,
/// it would be reset, and the answer would be lost.
pub(super) async fn linger(mut stream: Stream) {
    let closing = async {
        AsyncWriteExt::shutdown(&mut stream).await?;
        let mut rest = [0; 1024];
        for _ in 0..LINGER_READS {
            if stream.read(&mut rest).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    // A client that does not leave is cut off.
    let _ = timeout(LINGER, closing).await;
}

/// The bytes after a request that are read while it is answered, only to notice whether its client leaves.
const MAX_BEHIND: usize = 64 << 10;

/// The time in which a client has to accept its last answer. Also the time, and below the number of reads, for
/// which a client that is no longer listened to may still send.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_READS: usize = 256;

/// The empty line that may precede a request (RFC 9112, 2.2): some clients send it after the body of the request
/// before.
pub(in crate::edge) const EMPTY_LINE: &[u8] = b"\r\n";
