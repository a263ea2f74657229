//! Probes of providers and gateways, on the same way that calls take, for `crossmodel doctor` and `crossmodel
//! health`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header;
use pingora::connectors::http::Connector;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::http::RequestHeader;
use pingora::protocols::Stream;
use pingora::upstreams::peer::{HttpPeer, Peer};
use pingora::{Error, ErrorType};
use tokio::time::timeout;

use crate::config::Timeouts;
use crate::edge::request::headers;
use crate::edge::upstream::Upstream;
use crate::edge::upstream::reason::{innermost, reason};
use crate::provider::Provider;

/// A prober of providers and gateways. Each probe has a time limit.
pub struct Prober {
    transport: TransportConnector,
    http: Connector,
}

/// The results of a probe of a provider.
#[derive(Debug)]
#[non_exhaustive]
pub struct Visit {
    /// The address of the provider's host.
    pub address: Option<SocketAddr>,
    /// The end of the certificate's validity, in seconds since the epoch; absent if there is none, or it cannot be
    /// read.
    pub certificate_ends: Option<i64>,
    /// The answer, or the step that failed.
    pub answer: Result<Answer, Unreached>,
}

/// The part of an answer that is looked at.
#[derive(Debug)]
#[non_exhaustive]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its `date`.
    pub date: Option<String>,
    /// The beginning of its body.
    pub body: Bytes,
}

/// The step at which a probe failed, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unreached {
    /// The name could not be resolved.
    Name,
    /// No connection could be made.
    Connection(String),
    /// There is a connection, but the certificate is not trusted.
    Tls(String),
    /// There was no valid answer.
    Answer(String),
}

impl Prober {
    /// Makes a prober with the gateway's own trusted authorities.
    #[must_use]
    pub fn new() -> Self {
        let options = || Some(ConnectorOptions::new(1));
        Self { transport: TransportConnector::new(options()), http: Connector::new(options()) }
    }

    /// Asks a provider for its list of models, with its credential. This costs nothing.
    pub async fn provider(&self, provider: &Arc<Provider>) -> Visit {
        let timeouts = Timeouts { connect: CONNECT, silence: ANSWER, write: CONNECT, ..Timeouts::default() };
        let upstream = Upstream::new(Arc::clone(provider), &timeouts, None);
        let mut visit = Visit { address: None, certificate_ends: None, answer: Err(Unreached::Name) };
        let resolved = timeout(Duration::from_secs(CONNECT), upstream.probe_name()).await;
        let peer = resolved.is_ok_and(|known| known.is_ok()).then(|| upstream.peer(true));
        let Some(Ok(peer)) = peer else { return visit };
        visit.address = peer.address().as_inet().copied();
        // Every probe has a connection of its own, because only then is the certificate seen, whatever version of
        // HTTP is used.
        match self.transport.new_stream(&*peer).await {
            Ok(stream) => visit.certificate_ends = certificate_end(&stream),
            Err(error) => {
                visit.answer = Err(Unreached::from_connecting(&error));
                return visit;
            }
        }
        visit.answer = match headers::for_models(provider) {
            Ok(head) => self.ask(&peer, head).await,
            Err(error) => Err(Unreached::Answer(innermost(&error))),
        };
        visit
    }

    /// Gets a path from one of the operator's own gateways, whose certificate need not be valid for the address.
    ///
    /// # Errors
    /// Fails with the step that failed.
    pub async fn own(&self, address: SocketAddr, tls: bool, path: &str) -> Result<Answer, Unreached> {
        self.get(HttpPeer::new(address, tls, String::new()), address, path).await
    }

    /// Gets a path over TLS from a listener of this machine, whatever its certificate is.
    ///
    /// # Errors
    /// Fails with the step that failed.
    pub async fn own_unverified(&self, address: SocketAddr, path: &str) -> Result<Answer, Unreached> {
        let mut peer = HttpPeer::new(address, true, String::new());
        (peer.options.verify_cert, peer.options.verify_hostname) = (false, false);
        self.get(peer, address, path).await
    }

