//! Carriers of other providers, taken out of a relayed conversation.
//!
//! A call needs a signature, so the word that Google documents for missing ones takes the place of a carrier there. A
//! part that only held a carrier is left out, and so is a content of which nothing is left.

use std::ops::Range;

use bytes::Bytes;

use crate::canon::Rejections;
use crate::json::{Cuts, Edit, Malformed, Name, Walk};
use crate::protocol::carriers::rejection;

/// Returns the edits that remove or replace the carriers, sorted. `rejections` counts them.
pub(in crate::protocol::gemini) fn edits(body: &[u8], rejections: &mut Rejections) -> Vec<Edit> {
    let mut found = Carriers { body, edits: Vec::new(), rejections };
    // A body that is not JSON is left to the provider to refuse.
    if found.contents(&mut Walk::new(body)).is_err() {
        return Vec::new();
    }
    found.edits.sort_by_key(|(span, _)| span.start);
    found.edits
}

struct Carriers<'r> {
    body: &'r [u8],
    edits: Vec<Edit>,
    rejections: &'r mut Rejections,
}

/// The parts of a part that decide what becomes of it.
#[derive(Default)]
struct PartSpans {
    /// The carrier's value.
    carrier: Option<Range<usize>>,
    /// The member that holds the carrier, with the comma before it, if there is one.
    member: Range<usize>,
    /// Whether it is the first member.
    is_first: bool,
    is_call: bool,
    /// Whether there is nothing in it besides the carrier.
    is_empty: bool,
}

impl Carriers<'_> {
    fn contents(&mut self, walk: &mut Walk<'_>) -> Result<(), Malformed> {
        let mut is_first = true;
        if walk.peek() != Some(b'{') {
            return Ok(());
        }
        walk.enter();
        while let Some(key) = walk.key(&mut is_first)? {
            if walk.peek() == Some(b'[') && is(key, "contents") {
                self.items(walk, Self::content)?;
            } else {
                walk.skip()?;
            }
        }
        Ok(())
    }

    /// Goes through an array; elements of which nothing is left are cut out. Returns whether that is all of them.
    fn items(
        &mut self,
        walk: &mut Walk<'_>,
        read: impl Fn(&mut Self, &mut Walk<'_>) -> Result<bool, Malformed>,
    ) -> Result<bool, Malformed> {
        let (mut cuts, mut is_first) = (Cuts::default(), true);
        walk.enter();
        while walk.item(&mut is_first)? {
            let (start, known) = (walk.at(), self.edits.len());
            let goes = read(self, walk)?;
            if goes {
                self.edits.truncate(known);
            }
            cuts.take(&(start..walk.at()), goes);
        }
        let is_all = cuts.is_all();
        if !is_all {
            self.edits.extend(cuts.finish().into_iter().map(|span| (span, Bytes::new())));
        }
        Ok(is_all)
    }

    fn content(&mut self, walk: &mut Walk<'_>) -> Result<bool, Malformed> {
        let (mut goes, mut is_first) = (false, true);
        if walk.peek() != Some(b'{') {
            walk.skip()?;
            return Ok(false);
        }
        walk.enter();
        while let Some(key) = walk.key(&mut is_first)? {
            if walk.peek() == Some(b'[') && is(key, "parts") {
                goes = self.items(walk, Self::part)?;
            } else {
                walk.skip()?;
            }
        }
        Ok(goes)
    }

    fn part(&mut self, walk: &mut Walk<'_>) -> Result<bool, Malformed> {
        if walk.peek() != Some(b'{') {
            walk.skip()?;
            return Ok(false);
        }
        let spans = PartSpans::read(walk, self.rejections)?;
        let Some(carrier) = spans.carrier else { return Ok(false) };
        if spans.is_call {
            self.edits.push((carrier, Bytes::from_static(NO_STATE)));
        } else if spans.is_empty {
            return Ok(true);
        } else {
            let Range { start, end } = spans.member;
            let after =
                if spans.is_first { end + comma(self.body.get(end..).unwrap_or_default()) } else { end };
            self.edits.push((start..after, Bytes::new()));
        }
        Ok(false)
    }
}

impl PartSpans {
    fn read(walk: &mut Walk<'_>, rejections: &mut Rejections) -> Result<Self, Malformed> {
        let mut spans = Self { is_empty: true, ..Self::default() };
        let (mut is_first, mut end) = (true, None);
        walk.enter();
        let begin = walk.at();
        while let Some(key) = walk.key(&mut is_first)? {
            let start = walk.at();
            let value = walk.skip()?;
            if is(key, "thoughtsignature") || is(key, "thought_signature") {
                if let Some(rejection) = value.strip_prefix(b"\"").and_then(rejection) {
                    rejections.add(rejection);
                    (spans.member, spans.is_first) = (end.unwrap_or(begin)..walk.at(), end.is_none());
                    spans.carrier = Some(start..walk.at());
                }
            } else {
                spans.is_call |= is(key, "functioncall") || is(key, "function_call");
                spans.is_empty &= is(key, "text") && value == b"\"\"" || is(key, "thought");
            }
            end = Some(walk.at());
        }
        Ok(spans)
    }
}

/// Returns the length of the comma in front of the next member, with the white space around it.
fn comma(rest: &[u8]) -> usize {
    let after = rest.trim_ascii_start().strip_prefix(b",").map(<[u8]>::trim_ascii_start);
    after.map_or(0, |after| rest.len() - after.len())
}

fn is(key: &[u8], name: &str) -> bool {
    Name::read(key).is_some_and(|key| key.is(name))
}

/// The word that Google documents for calls from elsewhere.
const NO_STATE: &[u8] = br#""skip_thought_signature_validator""#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::splice;

    #[test]
    fn calls_get_the_documented_word_and_all_else_loses_its_carrier() {
        let body = r#"{"contents":[{"role":"model","parts":[{"functionCall":{"name":"f"},"thoughtSignature":"Y20yLnsi"},
            {"thoughtSignature":"Y20yLnsi", "text":"a"},{"text":"b","thought_signature":"Y20xLnsi"},{"text":"","thoughtSignature":"Y20yLnsi"}]},
            {"parts":[{"text":"","thoughtSignature":"Y20yLnsi"}]},{"parts":[{"text":"c","thoughtSignature":"Native"}]}]}"#;
        let expected = r#"{"contents":[{"role":"model","parts":[{"functionCall":{"name":"f"},"thoughtSignature":"skip_thought_signature_validator"},
            {"text":"a"},{"text":"b"}]},
            {"parts":[{"text":"c","thoughtSignature":"Native"}]}]}"#;
        let mut rejections = Rejections::default();
        let edits = edits(body.as_bytes(), &mut rejections);
        assert_eq!(String::from_utf8(splice(body.as_bytes(), &edits)).unwrap(), expected);
        assert_eq!(rejections.iter().map(|(_, count)| count).sum::<u32>(), 5);
    }
}
