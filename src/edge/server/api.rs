//! The admin API over HTTP: converts requests and answers of Pingora.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderName};
use pingora::protocols::http::ServerSession;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::admin::api::{Answer, Api, GatewayView, PREFIX, Peer, Request};
use crate::admin::{Code, OperationError};
use crate::edge::server::running::RunningGateway;

/// The admin API of one gateway. It is cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::edge) struct AdminApi {
    api: Arc<Api>,
    /// Whether it is served at all.
    is_open: bool,
    /// The operations that may use the store at once.
    places: Arc<Semaphore>,
}

/// Returns the path below the API's, if it is one.
pub(in crate::edge) fn path(path: &str) -> Option<&str> {
    path.strip_prefix(PREFIX).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl AdminApi {
    /// Makes the API of a gateway.
    pub(in crate::edge) fn new(view: &Arc<RunningGateway>) -> Self {
        let data = view.data().to_owned();
        let view: Arc<dyn GatewayView> = Arc::<RunningGateway>::clone(view);
        let api = Arc::new(Api::new(&data, Some(view)));
        Self { api, is_open: true, places: Arc::new(Semaphore::new(MAX_OPERATIONS)) }
    }

    /// Returns the same API for a listener at which it is served or not.
    pub(in crate::edge) fn served(&self, is_open: bool) -> Self {
        Self { is_open, ..self.clone() }
    }

    /// Checks whether the address of a request may try a credential.
    ///
    /// # Errors
    /// Returns 429 if too many wrong ones came from it.
    pub(in crate::edge) fn check_address(&self, address: IpAddr) -> Result<(), OperationError> {
        self.api.check_address(address)
    }

    /// Whether a request has a valid credential. A wrong one is counted for its address.
    pub(in crate::edge) async fn knows(&self, authorization: Option<&str>, address: IpAddr) -> bool {
        let Some(authorization) = authorization.map(str::to_owned) else { return false };
        let api = Arc::clone(&self.api);
        let known = self.operate(move || api.role(Some(&authorization), address).is_some());
        known.await.unwrap_or_default()
    }

    /// Answers a request of a peer, which is an error if it is not known.
    pub(in crate::edge) async fn serve(
        &self,
        session: &mut ServerSession,
        path: String,
        peer: Result<Peer, OperationError>,
    ) -> Answer {
        if !self.is_open {
            let message = "the admin API is off where others can reach the address without TLS: set \
                `admin.plaintext: allow` if only operators can";
            return Answer::refusal(&OperationError::new(Code::Forbidden, message));
        }
        let request = match peer {
            Ok(peer) => request(session, path, peer).await,
            Err(error) => Err(error),
        };
        let request = match request {
            Ok(request) => request,
            Err(error) => return Answer::refusal(&error),
        };
        let api = Arc::clone(&self.api);
        let answer = self.operate(move || api.answer(&request)).await;
        answer.unwrap_or_else(|error| Answer::refusal(&error))
    }

    /// Carries out an operation on a thread that may wait for the disk.
    async fn operate<T: Send + 'static>(
        &self,
        operation: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, OperationError> {
        let place = timeout(PLACE_TIMEOUT, Arc::clone(&self.places).acquire_owned()).await;
        let busy = || OperationError::new(Code::StoreUnavailable, "the store is busy; repeat the request");
        let place: OwnedSemaphorePermit = place.ok().and_then(Result::ok).ok_or_else(busy)?;
        let work = tokio::task::spawn_blocking(move || {
            let result = operation();
            drop(place);
            result
        });
        work.await
            .map_err(|error| OperationError::new(Code::Internal, format!("the operation ended: {error}")))
    }
}

/// Returns the program at the other end of a connection. `is_known_name` says whether its request names the gateway by an
/// address or a local name.
///
/// # Errors
/// Fails if its address is not known.
pub(in crate::edge) fn network_peer(
    session: &ServerSession,
    is_known_name: bool,
) -> Result<Peer, OperationError> {
    let address = peer_address(session)?;
    Ok(Peer::Network { address, is_local: address.is_loopback() && is_known_name })
}

/// Returns the address at the other end of a connection.
///
/// # Errors
/// Fails if it is not known.
pub(in crate::edge) fn peer_address(session: &ServerSession) -> Result<IpAddr, OperationError> {
    let address = session.client_addr().and_then(|address| address.as_inet()).map(|address| address.ip());
    let unknown = || OperationError::new(Code::Forbidden, "the address of the request is not known");
    Ok(address.ok_or_else(unknown)?.to_canonical())
}

async fn request(session: &mut ServerSession, path: String, peer: Peer) -> Result<Request, OperationError> {
    let body = timeout(BODY_TIMEOUT, body(session)).await;
    let slow = |_| OperationError::new(Code::InvalidRequest, "the body took longer than ten seconds");
    let body = body.map_err(slow)??;
    let head = session.req_header();
    let field =
        |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok(Request {
        method: head.method.as_str().to_owned(),
        path,
        query: head.uri.query().unwrap_or_default().to_owned(),
        authorization: field(header::AUTHORIZATION),
        content_type: field(header::CONTENT_TYPE),
        if_match: field(header::IF_MATCH),
        idempotency_key: field(HeaderName::from_static("idempotency-key")),
        body,
        peer,
    })
}

/// Reads the body of a request, up to a limit.
async fn body(session: &mut ServerSession) -> Result<Vec<u8>, OperationError> {
    let mut body = Vec::new();
    loop {
        let part = session.read_request_body().await;
        let broken = |_| OperationError::new(Code::InvalidRequest, "the body cannot be read");
        let Some(part) = part.map_err(broken)? else { return Ok(body) };
        if body.len() + part.len() > MAX_BODY_BYTES {
            let message = format!("the body is longer than {MAX_BODY_BYTES} bytes");
            return Err(OperationError::new(Code::TooLarge, message));
        }
        body.extend_from_slice(&part);
    }
}

/// The operations that use the store at once.
const MAX_OPERATIONS: usize = 32;

/// The time for which an operation waits for its place.
const PLACE_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest body.
const MAX_BODY_BYTES: usize = 64 << 10;

/// The time for a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
