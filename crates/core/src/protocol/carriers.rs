//! Carriers of other providers, taken out of a relayed conversation.
//!
//! A conversation that was translated before may hold reasoning in carriers of this gateway. A provider that
//! speaks the client's own protocol takes them for damaged signatures and refuses the whole request, now and for
//! ever. So a relay removes each block that holds a carrier; all other bytes stay. No carrier is opened, because
//! its blocks would be in another protocol's form.

use std::ops::Range;

use bytes::Bytes;

use crate::canon::{CARRIER_PREFIXES, Rejection, Rejections};
use crate::json::{Cuts, Edit, Malformed, Name, Walk};

/// The members of a protocol's requests that can hold carriers.
pub(super) struct CarrierPlaces {
    /// The member that holds the conversation.
    pub(super) conversation: &'static str,
    /// The member of a message that holds its blocks; absent: each message is a block itself.
    pub(super) blocks: Option<&'static str>,
    /// The members of a block that can hold a carrier.
    pub(super) opaque: &'static [&'static str],
}

/// Returns the edits that remove the carriers, sorted. `rejections` counts them.
pub(super) fn edits(body: &[u8], places: &CarrierPlaces, rejections: &mut Rejections) -> Vec<Edit> {
    // A body that is not JSON is left to the provider to refuse.
    let mut removed = conversation(&mut Walk::new(body), places, rejections).unwrap_or_default();
    removed.sort_by_key(|span| span.start);
    removed.into_iter().map(|span| (span, Bytes::new())).collect()
}

/// Returns the spans to remove. If the conversation occurs twice, the last one counts.
fn conversation(
    walk: &mut Walk<'_>,
    places: &CarrierPlaces,
    rejections: &mut Rejections,
) -> Result<Vec<Range<usize>>, Malformed> {
    let (mut removed, mut is_first) = (Vec::new(), true);
    if walk.peek() != Some(b'{') {
        return Ok(removed);
    }
    walk.enter();
    while let Some(key) = walk.key(&mut is_first)? {
        if walk.peek() == Some(b'[') && is(key, places.conversation) {
            removed = items(walk, places, rejections)?;
        } else {
            walk.skip()?;
        }
    }
    Ok(removed)
}

fn items(
    walk: &mut Walk<'_>,
    places: &CarrierPlaces,
    rejections: &mut Rejections,
) -> Result<Vec<Range<usize>>, Malformed> {
    let (mut inside, mut cuts, mut is_first) = (Vec::new(), Cuts::default(), true);
    walk.enter();
    while walk.item(&mut is_first)? {
        let start = walk.at();
        let goes = match places.blocks {
            None => holds_carrier(walk, places.opaque, rejections)?,
            Some(name) => {
                let blocks = message(walk, name, places.opaque, rejections)?;
                let goes = blocks.is_all();
                inside.extend(if goes { Vec::new() } else { blocks.finish() });
                goes
            }
        };
        cuts.take(&(start..walk.at()), goes);
    }
    inside.extend(cuts.finish());
    Ok(inside)
}

/// Finds the blocks of a message that are removed.
fn message(
    walk: &mut Walk<'_>,
    name: &str,
    opaque: &[&str],
    rejections: &mut Rejections,
) -> Result<Cuts, Malformed> {
    let (mut cuts, mut is_first) = (Cuts::default(), true);
    if walk.peek() != Some(b'{') {
        walk.skip()?;
        return Ok(cuts);
    }
    walk.enter();
    while let Some(key) = walk.key(&mut is_first)? {
        if !is(key, name) {
            walk.skip()?;
            continue;
        }
        cuts = Cuts::default();
        if walk.peek() != Some(b'[') {
            walk.skip()?;
            continue;
        }
        let mut is_first = true;
        walk.enter();
        while walk.item(&mut is_first)? {
            let start = walk.at();
            let goes = holds_carrier(walk, opaque, rejections)?;
            cuts.take(&(start..walk.at()), goes);
        }
    }
    Ok(cuts)
}

fn holds_carrier(
    walk: &mut Walk<'_>,
    opaque: &[&str],
    rejections: &mut Rejections,
) -> Result<bool, Malformed> {
    let (mut found, mut is_summary, mut is_first) = (None, false, true);
    if walk.peek() != Some(b'{') {
        walk.skip()?;
        return Ok(false);
    }
    walk.enter();
    while let Some(key) = walk.key(&mut is_first)? {
        let value = walk.skip()?;
        // A summary is no reasoning, and a conversation is nothing without it.
        is_summary |= value == b"\"compaction\"" && is(key, "type");
        let rejection = value.strip_prefix(b"\"").and_then(rejection);
        found = found.or_else(|| rejection.filter(|_| opaque.iter().any(|name| is(key, name))));
    }
    let found = found.filter(|_| !is_summary);
    Ok(found.inspect(|rejection| rejections.add(*rejection)).is_some())
}

/// Returns the reason for which a relay's provider is not given a text, if the inside of its literal is a carrier.
pub(super) fn rejection(inner: &[u8]) -> Option<Rejection> {
    let [new, old] = CARRIER_PREFIXES.map(|prefix| inner.starts_with(prefix.as_bytes()));
    let [new_encoded, old_encoded] = ENCODED_PREFIXES.map(|prefix| inner.starts_with(prefix.as_bytes()));
    let (new, old) = (new || new_encoded, old || old_encoded);
    new.then_some(Rejection::Foreign).or_else(|| old.then_some(Rejection::Old))
}

fn is(key: &[u8], name: &str) -> bool {
    Name::read(key).is_some_and(|key| key.is(name))
}

/// The beginnings of carriers in base 64, which clients of Gemini hold, in the order of [`CARRIER_PREFIXES`].
pub(super) const ENCODED_PREFIXES: [&str; 2] = ["Y20yL", "Y20xL"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::splice;

    const MESSAGES: CarrierPlaces =
        CarrierPlaces { conversation: "messages", blocks: Some("content"), opaque: &["signature", "data"] };
    const RESPONSES: CarrierPlaces =
        CarrierPlaces { conversation: "input", blocks: None, opaque: &["encrypted_content"] };

    fn cleaned(body: &str, places: &CarrierPlaces) -> String {
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
    }
}
