//! Calls that the gateway carries itself, from their first byte upstream to their last byte to the client.
//!
//! Pingora's own way from provider to client can neither hold the head of an answer back until it is known
//! whether it is a failure, nor say anything while the provider is silent; a call between two protocols needs
//! both. Nor can it wait longer for the first byte than for the others, read on when the client is gone, or go
//! on after a failure to where it did not begin. What needs any of this is served from here, with Pingora's
//! connections and Pingora's sessions, in one loop that listens to the provider, the client and the clock.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use pingora::connectors::http::Connector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType};
use pingora_proxy::Session;
use tokio::time::{Instant, sleep_until, timeout};

use crate::failure::Failure;
use crate::protocol::ProtocolId;
use crate::translate;
use crate::translate::bridge::{Bridge, refused};

use super::call::Bridged;
use super::exchange::{Exchange, Reply};
use super::passage::Passage;
use super::reply::Whole;
use super::transport::{error_kind, is_stale, status_kind, transport};
use super::upstream::{Upstream, keep_apart};
use super::watch::{Stop, Watch};
use super::{answer, headers, priced, reply};

type Result<T> = std::result::Result<T, Stop>;

/// Serves a call. If its target fails, the next one is asked.
///
/// # Errors
/// When the client is gone.
pub(super) async fn serve(
    connector: &Connector,
    session: &mut Session,
    exchange: &mut Exchange,
) -> pingora::Result<()> {
    loop {
        let mut watch = exchange.watch();
        let result = run(connector, session, exchange, &mut watch).await;
        if watch.is_alone() || matches!(result, Err(Stop::Gone)) {
            exchange.client_gone = true;
            match result {
                Err(Stop::Failed(failure)) => exchange.fail_unseen(failure),
                Err(Stop::Gone) => exchange.leave(),
                Ok(()) => {}
            }
            // An answer that ends well would be written to its end, however long the client takes for that.
            return Err(Error::explain(ErrorType::ConnectionClosed, "the client is gone").into_down());
        }
        match result {
            Err(Stop::Failed(failure)) if exchange.turn(&failure) => {}
            Err(Stop::Failed(failure)) => return answer::fail(session, exchange, failure).await,
            _ => return Ok(()),
        }
    }
}

async fn run(
    connector: &Connector,
    session: &mut Session,
    exchange: &mut Exchange,
    watch: &mut Watch,
) -> Result<()> {
    let call = exchange.call()?;
    let bridged = call.bridged.as_ref().map(|bridged| (bridged.client, bridged.estimate));
    if let (Some((client, estimate)), "") = (bridged, call.path) {
        return counted(session, exchange, client, estimate).await;
    }
    let (upstream, infers) = (Arc::clone(&call.upstream), call.infers);
    let head = match bridged {
        Some(_) => headers::for_bridge(call.provider(), call.protocol, call.path, call.body.len()),
        None => headers::to_provider(session.req_header(), exchange, call),
    };
    let head = head.map_err(|error| Failure::provider(error.to_string()))?;
    let request = (head, call.body.clone());
    let (mut provider, peer) = open(connector, &upstream, request, session, exchange, watch).await?;
    let head = provider.response_header().ok_or_else(|| Failure::provider("no answer"))?.clone();
    exchange.upstream_id = reply::upstream_id(exchange, &head);
    exchange.trace.answered(head.status.as_u16());
    let limit = exchange.snapshot.limits.reply_bytes;
    if let (Some((client, estimate)), false, 404 | 405 | 501) = (bridged, infers, head.status.as_u16()) {
        provider.shutdown().await;
        return counted(session, exchange, client, estimate).await;
    }
    let streams = reply::is_event_stream(&head) && reply::is_readable(&head);
    let relays = streams && exchange.call()?.streams;
    if head.status != 200 || !infers || !relays && bridged.is_none() {
        let body = whole(&mut provider, session, exchange, watch, limit).await;
        let body = body.map_err(|stop| if head.status == 200 { stop } else { stop.without_cost() });
        let body = body.inspect_err(|stop| exchange.note_stop(stop))?;
        release(connector, provider, &peer).await;
        return answered(session, exchange, watch, &head, body).await;
    }
    let passage = passage(exchange)?;
    let mut stream = Stream {
        passage,
        client: exchange.dialect(),
        watch,
        started: false,
        since: Instant::now(),
        seen: None,
    };
    let result = match streams {
        true => stream.relay(&mut provider, session, exchange).await,
        false => stream.replay(&mut provider, session, exchange, limit).await,
    };
    exchange.usage = stream.passage.usage();
    priced::note_served(&mut exchange.served, exchange.call.as_deref(), stream.passage.served());
    exchange.deliver(stream.passage.delivered());
    exchange.note_reasoning(stream.passage.reasons());
    if matches!(result, Err(Stop::Gone)) && stream.passage.is_counted() {
        exchange.usage = stream.passage.usage();
        exchange.settle();
    }
    exchange.oddities = stream.passage.oddities();
    exchange.said = stream.passage.said();
    let result = result.inspect_err(|stop| exchange.note_stop(stop));
    let result = match result {
        Ok(()) => stream.finish(session, exchange).await,
        Err(Stop::Failed(failure)) if stream.speaks() => stream.fail(session, exchange, failure).await,
        other => other,
    };
    if result.is_ok() && stream.passage.is_whole() {
        drain(&mut provider).await;
        release(connector, provider, &peer).await;
    }
    result
}

