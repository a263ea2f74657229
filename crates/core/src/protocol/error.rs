//! Errors in the shapes that providers use, and in OpenAI's shape for the gateway's own.

use std::borrow::Cow;

use bytes::Bytes;
use memchr::memmem::Finder;
use once_cell::sync::Lazy;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::canon::UpstreamError;
use crate::failure::Failure;
use crate::json::{self, find_member};

use super::ProtocolId;

#[derive(Deserialize, Default)]
struct UpstreamErrorWire<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    param: Option<&'a RawValue>,
    /// Google's name of the kind.
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    details: Option<&'a RawValue>,
}

/// One of the details that Google adds to an error: the reason, or the quota that is exceeded.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GoogleDetailWire<'a> {
    #[serde(borrow)]
    reason: Option<&'a RawValue>,
    #[serde(borrow)]
    violations: Option<&'a RawValue>,
    /// A duration such as `34.4s`.
    #[serde(borrow)]
    retry_delay: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Detail<'a> {
    #[serde(borrow)]
    loc: Option<Vec<&'a RawValue>>,
    msg: Option<Cow<'a, str>>,
}

impl UpstreamError {
    /// Reads an error body: an `error` object or text, an array with one, `detail`, a bare object, plain text, or
    /// an HTML page, of which nothing is kept.
    #[must_use]
    pub fn read(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let text = text.trim().trim_start_matches('\u{feff}');
        match text.as_bytes().first() {
            Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(text)
                .ok()
                .and_then(|all| all.first().map(|first| Self::read(first.get().as_bytes())))
                .unwrap_or_default(),
            Some(b'{') => UpstreamErrorWire::first_in(text).map(|w| w.read()).unwrap_or_default(),
            Some(b'<') | None => Self::default(),
            Some(_) => Self { message: text.chars().take(MAX_PLAIN_TEXT_LEN).collect(), ..Self::default() },
        }
    }
}

/// Returns the error that stands in an event of another kind, where no protocol has one. The words of an error in a
/// damaged event are not read.
pub(super) fn misplaced(data: &[u8]) -> Option<UpstreamError> {
    let mut found = ERROR.find_iter(data).peekable();
    found.peek()?;
    if json::members(data).finish().is_ok() {
        let is_error = find_member(data, "error")
            .is_some_and(|member| !matches!(member.value, b"null" | b"false" | b"\"\"" | b"{}"));
        return is_error.then(|| UpstreamError::read(data));
    }
    let is_member = |at: usize| {
        let rest = data.get(at + ERROR.needle().len()..).unwrap_or_default();
        let value = rest.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start);
        value.is_some_and(|value| !value.starts_with(b"null"))
    };
    found.any(is_member).then(UpstreamError::default)
}

static ERROR: Lazy<Finder<'static>> = Lazy::new(|| Finder::new(b"\"error\""));

impl<'a> UpstreamErrorWire<'a> {
    /// Reads the object at the beginning of a text. Some providers append a line of help.
    fn first_in(text: &'a str) -> Option<Self> {
        Self::deserialize(&mut serde_json::Deserializer::from_str(text)).ok()
    }

    fn read(&self) -> UpstreamError {
        match self.error.map(RawValue::get) {
            Some(object) if object.starts_with('{') => {
                return serde_json::from_str::<UpstreamErrorWire<'_>>(object)
                    .map(|w| w.read())
                    .unwrap_or_default();
            }
            Some(literal) if literal.starts_with('"') => {
                return UpstreamError { message: string(self.error).unwrap_or_default(), ..self.rest() };
            }
            _ => {}
        }
        UpstreamError {
            message: string(self.message).or_else(|| self.detail()).unwrap_or_default(),
            ..self.rest()
        }
    }

