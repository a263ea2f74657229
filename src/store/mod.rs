//! The store: the SQLite file with keys, accounts and the ledger.
//!
//! Every process opens the file for itself. The write-ahead log lets the command line write while gateways read
//! and write. A commit is on the disk when it returns.

mod access;
mod control;
mod gateways;
mod modes;

use std::cmp::Ordering;
use std::fmt;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};

use crate::money::Amount;
use crate::private;

pub use access::is_reachable;
pub use control::{CONTROL, ControlName, SocketPath, control_sockets};
pub use gateways::{JOURNALS, gateways};

/// An error of the store.
#[derive(Debug)]
pub enum StoreError {
    /// SQLite's own error.
    Database(rusqlite::Error),
    /// A file beside the database cannot be used.
    File(std::io::Error),
    /// No such account or key.
    NotFound(String),
    /// It exists already; named with its article.
    Exists(String),
    /// Another one exists already.
    Differs(String),
    /// A value that cannot be, for this reason.
    Invalid(String),
    /// The balance would exceed the largest amount.
    TooMuch,
    /// Calls in flight hold the rest of a balance.
    BalanceInUse {
        /// The balance.
        balance: Amount,
        /// The part that they do not hold.
        free: Amount,
    },
    /// It was made by a newer version of the gateway.
    TooNew,
    /// It was made by an earlier version of the gateway, and is only to be read.
    TooOld,
    /// It belongs to another user.
    Denied {
        /// The path that cannot be used.
        path: PathBuf,
        /// The number of the user that it belongs to.
        owner: u32,
        /// The number of the user of this process.
        user: u32,
    },
}

/// The state of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// There is no store yet.
    Absent,
    /// The store was made by an earlier version, and the next start brings it up to date.
    Older,
    /// The store has the form of this version.
    Current,
    /// The store was made by a later version, and this one cannot use it.
    Newer,
    /// SQLite finds the store damaged, for this reason.
    Damaged(String),
}

/// Inspects the store in a data folder, and changes nothing.
///
/// # Errors
/// Fails if it cannot be read.
pub fn inspect(folder: &Path) -> Result<StoreState, StoreError> {
    let file = folder.join(FILE);
    if !file.try_exists()? {
        return Ok(StoreState::Absent);
    }
    match check(&file) {
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Ok(StoreState::Damaged(error.to_string()))
            }
            _ => Err(error.into()),
        },
        Ok(state) => Ok(state),
    }
}

fn check(file: &Path) -> rusqlite::Result<StoreState> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(LOCK_TIMEOUT)?;
    // This leaves out the order of the indexes, which takes many times as long to check.
    let said: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if said != "ok" {
        return Ok(StoreState::Damaged(said));
    }
    Ok(match version(&connection)?.cmp(&MIGRATIONS.len()) {
        Ordering::Less => StoreState::Older,
        Ordering::Equal => StoreState::Current,
        Ordering::Greater => StoreState::Newer,
    })
}

