//! The driver of calls, from their first byte upstream to their last byte to the client.
//!
//! Pingora's own flow from provider to client can neither hold the head of an answer back until it is known whether it
//! is a failure, nor say anything while the provider is silent. Nor can it wait longer for the first byte than for the
//! others, read on when the client is gone, or go on after a failure to another target with another body. So it is never
//! entered: calls are served from here, within `request_filter`, with Pingora's connections and Pingora's sessions, in one
//! loop that listens to the provider, the client and the clock. What a request becomes, and what is kept of the head of an
//! answer, is for the hooks to say, which are called here in the order in which Pingora would call them.
//!
//! The driver is one of the few places that see the whole of a [`CallContext`]: it hands its parts out to what needs them.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use pingora::http::RequestHeader;
use pingora::protocols::http::HttpTask;
use pingora::upstreams::peer::{HttpPeer, Peer as _};
use pingora::{Error, ErrorType};
use pingora_proxy::{ProxyHttp, Session};
use tokio::time::timeout;

use crate::canon::Form;
use crate::edge::call::attempts::Attempts;
use crate::edge::call::call_guard::{Abort, CallGuard};
use crate::edge::call::context::CallContext;
use crate::edge::call::leaving;
use crate::edge::call::outcome::Outcome;
use crate::edge::request::failover;
use crate::edge::request::headers::Identity;
use crate::edge::respond::answer;
use crate::edge::respond::answer_body::AnswerBody;
use crate::edge::respond::burst::Burst;
use crate::edge::respond::delivery::{Delivery, Silence, client_write, send_tasks};
use crate::edge::respond::early;
use crate::edge::respond::ending::Ending;
use crate::edge::respond::guarded;
use crate::edge::respond::phase::Phase;
use crate::edge::respond::reply::{self, Head};
use crate::edge::respond::response_stream::ResponseStream;
use crate::edge::upstream::Upstream;
use crate::edge::upstream::connection::{Connection, Connector};
use crate::edge::upstream::reason::reason;
use crate::edge::upstream::transport::{error_failure, provider_failure, status_failure};
use crate::edge::wire::quirks::{is_stale, keep_apart};
use crate::failure::Failure;
use crate::observe::AttemptFailure;
use crate::protocol::ProtocolId;
use crate::translate;

type Result<T> = std::result::Result<T, Abort>;

/// A proxy with the hooks that a call goes through.
pub(in crate::edge) trait Proxy: ProxyHttp<CTX = Box<CallContext>> + Sync {}

impl<P: ProxyHttp<CTX = Box<CallContext>> + Sync> Proxy for P {}

/// A driver of calls with the connections of one pool.
pub(in crate::edge) struct Driver<'d, P> {
    pub(in crate::edge) proxy: &'d P,
    pub(in crate::edge) connector: &'d Connector,
}

