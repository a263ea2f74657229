//! One JSON line per request, for machines.

use std::net::IpAddr;
use std::time::Duration;

use crate::auth::Tag;

use super::guards::GuardLine;
use super::members::{Member, MemberName, Members, members};

members! {
    /// The facts of a request when it is over. Unknown facts are left out, and so are prompts, answers, credentials
    /// and header values.
    #[derive(Debug)]
    pub struct AccessLine<'a> {
        /// The time at which the request began, as RFC 3339.
        pub time: jiff::Timestamp,
        /// The gateway's id of the request.
        pub request_id: &'a str,
        /// The address of the client.
        pub client: Option<IpAddr>,
        /// The address of the listener, as it is configured.
        pub listener: Option<&'a str>,
        /// The name in the certificate that the client has shown.
        pub client_cert: Option<&'a str>,
        /// The account of the key.
        pub account: Option<&'a str>,
        /// The key's public id.
        pub key: Option<&'a str>,
        /// The last four characters of the secret, while two secrets of the key work.
        pub secret: Option<&'a str>,
        /// The last four characters of a credential that was refused, if it has the form of a key.
        pub key_hint: Option<&'a str>,
        /// The HTTP method.
        pub method: &'a str,
        /// The endpoint, which is not always the path that was sent.
        pub endpoint: &'static str,
        /// The path, if it is no endpoint; without its query.
        pub path: Option<&'a str>,
        /// Whether the path was served although it has the version twice, or two slashes before it.
        pub path_fixed: Option<bool>,
        /// The protocol of the client: Chat, Responses or Messages.
        pub protocol: Option<&'static str>,
        /// The version of HTTP in which the client has sent the request.
        pub client_protocol_version: Option<&'static str>,
        /// The model as the client named it, cut to a sane length.
        pub requested_model: Option<&'a str>,
        /// The catalog's id of the model that answered.
        pub model: Option<&'a str>,
        /// The provider that answered.
        pub provider: Option<&'a str>,
        /// The name of the credential, if the provider has several.
        pub credential: Option<&'a str>,
        /// The provider's own name of the model.
        pub upstream_model: Option<&'a str>,
        /// The model that the provider's answer names, if it is not `upstream_model`.
        pub served_model: Option<&'a str>,
        /// `relay` where client and provider speak the same protocol.
        pub route: Option<&'static str>,
        /// Members of the request that a translation left out or changed.
        pub dropped: Option<&'a str>,
        /// The HTTP status; 0 if the client left before one was sent.
        pub status: u16,
        /// The error's code if the request failed, even after its status was sent.
        pub error: Option<&'a str>,
        /// Details of the failure that the log may know and the client may not.
        pub detail: Option<&'a str>,
        /// The limit of the key or account that has refused the call.
        pub limit: Option<&'a str>,
        /// The verdicts of guards about the request and the answer.
        pub guard: Vec<GuardLine<'a>>,
        /// Whether the answer was a stream.
        pub stream: bool,
        /// Whether the client left before the end.
        pub client_gone: bool,
        /// Bytes of the request's body.
        pub bytes_in: usize,
        /// Bytes of the answer's body.
        pub bytes_out: usize,
        /// Milliseconds until the first byte of the answer.
        pub first_byte_ms: Option<f64>,
        /// Milliseconds until the end of the answer.
        pub total_ms: f64,
        /// The number of connections tried.
        pub attempts: u32,
        /// The attempts, if there was more than one or the call has failed.
        pub tries: Vec<TryLine<'a>>,
        /// Input tokens, cached ones included.
        pub prompt_tokens: Option<u64>,
        /// Output tokens, reasoning included.
        pub completion_tokens: Option<u64>,
        /// Input tokens read from the provider's cache.
        pub cached_tokens: Option<u64>,
        /// The reason for which the answer ended: in the provider's words or, after a translation, in the gateway's.
        pub finish_reason: Option<&'a str>,
        /// The cost of the call, in nano-USD.
        pub cost_nano: Option<u64>,
        /// The tags of the call, by their names.
        pub tags: Option<&'a [Tag]>,
        /// The end user of the call, if the settings of the log allow it.
        pub user: Option<&'a str>,
    }
}

