//! The connections of clients, up to the head of each request: before Pingora sees a request, its head is complete
//! and well-formed.
//!
//! Pingora's own reader waits for each read and not for the head, and answers what it does not understand
//! with an empty 400. So HTTP/1 heads are read here, under one deadline, in bounded memory. A request is then a [`served`]
//! one, or, beside the listener for clients, handed to Pingora as bytes that came too early; what follows them it reads
//! itself, as far as [`framing`] lets it. An HTTP/2 connection is served by [`streams`] from its preface on.
//!
//! [`served`]: crate::edge::wire::served

pub(in crate::edge) mod pre_tls;
pub(in crate::edge) mod side;

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::ready;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf as _, BytesMut};
use pingora::apps::{HttpServerApp, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, HttpSession, default_h2_options};
use pingora::protocols::{ALPN, Stream};
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, ProxyHttp as _, http_proxy};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::config::Limits;
use crate::edge::call::refusal::Refusal;
use crate::edge::call::shutdown::Shutdown;
use crate::edge::gateway::Gateway;
use crate::edge::gateway::connections;
use crate::edge::gateway::refused::Refused;
use crate::edge::respond::outbox::Outbox;
use crate::edge::wire::alarm::Alarm;
use crate::edge::wire::framing;
use crate::edge::wire::framing::EMPTY_LINE;
use crate::edge::wire::head::{self, Length, Malformed, RequestLine, Scan};
use crate::edge::wire::quirks;
use crate::edge::wire::served::{Return, Served};
use crate::edge::wire::streams::{self, Asked, Guard, PREFACE};
use crate::failure::Failure;

/// The application behind the listeners for clients.
pub(in crate::edge) struct Acceptor {
    proxy: Arc<HttpProxy<Gateway>>,
    gateway: Gateway,
    h2: H2Options,
}

/// The next step for a connection.
pub(in crate::edge) enum Next {
    /// A request with a complete, well-formed head of so many bytes, and the length of its body.
    Request(usize, Length),
    /// A client that uses HTTP/2.
    Http2,
    /// The connection is over.
    Gone,
    /// Bytes that are not a valid request.
    Refused(Refusal),
}

impl Acceptor {
    pub(in crate::edge) fn new(conf: &Arc<ServerConf>, gateway: Gateway) -> Self {
        let mut h2 = default_h2_options();
        h2.max_concurrent_streams(H2_STREAMS)
            .initial_connection_window_size(H2_CONNECTION_WINDOW)
            .max_send_buffer_size(H2_SEND_BUFFER);
        let proxy = Arc::new(http_proxy(conf, gateway.clone()));
        Self { proxy, gateway, h2 }
    }

    /// Serves all requests of one connection.
    async fn serve(&self, mut stream: Stream, shutdown: &ShutdownWatch) {
        let opened = Instant::now();
        let (mut bytes, mut alarm, mut before) = (BytesMut::new(), Alarm::default(), 0);
        let (ending, back) = (self.gateway.shutdown(), Arc::new(Return::default()));
        loop {
            let limits = self.gateway.limits();
            let told = (shutdown, &*ending);
            let next = next(&mut stream, &mut bytes, &limits, &mut alarm, told, before == 0).await;
            let request = match next {
                Next::Request(end, length) => (end, length),
                // Most connections never need the memory of either, so it is not a part of this future.
                Next::Http2 => {
                    return Box::pin(self.http2(stream, bytes, shutdown, opened, &limits)).await;
                }
                Next::Gone => return,
                Next::Refused(refusal) => return Box::pin(self.refuse(stream, refusal, &bytes)).await,
            };
            before += 1;
            let old = opened.elapsed() >= Duration::from_secs(limits.connection_seconds);
            let is_last =
                old || before > KEEPALIVE_REQUESTS || *shutdown.borrow() || self.gateway.is_near_limits();
            match Served::new(stream, &mut bytes, request, !is_last, &back) {
                Ok(served) => self.answer(served).await,
                Err((stream, Malformed(why))) => {
                    return Box::pin(self.refuse(stream, Refusal::Malformed(why), &bytes)).await;
                }
            }
            let Some(same) = back.take() else { return };
            stream = same;
        }
    }