    fn rest(&self) -> UpstreamError {
        UpstreamError {
            message: String::new(),
            kind: string(self.kind).or_else(|| string(self.status)),
            code: string(self.code).or_else(|| self.reason()),
            status: self.code.and_then(|code| code.get().parse().ok()),
            param: string(self.param),
            retry_after: self.retry_after(),
        }
    }

    fn details(&self) -> Option<Vec<GoogleDetailWire<'_>>> {
        serde_json::from_str(self.details?.get()).ok()
    }

    /// Returns the delay that Google asks for, rounded up.
    fn retry_after(&self) -> Option<u64> {
        let delay = self.details()?.iter().find_map(|detail| string(detail.retry_delay))?;
        let seconds = delay.strip_suffix('s')?;
        let (whole, part) = seconds.split_once('.').unwrap_or((seconds, ""));
        let more = u64::from(part.bytes().any(|digit| digit != b'0'));
        Some(whole.parse::<u64>().ok()?.saturating_add(more).min(MAX_RETRY_DELAY_SECONDS))
    }

    /// Returns Google's reason. A quota for a whole day is exceeded until its end, so it has a name of its own.
    fn reason(&self) -> Option<String> {
        let details = self.details()?;
        let is_daily =
            |detail: &GoogleDetailWire<'_>| detail.violations.is_some_and(|all| all.get().contains("PerDay"));
        if details.iter().any(is_daily) {
            return Some("DAILY_QUOTA_EXCEEDED".to_owned());
        }
        details.iter().find_map(|detail| string(detail.reason))
    }

    fn detail(&self) -> Option<String> {
        let raw = self.detail?;
        if let Some(text) = string(Some(raw)) {
            return Some(text);
        }
        let details: Vec<Detail<'_>> = serde_json::from_str(raw.get()).ok()?;
        let line = |d: &Detail<'_>| {
            let place: Vec<_> =
                d.loc.iter().flatten().map(|part| part.get().trim_matches('"').to_owned()).collect();
            format!("{}: {}", place.join("."), d.msg.as_deref().unwrap_or_default())
        };
        Some(details.iter().map(line).collect::<Vec<_>>().join("; "))
    }
}

fn string(raw: Option<&RawValue>) -> Option<String> {
    json::text(raw?.get().as_bytes()).map(Cow::into_owned)
}

/// Whether `body` is an error as the clients of `protocol` expect it, with every member that they read.
#[must_use]
pub fn is_envelope(protocol: ProtocolId, body: &[u8]) -> bool {
    let (outer, inner): (&[&str], &[&str]) = match protocol {
        ProtocolId::Messages => (&["type", "error", "request_id"], &["type", "message"]),
        ProtocolId::Gemini => (&["error"], &["code", "message", "status"]),
        ProtocolId::Chat | ProtocolId::Responses => (&["error"], &["message", "type", "param", "code"]),
    };
    json::members(body).finish().is_ok()
        && has(body, outer)
        && find_member(body, "error").is_some_and(|error| has(error.value, inner))
}

fn has(json: &[u8], names: &[&str]) -> bool {
    names.iter().all(|name| find_member(json, name).is_some())
}

#[derive(Serialize)]
struct OpenAiEnvelopeWire<'a> {
    error: OpenAiErrorWire<'a>,
}

/// The error object of both OpenAI protocols, always with all four members.
#[derive(Serialize)]
pub(super) struct OpenAiErrorWire<'a> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: Option<&'a str>,
}

impl<'a> OpenAiErrorWire<'a> {
    pub(super) fn new(failure: &'a Failure) -> Self {
        Self {
            message: failure.message(),
            r#type: failure.kind().row().openai_type,
            param: failure.param(),
            code: Some(failure.code()).filter(|code| !code.is_empty()),
        }
    }
}

/// Returns the body of an error response to an OpenAI client.
pub(super) fn openai_envelope(failure: &Failure) -> Bytes {
    json::write::bytes(&OpenAiEnvelopeWire { error: OpenAiErrorWire::new(failure) })
}

