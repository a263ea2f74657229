//! The secret of a key: `cm-` and 40 characters.

use std::fmt;

use rand::Rng as _;
use rand::distr::Alphanumeric;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// The secret of a key.
pub struct Secret(String);

/// The SHA-256 digest of a secret. Only digests are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Secret {
    /// Makes a new secret from the system's random numbers.
    #[must_use]
    pub fn generate() -> Self {
        Self(format!("{PREFIX}{}", random(LENGTH)))
    }

    /// Returns the secret of this text, if it has the form of one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Digest::of(text).map(|_| Self(text.to_owned()))
    }

    /// Makes a new secret of an operator.
    #[must_use]
    pub fn for_operator() -> Self {
        Self(format!("{OPERATOR_PREFIX}{}", random(LENGTH)))
    }

    /// Returns the digest under which the secret is stored.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest(Sha256::digest(self.0.as_bytes()).into())
    }

    /// Returns the last four characters, by which people tell secrets apart.
    #[must_use]
    pub fn hint(&self) -> &str {
        self.0.get(self.0.len().saturating_sub(HINT_LENGTH)..).unwrap_or_default()
    }

    /// Returns the secret itself, to be shown once or sent as a credential.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Digest {
    /// Returns the digest of a credential, if it has the form of a secret.
    #[must_use]
    pub fn of(credential: &str) -> Option<Self> {
        let rest = credential.strip_prefix(PREFIX)?;
        let formed = rest.len() == LENGTH && rest.bytes().all(|b| b.is_ascii_alphanumeric());
        formed.then(|| Self(Sha256::digest(credential.as_bytes()).into()))
    }

    /// Returns the digest of an operator's credential, if it has the form of a stored one.
    #[must_use]
    pub fn of_operator(credential: &str) -> Option<Self> {
        let rest = credential.strip_prefix(OPERATOR_PREFIX)?;
        let formed = rest.len() == LENGTH && rest.bytes().all(|b| b.is_ascii_alphanumeric());
        formed.then(|| Self(Sha256::digest(credential.as_bytes()).into()))
    }

    /// Parses the hexadecimal form.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = *pair else { return None };
            let digit = |digit: u8| char::from(digit).to_digit(16);
            *byte = u8::try_from(digit(high)? * 16 + digit(low)?).ok()?;
        }
        Some(Self(bytes))
    }

    /// Returns the hexadecimal form.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether the digests are equal. The comparison takes the same time wherever they differ.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// Returns the last four characters of a credential, if it has the form of a secret. They name a key to those who
/// know it, and to nobody else.
#[must_use]
pub fn key_hint(credential: &str) -> Option<String> {
    Digest::of(credential)?;
    credential.get(credential.len().checked_sub(HINT_CHARS)?..).map(str::to_owned)
}

/// Whether a text contains something that has the form of a secret, or of the beginning of one.
#[must_use]
pub fn contains_secret(text: &str) -> bool {
    let is_one = |(at, _): (usize, &str)| {
        let rest = text.get(at + PREFIX.len()..).unwrap_or_default();
        rest.bytes().take_while(u8::is_ascii_alphanumeric).count() >= PART_OF_SECRET
    };
    text.match_indices(PREFIX).any(is_one)
}

/// The token that operators show instead of a key. Only its digest is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Digest);

impl Token {
    /// Makes the token from its text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Digest(Sha256::digest(text.as_bytes()).into()))
    }

    /// Makes the token from the digest of its text.
    #[must_use]
    pub fn from_digest(digest: Digest) -> Self {
        Self(digest)
    }

    /// Returns the digest of its text.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0
    }

    /// Whether `shown` is the token. The comparison takes the same time wherever they differ.
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

/// Returns random letters and digits, each of which has about 5.95 bits.
pub(crate) fn random(length: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(length).map(char::from).collect()
}

/// Returns a new public id that begins with `prefix`.
#[must_use]
pub fn random_id(prefix: &str) -> String {
    format!("{prefix}{}", random(ID_LENGTH))
}

const PREFIX: &str = "cm-";

/// The prefix of operators' credentials.
const OPERATOR_PREFIX: &str = "cma-";

/// The characters of a secret that people may see.
const HINT_LENGTH: usize = 4;

/// The characters of a secret after its prefix: 238 bits.
const LENGTH: usize = 40;

/// The characters of a public id after its prefix: 95 bits.
const ID_LENGTH: usize = 16;

/// The characters behind the prefix from which on a text is taken for a secret.
const PART_OF_SECRET: usize = 16;

/// The characters of a secret that may be shown.
const HINT_CHARS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_secrets_have_a_digest() {
        let secret = Secret::generate();
        let digest = Digest::of(secret.expose()).unwrap();
        assert!(digest.same(&Digest::of(secret.expose()).unwrap()));
        assert!(!digest.same(&Digest::of(Secret::generate().expose()).unwrap()));
        assert!(digest.same(&secret.digest()) && secret.expose().ends_with(secret.hint()));
        let operator = Secret::for_operator();
        assert!(Digest::of(operator.expose()).is_none(), "an operator's credential is no key");
        assert!(Digest::of_operator(operator.expose()).unwrap().same(&operator.digest()));
        assert!(Digest::of_operator(secret.expose()).is_none());
        assert_eq!(Digest::from_hex(&digest.to_hex()), Some(digest));
        assert_eq!((Digest::from_hex("00"), Digest::from_hex(&"x".repeat(64))), (None, None));
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

    #[test]
    fn a_hint_is_four_characters_of_a_secret_and_of_nothing_else() {
        let secret = Secret::generate();
        let hint = key_hint(secret.expose()).unwrap();
        assert!(hint.len() == 4 && secret.expose().ends_with(&hint));
        assert_eq!(key_hint("sk-0123456789"), None);
        assert!(contains_secret(&format!("/v1/{}/x", secret.expose())));
        assert!(!contains_secret("/v1/cm-mesages"));
    }
}
