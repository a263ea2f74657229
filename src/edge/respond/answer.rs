//! Answers that the gateway writes itself: failures, models, whole replies.

use bytes::Bytes;
use http::header;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora_proxy::Session;

use crate::edge::call::outcome::Outcome;
use crate::edge::request::body;
use crate::edge::request::headers::{self, Identity};
use crate::edge::respond::outbox::Outbox;
use crate::failure::Failure;

pub(in crate::edge) const JSON: &str = "application/json";

/// Writes a whole answer of a provider.
///
/// # Errors
/// When the client is gone.
pub(in crate::edge) async fn write(
    session: &mut Session,
    outcome: &mut Outcome,
    identity: Identity<'_>,
    body: Bytes,
) -> pingora::Result<()> {
    let head = ResponseHeader::build_no_case(200, Some(12))?;
    send(session, outcome, identity, (head, Whose::Provider), body).await
}

/// What the gateway knows by itself.
pub(in crate::edge) enum Local {
    /// Clients may keep it for a while.
    Lasting(Bytes),
    /// They may not.
    Passing(Bytes),
}

/// Writes what the gateway knows by itself.
///
/// # Errors
/// When the client is gone.
pub(in crate::edge) async fn local(
    session: &mut Session,
    outcome: &mut Outcome,
    identity: Identity<'_>,
    answer: Local,
) -> pingora::Result<()> {
    let (body, kept) = match answer {
        Local::Lasting(body) => (body, "private, max-age=60"),
        Local::Passing(body) => (body, "no-store"),
    };
    let mut head = ResponseHeader::build_no_case(200, Some(12))?;
    head.insert_header(header::CACHE_CONTROL, kept)?;
    send(session, outcome, identity, (head, Whose::Own), body).await
}

/// Writes a failure in the client's envelope, and notes it.
///
/// # Errors
/// When the client is gone.
pub(in crate::edge) async fn fail(
    session: &mut Session,
    outcome: &mut Outcome,
    identity: Identity<'_>,
    failure: Failure,
) -> pingora::Result<()> {
    let mut head = ResponseHeader::build_no_case(failure.status(), Some(12))?;
    if let Some(seconds) = failure.retry_after() {
        head.insert_header(header::RETRY_AFTER, seconds)?;
    }
    if let Some(retry) = failure.should_retry() {
        head.insert_header("x-should-retry", if retry { "true" } else { "false" })?;
    }
    if let Some(methods) = failure.allow() {
        head.insert_header(header::ALLOW, methods)?;
    }
    let Identity { request, .. } = identity;
    let envelope = || request.dialect().protocol().envelope(&failure, &request.id);
    let body = failure.body().cloned().unwrap_or_else(envelope);
    outcome.failure = Some(failure);
    send(session, outcome, identity, (head, Whose::Own), body).await
}

/// Whose an answer is.
#[derive(Clone, Copy)]
enum Whose {
    /// The gateway's.
    Own,
    /// A provider's, for which the client has paid.
    Provider,
}

async fn send(
    session: &mut Session,
    outcome: &mut Outcome,
    identity: Identity<'_>,
    (mut head, whose): (ResponseHeader, Whose),
    body: Bytes,
) -> pingora::Result<()> {
    body::discard(session).await;
    outcome.status = head.status.as_u16();
    head.insert_header(header::CONTENT_TYPE, JSON)?;
    head.insert_header(header::CONTENT_LENGTH, body.len())?;
    headers::identify(&mut head, identity);
    let bodiless = session.req_header().method == http::Method::HEAD || body.is_empty();
    outcome.note_first_byte(identity.request.started);
    session.write_response_header(Box::new(head), bodiless).await?;
    if bodiless {
        return Ok(());
    }
    outcome.bytes_out += body.len();
    if let (ServerSession::H2(h2), Whose::Own) = (&mut *session.downstream_session, whose) {
        // Nothing else of the request is needed for it, however long the client lets it wait.
        Outbox::of_connection().send(h2, body);
        return Ok(());
    }
    session.write_response_body(Some(body), true).await
}
