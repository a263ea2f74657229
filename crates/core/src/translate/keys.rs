//! The gateway's own keys for providers, and their removal from providers' error texts.
//!
//! A provider may repeat the key that it was asked with, or a part of it, and a provider that is a gateway itself
//! may repeat the key of another. All parts of a failure that go to a client or a log pass through here first.
//! Successful answers do not, because a model knows no key.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use memchr::{memchr, memchr2};

use crate::json::{self, Edit};
use crate::protocol::UpstreamError;

/// The keys of all providers, and the secrets in their headers, for a search in texts that ignores case, and also finds
/// keys that are percent-encoded or part of a base64 text.
///
/// For a key of 12 characters or more, any 12 in a row are a match, so that a part of a key is found as well. A
/// shorter key is only found as a whole. A key of less than 8 characters is never found: it is a placeholder for a
/// server that wants none, and may be any word.
#[derive(Default)]
pub struct OwnKeys {
    /// All pieces of the longer keys.
    pieces: HashSet<[u8; PIECE]>,
    /// A bit for each pair of bytes: whether a piece or a shorter key begins with it.
    pairs: Vec<u64>,
    /// The shorter keys.
    short: Vec<Box<[u8]>>,
}

impl<'k> FromIterator<&'k str> for OwnKeys {
    fn from_iter<I: IntoIterator<Item = &'k str>>(providers_keys: I) -> Self {
        let mut keys = Self::default();
        providers_keys.into_iter().for_each(|key| keys.add(key));
        keys
    }
}

impl OwnKeys {
    fn add(&mut self, key: &str) {
        if key.len() < MIN_KEY_LEN {
            return;
        }
        let mut spellings = vec![key.to_owned(), percent_encoded(key)];
        for before in 0..3 {
            // The bytes before and after the key change the base64 characters that they share with it.
            let padded = [&[0; 2][..before.min(2)], key.as_bytes()].concat();
            let (first, end) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
            for coded in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
                spellings.extend(coded.get(first..end).map(str::to_owned));
            }
        }
        for spelling in spellings.iter().map(|spelling| spelling.to_ascii_lowercase()) {
            if spelling.len() < PIECE {
                let is_known = self.short.iter().any(|known| **known == *spelling.as_bytes());
                if spelling.len() >= MIN_KEY_LEN && !is_known {
                    self.mark(spelling.as_bytes());
                    self.short.push(spelling.into_bytes().into());
                }
                continue;
            }
            for piece in spelling.as_bytes().windows(PIECE) {
                self.mark(piece);
                self.pieces.extend(piece.first_chunk::<PIECE>());
            }
        }
    }

    /// Marks the first two bytes of a key or piece.
    fn mark(&mut self, beginning: &[u8]) {
        let &[first, second, ..] = beginning else { return };
        let (word, bit) = place(first, second);
        self.pairs.resize(PAIRS / 64, 0);
        self.pairs.get_mut(word).into_iter().for_each(|word| *word |= bit);
    }

    /// Whether a text contains a key, or a piece of one, without escapes.
    #[must_use]
    pub fn is_in(&self, text: &[u8]) -> bool {
        !self.spans(text).is_empty()
    }

    /// Returns a text with its keys removed.
    #[must_use]
    pub fn redacted<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let spans = self.spans(text.as_bytes());
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let edits: Vec<_> = spans.into_iter().map(|span| (span, Bytes::from_static(REMOVED))).collect();
        // Keys are ASCII, so nothing else is cut.
        Cow::Owned(String::from_utf8_lossy(&json::splice(text.as_bytes(), &edits)).into_owned())
    }

    /// Returns a body with its keys removed, including keys in strings with escapes. JSON stays JSON, unless a
    /// number held a key.
    #[must_use]
    pub fn cleaned(&self, body: Bytes) -> Bytes {
        let edits = self.edits(&body);
        if edits.is_empty() { body } else { json::splice(&body, &edits).into() }
    }

    /// Returns an error with its keys removed.
    #[must_use]
    pub fn without(&self, error: &UpstreamError) -> UpstreamError {
        let name = |name: &Option<String>| name.clone().filter(|name| !self.is_in(name.as_bytes()));
        UpstreamError {
            message: self.redacted(&error.message).into_owned(),
            kind: name(&error.kind),
            code: name(&error.code),
            status: error.status,
            param: name(&error.param),
            retry_after: error.retry_after,
        }
    }

    /// Returns the edits that remove all keys from a body, in order.
    #[must_use]
    pub fn edits(&self, body: &[u8]) -> Vec<Edit> {
        if self.pieces.is_empty() && self.short.is_empty() {
            return Vec::new();
        }
        let mut edits = Vec::new();
        if memchr(b'\\', body).is_some() {
            edits.extend(literals(body).filter_map(|span| self.respelled(body, span)));
        }
        let escaped = edits.len();
        for span in self.spans(body) {
            let done = edits.get(..escaped).unwrap_or_default();
            let next = done.partition_point(|(other, _)| other.end <= span.start);
            if done.get(next).is_none_or(|(other, _)| other.start >= span.end) {
                edits.push((span, Bytes::from_static(REMOVED)));
            }
        }
        edits.sort_by_key(|(span, _)| span.start);
        edits
    }

    /// Returns the edit that removes all keys from a string with escapes, if it has any.
    fn respelled(&self, body: &[u8], span: Range<usize>) -> Option<Edit> {
        let literal = body.get(span.clone())?;
        memchr(b'\\', literal)?;
        let text = json::text(literal)
            .map(Cow::into_owned)
            .or_else(|| json::text(json::repair::repair(literal).as_bytes()).map(Cow::into_owned));
        match text {
            Some(text) => match self.redacted(&text) {
                Cow::Borrowed(_) => None,
                Cow::Owned(clean) => Some((span, json::write::literal(&clean).into())),
            },
            // A client may be able to read a string that this parser cannot.
            None => Some((span, json::write::literal("[removed]").into())),
        }
    }

    /// Finds keys and pieces of keys, in order and without overlaps.
    fn spans(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut spans: Vec<Range<usize>> = Vec::new();
        for (at, pair) in text.windows(2).enumerate() {
            let &[first, second] = pair else { continue };
            let (word, bit) = place(first, second);
            if self.pairs.get(word).is_none_or(|word| word & bit == 0) {
                continue;
            }
            let rest = text.get(at..).unwrap_or_default();
            if let Some(mut piece) = rest.first_chunk::<PIECE>().copied() {
                piece.make_ascii_lowercase();
                if self.pieces.contains(&piece) {
                    add(&mut spans, at..at + PIECE);
                }
            }
            for key in &self.short {
                if rest.get(..key.len()).is_some_and(|it| it.eq_ignore_ascii_case(key)) {
                    add(&mut spans, at..at + key.len());
                }
            }
        }
        spans
    }
}

