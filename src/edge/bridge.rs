//! A bridged call: the provider speaks another protocol than the client, so the gateway talks to both itself.
//!
//! Pingora's own way from provider to client can neither hold the head of an answer back until it is known
//! whether it is a failure, nor say anything while the provider is silent. A bridged call needs both. So it is
//! served from here, with Pingora's connections and Pingora's sessions, in one loop that listens to the
//! provider, the client and the clock.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pingora::ErrorSource;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora_proxy::Session;
use tokio::time::{Instant, sleep_until, timeout};

use crate::canon::Context;
use crate::failure::{Failure, Kind};
use crate::protocol::ProtocolId;
use crate::translate::bridge::{Bridge, refused};

use super::call::{Bridged, Call};
use super::exchange::{Exchange, Reply};
use super::{answer, gateway, headers, reply, upstream};

/// Why a bridged call ends before its answer is whole.
enum Stop {
    /// The client is gone.
    Gone,
    /// It has failed; the client has to be told.
    Failed(Failure),
}

type Result<T> = std::result::Result<T, Stop>;

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What has become of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// The client has its answer, or is gone.
    Yes,
    /// It goes on to a target that it is relayed to.
    Relay,
}

/// Serves a bridged call from its first byte upstream to its last byte to the client. If its target fails, the
/// next one is asked; with `last`, only one that is translated to.
///
/// # Errors
/// When the client is gone.
pub(super) async fn serve(
    connector: &Connector,
    session: &mut Session,
    exchange: &mut Exchange,
    last: bool,
) -> pingora::Result<Served> {
    loop {
        match run(connector, session, exchange).await {
            Ok(()) => return Ok(Served::Yes),
            Err(Stop::Gone) => {
                exchange.client_gone = true;
                session.set_keepalive(None);
                return Ok(Served::Yes);
            }
            Err(Stop::Failed(failure)) if exchange.turn(&failure, last) => {
                if !exchange.is_translated() {
                    return Ok(Served::Relay);
                }
            }
            Err(Stop::Failed(failure)) => {
                answer::fail(session, exchange, failure).await?;
                return Ok(Served::Yes);
            }
        }
    }
}

async fn run(connector: &Connector, session: &mut Session, exchange: &mut Exchange) -> Result<()> {
    let (call, bridged) = parts(exchange)?;
    let (upstream, path, body) = (Arc::clone(&call.upstream), call.path, call.body.clone());
    let (client, context, wants_stream) = (bridged.client, Arc::clone(&bridged.context), bridged.stream);
    let (infers, protocol, estimate) = (call.infers, call.protocol, bridged.estimate);
    if path.is_empty() {
        return counted(session, exchange, client, estimate).await;
    }
    let peer = upstream.peer().await?;
    let head = headers::for_bridge(&upstream.provider, protocol, path, body.len())
        .map_err(|error| Failure::provider(error.to_string()))?;
    let mut provider = open(connector, &peer, head, body, session, exchange).await?;
    let head = provider.response_header().ok_or_else(|| Failure::provider("no answer"))?.clone();
    exchange.upstream_id = headers::upstream_id(&head.headers);
    let limits = exchange.snapshot.limits;
    if !infers && matches!(head.status.as_u16(), 404 | 405 | 501) {
        provider.shutdown().await;
        return counted(session, exchange, client, estimate).await;
    }
    if head.status != 200 {
        exchange.fail_attempt("status");
        let body = whole(&mut provider, session, limits.reply_bytes).await?;
        release(connector, provider, &peer).await;
        let retry_after = headers::retry_after(&head.headers);
        let names = (context.upstream_model.as_str(), context.model.decode());
        return Err(refused(head.status.as_u16(), &body, retry_after, names.0, &names.1).into());
    }
    if !infers {
        let body = whole(&mut provider, session, limits.reply_bytes).await?;
        release(connector, provider, &peer).await;
        let counted = crate::translate::count::read(&body)?;
        let body = crate::translate::count::write(client, counted);
        return sent(answer::write(session, exchange, 200, answer::JSON, body).await);
    }
    let profile = &upstream.provider.profile;
    let (to, from) = (client.protocol(), protocol.protocol());
    let bridge = Bridge::new(to, from, profile, Arc::clone(&context), wants_stream, limits.event_bytes);
    let mut stream = Stream { bridge, client, context, started: false, since: Instant::now(), seen: None };
    let streams = reply::is_event_stream(&head);
    let result = match streams {
        true => stream.relay(&mut provider, session, exchange).await,
        false => stream.replay(&mut provider, session, exchange, limits.reply_bytes).await,
    };
    exchange.usage = stream.bridge.usage();
    exchange.deliver(stream.bridge.delivered());
    exchange.oddities = stream.bridge.oddities();
    if matches!(result, Err(Stop::Failed(_))) {
        exchange.fail_attempt("broken");
    }
    let result = match result {
        Ok(()) => stream.finish(session, exchange, wants_stream).await,
        Err(Stop::Failed(failure)) if stream.speaks() => stream.fail(session, exchange, failure).await,
        other => other,
    };
    if result.is_ok() && stream.bridge.is_whole() {
        drain(&mut provider).await;
        release(connector, provider, &peer).await;
    }
    result
}

