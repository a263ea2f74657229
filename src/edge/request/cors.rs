//! Cross-origin requests: what browsers are told, so that scripts may call and read the answers.
//!
//! A script may call from anywhere without harm, because the gateway accepts no cookie or any other credential that a
//! browser adds by itself.

use http::HeaderMap;
use http::header::{self, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};

use crate::config::{Cors, Origins};
use crate::edge::call::endpoint::Endpoint;

/// A browser's question before a call, with the parts of its answer.
#[derive(Debug)]
pub(in crate::edge) struct Preflight {
    methods: &'static str,
    /// The names of the request's headers that the browser asks for.
    names: String,
    /// The time for which the answer holds, in seconds.
    max_age: u64,
}

impl Preflight {
    /// Returns the preflight that a request for an endpoint is; `None` if it is another request.
    pub(in crate::edge) fn of(request: &RequestHeader, endpoint: Endpoint, cors: &Cors) -> Option<Self> {
        let asks = request.method == http::Method::OPTIONS
            && request.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let (methods, max_age) = (endpoint.methods(), cors.max_age);
        asks.then(|| Self { methods, names: names(&request.headers), max_age })
    }

    /// Adds to the head of the answer what scripts may send.
    ///
    /// # Errors
    /// Fails if a header cannot be written.
    pub(in crate::edge) fn describe(&self, head: &mut ResponseHeader) -> pingora::Result<()> {
        head.insert_header(header::ACCESS_CONTROL_ALLOW_METHODS, self.methods)?;
        if !self.names.is_empty() {
            head.insert_header(header::ACCESS_CONTROL_ALLOW_HEADERS, self.names.as_str())?;
        }
        head.insert_header(header::ACCESS_CONTROL_MAX_AGE, self.max_age)
    }
}

/// Returns the value that allows the origin of a request; `None` if it has none or that is not allowed.
pub(in crate::edge) fn origin(headers: &HeaderMap, cors: &Cors) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    let allowed = origin.to_str().is_ok_and(|origin| cors.allows(origin));
    allowed.then(|| match cors.origins {
        Origins::Any => HeaderValue::from_static("*"),
        _ => origin.clone(),
    })
}

/// Allows scripts of an origin to read an answer. A header that does not fit is left out.
pub(in crate::edge) fn allow(head: &mut HeaderMap, origin: &HeaderValue) {
    let _ = head.try_insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    let _ = head.try_insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    let _ = head.try_insert(header::VARY, HeaderValue::from_static("origin"));
}

/// Returns the names of the headers that a browser asks for, one by one: in browsers `*` does not include
/// `authorization`.
fn names(headers: &HeaderMap) -> String {
    let asked = headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let names = asked.filter_map(|value| value.to_str().ok()).flat_map(|line| line.split(','));
    let names = names.map(str::trim).filter(|name| is_name(name)).take(MAX_NAMES);
    names.collect::<Vec<_>>().join(", ")
}

/// Whether a text has the form of a header's name.
fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

/// The most names of headers in the answer to a preflight: more than any client sends.
const MAX_NAMES: usize = 64;

/// The headers of answers that scripts may read, besides those that they always may.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-request-id, request-id, x-upstream-request-id, retry-after, x-should-retry, x-crossmodel-model, \
     x-crossmodel-budget-reset, x-crossmodel-estimated, x-crossmodel-dropped, x-crossmodel-content-logged, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, \
     x-ratelimit-reset-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, \
     anthropic-ratelimit-requests-limit, anthropic-ratelimit-requests-remaining, \
     anthropic-ratelimit-requests-reset, anthropic-ratelimit-tokens-limit, anthropic-ratelimit-tokens-remaining, \
     anthropic-ratelimit-tokens-reset, anthropic-ratelimit-input-tokens-limit, \
     anthropic-ratelimit-input-tokens-remaining, anthropic-ratelimit-input-tokens-reset, \
     anthropic-ratelimit-output-tokens-limit, anthropic-ratelimit-output-tokens-remaining, \
     anthropic-ratelimit-output-tokens-reset",
);