    /// Answers a request over HTTP/1. The hooks are called as Pingora would call them for a request that is answered by the
    /// first of them; its flow around them, whose state for one request takes 100 KiB, is left out.
    async fn answer(&self, served: Served) {
        let (mut session, mut exchange) = (quirks::session_of(served), self.gateway.new_ctx());
        let failed = self.gateway.request_filter(&mut session, &mut exchange).await.err();
        if let Some(error) = &failed {
            self.gateway.fail_to_proxy(&mut session, error, &mut exchange).await;
        }
        self.gateway.logging(&mut session, failed.as_deref(), &mut exchange).await;
        if failed.is_none() {
            // Whoever does not take the end of an answer is gone.
            let _ = session.downstream_session.finish().await;
        }
    }

    /// Serves all requests of an HTTP/2 connection. The client is told to use another connection when the process
    /// ends, or when the connection has reached its age limit.
    async fn http2(
        &self,
        stream: Stream,
        first: BytesMut,
        shutdown: &ShutdownWatch,
        opened: Instant,
        limits: &Limits,
    ) {
        let life = Duration::from_secs(limits.connection_seconds);
        let (wind_up, told) = watch::channel(false);
        let (mut shutdown, passed_on) = (shutdown.clone(), told.clone());
        let ending = async {
            tokio::select! {
                _ = shutdown.wait_for(|shutdown| *shutdown) => {}
                () = sleep_until(opened + life) => {}
            }
            let _ = wind_up.send(true);
            // A client that does not close the connection, and does not even acknowledge, is cut off.
            sleep_until(opened + 2 * life).await;
        };
        let outbox = Outbox::default();
        let mut options = self.h2.clone();
        options.max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX));
        let serving = streams::serve(stream, first, options, told, H2_IDLE, |asked| match asked {
            Asked::Request(session, guard) => self.stream(*session, guard, &outbox, &passed_on),
            Asked::Malformed => self.gateway.note_refused(&Refused::malformed()),
        });
        tokio::select! {
            () = serving => {}
            () = ending => {}
        }
    }

    /// Serves one request of an HTTP/2 connection. A malformed head is refused at once.
    fn stream(&self, session: HttpSession, guard: Guard, outbox: &Outbox, shutdown: &ShutdownWatch) {
        let place = match self.gateway.enter_stream(session.req_header()) {
            Ok(place) => place,
            Err(failure) => return self.refuse_stream(session, failure, outbox),
        };
        let (proxy, shutdown) = (Arc::clone(&self.proxy), shutdown.clone());
        let outbox = outbox.clone();
        tokio::spawn(async move {
            outbox.serving(proxy.process_new_http(ServerSession::new_http2(session), &shutdown)).await;
            drop((guard, place));
        });
    }

    /// Tells the client of a stream why it is refused.
    fn refuse_stream(&self, mut session: HttpSession, failure: Failure, outbox: &Outbox) {
        let request = session.req_header();
        let origin = self.gateway.allowed_origin(&request.headers);
        let refused =
            Refused::new(request.method.as_str(), request.uri.path(), Some(request.version), failure);
        let peer = session.client_addr().and_then(|address| address.as_inet()).map(SocketAddr::ip);
        let client = self.gateway.client(peer, &session.req_header().headers);
        let refused = refused.readable_from(origin).asked_by(client);
        self.gateway.note_refused(&refused);
        let body = refused.body.clone();
        if let Ok(head) = refused.head()
            && session.write_response_header(Box::new(head), false).is_ok()
        {
            outbox.send(&mut session, body);
        }
    }

    /// Tells the client why it is refused, in the envelope of its own protocol if the head shows which one that
    /// is.
    async fn refuse(&self, stream: Stream, refusal: Refusal, head: &[u8]) {
        let line = RequestLine::read(head).ok();
        let (method, path) = line.map_or(("", ""), |line| (line.method, line.path()));
        let refused = Refused::new(method, path, line.map(|line| line.version), refusal.failure());
        let refused = refused.asked_by(connections::peer(&*stream));
        self.gateway.refuse_head(refusal);
        self.gateway.note_refused(&refused);
        framing::answer_last(stream, &refused.http1()).await;
    }
}

#[async_trait]
impl ServerApp for Acceptor {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        // A connection over TLS was counted before its handshake.
        let place = match stream.get_ssl_digest() {
            Some(_) => None,
            None => Some(self.gateway.enter(connections::peer(&*stream))?),
        };
        // The accepting task has room for a TLS handshake, 8 KiB of it, for as long as it lives.
        let (acceptor, shutdown) = (Arc::clone(self), shutdown.clone());
        tokio::spawn(async move {
            acceptor.serve(stream, &shutdown).await;
            drop(place);
        });
        None
    }

    async fn cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}

