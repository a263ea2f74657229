//! `crossmodel store`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use crossmodel::admin::model::Moment;
use crossmodel::admin::{Code, OperationError, Operations};
use crossmodel::auth::{Store, StoreError};
use crossmodel::store::{self, StoreState};

use super::failure::CommandError;
use super::table::{OutputFormat, print, table};

#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Makes a store without a key in the data folder.
    #[command(after_help = "Examples:\n  crossmodel store create --data /var/lib/crossmodel")]
    Create(OutputFormat),
    /// Shows the state of a store, its size, the gateways that use it, and its latest backup.
    #[command(after_help = "Examples:\n  crossmodel store info\n  crossmodel store info --json")]
    Info(OutputFormat),
    /// Copies a store into a new file for this user alone. Gateways continue meanwhile.
    #[command(after_help = "Examples:\n  crossmodel store backup /var/backups/crossmodel.db")]
    Backup(BackupArguments),
    /// Gives the space of deleted rows back to the disk. No gateway may run on the store.
    #[command(after_help = "Examples:\n  crossmodel store vacuum")]
    Vacuum(OutputFormat),
}

#[derive(Debug, Args)]
pub(super) struct BackupArguments {
    /// The file to make.
    path: PathBuf,
    #[command(flatten)]
    format: OutputFormat,
}

/// The state of a store, as JSON.
#[derive(Serialize)]
struct StoreInfo<'a> {
    data: &'a Path,
    state: &'static str,
    bytes: u64,
    /// Absent if the store is not one of this version.
    keys: Option<i64>,
    gateways: Vec<u32>,
    last_backup: Option<BackupOutput>,
}

/// A copy of a store, as JSON.
#[derive(Serialize)]
struct BackupOutput {
    path: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    time: Moment,
}

/// The sizes of a store before and after the space was given back, as JSON.
#[derive(Serialize)]
struct VacuumOutput<'a> {
    data: &'a Path,
    bytes_before: u64,
    bytes_after: u64,
}

impl StoreCommand {
    /// Runs a command on an existing store.
    ///
    /// # Errors
    /// Fails if the store cannot be read or written.
    pub(super) fn run(&self, folder: &Path, out: &mut dyn Write) -> Result<(), CommandError> {
        match self {
            Self::Create(format) => create(folder, *format, out),
            Self::Info(format) => info(folder, *format, out),
            Self::Backup(backup) => backup.run(folder, out),
            Self::Vacuum(format) => vacuum(folder, *format, out),
        }
    }
}

impl BackupArguments {
    fn run(&self, folder: &Path, out: &mut dyn Write) -> Result<(), CommandError> {
        let bytes = store::back_up(folder, &self.path)?;
        match self.format.json {
            true => {
                let made = BackupOutput { path: self.path.clone(), bytes: Some(bytes), time: Moment::now() };
                print(&made, out)
            }
            false => Ok(writeln!(out, "{}: {bytes} bytes", self.path.display())?),
        }
    }
}

fn info(folder: &Path, format: OutputFormat, out: &mut dyn Write) -> Result<(), CommandError> {
    let state = store::inspect(folder)?;
    let keys = match state {
        StoreState::Current => Some(Operations::open_to_read(folder)?.count_keys()?),
        _ => None,
    };
    let state = match state {
        StoreState::Absent => "absent",
        StoreState::Older => "older",
        StoreState::Current => "current",
        StoreState::Newer => "newer",
        StoreState::Damaged(_) => "damaged",
    };
    let bytes = store::files(folder).filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    let last = store::last_backup(folder);
    let last_backup = last.map(|last| BackupOutput { path: last.path, bytes: None, time: Moment(last.time) });
    let gateways = store::gateways(folder).into_iter().collect();
    let info = StoreInfo { data: folder, state, bytes, keys, gateways, last_backup };
    if format.json { print(&info, out) } else { table(HEADINGS, &[row(&info)], out) }
}

fn row(info: &StoreInfo<'_>) -> Vec<String> {
    let gateways: Vec<_> = info.gateways.iter().map(ToString::to_string).collect();
    let backup = info.last_backup.as_ref().map(|last| format!("{} {}", last.time, last.path.display()));
    vec![
        info.data.display().to_string(),
        info.state.to_owned(),
        info.bytes.to_string(),
        info.keys.map_or_else(|| "unknown".to_owned(), |keys| keys.to_string()),
        if gateways.is_empty() { "none".to_owned() } else { gateways.join(" ") },
        backup.unwrap_or_else(|| "none".to_owned()),
    ]
}

fn vacuum(folder: &Path, format: OutputFormat, out: &mut dyn Write) -> Result<(), CommandError> {
    if let Some(process) = store::gateways(folder).first() {
        let message = format!("gateway {process} uses {}: stop it first", folder.display());
        return Err(OperationError::new(Code::Conflict, message).into());
    }
    let (bytes_before, bytes_after) = store::vacuum(folder)?;
    match format.json {
        true => print(&VacuumOutput { data: folder, bytes_before, bytes_after }, out),
        false => Ok(writeln!(out, "{}: {bytes_before} bytes before, {bytes_after} now", folder.display())?),
    }
}

const HEADINGS: &[&str] = &["STORE", "STATE", "BYTES", "KEYS", "GATEWAYS", "LATEST BACKUP"];

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
fn create(folder: &Path, format: OutputFormat, out: &mut dyn Write) -> Result<(), CommandError> {
    if store::exists(folder)? {
        return Err(StoreError::Exists(format!("a store in {}", folder.display())).into());
    }
    drop(Store::open(folder)?);
    match format.json {
        true => print(&StoreOutput { data: folder, created: true }, out),
        false => Ok(writeln!(out, "{}", folder.display())?),
    }
}
