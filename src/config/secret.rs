//! Secrets by reference: the file says where they are, never what they are.

use secrecy::SecretString;

/// The secret that `env:NAME` or `file:PATH` refers to.
///
/// # Errors
/// What is wrong, without a word of the secret. A value that is no reference is not repeated: it might
/// be a secret that somebody wrote into the file.
pub(super) fn resolve(
    reference: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<SecretString, String> {
    let (secret, whence) = match reference.split_once(':') {
        Some(("env", name)) => (
            variable(name).ok_or_else(|| format!("the variable {name} is not set"))?,
            format!("the variable {name}"),
        ),
        Some(("file", path)) => {
            let read = std::fs::read_to_string(path).map_err(|e| format!("{path} can not be read: {e}"))?;
            (read, path.to_owned())
        }
        _ => return Err("secrets are given by reference: `env:NAME` or `file:PATH`".to_owned()),
    };
    let secret = secret.trim();
    if secret.is_empty() {
        return Err(format!("{whence} is empty"));
    }
    if !secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!("{whence} holds characters that no credential has"));
    }
    Ok(SecretString::from(secret))
}
