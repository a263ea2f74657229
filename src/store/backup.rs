//! Copies of a store, made while gateways use it.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::private;

use super::{FILE, LOCK_TIMEOUT, StoreError, explained, now, opened_to_read};

/// The latest copy that was made of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastBackup {
    /// Its time, in seconds since the epoch.
    pub time: i64,
    /// Its path.
    pub path: PathBuf,
}

/// Copies the store in a data folder into a new file, as it is at one moment. Gateways continue meanwhile. Returns the
/// size of the copy in bytes.
///
/// # Errors
/// Fails if there is such a file already, if the copy cannot be written, or if it is damaged.
pub fn back_up(folder: &Path, to: &Path) -> Result<u64, StoreError> {
    if to.symlink_metadata().is_ok() {
        return Err(StoreError::Exists(format!("a file {}", to.display())));
    }
    let source = opened_to_read(folder).map_err(|error| explained(folder, error))?;
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = copy(&source, &part).and_then(|bytes| {
        fs::rename(&part, to)?;
        Ok(bytes)
    });
    let bytes = written.inspect_err(|_| drop(fs::remove_file(&part))).map_err(|error| match error {
        StoreError::File(error) => {
            StoreError::Invalid(format!("{} cannot be written: {error}", to.display()))
        }
        error => error,
    })?;
    note(folder, to);
    Ok(bytes)
}

/// Returns the latest copy that [`back_up`] has made of the store in a data folder.
#[must_use]
pub fn last_backup(folder: &Path) -> Option<LastBackup> {
    let text = fs::read_to_string(folder.join(NOTE)).ok()?;
    let (time, path) = text.trim_end().split_once(' ')?;
    Some(LastBackup { time: time.parse().ok()?, path: PathBuf::from(path) })
}

/// Writes the store in a data folder anew, without the space that deleted rows have left. Returns its size in bytes before
/// and afterwards.
///
/// # Errors
/// Fails if the store is used or cannot be written.
pub fn vacuum(folder: &Path) -> Result<(u64, u64), StoreError> {
    let connection = super::open(folder)?;
    let size = || Ok::<_, io::Error>(fs::metadata(folder.join(FILE))?.len());
    connection.pragma_update(None, "wal_checkpoint", "truncate")?;
    let before = size()?;
    connection.execute_batch("VACUUM")?;
    connection.pragma_update(None, "wal_checkpoint", "truncate")?;
    Ok((before, size()?))
}

/// Copies a database into a file of this user's own, and onto the disk.
fn copy(source: &Connection, part: &Path) -> Result<u64, StoreError> {
    match fs::remove_file(part) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => private::create(part)?,
    }
    let mut copy = Connection::open(part)?;
    step(source, &mut copy)?;
    // A copy is one file, whatever the store keeps beside its own.
    copy.pragma_update(None, "journal_mode", "delete")?;
    let said: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if said != "ok" {
        return Err(StoreError::Invalid(format!("the copy is damaged: {said}")));
    }
    drop(copy);
    let file = File::open(part)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

/// Copies all pages in one transaction: copied in steps, the store would be begun anew with each change of a gateway.
fn step(source: &Connection, copy: &mut Connection) -> Result<(), StoreError> {
    let backup = Backup::new(source, copy)?;
    let end = Instant::now() + LOCK_TIMEOUT;
    while !matches!(backup.step(ALL_PAGES)?, StepResult::Done) {
        if Instant::now() > end {
            return Err(StoreError::Invalid("the store is busy; try again".to_owned()));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Notes that a copy was made. The copy is good without the note.
fn note(folder: &Path, to: &Path) {
    let path = std::path::absolute(to).unwrap_or_else(|_| to.to_owned());
    let file = folder.join(NOTE);
    let noted =
        private::create(&file).and_then(|()| fs::write(&file, format!("{} {}\n", now(), path.display())));
    if let Err(error) = noted {
        log::warn!("{}: {error}", file.display());
    }
}

/// The file that names the latest copy.
const NOTE: &str = "last-backup";

/// All pages, for SQLite.
const ALL_PAGES: i32 = -1;

/// The pause after an attempt that found the store locked.
const PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::store::{StoreState, inspect, open};

    #[test]
    fn a_copy_is_whole_and_private_while_the_store_is_written() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let writer = open(folder.path()).unwrap();
        let insert = |id: &str| {
            let sql = "INSERT INTO accounts (id, status, created, origin, created_by, revision) VALUES (?1, 'active', 0, 'cli', 'cli', 1)";
            writer.execute(sql, [id]).unwrap()
        };
        insert("a");
        let to = elsewhere.path().join("crossmodel.db");
        assert_eq!(last_backup(folder.path()), None);
        let bytes = back_up(folder.path(), &to).unwrap();
        insert("b");
        let metadata = fs::metadata(&to).unwrap();
        assert_eq!((metadata.len(), metadata.mode() & 0o777), (bytes, 0o600));
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1, "there is one file and no other");
        assert_eq!(inspect(elsewhere.path()).unwrap(), StoreState::Current);
        let copied: i64 = open(elsewhere.path())
            .unwrap()
            .query_row("SELECT COUNT(*) FROM accounts", [], |row| row.get(0))
            .unwrap();
        assert_eq!(copied, 1);
        assert!(matches!(back_up(folder.path(), &to), Err(StoreError::Exists(_))), "nothing is overwritten");
        assert_eq!(last_backup(folder.path()).map(|last| last.path), Some(to));
        let nowhere = back_up(folder.path(), Path::new("/nowhere/at/all.db")).unwrap_err().to_string();
        assert!(nowhere.starts_with("/nowhere/at/all.db cannot be written"), "{nowhere}");
    }

    #[test]
    fn a_store_is_smaller_without_its_deleted_rows() {
        let folder = tempfile::tempdir().unwrap();
        let writer = open(folder.path()).unwrap();
        writer.execute_batch("CREATE TABLE filler (text TEXT)").unwrap();
        for _ in 0..100 {
            writer.execute("INSERT INTO filler VALUES (hex(zeroblob(10000)))", []).unwrap();
        }
        writer.execute_batch("DROP TABLE filler").unwrap();
        drop(writer);
        let (before, after) = vacuum(folder.path()).unwrap();
        assert!(after + 1_000_000 < before, "{before} {after}");
        assert_eq!(inspect(folder.path()).unwrap(), StoreState::Current);
    }
}
