//! Carries calls, from their first byte upstream to their last byte to the client.
//!
//! Pingora's own flow from provider to client can neither hold the head of an answer back until it is known whether it
//! is a failure, nor say anything while the provider is silent. Nor can it wait longer for the first byte than for the
//! others, read on when the client is gone, or go on after a failure to another target with another body. So it is never
//! entered: calls are served from here, within `request_filter`, with Pingora's connections and Pingora's sessions, in one
//! loop that listens to the provider, the client and the clock. What a request and the head of an answer become is for the
//! hooks to say, which are called here in the order in which Pingora would call them.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use pingora_proxy::Session;
use tokio::time::timeout;

use crate::edge::call::exchange::Exchange;
use crate::edge::call::target::Bridged;
use crate::edge::call::watch::{Stop, Watch};
use crate::edge::respond::answer;
use crate::edge::respond::delivery::{self, Delivery, Proxy, sent};
use crate::edge::respond::passage::Passage;
use crate::edge::respond::reply::{self, Head};
use crate::edge::upstream::transport::{error_kind, failure_kind, is_stale, status_kind, transport};
use crate::edge::upstream::{Upstream, keep_apart};
use crate::failure::Failure;
use crate::protocol::ProtocolId;
use crate::translate;
use crate::translate::bridge::Bridge;

type Result<T> = std::result::Result<T, Stop>;

/// Carries calls with the connections of one pool.
pub(in crate::edge) struct Driver<'d, P> {
    pub(in crate::edge) proxy: &'d P,
    pub(in crate::edge) connector: &'d Connector,
}

