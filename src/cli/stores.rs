//! `crossmodel store`.

use std::io::Write;
use std::path::Path;

use clap::Subcommand;
use serde::Serialize;

use crossmodel::auth::{Store, StoreError};
use crossmodel::store;

use super::failure::CommandError;
use super::table::{OutputFormat, print};

#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Makes a store without a key in the data folder.
    #[command(after_help = "Examples:\n  crossmodel store create --data /var/lib/crossmodel")]
    Create(OutputFormat),
}

/// A store that was made, as JSON.
#[derive(Serialize)]
struct StoreOutput<'a> {
    data: &'a Path,
    created: bool,
}

/// Makes a store in a folder.
///
/// # Errors
/// Fails if there is one already, or if it cannot be made.
pub(super) fn create(folder: &Path, format: OutputFormat, out: &mut dyn Write) -> Result<(), CommandError> {
    if store::exists(folder)? {
        return Err(StoreError::Exists(format!("a store in {}", folder.display())).into());
    }
    drop(Store::open(folder)?);
    match format.json {
        true => print(&StoreOutput { data: folder, created: true }, out),
        false => Ok(writeln!(out, "{}", folder.display())?),
    }
}