/// What the provider's stream goes through.
fn passage(exchange: &Exchange) -> std::result::Result<Passage, Failure> {
    let (call, limit) = (exchange.call()?, exchange.snapshot.limits.event_bytes);
    Ok(match &call.bridged {
        Some(Bridged { client, context, stream, .. }) => {
            let (client, from, profile) =
                (client.protocol(), call.protocol.protocol(), &call.provider().profile);
            let bridge = Bridge::new(client, from, profile, Arc::clone(context), *stream, limit);
            let bridge = bridge.hiding(&call.keys);
            Passage::Bridged { bridge: Box::new(bridge), client, context: Arc::clone(context) }
        }
        None => {
            let model = exchange.requested_model.as_deref().unwrap_or_default();
            Passage::relayed(call.stream(model, limit), &exchange.id, model, exchange.seconds())
        }
    })
}

/// Answers with what the provider has answered as a whole.
async fn answered(
    session: &mut Session,
    exchange: &mut Exchange,
    watch: &Watch,
    head: &ResponseHeader,
    body: Bytes,
) -> Result<()> {
    let status = head.status.as_u16();
    if status != 200 {
        exchange.fail_attempt(status_kind(status));
    }
    let call = exchange.call()?;
    let whole = match &call.bridged {
        None => {
            let held = reply::held(head, body);
            reply::whole(exchange, &held)?
        }
        Some(Bridged { context, .. }) if status != 200 => {
            let retry_after = headers::retry_after(&head.headers);
            let names = (context.upstream_model.as_str(), context.model.decode());
            let body = call.keys.cleaned(body);
            return Err(refused(status, &body, retry_after, names.0, &names.1).into());
        }
        Some(Bridged { client, .. }) => {
            Whole::json(translate::count::write(*client, translate::count::read(&body)?))
        }
    };
    reply::settle(exchange, &whole);
    match watch.is_alone() {
        true => Ok(()),
        false => sent(reply::write(session, exchange, whole).await),
    }
}

/// Answers with an estimate: nobody can be asked.
async fn counted(
    session: &mut Session,
    exchange: &mut Exchange,
    client: ProtocolId,
    tokens: u64,
) -> Result<()> {
    exchange.estimated = true;
    let body = translate::count::write(client, tokens);
    sent(answer::write(session, exchange, 200, answer::JSON, body).await)
}

