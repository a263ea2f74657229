//! The habits of Pingora 0.9.1 that the gateway has to know. Each has a function of its own, whose doc says what Pingora
//! does and where, what is done about it, and which test fails without it. Files are those of pingora-core and
//! pingora-proxy.

use pingora::apps::HttpPersistentSettings;
use pingora::http::RequestHeader;
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::custom::server::Session as CustomSession;
use pingora::protocols::http::v1::server::HttpSession as H1Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, RetryType};
use pingora_proxy::Session;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::edge::wire::Over;

/// Makes a session for the hooks of one that Pingora does not know.
///
/// *Pingora:* `pingora_proxy::Session` can be made of a connection only (`new_h1`, lib.rs), and has the session of the protocol
/// as a public field. *Here:* it is made of a connection that is over, and given the other session.
/// *Test:* all of `tests/gateway`, whose clients speak HTTP/1.
pub(in crate::edge) fn session_of(own: impl CustomSession) -> Session {
    let mut session = Session::new_h1(Box::new(Over));
    *session.downstream_session = ServerSession::new_custom(Box::new(own));
    session
}

/// Lets no other request follow on the connection, once this one is answered.
///
/// *Pingora:* a session of its own goes by its keep-alive, also after a body that it could not read to its end
/// (`set_server_keepalive`, protocols/http/v1/server.rs); for one that it does not know, `set_keepalive` does nothing
/// (protocols/http/server.rs). *Here:* that one takes it for its last request if it may not read the rest.
/// *Test:* `smuggling::bad_chunks_go_nowhere`.
pub(in crate::edge) fn close_after_answer(session: &mut ServerSession) {
    session.set_keepalive(None);
    session.set_total_drain_timeout(Some(Duration::ZERO));
}

/// Tells a client that waits for it to send its body.
///
/// *Pingora:* a notice counts as an answer before the end of the request, after which the connection would be closed
/// (`prepare_response_header`, protocols/http/v1/server.rs). *Here:* the keep-alive is put back.
/// *Test:* `a_notice_costs_no_connection` below.
///
/// # Errors
/// Fails if the client has left.
pub(in crate::edge) async fn tell_to_go_on(session: &mut ServerSession) -> pingora::Result<()> {
    let keepalive = session.get_keepalive();
    session.write_continue_response().await?;
    session.set_keepalive(keepalive);
    Ok(())
}

/// Lets go of what a session has read a body with.
///
/// *Pingora:* its session of HTTP/1 keeps the buffers until the answer is over (`BodyReader`, protocols/http/v1/body.rs), and
/// one cannot be had without. *Here:* a fresh session is put in its place, which is made to read a request with a body of one
/// byte, and is given the real head. Sessions of the gateway's own listeners keep nothing. *Test:*
/// `a_session_forgets_a_body_and_not_its_request` below.
///
/// # Errors
/// Fails if the connection is lost; the request can still be accounted for.
pub(in crate::edge) async fn forget_body(session: &mut Session) -> pingora::Result<()> {
    if session.downstream_session.as_http1().is_none() {
        return Ok(());
    }
    let mut settings = HttpPersistentSettings::for_session(&session.downstream_session);
    let reuses = session.downstream_session.get_keepalive_reuses_remaining();
    let write = session.downstream_session.get_write_timeout();
    let drain = session.downstream_session.get_total_drain_timeout();
    if let Some(context) = session.downstream_session.take_connection_user_context() {
        settings.set_user_context(context);
    }
    let placeholder = ServerSession::new_custom(Box::new(()));
    let old = match std::mem::replace(&mut *session.downstream_session, placeholder) {
        ServerSession::H1(old) => old,
        other => {
            *session.downstream_session = other;
            return Ok(());
        }
    };
    let head = old.req_header().clone();
    let (fresh, ahead) = match parts(old).await {
        Ok((stream, ahead)) => (stand_in(stream, &head).await, ahead),
        Err(error) => (Err(error), false),
    };
    let (fresh, failed) = match fresh {
        Ok(fresh) => (fresh, None),
        // The connection is lost, but the request is still to be accounted for.
        Err(error) => (stand_in(Box::new(Over), &head).await?, Some(error)),
    };
    *session.downstream_session = ServerSession::H1(fresh);
    settings.apply_to_session(&mut session.downstream_session);
    session.downstream_session.set_keepalive_reuses_remaining(reuses);
    session.downstream_session.set_write_timeout(write);
    session.downstream_session.set_total_drain_timeout(drain);
    if ahead {
        // This is what Pingora does with a pipelined request.
        session.set_keepalive(None);
    }
    failed.map_or(Ok(()), Err)
}

/// Returns a session that has read a request with this head and a body of one byte.
async fn stand_in(stream: Stream, head: &RequestHeader) -> pingora::Result<H1Session> {
    let mut fresh = H1Session::new(stream);
    fresh.set_pipelined_prefix(STAND_IN.into());
    fresh.read_request().await?;
    while fresh.read_body_bytes().await?.is_some() {}
    *fresh.req_header_mut() = head.clone();
    Ok(fresh)
}

