//! Search for the end of a string literal, with a check of its content.
//!
//! Keys and other short strings are read vector by vector. Longer ones are read in blocks of 64 bytes, of which
//! bit masks are made with one bit per byte: the quotes, the backslashes and, computed from these without a
//! branch, the escaped bytes. So text that is full of escapes costs hardly more than plain text.

use memchr::memchr2;
use wide::u8x16;

/// The position of the quote that ends the string literal with whose inside `bytes` begin.
#[must_use]
pub fn literal_end(bytes: &[u8]) -> Option<usize> {
    end(bytes, 0, |_, _| true)
}

/// Returns the position of the quote that ends the literal whose inside begins at `from`.
///
/// Returns `None` if there is none, or if `allows` refuses an escape before it. `allows` gets the bytes and the
/// position after the backslash. It is not called for `\"`, `\\` and ` `, which are always allowed and very
/// frequent.
pub(super) fn end(bytes: &[u8], from: usize, allows: impl FnMut(&[u8], usize) -> bool) -> Option<usize> {
    let (vectors, _) = bytes.get(from..)?.as_chunks();
    for (index, vector) in vectors.iter().take(NEAR).enumerate() {
        let hits = equal(vector, b'"') | equal(vector, b'\\');
        if hits != 0 {
            let hit = from + index * VECTOR + hits.trailing_zeros() as usize;
            return if bytes.get(hit) == Some(&b'"') { Some(hit) } else { end_in_blocks(bytes, hit, allows) };
        }
    }
    let at = from + vectors.len().min(NEAR) * VECTOR;
    // The last bytes of a short rest are read together with some that were read before.
    if vectors.len() < NEAR
        && let Some(last) = bytes.last_chunk()
    {
        let known = at + VECTOR - bytes.len();
        let hits = (equal(last, b'"') | equal(last, b'\\')) >> known;
        let hit = at + hits.trailing_zeros() as usize;
        return match bytes.get(hit) {
            Some(b'"') if hits != 0 => Some(hit),
            Some(_) if hits != 0 => end_in_blocks(bytes, hit, allows),
            _ => None,
        };
    }
    end_in_blocks(bytes, at, allows)
}

fn end_in_blocks(bytes: &[u8], from: usize, mut allows: impl FnMut(&[u8], usize) -> bool) -> Option<usize> {
    let (mut at, mut first_is_escaped) = (from, false);
    loop {
        let block = ByteMasks::read(bytes.get(at..).filter(|rest| !rest.is_empty())?);
        if block.is_plain() && !first_is_escaped {
            at += BLOCK;
            at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
            continue;
        }
        let (escaped, next_is_escaped) = block.escaped(first_is_escaped);
        let ends = block.quotes & !escaped;
        let inside = ends.wrapping_sub(1) & !ends;
        for place in ones(escaped & inside & !block.common()) {
            if !allows(bytes, at + place) {
                return None;
            }
        }
        if ends != 0 {
            return Some(at + ends.trailing_zeros() as usize);
        }
        (at, first_is_escaped) = (at + BLOCK, next_is_escaped);
    }
}

/// Whether JSON knows the escape whose backslash stands before `at`.
#[inline(always)]
pub(super) fn is_escape(bytes: &[u8], at: usize) -> bool {
    match bytes.get(at) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => true,
        Some(b'u') => has_digits(bytes, at + 1),
        _ => false,
    }
}

/// Whether the escape whose backslash stands before `at` can be half a character beyond the first plane. Every half begins
/// so, and hardly anything else.
#[inline(always)]
pub(super) fn may_be_surrogate(bytes: &[u8], at: usize) -> bool {
    bytes.get(at) == Some(&b'u') && matches!(bytes.get(at + 1), Some(b'd' | b'D'))
}

