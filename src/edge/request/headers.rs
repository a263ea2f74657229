//! Headers: the client's credential, the headers that are forwarded to the provider, and those of answers.

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use jiff::{SignedDuration, Timestamp};
use pingora::http::RequestHeader;

use crate::auth::bearer_token;
use crate::edge::call::attempts::Attempts;
use crate::edge::call::billing::Billing;
use crate::edge::call::endpoint::Endpoint;
use crate::edge::call::gemini_path;
use crate::edge::call::request_info::RequestInfo;
use crate::edge::call::target::{Bridged, Call};
use crate::edge::request::cors;
use crate::edge::request::provider_head::{IDENTITY, JSON, ProviderHead, X_API_KEY, X_GOOG_API_KEY};
use crate::edge::upstream::betas;
use crate::failure::{Failure, Kind, Result};
use crate::limit::RateLimitStatus;
use crate::meter::Prices;
use crate::observe::Trace;
use crate::protocol::ProtocolId;
use crate::provider::Provider;

/// Returns the credential of a request. The endpoint's own header comes first, and another one counts only if that
/// is absent or empty. A credential in the query is ignored.
pub(in crate::edge) fn credential(headers: &HeaderMap, protocol: Option<ProtocolId>) -> Option<&str> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().map_or(MALFORMED, str::trim));
    let named = |name: &HeaderName| text(name).filter(|text| !text.is_empty());
    // A scheme without a token counts as an empty header.
    // Any other scheme is a credential all the same, only not a valid one.
    let token = |text| bearer_token(text).unwrap_or(MALFORMED);
    let bearer =
        || named(&header::AUTHORIZATION).filter(|text| !text.eq_ignore_ascii_case("bearer")).map(token);
    match protocol {
        Some(ProtocolId::Chat | ProtocolId::Responses) => {
            bearer().or_else(|| named(&X_API_KEY)).or_else(|| named(&API_KEY))
        }
        Some(ProtocolId::Gemini) => {
            named(&X_GOOG_API_KEY).or_else(bearer).or_else(|| named(&X_API_KEY)).or_else(|| named(&API_KEY))
        }
        Some(ProtocolId::Messages) | None => named(&X_API_KEY).or_else(bearer),
    }
}

/// Whether a request on a shared endpoint comes from an Anthropic client.
pub(in crate::edge) fn is_anthropic(headers: &HeaderMap) -> bool {
    let key = headers.get(&X_API_KEY).is_some_and(|value| !value.is_empty());
    key || headers.contains_key(&ANTHROPIC_VERSION)
}

/// Whether a request comes from one of Google's clients, by its path or, on an endpoint that others use too, by its key.
pub(in crate::edge) fn is_google(request: &RequestHeader) -> bool {
    let path = request.uri.path();
    let has_key = request.headers.get(&X_GOOG_API_KEY).is_some_and(|value| !value.is_empty());
    gemini_path::is_preview(path) || has_key && path.starts_with("/v1/models")
}

/// Whether a key stands in the query, where it would be logged by everybody on the way.
pub(in crate::edge) fn has_key_in_query(request: &RequestHeader) -> bool {
    let mut parameters = request.uri.query().unwrap_or_default().split('&');
    parameters.any(|parameter| parameter.starts_with("key="))
}

/// Whether the client prefers a refusal to a loss.
pub(in crate::edge) fn is_strict(headers: &HeaderMap) -> bool {
    headers.get(&STRICT).is_some_and(|value| matches!(value.as_bytes(), b"1" | b"true"))
}

/// Returns the session, a text that the calls of one conversation have in common, if the client sends one.
pub(in crate::edge) fn session(headers: &HeaderMap) -> Option<&str> {
    // All headers are looked at once: there are fewer than names to look for.
    let ranked = headers.iter().filter_map(|(name, value)| {
        let rank = SESSION.iter().position(|known| *known == name.as_str())?;
        Some((rank, value.to_str().ok().filter(|hint| !hint.is_empty())?))
    });
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, hint)| hint)
}