/// Reads until the next step is known.
pub(in crate::edge) async fn next(
    stream: &mut Stream,
    bytes: &mut BytesMut,
    limits: &Limits,
    alarm: &mut Alarm,
    (shutdown, ending): (&ShutdownWatch, &Shutdown),
    may_be_h2: bool,
) -> Next {
    let is_h2 = matches!(stream.selected_alpn_proto(), Some(ALPN::H2));
    let mut shutdown = shutdown.clone();
    let mut deadline = Instant::now() + Duration::from_secs(limits.idle_seconds);
    let mut scan = Scan::default();
    let (mut leaving, mut begun) = (false, false);
    loop {
        let idle = bytes.is_empty();
        let read = tokio::select! {
            biased;
            read = read(stream, bytes) => Some(read),
            () = ending.wait(), if idle => return Next::Gone,
            _ = shutdown.wait_for(|shutdown| *shutdown), if idle && !leaving => {
                leaving = true;
                deadline = deadline.min(Instant::now() + LAST_REQUEST);
                continue;
            }
            () = alarm.at(deadline) => None,
        };
        match read {
            Some(Ok(1..)) => {}
            None if !idle && !is_h2 => return Next::Refused(Refusal::Slow),
            _ => return Next::Gone,
        }
        if !begun && bytes.len() >= EMPTY_LINE.len() {
            begun = true;
            if bytes.starts_with(EMPTY_LINE) && !is_h2 {
                bytes.advance(EMPTY_LINE.len());
                scan = Scan::default();
            }
            if bytes.is_empty() {
                continue;
            }
        }
        if idle {
            deadline = Instant::now() + Duration::from_secs(limits.head_seconds);
        }
        if may_be_h2 {
            let known = bytes.len().min(PREFACE.len());
            match bytes.get(..known) == PREFACE.get(..known) {
                true if known == PREFACE.len() => return Next::Http2,
                true => continue,
                false if is_h2 => return Next::Gone,
                false => {}
            }
        }
        if let Some(next) = judged(&mut scan, bytes, limits) {
            return next;
        }
    }
}

/// Judges the head that has arrived; `None` if it has not come to its end and may still be one.
fn judged(scan: &mut Scan, bytes: &[u8], limits: &Limits) -> Option<Next> {
    let refused = |Malformed(why)| Next::Refused(Refusal::Malformed(why));
    let end = match scan.end(bytes) {
        Ok(end) => end,
        Err(malformed) => return Some(refused(malformed)),
    };
    if end.unwrap_or(bytes.len()) > limits.head_bytes {
        return Some(Next::Refused(Refusal::Large));
    }
    Some(match head::check(bytes.get(..end?).unwrap_or_default()) {
        Ok((line, _)) if line.method == "CONNECT" => Next::Refused(Refusal::Connect),
        Ok((_, length)) => Next::Request(end?, length),
        Err(malformed) => refused(malformed),
    })
}

/// Reads what has arrived. A waiting connection has no buffer for that.
async fn read(stream: &mut Stream, bytes: &mut BytesMut) -> std::io::Result<usize> {
    poll_fn(|cx| {
        let mut room = [MaybeUninit::uninit(); HEAD_BUFFER];
        let mut arrived = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut arrived))?;
        bytes.extend_from_slice(arrived.filled());
        Ok(arrived.filled().len()).into()
    })
    .await
}

/// The bytes of a head that are read at once: Pingora's own `INIT_HEADER_BUF_SIZE`.
const HEAD_BUFFER: usize = 4096;

/// The requests on one connection after which it is closed. A chosen value: load balancers in front of several
/// gateways get a chance to spread their connections.
const KEEPALIVE_REQUESTS: u32 = 10_000;

/// The time for which an HTTP/2 connection without streams stays open. The value is Envoy's advice for edge
/// proxies.
const H2_IDLE: Duration = Duration::from_secs(300);

/// The most concurrent streams of one HTTP/2 connection. The value is Envoy's advice for edge proxies, and
/// Pingora's default.
const H2_STREAMS: u32 = 100;

/// The bytes that a client may send on one HTTP/2 connection before they are read. The value is Envoy's advice for
/// edge proxies. For one stream, it is the protocol's default of 64 KiB.
const H2_CONNECTION_WINDOW: u32 = 1 << 20;

/// The bytes of a stream that wait in memory for a client that does not read.
const H2_SEND_BUFFER: usize = 64 << 10;

/// The time for which a connection without a request stays open after the process was told to stop. A request that
/// is on its way is still answered, and the answer says that it is the last one.
const LAST_REQUEST: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
