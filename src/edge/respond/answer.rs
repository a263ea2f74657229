//! Answers that the gateway writes as a whole: failures, its own documents, and complete answers of providers.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::response::Parts;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora_proxy::Session;

use crate::edge::call::outcome::Outcome;
use crate::edge::request::body;
use crate::edge::request::cors::Preflight;
use crate::edge::request::decode;
use crate::edge::request::headers::{self, Identity};
use crate::edge::respond::outbox::Outbox;
use crate::failure::{Failure, Kind};

pub(in crate::edge) const JSON: &str = "application/json";

/// Writes a whole answer of a provider.
///
/// # Errors
/// Fails if the client has left.
pub(in crate::edge) async fn write(
    session: &mut Session,
    outcome: &mut Outcome,
    identity: Identity<'_>,
    body: Bytes,
) -> pingora::Result<()> {
    let head = ResponseHeader::build_no_case(200, Some(12))?;
    send(session, outcome, identity, (head, Whose::Provider), body).await
}

/// A document of the gateway's own.
pub(in crate::edge) enum Local {
    /// A document that clients may cache for a while.
    Lasting(Bytes),
    /// A document that clients may not cache.
    Passing(Bytes),
    /// The answer to a preflight.
    Preflight(Preflight),
}

/// Writes a document of the gateway's own.
///
/// # Errors
/// Fails if the client has left.
pub(in crate::edge) async fn local(
    session: &mut Session,
    outcome: &mut Outcome,
    identity: Identity<'_>,
    answer: Local,
) -> pingora::Result<()> {
    let (body, kept) = match answer {
        Local::Lasting(body) => (body, "private, max-age=60"),
        Local::Passing(body) => (body, "no-store"),
        Local::Preflight(preflight) => return permit(session, outcome, identity, &preflight).await,
    };
    let mut head = ResponseHeader::build_no_case(200, Some(12))?;
    head.insert_header(header::CACHE_CONTROL, kept)?;
    send(session, outcome, identity, (head, Whose::Own), body).await
}

/// Writes the answer to a preflight, which has no body.
async fn permit(
    session: &mut Session,
    outcome: &mut Outcome,
    identity: Identity<'_>,
    preflight: &Preflight,
) -> pingora::Result<()> {
    let mut head = ResponseHeader::build_no_case(204, Some(10))?;
    preflight.describe(&mut head)?;
    let mut head = Parts::from(head);
    headers::identify(&mut head.headers, identity);
    body::discard(session).await;
    outcome.status = 204;
    outcome.note_first_byte(identity.request.started);
    session.write_response_header(Box::new(head.into()), true).await
}

/// Writes a failure in the client's envelope, and notes it.
///
/// # Errors
/// Fails if the client has left.
pub(in crate::edge) async fn fail(
    session: &mut Session,
    outcome: &mut Outcome,
    identity: Identity<'_>,
    failure: Failure,
) -> pingora::Result<()> {
    let head = failed_head(&failure)?;
    let Identity { request, .. } = identity;
    let envelope = || request.dialect().protocol().envelope(&failure, &request.id);
    let body = failure.body().cloned().unwrap_or_else(envelope);
    outcome.failure = Some(failure);
    send(session, outcome, identity, (head, Whose::Own), body).await
}

/// The head with which a failure is told, before it is known whose request it ends.
///
/// # Errors
/// Fails if a header cannot be written.
pub(in crate::edge) fn failed_head(failure: &Failure) -> pingora::Result<ResponseHeader> {
    let mut head = ResponseHeader::build_no_case(failure.status(), Some(12))?;
    if let Some(seconds) = failure.retry_after() {
        head.insert_header(header::RETRY_AFTER, seconds)?;
    }
    if let Some(retry) = failure.should_retry() {
        head.insert_header("x-should-retry", if retry { "true" } else { "false" })?;
    }
    if let Some(time) = failure.budget_reset() {
        head.insert_header("x-crossmodel-budget-reset", time)?;
    }
    if let Some(methods) = failure.allow() {
        head.insert_header(header::ALLOW, methods)?;
    }
    if failure.kind() == Kind::UnsupportedEncoding {
        head.insert_header(header::ACCEPT_ENCODING, decode::ACCEPTED)?;
    }
    Ok(head)
}

/// Adds what the head of a whole answer says of its body.
pub(in crate::edge) fn describe(head: &mut HeaderMap, content_type: &'static str, body: &Bytes) {
    let _ = head.try_insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    let _ = head.try_insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
}

/// The origin of an answer.
#[derive(Clone, Copy)]
enum Whose {
    /// The gateway itself.
    Own,
    /// A provider, whose answer the client has paid for.
    Provider,
}

async fn send(
    session: &mut Session,
    outcome: &mut Outcome,
    identity: Identity<'_>,
    (head, whose): (ResponseHeader, Whose),
    body: Bytes,
) -> pingora::Result<()> {
    body::discard(session).await;
    outcome.status = head.status.as_u16();
    // Pingora's own functions would read and copy each name once more.
    let mut head = Parts::from(head);
    describe(&mut head.headers, JSON, &body);
    headers::identify(&mut head.headers, identity);
    let bodiless = session.req_header().method == http::Method::HEAD || body.is_empty();
    outcome.note_first_byte(identity.request.started);
    session.write_response_header(Box::new(head.into()), bodiless).await?;
    if bodiless {
        return Ok(());
    }
    outcome.bytes_out += body.len();
    if let Some(content) = &identity.request.content {
        content.add(&body);
    }
    if let (ServerSession::H2(h2), Whose::Own) = (&mut *session.downstream_session, whose) {
        // The answer needs nothing else of the request, however long the client lets it wait.
        Outbox::of_connection().send(h2, body);
        return Ok(());
    }
    session.write_response_body(Some(body), true).await
}