/// Sends the request and waits for the head of the answer. A pooled connection that the provider had closed in
/// the meantime costs another try, on a fresh one; so does an address that can not be reached.
async fn open(
    connector: &Connector,
    upstream: &Upstream,
    (head, body): (RequestHeader, Bytes),
    session: &mut Session,
    exchange: &mut Exchange,
    watch: &mut Watch,
) -> Result<(HttpSession, Box<HttpPeer>)> {
    loop {
        // A resolver may take its time.
        let mut peer = tokio::select! {
            peer = upstream.peer(exchange.fresh) => peer?,
            stop = watch.ends(session) => return Err(stop),
        };
        exchange.ask();
        let connected = tokio::select! {
            // It needs more room than all that follows, and not for long.
            connected = Box::pin(connector.get_http_session(&*peer)) => connected,
            stop = watch.ends(session) => return Err(stop),
        };
        let (mut provider, reused) = match connected {
            Ok(connected) => connected,
            Err(error) => {
                exchange.fail_attempt(error_kind(&error, "connect"));
                if upstream.shun(&peer) && exchange.ask_elsewhere() {
                    continue;
                }
                return Err(transport(&error).into());
            }
        };
        provider.set_write_timeout(peer.options.write_timeout);
        if let Some(bill) = &mut exchange.bill {
            bill.forward();
        }
        exchange.sent = Some(std::time::Instant::now());
        watch.ask();
        let mut head = head.clone();
        headers::trace(&mut head, &exchange.trace).map_err(|error| Failure::provider(error.to_string()))?;
        let asked = tokio::select! {
            asked = ask(&mut provider, head, body.clone(), upstream.times.first_byte) => asked,
            stop = watch.ends(session) => {
                exchange.note_stop(&stop);
                return Err(stop);
            }
        };
        match asked {
            Ok(whole) => {
                if !whole {
                    keep_apart(&mut peer);
                }
                provider.set_read_timeout(Some(upstream.times.silence));
                return Ok((provider, peer));
            }
            Err(error) if is_stale(&error, reused) && !watch.is_alone() && exchange.ask_afresh() => {}
            Err(error) => {
                exchange.fail_attempt(error_kind(&error, "broken"));
                return Err(transport(&error).into());
            }
        }
    }
}

/// Sends the request and waits for the head of the answer. Gives whether all of the request was taken: a provider may
/// refuse a large one before, and close.
async fn ask(
    provider: &mut HttpSession,
    head: RequestHeader,
    body: Bytes,
    first_byte: Duration,
) -> pingora::Result<bool> {
    let sent = async {
        provider.write_request_header(Box::new(head)).await?;
        provider.write_request_body(body, true).await?;
        provider.finish_request_body().await
    };
    let sent = sent.await;
    let answered = async {
        loop {
            provider.read_response_header().await?;
            match provider.response_header().map(|head| head.status) {
                Some(StatusCode::SWITCHING_PROTOCOLS) => {
                    return Error::e_explain(ErrorType::InvalidHTTPHeader, "another protocol");
                }
                Some(status) if status.is_informational() => {}
                _ => return Ok(()),
            }
        }
    };
    let late = || Error::explain(ErrorType::ReadTimedout, "before the answer's head");
    match sent {
        Ok(()) => {
            timeout(first_byte, answered).await.unwrap_or_else(|_| Err(late().into_up())).map(|()| true)
        }
        // What was said is there already; if nothing was, the first error tells why.
        Err(error) => match timeout(EARLY, answered).await {
            Ok(Ok(())) => Ok(false),
            _ => Err(error),
        },
    }
}

/// A body that is no stream.
async fn whole(
    provider: &mut HttpSession,
    session: &mut Session,
    exchange: &mut Exchange,
    watch: &mut Watch,
    limit: usize,
) -> Result<Bytes> {
    let mut body = BytesMut::new();
    loop {
        let part = tokio::select! {
            part = provider.read_response_body() => part.map_err(|error| transport(&error))?,
            stop = watch.ends(session) => return Err(stop),
        };
        let Some(part) = part else { return Ok(body.freeze()) };
        if body.is_empty() {
            exchange.note_arrival();
        }
        body.extend_from_slice(&part);
        if body.len() > limit {
            return Err(reply::too_large().into());
        }
    }
}

/// An answer on its way.
struct Stream<'w> {
    passage: Passage,
    client: ProtocolId,
    watch: &'w mut Watch,
    /// Has the client got its head?
    started: bool,
    /// When the provider's head came, later when the client was written to last.
    since: Instant,
    /// When the provider's first event came.
    seen: Option<Instant>,
}

