//! Secrets by reference: the configuration file contains the places of secrets, and never a secret.

use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::located::SourcePosition;
use crate::private::{self, Exposure};

/// The place of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// The environment variable of this name.
    Env(String),
    /// This file.
    File(PathBuf),
}

/// A setting that refers to a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretReference {
    /// The setting.
    pub setting: String,
    /// The place of the setting.
    pub place: SourcePosition,
    /// The place of the secret.
    pub source: SecretSource,
}

/// A file with a secret that users other than the gateway's may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// The setting that refers to it.
    pub setting: String,
    /// The place of that setting.
    pub place: SourcePosition,
    /// The file.
    pub file: PathBuf,
    /// The users who may use it.
    pub exposure: Exposure,
}

/// A secret, and the file that contains it if other users may use that file.
pub(super) type Resolved = (SecretString, Option<(PathBuf, Exposure)>);

/// Whether a text is a reference to a secret, in a setting whose value may also be given as it is.
pub(super) fn is_reference(text: &str) -> bool {
    text.starts_with("env:") || text.starts_with("file:")
}

/// Returns the place that `env:NAME` or `file:PATH` refers to. A relative path is taken from `folder`.
///
/// # Errors
/// Describes the form of a reference. A value that is no reference is not repeated: it might be a secret that somebody
/// wrote into the file.
pub(super) fn source(reference: &str, folder: &Path) -> Result<SecretSource, String> {
    match reference.split_once(':') {
        Some(("env", name)) if !name.is_empty() => Ok(SecretSource::Env(name.to_owned())),
        Some(("file", path)) if !path.is_empty() => Ok(SecretSource::File(folder.join(path))),
        _ => Err("secrets are given by reference: `env:NAME` or `file:PATH`".to_owned()),
    }
}

/// Returns the secret that `env:NAME` or `file:PATH` refers to. A relative path is taken from `folder`.
///
/// # Errors
/// Describes an error, without a word of the secret.
pub(super) fn resolve(
    reference: &str,
    folder: &Path,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Resolved, String> {
    let mut exposed = None;
    let (secret, whence) = match source(reference, folder)? {
        SecretSource::Env(name) => (
            variable(&name).ok_or_else(|| format!("the variable {name} is not set"))?,
            format!("the variable {name}"),
        ),
        SecretSource::File(file) => {
            let path = file.display().to_string();
            let (read, exposure) = private::read(&file).map_err(|e| format!("{path} cannot be read: {e}"))?;
            exposed = judged(&file, exposure)?;
            (read, path)
        }
    };
    let secret = secret.trim();
    if secret.is_empty() {
        return Err(format!("{whence} is empty"));
    }
    if !secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!("{whence} holds characters that no credential has"));
    }
    Ok((SecretString::from(secret), exposed))
}

/// Returns the file and its exposure, if other users may use it.
///
/// # Errors
/// Fails if every user may write to the file: then everybody can replace it, and it is no secret.
pub(super) fn judged(file: &Path, exposure: Exposure) -> Result<Option<(PathBuf, Exposure)>, String> {
    match exposure {
        Exposure::Writable => {
            let path = file.display();
            Err(format!(
                "every user of this machine may write {path}: replace what is in it, and chmod 600 it"
            ))
        }
        Exposure::Readable | Exposure::Group => Ok(Some((file.to_owned(), exposure))),
        Exposure::ForeignGroup | Exposure::None => Ok(None),
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, line {})", self.source, self.setting, self.place.line)
    }
}

impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = if self.exposure == Exposure::Group { "its group" } else { "every user of this machine" };
        write!(f, "{}: {who} may read {}.", self.setting, self.file.display())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn who_may_read_a_secret_is_known_and_what_everybody_may_write_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "secret-of-nobody\n").unwrap();
        let read = |mode: u32| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            resolve("file:key", folder.path(), |_| None)
        };
        for (mode, expected) in
            [(0o600, None), (0o640, Some(Exposure::Group)), (0o644, Some(Exposure::Readable))]
        {
            let (secret, exposed) = read(mode).unwrap();
            assert_eq!(secret.expose_secret(), "secret-of-nobody");
            assert_eq!(exposed.map(|(_, exposure)| exposure), expected, "{mode:o}");
        }
        let why = read(0o666).unwrap_err();
        assert!(why.contains("chmod 600") && !why.contains("secret-of-nobody"), "{why}");
    }
}