impl<P: Proxy> Driver<'_, P> {
    /// Serves a call. If its target fails, the next one is called.
    ///
    /// # Errors
    /// Fails if the client has left.
    pub(in crate::edge) async fn serve(
        &self,
        session: &mut Session,
        ctx: &mut Box<CallContext>,
    ) -> pingora::Result<()> {
        loop {
            let mut guard = leaving::guard(&ctx.request, &ctx.attempts, &ctx.billing);
            let result = self.run(session, ctx, &mut guard).await;
            if guard.is_draining() || matches!(result, Err(Abort::Gone)) {
                ctx.outcome.client_gone = true;
                match result {
                    Err(Abort::Failed(failure)) => fail_unseen(ctx, failure),
                    Err(Abort::Gone) => {
                        let catalog = &ctx.request.snapshot.catalog;
                        ctx.billing.leave(catalog, &ctx.attempts);
                    }
                    Ok(_) => {}
                }
                // A complete answer is written to its end, however long the client takes for that.
                return Err(Error::explain(ErrorType::ConnectionClosed, "the client is gone").into_down());
            }
            match result {
                Ok(Served::Elsewhere) => {}
                Ok(Served::Answered) => {
                    Box::pin(guarded::observe(self.connector, ctx)).await;
                    return Ok(());
                }
                Err(Abort::Failed(failure)) if next_target(ctx, &failure) => {}
                Err(Abort::Failed(failure)) => return fail(session, ctx, failure).await,
                Err(Abort::Gone) => return Ok(()),
            }
        }
    }

    async fn run(
        &self,
        session: &mut Session,
        ctx: &mut Box<CallContext>,
        guard: &mut CallGuard,
    ) -> Result<Served> {
        let call = ctx.attempts.call()?;
        let bridged = call.bridged.as_ref().map(|bridged| (bridged.client, bridged.estimate));
        if let (Some((client, estimate)), "") = (bridged, &*call.path()) {
            return counted(session, ctx, client, estimate).await;
        }
        let infers = call.infers();
        let upstream = Arc::clone(&call.upstream);
        let (mut provider, peer) = self.open(&upstream, session, ctx, guard).await?;
        let head = self.head(&mut provider, session, ctx).await?;
        if head.status == 200 && infers {
            ctx.attempts.call()?.note_answering();
        }
        let mut answer = AnswerBody::new(provider, head.encoding)?;
        let limit = ctx.request.snapshot.limits.reply_bytes;
        if let (Some((client, estimate)), false, 404 | 405 | 501) = (bridged, infers, head.status) {
            answer.provider.give_up();
            return counted(session, ctx, client, estimate).await;
        }
        if head.status != 200 {
            ctx.attempts.fail_attempt(status_failure(head.status), Some(head.status), "");
            // The status alone may be enough to try the next target.
            let has_to_be_read = guard.is_draining() || ctx.attempts.call()?.may_lack_endpoint(head.status);
            if !has_to_be_read && head.refusal().is_some_and(|failure| next_target(ctx, &failure)) {
                self.leave(answer, &upstream, &peer).await;
                return Ok(Served::Elsewhere);
            }
        }
        let relays = head.flows() && ctx.attempts.call()?.form.is_stream();
        if head.status != 200 || !infers || !relays && bridged.is_none() {
            let body = read_whole(&mut answer, session, &mut ctx.attempts, guard, limit).await;
            let body = body.map_err(|abort| if head.status == 200 { abort } else { abort.without_cost() });
            let body = body.inspect_err(|abort| note_abort(&mut ctx.attempts, &head, abort))?;
            self.connector.release(answer.provider, &upstream, &peer);
            return self.answered(session, ctx, guard, &head, body).await;
        }
        let mut delivery = delivery(ctx, guard, self.connector)?;
        let result = match head.flows() {
            true => delivery.relay(&mut answer, session).await,
            false => match read_whole(&mut answer, session, delivery.attempts, delivery.guard, limit).await {
                Ok(body) => delivery.replay(&body),
                Err(abort) => Err(abort),
            },
        };
        if delivery.end(result, session).await? {
            self.leave(answer, &upstream, &peer).await;
        }
        Ok(Served::Answered)
    }

    /// Sends the request and waits for the head of the answer. If the provider had closed a pooled connection, the
    /// request is sent again on a fresh one; if an address cannot be reached, another one is tried.
    async fn open(
        &self,
        upstream: &Upstream,
        session: &mut Session,
        ctx: &mut Box<CallContext>,
        guard: &mut CallGuard,
    ) -> Result<(Connection, Box<HttpPeer>)> {
        loop {
            ctx.attempts.ask(ctx.request.caller());
            let connected = self.connect(upstream, session, ctx, guard).await?;
            let Some((mut provider, mut peer, reused)) = connected else { continue };
            let (head, body) = self.request(session, ctx).await.map_err(failed)?;
            ctx.billing.forward();
            ctx.attempts.note_sent();
            guard.ask();
            let asked = {
                let mut asked = pin!(send_request(&mut provider, head, body, upstream.times.first_byte));
                loop {
                    tokio::select! {
                        biased;
                        asked = &mut asked => break asked,
                        abort = guard.ends(session) => {
                            ctx.attempts.note_abort(&abort);
                            return Err(abort);
                        }
                        () = early::silence(&ctx.request, &ctx.attempts, &ctx.outcome) => {}
                    }
                    let written = match guard.is_draining() {
                        true => {
                            ctx.outcome.open(0);
                            Ok(())
                        }
                        false => Box::pin(early::sign(session, ctx)).await,
                    };
                    if written.is_err() && !guard.client_disconnected() {
                        return Err(Abort::Gone);
                    }
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
                Err(error)
                    if is_stale(&error, reused)
                        && !provider.has_begun()
                        && !guard.is_draining()
                        && ctx.attempts.ask_afresh() => {}
                Err(error) => {
                    let kind = error_failure(&error, AttemptFailure::Broken);
                    ctx.attempts.fail_attempt(kind, None, &reason(&error));
                    return Err(failed(error));
                }
            }
        }
    }

    /// Returns a connection to the provider, and whether it was used before, or `None` if there is another address
    /// to try.
    async fn connect(
        &self,
        upstream: &Upstream,
        session: &mut Session,
        ctx: &mut Box<CallContext>,
        guard: &mut CallGuard,
    ) -> Result<Option<(Connection, Box<HttpPeer>, bool)>> {
        // A resolver may take its time, during which the client is listened to; so it is not called in the hook.
        let resolved = tokio::select! {
            biased;
            resolved = upstream.resolved() => resolved,
            abort = guard.ends(session) => return Err(abort),
        };
        resolved.inspect_err(|failure| {
            ctx.attempts.fail_attempt(AttemptFailure::Dns, None, failure.detail().unwrap_or_default());
        })?;
        let peer = self.proxy.upstream_peer(session, ctx).await.map_err(failed)?;
        let connected = tokio::select! {
            biased;
            connected = self.connector.connect(upstream, &peer) => connected,
            abort = guard.ends(session) => return Err(abort),
        };
        match connected {
            Ok((mut provider, reused)) => {
                provider.set_write_timeout(peer.options.write_timeout);
                Ok(Some((provider, peer, reused)))
            }
            Err(error) => {
                let (kind, address) = (error_failure(&error, AttemptFailure::Connect), peer.address());
                ctx.attempts.fail_attempt(kind, None, &format!("{} ({address})", reason(&error)));
                match upstream.mark_unreachable(&peer) && ctx.attempts.ask_elsewhere() {
                    true => Ok(None),
                    false => Err(failed(error)),
                }
            }
        }
    }

    /// Makes the request with the hooks.
    async fn request(
        &self,
        session: &mut Session,
        ctx: &mut Box<CallContext>,
    ) -> pingora::Result<(RequestHeader, Bytes)> {
        // The hook replaces it.
        let mut head = RequestHeader::from(http::Request::new(()).into_parts().0);
        self.proxy.upstream_request_filter(session, &mut head, ctx).await?;
        let mut body = None;
        self.proxy.request_body_filter(session, &mut body, true, ctx).await?;
        Ok((head, body.unwrap_or_default()))
    }

    /// Returns the head of the answer after the hooks have seen it.
    async fn head(
        &self,
        provider: &mut Connection,
        session: &mut Session,
        ctx: &mut Box<CallContext>,
    ) -> Result<Head> {
        let mut head = provider.take_head().ok_or_else(|| Failure::provider("no answer"))?;
        self.proxy.upstream_response_filter(session, &mut head, ctx).await.map_err(failed)?;
        Ok(Head::of(&head))
    }

    /// Sends an answer that the provider has given as a whole.
    async fn answered(
        &self,
        session: &mut Session,
        ctx: &mut Box<CallContext>,
        guard: &CallGuard,
        head: &Head,
        body: Bytes,
    ) -> Result<Served> {
        let whole = reply::buffered(&ctx.request, &mut ctx.attempts, &ctx.outcome, head, body)?;
        ctx.billing.deliver(whole.tokens);
        ctx.billing.settle(&ctx.request.snapshot.catalog, &mut ctx.attempts);
        if guard.is_draining() {
            return Ok(Served::Answered);
        }
        let CallContext { request, attempts, billing, outcome, .. } = &mut **ctx;
        let identity = Identity::of(request, attempts, billing);
        let written = match whole.form {
            Form::Stream => {
                outcome.watched = guarded::watch(identity);
                outcome.watch(&whole.body);
                write_stream(session, outcome, identity, whole.body).await
            }
            Form::Whole => {
                Box::pin(guarded::write(session, self.connector, outcome, identity, whole.body)).await
            }
        };
        client_write(written).map(|()| Served::Answered)
    }

    /// Keeps the connection if the rest of the provider's answer, after the last part that matters, ends soon.
    async fn leave(&self, mut answer: AnswerBody, upstream: &Upstream, peer: &HttpPeer) {
        let rest = async { while let Ok(Some(_)) = answer.provider.read_response_body().await {} };
        let _ = timeout(DRAIN, rest).await;
        self.connector.release(answer.provider, upstream, peer);
    }
}

