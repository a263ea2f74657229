//! The credentials of a provider.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

/// One of several credentials of a provider in the configuration file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(from = "CredentialForm")]
#[schemars(with = "CredentialForm")]
pub struct CredentialSettings {
    /// A reference to the credential.
    pub key: String,
    /// The name; absent: its place in the list.
    pub name: Option<String>,
    /// Its share of the calls; absent: 1.
    pub weight: Option<u32>,
}

/// The forms in which a credential may be written: the reference alone, or a map.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum CredentialForm {
    /// `env:NAME` or `file:PATH`.
    Reference(String),
    Map(CredentialMap),
}

/// A credential with a name or a weight.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CredentialMap {
    /// A reference to the credential: `env:NAME` or `file:PATH`.
    key: String,
    /// The name under which the log, the metrics and the admin API show it: at most 64 letters, digits, `-`, `_` and
    /// `.`. Default: its place in the list, from 1.
    name: Option<String>,
    /// Its share of the calls. Default: 1.
    weight: Option<u32>,
}

/// A credential of a provider.
#[derive(Clone)]
pub struct Credential {
    /// The name, which is shown in its place.
    pub name: Arc<str>,
    /// Its share of the calls.
    pub weight: u32,
    /// The credential itself.
    pub key: SecretString,
}

impl From<CredentialForm> for CredentialSettings {
    fn from(form: CredentialForm) -> Self {
        match form {
            CredentialForm::Reference(key) => Self { key, name: None, weight: None },
            CredentialForm::Map(CredentialMap { key, name, weight }) => Self { key, name, weight },
        }
    }
}

impl Credential {
    /// Makes the only credential of a provider. It needs no name.
    #[must_use]
    pub fn only(key: SecretString) -> Self {
        Self { name: "".into(), weight: 1, key }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Checks the names and the weights of several credentials.
///
/// # Errors
/// Fails with the place in the list of the credential that is wrong, and the reason.
pub fn check_credentials(names: &[(Arc<str>, u32)]) -> Result<(), (usize, String)> {
    if names.len() > MAX_CREDENTIALS {
        return Err((MAX_CREDENTIALS, format!("a provider has at most {MAX_CREDENTIALS} credentials")));
    }
    for (place, (name, weight)) in names.iter().enumerate() {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > MAX_NAME_LEN || !name.chars().all(is_plain) {
            let form = format!("write 1 to {MAX_NAME_LEN} letters, digits, `-`, `_` and `.`");
            return Err((place, format!("'{name}' is no name for a credential: {form}")));
        }
        if names.iter().take(place).any(|(other, _)| other == name) {
            return Err((place, format!("the name '{name}' is taken")));
        }
        if *weight == 0 {
            return Err((place, "a weight of 0 would never be chosen: leave the credential out".to_owned()));
        }
    }
    Ok(())
}

/// The most credentials of one provider. A chosen value: a call that is refused by one of them looks at all others.
const MAX_CREDENTIALS: usize = 32;

/// The longest name of a credential, in bytes.
const MAX_NAME_LEN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_differ_and_weights_are_not_zero() {
        let check = |names: &[(&str, u32)]| {
            let names: Vec<_> = names.iter().map(|(name, weight)| (Arc::from(*name), *weight)).collect();
            check_credentials(&names).map_err(|(place, _)| place)
        };
        assert_eq!(check(&[("1", 1), ("eu-2.b_c", 7)]), Ok(()));
        assert_eq!(check(&[("a", 1), ("b", 1), ("a", 1)]), Err(2));
        assert_eq!(check(&[("a", 1), ("b", 0)]), Err(1));
        for wrong in ["", "a b", "ä", "a\"", &"x".repeat(MAX_NAME_LEN + 1)] {
            assert_eq!(check(&[(wrong, 1)]), Err(0), "{wrong}");
        }
        let many: Vec<_> = (0..=MAX_CREDENTIALS).map(|n| (Arc::from(n.to_string()), 1)).collect();
        assert_eq!(check_credentials(&many).unwrap_err().0, MAX_CREDENTIALS);
    }

    #[test]
    fn a_credential_is_never_shown() {
        let credential = Credential { name: "b".into(), ..Credential::only("secret".to_owned().into()) };
        assert_eq!(format!("{credential:?}"), "Credential { name: \"b\", .. }");
    }
}