members! {
    /// One attempt of a call at a target.
    #[derive(Clone, Debug)]
    pub struct TryLine<'a> {
        /// The provider.
        pub provider: &'a str,
        /// The provider's own name of the model.
        pub model: &'a str,
        /// The name of the credential, if the provider has several.
        pub credential: Option<&'a str>,
        /// The status of its answer.
        pub status: Option<u16>,
        /// The milliseconds until it failed, or until the end of the answer.
        pub ms: f64,
        /// The kind of the failure.
        pub error: Option<&'a str>,
        /// The reason of the failure.
        pub detail: Option<&'a str>,
    }
}

impl AccessLine<'_> {
    /// Makes the line of a request of which nothing is known yet but its time.
    #[must_use]
    pub fn new(time: jiff::Timestamp) -> Self {
        Self {
            time,
            request_id: "",
            client: None,
            listener: None,
            client_cert: None,
            account: None,
            key: None,
            secret: None,
            key_hint: None,
            method: "",
            endpoint: "",
            path: None,
            path_fixed: None,
            protocol: None,
            client_protocol_version: None,
            requested_model: None,
            model: None,
            provider: None,
            credential: None,
            upstream_model: None,
            served_model: None,
            route: None,
            dropped: None,
            status: 0,
            error: None,
            detail: None,
            limit: None,
            guard: Vec::new(),
            stream: false,
            client_gone: false,
            bytes_in: 0,
            bytes_out: 0,
            first_byte_ms: None,
            total_ms: 0.0,
            attempts: 0,
            tries: Vec::new(),
            prompt_tokens: None,
            completion_tokens: None,
            cached_tokens: None,
            finish_reason: None,
            cost_nano: None,
            tags: None,
            user: None,
        }
    }
}

impl Member for &[Tag] {
    fn write(&self, name: MemberName, members: &mut Members<'_>) -> serde_json::Result<()> {
        let out = members.name(name);
        // Neither names nor values have a character that JSON escapes.
        for (number, Tag { name, value }) in self.iter().enumerate() {
            let before: &str = if number == 0 { "{\"" } else { ",\"" };
            for part in [before, name, "\":\"", value, "\""] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        out.push(b'}');
        Ok(())
    }
}

impl Member for Vec<TryLine<'_>> {
    fn write(&self, name: MemberName, members: &mut Members<'_>) -> serde_json::Result<()> {
        members.list(name, self, TryLine::write)
    }
}

/// Returns a time in milliseconds, rounded to microseconds.
#[must_use]
pub fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::de::IgnoredAny;

    use super::*;

    fn written(line: &AccessLine<'_>) -> String {
        let mut written = Vec::new();
        line.write(&mut written).unwrap();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn a_line_is_json_with_the_facts_that_are_known() {
        let mut line = AccessLine::new(jiff::Timestamp::from_microsecond(1_700_000_000_123_456).unwrap());
        let start =
            r#"{"time":"2023-11-14T22:13:20.123456Z","request_id":"","method":"","endpoint":"","status":0"#;
        let short = written(&line);
        assert!(short.starts_with(start), "{short}");
        assert!(serde_json::from_str::<IgnoredAny>(&short).is_ok(), "{short}");
        line.requested_model = Some("a\"b\\\u{1}\u{1F389}");
        line.client = Some([10, 0, 0, 1].into());
        line.cost_nano = Some(u64::MAX);
        line.total_ms = 0.25;
        let tags = [("env", "prod"), ("team", "search")].map(|(name, value)| Tag::new(name, value).unwrap());
        line.tags = Some(&tags);
        let failed = TryLine {
            provider: "azure",
            model: "gpt-5",
            credential: None,
            status: None,
            ms: 12.0,
            error: Some("connect"),
            detail: Some("connection refused"),
        };
        let last = TryLine { status: Some(200), error: None, detail: None, ..failed.clone() };
        line.tries = vec![failed, last];
        let long = written(&line);
        for part in [
            r#""client":"10.0.0.1""#,
            "\"requested_model\":\"a\\\"b\\\\\\u0001\u{1F389}\"",
            r#""tries":[{"provider":"azure","model":"gpt-5","ms":12.0,"error":"connect","detail":"connection refused"},{"#,
            r#""status":200,"ms":12.0}]"#,
            r#""cost_nano":18446744073709551615"#,
            r#""total_ms":0.25"#,
            r#""tags":{"env":"prod","team":"search"}"#,
        ] {
            assert!(long.contains(part), "{part} is not in {long}");
        }
        let members: BTreeMap<String, IgnoredAny> = serde_json::from_str(&long).unwrap();
        assert!(members.keys().all(|name| AccessLine::NAMES.contains(&name.as_str())));
    }
}