/// Opens the store in a data folder. Makes both if they do not exist, and brings an older store up to date.
/// Afterwards both are accessible only to their owner.
///
/// # Errors
/// Fails if the folder or the file cannot be made, read, closed to others or brought up to date.
pub fn open(folder: &Path) -> Result<Connection, StoreError> {
    let opened = || {
        secure(folder)?;
        let mut connection = Connection::open(folder.join(FILE))?;
        if connection.is_readonly("main")? {
            return Err(unwritable(folder));
        }
        connection.busy_timeout(LOCK_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.set_prepared_statement_cache_capacity(MAX_STATEMENT_COUNT);
        migrate(&mut connection)?;
        Ok(connection)
    };
    opened().map_err(|error| explained(folder, error))
}

/// Opens the store in a data folder only to read it. Makes and changes nothing.
///
/// # Errors
/// Fails if there is no store, or it cannot be read, or it was made by another version.
pub fn open_to_read(folder: &Path) -> Result<Connection, StoreError> {
    let opened = || {
        let connection = opened_to_read(folder)?;
        match version(&connection)?.cmp(&MIGRATIONS.len()) {
            Ordering::Less => Err(StoreError::TooOld),
            Ordering::Equal => Ok(connection),
            Ordering::Greater => Err(StoreError::TooNew),
        }
    };
    opened().map_err(|error| explained(folder, error))
}

/// Opens the store in a data folder only to read it, whatever version has made it.
///
/// # Errors
/// Fails if there is no store, or it cannot be read.
pub fn open_any_to_read(folder: &Path) -> Result<Connection, StoreError> {
    opened_to_read(folder).map_err(|error| explained(folder, error))
}

fn opened_to_read(folder: &Path) -> Result<Connection, StoreError> {
    // The log of a gateway that has died is left to the next one; SQLite would put it into the database.
    let has_log = files(folder).nth(1).is_some_and(|log| log.exists());
    // SQLite's own files beside the database can only be kept in order by who may write them.
    let connection = Connection::open_with_flags(folder.join(FILE), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, has_log)?;
    connection.busy_timeout(LOCK_TIMEOUT)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Whether there is a store in a data folder.
///
/// # Errors
/// Fails if the folder cannot be looked into.
pub fn exists(folder: &Path) -> Result<bool, StoreError> {
    folder.join(FILE).try_exists().map_err(|error| explained(folder, error.into()))
}

/// Returns the user and the group that the store in a data folder belongs to, if there is one.
#[must_use]
pub fn owner(folder: &Path) -> Option<(u32, u32)> {
    folder.join(FILE).metadata().ok().map(|metadata| (metadata.uid(), metadata.gid()))
}

/// Explains why a store cannot be opened: adds the path, and the users if they are the reason.
fn explained(folder: &Path, error: StoreError) -> StoreError {
    let is_denial = match &error {
        StoreError::Database(error) => matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied)
        ),
        StoreError::File(error) => error.kind() == ErrorKind::PermissionDenied,
        _ => false,
    };
    let foreign = || access::foreign(files(folder).chain(std::iter::once(folder.to_owned())));
    match (is_denial.then(foreign).flatten(), error) {
        (Some((path, owner)), _) => StoreError::Denied { path, owner, user: access::user() },
        (None, StoreError::File(error)) => StoreError::File(access::named(folder, &error)),
        (None, error) => error,
    }
}

/// Returns the error of a store that this process may only read.
fn unwritable(folder: &Path) -> StoreError {
    let user = access::user();
    let (path, owner) = access::foreign(files(folder)).unwrap_or_else(|| (folder.join(FILE), user));
    StoreError::Denied { path, owner, user }
}

/// Ensures that nobody else can read the store, change it, or block it with a lock. SQLite gives the files beside
/// the database the same mode as the database.
fn secure(folder: &Path) -> std::io::Result<()> {
    // Nobody may open the database while its maker closes it: closing the file would take that process's locks
    // away.
    let _alone = CREATION_LOCK.lock();
    private::own_folder(folder, FILE)?;
    private::create(&folder.join(FILE))?;
    files(folder).try_for_each(|file| private::file(&file))
}

/// Closes the files of a store to other users, and writes to the log what was open, and what belongs to another user. It is
/// to be called at the start of a gateway. Nothing is done in a folder without a store.
pub fn close_to_others(folder: &Path) {
    if folder.join(FILE).exists() {
        modes::review(made(folder).into_iter()).log(folder);
    }
}

/// Returns the data folder, and the paths that gateways make in it.
#[must_use]
pub fn made(folder: &Path) -> Vec<PathBuf> {
    let below = |path: PathBuf| {
        // What a link leads to may be anybody's.
        let own = Some(&path).filter(|path| !path.is_symlink());
        let files = own.and_then(|path| std::fs::read_dir(path).ok()).into_iter().flatten().flatten();
        files.map(|entry| entry.path()).chain([path]).collect::<Vec<_>>()
    };
    let folders = FOLDERS.iter().flat_map(|name| below(folder.join(name)));
    std::iter::once(folder.to_owned()).chain(files(folder)).chain(folders).collect()
}

/// Returns the paths of the database and of the files that SQLite keeps beside it, whether they exist or not.
pub fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    ["", "-wal", "-shm", "-journal"].into_iter().map(move |suffix| folder.join(format!("{FILE}{suffix}")))
}

/// Seconds since the epoch.
#[must_use]
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    if version(connection)? == MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster.
    let done = version(&transaction)?;
    let missing = MIGRATIONS.get(done..).ok_or(StoreError::TooNew)?;
    for script in missing {
        transaction.execute_batch(script)?;
    }
    note_version(&transaction, done)?;
    transaction.pragma_update(None, "user_version", i64::try_from(MIGRATIONS.len()).unwrap_or(0))?;
    transaction.commit()?;
    Ok(())
}

