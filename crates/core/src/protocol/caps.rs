//! Members of a request that limit the tokens of its answer.

use std::ops::Range;

use bytes::Bytes;

use crate::json::Edit;

/// One member that limits the tokens of the answer.
#[derive(Clone, Debug)]
pub(super) struct OutputCap {
    /// Its name.
    pub(super) name: &'static str,
    /// The span of its key, without the quotes.
    pub(super) key: Range<usize>,
    /// The span of its value.
    pub(super) span: Range<usize>,
    /// The limit; absent: null.
    pub(super) tokens: Option<u64>,
}

/// The members of one request that limit the tokens of its answer, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct OutputCaps(pub(super) Vec<OutputCap>);

impl OutputCaps {
    /// Returns the spans of the values of the member `name`.
    pub(super) fn spans(&self, name: &str) -> impl Iterator<Item = &Range<usize>> {
        self.0.iter().filter(move |cap| cap.name == name).map(|cap| &cap.span)
    }

    /// Returns the limit that holds whichever of the members is read. If one member occurs twice, the last value
    /// counts.
    pub(super) fn smallest(&self) -> Option<u64> {
        let is_last =
            |at: usize, cap: &OutputCap| self.0.iter().skip(at + 1).all(|later| later.name != cap.name);
        let counting = self.0.iter().enumerate().filter(|(at, cap)| is_last(*at, cap));
        counting.filter_map(|(_, cap)| cap.tokens).min()
    }

    /// Whether there is a member other than `name`.
    pub(super) fn has_other(&self, name: &str) -> bool {
        self.0.iter().any(|cap| cap.name != name)
    }

    /// Returns the edits that leave one limit, in `member`. The last limit is kept, under that name, because the
    /// earlier ones can be removed together with the comma after them.
    pub(super) fn bound(&self, body: &[u8], member: &str, tokens: u64, open: usize) -> Vec<Edit> {
        let value = Bytes::from(tokens.to_string());
        let Some((kept, others)) = self.0.split_last() else {
            return vec![(open..open, Bytes::from(format!("\"{member}\":{tokens},")))];
        };
        let removed = |cap: &OutputCap| (cap.key.start - 1..next(body, cap.span.end), Bytes::new());
        let mut edits: Vec<_> = others.iter().map(removed).collect();
        if kept.name != member {
            edits.push((kept.key.clone(), Bytes::copy_from_slice(member.as_bytes())));
        }
        if body.get(kept.span.clone()) != Some(&value) {
            edits.push((kept.span.clone(), value));
        }
        edits
    }
}

/// Returns a whole number, which may be written with a fraction or an exponent, as some languages do.
pub(super) fn read_number(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.len() <= MAX_NUMBER_LEN)?;
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let number: f64 = text.parse().ok()?;
    let is_whole = text.starts_with(|first: char| first.is_ascii_digit()) && number.fract() == 0.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole and positive")]
    is_whole.then(|| number.min(MAX_TOKENS) as u64)
}

/// Returns the start of the next member, after one that ends at `end`.
fn next(body: &[u8], end: usize) -> usize {
    let mut rest = body.get(end..).unwrap_or_default().trim_ascii_start();
    if let Some(after) = rest.strip_prefix(b",") {
        rest = after.trim_ascii_start();
    }
    body.len() - rest.len()
}

/// Maximum length of a number, in bytes: longer than any whole number that programs write.
const MAX_NUMBER_LEN: usize = 32;

/// Upper limit of a number that is written as a fraction: more than any limit of tokens, and exact in an `f64`.
const MAX_TOKENS: f64 = 1e12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_however_they_are_written() {
        for (text, expected) in [
            ("8", Some(8)),
            ("8.0", Some(8)),
            ("8e0", Some(8)),
            ("1E2", Some(100)),
            ("0", Some(0)),
            ("99999999999999999999", Some(1_000_000_000_000)),
            ("1.5", None),
            ("-1", None),
            ("-0.0", None),
            ("1e999", None),
            ("1-2", None),
            ("\"8\"", None),
            ("true", None),
            ("inf", None),
            ("0.0000000000000000000000000000000000000", None),
        ] {
            assert_eq!(read_number(text.as_bytes()), expected, "{text}");
        }
    }
}