/// Longest delay before another try, in seconds: an hour, beyond which clients give up.
const MAX_RETRY_DELAY_SECONDS: u64 = 3600;

/// Maximum number of characters that are kept of an error in plain text.
const MAX_PLAIN_TEXT_LEN: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_noticed_in_an_event_of_another_kind() {
        let found = |data: &str| misplaced(data.as_bytes());
        let told = found(r#"{"type":"x","delta":{"text":"a"},"error":{"message":"m","type":"t"}}"#).unwrap();
        assert_eq!((told.message.as_str(), told.kind.as_deref()), ("m", Some("t")));
        for damaged in [r#"{"type":"x"} {"type":"error","error":{"message":"m"}}"#, r#"{"a":{"error" : "m"#] {
            assert_eq!(found(damaged), Some(UpstreamError::default()), "{damaged}");
        }
        for none in [
            r#"{"type":"x","error":null}"#,
            r#"{"type":"x","error":{}}"#,
            r#"{"delta":"\"error\":1","item":{"error":{"message":"of a tool"}}}"#,
            r#"{"type":"x","kind":"error"}"#,
            r#"{"a":"error","b":{"error":null"#,
            "",
        ] {
            assert_eq!(found(none), None, "{none}");
        }
    }

    #[test]
    fn reads_every_shape() {
        let read = |body: &str| UpstreamError::read(body.as_bytes());
        let openai = read(r#"{"error":{"message":"m","type":"t","param":"p","code":"c"}}"#);
        let expected = |code: Option<&str>, status| UpstreamError {
            status,
            message: "m".into(),
            kind: Some("t".into()),
            code: code.map(Into::into),
            param: Some("p".into()),
            retry_after: None,
        };
        assert_eq!(openai, expected(Some("c"), None));
        assert_eq!(
            read(r#"[{"error":{"message":"m","type":"t","param":"p","code":7}}]"#),
            expected(None, Some(7))
        );
        assert_eq!(read(r#"{"type":"error","error":{"type":"x","message":"m"}}"#).kind.unwrap(), "x");
        assert_eq!(read(r#"{"object":"error","message":"m","type":"x"}"#).message, "m");
        let google = |details: &str| {
            read(&format!(
                r#"{{"error":{{"code":400,"message":"m","status":"INVALID_ARGUMENT","details":[{details}]}}}}"#
            ))
        };
        let key = google(r#"{"@type":"x"},{"@type":"t/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}"#);
        assert_eq!(
            (key.kind.as_deref(), key.code.as_deref()),
            (Some("INVALID_ARGUMENT"), Some("API_KEY_INVALID"))
        );
        assert_eq!(key.status, Some(400));
        let delay = google(r#"{"@type":"t/google.rpc.RetryInfo","retryDelay":"34.4s"}"#);
        assert_eq!(delay.retry_after, Some(35));
        let quota = google(r#"{"violations":[{"quotaId":"GenerateRequestsPerDayPerProject"}]}"#);
        assert_eq!(quota.code.as_deref(), Some("DAILY_QUOTA_EXCEEDED"));
        assert_eq!(read(r#"{"error":"m"}"#).message, "m");
        assert_eq!(read(r#"{"detail":"m"}"#).message, "m");
        assert_eq!(read(r#"{"detail":[{"loc":["body","n",0],"msg":"bad"}]}"#).message, "body.n.0: bad");
        let flat = r#"{"object":"error","message":"m","type":"x","code":400}"#;
        assert_eq!(read(&format!("{flat}\nSee the manual for help.")), read(flat));
        assert_eq!(read(&format!("{flat}\nSee the manual for help.")).message, "m");
        assert_eq!(read(&format!("[{flat}]\n[more]")), UpstreamError::default());
        assert_eq!(read("plain").message, "plain");
        assert_eq!(read("<html>secret</html>"), UpstreamError::default());
        assert_eq!(read("{broken"), UpstreamError::default());
    }
}
