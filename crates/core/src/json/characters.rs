//! Characters in the inside of a string literal, however they are spelled.

/// Counts the characters of a text, which is given as the inside of a literal.
#[must_use]
pub(crate) fn count(inner: &[u8]) -> u64 {
    let mut rest = inner;
    let mut count = 0;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(at);
        count += unescaped(plain);
        // A low surrogate is not a character of its own.
        count += usize::from(!is_second_half(escape, 0));
        let length = if escape.get(1) == Some(&b'u') { 6 } else { 2 };
        rest = escape.get(length..).unwrap_or_default();
    }
    (count + unescaped(rest)) as u64
}

/// Counts the bytes with which a character begins.
fn unescaped(utf8: &[u8]) -> usize {
    utf8.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

/// Whether the escape at `at` holds the second half of a character, which belongs to the escape before it.
pub(super) fn is_second_half(bytes: &[u8], at: usize) -> bool {
    bytes.get(at..).is_some_and(|rest| {
        rest.len() > 4
            && rest.starts_with(b"\\u")
            && matches!(rest.get(2..4), Some([b'd' | b'D', b'c'..=b'f' | b'C'..=b'F']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::JsonStr;

    #[test]
    fn characters_are_counted_however_spelled() {
        for (inner, characters) in
            [("", 0), ("aé😀", 3), (r"a\n\u00e9\ud83d\ude00\\u", 6), (r"\ud83d\ude00\u00e9x", 3)]
        {
            assert_eq!(count(inner.as_bytes()), characters, "{inner}");
        }
        for text in ["", "abc", "é😀", "a\n\"\\", "\u{1}x"] {
            assert_eq!(count(JsonStr::of(text).raw().as_bytes()), text.chars().count() as u64);
        }
    }
}
