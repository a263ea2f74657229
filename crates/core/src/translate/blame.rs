//! Attribution of a provider's error: to the target itself, or only to the request.
//!
//! A target that fails is left alone for a while, and with it everybody who wants its model. So only errors that
//! no request can provoke by its content count against the target:
//!
//! | Status | Counts against the target |
//! |---|---|
//! | 3xx | yes: the provider is elsewhere |
//! | 401, 407, 408 | yes: our credential, or the provider's time |
//! | 402 | yes, our account has to be paid for; not where it is the request that is too dear or was flagged |
//! | 403 | only where it speaks of our credential or account; else a filter has refused the request |
//! | 429 | it has asked for time, see [`Kind::RateLimited`] |
//! | 501 | no: it does not do what was asked |
//! | other 4xx | no: it is there, and does not want the request |
//! | other 5xx, and errors without a status | yes |
//!
//! The name of an error takes precedence over its status: an account without quota counts, and a refused prompt
//! does not.

use crate::failure::Kind;
use crate::protocol::UpstreamError;

/// Whether the error counts against the target. `status` is the last status that the provider sent, or 200 if it
/// sent none.
pub(super) fn is_the_targets(status: u16, error: &UpstreamError, kind: Kind) -> bool {
    let names = [&error.kind, &error.code];
    let names = names.into_iter().flatten().map(String::as_str).chain([error.message.as_str()]);
    let text = names.collect::<Vec<_>>().join(" ").to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match status {
        200 | 402 | 403 if says(ABOUT_THE_REQUEST) => false,
        401 | 402 | 407 | 408 | 429 => true,
        403 => says(ABOUT_US),
        // The names of overload and of an exhausted quota have led to this kind.
        400..=499 => kind == Kind::Unavailable,
        501 => false,
        _ => true,
    }
}

/// Words with which providers refuse a request for its content: OpenRouter's moderation (403) and its limit of
/// what the account can afford (402), and content filters.
const ABOUT_THE_REQUEST: &[&str] = &[
    "flagged",
    "moderation",
    "content_filter",
    "content filter",
    "content policy",
    "content_policy",
    "safety",
    "max_tokens",
    "max tokens",
    "can only afford",
    "your input",
    "your prompt",
];

/// Words with which providers refuse the gateway's credential or account.
const ABOUT_US: &[&str] = &[
    "api key",
    "api-key",
    "api_key",
    "apikey",
    "access token",
    "authenti",
    "authoriz",
    "credential",
    "permission",
    "account",
    "organization",
    "project",
    "billing",
    "quota",
    "suspended",
    "deactivated",
    "subscription",
    "country",
    "region",
];

#[cfg(test)]
mod tests {
    use crate::failure::Fault;

    use super::super::read_error;
    use super::*;

    fn counts(status: u16, body: &str) -> bool {
        read_error(status, &UpstreamError::read(body.as_bytes()), None).fault() == Fault::Upstream
    }

    fn error(kind: &str, code: &str, message: &str) -> String {
        format!(r#"{{"error":{{"type":"{kind}","code":{code},"message":"{message}"}}}}"#)
    }

    #[test]
    fn what_is_in_a_request_does_not_count() {
        for (status, body) in [
            (400, error("invalid_request_error", "null", "bad")),
            (402, error("", "402", "This request requires more credits, or fewer max_tokens.")),
            (402, error("", "402", "You requested up to 8000 tokens, but can only afford 100.")),
            (402, error("", "402", "Your input was flagged")),
            (403, error("", "403", "openai/x requires moderation on OpenInference. Your input was flagged")),
            (403, "<html>Attention required! Cloudflare</html>".to_owned()),
            (403, String::new()),
            (404, error("", "null", "The model 'x' does not exist")),
            (405, String::new()),
            (409, error("conflict_error", "null", "m")),
            (410, String::new()),
            (413, String::new()),
            (414, String::new()),
            (422, String::new()),
            (431, String::new()),
            (451, error("", "451", "not here")),
            (501, String::new()),
            (200, error("", "403", "Your input was flagged")),
            (200, error("", "451", "no")),
            (200, error("content_filter", "null", "")),
        ] {
            assert!(!counts(status, &body), "{status} {body}");
        }
    }

    #[test]
    fn what_the_target_is_to_blame_for_counts() {
        for (status, body) in [
            (302, String::new()),
            (401, error("authentication_error", "null", "invalid x-api-key")),
            (401, String::new()),
            (402, error("", "null", "Insufficient Balance")),
            (402, error("billing_error", "null", "")),
            (402, String::new()),
            (403, error("permission_error", "null", "Your API key does not have permission")),
            (403, error("", "\"unsupported_country_region_territory\"", "Country not supported")),
            (403, r#"[{"error":{"code":403,"status":"PERMISSION_DENIED","message":"Your API key was leaked."}}]"#.into()),
            (408, String::new()),
            (429, error("x", "\"insufficient_quota\"", "m")),
            (400, error("billing_error", "null", "Your credit balance is too low")),
            (500, error("server_error", "null", "m")),
            (502, "<html>".to_owned()),
            (503, String::new()),
            (529, error("overloaded_error", "null", "m")),
            (200, error("server_error", "null", "m")),
            (200, error("", "502", "m")),
        ] {
            assert!(counts(status, &body), "{status} {body}");
        }
    }
}
