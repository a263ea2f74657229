//! HTTP/2: the streams of a connection, each of which is one request.
//!
//! Pingora can serve a whole connection by itself. But then all heads that have arrived are in memory at once,
//! however large they have become by decompression, and are checked only when each has a task of its own. So
//! connections are served from here: the heads are read one after the other, and one that is too large is refused
//! at once.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use pingora::protocols::http::v2::server::{self, H2Accept, H2Options, HttpSession};
use pingora::protocols::{Digest, Stream};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use crate::edge::wire::{Reader, Wire};

/// A request on an HTTP/2 connection.
pub(in crate::edge) enum Asked {
    /// A request.
    Request(Box<HttpSession>, Guard),
    /// A malformed head. The client has been told.
    Malformed,
}

/// The streams of a connection that have a request.
#[derive(Debug, Default)]
struct Open {
    count: AtomicUsize,
    none: Notify,
}

/// Whether a client resets most of its requests.
#[derive(Debug, Default)]
struct Fickle {
    is: AtomicBool,
    seen: Notify,
}

impl Fickle {
    /// Signals this once to whoever waits for it.
    fn see(&self) {
        if !self.is.swap(true, Ordering::Relaxed) {
            self.seen.notify_one();
        }
    }
}

/// The place of a stream among those of its connection. It becomes free when this is dropped.
pub(in crate::edge) struct Guard(Arc<Open>);

impl Drop for Guard {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_one();
        }
    }
}

impl Open {
    fn enter(self: &Arc<Self>) -> Guard {
        self.count.fetch_add(1, Ordering::AcqRel);
        Guard(Arc::clone(self))
    }

    /// Waits until there has been no stream for this time.
    async fn idle(&self, time: Duration) {
        while self.count.load(Ordering::Acquire) > 0 {
            self.none.notified().await;
        }
        sleep(time).await;
    }
}

/// A counter of places whose number is limited. All clones are the same.
#[derive(Clone, Debug, Default)]
pub(in crate::edge) struct StreamPermits(Arc<AtomicUsize>);

/// One of the places. It becomes free when this is dropped.
#[derive(Debug)]
pub(in crate::edge) struct StreamPermit(StreamPermits);

impl StreamPermits {
    /// Takes a place, unless `most` are taken.
    pub(in crate::edge) fn enter(&self, most: usize) -> Option<StreamPermit> {
        let more = |taken: usize| (taken < most).then_some(taken + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(StreamPermit(self.clone()))
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves a connection of which `first` has been read already, until it has been idle for some time. The client is
/// told to use another connection when `wind_up` says so, or if it resets most of its requests.
pub(in crate::edge) async fn serve(
    stream: Stream,
    first: BytesMut,
    options: H2Options,
    mut wind_up: watch::Receiver<bool>,
    idle: Duration,
    mut asked: impl FnMut(Asked),
) {
    let digest = Arc::new(Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
    });
    let fickle = Arc::new(Fickle::default());
    let heads = Heads { first, fickle: Arc::clone(&fickle), ..Heads::default() };
    let stream = Box::new(Wire { reader: heads, stream });
    let handshake = timeout(HANDSHAKE, server::handshake(stream, Some(options)));
    let Ok(Ok(mut connection)) = handshake.await else { return };
    let (open, mut winding_up, mut malformed) = (Arc::new(Open::default()), false, 0);
    loop {
        let accepted = tokio::select! {
            biased;
            _ = wind_up.wait_for(|wind_up| *wind_up), if !winding_up => {
                winding_up = true;
                connection.graceful_shutdown();
                continue;
            }
            () = fickle.seen.notified(), if !winding_up => {
                winding_up = true;
                connection.graceful_shutdown();
                continue;
            }
            accepted = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)) => accepted,
            () = open.idle(idle) => return,
        };
        match accepted {
            Ok(Some(H2Accept::Session(session))) => asked(Asked::Request(Box::new(session), open.enter())),
            Ok(Some(H2Accept::Rejected)) if malformed < MAX_MALFORMED => {
                malformed += 1;
                asked(Asked::Malformed);
            }
            _ => return,
        }
    }
}

/// A reader that passes the bytes of a connection on up to the end of a request's head, and no further before that
/// head is taken.
#[derive(Debug, Default)]
struct Heads {
    /// The bytes that were read and not passed on yet.
    first: BytesMut,
    frame: Frame,
    /// Whether a head has just ended.
    ended: bool,
    fickle: Arc<Fickle>,
}

/// The position of a connection between its frames (RFC 9113, 4.1).
#[derive(Debug)]
struct Frame {
    /// The bytes before the next frame's header: of the client's preface, or of a payload.
    left: usize,
    /// The part of a frame's header that has arrived.
    head: [u8; FRAME_HEAD],
    have: usize,
    /// Whether the payload is the last part of a header block.
    ends_head: bool,
    /// The number of header blocks, and of streams that the client has reset.
    heads: u64,
    resets: u64,
}

impl Default for Frame {
    fn default() -> Self {
        Self { left: PREFACE.len(), head: [0; FRAME_HEAD], have: 0, ends_head: false, heads: 0, resets: 0 }
    }
}

