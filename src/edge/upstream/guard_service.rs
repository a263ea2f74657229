//! The services that are asked about requests before any provider is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{self, HeaderValue};
use pingora::http::RequestHeader;
use pingora::upstreams::peer::HttpPeer;
use tokio::time::timeout;

use crate::config::{Guard, Timeouts};
use crate::edge::upstream::Upstream;
use crate::edge::upstream::connection::{Connection, Connector};
use crate::edge::upstream::reason::reason;
use crate::route::{AttemptOutcome, Caller, Condition, Health};

/// A guard, and the state of its service.
#[derive(Debug)]
pub(in crate::edge) struct GuardService {
    pub(in crate::edge) guard: Guard,
    upstream: Upstream,
    health: Health,
    in_flight: AtomicUsize,
}

/// A question that is being asked. It ends when this is dropped.
struct Question<'g>(&'g GuardService);

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl GuardService {
    pub(in crate::edge) fn new(guard: &Guard, timeouts: &Timeouts) -> Self {
        Self {
            guard: guard.clone(),
            upstream: Upstream::new(std::sync::Arc::clone(&guard.server), timeouts, None),
            health: Health::new(MAX_FAILURES),
            in_flight: AtomicUsize::new(0),
        }
    }

    /// Closes connections that are of no use any more, and resolves the name again if that is due.
    pub(in crate::edge) fn look_after(&self) {
        self.upstream.look_after();
    }

    /// Asks a question and returns the answer's body.
    ///
    /// # Errors
    /// Fails with the reason if there is no good answer in time, or the service must not be asked now.
    pub(in crate::edge) async fn ask(
        &self,
        connector: &Connector,
        fields: &[(&'static str, HeaderValue)],
        body: Bytes,
    ) -> Result<Bytes, String> {
        let question = Question(self);
        if self.in_flight.fetch_add(1, Ordering::Relaxed) >= MAX_QUESTIONS {
            return Err(format!("{MAX_QUESTIONS} other requests wait for it"));
        }
        // The breaker knows no accounts: what a guard says does not depend on them.
        let everybody = Caller::of("");
        if matches!(self.health.condition(Some(everybody), Instant::now()), Condition::Open(_)) {
            return Err("its circuit is open".to_owned());
        }
        self.health.begin(everybody, Instant::now());
        let answer = timeout(self.guard.timeout, self.exchange(connector, fields, body)).await;
        drop(question);
        let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        self.note(answer.is_ok());
        answer
    }

    /// Notes whether a question had a good answer.
    pub(in crate::edge) fn note(&self, is_good: bool) {
        let outcome = if is_good { AttemptOutcome::Succeeded } else { AttemptOutcome::Failed };
        // Its state is in the access lines of the requests.
        let _ = self.health.record(outcome, Caller::of(""), Instant::now());
    }

    async fn exchange(
        &self,
        connector: &Connector,
        fields: &[(&'static str, HeaderValue)],
        body: Bytes,
    ) -> Result<Bytes, String> {
        self.upstream.resolved().await.map_err(|failure| failure.detail().unwrap_or_default().to_owned())?;
        let mut fresh = false;
        loop {
            let peer = self.upstream.peer(fresh).map_err(|_| "no address".to_owned())?;
            let failed = |error: Box<pingora::Error>| reason(&error);
            let (mut connection, reused) = connector.connect(&self.upstream, &peer).await.map_err(failed)?;
            let head = self.head(fields, body.len()).map_err(failed)?;
            match answered(&mut connection, head, body.clone()).await {
                Ok(()) => return self.read(connection, connector, &peer).await,
                // It had closed the connection meanwhile.
                Err(_) if reused && !fresh && !connection.has_begun() => fresh = true,
                Err(error) => return Err(reason(&error)),
            }
        }
    }

    fn head(&self, fields: &[(&'static str, HeaderValue)], length: usize) -> pingora::Result<RequestHeader> {
        let mut head =
            RequestHeader::build_no_case("POST", self.guard.path.as_bytes(), Some(fields.len() + 4))?;
        head.insert_header(header::HOST, self.guard.server.base_url.authority.as_str())?;
        head.insert_header(header::CONTENT_TYPE, "application/json")?;
        head.insert_header(header::ACCEPT_ENCODING, "identity")?;
        head.insert_header(header::CONTENT_LENGTH, length)?;
        for (name, value) in fields {
            head.insert_header(*name, value.clone())?;
        }
        Ok(head)
    }

    /// Reads the body of a good answer.
    async fn read(
        &self,
        mut connection: Connection,
        connector: &Connector,
        peer: &HttpPeer,
    ) -> Result<Bytes, String> {
        let status = connection.response_header().map(|head| head.status);
        if status != Some(StatusCode::OK) {
            connection.give_up();
            return Err(format!("it has answered {}", status.map_or(0, |status| status.as_u16())));
        }
        let mut body = BytesMut::new();
        while let Some(part) = connection.read_response_body().await.map_err(|error| reason(&error))? {
            if body.len() + part.len() > MAX_ANSWER_BYTES {
                connection.give_up();
                return Err("its answer is too large".to_owned());
            }
            body.extend_from_slice(&part);
        }
        connector.release(connection, &self.upstream, peer);
        Ok(body.freeze())
    }
}

/// Sends a question and waits for the head of the answer.
async fn answered(connection: &mut Connection, head: RequestHeader, body: Bytes) -> pingora::Result<()> {
    connection.write(head, body).await?;
    loop {
        connection.read_response_header().await?;
        if connection.response_header().is_none_or(|head| !head.status.is_informational()) {
            return Ok(());
        }
    }
}

/// Failures in a row after which a guard is not asked for a while, as for targets.
const MAX_FAILURES: u32 = 5;

/// Requests that wait for one guard at once.
const MAX_QUESTIONS: usize = 256;

/// The longest answer of a guard: a body of a request and some words around it.
const MAX_ANSWER_BYTES: usize = 32 << 20;