/// Writes to the audit log that the store was made, or was brought up to date from a version.
fn note_version(connection: &Connection, before: usize) -> rusqlite::Result<()> {
    let action = if before == 0 { "store.create" } else { "store.migrate" };
    let shown = |version: usize| format!("{{\"version\":{version}}}");
    let before = Some(before).filter(|version| *version > 0).map(shown);
    let sql = "INSERT INTO audit (time, actor, via, action, subject, outcome, before, after)
        VALUES (?1, ?2, 'store', ?3, ?4, 'applied', ?5, ?6)";
    let actor = format!("local:{}", access::user());
    connection.execute(sql, params![now(), actor, action, FILE, before, shown(MIGRATIONS.len())])?;
    Ok(())
}

fn version(connection: &Connection) -> rusqlite::Result<usize> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        Self::File(error)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => write!(f, "the store failed: {error}"),
            Self::File(error) => write!(f, "the data folder cannot be used: {error}"),
            Self::NotFound(what) => write!(f, "there is no {what}"),
            Self::Exists(what) => write!(f, "there is already {what}"),
            Self::Differs(what) => write!(f, "there is already another {what}"),
            Self::Invalid(why) => f.write_str(why),
            Self::TooMuch => f.write_str("the balance would be too large"),
            Self::BalanceInUse { balance, free } => {
                write!(f, "only {free} of the balance of {balance} USD can be taken out: calls hold the rest")
            }
            Self::TooNew => f.write_str("the store was made by a newer version of CrossModel"),
            Self::TooOld => f.write_str(
                "the store was made by an earlier version of CrossModel: start the gateway, which brings it up to date",
            ),
            Self::Denied { path, owner, user } if owner == user => {
                write!(f, "data: {} cannot be written: see its mode, and whether its disk is mounted read-only. For more: crossmodel doctor", path.display())
            }
            Self::Denied { path, owner, user } => write!(
                f,
                "data: {} belongs to uid {owner}, this process runs as uid {user}. Change the owner or run as uid {owner}. \
                 For more: crossmodel doctor",
                path.display()
            ),
        }
    }
}

impl std::error::Error for StoreError {}

/// The database in a data folder.
pub const FILE: &str = "crossmodel.db";

/// The lock that is held while a database is made.
static CREATION_LOCK: Mutex<()> = Mutex::new(());

/// Folders that other parts of the gateway make beside the database.
pub const FOLDERS: &[&str] = &[JOURNALS, "handover", CONTROL];

/// The time for which a writer waits for another. A chosen value: transactions take milliseconds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// The most prepared statements that are kept: more than there are.
const MAX_STATEMENT_COUNT: usize = 64;

