//! Names of members, read as leniently as any server reads them.
//!
//! A name may be spelled with escapes, and some servers ignore case, including two letters beyond ASCII: they take
//! `ſ` for an `s`, and the Kelvin sign for a `k`. Code that decides about money or placement by names has to
//! recognize all spellings.

use super::scan::escaped;

/// A short name in lower case, whatever its spelling.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    bytes: [u8; MAX_NAME_LEN],
    len: usize,
    exact: bool,
}

impl Name {
    /// Reads the inside of a string literal. `None` if it is too long for a name or has other characters.
    #[must_use]
    pub fn read(inner: &[u8]) -> Option<Self> {
        let mut name = Self { bytes: [0; MAX_NAME_LEN], len: 0, exact: true };
        let mut rest = inner;
        while !rest.is_empty() {
            let (letter, exact, after) = letter(rest)?;
            *name.bytes.get_mut(name.len)? = letter;
            name.len += 1;
            name.exact &= exact;
            rest = after;
        }
        Some(name)
    }

    /// Returns the name's bytes, in lower case.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Whether this is the name `name`, which is in lower case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.as_bytes() == name.as_bytes()
    }

    /// Whether the name is spelled in lower-case ASCII, escapes aside.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.exact
    }
}

/// Whether a literal is a string that begins with `prefix`, in lower or upper case, after any white space.
#[must_use]
pub fn begins(literal: &[u8], prefix: &str) -> bool {
    let Some(mut rest) = literal.strip_prefix(b"\"").map(<[u8]>::trim_ascii_start) else { return false };
    prefix.bytes().all(|expected| match letter(rest) {
        Some((letter, _, after)) => {
            rest = after;
            letter == expected
        }
        None => false,
    })
}

/// Returns the first letter in lower case, whether it was spelled so, and the rest.
fn letter(inner: &[u8]) -> Option<(u8, bool, &[u8])> {
    let (letter, after) = match inner {
        [0xc5, 0xbf, after @ ..] => return Some((b's', false, after)),
        [0xe2, 0x84, 0xaa, after @ ..] => return Some((b'k', false, after)),
        [b'\\', ..] => match escaped(inner)? {
            (0x17f, after) => return Some((b's', false, after)),
            (0x212a, after) => return Some((b'k', false, after)),
            (unit, after) => (u8::try_from(unit).ok()?, after),
        },
        [first, after @ ..] => (*first, after),
        [] => return None,
    };
    let small = letter.to_ascii_lowercase();
    letter.is_ascii_graphic().then_some((small, small == letter, after))
}

/// Maximum length of a name, in bytes: no member that the gateway reads by name is longer.
const MAX_NAME_LEN: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_however_it_is_spelled() {
        for (spelled, exact) in [
            ("stop_tokens", true),
            (r"\u0073top_tokens", true),
            ("Stop_Tokens", false),
            (r"STOP\u005ftokens", false),
            ("\u{17f}top_to\u{212a}ens", false),
            (r"\u017ftop_to\u212Aens", false),
        ] {
            let name = Name::read(spelled.as_bytes()).unwrap();
            assert!(name.is("stop_tokens"), "{spelled}");
            assert_eq!(name.is_exact(), exact, "{spelled}");
        }
        for other in ["two words", "é", r"\ud83d\ude00", r"\x", "\u{0}", &"x".repeat(49)] {
            assert!(Name::read(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn the_beginning_of_a_text_is_read_likewise() {
        for text in [r#""https://x""#, r#"" HTTPS://x""#, r#""\u0068ttps:\/\/x""#] {
            assert!(begins(text.as_bytes(), "http"), "{text}");
        }
        for text in [r#""data:x""#, "\"htt\"", "http", "\"\""] {
            assert!(!begins(text.as_bytes(), "http"), "{text}");
        }
    }
}