/// Returns the declared length of the request's body, if there is one.
pub(in crate::edge) fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Checks the size of a head.
///
/// # Errors
/// Returns 431 if the head is too large.
pub(in crate::edge) fn check_size(request: &RequestHeader, bytes: usize, fields: usize) -> Result<()> {
    let headers = &request.headers;
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if headers.len() > fields || size + request.raw_path().len() > bytes {
        return Err(Failure::new(Kind::HeadTooLarge, "The request's headers are too large."));
    }
    Ok(())
}

/// Makes the head of a relayed request to the call's provider. Only headers that may go there are copied.
pub(in crate::edge) fn to_provider(
    client: &RequestHeader,
    request: &RequestInfo,
    call: &Call,
) -> pingora::Result<RequestHeader> {
    let (provider, protocol) = (call.provider(), call.protocol);
    let query = if protocol.is_anthropic() { beta_query(client) } else { "" };
    let target = [provider.path(protocol), &*call.path(), query].concat();
    let fields = client.headers.len() + OWN_FIELDS;
    let mut head = ProviderHead::new((Method::POST, target), provider, fields)?;
    for (name, value) in &client.headers {
        if goes_on(name, protocol, provider.allow_upstream_state) {
            head.append(name.clone(), value.clone())?;
        }
    }
    if let Some(value) = client.headers.get(&IDEMPOTENCY_KEY) {
        let tenants = &request.snapshot.tenants;
        if let Some(value) = tenants.idempotency_key(request.grant.as_ref(), value.as_bytes()) {
            head.put(IDEMPOTENCY_KEY.clone(), value)?;
        }
    }
    let id = if protocol.is_anthropic() { &REQUEST_ID } else { &X_REQUEST_ID };
    if let Some(value) = client.headers.get(id).filter(|value| is_id(value)) {
        head.put(id.clone(), value.clone())?;
    }
    if protocol.is_anthropic() {
        anthropic(&mut head, client, provider, call.prices.as_deref())?;
    }
    head.describe(&call.body)?;
    head.finish(provider, (protocol, call.choice.credential))
}

/// Makes the head of a translated request: nothing in it comes from the client.
pub(in crate::edge) fn for_bridge(call: &Call, bridged: &Bridged) -> pingora::Result<RequestHeader> {
    let (provider, protocol) = (call.provider(), call.protocol);
    let target = [provider.path(protocol), &*call.path()].concat();
    let mut head = ProviderHead::new((Method::POST, target), provider, 10)?;
    head.describe(&call.body)?;
    if protocol.is_anthropic() {
        head.put_text(ANTHROPIC_VERSION.clone(), provider.profile.anthropic_version.as_str())?;
    }
    if let Some(beta) = bridged.beta {
        head.put_text(ANTHROPIC_BETA.clone(), beta)?;
    }
    head.finish(provider, (protocol, call.choice.credential))
}

/// Makes the head of a request for the provider's list of models, in the protocol that it prefers, with one of its
/// credentials.
pub(in crate::edge) fn for_models(provider: &Provider, credential: usize) -> pingora::Result<RequestHeader> {
    let protocol = provider.protocols.first().copied().unwrap_or(ProtocolId::Chat);
    let target = [provider.path(protocol), "/models"].concat();
    let mut head = ProviderHead::new((Method::GET, target), provider, 6)?;
    head.put(header::ACCEPT, JSON)?;
    head.put(header::ACCEPT_ENCODING, IDENTITY)?;
    if protocol.is_anthropic() {
        head.put_text(ANTHROPIC_VERSION.clone(), provider.profile.anthropic_version.as_str())?;
    }
    head.finish(provider, (protocol, credential))
}

/// Adds the headers of the call's trace in the place of the client's, if there is a trace.
pub(in crate::edge) fn trace(head: &mut RequestHeader, trace: &Trace) -> pingora::Result<()> {
    for (name, value) in trace.headers().into_iter().flatten() {
        head.remove_header(name);
        if !value.is_empty() {
            head.insert_header(name, value)?;
        }
    }
    Ok(())
}

/// Returns the query for the provider. It knows only this parameter, and any other might hold a credential.
fn beta_query(client: &RequestHeader) -> &'static str {
    let mut parameters = client.uri.query().unwrap_or_default().split('&');
    if parameters.any(|parameter| parameter == "beta=true") { "?beta=true" } else { "" }
}