    async fn get(&self, mut peer: HttpPeer, address: SocketAddr, path: &str) -> Result<Answer, Unreached> {
        let patience = Some(Duration::from_secs(CONNECT));
        (peer.options.connection_timeout, peer.options.total_connection_timeout) = (patience, patience);
        (peer.options.read_timeout, peer.options.write_timeout) = (patience, patience);
        let head = || {
            let mut head = RequestHeader::build_no_case("GET", path.as_bytes(), Some(2))?;
            head.insert_header(header::HOST, address.to_string())?;
            Ok::<_, Box<Error>>(head)
        };
        let head = head().map_err(|error| Unreached::Answer(innermost(&error)))?;
        self.ask(&peer, head).await
    }

    async fn ask(&self, peer: &HttpPeer, head: RequestHeader) -> Result<Answer, Unreached> {
        let answer = timeout(Duration::from_secs(ANSWER), self.exchange(peer, head)).await;
        answer.unwrap_or_else(|_| Err(Unreached::Answer(format!("nothing came within {ANSWER} s"))))
    }

    async fn exchange(&self, peer: &HttpPeer, head: RequestHeader) -> Result<Answer, Unreached> {
        let session = self.http.get_http_session(peer).await;
        let (mut session, _) = session.map_err(|error| Unreached::from_connecting(&error))?;
        let failed = |error: Box<Error>| Unreached::Answer(innermost(&error));
        session.write_request_header(Box::new(head)).await.map_err(failed)?;
        session.finish_request_body().await.map_err(failed)?;
        session.read_response_header().await.map_err(failed)?;
        let (status, date) = match session.response_header() {
            Some(head) => (head.status.as_u16(), head.headers.get(header::DATE).cloned()),
            None => return Err(Unreached::Answer("it has no head".to_owned())),
        };
        let mut body = BytesMut::new();
        while body.len() < BODY {
            match session.read_response_body().await.map_err(failed)? {
                Some(part) => body.extend_from_slice(&part),
                None => break,
            }
        }
        session.shutdown().await;
        let date = date.and_then(|date| Some(date.to_str().ok()?.to_owned()));
        Ok(Answer { status, date, body: body.freeze() })
    }
}

impl Default for Prober {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Prober {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prober").finish_non_exhaustive()
    }
}

impl Unreached {
    fn from_connecting(error: &Error) -> Self {
        match error.etype() {
            ErrorType::TLSHandshakeFailure | ErrorType::TLSHandshakeTimedout | ErrorType::InvalidCert => {
                Self::Tls(reason(error))
            }
            _ => Self::Connection(innermost(error)),
        }
    }
}

/// Returns the end of validity of the peer's certificate.
#[cfg(feature = "rustls")]
fn certificate_end(stream: &Stream) -> Option<i64> {
    certificate_ends_at(stream.get_ssl()?.peer_certificate_der()?)
}

#[cfg(not(feature = "rustls"))]
fn certificate_end(_: &Stream) -> Option<i64> {
    None
}

/// Returns the end of validity of a certificate in DER, in seconds since the epoch.
#[cfg(feature = "rustls")]
fn certificate_ends_at(der: &[u8]) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// Returns the end of validity of the certificate in a PEM file, in seconds since the epoch, or `None` if it
/// cannot be read.
#[must_use]
pub fn certificate_file_ends(pem: &[u8]) -> Option<i64> {
    #[cfg(feature = "rustls")]
    {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem).ok()?;
        certificate_ends_at(&pem.contents)
    }
    #[cfg(not(feature = "rustls"))]
    {
        let _ = pem;
        None
    }
}

/// The time for resolving a name, and for connecting, in seconds.
const CONNECT: u64 = 5;

/// The time for an answer, in seconds.
const ANSWER: u64 = 10;

/// The bytes of an answer that are read. A chosen value: the lists of models of large routers have some hundred
/// thousand bytes.
const BODY: usize = 4 << 20;
