//! Text as JSON carries it: the inside of a string literal, escapes included.
//!
//! All three protocols carry text as JSON strings, so text that is only passed on is never unescaped. A
//! [`JsonStr`] is always valid between two quotes; two of them written one after the other are valid, too.

use std::borrow::Cow;
use std::fmt;

use super::characters::is_second_half;
use super::literal;

/// The inside of a JSON string literal.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct JsonStr<'a>(Cow<'a, str>);

impl<'a> JsonStr<'a> {
    /// The empty line between two paragraphs.
    pub const PARAGRAPH: JsonStr<'static> = JsonStr::plain("\\n\\n");

    /// Returns the inside of a literal that is given with its quotes. `None` if it is not a string literal or has
    /// invalid escapes or characters.
    #[must_use]
    pub fn read(literal: &'a str) -> Option<Self> {
        let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
        is_valid(inner).then_some(Self(Cow::Borrowed(inner)))
    }

    /// Reads a value that is known to be valid, as [`JsonStr::read`] does.
    pub(super) fn read_valid(value: &'a str) -> Option<Self> {
        value.strip_prefix('"')?.strip_suffix('"').map(Self::part)
    }

    /// Wraps a text that needs no escapes.
    #[must_use]
    pub const fn plain(text: &'static str) -> JsonStr<'static> {
        JsonStr(Cow::Borrowed(text))
    }

    /// Escapes any text.
    #[must_use]
    pub fn of(text: &str) -> JsonStr<'static> {
        let mut out = Vec::with_capacity(text.len());
        super::escape::escape(text, &mut out);
        JsonStr::from_vec(out)
    }

    /// Joins several literals.
    #[must_use]
    pub fn concat(parts: &[&JsonStr<'_>]) -> JsonStr<'static> {
        JsonStr(Cow::Owned(parts.iter().map(|part| part.raw()).collect()))
    }

    /// Wraps text that was put together from the insides of other literals.
    pub(crate) fn part(inner: &'a str) -> Self {
        Self(Cow::Borrowed(inner))
    }

    /// Wraps text that this crate's own writer has written, which is always valid.
    pub(super) fn from_vec(inner: Vec<u8>) -> JsonStr<'static> {
        JsonStr(Cow::Owned(String::from_utf8(inner).unwrap_or_default()))
    }

    /// Returns the bytes between the quotes.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.0
    }

    /// Whether there is no character at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is nothing but white space.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        let mut rest = self.raw().trim_start();
        while let Some(after) = ["\\n", "\\t", "\\r", "\\u0020"].iter().find_map(|e| rest.strip_prefix(e)) {
            rest = after.trim_start();
        }
        rest.is_empty()
    }

    /// Returns the unescaped text.
    #[must_use]
    pub fn decode(&self) -> Cow<'_, str> {
        match memchr::memchr(b'\\', self.0.as_bytes()) {
            None => Cow::Borrowed(&self.0),
            Some(_) => Cow::Owned(self.unescaped()),
        }
    }

    /// Returns the unescaped text, borrowed from the document if it has no escapes.
    #[must_use]
    pub fn into_text(self) -> Cow<'a, str> {
        match memchr::memchr(b'\\', self.0.as_bytes()) {
            None => self.0,
            Some(_) => Cow::Owned(self.unescaped()),
        }
    }

    /// Returns the same text without a borrow from its document.
    #[must_use]
    pub fn into_owned(self) -> JsonStr<'static> {
        JsonStr(Cow::Owned(self.0.into_owned()))
    }

    /// Returns the same text, borrowed.
    #[must_use]
    pub fn borrow(&self) -> JsonStr<'_> {
        JsonStr(Cow::Borrowed(&self.0))
    }

    /// Returns a part of the text; `None` if that would cut an escape or a character.
    #[must_use]
    pub fn slice(&self, span: std::ops::Range<usize>) -> Option<JsonStr<'_>> {
        let part = self.0.get(span)?;
        is_valid(part).then_some(JsonStr(Cow::Borrowed(part)))
    }

    /// Returns the text in pieces of at most `most` bytes, which cut no character and no escape. A piece is longer
    /// only if a single character needs it.
    pub fn pieces(&self, most: usize) -> impl Iterator<Item = JsonStr<'_>> {
        let mut rest = self.raw();
        std::iter::from_fn(move || {
            let end = piece_end(rest, most);
            let (piece, after) = rest.split_at_checked(end).filter(|(piece, _)| !piece.is_empty())?;
            rest = after;
            Some(JsonStr(Cow::Borrowed(piece)))
        })
    }

    fn unescaped(&self) -> String {
        let literal = format!("\"{}\"", self.0);
        // Valid escapes were checked when the value was made; what can still fail is a lone surrogate.
        serde_json::from_str(&literal).unwrap_or_else(|_| super::repair::lossy_text(&self.0))
    }
}