impl<P: Proxy> Driver<'_, P> {
    /// Serves a call. If its target fails, the next one is asked.
    ///
    /// # Errors
    /// When the client is gone.
    pub(in crate::edge) async fn serve(
        &self,
        session: &mut Session,
        exchange: &mut Box<Exchange>,
    ) -> pingora::Result<()> {
        loop {
            let mut watch = exchange.watch();
            let result = self.run(session, exchange, &mut watch).await;
            if watch.is_alone() || matches!(result, Err(Stop::Gone)) {
                exchange.client_gone = true;
                match result {
                    Err(Stop::Failed(failure)) => exchange.fail_unseen(failure),
                    Err(Stop::Gone) => exchange.leave(),
                    Ok(_) => {}
                }
                // An answer that ends well would be written to its end, however long the client takes for that.
                return Err(Error::explain(ErrorType::ConnectionClosed, "the client is gone").into_down());
            }
            match result {
                Ok(Outcome::Turned) => {}
                Ok(Outcome::Answered) => return Ok(()),
                Err(Stop::Failed(failure)) if exchange.turn(&failure) => {}
                Err(Stop::Failed(failure)) => return answer::fail(session, exchange, failure).await,
                Err(Stop::Gone) => return Ok(()),
            }
        }
    }

    async fn run(
        &self,
        session: &mut Session,
        exchange: &mut Box<Exchange>,
        watch: &mut Watch,
    ) -> Result<Outcome> {
        let call = exchange.call()?;
        let bridged = call.bridged.as_ref().map(|bridged| (bridged.client, bridged.estimate));
        if let (Some((client, estimate)), "") = (bridged, call.path) {
            return counted(session, exchange, client, estimate).await;
        }
        let infers = call.infers;
        let (mut provider, peer) = self.open(session, exchange, watch).await?;
        let head = self.head(&provider, session, exchange).await?;
        let limit = exchange.snapshot.limits.reply_bytes;
        if let (Some((client, estimate)), false, 404 | 405 | 501) = (bridged, infers, head.status) {
            provider.shutdown().await;
            return counted(session, exchange, client, estimate).await;
        }
        if head.status != 200 {
            exchange.fail_attempt(status_kind(head.status));
            // Its status may be enough to go on to the next target.
            if !watch.is_alone() && head.refusal().is_some_and(|failure| exchange.turn(&failure)) {
                self.leave(provider, &peer).await;
                return Ok(Outcome::Turned);
            }
        }
        let relays = head.flows() && exchange.call()?.streams;
        if head.status != 200 || !infers || !relays && bridged.is_none() {
            let body = whole(&mut provider, session, exchange, watch, limit).await;
            let body = body.map_err(|stop| if head.status == 200 { stop } else { stop.without_cost() });
            let body = body.inspect_err(|stop| note_stop(exchange, &head, stop))?;
            self.release(provider, &peer).await;
            return self.answered(session, exchange, watch, &head, body).await;
        }
        let mut delivery = Delivery::new(self.proxy, passage(exchange)?, watch);
        let result = match head.flows() {
            true => delivery.relay(&mut provider, session, exchange).await,
            false => match whole(&mut provider, session, exchange, delivery.watch(), limit).await {
                Ok(body) => delivery.replay(exchange, &body),
                Err(stop) => Err(stop),
            },
        };
        if delivery.end(result, session, exchange).await? {
            self.leave(provider, &peer).await;
        }
        Ok(Outcome::Answered)
    }

    /// Sends the request and waits for the head of the answer. A pooled connection that the provider had closed in
    /// the meantime costs another try, on a fresh one; so does an address that cannot be reached.
    async fn open(
        &self,
        session: &mut Session,
        exchange: &mut Box<Exchange>,
        watch: &mut Watch,
    ) -> Result<(HttpSession, Box<HttpPeer>)> {
        let upstream = Arc::clone(&exchange.call()?.upstream);
        loop {
            exchange.ask();
            let connected = self.connect(&upstream, session, exchange, watch).await?;
            let Some((mut provider, mut peer, reused)) = connected else { continue };
            let (head, body) = self.request(session, exchange).await.map_err(failed)?;
            if let Some(bill) = &mut exchange.bill {
                bill.forward();
            }
            exchange.sent = Some(std::time::Instant::now());
            watch.ask();
            let asked = tokio::select! {
                asked = ask(&mut provider, head, body, upstream.times.first_byte) => asked,
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
                    return Err(failed(error));
                }
            }
        }
    }

    /// A connection to the provider, and whether it was used before; nothing if there is another address to try.
    async fn connect(
        &self,
        upstream: &Upstream,
        session: &mut Session,
        exchange: &mut Box<Exchange>,
        watch: &mut Watch,
    ) -> Result<Option<(HttpSession, Box<HttpPeer>, bool)>> {
        // A resolver may take its time, in which the client is listened to; so that is not left to the hook.
        let resolved = tokio::select! {
            resolved = upstream.resolved() => resolved,
            stop = watch.ends(session) => return Err(stop),
        };
        resolved.inspect_err(|failure| exchange.fail_attempt(failure_kind(failure)))?;
        let peer = self.proxy.upstream_peer(session, exchange).await.map_err(failed)?;
        let connected = tokio::select! {
            // It needs more room than all that follows, and not for long.
            connected = Box::pin(self.connector.get_http_session(&*peer)) => connected,
            stop = watch.ends(session) => return Err(stop),
        };
        match connected {
            Ok((mut provider, reused)) => {
                provider.set_write_timeout(peer.options.write_timeout);
                Ok(Some((provider, peer, reused)))
            }
            Err(error) => {
                exchange.fail_attempt(error_kind(&error, "connect"));
                match upstream.shun(&peer) && exchange.ask_elsewhere() {
                    true => Ok(None),
                    false => Err(failed(error)),
                }
            }
        }
    }

    /// The request as the hooks make it.
    async fn request(
        &self,
        session: &mut Session,
        exchange: &mut Box<Exchange>,
    ) -> pingora::Result<(RequestHeader, Bytes)> {
        let mut head = RequestHeader::build_no_case("POST", b"/", Some(0))?;
        self.proxy.upstream_request_filter(session, &mut head, exchange).await?;
        let mut body = None;
        self.proxy.request_body_filter(session, &mut body, true, exchange).await?;
        Ok((head, body.unwrap_or_default()))
    }

    /// The head of the answer, after the hooks have seen it.
    async fn head(
        &self,
        provider: &HttpSession,
        session: &mut Session,
        exchange: &mut Box<Exchange>,
    ) -> Result<Head> {
        let mut head = provider.response_header().ok_or_else(|| Failure::provider("no answer"))?.clone();
        self.proxy.upstream_response_filter(session, &mut head, exchange).await.map_err(failed)?;
        Ok(Head::of(&head))
    }

    /// Answers with what the provider has answered as a whole.
    async fn answered(
        &self,
        session: &mut Session,
        exchange: &mut Box<Exchange>,
        watch: &Watch,
        head: &Head,
        body: Bytes,
    ) -> Result<Outcome> {
        let whole = reply::whole(exchange, head, body)?;
        if watch.is_alone() {
            return Ok(Outcome::Answered);
        }
        let written = match whole.streams {
            true => self.write_stream(session, exchange, whole.body).await,
            false => answer::write(session, exchange, 200, answer::JSON, whole.body).await,
        };
        sent(written).map(|()| Outcome::Answered)
    }

    /// Writes all of a stream.
    async fn write_stream(
        &self,
        session: &mut Session,
        exchange: &mut Box<Exchange>,
        body: Bytes,
    ) -> pingora::Result<()> {
        let head = delivery::head(self.proxy, session, exchange).await?;
        exchange.note_first_byte();
        session.write_response_header(head, false).await?;
        exchange.bytes_out += body.len();
        session.write_response_body(Some(body), true).await
    }

    /// Keeps the connection if what the provider still sends after its last word that matters ends soon.
    async fn leave(&self, mut provider: HttpSession, peer: &HttpPeer) {
        let rest = async { while let Ok(Some(_)) = provider.read_response_body().await {} };
        let _ = timeout(DRAIN, rest).await;
        self.release(provider, peer).await;
    }

    /// Keeps the connection if the answer was read to its end.
    async fn release(&self, mut provider: HttpSession, peer: &HttpPeer) {
        if provider.response_done() {
            // It needs more room than a stream that is open, and is over at once.
            let released = self.connector.release_http_session(provider, peer, peer.options.idle_timeout);
            Box::pin(released).await;
        } else {
            provider.shutdown().await;
        }
    }
}

