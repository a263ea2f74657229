//! Providers' errors, in the gateway's terms.
//!
//! A provider's 401 is the gateway's problem and must not look like the client's, while its rate limit is for the
//! client to wait for. Words about the gateway's account, the provider's hosts or its own model names stay here.

use bytes::Bytes;

use crate::failure::{Failure, Kind, is_identifier};
use crate::protocol::{ProtocolId, UpstreamError, is_envelope};

use super::blame;

/// Returns the failure that the client is told for a provider's error response.
#[must_use]
pub fn read_error(status: u16, error: &UpstreamError, retry_after: Option<u64>) -> Failure {
    let kind = classify(status, error);
    let detail = detail(status, error);
    let failure = match kind {
        Kind::Provider => Failure::provider(detail),
        Kind::UnknownToProvider => Failure::new(kind, "The model was not found or is unavailable.")
            .with_param("model")
            .with_detail(detail),
        Kind::Unavailable => {
            Failure::new(kind, "The model is unavailable at the moment.").with_detail(detail)
        }
        _ => Failure::new(kind, shown(error, kind)).with_detail(detail),
    };
    let failure = match (&error.param, kind) {
        (Some(param), Kind::BadRequest | Kind::ContextLength | Kind::ContentPolicy) => {
            failure.with_param(param.clone())
        }
        _ => failure,
    };
    let failure = match (&error.code, kind) {
        (Some(code), Kind::BadRequest) => failure.with_code(code.clone()),
        _ => failure,
    };
    let said = error.status.filter(|_| status == 200).unwrap_or(status);
    let failure = match blame::is_the_targets(said, error, kind) {
        true => failure,
        false => failure.without_blame(),
    };
    match retry_after.or(error.retry_after) {
        Some(seconds) if matches!(failure.status(), 429 | 503) => failure.with_retry_after(seconds),
        _ => failure,
    }
}

/// Returns the line for the log, which never contains the message: that may repeat a prompt or the gateway's
/// credential.
fn detail(status: u16, error: &UpstreamError) -> String {
    let names = [&error.kind, &error.code].into_iter().flatten().filter(|name| is_identifier(name));
    names.fold(format!("the provider answered {status}"), |all, name| format!("{all} {name}"))
}

/// Adds the provider's own `body` to the failure, if it is an error in the client's protocol that is about the
/// request and reveals nothing that stays here.
#[must_use]
pub fn keep_body(
    failure: Failure,
    protocol: ProtocolId,
    body: Bytes,
    upstream: &str,
    client: &str,
) -> Failure {
    let text = String::from_utf8_lossy(&body);
    let theirs = match failure.kind() {
        Kind::BadRequest | Kind::ContentPolicy => true,
        // Clients look for these words or this code to find out that they have to shorten the request.
        Kind::ContextLength if protocol.is_anthropic() => text.contains("\"prompt is too long"),
        Kind::ContextLength => text.contains("\"context_length_exceeded\""),
        _ => false,
    };
    let discreet =
        rename(&text, upstream, client) == text && without_ids(&text) == text && without_urls(&text) == text;
    if theirs && discreet && is_envelope(protocol, &body) { failure.with_body(body) } else { failure }
}

