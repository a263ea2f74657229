//! The store: the SQLite file with keys, accounts and the ledger.
//!
//! Every process opens the file for itself. The write-ahead log lets the command line write while gateways read
//! and write. A commit is on the disk when it returns.

use std::cmp::Ordering;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::money::Amount;
use crate::private;

/// An error of the store.
#[derive(Debug)]
pub enum StoreError {
    /// SQLite's own error.
    Database(rusqlite::Error),
    /// A file beside the database cannot be used.
    File(std::io::Error),
    /// No such account or key.
    NotFound(String),
    /// It exists already.
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
    secure(folder)?;
    let mut connection = Connection::open(folder.join(FILE))?;
    connection.busy_timeout(LOCK_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(MAX_STATEMENT_COUNT);
    migrate(&mut connection)?;
    Ok(connection)
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
    transaction.pragma_update(None, "user_version", i64::try_from(MIGRATIONS.len()).unwrap_or(0))?;
    transaction.commit()?;
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
            Self::Exists(what) => write!(f, "there is already an {what}"),
            Self::Differs(what) => write!(f, "there is already another {what}"),
            Self::Invalid(why) => f.write_str(why),
            Self::TooMuch => f.write_str("the balance would be too large"),
            Self::BalanceInUse { balance, free } => {
                write!(f, "only {free} of the balance of {balance} USD can be taken out: calls hold the rest")
            }
            Self::TooNew => f.write_str("the store was made by a newer version of CrossModel"),
        }
    }
}

impl std::error::Error for StoreError {}

/// The database in a data folder.
pub const FILE: &str = "crossmodel.db";

/// The lock that is held while a database is made.
static CREATION_LOCK: Mutex<()> = Mutex::new(());

/// Folders that other parts of the gateway make beside the database.
pub const FOLDERS: &[&str] = &["journal", "handover"];

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
    include_str!("6_money.sql"),
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
}
