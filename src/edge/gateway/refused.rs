//! Requests that are refused because of their heads, before any hook has seen them: their answers and access lines.

use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use jiff::Timestamp;
use pingora::http::ResponseHeader;

use crate::edge::call::endpoint::{self, Endpoint};
use crate::edge::call::record::{cut, version_name};
use crate::edge::call::request_info;
use crate::edge::request::cors;
use crate::edge::request::headers::CREDENTIALS;
use crate::edge::respond::answer::{self, JSON};
use crate::edge::wire::served::put_answer;
use crate::failure::{Failure, Kind};
use crate::observe::{AccessLine, Metrics};
use crate::protocol::ProtocolId;

/// A request that is refused because of its head, with the facts that are known of it.
#[derive(Debug)]
pub(in crate::edge) struct Refused<'h> {
    id: String,
    method: &'h str,
    version: Option<Version>,
    endpoint: Option<Endpoint>,
    failure: Failure,
    /// The origin whose scripts may read the answer.
    origin: Option<HeaderValue>,
    /// The address of the client.
    pub(in crate::edge) client: Option<IpAddr>,
    pub(in crate::edge) body: Bytes,
}

impl<'h> Refused<'h> {
    /// Makes the refusal of a request; its method and path are empty if they are not known.
    pub(in crate::edge) fn new(
        method: &'h str,
        path: &str,
        version: Option<Version>,
        failure: Failure,
    ) -> Self {
        let id = request_info::new_id();
        let endpoint = endpoint::find(path).map(|(endpoint, _)| endpoint);
        let protocol = endpoint.and_then(Endpoint::protocol).unwrap_or(ProtocolId::Chat);
        let body = protocol.protocol().envelope(&failure, &id);
        Self { id, method, version, endpoint, failure, origin: None, client: None, body }
    }

    /// Makes the refusal of a request on HTTP/2 that Pingora has found malformed, of which nothing else is known.
    pub(in crate::edge) fn malformed() -> Self {
        let failure = Failure::new(Kind::BadRequest, "The request is not HTTP.").with_code("invalid_http");
        Self { body: Bytes::new(), ..Self::new("", "", Some(Version::HTTP_2), failure) }
    }

    /// Names the client's address.
    pub(in crate::edge) fn asked_by(self, client: Option<IpAddr>) -> Self {
        Self { client, ..self }
    }

    /// Lets scripts of an origin read the answer.
    pub(in crate::edge) fn readable_from(self, origin: Option<HeaderValue>) -> Self {
        Self { origin, ..self }
    }

    /// Returns the head of the answer.
    ///
    /// # Errors
    /// Fails if a header cannot be written.
    pub(in crate::edge) fn head(&self) -> pingora::Result<ResponseHeader> {
        let mut head = Parts::from(answer::failed_head(&self.failure)?);
        answer::describe(&mut head.headers, JSON, &self.body);
        if let Some(origin) = &self.origin {
            cors::allow(&mut head.headers, origin);
        }
        let mut head = ResponseHeader::from(head);
        for name in ["request-id", "x-request-id"] {
            head.insert_header(name, self.id.as_str())?;
        }
        Ok(head)
    }

    /// The whole answer over HTTP/1, after which the connection is closed. It is empty if it cannot be built.
    pub(in crate::edge) fn http1(&self) -> BytesMut {
        let mut answer = BytesMut::new();
        if let Ok(mut head) = self.head()
            && head.insert_header(header::CONNECTION, "close").is_ok()
        {
            put_answer(&mut answer, &head);
            answer.extend_from_slice(&self.body);
        }
        answer
    }

    /// Returns the endpoint's name in logs and metrics.
    fn endpoint_name(&self) -> &'static str {
        self.endpoint.map_or("unknown", Endpoint::name)
    }

    /// Counts the request as finished.
    pub(in crate::edge) fn count(&self, metrics: &Metrics) {
        let code = self.failure.kind().row().code;
        metrics.request(self.endpoint_name(), self.failure.status(), code, 0.0, None);
    }

    /// Returns the access line. `client` is what it tells of the client's address.
    pub(in crate::edge) fn line(&self, client: Option<IpAddr>) -> AccessLine<'_> {
        AccessLine {
            request_id: &self.id,
            client,
            method: cut(self.method),
            endpoint: self.endpoint_name(),
            protocol: self.endpoint.and_then(Endpoint::protocol).map(|protocol| protocol.as_str()),
            client_protocol_version: self.version.and_then(version_name),
            status: self.failure.status(),
            error: Some(self.failure.logged_code()),
            detail: self.failure.detail().map(cut),
            bytes_out: self.body.len(),
            ..AccessLine::new(Timestamp::now())
        }
    }
}

/// Checks that a request has no credential header twice: of two, one reader may take the first and another the
/// last.
///
/// # Errors
/// Returns 400 if it has.
pub(in crate::edge) fn check_credentials(headers: &HeaderMap) -> Result<(), Failure> {
    let repeated = |name: &&HeaderName| headers.get_all(*name).iter().nth(1).is_some();
    let Some(name) = CREDENTIALS.into_iter().find(repeated) else { return Ok(()) };
    let message = format!("There is more than one '{name}' header: send one.");
    Err(Failure::new(Kind::BadRequest, message).with_code("invalid_http"))
}