/// Replaces the provider's name of the model by the client's wherever it stands as a word.
#[must_use]
pub fn rename(text: &str, upstream: &str, client: &str) -> String {
    if upstream.is_empty() || upstream == client {
        return text.to_owned();
    }
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (at, found) in text.match_indices(upstream) {
        let (before, after) =
            (text.get(..at).unwrap_or_default(), text.get(at + found.len()..).unwrap_or_default());
        let mut rest = after.chars();
        let ends = match rest.next() {
            // A full stop ends the sentence and not the name, unless the name goes on behind it.
            Some('.') => !rest.next().is_some_and(char::is_alphanumeric),
            Some(next) => !is_word(next),
            None => true,
        };
        if ends && !before.chars().next_back().is_some_and(is_word) {
            out.push_str(text.get(done..at).unwrap_or_default());
            out.push_str(client);
            done = at + found.len();
        }
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}

fn classify(status: u16, error: &UpstreamError) -> Kind {
    let kind = error.kind.as_deref().unwrap_or_default();
    let code = error.code.as_deref().unwrap_or_default();
    let says = |words: &[&str]| words.iter().any(|word| kind == *word || code == *word);
    let message = error.message.to_ascii_lowercase();
    let status = error.status.filter(|_| status == 200).unwrap_or(status);
    if says(&["context_length_exceeded"])
        || matches!(status, 400 | 413 | 422) && CONTEXT.iter().any(|words| message.contains(words))
    {
        return Kind::ContextLength;
    }
    if matches!(status, 400 | 403) && says(&["content_filter", "content_policy_violation", "moderation"]) {
        return Kind::ContentPolicy;
    }
    if GOOGLES_VERDICT_ON_OUR_KEY.iter().any(|prefix| code.starts_with(prefix)) {
        return Kind::Provider;
    }
    if says(&["DAILY_QUOTA_EXCEEDED", "BILLING_DISABLED", "CONSUMER_SUSPENDED", "FAILED_PRECONDITION"]) {
        return Kind::Unavailable;
    }
    if says(&["insufficient_quota", "billing_error", "billing_not_active", "spend_limit_exceeded"]) {
        return Kind::Unavailable;
    }
    if says(&["overloaded_error", "engine_overloaded", "insufficient_system_resource"]) {
        return Kind::Unavailable;
    }
    if says(&["rate_limit_error", "rate_limit_exceeded"]) {
        return Kind::RateLimited;
    }
    match status {
        200 if says(ABOUT_THE_REQUEST) || code.contains("image") => Kind::BadRequest,
        400 | 422 => Kind::BadRequest,
        402 | 503 | 529 => Kind::Unavailable,
        404 if message.contains("model") || says(UNKNOWN_MODEL) => Kind::UnknownToProvider,
        404 => Kind::NotFound,
        409 => Kind::Conflict,
        413 => Kind::TooLarge,
        429 => Kind::RateLimited,
        _ => Kind::Provider,
    }
}

fn shown(error: &UpstreamError, kind: Kind) -> String {
    match (error.message.as_str(), kind) {
        ("", Kind::RateLimited) => "The provider's rate limit is reached.".to_owned(),
        ("", Kind::TooLarge) => "The request is too large for the provider.".to_owned(),
        ("", _) => "The provider refused the request.".to_owned(),
        (message, _) => without_ids(&without_urls(message)),
    }
}

/// Removes keys, and the names of the gateway's accounts at the provider.
fn without_ids(text: &str) -> String {
    let in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*');
    let words = text.split_inclusive(|c| !in_word(c));
    let mut out = String::with_capacity(text.len());
    for piece in words {
        let word = piece.trim_end_matches(|c| !in_word(c));
        let named = |prefix: &&str| word.strip_prefix(*prefix).is_some_and(|id| id.len() >= MIN_ID_LEN);
        match OURS.iter().any(named) {
            true => out.extend(["[removed]", piece.get(word.len()..).unwrap_or_default()]),
            false => out.push_str(piece),
        }
    }
    out
}

/// Removes addresses, which name the provider or show how it was asked.
fn without_urls(text: &str) -> String {
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '\\' | ')' | ']');
    let mut out = String::with_capacity(text.len());
    for piece in text.split_inclusive(ends) {
        let after = piece.trim_end_matches(|c| ends(c) || c == '.').len();
        match piece.find("https://").or_else(|| piece.find("http://")) {
            Some(at) => {
                out.extend([piece.get(..at), Some("[removed]"), piece.get(after..)].into_iter().flatten());
            }
            None => out.push_str(piece),
        }
    }
    out
}

/// Prefixes of the ids of organizations, projects and keys.
const OURS: &[&str] = &["org-", "org_", "proj_", "sk-"];

/// Minimum number of characters after the prefix for a word to be taken for an id.
const MIN_ID_LEN: usize = 8;

/// Codes of a model that a provider does not know: OpenAI's, and Azure's for a deployment.
const UNKNOWN_MODEL: &[&str] = &["model_not_found", "DeploymentNotFound"];

/// Types and codes of failures that are about the request, for answers whose status does not say so.
const ABOUT_THE_REQUEST: &[&str] =
    &["invalid_request_error", "invalid_prompt", "bio_policy", "misalignment_policy_violation"];

/// Phrases with which providers report that the conversation is too long.
const CONTEXT: &[&str] = &[
    "prompt is too long",
    "maximum context length",
    "context window",
    "exceeds the maximum number of tokens",
];

