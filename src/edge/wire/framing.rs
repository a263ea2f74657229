//! The end of an HTTP/1 request: the reader before it gets nothing that stands behind.
//!
//! Pingora gives a call up when more arrives than its request, and loses what it has read too far. So it is shown the
//! bytes of one request and no more. What a client sends behind it before it is answered ends the connection, when
//! the answer is written.

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

/// The bytes that are still to come of a request's body, and those that came behind it.
#[derive(Debug)]
pub(in crate::edge) struct Framing {
    rest: Rest,
    /// Bytes that came before their turn, and were thrown away.
    behind: usize,
    /// The number of them that belong to an empty line, which means nothing.
    blank: usize,
}

#[derive(Debug)]
enum Rest {
    Sized(u64),
    Chunked(Chunks),
    /// It is not framed as it should be, so nobody knows where it ends.
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

    /// Takes what has arrived; gives how much of it is the body's.
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

    /// Takes what came before its turn.
    pub(super) fn pass_over(&mut self, bytes: &[u8]) {
        let line = EMPTY_LINE.get(self.behind..).unwrap_or_default();
        if self.blank == self.behind {
            self.blank += line.iter().zip(bytes).take_while(|(known, byte)| known == byte).count();
        }
        self.behind += bytes.len();
    }

    /// Whether the next request is still to come, whole.
    pub(super) fn is_clear(&self) -> bool {
        self.behind == 0 || self.behind == EMPTY_LINE.len() && self.blank == self.behind
    }

    /// Waits until the client goes; what it sends meanwhile is of no use any more.
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

/// A session for the request whose head, of `end` bytes, stands at the beginning of `bytes`, with what has arrived of its
/// body.
///
/// # Errors
/// The connection, if the body is not framed as it should be; the bytes are left as they are.
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

/// The connection of a request that was answered, if another one can follow.
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

/// Writes the last answer of a connection, and closes it. Whoever cannot be told is gone anyway.
pub(in crate::edge) async fn answer_last(mut stream: Stream, answer: &[u8]) {
    if let Ok(Ok(())) = timeout(LINGER, stream.write_all(answer)).await {
        linger(stream).await;
    }
}

/// Closes a connection whose client may not have read its answer yet: one that is closed before all is read is reset,
/// and the answer with it.
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
    // Whoever does not go is left.
    let _ = timeout(LINGER, closing).await;
}

/// Bytes behind a request that are read, while it is answered, only to see whether its client goes.
const MAX_BEHIND: usize = 64 << 10;

/// The time in which a client has to take its last answer; and the time, and the number of reads, for which one may still
/// send that is not listened to any more.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_READS: usize = 256;

/// The empty line that may stand before a request (RFC 9112, 2.2): some clients send it behind the body of the one before.
pub(in crate::edge) const EMPTY_LINE: &[u8] = b"\r\n";
