//! Summaries of conversations that this gateway has carried, in a relayed request.
//!
//! A provider that speaks Responses encrypts its own summaries. It cannot read a carrier, so a summary goes to it
//! as the user's message that any other provider would get.

use std::ops::Range;

use bytes::Bytes;

use crate::canon::{Carrier, Sealer};
use crate::json::write;
use crate::json::{self, Edit, JsonStr, Malformed, Name, Walk};

/// Returns the edits that put messages in the place of carried summaries, in their order. Other items stay.
pub(in crate::protocol::responses) fn edits(body: &[u8], sealer: &Sealer) -> Vec<Edit> {
    // A body that is not JSON is left to the provider to refuse.
    let items = carried(&mut Walk::new(body)).unwrap_or_default();
    let edit = |(span, text): CarriedSummary<'_>| {
        let text = json::text(text)?;
        Some((span, message(&Carrier::read_summary(&text, sealer)?)))
    };
    items.into_iter().filter_map(edit).collect()
}

/// The span of an item, and its encrypted content.
type CarriedSummary<'a> = (Range<usize>, &'a [u8]);

/// Returns the spans of compaction items, and their encrypted content. If `input` occurs twice, the last one counts.
fn carried<'a>(walk: &mut Walk<'a>) -> Result<Vec<CarriedSummary<'a>>, Malformed> {
    let (mut found, mut is_first) = (Vec::new(), true);
    if walk.peek() != Some(b'{') {
        return Ok(found);
    }
    walk.enter();
    while let Some(key) = walk.key(&mut is_first)? {
        if walk.peek() != Some(b'[') || !is(key, "input") {
            walk.skip()?;
            continue;
        }
        found.clear();
        let mut is_first = true;
        walk.enter();
        while walk.item(&mut is_first)? {
            let start = walk.at();
            if let Some(content) = compaction(walk)? {
                found.push((start..walk.at(), content));
            }
        }
    }
    Ok(found)
}

/// Returns the encrypted content of an item, if it is a compaction.
fn compaction<'a>(walk: &mut Walk<'a>) -> Result<Option<&'a [u8]>, Malformed> {
    if walk.peek() != Some(b'{') {
        walk.skip()?;
        return Ok(None);
    }
    let (mut content, mut is_compaction, mut is_first) = (None, false, true);
    walk.enter();
    while let Some(key) = walk.key(&mut is_first)? {
        let value = walk.skip()?;
        if is(key, "encrypted_content") {
            content = Some(value);
        } else if is(key, "type") {
            is_compaction = value == b"\"compaction\"";
        }
    }
    Ok(content.filter(|_| is_compaction))
}

fn message(text: &JsonStr<'_>) -> Bytes {
    let mut out = Vec::with_capacity(text.raw().len() + 96);
    write::object(&mut out, |o| {
        o.text("type", "message").text("role", "user").array("content", |list| {
            list.object(|o| {
                o.text("type", "input_text").json_str("text", text);
            });
        });
    });
    out.into()
}

fn is(key: &[u8], name: &str) -> bool {
    Name::read(key).is_some_and(|key| key.is(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::SealKey;

    #[test]
    fn a_carried_summary_becomes_a_message_and_all_else_stays() {
        let sealer = Sealer::new(&SealKey::new([1; 32]), "a");
        let carrier = Carrier::of_summary(&JsonStr::plain(r"S\n2")).seal(&sealer, "elsewhere", "m");
        let theirs = r#"{"type":"compaction","encrypted_content":"gAAAA"}"#;
        let foreign = Carrier::of_summary(&JsonStr::plain("S")).seal(
            &Sealer::new(&SealKey::new([2; 32]), "a"),
            "x",
            "m",
        );
        let body = |item: &str| {
            format!(
                r#"{{"model":"m", "input":[ {theirs},{item} ,{{"type":"compaction","encrypted_content":"{foreign}"}}]}}"#
            )
        };
        let before =
            body(&format!(r#"{{"id":"cmp_1","encrypted_content":"{carrier}","type":"compaction"}}"#));
        let after = body(
            r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"[Summary of the conversation up to here]\nS\n2"}]}"#,
        );
        let edited = json::splice(before.as_bytes(), &edits(before.as_bytes(), &sealer));
        assert_eq!(String::from_utf8(edited).unwrap(), after);
    }
}