impl fmt::Debug for JsonStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JsonStr({} bytes)", self.0.len())
    }
}

/// Returns the position at which the first piece of a text ends.
fn piece_end(text: &str, most: usize) -> usize {
    if text.len() <= most {
        return text.len();
    }
    let mut end = 0;
    let mut at = 0;
    let bytes = text.as_bytes();
    while at <= most {
        if !is_second_half(bytes, at) {
            end = at;
        }
        at += match bytes.get(at) {
            Some(b'\\') if bytes.get(at + 1) == Some(&b'u') => 6,
            Some(b'\\') => 2,
            Some(_) => text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8),
            None => break,
        };
    }
    // A piece of one escape is better than none, even if it is longer than asked for.
    match (end, is_second_half(bytes, at)) {
        (0, true) => (at + 6).min(text.len()),
        (0, false) => at.min(text.len()),
        (end, _) => end,
    }
}

/// Whether all characters and escapes are allowed inside a string literal.
fn is_valid(inner: &str) -> bool {
    let mut valid = !literal::has_control(inner.as_bytes());
    let end = literal::end(inner.as_bytes(), 0, |bytes, at| {
        valid &= literal::is_escape(bytes, at);
        valid
    });
    valid && end.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_literals_are_read() {
        for good in [r#""""#, r#""a b""#, r#""\n\u00e9\"\\""#, "\"é😀\""] {
            assert!(JsonStr::read(good).is_some(), "{good}");
        }
        for bad in ["", "\"", "x", "\"a", r#""\x""#, r#""\u12""#, "\"\n\"", r#""\""#, r#""a"b""#] {
            assert!(JsonStr::read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn decodes_and_encodes() {
        let lit = JsonStr::read(r#""a\n\ud83d\ude00\"""#).unwrap();
        assert_eq!(lit.decode(), "a\n😀\"");
        assert_eq!(JsonStr::of("a\n\"\\").raw(), r#"a\n\"\\"#);
        assert_eq!(JsonStr::read(r#""\ud83d""#).unwrap().decode(), "\u{fffd}");
    }

    #[test]
    fn knows_white_space_however_spelled() {
        for blank in ["", " ", r" \n\t\r ", r"\u0020"] {
            assert!(JsonStr::read(&format!("\"{blank}\"")).unwrap().is_blank(), "{blank}");
        }
        assert!(!JsonStr::plain(" x").is_blank() && !JsonStr::read(r#""\\n""#).unwrap().is_blank());
    }

    #[test]
    fn pieces_never_cut_a_character() {
        let lit = JsonStr::read(r#""ab\n\ud83d\ude00é😀z""#).unwrap();
        for most in 1..30 {
            let pieces: Vec<_> = lit.pieces(most).map(|piece| piece.decode().into_owned()).collect();
            assert_eq!(pieces.concat(), lit.decode(), "{most}");
            assert!(pieces.iter().all(|piece| !piece.contains('\u{fffd}')), "{most}: {pieces:?}");
        }
        assert_eq!(lit.pieces(4096).count(), 1);
        assert_eq!(JsonStr::plain("").pieces(4).count(), 0);
    }

    #[test]
    fn never_shows_its_text_in_debug_output() {
        assert_eq!(format!("{:?}", JsonStr::plain("secret")), "JsonStr(6 bytes)");
    }
}
