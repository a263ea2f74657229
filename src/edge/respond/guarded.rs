//! Answers on their way through the guards that watch them.

use bytes::Bytes;
use pingora_proxy::Session;

use crate::edge::call::attempts::Attempts;
use crate::edge::call::call_guard::Abort;
use crate::edge::call::context::CallContext;
use crate::edge::call::outcome::Outcome;
use crate::edge::request::guards;
use crate::edge::request::headers::Identity;
use crate::edge::respond::answer;
use crate::edge::respond::delivery::client_write;
use crate::edge::upstream::connection::Connector;

/// Writes a whole answer, or what the guards have put in its place.
///
/// # Errors
/// Fails if the client has left.
pub(in crate::edge) async fn write(
    session: &mut Session,
    connector: &Connector,
    outcome: &mut Outcome,
    identity: Identity<'_>,
    body: Bytes,
) -> Result<(), Abort> {
    let Identity { request, attempts, .. } = identity;
    let checked = match watched_model(attempts) {
        Some(model) => guards::check_answer(connector, request, model, body, &mut outcome.guards).await,
        None => Ok(body),
    };
    client_write(match checked {
        Ok(body) => answer::write(session, outcome, identity, body).await,
        Err(failure) => answer::fail(session, outcome, identity, failure).await,
    })
}

/// Returns the place for the stream of a call, if a guard is to see it.
pub(in crate::edge) fn watch(identity: Identity<'_>) -> Option<Vec<u8>> {
    let model = watched_model(identity.attempts)?;
    guards::is_answer_watched(identity.request, model).then(Vec::new)
}

/// Shows the guards a stream that has ended.
pub(in crate::edge) async fn observe(connector: &Connector, ctx: &mut CallContext) {
    let CallContext { request, attempts, outcome, .. } = ctx;
    let events = outcome.watched.take().filter(|events| !events.is_empty());
    if let (Some(events), Some(model)) = (events, watched_model(attempts)) {
        guards::observe(connector, request, model, &events, &mut outcome.guards).await;
    }
}

/// Returns the model that answers. A count of tokens is no answer.
fn watched_model(attempts: &Attempts) -> Option<&str> {
    attempts.call.as_deref().filter(|call| call.infers()).map(|call| &*call.found.id)
}