/// The outcome of a call at one target that has not failed there.
enum Served {
    /// The client has got its answer.
    Answered,
    /// The target has refused the call, which goes to another target now.
    Elsewhere,
}

/// Writes a failure that the client gets as an answer, and charges for what it has cost.
///
/// # Errors
/// Fails if the client has left.
pub(in crate::edge) async fn fail(
    session: &mut Session,
    ctx: &mut CallContext,
    failure: Failure,
) -> pingora::Result<()> {
    let CallContext { request, attempts, billing, outcome, .. } = ctx;
    attempts.note_failure(&failure);
    let failure = failover::told(attempts, failure);
    billing.fail(&request.snapshot.catalog, attempts, &failure, 0);
    if outcome.opened.is_some() {
        return early::tell(session, request, attempts, outcome, failure).await;
    }
    let identity = Identity::of(request, attempts, billing);
    answer::fail(session, outcome, identity, failure).await
}

/// Ends a call that has failed after its client had left.
fn fail_unseen(ctx: &mut CallContext, failure: Failure) {
    let CallContext { request, attempts, billing, outcome, .. } = ctx;
    attempts.note_failure(&failure);
    billing.fail(&request.snapshot.catalog, attempts, &failure, outcome.bytes_out as u64);
    outcome.failure = Some(failure);
}