/// Adds a span that does not begin before the last one.
fn add(spans: &mut Vec<Range<usize>>, span: Range<usize>) {
    match spans.last_mut() {
        Some(last) if last.end >= span.start => last.end = last.end.max(span.end),
        _ => spans.push(span),
    }
}

/// Returns the word and the bit of a pair of bytes, whatever their case.
fn place(first: u8, second: u8) -> (usize, u64) {
    let pair = usize::from(first.to_ascii_lowercase()) << 8 | usize::from(second.to_ascii_lowercase());
    (pair / 64, 1 << (pair % 64))
}

/// Returns the spans of all JSON strings in a text, quotation marks included.
fn literals(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + memchr(b'"', text.get(at..)?)?;
        let mut end = start + 1;
        loop {
            end += memchr2(b'"', b'\\', text.get(end..)?)?;
            if text.get(end) == Some(&b'"') {
                break;
            }
            end += 2;
        }
        at = end + 1;
        Some(start..at)
    })
}

fn percent_encoded(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02x}")),
        }
    }
    out
}

impl fmt::Debug for OwnKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnKeys").finish_non_exhaustive()
    }
}

/// Number of consecutive characters of a key that identify it: more than an ordinary word shares with a key by
/// chance, and too few to be of use to an attacker.
const PIECE: usize = 12;

/// Length of the shortest key that may be a secret, in characters.
const MIN_KEY_LEN: usize = 8;

/// Number of pairs of bytes.
const PAIRS: usize = 1 << 16;

