//! The parts of a gateway that the console reads from.

use crate::auth::Ring;
use crate::limit::{Limiter, Load};
use crate::meter::Ledger;
use crate::route::Catalog;

/// What a gateway is made of, as far as it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'g> {
    /// Models and targets.
    pub catalog: &'g Catalog,
    /// Keys.
    pub ring: &'g Ring,
    /// What keys have used.
    pub limiter: &'g Limiter,
    /// What goes on.
    pub load: &'g Load,
    /// How much of it there may be at once.
    pub most_calls: usize,
    /// Connections of clients.
    pub connections: usize,
    /// The books.
    pub ledger: &'g Ledger,
    /// Are calls paid for?
    pub billing: bool,
    /// Access lines that nobody took.
    pub access_dropped: u64,
}
