//! Where a string literal ends, and whether what it holds is allowed there.
//!
//! Keys and other short strings are read word by word. Longer ones are read in blocks of 64 bytes, each of which
//! becomes one bit per byte: which are quotes, which are backslashes, and from these, without a branch, which are
//! escaped. Text that is full of escapes so costs hardly more than plain text.

use memchr::memchr2;

/// Where the quote stands that ends the literal whose inside begins at `from`. `None` if there is none, or if
/// `allows` refuses an escape before it: it gets the bytes and the place behind the backslash.
pub(super) fn end(bytes: &[u8], from: usize, allows: impl FnMut(&[u8], usize) -> bool) -> Option<usize> {
    let (words, _) = bytes.get(from..)?.as_chunks::<8>();
    for (index, word) in words.iter().take(NEAR).enumerate() {
        let word = u64::from_le_bytes(*word);
        let hits = zero_bytes(word ^ QUOTES) | zero_bytes(word ^ BACKSLASHES);
        if hits != 0 {
            let hit = from + index * 8 + hits.trailing_zeros() as usize / 8;
            return if bytes.get(hit) == Some(&b'"') { Some(hit) } else { end_in_blocks(bytes, hit, allows) };
        }
    }
    end_in_blocks(bytes, from + words.len().min(NEAR) * 8, allows)
}

fn end_in_blocks(bytes: &[u8], from: usize, mut allows: impl FnMut(&[u8], usize) -> bool) -> Option<usize> {
    let mut at = from;
    loop {
        let block = Block::read(bytes.get(at..).filter(|rest| !rest.is_empty())?);
        if block.is_plain() {
            at += BLOCK;
            at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
            continue;
        }
        let (escaped, next_is_escaped) = block.escaped();
        let ends = block.quotes & !escaped;
        let inside = ends.wrapping_sub(1) & !ends;
        for place in ones(escaped & inside) {
            if !allows(bytes, at + place) {
                return None;
            }
        }
        if ends != 0 {
            return Some(at + ends.trailing_zeros() as usize);
        }
        // A block never begins behind the backslash of an escape.
        at += BLOCK - usize::from(next_is_escaped);
    }
}

/// Does JSON know the escape whose backslash stands before `at`?
#[inline(always)]
pub(super) fn is_escape(bytes: &[u8], at: usize) -> bool {
    match bytes.get(at) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => true,
        Some(b'u') => has_digits(bytes, at + 1),
        _ => false,
    }
}

fn has_digits(bytes: &[u8], at: usize) -> bool {
    bytes.get(at..at + 4).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// Is there a character that may not stand in a literal unless it is escaped?
pub(super) fn has_control(bytes: &[u8]) -> bool {
    bytes.chunks(4 * BLOCK).any(|chunk| chunk.iter().fold(u8::MAX, |least, byte| least.min(*byte)) < b' ')
}

/// What 64 bytes hold, one bit for each byte.
struct Block {
    quotes: u64,
    backslashes: u64,
}

impl Block {
    /// The first bytes of `rest`; where there are less than 64 they are followed by nothing of interest.
    fn read(rest: &[u8]) -> Self {
        match rest.first_chunk() {
            Some(bytes) => Self::of(bytes),
            None => {
                let mut filled = [0; BLOCK];
                filled.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                Self::of(&filled)
            }
        }
    }

    fn of(bytes: &[u8; BLOCK]) -> Self {
        Self { quotes: bits(bytes, b'"'), backslashes: bits(bytes, b'\\') }
    }

    fn is_plain(&self) -> bool {
        self.quotes | self.backslashes == 0
    }

    /// Which bytes are escaped, if the first is not, and whether the one behind the block is.
    ///
    /// In a row of backslashes every second one is escaped, and what follows a row of odd length is. Adding the
    /// starts of those rows that begin at an odd place carries through each of them to its end, which shows where
    /// even and odd change their roles.
    fn escaped(&self) -> (u64, bool) {
        let follows = self.backslashes << 1;
        let odd_starts = self.backslashes & !EVEN & !follows;
        let (carried, next_is_escaped) = odd_starts.overflowing_add(self.backslashes);
        ((EVEN ^ carried << 1) & follows, next_is_escaped)
    }
}

/// Which bytes are `wanted`, the first of them in the lowest bit.
fn bits(bytes: &[u8; BLOCK], wanted: u8) -> u64 {
    let mut found = [0; BLOCK];
    for (found, byte) in found.iter_mut().zip(bytes) {
        *found = u8::from(*byte == wanted);
    }
    let (words, _) = found.as_chunks::<8>();
    // The product moves the lowest bit of each of the eight bytes to its place in the highest byte.
    let gather = |word: &[u8; 8]| u64::from_le_bytes(*word).wrapping_mul(GATHER) >> 56;
    words.iter().enumerate().fold(0, |bits, (index, word)| bits | gather(word) << (8 * index))
}

/// The places of the bits that are set.
fn ones(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = bits.trailing_zeros() as usize;
        bits &= bits.checked_sub(1)?;
        Some(place)
    })
}

/// The highest bit of each byte that is zero; bits above the lowest one may be wrong.
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHEST
}

/// Bytes that are looked at together.
const BLOCK: usize = 64;

/// Words of eight bytes that are read before the first block: most literals end there.
const NEAR: usize = 8;

const ONES: u64 = u64::MAX / 255;

const HIGHEST: u64 = ONES << 7;

const QUOTES: u64 = ONES * b'"' as u64;

const BACKSLASHES: u64 = ONES * b'\\' as u64;

/// The even places of a block.
const EVEN: u64 = u64::MAX / 3;

const GATHER: u64 = 0x0102_0408_1020_4080;

#[cfg(test)]
mod tests {
    use super::*;

    /// The same, byte by byte.
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
