//! The secret that all gateways of a store share, and the keys that are derived from it.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Random bytes that only the gateways of a store know. Each purpose gets a key of its own, derived from them.
#[derive(Clone)]
pub struct SharedSecret([u8; 32]);

/// A key that turns texts into names. The same text always gets the same name, and nobody can find out the text
/// from it.
#[derive(Clone)]
pub struct NameKey([u8; 32]);

impl SharedSecret {
    /// Makes the secret from its bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Derives the key for one purpose.
    #[must_use]
    pub fn key(&self, purpose: &str) -> [u8; 32] {
        code(&self.0, &[purpose.as_bytes()])
    }

    /// Derives the key that makes names for one purpose.
    #[must_use]
    pub fn names(&self, purpose: &str) -> NameKey {
        NameKey(self.key(purpose))
    }
}

impl NameKey {
    /// Returns the name of these parts together.
    #[must_use]
    pub fn name(&self, parts: &[&[u8]]) -> [u8; 32] {
        code(&self.0, parts)
    }
}

/// Returns the authentication code (HMAC-SHA-256) over some parts. Different divisions into parts have different
/// codes.
fn code(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC fills up a key that is shorter than the hash's block with zeros.
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    let mut code = Hmac::<Sha256>::new(&block);
    for part in parts {
        code.update(&(part.len() as u64).to_be_bytes());
        code.update(part);
    }
    code.finalize().into_bytes().into()
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(…)")
    }
}

impl fmt::Debug for NameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NameKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_by_secret_purpose_and_parts_alone() {
        let name = |secret: u8, purpose: &str, parts: &[&[u8]]| {
            SharedSecret::new([secret; 32]).names(purpose).name(parts)
        };
        let one = name(1, "p", &[b"a", b"bc"]);
        assert_eq!(one, name(1, "p", &[b"a", b"bc"]));
        for other in
            [name(2, "p", &[b"a", b"bc"]), name(1, "q", &[b"a", b"bc"]), name(1, "p", &[b"ab", b"c"])]
        {
            assert_ne!(one, other);
        }
        let shown = format!("{:?} {:?}", SharedSecret::new([7; 32]), SharedSecret::new([7; 32]).names("p"));
        assert_eq!(shown, "SharedSecret(…) NameKey(…)");
    }
}
