//! A stream that the client gets before its provider has answered, so that it sees that its call lives.
//!
//! From then on no other target is tried, and a failure is told in the stream.

use std::time::Duration;

use bytes::Bytes;
use pingora::protocols::http::HttpTask;
use pingora_proxy::Session;
use tokio::time::{Instant, sleep_until};

use crate::edge::call::attempts::Attempts;
use crate::edge::call::context::CallContext;
use crate::edge::call::outcome::Outcome;
use crate::edge::call::request_info::RequestInfo;
use crate::edge::request::headers::Identity;
use crate::edge::respond::delivery::send_tasks;
use crate::edge::respond::reply;
use crate::failure::Failure;
use crate::protocol::StreamFacts;

/// Waits until a client that wants a stream has got nothing for too long.
pub(in crate::edge) async fn silence(request: &RequestInfo, attempts: &Attempts, outcome: &Outcome) {
    let streams = attempts.call().is_ok_and(|call| call.form.is_stream() && call.infers());
    match request.snapshot.limits.keep_alive().filter(|_| streams) {
        Some(time) => sleep_until(due(request, outcome, time)).await,
        None => std::future::pending().await,
    }
}

fn due(request: &RequestInfo, outcome: &Outcome, time: Duration) -> Instant {
    Instant::from_std(outcome.opened.unwrap_or(request.started)) + time
}

/// Writes a sign of life to the client, after the head of its stream if that was not written yet.
///
/// # Errors
/// Fails if the client has left.
pub(in crate::edge) async fn sign(session: &mut Session, ctx: &mut CallContext) -> pingora::Result<()> {
    let CallContext { request, attempts, billing, outcome, .. } = ctx;
    let mut tasks = Vec::with_capacity(2);
    if outcome.opened.is_none() {
        attempts.stay();
        let head = reply::stream_start(session, Identity::of(request, attempts, billing))?;
        tasks.push(HttpTask::Header(head, false));
    }
    let sign = request.dialect().protocol().keep_alive();
    tasks.push(HttpTask::Body(Some(Bytes::from_static(sign)), false));
    outcome.open(sign.len());
    send_tasks(session, request, tasks).await
}

/// Tells a failure in a stream of which the client has nothing but signs of life, and ends it.
///
/// # Errors
/// Fails if the client has left.
pub(in crate::edge) async fn tell(
    session: &mut Session,
    request: &RequestInfo,
    outcome: &mut Outcome,
    failure: Failure,
) -> pingora::Result<()> {
    let facts = StreamFacts {
        request_id: &request.id,
        model: request.client_model(),
        id: None,
        events: 0,
        now: request.seconds(),
    };
    let told = request.dialect().protocol().stream_failure(&failure, &facts);
    outcome.open(told.len());
    outcome.failure = Some(failure);
    send_tasks(session, request, vec![HttpTask::Body(Some(told), false), HttpTask::Done]).await
}