/// The scripts that bring a store from each version to the next.
const MIGRATIONS: &[&str] = &[
    include_str!("1_keys.sql"),
    include_str!("2_ledger.sql"),
    include_str!("3_leases.sql"),
    include_str!("4_secrets.sql"),
    include_str!("5_rates.sql"),
    include_str!("6_admin.sql"),
    include_str!("7_money.sql"),
    include_str!("8_targets.sql"),
    include_str!("9_declared.sql"),
    include_str!("10_limits.sql"),
    include_str!("11_alerts.sql"),
    include_str!("12_content.sql"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_store_is_brought_up_to_date_and_a_newer_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let old = Connection::open(folder.path().join(FILE)).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.execute_batch("INSERT INTO accounts VALUES ('a', 'active', 0)").unwrap();
        drop(old);
        let new = open(folder.path()).unwrap();
        let accounts: i64 = new.query_row("SELECT COUNT(*) FROM accounts", [], |row| row.get(0)).unwrap();
        assert_eq!((accounts, version(&new).unwrap()), (1, MIGRATIONS.len()));
        new.pragma_update(None, "user_version", 999).unwrap();
        assert!(matches!(open(folder.path()), Err(StoreError::TooNew)));
    }

    #[test]
    fn a_store_of_every_earlier_version_is_brought_up_to_date() {
        for version in 1..MIGRATIONS.len() {
            let folder = tempfile::tempdir().unwrap();
            let old = Connection::open(folder.path().join(FILE)).unwrap();
            MIGRATIONS.iter().take(version).for_each(|script| old.execute_batch(script).unwrap());
            old.pragma_update(None, "user_version", u32::try_from(version).unwrap()).unwrap();
            let (columns, values) = match version < 6 {
                true => ("digest", "x'00'"),
                false => ("strict, origin, created_by, revision", "0, 'cli', 'cli', 1"),
            };
            old.execute_batch(&format!(
                "INSERT INTO accounts (id, status, created) VALUES ('a', 'active', 0);
                 INSERT INTO keys (id, account, name, status, aliases, created, {columns})
                    VALUES ('k', 'a', '', 'active', '{{}}', 0, {values});"
            ))
            .unwrap();
            match version {
                1 => {}
                2..10 => old.execute_batch("UPDATE keys SET spending_limit = 5").unwrap(),
                _ => {
                    let budget = "INSERT INTO budgets (kind, owner, period, amount, hard) VALUES ('key', 'k', 'total', 5, 1)";
                    old.execute_batch(budget).unwrap();
                }
            }
            drop(old);
            let new = open(folder.path()).unwrap();
            let sql = "SELECT TOTAL(amount) FROM budgets WHERE kind = 'key' AND owner = 'k'";
            let limit: f64 = new.query_row(sql, [], |row| row.get(0)).unwrap();
            assert_eq!(limit > 0.0, version > 1, "the spending limit of version {version} is a budget");
            let sql = "SELECT action || before || after FROM audit";
            let row: String = new.query_row(sql, [], |row| row.get(0)).unwrap();
            let versions = [version, MIGRATIONS.len()].map(|version| format!("{{\"version\":{version}}}"));
            assert_eq!(row, format!("store.migrate{}", versions.concat()));
            drop(new);
            assert_eq!(inspect(folder.path()).unwrap(), StoreState::Current);
        }
    }

    #[test]
    fn a_reader_changes_no_byte_even_of_what_a_crash_has_left() {
        let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let writer = open(folder.path()).unwrap();
        writer.execute_batch("INSERT INTO accounts (id, status, created) VALUES ('a', 'active', 0)").unwrap();
        // The files of a process that has died in this moment.
        for file in files(folder.path()).filter(|file| file.exists()) {
            std::fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
        }
        let bytes = || -> Vec<_> { files(copy.path()).map(|file| std::fs::read(file).ok()).collect() };
        // The index in shared memory is written by every process that opens the database.
        let kept = || bytes().into_iter().enumerate().filter(|(n, _)| *n != 2).collect::<Vec<_>>();
        let before = kept();
        let reader = open_to_read(copy.path()).unwrap();
        let count: i64 = reader.query_row("SELECT COUNT(*) FROM accounts", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 1, "what is in the log is read");
        assert!(reader.execute_batch("DELETE FROM accounts").is_err());
        drop(reader);
        assert_eq!(kept(), before);
    }

    #[test]
    fn a_look_tells_what_a_store_is_like_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let state = || inspect(folder.path()).unwrap();
        assert_eq!(state(), StoreState::Absent);
        assert!(!folder.path().join(FILE).exists());
        let store = Connection::open(folder.path().join(FILE)).unwrap();
        store.execute_batch(MIGRATIONS[0]).unwrap();
        assert_eq!(state(), StoreState::Older);
        assert_eq!(state(), StoreState::Older, "a look is no start");
        store.pragma_update(None, "user_version", 999).unwrap();
        assert_eq!(state(), StoreState::Newer);
        drop(store);
        std::fs::remove_file(folder.path().join(FILE)).unwrap();
        drop(open(folder.path()).unwrap());
        assert_eq!(state(), StoreState::Current);
        std::fs::write(folder.path().join(FILE), "not a database, whatever its name is").unwrap();
        assert!(matches!(state(), StoreState::Damaged(_)), "{:?}", state());
    }

    #[test]
    fn what_a_link_leads_to_is_not_the_stores() {
        let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(elsewhere.path().join("of another"), "").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), data.path().join(CONTROL)).unwrap();
        std::fs::create_dir(data.path().join(JOURNALS)).unwrap();
        std::fs::write(data.path().join(JOURNALS).join("own"), "").unwrap();
        let made = made(data.path());
        assert!(made.contains(&data.path().join(JOURNALS).join("own")));
        assert!(!made.iter().any(|path| path.ends_with("of another")), "{made:?}");
    }
}
