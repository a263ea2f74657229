//! Ids and names made from other texts. The same text always gives the same one.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

/// Returns the SHA-256 of a text, in hexadecimal digits.
#[must_use]
pub(crate) fn sha256_hex(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the first eight hexadecimal digits of a text's SHA-256.
#[must_use]
pub(crate) fn short_hash(text: &str) -> String {
    sha256_hex(text).chars().take(SHORT_HASH_LEN).collect()
}

/// Letters and digits that stand for a text, at most 32 of them.
#[must_use]
pub(crate) fn base62(text: &str, length: usize) -> String {
    let letter = |byte: &u8| char::from(BASE62[usize::from(*byte) % BASE62.len()]);
    Sha256::digest(text).iter().take(length).map(letter).collect()
}

/// An id of OpenAI's form for a call whose own id is too long.
#[must_use]
pub(crate) fn hashed_call_id(id: &str) -> String {
    format!("call_{}", sha256_hex(id).get(..CALL_HASH_LEN).unwrap_or_default())
}

/// Returns a name of at most `longest` allowed characters: the name itself if it is one, and otherwise what can be kept
/// of it, and a hash.
#[must_use]
pub(crate) fn fitted(name: &str, longest: usize, allowed: fn(char) -> bool) -> Cow<'_, str> {
    if name.bytes().map(char::from).all(allowed) && name.len() <= longest && !name.is_empty() {
        return Cow::Borrowed(name);
    }
    let replaced = name.chars().map(|c| if allowed(c) { c } else { '_' });
    let kept: String = replaced.take(longest.saturating_sub(SHORT_HASH_LEN + 1)).collect();
    Cow::Owned(format!("{kept}_{}", short_hash(name)))
}

/// Number of hexadecimal digits that tell shortened names apart.
const SHORT_HASH_LEN: usize = 8;

/// Hexadecimal digits in the id of a call.
const CALL_HASH_LEN: usize = 32;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
