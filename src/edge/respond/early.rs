//! A stream that the client gets before its provider has answered, so that it sees that its call lives.
//!
//! From then on no other target is tried, and a failure is told in the stream.

use std::time::Duration;

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
use crate::edge::respond::response_stream::ResponseStream;
use crate::failure::Failure;

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
    tasks.extend(written(request, attempts, outcome, |stream| stream.keep_alive(request)));
    send_tasks(session, request, tasks).await
}

/// Tells a failure in a stream of which the client has nothing but signs of life, and ends it.
///
/// # Errors
/// Fails if the client has left.
pub(in crate::edge) async fn tell(
    session: &mut Session,
    request: &RequestInfo,
    attempts: &Attempts,
    outcome: &mut Outcome,
    failure: Failure,
) -> pingora::Result<()> {
    let mut tasks = written(request, attempts, outcome, |stream| stream.fail(&failure, request));
    outcome.failure = Some(failure);
    tasks.push(HttpTask::Done);
    send_tasks(session, request, tasks).await
}

/// Notes and returns what `write` adds to the client's stream. There is none of a call without a target.
fn written(
    request: &RequestInfo,
    attempts: &Attempts,
    outcome: &mut Outcome,
    write: impl FnOnce(&mut ResponseStream),
) -> Vec<HttpTask> {
    let Ok(mut stream) = ResponseStream::new(request, attempts) else { return Vec::new() };
    if outcome.opened.is_some() {
        stream.note_opened(request);
    }
    write(&mut stream);
    let (first, rest) = stream.ready();
    let pieces = std::iter::once(first).chain(rest);
    let tasks = pieces.map(|piece| {
        outcome.open(piece.len());
        HttpTask::Body(Some(piece), false)
    });
    tasks.collect()
}
