//! Carriers of other providers, taken out of a relayed conversation.
//!
//! A conversation that was translated before may hold reasoning in carriers of this gateway. A provider that
//! speaks the client's own protocol takes them for damaged signatures and refuses the whole request, now and
//! for ever. So a relay removes what holds one; all other bytes stay. None is opened: what comes out of it would be
//! in another protocol's form.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use crate::canon::{Rejection, Rejections};
use crate::json::{self, Edit};

/// Where in a protocol's requests carriers can stand.
pub(super) struct Places {
    /// The member that holds the conversation.
    pub(super) conversation: &'static str,
    /// The member of a message that holds its blocks; absent: the messages are the blocks themselves.
    pub(super) blocks: Option<&'static str>,
    /// The members of a block that can hold one.
    pub(super) opaque: &'static [&'static str],
}

/// The edits that remove them, sorted, which `rejections` counts. Empty, and cheap, for a body without any.
pub(super) fn edits(body: &[u8], places: &Places, rejections: &mut Rejections) -> Vec<Edit> {
    if MARKS.iter().all(|(mark, _)| memmem::find(body, mark).is_none()) {
        return Vec::new();
    }
    let conversation = json::members(body).map_while(Result::ok).filter(|m| m.is(places.conversation)).last();
    let Some(conversation) = conversation else { return Vec::new() };
    let (start, items) = (conversation.span.start, elements(conversation.value));
    let mut removed = Vec::new();
    let mut gone = vec![false; items.len()];
    for (index, item) in items.iter().enumerate() {
        let bytes = conversation.value.get(item.clone()).unwrap_or_default();
        match places.blocks {
            None => set(&mut gone, index, holds_carrier(bytes, places.opaque, rejections)),
            Some(name) => match within(bytes, name, places.opaque, rejections) {
                Within::All => set(&mut gone, index, true),
                Within::Some(spans) => {
                    let base = start + item.start;
                    removed.extend(spans.into_iter().map(|span| base + span.start..base + span.end));
                }
            },
        }
    }
    let spans: Vec<_> = items.iter().map(|span| start + span.start..start + span.end).collect();
    removed.extend(json::without(&spans, &gone));
    removed.sort_by_key(|span| span.start);
    removed.into_iter().map(|span| (span, Bytes::new())).collect()
}

/// What a message is left with.
enum Within {
    /// Nothing: the message goes.
    All,
    /// All but these spans.
    Some(Vec<Range<usize>>),
}

fn within(message: &[u8], name: &str, opaque: &[&str], rejections: &mut Rejections) -> Within {
    let content = json::members(message).map_while(Result::ok).filter(|m| m.is(name)).last();
    let Some(content) = content else { return Within::Some(Vec::new()) };
    let blocks = elements(content.value);
    let mut carries = |span: &Range<usize>| {
        holds_carrier(content.value.get(span.clone()).unwrap_or_default(), opaque, rejections)
    };
    let gone: Vec<bool> = blocks.iter().map(&mut carries).collect();
    if !gone.is_empty() && gone.iter().all(|gone| *gone) {
        return Within::All;
    }
    let offset = content.span.start;
    let spans: Vec<_> = blocks.iter().map(|span| offset + span.start..offset + span.end).collect();
    Within::Some(json::without(&spans, &gone))
}

fn set(gone: &mut [bool], index: usize, value: bool) {
    if let Some(slot) = gone.get_mut(index) {
        *slot = value;
    }
}

fn holds_carrier(block: &[u8], opaque: &[&str], rejections: &mut Rejections) -> bool {
    let members = json::members(block).map_while(Result::ok);
    let mut found = members.filter(|member| opaque.iter().any(|name| member.is(name)));
    let carried = found.find_map(|member| MARKS.iter().find(|(mark, _)| member.value.starts_with(mark)));
    carried.inspect(|(_, rejection)| rejections.add(*rejection)).is_some()
}

fn elements(array: &[u8]) -> Vec<Range<usize>> {
    json::elements(array).map_while(Result::ok).map(|(_, span)| span).collect()
}

/// How carriers begin as JSON strings, and why a relay's provider is not given them.
const MARKS: [(&[u8], Rejection); 2] = [(b"\"cm2.", Rejection::Foreign), (b"\"cm1.", Rejection::Old)];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::splice;

    const MESSAGES: Places =
        Places { conversation: "messages", blocks: Some("content"), opaque: &["signature", "data"] };
    const RESPONSES: Places = Places { conversation: "input", blocks: None, opaque: &["encrypted_content"] };

    fn cleaned(body: &str, places: &Places) -> String {
        String::from_utf8(splice(
            body.as_bytes(),
            &edits(body.as_bytes(), places, &mut Rejections::default()),
        ))
        .unwrap()
    }

    #[test]
    fn blocks_with_carriers_go_and_all_else_stays() {
        let body = r#"{"messages":[{"role":"user","content":"\"cm1.x"},{"role":"assistant","content":[{"type":"thinking","signature":"cm1.e30"} , {"type":"text","text":"cm1.a"}]},
            {"role":"assistant","content":[{"type":"redacted_thinking","data":"cm1.e30"}]}, {"role":"user","content":[{"type":"thinking","signature":"Native"}]}]}"#;
        let expected = r#"{"messages":[{"role":"user","content":"\"cm1.x"},{"role":"assistant","content":[{"type":"text","text":"cm1.a"}]},
            {"role":"user","content":[{"type":"thinking","signature":"Native"}]}]}"#;
        assert_eq!(cleaned(body, &MESSAGES), expected);
        let plain = r#"{"messages":[{"role":"user","content":"x"}]}"#;
        assert!(edits(plain.as_bytes(), &MESSAGES, &mut Rejections::default()).is_empty());
    }

    #[test]
    fn items_with_carriers_go_and_are_counted() {
        let body = r#"{"input":[{"type":"reasoning","encrypted_content":"cm1.e30"},{"type":"message"},{"type":"reasoning","encrypted_content":"cm2.e30"},{"type":"reasoning","encrypted_content":"cm3.e30"}],"x":1}"#;
        let expected =
            r#"{"input":[{"type":"message"},{"type":"reasoning","encrypted_content":"cm3.e30"}],"x":1}"#;
        assert_eq!(cleaned(body, &RESPONSES), expected);
        let mut rejections = Rejections::default();
        edits(body.as_bytes(), &RESPONSES, &mut rejections);
        assert_eq!(rejections.iter().collect::<Vec<_>>(), [(Rejection::Old, 1), (Rejection::Foreign, 1)]);
        let marks = MARKS.map(|(mark, _)| mark.strip_prefix(b"\"").unwrap());
        assert_eq!(marks, crate::canon::CARRIER_PREFIXES.map(str::as_bytes));
    }
}