/// Answers with an estimate: nobody can be asked.
async fn counted(
    session: &mut Session,
    exchange: &mut Exchange,
    client: ProtocolId,
    tokens: u64,
) -> Result<()> {
    exchange.estimated = true;
    let body = crate::translate::count::write(client, tokens);
    sent(answer::write(session, exchange, 200, answer::JSON, body).await)
}

fn parts(exchange: &Exchange) -> std::result::Result<(&Call, &Bridged), Failure> {
    let call = exchange.call()?;
    let bridged = call.bridged.as_ref().ok_or_else(upstream::unknown)?;
    Ok((call, bridged))
}

/// Sends the request and waits for the head of the answer. A pooled connection that the provider had closed
/// in the meantime costs another try, on a fresh one if need be.
async fn open(
    connector: &Connector,
    peer: &HttpPeer,
    head: RequestHeader,
    body: Bytes,
    session: &mut Session,
    exchange: &mut Exchange,
) -> Result<HttpSession> {
    let mut tries = 0;
    loop {
        tries += 1;
        exchange.ask();
        let connected = connector.get_http_session(peer).await;
        let (mut provider, reused) = connected.map_err(|error| {
            exchange.fail_attempt("connect");
            gateway::transport(&error)
        })?;
        provider.set_read_timeout(peer.options.read_timeout);
        provider.set_write_timeout(peer.options.write_timeout);
        if let Some(bill) = &mut exchange.bill {
            bill.forward();
        }
        let asked = tokio::select! {
            asked = ask(&mut provider, head.clone(), body.clone()) => asked,
            _ = gone(session) => return Err(Stop::Gone),
        };
        match asked {
            Ok(()) => return Ok(provider),
            Err(error) if reused && tries < ATTEMPTS && is_stale(&error) => {}
            Err(error) => {
                exchange.fail_attempt("broken");
                return Err(gateway::transport(&error).into());
            }
        }
    }
}

async fn ask(provider: &mut HttpSession, head: RequestHeader, body: Bytes) -> pingora::Result<()> {
    provider.write_request_header(Box::new(head)).await?;
    provider.write_request_body(body, true).await?;
    provider.finish_request_body().await?;
    loop {
        provider.read_response_header().await?;
        if !provider.response_header().is_some_and(|head| head.status.is_informational()) {
            return Ok(());
        }
    }
}

/// Did the connection end before a single byte of an answer?
fn is_stale(error: &pingora::Error) -> bool {
    use pingora::ErrorType::{ConnectionClosed, H2Error, ReadError, WriteError};
    matches!(error.etype(), ConnectionClosed | ReadError | WriteError | H2Error)
}

/// Resolves when the client goes.
async fn gone(session: &mut Session) {
    // Bytes that come now are no part of the request; whoever sends them gets no answer either.
    let _ = session.downstream_session.read_body_or_idle(true).await;
}

