//! Headers that the configuration adds to every request to one provider.

use http::header::{HeaderName, HeaderValue};

/// Checks the name of an added header.
///
/// # Errors
/// Fails with the reason, for example if the gateway writes this header itself.
pub fn header_name(name: &str) -> Result<HeaderName, String> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "is not the name of a header")?;
    refusal(parsed.as_str()).map_or(Ok(parsed), |why| Err(why.to_owned()))
}

/// Checks the value of an added header. A secret one is marked as such, and removed from the failures that the
/// provider reports.
///
/// # Errors
/// Fails with the reason. The value is not repeated: it may be a secret.
pub fn header_value(value: &str, is_secret: bool) -> Result<HeaderValue, String> {
    let value = value.trim();
    if value.is_empty() {
        return Err("is empty".to_owned());
    }
    let mut value = HeaderValue::from_str(value).map_err(|_| "holds characters that no header has")?;
    value.set_sensitive(is_secret);
    Ok(value)
}

/// Returns the reason for which a header cannot be added, if there is one.
fn refusal(name: &str) -> Option<&'static str> {
    match name {
        "authorization" | "x-api-key" => Some("is written by the gateway: set `key` and `auth`"),
        "anthropic-version" => Some("is written by the gateway: set `profile.anthropic_version`"),
        // The prices of a call depend on them.
        "anthropic-beta" => Some("is the client's: `profile.betas` restricts it"),
        // With a constant key, all accounts would get the answer to the first request.
        "idempotency-key" | "request-id" | "x-request-id" | "traceparent" | "tracestate" => {
            Some("has to differ between requests")
        }
        _ => OF_MESSAGES.contains(&name).then_some("is written by the gateway"),
    }
}

/// The headers that say where a message goes and how long it is, in which form and over which connection.
const OF_MESSAGES: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
