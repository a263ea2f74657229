//! The secret of a key: `cm-` and 40 characters.

use std::fmt;

use rand::Rng as _;
use rand::distr::Alphanumeric;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// A secret, as its owner holds it.
pub struct Secret(String);

/// SHA-256 of a secret, which is all that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Secret {
    /// A new secret from the system's random numbers.
    #[must_use]
    pub fn generate() -> Self {
        Self(format!("{PREFIX}{}", random(LENGTH)))
    }

    /// The secret itself: to be shown once and sent as a credential.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(cm-…)")
    }
}

impl Digest {
    /// The digest of a credential, if it has the form of a secret.
    #[must_use]
    pub fn of(credential: &str) -> Option<Self> {
        let rest = credential.strip_prefix(PREFIX)?;
        let formed = rest.len() == LENGTH && rest.bytes().all(|b| b.is_ascii_alphanumeric());
        formed.then(|| Self(Sha256::digest(credential.as_bytes()).into()))
    }

    /// Equality that takes the same time wherever the difference is.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// The token that operators show instead of a key, kept as its digest alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Digest);

impl Token {
    /// The token that is `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Digest(Sha256::digest(text.as_bytes()).into()))
    }

    /// Whether `shown` is the token. Takes the same time wherever the difference is.
    #[must_use]
    pub fn matches(&self, shown: &str) -> bool {
        self.0.same(&Self::new(shown).0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Random letters and digits: about 5.95 bits each.
pub(crate) fn random(length: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(length).map(char::from).collect()
}

/// A new public id that begins with `prefix`.
#[must_use]
pub fn random_id(prefix: &str) -> String {
    format!("{prefix}{}", random(ID_LENGTH))
}

const PREFIX: &str = "cm-";

/// Characters after the prefix: 238 bits.
const LENGTH: usize = 40;

/// Characters of a public id after its prefix: 95 bits.
const ID_LENGTH: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_secrets_have_a_digest() {
        let secret = Secret::generate();
        let digest = Digest::of(secret.expose()).unwrap();
        assert!(digest.same(&Digest::of(secret.expose()).unwrap()));
        assert!(!digest.same(&Digest::of(Secret::generate().expose()).unwrap()));
        assert!(!format!("{secret:?}").contains(secret.expose()));
        for bad in [
            "",
            "cm-",
            "cm-short",
            "sk-0123456789012345678901234567890123456789",
            &format!("{}x", secret.expose()),
            "cm-012345678901234567890123456789012345678'",
        ] {
            assert!(Digest::of(bad).is_none(), "{bad}");
        }
    }
}