/// A body that is no stream.
async fn whole(provider: &mut HttpSession, session: &mut Session, limit: usize) -> Result<Bytes> {
    let mut body = BytesMut::new();
    loop {
        let part = tokio::select! {
            part = provider.read_response_body() => part.map_err(|error| gateway::transport(&error))?,
            () = gone(session) => return Err(Stop::Gone),
        };
        let Some(part) = part else { return Ok(body.freeze()) };
        body.extend_from_slice(&part);
        if body.len() > limit {
            return Err(Failure::new(Kind::Provider, "The provider's answer is too large.").into());
        }
    }
}

/// An answer on its way.
struct Stream {
    bridge: Bridge,
    client: ProtocolId,
    context: Arc<Context>,
    /// Has the client got its head?
    started: bool,
    /// When the provider's head came, later when the client was written to last.
    since: Instant,
    /// When the provider's first event came.
    seen: Option<Instant>,
}

impl Stream {
    /// Passes a provider's stream on, as it comes. What has arrived together goes out together: the client is
    /// written to when the provider would have to be waited for.
    async fn relay(
        &mut self,
        provider: &mut HttpSession,
        session: &mut Session,
        exchange: &mut Exchange,
    ) -> Result<()> {
        let mut clock = pin!(sleep_until(self.deadline()));
        let mut gathered = 0;
        loop {
            let mut read = pin!(provider.read_response_body());
            let arrived = match poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await {
                Poll::Ready(arrived) if gathered < GATHER => arrived,
                early => {
                    gathered = 0;
                    if self.speaks() {
                        self.write(session, exchange).await?;
                    }
                    match early {
                        Poll::Ready(arrived) => arrived,
                        Poll::Pending => loop {
                            tokio::select! {
                                arrived = &mut read => break arrived,
                                () = gone(session) => return Err(Stop::Gone),
                                () = &mut clock => {
                                    self.tick(session, exchange).await?;
                                    clock.as_mut().reset(self.deadline());
                                }
                            }
                        },
                    }
                }
            };
            let Some(chunk) = arrived.map_err(|error| gateway::transport(&error))? else {
                return Ok(self.bridge.end()?);
            };
            gathered += chunk.len();
            self.bridge.push(chunk)?;
            if self.bridge.is_whole() {
                return Ok(());
            }
            if self.bridge.has_begun() && self.seen.is_none() {
                self.seen = Some(Instant::now());
                clock.as_mut().reset(self.deadline());
            }
        }
    }

    /// A provider that answers as a whole: its answer is told as if it had been a stream.
    async fn replay(
        &mut self,
        provider: &mut HttpSession,
        session: &mut Session,
        exchange: &mut Exchange,
        limit: usize,
    ) -> Result<()> {
        let body = whole(provider, session, limit).await?;
        exchange.note_first_byte();
        self.bridge.reply(&body)?;
        Ok(())
    }

    /// Until when the client may be left without a word.
    fn deadline(&self) -> Instant {
        if !self.wants_stream() {
            return self.since + NEVER;
        }
        match (self.started, self.seen) {
            (true, _) => self.since + KEEP_ALIVE,
            (false, Some(seen)) => (seen + COMMIT_AFTER_FIRST).min(self.since + COMMIT_AFTER_HEAD),
            (false, None) => self.since + COMMIT_AFTER_HEAD,
        }
    }

    /// The clock has come to the deadline, or it was moved since.
    async fn tick(&mut self, session: &mut Session, exchange: &mut Exchange) -> Result<()> {
        if Instant::now() < self.deadline() {
            return Ok(());
        }
        if !self.started {
            return self.write(session, exchange).await;
        }
        let sign = self.client.protocol().keep_alive();
        self.send(session, exchange, Bytes::from_static(sign)).await
    }

    /// Is a failure told in the stream, and no longer by a status?
    fn speaks(&self) -> bool {
        self.started || self.wants_stream() && self.bridge.is_committed()
    }