impl Frame {
    /// Takes the next bytes, and returns how many there are up to the end of a header block.
    fn take(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let skipped = self.left.min(bytes.len() - at);
            self.left -= skipped;
            at += skipped;
            if self.left == 0 && std::mem::take(&mut self.ends_head) {
                return Some(at);
            }
            let byte = *bytes.get(at)?;
            if let Some(place) = self.head.get_mut(self.have) {
                *place = byte;
            }
            self.have += 1;
            at += 1;
            if self.have == FRAME_HEAD {
                self.have = 0;
                let [a, b, c, kind, flags, ..] = self.head;
                self.left = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
                self.ends_head = matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS != 0;
                self.heads += u64::from(self.ends_head);
                self.resets += u64::from(kind == RST_STREAM);
            }
        }
    }

    /// Whether the client often resets most of its requests. It may have got what it wanted, like a client that
    /// has read the last event of a stream and does not wait for the end.
    fn is_fickle(&self) -> bool {
        self.resets > MAX_RESETS && self.resets > self.heads / 2
    }

    /// Whether the client continues to do so long after it was told to use another connection (CVE-2023-44487).
    fn is_flood(&self) -> bool {
        self.is_fickle() && self.resets > 2 * MAX_RESETS
    }
}

impl Reader for Heads {
    fn poll_read(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.frame.is_flood() {
            return Poll::Ready(Err(io::Error::other("too many streams are reset")));
        }
        if self.frame.is_fickle() {
            self.fickle.see();
        }
        if std::mem::take(&mut self.ended) {
            // The reader takes the present head when there is nothing more to read.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if !self.first.is_empty() {
            let known = self.first.get(..buf.remaining()).unwrap_or(&self.first);
            let end = self.frame.take(known);
            let count = end.unwrap_or(known.len());
            self.ended = end.is_some();
            buf.put_slice(known.get(..count).unwrap_or_default());
            self.first.advance(count);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(stream).poll_read(cx, buf))?;
        let fresh = buf.filled().get(before..).unwrap_or_default();
        if let Some(end) = self.frame.take(fresh) {
            self.ended = true;
            self.first.extend_from_slice(fresh.get(end..).unwrap_or_default());
            buf.set_filled(before + end);
        }
        Poll::Ready(Ok(()))
    }
}

/// The preface of an HTTP/2 client (RFC 9113, 3.4).
pub(in crate::edge) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The bytes of a frame's header (RFC 9113, 4.1).
const FRAME_HEAD: usize = 9;

/// The streams of a connection that a client may reset before it is told to use another one, even if it has more
/// other streams; and again as many after that.
const MAX_RESETS: u64 = 200;

/// The types of frames that carry header blocks or reset streams, and the flag of the last frame of a block (RFC
/// 9113, 6).
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// The time in which a client has to acknowledge the gateway's settings.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The malformed requests of one connection after which it is closed: as many as Pingora accepts.
const MAX_MALFORMED: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        bytes.extend(vec![kind; usize::from(length)]);
        bytes
    }

    #[test]
    fn a_head_ends_with_the_last_frame_of_its_block() {
        let mut bytes = PREFACE.to_vec();
        let mut ends = Vec::new();
        for (kind, flags, length) in [
            (4, 0, 6),
            (1, 4, 5),
            (0, 1, 200),
            (1, 0, 7),
            (9, 0, 0),
            (9, 4, 3),
            (8, 4, 4),
            (1, 5, 0),
            (0, 4, 1),
        ] {
            bytes.extend(frame(kind, flags, length));
            if matches!(kind, 1 | 9) && flags & 4 != 0 {
                ends.push(bytes.len());
            }
        }
        for step in [1, 2, 9, 64, bytes.len()] {
            let (mut state, mut found) = (Frame::default(), Vec::new());
            for (part, piece) in bytes.chunks(step).enumerate() {
                let mut at = 0;
                while let Some(end) = state.take(&piece[at..]) {
                    at += end;
                    found.push(part * step + at);
                }
            }
            assert_eq!(found, ends, "{step}");
        }
    }

    #[test]
    fn a_place_is_free_again_when_it_is_left() {
        let places = StreamPermits::default();
        let mut taken: Vec<_> = (0..3).map(|_| places.clone().enter(3).unwrap()).collect();
        assert!(places.enter(3).is_none());
        taken.pop();
        assert!(places.enter(3).is_some());
    }

    #[test]
    fn a_client_may_take_back_some_of_what_it_asks() {
        let mut state = Frame { left: 0, ..Frame::default() };
        let mut take = |kind: u8, count: u64| {
            for _ in 0..count {
                let bytes = frame(kind, END_HEADERS, 4);
                let _ = state.take(&bytes);
            }
            (state.is_fickle(), state.is_flood())
        };
        assert_eq!(take(HEADERS, MAX_RESETS), (false, false));
        assert_eq!(take(RST_STREAM, MAX_RESETS), (false, false));
        assert_eq!(take(RST_STREAM, 1), (true, false));
        assert_eq!(take(HEADERS, MAX_RESETS + 2), (false, false));
        assert_eq!(take(RST_STREAM, MAX_RESETS - 1), (true, false));
        assert_eq!(take(RST_STREAM, 1), (true, true));
    }
}