/// Whether a client's header is forwarded to a provider of this protocol. `alone` says whether the provider serves
/// only one tenant.
fn goes_on(name: &HeaderName, protocol: ProtocolId, alone: bool) -> bool {
    let name = name.as_str();
    match protocol {
        // Both are set in `anthropic`.
        ProtocolId::Messages if matches!(name, "anthropic-version" | "anthropic-beta") => false,
        // Other headers of this family name workspaces, organizations and users of the provider's account.
        ProtocolId::Messages if name.starts_with("anthropic-") => alone || name == BROWSER_ACCESS,
        _ => FORWARDED.contains(&name) || FORWARDED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)),
    }
}

/// Whether the id that a client has given to its request may be forwarded.
fn is_id(value: &HeaderValue) -> bool {
    (1..=ID_LENGTH).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
}

fn anthropic(
    head: &mut ProviderHead,
    client: &RequestHeader,
    provider: &Provider,
    prices: Option<&Prices>,
) -> pingora::Result<()> {
    let version = client.headers.get(&ANTHROPIC_VERSION).cloned();
    head.put(ANTHROPIC_VERSION.clone(), version.unwrap_or(DEFAULT_VERSION))?;
    let values = client.headers.get_all(&ANTHROPIC_BETA).iter().filter_map(|value| value.to_str().ok());
    let betas = values.flat_map(|line| line.split(',')).map(str::trim).filter(|beta| !beta.is_empty());
    let known = |beta: &&str| provider.profile.betas.as_ref().is_none_or(|known| known.contains(*beta));
    let priced = |beta: &&str| betas::may_pass(beta, prices);
    let joined = betas.filter(known).filter(priced).collect::<Vec<_>>().join(",");
    if !joined.is_empty() {
        head.put_text(ANTHROPIC_BETA.clone(), &joined)?;
    }
    Ok(())
}

/// The parts of a call that the head of its answer tells of.
#[derive(Clone, Copy)]
pub(in crate::edge) struct Identity<'c> {
    pub(in crate::edge) request: &'c RequestInfo,
    pub(in crate::edge) attempts: &'c Attempts,
    /// The state of the key's limits.
    standing: &'c RateLimitStatus,
}

impl<'c> Identity<'c> {
    /// The identity of the call that these parts are of.
    pub(in crate::edge) fn of(
        request: &'c RequestInfo,
        attempts: &'c Attempts,
        billing: &'c Billing,
    ) -> Self {
        Self { request, attempts, standing: billing.standing() }
    }
}

/// Adds the headers that every answer has. By now the answer may have cost something, so a value that a header
/// cannot hold is left out, and the answer is sent without it.
pub(in crate::edge) fn identify(head: &mut HeaderMap, identity: Identity<'_>) {
    let Identity { request, attempts, standing } = identity;
    if let Some(origin) = &request.origin {
        cors::allow(head, origin);
    }
    let mut put = |name: &HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            let _ = head.try_insert(name.clone(), value);
        }
    };
    put(&REQUEST_ID, &request.id);
    put(&X_REQUEST_ID, &request.id);
    if let Some(call) = &attempts.call {
        put(&MODEL, &call.found.id);
    }
    if request.content.is_some() {
        put(&CONTENT_LOGGED, "1");
    }
    if attempts.answer.estimated {
        put(&ESTIMATED, "true");
    }
    let dropped = attempts.call.as_ref().and_then(|call| call.dropped.as_deref());
    match (dropped, &*request.tags.dropped) {
        (None, "") => {}
        (Some(members), "") => put(&DROPPED, members),
        (None, tags) => put(&DROPPED, tags),
        (Some(members), tags) => put(&DROPPED, &format!("{members}, {tags}")),
    }
    if let Some(Endpoint::Call(protocol) | Endpoint::Compact(protocol)) = request.endpoint {
        limits(head, protocol, standing, request.time);
    }
    for (name, value) in &attempts.answer.headers {
        let _ = head.try_insert(name.clone(), value.clone());
    }
    if let Some(id) = &attempts.answer.upstream_id {
        let _ = head.try_insert(UPSTREAM_REQUEST_ID.clone(), id.clone());
    }
}

