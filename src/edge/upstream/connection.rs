//! A connection to a provider, of either version of HTTP.

use std::time::Duration;

use bytes::Bytes;
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::v2;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v2::client::Http2Session;
use pingora::upstreams::peer::HttpPeer;

use crate::edge::upstream::Upstream;
use crate::edge::upstream::http1::Http1;

/// Makes connections to providers, and keeps those that can be used again.
pub(in crate::edge) struct Connector {
    /// Makes all of them, and keeps those of HTTP/2; those of HTTP/1 are with their [`Upstream`].
    http2: v2::Connector,
}

/// A connection on which one request is asked.
pub(in crate::edge) enum Connection {
    Http1(Http1),
    Http2(Box<Http2Session>),
}

impl Connector {
    pub(in crate::edge) fn new() -> Self {
        Self { http2: v2::Connector::new(Some(ConnectorOptions::new(POOL))) }
    }

    /// A connection, and whether it was used before.
    ///
    /// # Errors
    /// Fails if the peer cannot be reached.
    pub(in crate::edge) async fn connect(
        &self,
        upstream: &Upstream,
        peer: &HttpPeer,
    ) -> pingora::Result<(Connection, bool)> {
        if peer.options.alpn.get_max_http_version() == 2
            && let Some(session) = self.http2.reused_http_session(peer).await?
        {
            return Ok((Connection::Http2(Box::new(session)), true));
        }
        if let Some(stream) = upstream.idle(peer) {
            return Ok((Connection::Http1(Http1::new(stream)), true));
        }
        // Connecting needs more memory than everything after it, and only for a short time.
        match Box::pin(self.http2.new_http_session::<_, ()>(peer)).await? {
            HttpSession::H2(session) => Ok((Connection::Http2(Box::new(session)), false)),
            HttpSession::H1(session) => Ok((Connection::Http1(Http1::new(session.into_inner())), false)),
            HttpSession::Custom(()) => pingora::Error::e_explain(CUSTOM, "no such connection is made"),
        }
    }

    /// Keeps the connection if the answer was read to its end.
    pub(in crate::edge) fn release(&self, connection: Connection, upstream: &Upstream, peer: &HttpPeer) {
        match connection {
            Connection::Http1(http1) if http1.is_reusable() => upstream.keep(http1.into_inner(), peer),
            // It is closed without a word, which a provider that does not read would never take.
            Connection::Http1(_) => {}
            Connection::Http2(mut session) if !session.response_finished() => session.shutdown(),
            Connection::Http2(session) => {
                self.http2.release_http_session(*session, peer, peer.options.idle_timeout);
            }
        }
    }
}

impl Connection {
    /// Sets the time in which a request has to be taken.
    pub(in crate::edge) fn set_write_timeout(&mut self, time: Option<Duration>) {
        match self {
            Self::Http1(http1) => http1.set_write_timeout(time),
            Self::Http2(session) => session.write_timeout = time,
        }
    }

    /// Sets the longest time between two parts of an answer.
    pub(in crate::edge) fn set_read_timeout(&mut self, time: Option<Duration>) {
        match self {
            Self::Http1(http1) => http1.set_read_timeout(time),
            Self::Http2(session) => session.read_timeout = time,
        }
    }

    /// Writes a request.
    ///
    /// # Errors
    /// Fails if it cannot be written, or not in time.
    pub(in crate::edge) async fn write(&mut self, head: RequestHeader, body: Bytes) -> pingora::Result<()> {
        match self {
            Self::Http1(http1) => http1.write(&head, &body).await,
            Self::Http2(session) => {
                session.write_request_header(Box::new(head), false)?;
                session.write_request_body(body, true).await?;
                session.finish_request_body()
            }
        }
    }

    /// Reads the next head of an answer. After an informational one, there is another.
    ///
    /// # Errors
    /// Fails if it is none, or the connection is over.
    pub(in crate::edge) async fn read_response_header(&mut self) -> pingora::Result<()> {
        match self {
            Self::Http1(http1) => http1.read_head().await,
            Self::Http2(session) => session.read_response_header().await,
        }
    }

    /// The head that was read last.
    pub(in crate::edge) fn response_header(&self) -> Option<&ResponseHeader> {
        match self {
            Self::Http1(http1) => http1.head(),
            Self::Http2(session) => session.response_header(),
        }
    }

    /// The head that was read last, for its only reader.
    pub(in crate::edge) fn take_head(&mut self) -> Option<Box<ResponseHeader>> {
        match self {
            Self::Http1(http1) => http1.take_head(),
            Self::Http2(session) => session.response_header().cloned().map(Box::new),
        }
    }

    /// Reads the next part of the body; nothing at its end. It may be dropped and begun anew.
    ///
    /// # Errors
    /// Fails if the connection is over before the body is, or silent for too long.
    pub(in crate::edge) async fn read_response_body(&mut self) -> pingora::Result<Option<Bytes>> {
        match self {
            Self::Http1(http1) => http1.read_body().await,
            Self::Http2(session) => session.read_response_body().await,
        }
    }

    /// Whether anything of an answer has come.
    pub(in crate::edge) fn has_begun(&self) -> bool {
        match self {
            Self::Http1(http1) => http1.has_begun(),
            Self::Http2(session) => session.response_header().is_some(),
        }
    }

    /// Gives the request up: closes the connection, or resets its stream.
    pub(in crate::edge) fn give_up(self) {
        if let Self::Http2(mut session) = self {
            session.shutdown();
        }
    }
}

/// Unused connections over HTTP/2 that are kept.
const POOL: usize = 512;

/// An error that cannot be: a peer never asks for a protocol of its own.
const CUSTOM: pingora::ErrorType = pingora::ErrorType::InternalError;
