//! The parts of a gateway that the console reads from.

use crate::auth::KeyTable;
use crate::config::ConfigStatus;
use crate::limit::{Limiter, Load};
use crate::meter::Ledger;
use crate::route::Catalog;

/// The parts of a gateway that the console shows.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'g> {
    /// The state of the configuration, with the instance that owns what it declares.
    pub config: &'g ConfigStatus,
    /// Models and targets.
    pub catalog: &'g Catalog,
    /// Keys.
    pub key_table: &'g KeyTable,
    /// The rate limits of keys.
    pub limiter: &'g Limiter,
    /// The calls that are running.
    pub load: &'g Load,
    /// The most calls that may run at once.
    pub most_calls: usize,
    /// The number of clients' connections.
    pub connections: usize,
    /// The books.
    pub ledger: &'g Ledger,
    /// Whether calls are paid for.
    pub billing: bool,
    /// Access lines that were lost.
    pub access_dropped: u64,
}
