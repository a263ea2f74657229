//! The members of a Messages request that are read, and the block that a relay removes.

use std::ops::Range;

use bytes::Bytes;

use crate::failure::Kind;
use crate::json::{self, Edit, Lenient as _};
use crate::protocol::carriers::CarrierPlaces;
use crate::protocol::state::Test;
use crate::protocol::{Head, RequestMembers};

/// The places of carriers of other providers' reasoning.
pub(in crate::protocol::messages) static CARRIERS: CarrierPlaces =
    CarrierPlaces { conversation: "messages", blocks: Some("content"), opaque: &["signature", "data"] };

pub(in crate::protocol::messages) static MEMBERS: RequestMembers = RequestMembers {
    conversation: &["messages"],
    foreign: &[("input", " A request with 'input' is one of the Responses API: send it to /v1/responses.")],
    output_caps: &["max_tokens"],
    caps_within: None,
    stream_options: false,
    state: &[
        ("container", Test::Id),
        ("thread", Test::Present),
        ("diagnostics", Test::Has("previous_message_id")),
    ],
    opaque: &["input", "input_schema", "schema", "metadata"],
    prewarms: true,
    refusal: Kind::Unsupported,
};

/// Returns the edit that removes the attribution block of a large coding client from `system`. Its hash changes
/// with every request, so a provider that reads it never finds the prompt in its cache.
pub(in crate::protocol::messages) fn attribution_edit(body: &[u8], head: &Head<'_>) -> Option<Edit> {
    let span = head.system.clone()?;
    let system = body.get(span.clone())?;
    let within = match system.first()? {
        b'[' => block(system)?,
        b'"' => line(system)?,
        _ => return None,
    };
    Some((span.start + within.start..span.start + within.end, Bytes::new()))
}

/// Returns the span of the block, with the comma after it or, for the last one, before it.
fn block(system: &[u8]) -> Option<Range<usize>> {
    let mut blocks = json::elements(system).lenient();
    let mut before = None;
    let found = loop {
        let (block, span) = blocks.next()?;
        let mut members = json::members(block).lenient();
        let opens = |text: std::borrow::Cow<'_, str>| text.starts_with(ATTRIBUTION);
        if members.any(|member| member.is("text") && member.text().is_some_and(opens)) {
            break span;
        }
        before = Some(span.end);
    };
    match blocks.next() {
        Some((_, next)) => Some(found.start..next.start),
        None => Some(before.unwrap_or(found.start)..found.end),
    }
}

/// Returns the span of the first line of a text, with its line break.
fn line(system: &[u8]) -> Option<Range<usize>> {
    let text = system.get(1..system.len() - 1)?;
    if !text.starts_with(ATTRIBUTION.as_bytes()) {
        return None;
    }
    let end = memchr::memmem::find(text, b"\\n").map_or(text.len(), |at| at + 2);
    Some(1..1 + end)
}

pub(in crate::protocol::messages) const ATTRIBUTION: &str = "x-anthropic-billing-header:";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::splice;

    #[test]
    fn the_attribution_block_is_cut_out_and_nothing_else() {
        let a = r#"{"type":"text","text":"x-anthropic-billing-header: cch=1;"}"#;
        let b = r#"{"type":"text","text":"B"}"#;
        let body = |system: &str| format!(r#"{{"model":"m","messages":[],"system":{system}}}"#);
        for (before, after) in [
            (format!("[{a}, {b}]"), format!("[{b}]")),
            (format!("[{b} ,{a} ]"), format!("[{b} ]")),
            (format!("[{a}]"), "[]".to_owned()),
            (r#""x-anthropic-billing-header: c;\nrest""#.to_owned(), r#""rest""#.to_owned()),
            (r#""plain""#.to_owned(), r#""plain""#.to_owned()),
            (format!("[{b}]"), format!("[{b}]")),
        ] {
            let before = body(&before);
            let head = Head::read(before.as_bytes(), &MEMBERS).unwrap();
            let edits: Vec<_> = attribution_edit(before.as_bytes(), &head).into_iter().collect();
            assert_eq!(splice(before.as_bytes(), &edits), body(&after).as_bytes());
        }
    }
}
