//! The store of the books as the ledger needs it.

pub(in crate::meter) mod sqlite;

use std::time::Duration;

use crate::money::Amount;
use crate::store::StoreError;

use super::journal::JournalRecord;
use super::posting::{Posting, Receipt};

/// A store of the books. Each call is one transaction: all of it is done, or none.
pub(in crate::meter) trait Vault: Send {
    /// Begins an epoch: the time of one process. Returns its number.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    fn join(&mut self) -> Result<i64, Trouble>;

    /// Writes what has happened since the last posting, lends what is wanted, and reads what is asked for.
    ///
    /// # Errors
    /// Fails with any [`Trouble`].
    fn post(&mut self, posting: &Posting) -> Result<Receipt, Trouble>;

    /// Returns what has become of a posting of which no answer came. The posting is then as durable as one that was
    /// answered.
    ///
    /// # Errors
    /// Fails if the store cannot be read or written.
    fn posted(&mut self, epoch: i64) -> Result<Standing, Trouble>;

    /// Ends an epoch whose process is gone, by all that its journal says: calls without an end in it are charged by an
    /// estimate, and what was lent goes back. Changes nothing when it is repeated.
    ///
    /// # Errors
    /// Fails if the store cannot be read or written.
    fn restate(&mut self, statement: &Statement<'_>) -> Result<Loss, Trouble>;

    /// Returns all epochs that have something to give back.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    fn epochs(&mut self) -> Result<Vec<Seen>, Trouble>;

    /// Keeps an epoch from posting any more, unless it has posted since it was seen. Returns whether it is kept from it.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    fn fence(&mut self, seen: &Seen) -> Result<bool, Trouble>;

    /// Ends a fenced epoch whose journal is lost.
    ///
    /// # Errors
    /// Fails if the store cannot be read or written.
    fn forget(&mut self, epoch: i64) -> Result<Loss, Trouble>;

    /// Ends the epoch of this process, which has no call in flight: what was lent goes back.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    fn leave(&mut self, epoch: i64) -> Result<(), Trouble>;

    /// Returns the time for which leased money may be given to calls without an answer of the store, from the moment at
    /// which the last answered posting was sent; absent: as long as no posting fails.
    fn patience(&self) -> Option<Duration>;
}

/// The reason for which a store does not do what it is told.
#[derive(Debug)]
pub(in crate::meter) enum Trouble {
    /// Nothing was done.
    Down(StoreError),
    /// It may have been done: [`Vault::posted`] tells.
    #[cfg_attr(not(test), expect(dead_code, reason = "no answer of a file gets lost; a server's may"))]
    Unknown(StoreError),
    /// The epoch was fenced, and nothing was done.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the lock of a journal tells who lives; a server cannot see it")
    )]
    Fenced,
    /// The store is not as the epoch has left it, and nothing was done.
    Strayed,
}

/// The last posting of an epoch that the store has.
#[derive(Debug)]
pub(in crate::meter) struct Standing {
    /// Its number; 0 before the first.
    pub(in crate::meter) number: u64,
    /// Its receipt; absent in stores whose answers cannot get lost.
    pub(in crate::meter) receipt: Option<Receipt>,
}

/// The journal of a process that is gone.
#[derive(Debug)]
pub(in crate::meter) struct Statement<'j> {
    pub(in crate::meter) epoch: i64,
    pub(in crate::meter) records: &'j [JournalRecord],
}

/// An epoch as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::meter) struct Seen {
    pub(in crate::meter) epoch: i64,
}

/// The calls of an epoch of which no end was known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::meter) struct Loss {
    /// Their number.
    pub(in crate::meter) calls: u64,
    /// The sum of their estimated charges.
    pub(in crate::meter) estimated: Amount,
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Down(error.into())
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Down(error) | Trouble::Unknown(error) => error,
            Trouble::Fenced => {
                Self::Invalid("this gateway was taken for dead, and its calls were ended".to_owned())
            }
            Trouble::Strayed => Self::Invalid("the store is not as this gateway has left it".to_owned()),
        }
    }
}
