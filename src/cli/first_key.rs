//! The first key of a store.

use std::env;
use std::io::{IsTerminal as _, stderr};
use std::path::Path;

use crossmodel::admin::{Actor, Operations};
use crossmodel::auth::Secret;

use super::failure::CommandError;

/// The state of a store's keys when the gateway starts.
pub(super) enum FirstKey {
    /// The store has this many keys.
    Present(i64),
    /// A key was made, and is to be shown once.
    Made(String),
    /// A key was made of the secret in the environment.
    Given,
    /// There is no key, and nobody to whom one could be shown.
    Absent,
}

/// Returns the secret of the first key that the environment contains: the secret itself, or `file:PATH`.
///
/// # Errors
/// Fails if the value is no secret. It is not repeated.
pub(super) fn given() -> Result<Option<Secret>, CommandError> {
    let Some(value) = env::var_os(VARIABLE).filter(|value| !value.is_empty()) else { return Ok(None) };
    let value = value.to_string_lossy();
    let text = match value.strip_prefix("file:") {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| CommandError::Usage(format!("{VARIABLE}: {path} cannot be read: {error}")))?,
        None => value.clone().into_owned(),
    };
    let wrong = || {
        CommandError::Usage(format!(
            "{VARIABLE} is no key: write `cm-` and 40 letters and digits, or `file:PATH` of a file with such a key"
        ))
    };
    Secret::parse(text.trim()).map(Some).ok_or_else(wrong)
}

/// Ensures that the store has a key: makes one of the `given` secret, or one that can be shown on the terminal.
///
/// # Errors
/// Fails if the store cannot be read or written.
pub(super) fn ensure(folder: &Path, given: Option<Secret>) -> Result<FirstKey, CommandError> {
    let (mut operations, actor) = (Operations::open(folder)?, Actor::command_line());
    let keys = operations.count_keys()?;
    if keys > 0 {
        if given.is_some() {
            log::info!("{VARIABLE} is ignored: the store has keys");
        }
        return Ok(FirstKey::Present(keys));
    }
    // What is written anywhere else than on a terminal is kept there, and read by others.
    let is_given = given.is_some();
    let secret = given.or_else(|| stderr().is_terminal().then(Secret::generate));
    let Some(secret) = secret else { return Ok(FirstKey::Absent) };
    let Some(key) = operations.create_first_key(&actor, secret)? else { return Ok(FirstKey::Present(1)) };
    match key.secret {
        Some(secret) if !is_given => Ok(FirstKey::Made(secret)),
        _ => Ok(FirstKey::Given),
    }
}

/// The variable with the secret of the first key.
pub(super) const VARIABLE: &str = "CROSSMODEL_FIRST_KEY";