/// Turns to the next target, if there is one.
fn next_target(ctx: &mut CallContext, failure: &Failure) -> bool {
    let CallContext { request, attempts, billing, admission, .. } = ctx;
    let turned = failover::next_target(request, attempts, billing, failure);
    if turned {
        admission.keep(attempts.held(request.bytes_in));
    }
    turned
}

/// Begins to deliver the provider's answer.
fn delivery<'d>(
    ctx: &'d mut CallContext,
    guard: &'d mut CallGuard,
    connector: &'d Connector,
) -> Result<Delivery<'d>> {
    let CallContext { request, admission, attempts, billing, outcome } = ctx;
    outcome.watched = guarded::watch(Identity::of(request, attempts, billing));
    let mut response = ResponseStream::new(request, attempts)?;
    let phase = match outcome.opened {
        Some(written) => {
            response.note_opened(request);
            Phase::open(written.into())
        }
        None => Phase::new(tokio::time::Instant::now()),
    };
    if phase.is_committed() {
        attempts.commit();
        admission.keep(attempts.held(request.bytes_in));
    }
    let call = attempts.call()?;
    let (silence, ending) = (Silence::new(call.upstream.times.silence), Ending::new(call.choices));
    let kept = 0;
    Ok(Delivery {
        request,
        admission,
        attempts,
        billing,
        outcome,
        guard,
        connector,
        response,
        phase,
        silence,
        ending,
        burst: Burst::default(),
        kept,
    })
}