    fn wants_stream(&self) -> bool {
        self.bridge.is_stream()
    }

    /// Writes what is ready, after the head if that was not written yet.
    async fn write(&mut self, session: &mut Session, exchange: &mut Exchange) -> Result<()> {
        if !self.wants_stream() {
            return Ok(());
        }
        let ready = self.bridge.ready();
        if self.started && ready.is_empty() {
            return Ok(());
        }
        self.send(session, exchange, ready).await
    }

    async fn send(&mut self, session: &mut Session, exchange: &mut Exchange, bytes: Bytes) -> Result<()> {
        let mut tasks = Vec::with_capacity(2);
        if !std::mem::replace(&mut self.started, true) {
            exchange.status = 200;
            let head = reply::stream_start(session, exchange)
                .map_err(|error| Failure::provider(error.to_string()))?;
            tasks.push(HttpTask::Header(Box::new(head), false));
        }
        if !bytes.is_empty() {
            exchange.note_first_byte();
            exchange.bytes_out += bytes.len();
            tasks.push(HttpTask::Body(Some(bytes), false));
        }
        self.since = Instant::now();
        exchange.deliver(self.bridge.delivered());
        session.write_response_tasks(tasks).await.map(|_| ()).map_err(|_| Stop::Gone)
    }

    /// The answer is whole: writes what is left of it.
    async fn finish(&mut self, session: &mut Session, exchange: &mut Exchange, stream: bool) -> Result<()> {
        exchange.settle();
        if !stream {
            let body = self.bridge.whole(self.client.protocol(), &self.context);
            return sent(answer::write(session, exchange, 200, answer::JSON, body).await);
        }
        exchange.reply = Reply::Bridged;
        self.write(session, exchange).await?;
        sent(session.write_response_tasks(vec![HttpTask::Done]).await.map(|_| ()))
    }

    /// It has failed after its head was sent: the client is told in its own grammar.
    async fn fail(&mut self, session: &mut Session, exchange: &mut Exchange, failure: Failure) -> Result<()> {
        exchange.reply = Reply::Bridged;
        exchange.note_failure(&failure);
        exchange.fail_in_stream(self.bridge.delivered());
        let last = self.bridge.fail(&failure);
        exchange.failure = Some(failure);
        self.send(session, exchange, last).await?;
        sent(session.write_response_tasks(vec![HttpTask::Done]).await.map(|_| ()))
    }
}

fn sent(result: pingora::Result<()>) -> Result<()> {
    result.map_err(|error| match error.esource() {
        ErrorSource::Upstream => Stop::Failed(gateway::transport(&error)),
        _ => Stop::Gone,
    })
}

/// Reads what a provider still sends after its last word, so that the connection can be used again.
async fn drain(provider: &mut HttpSession) {
    let rest = async { while let Ok(Some(_)) = provider.read_response_body().await {} };
    let _ = timeout(DRAIN, rest).await;
}

/// Keeps the connection if the answer was read to its end.
async fn release(connector: &Connector, mut provider: HttpSession, peer: &HttpPeer) {
    if provider.response_done() {
        connector.release_http_session(provider, peer, peer.options.idle_timeout).await;
    } else {
        provider.shutdown().await;
    }
}

/// Connections tried for one request: the first, and others in the place of stale ones.
const ATTEMPTS: u32 = 3;

/// How long after the provider's first event the client gets its head at the latest, and how long after the
/// provider's head: a failure that comes earlier still is a status.
const COMMIT_AFTER_FIRST: Duration = Duration::from_millis(50);
const COMMIT_AFTER_HEAD: Duration = Duration::from_secs(5);

/// Bytes of a provider's stream after which the client is written to in any case.
const GATHER: usize = 16 << 10;

/// How long a client that waits for a stream is left without a word.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Longer than any answer takes: nothing is said to a client that gets its answer as a whole.
const NEVER: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long the rest of an answer that is whole is waited for.
const DRAIN: Duration = Duration::from_millis(50);