/// Adds the state of the key's limits, in the headers of the client's protocol.
fn limits(head: &mut HeaderMap, protocol: ProtocolId, standing: &RateLimitStatus, now: Timestamp) {
    let mut put_text = |name: String, text: &str| {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(text)) {
            let _ = head.try_insert(name, value);
        }
    };
    let kinds = [("requests", standing.requests), ("tokens", standing.tokens)];
    for (kind, share) in kinds.into_iter().filter_map(|(kind, share)| Some((kind, share?))) {
        if protocol.is_anthropic() {
            let reset = now.saturating_add(SignedDuration::from_secs(share.reset.cast_signed()));
            let reset = reset.unwrap_or(now).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let names: &[&str] =
                if kind == "tokens" { &["tokens", "input-tokens", "output-tokens"] } else { &["requests"] };
            for name in names {
                put_text(format!("anthropic-ratelimit-{name}-limit"), &share.limit.to_string());
                put_text(format!("anthropic-ratelimit-{name}-remaining"), &share.remaining.to_string());
                put_text(format!("anthropic-ratelimit-{name}-reset"), &reset);
            }
        } else {
            put_text(format!("x-ratelimit-limit-{kind}"), &share.limit.to_string());
            put_text(format!("x-ratelimit-remaining-{kind}"), &share.remaining.to_string());
            put_text(format!("x-ratelimit-reset-{kind}"), &duration(share.reset));
        }
    }
}