/// Answers with an estimate, because no provider can count.
async fn counted(
    session: &mut Session,
    ctx: &mut CallContext,
    client: ProtocolId,
    tokens: u64,
) -> Result<Served> {
    ctx.attempts.answer.estimated = true;
    let body = translate::count::write(client, tokens);
    let CallContext { request, attempts, billing, outcome, .. } = ctx;
    let identity = Identity::of(request, attempts, billing);
    client_write(answer::write(session, outcome, identity, body).await).map(|()| Served::Answered)
}

/// Sends the request and waits for the head of the answer. Returns whether all of the request was accepted: a
/// provider may refuse a large one early, and close the connection.
async fn send_request(
    provider: &mut Connection,
    head: RequestHeader,
    body: Bytes,
    first_byte: Duration,
) -> pingora::Result<bool> {
    let sent = provider.write(head, body).await;
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
        // An answer may have arrived already. If there is none, the first error tells the reason.
        Err(error) => match timeout(EARLY, answered).await {
            Ok(Ok(())) => Ok(false),
            _ => Err(error),
        },
    }
}

/// Writes all of a stream.
async fn write_stream(
    session: &mut Session,
    outcome: &mut Outcome,
    identity: Identity<'_>,
    body: Bytes,
) -> pingora::Result<()> {
    outcome.note_first_byte(identity.request.started);
    let mut tasks = Vec::with_capacity(3);
    if outcome.opened.is_none() {
        tasks.push(HttpTask::Header(reply::stream_start(session, identity)?, false));
    }
    outcome.open(body.len());
    tasks.extend([HttpTask::Body(Some(body), false), HttpTask::Done]);
    send_tasks(session, identity.request, tasks).await
}

/// Reads a body that is not a stream.
async fn read_whole(
    answer: &mut AnswerBody,
    session: &mut Session,
    attempts: &mut Attempts,
    guard: &mut CallGuard,
    limit: usize,
) -> Result<Bytes> {
    let (mut parts, mut size) = (Vec::new(), 0);
    loop {
        let part = tokio::select! {
            biased;
            part = answer.read() => part.map_err(failed)?,
            abort = guard.ends(session) => return Err(abort),
        };
        let Some(part) = part else { return Ok(joined(parts, size)) };
        if size == 0 {
            attempts.note_arrival();
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

/// Notes the reason for which an attempt was ended from outside, unless it had failed before.
fn note_abort(attempts: &mut Attempts, head: &Head, abort: &Abort) {
    if head.status == 200 {
        attempts.note_abort(abort);
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is called with the errors of results")]
fn failed(error: Box<Error>) -> Abort {
    Abort::Failed(provider_failure(&error))
}

/// The time to wait for an early answer, which came before all of the request was sent.
const EARLY: Duration = Duration::from_millis(100);

/// The time to wait for the end of a complete answer.
const DRAIN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use pingora_proxy::ProxyHttp;

    use super::*;

    struct Nobody;

    #[async_trait]
    impl ProxyHttp for Nobody {
        type CTX = Box<CallContext>;

        fn new_ctx(&self) -> Box<CallContext> {
            unreachable!("nobody is served")
        }

        async fn upstream_peer(
            &self,
            _: &mut Session,
            _: &mut Box<CallContext>,
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
        let call = room(|driver: &Driver<'_, Nobody>, session, ctx| driver.serve(session, ctx));
        assert!(call <= MAX_ROOM, "{call} bytes");
    }

    /// Bytes of the future of a call. It is as large as the largest of its steps, so those that are short and need much are
    /// kept apart.
    const MAX_ROOM: usize = 4 << 10;
}