/// Returns the connection of a session, and whether more than the request was read from it.
async fn parts(mut session: H1Session) -> pingora::Result<(Stream, bool)> {
    if !session.will_keepalive() {
        return Ok((session.into_inner(), false));
    }
    session.set_pipelining_enabled(true);
    let reused = session.reuse().await?.ok_or_else(|| Error::new_down(ErrorType::ConnectionClosed))?;
    let (stream, ahead) = reused.into_parts();
    Ok((stream, ahead.is_some()))
}

/// Whether the provider had closed the connection meanwhile, or did not take the request on it, so that nothing of it was
/// looked at.
///
/// *Pingora:* says by a flag of the error whether it would try again: always, never, or if the connection was used before
/// (`RetryType`, pingora-error; set in protocols/http/v1/client.rs and v2/client.rs). To ask `retry()` before that is decided
/// panics. *Here:* the flag is read, not asked. *Test:* `upstreams::a_connection_that_the_provider_closed_meanwhile_costs_no_request`.
pub(in crate::edge) fn is_stale(error: &Error, reused: bool) -> bool {
    match error.retry {
        RetryType::ReusedOnly => reused,
        RetryType::Decided(true) => true,
        // The gateway's own connections, and while a request is written, do not tell.
        RetryType::Decided(false) => {
            reused
                && matches!(
                    error.etype(),
                    ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError
                )
        }
    }
}

/// Sees that a peer is asked by a connection of its own, which nobody uses after that.
///
/// *Pingora:* gives a pooled connection to whoever asks for an equal peer, and has no word for a fresh one (`reuse_hash`,
/// upstreams/peer.rs, which counts the group in). *Here:* of the peer's group, no connection is in a pool, and none will be.
/// *Test:* the one of [`is_stale`].
pub(in crate::edge) fn keep_apart(peer: &mut HttpPeer) {
    peer.group_key = APART | GROUPS.fetch_add(1, Ordering::Relaxed);
    peer.options.idle_timeout = Some(Duration::ZERO);
}

/// Whether a peer is asked apart from others.
pub(in crate::edge) fn is_apart(peer: &HttpPeer) -> bool {
    peer.group_key & APART != 0
}

/// Returns the group of the peers that are reached in the same way, by a hash of that way. They share connections.
pub(in crate::edge) fn group(hash: u64) -> u64 {
    hash & !APART
}

/// The bit of the groups of peers that are asked apart from others.
const APART: u64 = 1 << 63;

static GROUPS: AtomicU64 = AtomicU64::new(1);

const STAND_IN: &[u8] = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx";

#[cfg(test)]
mod tests {
    use pingora::http::ResponseHeader;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const REQUEST: &[u8] = b"POST /p HTTP/1.1\r\nhost: g\r\nx: y\r\ncontent-length: 5\r\n\r\nhello";

    async fn read_all(session: &mut Session) {
        while session.downstream_session.read_request_body().await.unwrap().is_some() {}
    }

    async fn answer(session: &mut Session) {
        let mut head = ResponseHeader::build_no_case(200, None).unwrap();
        head.insert_header("content-length", 0).unwrap();
        session.write_response_header(Box::new(head), true).await.unwrap();
    }

    #[tokio::test]
    async fn a_session_forgets_a_body_and_not_its_request() {
        let (own, mut other) = duplex(1 << 16);
        other.write_all(REQUEST).await.unwrap();
        let mut session = Session::new_h1(Box::new(own));
        session.downstream_session.read_request().await.unwrap();
        session.set_keepalive(Some(7));
        session.set_write_timeout(Some(Duration::from_secs(8)));
        session.set_total_drain_timeout(Some(Duration::from_secs(9)));
        read_all(&mut session).await;
        forget_body(&mut session).await.unwrap();
        let fresh = &session.downstream_session;
        assert_eq!((fresh.body_bytes_read(), fresh.req_header().uri.path()), (1, "/p"));
        assert_eq!(fresh.req_header().headers["x"], "y");
        let times = (fresh.get_keepalive(), fresh.get_write_timeout(), fresh.get_total_drain_timeout());
        assert_eq!(times, (Some(7), Some(Duration::from_secs(8)), Some(Duration::from_secs(9))));
        answer(&mut session).await;
        assert!(session.downstream_session.finish().await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_notice_costs_no_connection() {
        let (own, mut other) = duplex(1 << 16);
        let (head, body) = REQUEST.split_at(REQUEST.len() - 5);
        other.write_all(head).await.unwrap();
        let mut session = Session::new_h1(Box::new(own));
        session.downstream_session.read_request().await.unwrap();
        tell_to_go_on(&mut session.downstream_session).await.unwrap();
        let mut notice = [0; 25];
        other.read_exact(&mut notice).await.unwrap();
        assert!(notice.starts_with(b"HTTP/1.1 100"));
        other.write_all(body).await.unwrap();
        read_all(&mut session).await;
        answer(&mut session).await;
        assert!(session.downstream_session.finish().await.unwrap().is_some());
    }
}