/// Formats seconds in OpenAI's way: `6m0s`, `1s`.
fn duration(seconds: u64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

/// Returns the id under which the provider knows the request, if it has the form of an id.
pub(in crate::edge) fn upstream_id(upstream: &HeaderMap) -> Option<HeaderValue> {
    let id = upstream.get(&X_REQUEST_ID).or_else(|| upstream.get(&REQUEST_ID))?;
    is_upstream_id(id.as_bytes()).then(|| id.clone())
}

fn is_upstream_id(id: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    (1..=ID_LENGTH).contains(&id.len()) && id.iter().all(allowed)
}

/// Returns the headers of a relayed answer that clients read. A header that repeats the upstream name of the model
/// says the client's name, as the body does; another name tells the client that another model has answered.
pub(in crate::edge) fn returned<'h>(
    upstream: &'h HeaderMap,
    upstream_model: &'h str,
    client_model: &'h str,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> + 'h {
    RETURNED.iter().filter_map(move |name| {
        let value = upstream.get(name).filter(|value| value.len() <= MAX_RETURNED_HEADER_BYTES)?;
        let own = value.as_bytes() == upstream_model.as_bytes();
        let value = if own { HeaderValue::from_str(client_model).ok()? } else { value.clone() };
        Some((name.clone(), value))
    })
}

/// Returns whether the provider asks for a retry, regardless of the status.
pub(in crate::edge) fn should_retry(upstream: &HeaderMap) -> Option<bool> {
    match upstream.get("x-should-retry")?.as_bytes() {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

static MODEL: HeaderName = HeaderName::from_static("x-crossmodel-model");
static CONTENT_LOGGED: HeaderName = HeaderName::from_static("x-crossmodel-content-logged");
static ESTIMATED: HeaderName = HeaderName::from_static("x-crossmodel-estimated");
/// The header that tells clients what of their request was left out or changed.
static DROPPED: HeaderName = HeaderName::from_static("x-crossmodel-dropped");
static UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-upstream-request-id");

static API_KEY: HeaderName = HeaderName::from_static("api-key");

/// The headers that hold a credential.
pub(in crate::edge) static CREDENTIALS: [&HeaderName; 4] =
    [&header::AUTHORIZATION, &X_API_KEY, &API_KEY, &X_GOOG_API_KEY];

static ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
static ANTHROPIC_BETA: HeaderName = HeaderName::from_static("anthropic-beta");
static REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The header by which a client asks for a refusal instead of a loss.
static STRICT: HeaderName = HeaderName::from_static("x-crossmodel-strict");

/// Stands for a credential of an unknown form. It is never a valid key.
const MALFORMED: &str = "?";

/// The version that is sent if the client names none.
const DEFAULT_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// The longest id, in bytes, that a client or a provider may give to a request.
const ID_LENGTH: usize = 128;

/// The header by which a provider may store an answer and return it again. All accounts share the provider's
/// account, so the value is replaced by one that is unique to the gateway's account.
static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The header that tells that the client runs in a browser.
const BROWSER_ACCESS: &str = "anthropic-dangerous-direct-browser-access";

/// Room for headers that a provider gets besides the client's. It saves an allocation, and is no limit: a chosen value,
/// because most of what the gateway writes replaces something of the client's.
const OWN_FIELDS: usize = 2;

/// The client's headers that are forwarded in a relay. All others are dropped: they are the gateway's, or tell who
/// and where the client is, or name an account, a project, a place or a cache at the provider. Those that name a
/// conversation only steer it to where its prompt is cached: no answer is stored under them.
const FORWARDED: &[&str] = &[
    "accept",
    "conversation-id",
    "conversation_id",
    "openai-beta",
    "originator",
    "session-id",
    "session_id",
    "thread-id",
    "traceparent",
    "tracestate",
    "x-app",
    "x-claude-code-session-id",
    "x-client-request-id",
    "x-session-affinity",
    "x-session-id",
];

/// The headers by which clients name the conversation that a call belongs to.
const SESSION: &[&str] = &[
    "x-session-affinity",
    "x-session-id",
    "session-id",
    "session_id",
    "x-claude-code-session-id",
    "conversation-id",
    "conversation_id",
    "thread-id",
];

/// Headers of a provider's answer that go on to the client in a relay. Coding clients send the first one back with
/// the next request of a turn; the others say facts of the model. All others are dropped: among them are limits,
/// which are those of the provider's account.
static RETURNED: [HeaderName; 4] = [
    HeaderName::from_static("x-codex-turn-state"),
    HeaderName::from_static("x-reasoning-included"),
    HeaderName::from_static("x-models-etag"),
    HeaderName::from_static("openai-model"),
];

/// The longest value, in bytes, of a header that goes on to the client. A chosen value: heads of 8 KiB pass common
/// servers.
const MAX_RETURNED_HEADER_BYTES: usize = 4096;

const FORWARDED_PREFIXES: &[&str] = &["x-codex-", "x-stainless-"];

#[cfg(test)]
mod tests {
    use super::*;

    const OPENAI: Option<ProtocolId> = Some(ProtocolId::Chat);

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn a_conversation_is_named_by_the_first_header_that_says_something() {
        let named = |pairs| headers(pairs);
        let all = named(&[("thread-id", "t"), ("session-id", "s"), ("x-session-affinity", ""), ("x", "y")]);
        assert_eq!(session(&all), Some("s"));
        assert_eq!(session(&named(&[("thread-id", "t")])), Some("t"));
        assert_eq!(session(&named(&[("x", "y")])), None);
    }

    #[test]
    fn the_endpoints_own_header_decides_alone() {
        let both = headers(&[("authorization", "Bearer b"), ("x-api-key", "x")]);
        assert_eq!(credential(&both, OPENAI), Some("b"));
        assert_eq!(credential(&both, None), Some("x"));
        let empty = headers(&[("authorization", "Bearer b"), ("x-api-key", " ")]);
        assert_eq!(credential(&empty, None), Some("b"));
        assert_eq!(credential(&headers(&[("api-key", "a")]), OPENAI), Some("a"));
        assert_eq!(
            credential(&headers(&[("authorization", "Basic eDp5"), ("x-api-key", "x")]), OPENAI),
            Some("?")
        );
        assert_eq!(credential(&headers(&[("authorization", "bearer  b ")]), OPENAI), Some("b"));
        let bare = headers(&[("authorization", "Bearer "), ("x-api-key", "x")]);
        assert_eq!(credential(&bare, OPENAI), Some("x"));
        assert_eq!(credential(&HeaderMap::new(), OPENAI), None);
    }
}