/// The outcome of a call at one target, if it has not failed there.
enum Outcome {
    /// The client has its answer.
    Answered,
    /// The target has refused it, and it has turned to another one.
    Turned,
}

/// Makes the passage of the provider's stream.
fn passage(exchange: &Exchange) -> std::result::Result<Passage, Failure> {
    let (call, limit) = (exchange.call()?, exchange.snapshot.limits.event_bytes);
    Ok(match &call.bridged {
        Some(Bridged { client, context, .. }) => {
            let (client, from, profile) =
                (client.protocol(), call.protocol.protocol(), &call.provider().profile);
            let bridge = Bridge::new(client, from, profile, Arc::clone(context), call.streams, limit);
            let bridge = bridge.hiding(&call.keys);
            Passage::Bridged { bridge: Box::new(bridge), client, context: Arc::clone(context) }
        }
        None => Passage::relayed(call.stream(exchange.client_model(), limit)),
    })
}

/// Answers with an estimate: nobody can be asked.
async fn counted(
    session: &mut Session,
    exchange: &mut Exchange,
    client: ProtocolId,
    tokens: u64,
) -> Result<Outcome> {
    exchange.estimated = true;
    let body = translate::count::write(client, tokens);
    sent(answer::write(session, exchange, 200, answer::JSON, body).await).map(|()| Outcome::Answered)
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
    let (mut parts, mut size) = (Vec::new(), 0);
    loop {
        let part = tokio::select! {
            part = provider.read_response_body() => part.map_err(failed)?,
            stop = watch.ends(session) => return Err(stop),
        };
        let Some(part) = part else { return Ok(joined(parts, size)) };
        if size == 0 {
            exchange.note_arrival();
        }
        size += part.len();
        if size > limit {
            return Err(reply::too_large().into());
        }
        parts.push(part);
    }
}

fn joined(mut parts: Vec<Bytes>, size: usize) -> Bytes {
    if parts.len() <= 1 {
        return parts.pop().unwrap_or_default();
    }
    let mut whole = BytesMut::with_capacity(size);
    parts.iter().for_each(|part| whole.extend_from_slice(part));
    whole.freeze()
}

/// Notes why an attempt has ended from outside, unless it had failed before.
fn note_stop(exchange: &mut Exchange, head: &Head, stop: &Stop) {
    if head.status == 200 {
        exchange.note_stop(stop);
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is called with the errors of results")]
fn failed(error: Box<Error>) -> Stop {
    Stop::Failed(transport(&error))
}

/// The time for which an answer is waited for that came before all of the request was sent.
const EARLY: Duration = Duration::from_millis(100);

/// The time for which the rest of an answer is waited for that is whole.
const DRAIN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use pingora_proxy::ProxyHttp;

    use super::*;

    struct Nobody;

    #[async_trait]
    impl ProxyHttp for Nobody {
        type CTX = Box<Exchange>;

        fn new_ctx(&self) -> Box<Exchange> {
            unreachable!("nobody is served")
        }

        async fn upstream_peer(
            &self,
            _: &mut Session,
            _: &mut Box<Exchange>,
        ) -> pingora::Result<Box<HttpPeer>> {
            Error::e_explain(ErrorType::InternalError, "nobody is asked")
        }
    }

    /// The bytes of the future that a function returns.
    fn room<A, B, C, F>(_: fn(&'static A, &'static mut B, &'static mut C) -> F) -> usize {
        size_of::<F>()
    }

    /// It is held for each open stream, however long that waits.
    #[test]
    fn a_call_needs_little_room() {
        let call = room(|driver: &Driver<'_, Nobody>, session, exchange| driver.serve(session, exchange));
        assert!(call <= MAX_ROOM, "{call} bytes");
    }

    /// Bytes of the future of a call. It is as large as the largest of its steps, so those that are short and need much are
    /// kept apart.
    const MAX_ROOM: usize = 4 << 10;
}
