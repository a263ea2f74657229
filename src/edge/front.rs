//! Where connections arrive: before Pingora sees a request, its head is here, whole and well-formed.
//!
//! Pingora's own reader waits for each read and not for the head, and answers what it does not understand
//! with an empty 400. So HTTP/1 heads are read here, under one deadline, in bounded memory, and handed to
//! Pingora as bytes that came too early; what follows them it reads itself. HTTP/2 is Pingora's from its
//! preface on.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::ready;
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use http::StatusCode;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::default_h2_options;
use pingora::protocols::{ALPN, Stream};
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, http_proxy};
use tokio::io::{AsyncRead as _, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::config::Limits;
use crate::failure::{Failure, Kind};
use crate::protocol::ProtocolId;

use super::connections;
use super::ending::Ending;
use super::endpoint::{self, Endpoint};
use super::exchange;
use super::gateway::Gateway;
use super::head::{self, Malformed, RequestLine, Scan};
use super::replayed::Replayed;

/// The application behind the listeners for clients.
pub(super) struct Front {
    proxy: Arc<HttpProxy<Gateway>>,
    gateway: Gateway,
    /// Says at once that the end is near.
    closing: ShutdownWatch,
}

/// What comes next on a connection.
enum Next {
    /// A request's head, whole and well-formed.
    Request,
    /// A client that speaks HTTP/2.
    Http2,
    /// Nothing any more.
    Gone,
    /// What is no request.
    Refused(Refusal),
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It did not arrive in time.
    Slow,
    /// It is longer than it may be.
    Large,
    /// It is not HTTP, or not unambiguously.
    Malformed(&'static str),
    /// It asks for a tunnel.
    Connect,
}

impl Front {
    pub(super) fn new(conf: &Arc<ServerConf>, gateway: Gateway) -> Self {
        let mut proxy = http_proxy(conf, gateway.clone());
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        options.h2_idle_timeout = Some(H2_IDLE);
        proxy.server_options = Some(options);
        let mut h2 = default_h2_options();
        h2.max_header_list_size(u32::try_from(gateway.limits().head_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(H2_STREAMS)
            .initial_connection_window_size(H2_CONNECTION_WINDOW)
            .max_send_buffer_size(H2_SEND_BUFFER);
        proxy.h2_options = Some(h2);
        Self { proxy: Arc::new(proxy), gateway, closing: watch::channel(true).1 }
    }

    /// All requests of one connection.
    async fn serve(&self, mut stream: Stream, shutdown: &ShutdownWatch) {
        let opened = Instant::now();
        let mut settings: Option<HttpPersistentSettings> = None;
        let mut bytes = BytesMut::new();
        let ending = self.gateway.ending();
        loop {
            let limits = self.gateway.limits();
            let may_be_h2 = settings.is_none();
            match next(&mut stream, &mut bytes, &limits, (shutdown, &ending), may_be_h2).await {
                Next::Request => {}
                Next::Http2 => {
                    let stream = Box::new(Replayed::new(bytes, stream));
                    return self.http2(stream, shutdown, opened, limits.connection_seconds).await;
                }
                Next::Gone => return,
                Next::Refused(refusal) => {
                    self.gateway.refuse_head(refusal.label());
                    // Most connections never need its room.
                    return Box::pin(refuse(stream, refusal, &bytes)).await;
                }
            }
            let mut session = ServerSession::new_http1(stream);
            match settings.take() {
                Some(settings) => settings.apply_to_session(&mut session),
                None => session.set_keepalive_reuses_remaining(Some(KEEPALIVE_REQUESTS)),
            }
            session.set_pipelined_prefix(std::mem::take(&mut bytes));
            // To Pingora it is all one whether the process is about to end or only the connection.
            let old = opened.elapsed() >= Duration::from_secs(limits.connection_seconds);
            let watch = if old || self.gateway.is_near_limits() { &self.closing } else { shutdown };
            let Some(reused) = self.proxy.process_new_http(session, watch).await else { return };
            (stream, settings) = reused.consume();
        }
    }

    /// All requests of an HTTP/2 connection. It is told to wind up when the process is, or after its time.
    async fn http2(&self, stream: Stream, shutdown: &ShutdownWatch, opened: Instant, seconds: u64) {
        let life = Duration::from_secs(seconds);
        let (wind_up, told) = watch::channel(false);
        let mut shutdown = shutdown.clone();
        let ending = async {
            tokio::select! {
                _ = shutdown.wait_for(|shutdown| *shutdown) => {}
                () = sleep_until(opened + life) => {}
            }
            let _ = wind_up.send(true);
            // Who does not let go, and does not even answer, is let go of.
            sleep_until(opened + 2 * life).await;
        };
        tokio::select! {
            _ = self.proxy.process_new(stream, &told) => {}
            () = ending => {}
        }
    }
}

#[async_trait]
impl ServerApp for Front {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        // What comes over TLS has been counted before its handshake.
        let place = match stream.get_ssl_digest() {
            Some(_) => None,
            None => Some(self.gateway.enter(connections::peer(&*stream))?),
        };
        // The task that has accepted it has room for a TLS handshake, 8 KiB of it, as long as it lives.
        let (front, shutdown) = (Arc::clone(self), shutdown.clone());
        tokio::spawn(async move {
            front.serve(stream, &shutdown).await;
            drop(place);
        });
        None
    }

    async fn cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}

/// Reads until it is known what comes next.
async fn next(
    stream: &mut Stream,
    bytes: &mut BytesMut,
    limits: &Limits,
    (shutdown, ending): (&ShutdownWatch, &Ending),
    may_be_h2: bool,
) -> Next {
    let is_h2 = matches!(stream.selected_alpn_proto(), Some(ALPN::H2));
    let mut shutdown = shutdown.clone();
    let mut deadline = Instant::now() + Duration::from_secs(limits.idle_seconds);
    let mut scan = Scan::default();
    let mut leaving = false;
    loop {
        let idle = bytes.is_empty();
        let read = tokio::select! {
            biased;
            read = timeout_at(deadline, read(stream, bytes)) => read,
            () = ending.wait(), if idle => return Next::Gone,
            _ = shutdown.wait_for(|shutdown| *shutdown), if idle && !leaving => {
                leaving = true;
                deadline = deadline.min(Instant::now() + LAST_REQUEST);
                continue;
            }
        };
        match read {
            Ok(Ok(1..)) => {}
            Err(_) if !idle && !is_h2 => return Next::Refused(Refusal::Slow),
            _ => return Next::Gone,
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
        let end = match scan.end(bytes) {
            Ok(end) => end,
            Err(Malformed(why)) => return Next::Refused(Refusal::Malformed(why)),
        };
        if end.unwrap_or(bytes.len()) > limits.head_bytes {
            return Next::Refused(Refusal::Large);
        }
        if let Some(end) = end {
            return match head::check(bytes.get(..end).unwrap_or_default()) {
                Ok(line) if line.method == "CONNECT" => Next::Refused(Refusal::Connect),
                Ok(_) => Next::Request,
                Err(Malformed(why)) => Next::Refused(Refusal::Malformed(why)),
            };
        }
    }
}

/// Reads what has arrived. A connection that waits has no buffer for that.
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

/// Tells the client in its own words, as far as it said who it is.
async fn refuse(mut stream: Stream, refusal: Refusal, head: &[u8]) {
    let path = RequestLine::read(head).map_or("", RequestLine::path);
    let protocol = endpoint::find(path).and_then(|(endpoint, _)| Endpoint::protocol(endpoint));
    let (failure, id) = (refusal.failure(), exchange::new_id());
    let body = protocol.unwrap_or(ProtocolId::Chat).protocol().envelope(&failure, &id);
    let status = failure.status();
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let allow = failure.allow().map(|methods| format!("allow: {methods}\r\n")).unwrap_or_default();
    let mut answer = format!(
        "HTTP/1.1 {status} {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{allow}\
         request-id: {id}\r\nx-request-id: {id}\r\nconnection: close\r\n\r\n",
        reason.unwrap_or_default(),
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    let telling = async {
        stream.write_all(&answer).await?;
        AsyncWriteExt::shutdown(&mut stream).await?;
        // A connection that is closed before all is read is reset, and the answer with it.
        let mut rest = [0; 1024];
        for _ in 0..LINGER_READS {
            if stream.read(&mut rest).await? == 0 {
                break;
            }
        }
        std::io::Result::Ok(())
    };
    // Whoever can not be told is gone anyway.
    let _ = timeout(LINGER, telling).await;
}

impl Refusal {
    /// The value of the metric's label.
    fn label(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Large => "large",
            Self::Malformed(_) => "malformed",
            Self::Connect => "connect",
        }
    }

    fn failure(self) -> Failure {
        match self {
            Self::Slow => Failure::new(Kind::RequestTimeout, "The request's head did not arrive in time."),
            Self::Large => Failure::new(Kind::HeadTooLarge, "The request's headers are too large."),
            Self::Malformed(why) => {
                let message = format!("The request is not HTTP, or not unambiguously: {why}.");
                Failure::new(Kind::BadRequest, message).with_code("invalid_http")
            }
            Self::Connect => {
                let failure = Failure::new(Kind::MethodNotAllowed, "There are no tunnels here.");
                failure.with_allow("GET, HEAD, POST")
            }
        }
    }
}

/// What an HTTP/2 client says first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a head that are read at once: Pingora's own `INIT_HEADER_BUF_SIZE`.
const HEAD_BUFFER: usize = 4096;

/// Requests on one connection, after which the client shall make a new one: load balancers in front of
/// several gateways get a chance to spread them.
const KEEPALIVE_REQUESTS: u32 = 10_000;

/// How long an HTTP/2 connection without streams stays open: Envoy's advice for edges.
const H2_IDLE: Duration = Duration::from_secs(300);

/// Streams of one HTTP/2 connection at a time: Envoy's advice for edges, and Pingora's default.
const H2_STREAMS: u32 = 100;

/// Bytes that clients may send on one connection before they are read: Envoy's advice for edges. For one
/// stream, it is the protocol's default of 64 KiB.
const H2_CONNECTION_WINDOW: u32 = 1 << 20;

/// Bytes of a stream that wait in memory for a client that does not read.
const H2_SEND_BUFFER: usize = 64 << 10;

/// How long a connection without a request stays open when the process is told to stop: a request that is on its
/// way already is still answered, and the answer says that it is the last one.
const LAST_REQUEST: Duration = Duration::from_secs(2);

/// How long, and for how many reads, a client that was refused may still send.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_READS: usize = 256;