/// The replacement for a key.
const REMOVED: &[u8] = b"[removed]";

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AIzaSyTest-5f0a77d91c/+e4";

    fn keys() -> OwnKeys {
        let mut keys = OwnKeys::default();
        [KEY, "short-key", "ollama"].into_iter().for_each(|key| keys.add(key));
        keys
    }

    #[test]
    fn a_key_is_found_whole_in_part_and_in_other_spellings() {
        let keys = keys();
        for (text, expected) in [
            (format!("Key {KEY} is bad."), "Key [removed] is bad."),
            (format!("{KEY}{KEY}"), "[removed]"),
            (format!("key={}...", KEY.get(..14).unwrap()), "key=[removed]..."),
            (format!("...{}", KEY.get(KEY.len() - 12..).unwrap()), "...[removed]"),
            (format!("Bearer {}", KEY.to_uppercase()), "Bearer [removed]"),
            (format!("a SHORT-key b {KEY} \u{e9}"), "a [removed] b [removed] \u{e9}"),
            ("short-key".to_owned(), "[removed]"),
            (format!("short-key{KEY}short-keyshort-ke"), "[removed]short-ke"),
            ("?key=AIzaSyTest-5f0a77d91c%2F%2be4&x".to_owned(), "?key=[removed]&x"),
        ] {
            assert_eq!(keys.redacted(&text), expected, "{text}");
            assert!(keys.is_in(text.as_bytes()));
        }
        for before in ["", ":", "me:", "user:", "longer-user:"] {
            let coded = STANDARD_NO_PAD.encode(format!("{before}{KEY}:after"));
            let clean = keys.redacted(&coded).into_owned();
            assert!(clean.contains("[removed]") && clean.len() < coded.len(), "{before}: {clean}");
            let left = clean.split("[removed]").map(str::len).max().unwrap_or_default();
            assert!(left < 24, "{clean}");
        }
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        let keys = keys();
        for text in [
            "",
            "The model 'ollama/llama' was not found, see AIzaSy",
            "Your key ends in d91c/+e4",
            "a short key, and a short-kex",
            "\u{1f600} caf\u{e9} AIzaSyTest-",
        ] {
            assert!(matches!(keys.redacted(text), Cow::Borrowed(_)), "{text}");
        }
        assert!(!OwnKeys::default().is_in(KEY.as_bytes()));
        assert!(!format!("{keys:?}").contains("short"));
    }

    #[test]
    fn strings_are_read_before_they_are_judged() {
        let keys = keys();
        let escaped: String = KEY.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
        let clean =
            |body: &str| String::from_utf8(keys.cleaned(Bytes::from(body.to_owned())).to_vec()).unwrap();
        assert_eq!(clean(&format!(r#"{{"a":"x {escaped} \n","b":1}}"#)), r#"{"a":"x [removed] \n","b":1}"#);
        assert_eq!(
            clean(&format!(r#"{{"{escaped}":["{KEY}","\ud83d {KEY}"]}}"#)).matches("[removed]").count(),
            3
        );
        assert_eq!(
            clean(&KEY.replace('/', "\\/").replace(KEY, "")),
            "AIzaSyTest-5f0a77d91c\\/+e4".replace("AIzaSyTest-5f0a77d91c", "[removed]")
        );
        let half = format!(r#"{{"m":"\ud83d {escaped}"}}"#);
        assert!(clean(&half).contains("[removed]"), "{}", clean(&half));
        // A body that is not JSON is cleaned as well.
        assert_eq!(clean(&format!("<p>\"\\x {KEY}</p>")), "<p>\"\\x [removed]</p>");
        let plain = r#"{"error":{"message":"a \"quoted\" word \ud83d\ude00","param":null}}"#;
        assert_eq!(clean(plain), plain);
    }

    #[test]
    fn an_error_loses_the_names_that_hold_a_key() {
        let error = UpstreamError {
            retry_after: None,
            message: format!("no {KEY}"),
            kind: Some("auth".into()),
            code: Some(KEY.into()),
            status: Some(401),
            param: Some(format!("p.{KEY}")),
        };
        let clean = keys().without(&error);
        assert_eq!((clean.message.as_str(), clean.kind.as_deref()), ("no [removed]", Some("auth")));
        assert_eq!((clean.code, clean.param, clean.status), (None, None, Some(401)));
    }
}
