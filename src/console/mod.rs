//! The console: the state of the gateway at a glance, in a browser.
//!
//! The page asks for one JSON document every two seconds. Its contents are in memory anyway: metrics, with a
//! sample for every second of the last ten minutes, the health of targets, and the rate limits of keys. Only budgets,
//! balances of accounts and the latest changes come from the store, over connections for reading, and money only for the
//! keys that are shown. The console cannot change anything, and does not know any secret.

mod assets;
mod changes;
mod guard;
mod history;
mod keys;
mod query;
mod sources;
mod view;

use std::path::Path;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::admin::{OperationResult, Operations};
use crate::auth;
use crate::meter::Books;
use crate::observe::MetricsSnapshot;

use history::MetricsHistory;
use keys::LedgerCache;

pub use assets::{Asset, CONTENT_SECURITY_POLICY, asset};
pub use guard::{AccessDenied, AdminGuard, AdminResource};
pub use keys::{LedgerFigures, LedgerQuery};
pub use query::Query;
pub use sources::Sources;
pub use view::ConsoleView;

/// The console of one gateway.
#[derive(Debug)]
pub struct Console {
    /// A random id of the process, by which a page notices that the gateway was restarted.
    instance: String,
    started: Instant,
    history: Mutex<MetricsHistory>,
    ledger_cache: Mutex<LedgerCache>,
}

impl Console {
    /// Makes a console without samples, with the books of a data folder.
    ///
    /// # Errors
    /// Fails if the store cannot be opened.
    pub fn open(folder: &Path) -> OperationResult<Self> {
        Ok(Self {
            instance: auth::random_id(""),
            started: Instant::now(),
            history: Mutex::default(),
            ledger_cache: Mutex::new(LedgerCache::new(
                Books::open(folder)?,
                Operations::open_to_read(folder)?,
            )),
        })
    }

    /// Takes a sample. It is to be called once a second.
    pub fn sample(&self, snapshot: MetricsSnapshot, calls: usize) {
        self.history.lock().add(Instant::now(), snapshot, calls);
    }

    /// Returns the part of the document that needs no look at the store.
    #[must_use]
    pub fn view(&self, sources: &Sources<'_>, query: &Query) -> ConsoleView {
        let since = if query.instance == self.instance { query.since } else { 0 };
        let uptime = self.started.elapsed().as_secs();
        ConsoleView::new(&self.instance, uptime, sources, &self.history.lock(), since, query)
    }

    /// Reads the facts that the store knows of the keys and accounts that are shown. Returns nothing if the store cannot
    /// be read, or is being read by others for too long. May take as long as a disk does.
    #[must_use]
    pub fn figures(&self, shown: &LedgerQuery) -> Option<LedgerFigures> {
        // A disk that does not respond must not block more and more threads for good.
        self.ledger_cache.try_lock_for(CACHE_LOCK_TIMEOUT)?.figures(shown, Instant::now())
    }
}

/// The time for which a page waits for others that read the store: with a disk that answers, a read takes far less.
const CACHE_LOCK_TIMEOUT: Duration = Duration::from_millis(500);