fn has_digits(bytes: &[u8], at: usize) -> bool {
    bytes.get(at..at + 4).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// Whether there is a character that may not stand in a literal unless it is escaped.
pub(super) fn has_control(bytes: &[u8]) -> bool {
    bytes.chunks(4 * BLOCK).any(|chunk| chunk.iter().fold(u8::MAX, |least, byte| least.min(*byte)) < b' ')
}

/// The kinds of 64 bytes, one bit for each byte.
struct ByteMasks {
    quotes: u64,
    backslashes: u64,
    ns: u64,
}

impl ByteMasks {
    /// Reads the first bytes of `rest`. Inlined, so that the masks stay in registers.
    #[inline(always)]
    fn read(rest: &[u8]) -> Self {
        rest.first_chunk().map_or_else(|| Self::of_last(rest), Self::of)
    }

    /// Reads less than 64 bytes, filled up with zeros.
    #[cold]
    fn of_last(rest: &[u8]) -> Self {
        let mut filled = [0; BLOCK];
        if let Some(beginning) = filled.get_mut(..rest.len()) {
            beginning.copy_from_slice(rest);
        }
        Self::of(&filled)
    }

    #[inline(always)]
    fn of(bytes: &[u8; BLOCK]) -> Self {
        Self { quotes: bits(bytes, b'"'), backslashes: bits(bytes, b'\\'), ns: bits(bytes, b'n') }
    }

    fn is_plain(&self) -> bool {
        self.quotes | self.backslashes == 0
    }

    /// Returns the mask of bytes that make a valid escape of most backslashes.
    fn common(&self) -> u64 {
        self.quotes | self.backslashes | self.ns
    }

    /// Returns the mask of escaped bytes, given whether the first byte is escaped, and whether the byte after the
    /// block is.
    ///
    /// In a run of backslashes every second one is escaped, and the byte after a run of odd length is. Adding the
    /// starts of the runs that begin at an odd position carries through each of them to its end, which shows the
    /// positions at which even and odd change their roles.
    fn escaped(&self, first: bool) -> (u64, bool) {
        let backslashes = self.backslashes & !u64::from(first);
        let follows = backslashes << 1 | u64::from(first);
        let odd_starts = backslashes & !EVEN & !follows;
        let (carried, next_is_escaped) = odd_starts.overflowing_add(backslashes);
        ((EVEN ^ carried << 1) & follows, next_is_escaped)
    }
}

/// Returns the mask of bytes that are equal to `wanted`, with the first byte in the lowest bit.
fn bits(bytes: &[u8; BLOCK], wanted: u8) -> u64 {
    let (vectors, _) = bytes.as_chunks();
    vectors.iter().rev().fold(0, |bits, vector| bits << VECTOR | u64::from(equal(vector, wanted)))
}

#[inline(always)]
fn equal(vector: &[u8; VECTOR], wanted: u8) -> u32 {
    u8x16::new(*vector).simd_eq(u8x16::splat(wanted)).to_bitmask()
}

/// Returns the positions of the bits that are set.
fn ones(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = bits.trailing_zeros() as usize;
        bits &= bits.checked_sub(1)?;
        Some(place)
    })
}

/// Bytes of one block: one for each bit of a `u64`.
const BLOCK: usize = 64;

/// Bytes of one vector: 128 bits, which every 64-bit processor has.
const VECTOR: usize = 16;

/// Vectors that are read before the first block: most literals end within 64 bytes.
const NEAR: usize = 4;

/// Mask of the even positions of a block.
const EVEN: u64 = u64::MAX / 3;

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference implementation, byte by byte.
    fn plain_end(bytes: &[u8], from: usize, allows: impl Fn(&[u8], usize) -> bool) -> Option<usize> {
        let mut at = from;
        loop {
            match bytes.get(at)? {
                b'"' => return Some(at),
                b'\\' if !allows(bytes, at + 1) => return None,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
    }

    #[test]
    fn literals_end_where_they_end_byte_by_byte() {
        let crowds = ["\"", "\\\"", "\\\\\"", "\\n\\\"\\\\", "\\u00e9\"", "\\", "\\x\"", "\\\\\\\\\\"];
        for before in (0..200).chain([1000]) {
            for crowd in crowds {
                for after in ["", "\"", "\\\"x\"", "é!#[]\u{80}xxxxxxxx\"\\"] {
                    let text = format!("{}{}{after}", "#".repeat(before), crowd.repeat(1 + before % 40));
                    let bytes = text.as_bytes();
                    assert_eq!(end(bytes, 0, |_, _| true), plain_end(bytes, 0, |_, _| true), "{text}");
                    assert_eq!(end(bytes, 0, is_escape), plain_end(bytes, 0, is_escape), "{text}");
                }
            }
        }
        assert_eq!(end(b"x", 1, |_, _| true), None);
        assert_eq!(end(b"x", 2, |_, _| true), None);
    }

    #[test]
    fn control_characters_are_seen_anywhere() {
        for length in 1..600 {
            let mut bytes = "é".repeat(length).into_bytes();
            assert!(!has_control(&bytes));
            bytes.truncate(length);
            bytes[length - 1] = 0x1f;
            assert!(has_control(&bytes));
        }
    }
}
