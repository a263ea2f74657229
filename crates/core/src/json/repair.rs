//! Repair of text that JSON parsers refuse: invalid UTF-8 and lone surrogates.
//!
//! Clients that cut text by UTF-16 units leave half of a surrogate pair behind. A relay passes that on. A
//! translation replaces it by U+FFFD, as the reference says, and never refuses a request for it.

use std::borrow::Cow;

use memchr::{memchr, memmem};

/// Returns the document with invalid UTF-8 and lone surrogate escapes replaced. It is nearly always borrowed.
#[must_use]
pub fn repair(document: &[u8]) -> Cow<'_, str> {
    repaired(document, false)
}

/// Repairs like [`repair`], but keeps a lone surrogate at the border of a literal, because its other half may come
/// in the next event of a stream.
#[must_use]
pub fn repair_event(document: &[u8]) -> Cow<'_, str> {
    repaired(document, true)
}

fn repaired(document: &[u8], keep_borders: bool) -> Cow<'_, str> {
    let text = utf8(document);
    match without_lone_surrogates(&text, keep_borders) {
        Some(repaired) => Cow::Owned(repaired),
        None => text,
    }
}

/// Returns the document with invalid UTF-8 replaced.
#[must_use]
pub fn utf8(document: &[u8]) -> Cow<'_, str> {
    simdutf8::basic::from_utf8(document).map_or_else(|_| String::from_utf8_lossy(document), Cow::Borrowed)
}

/// Returns the document with lone surrogate escapes replaced, or `None` if it has none. `keep_borders` spares
/// those at the border of a literal.
#[must_use]
pub fn without_lone_surrogates(text: &str, keep_borders: bool) -> Option<String> {
    let mut next = Some(lone(text, 0, keep_borders)?);
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    while let Some(at) = next {
        out.push_str(text.get(done..at).unwrap_or_default());
        out.push_str(REPLACEMENT);
        done = at + ESCAPE;
        next = lone(text, done, keep_borders);
    }
    out.push_str(text.get(done..).unwrap_or_default());
    Some(out)
}

/// Returns the position of the next lone surrogate escape.
fn lone(text: &str, from: usize, keep_borders: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    // Most texts have no escape at all, and one byte is found sooner than two.
    let mut at = from + memchr(b'\\', bytes.get(from..)?)?;
    loop {
        at += memmem::find(bytes.get(at..)?, b"\\u")?;
        let escaped = bytes.get(..at)?.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
        let unit = if escaped { None } else { unit(bytes, at) };
        match unit.map(Surrogate::of) {
            Some(Some(Surrogate::High)) if unit_is(bytes, at + ESCAPE, Surrogate::Low) => at += 2 * ESCAPE,
            Some(Some(surrogate)) if keep_borders && at_border(bytes, at, surrogate) => at += ESCAPE,
            Some(Some(_)) => return Some(at),
            _ => at += 2,
        }
    }
}

/// One half of a UTF-16 surrogate pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surrogate {
    /// The first half, U+D800 to U+DBFF.
    High,
    /// The second half, U+DC00 to U+DFFF.
    Low,
}

impl Surrogate {
    fn of(unit: u16) -> Option<Self> {
        match unit {
            0xd800..=0xdbff => Some(Self::High),
            0xdc00..=0xdfff => Some(Self::Low),
            _ => None,
        }
    }
}

/// Splits a high surrogate from the end of a literal's inside.
#[must_use]
pub fn split_trailing_high(inner: &str) -> (&str, Option<&str>) {
    let Some(at) = inner.len().checked_sub(ESCAPE) else { return (inner, None) };
    let backslashes = inner.as_bytes().iter().take(at + 1).rev().take_while(|byte| **byte == b'\\').count();
    if backslashes % 2 == 1 && unit_is(inner.as_bytes(), at, Surrogate::High) {
        return (inner.get(..at).unwrap_or_default(), inner.get(at..));
    }
    (inner, None)
}

/// Whether the inside of a literal begins with the second half of a character.
#[must_use]
pub fn starts_with_low(inner: &str) -> bool {
    unit_is(inner.as_bytes(), 0, Surrogate::Low)
}

/// Returns the text of a literal that is valid except for lone surrogates.
pub(super) fn lossy_text(inner: &str) -> String {
    let literal = format!("\"{inner}\"");
    serde_json::from_str(&repair(literal.as_bytes())).unwrap_or_default()
}

fn at_border(bytes: &[u8], at: usize, surrogate: Surrogate) -> bool {
    match surrogate {
        Surrogate::High => bytes.get(at + ESCAPE) == Some(&b'"'),
        Surrogate::Low => at.checked_sub(1).and_then(|before| bytes.get(before)) == Some(&b'"'),
    }
}

fn unit_is(bytes: &[u8], at: usize, surrogate: Surrogate) -> bool {
    unit(bytes, at).and_then(Surrogate::of) == Some(surrogate)
}

/// Returns the code unit of the escape at `at`.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + ESCAPE)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Length of `\uXXXX`, in bytes.
const ESCAPE: usize = 6;

/// U+FFFD, as an escape.
const REPLACEMENT: &str = "\\ufffd";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_halves_are_replaced_and_pairs_stay() {
        for (before, after) in [
            (r#"{"a":"\ud83d\ude00"}"#, r#"{"a":"\ud83d\ude00"}"#),
            (r#"{"a":"x\ud83d"}"#, r#"{"a":"x\ufffd"}"#),
            (r#"{"a":"\ude00x\uD83Dy"}"#, r#"{"a":"\ufffdx\ufffdy"}"#),
            (r#"{"a":"\\ud83d"}"#, r#"{"a":"\\ud83d"}"#),
            (r#"{"a":"\\\ud83d"}"#, r#"{"a":"\\\ufffd"}"#),
            (r#"{"a":"\ud83d\ud83d\ude00"}"#, r#"{"a":"\ufffd\ud83d\ude00"}"#),
        ] {
            assert_eq!(repair(before.as_bytes()), after);
        }
        assert_eq!(repair(b"{\"a\":\"\xff\"}"), "{\"a\":\"\u{fffd}\"}");
        assert!(matches!(repair(br#"{"a":"\n\u00e9"}"#), Cow::Borrowed(_)));
    }

    #[test]
    fn halves_at_the_border_of_a_literal_may_wait() {
        let kept = r#"{"a":"x\ud83d","b":"\ude00y"}"#;
        assert_eq!(repair_event(kept.as_bytes()), kept);
        assert_eq!(repair_event(br#"{"a":"\ud83dx"}"#), r#"{"a":"\ufffdx"}"#);
        assert_eq!(split_trailing_high(r"x\ud83d"), ("x", Some(r"\ud83d")));
        assert_eq!(split_trailing_high(r"x\\ud83d"), (r"x\\ud83d", None));
        assert_eq!(split_trailing_high("x"), ("x", None));
        assert!(starts_with_low(r"\ude00y") && !starts_with_low("y"));
    }
}