/// The beginnings of Google's reasons that are about the gateway's credential, whatever the status.
const GOOGLES_VERDICT_ON_OUR_KEY: &[&str] =
    &["API_KEY_", "ACCESS_TOKEN_", "SERVICE_DISABLED", "IAM_PERMISSION_DENIED", "CONSUMER_INVALID"];

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, body: &str) -> (u16, String) {
        let failure = read_error(status, &UpstreamError::read(body.as_bytes()), Some(7));
        (failure.status(), failure.code().to_owned())
    }

    #[test]
    fn the_classes_of_the_reference() {
        let body = |kind: &str, code: &str, message: &str| {
            format!(r#"{{"error":{{"type":"{kind}","code":"{code}","message":"{message}"}}}}"#)
        };
        let google = |kind: &str, reason: &str, message: &str| {
            let details = match reason {
                "" => String::new(),
                reason => {
                    format!(r#"{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"{reason}"}}"#)
                }
            };
            format!(
                r#"{{"error":{{"code":400,"message":"{message}","status":"{kind}","details":[{details}]}}}}"#
            )
        };
        for (given, error, expected, code) in [
            (400, body("invalid_request_error", "bad_thing", "m"), 400, "bad_thing"),
            (400, body("x", "y", "This model's maximum context length is 5"), 400, "context_length_exceeded"),
            (400, body("x", "content_filter", "m"), 400, "content_policy_violation"),
            (401, body("authentication_error", "", "secret org"), 502, "provider_error"),
            (403, body("permission_error", "", "m"), 502, "provider_error"),
            (402, body("billing_error", "", "m"), 503, "model_unavailable"),
            (404, body("", "", "The model 'x' does not exist"), 404, "model_not_found"),
            (404, body("", "", "No such file"), 404, "not_found"),
            (409, body("conflict_error", "", "m"), 409, "conflict"),
            (413, body("", "", "m"), 413, "request_too_large"),
            (429, body("rate_limit_error", "", "m"), 429, "rate_limit_exceeded"),
            (429, body("x", "insufficient_quota", "m"), 503, "model_unavailable"),
            (500, "<html>".to_owned(), 502, "provider_error"),
            (529, body("overloaded_error", "", "m"), 503, "model_unavailable"),
            (302, String::new(), 502, "provider_error"),
            (400, google("INVALID_ARGUMENT", "API_KEY_INVALID", "API key not valid."), 502, "provider_error"),
            (403, google("PERMISSION_DENIED", "", "m"), 502, "provider_error"),
            (
                400,
                google("FAILED_PRECONDITION", "", "User location is not supported."),
                503,
                "model_unavailable",
            ),
            (
                404,
                google("NOT_FOUND", "", "models/x is not found for API version v1beta"),
                404,
                "model_not_found",
            ),
            (429, google("RESOURCE_EXHAUSTED", "", "m"), 429, "rate_limit_exceeded"),
            (503, google("UNAVAILABLE", "", "m"), 503, "model_unavailable"),
            (
                400,
                google(
                    "INVALID_ARGUMENT",
                    "",
                    "The input token count (9) exceeds the maximum number of tokens allowed (8).",
                ),
                400,
                "context_length_exceeded",
            ),
        ] {
            assert_eq!(status(given, &error), (expected, code.to_owned()), "{given} {error}");
        }
    }

    #[test]
    fn the_client_never_reads_of_our_account() {
        let error = UpstreamError { message: "org-123 has no quota".into(), ..UpstreamError::default() };
        for status in [401, 402, 403, 500, 503] {
            assert!(!read_error(status, &error, None).message().contains("org-123"));
        }
        assert_eq!(read_error(429, &error, Some(7)).retry_after(), Some(7));
        let said = |text: &str| without_ids(text);
        assert_eq!(
            said("Limit in (org-AbC12345x), project proj_12345678."),
            "Limit in ([removed]), project [removed]."
        );
        assert_eq!(said("sk-proj-****1234: caf\u{e9} org-mode"), "[removed]: caf\u{e9} org-mode");
    }

    #[test]
    fn addresses_stay_here() {
        let told = |text: &str| without_urls(text);
        assert_eq!(told("See https://a.example/b?c=d. Or (http://e)"), "See [removed]. Or ([removed])");
        assert_eq!(told(r#"{"m":"https://x\n http"}"#), r#"{"m":"[removed]\n http"}"#);
        assert_eq!(told("http: a//b"), "http: a//b");
    }

    #[test]
    fn names_are_replaced_as_words() {
        let renamed = |text: &str| rename(text, "gpt-5", "openai/gpt-5");
        assert_eq!(renamed("The model gpt-5."), "The model openai/gpt-5.");
        assert_eq!(renamed("`gpt-5` gpt-5-mini xgpt-5 gpt-5.1"), "`openai/gpt-5` gpt-5-mini xgpt-5 gpt-5.1");
    }
}