impl Stream<'_> {
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
                                stop = self.watch.ends(session) => return Err(stop),
                                () = &mut clock => {
                                    self.tick(session, exchange).await?;
                                    clock.as_mut().reset(self.deadline());
                                }
                            }
                        },
                    }
                }
            };
            let chunk = match arrived {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(self.passage.end()?),
                Err(_) if self.passage.is_whole_without_end() => return Ok(()),
                Err(error) => return Err(transport(&error).into()),
            };
            exchange.note_arrival();
            gathered += chunk.len();
            self.passage.push(chunk)?;
            if self.passage.is_whole() {
                return Ok(());
            }
            if self.passage.has_begun() && self.seen.is_none() {
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
        let body = whole(provider, session, exchange, self.watch, limit).await?;
        exchange.note_first_byte();
        Ok(self.passage.reply(&body)?)
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
        self.started || self.wants_stream() && self.passage.is_committed()
    }

    fn wants_stream(&self) -> bool {
        self.passage.is_stream()
    }

    /// Writes what is ready, after the head if that was not written yet.
    async fn write(&mut self, session: &mut Session, exchange: &mut Exchange) -> Result<()> {
        if !self.wants_stream() {
            return Ok(());
        }
        let (first, rest) = self.passage.ready();
        if self.started && first.is_empty() && rest.is_empty() {
            return Ok(());
        }
        self.send(session, exchange, first).await?;
        for piece in rest {
            self.send(session, exchange, piece).await?;
        }
        Ok(())
    }

    async fn send(&mut self, session: &mut Session, exchange: &mut Exchange, bytes: Bytes) -> Result<()> {
        self.since = Instant::now();
        if self.watch.is_alone() {
            self.started = true;
            return Ok(());
        }
        let mut tasks = Vec::with_capacity(2);
        if !std::mem::replace(&mut self.started, true) {
            exchange.status = 200;
            exchange.commit();
            exchange.reply = Reply::Written;
            let head = reply::stream_start(session, exchange)
                .map_err(|error| Failure::provider(error.to_string()))?;
            tasks.push(HttpTask::Header(Box::new(head), false));
        }
        if !bytes.is_empty() {
            exchange.note_first_byte();
            exchange.bytes_out += bytes.len();
            tasks.push(HttpTask::Body(Some(bytes), false));
        }
        exchange.deliver(self.passage.delivered());
        if self.passage.is_over() {
            exchange.usage = self.passage.usage();
            priced::note_served(&mut exchange.served, exchange.call.as_deref(), self.passage.served());
            exchange.settle();
        }
        let written = send_tasks(session, exchange, tasks).await;
        exchange.stalled += self.since.elapsed();
        match written {
            Err(_) if !self.watch.lose() => Err(Stop::Gone),
            _ => Ok(()),
        }
    }

    /// The answer is whole: writes what is left of it.
    async fn finish(&mut self, session: &mut Session, exchange: &mut Exchange) -> Result<()> {
        if self.passage.is_reported() {
            exchange.fail_as_told(self.passage.delivered());
        } else {
            exchange.settle();
        }
        if let Some(body) = self.passage.whole() {
            return match self.watch.is_alone() {
                true => Ok(()),
                false => sent(answer::write(session, exchange, 200, answer::JSON, body).await),
            };
        }
        self.write(session, exchange).await?;
        self.close(session, exchange).await
    }

    /// Ends the client's stream, if there still is a client.
    async fn close(&mut self, session: &mut Session, exchange: &Exchange) -> Result<()> {
        if self.watch.is_alone() {
            return Ok(());
        }
        match send_tasks(session, exchange, vec![HttpTask::Done]).await {
            Err(_) if !self.watch.lose() => Err(Stop::Gone),
            _ => Ok(()),
        }
    }

    /// It has failed after its head was sent: the client is told in its own grammar.
    async fn fail(&mut self, session: &mut Session, exchange: &mut Exchange, failure: Failure) -> Result<()> {
        exchange.note_failure(&failure);
        exchange.fail(&failure, self.passage.delivered());
        self.passage.fail(&failure);
        exchange.failure = Some(failure);
        self.write(session, exchange).await?;
        self.close(session, exchange).await
    }
}

/// Writes to the client, in the time that it has for that: Pingora does not watch the time in which small parts
/// of an answer leave its buffer.
async fn send_tasks(session: &mut Session, exchange: &Exchange, tasks: Vec<HttpTask>) -> pingora::Result<()> {
    let time = Duration::from_secs(exchange.snapshot.limits.write_seconds);
    match timeout(time, session.write_response_tasks(tasks)).await {
        Ok(written) => written.map(|_| ()),
        Err(_) => Error::e_explain(ErrorType::WriteTimedout, "the client takes nothing")
            .map_err(|error| error.into_down()),
    }
}

fn sent(result: pingora::Result<()>) -> Result<()> {
    result.map_err(|error| match error.esource() {
        ErrorSource::Upstream => Stop::Failed(transport(&error)),
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

/// How long an answer is waited for that came before all of the request was sent.
const EARLY: Duration = Duration::from_millis(100);

/// How long the rest of an answer that is whole is waited for.
const DRAIN: Duration = Duration::from_millis(50);
