//! The members of a Chat request that are read, and the one option that a relay adds.

use bytes::Bytes;

use crate::failure::Kind;
use crate::json::{self, Edit, Lenient as _, Member};
use crate::protocol::{Head, RequestMembers};

pub(in crate::protocol::chat) static MEMBERS: RequestMembers = RequestMembers {
    conversation: &["messages"],
    foreign: &[
        ("prompt", " Requests with 'prompt' belong to /v1/completions, which is not served."),
        ("input", " A request with 'input' is one of the Responses API: send it to /v1/responses."),
    ],
    output_caps: &["max_tokens", "max_completion_tokens"],
    caps_within: None,
    stream_options: true,
    state: &[],
    opaque: &["parameters", "schema", "metadata", "arguments"],
    prewarms: false,
    refusal: Kind::UnsupportedState,
};

/// Turns on `stream_options.include_usage` with the smallest possible edit. Returns nothing if the client did so
/// itself.
pub(in crate::protocol::chat) fn usage_edits(body: &[u8], head: &Head<'_>) -> Vec<Edit> {
    let edit = match (&head.stream_options, &head.null_options) {
        (Some(span), _) => {
            let options = body.get(span.clone()).unwrap_or_default();
            within(options).map(|(inner, new)| (span.start + inner.start..span.start + inner.end, new))
        }
        (None, Some(span)) => Some((span.clone(), Bytes::from_static(b"{\"include_usage\":true}"))),
        (None, None) => {
            Some((head.open..head.open, Bytes::from_static(b"\"stream_options\":{\"include_usage\":true},")))
        }
    };
    edit.into_iter().collect()
}

fn within(options: &[u8]) -> Option<Edit> {
    let mut members = json::members(options);
    let mut last: Option<Member<'_>> = None;
    let mut empty = true;
    for member in members.by_ref().lenient() {
        empty = false;
        if member.is("include_usage") {
            last = Some(member);
        }
    }
    match last {
        Some(member) if member.value == b"true" => None,
        Some(member) => Some((member.span, Bytes::from_static(b"true"))),
        None if empty => Some((1..1, Bytes::from_static(b"\"include_usage\":true"))),
        None => Some((1..1, Bytes::from_static(b"\"include_usage\":true,"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::splice;

    fn edited(body: &str) -> String {
        let head = Head::read(body.as_bytes(), &MEMBERS).unwrap();
        String::from_utf8(splice(body.as_bytes(), &usage_edits(body.as_bytes(), &head))).unwrap()
    }

    #[test]
    fn the_usage_option_is_added_by_the_smallest_edit() {
        let rest = r#""model":"m","messages":[]"#;
        let body = |options: &str| format!("{{{rest}{options}}}");
        assert_eq!(edited(&body("")), format!("{{\"stream_options\":{{\"include_usage\":true}},{rest}}}"));
        for (before, after) in [
            ("null", r#"{"include_usage":true}"#),
            ("{ }", r#"{"include_usage":true }"#),
            (r#"{"include_usage" : false}"#, r#"{"include_usage" : true}"#),
            (r#"{"x":1}"#, r#"{"include_usage":true,"x":1}"#),
            (r#"{"include_usage":true}"#, r#"{"include_usage":true}"#),
        ] {
            let options = |value: &str| body(&format!(",\"stream_options\":{value}"));
            assert_eq!(edited(&options(before)), options(after));
        }
    }
}
