//! The ledger: the books while a gateway runs.
//!
//! A call is admitted if its key's leased balance suffices, and goes upstream when its hold is on the disk, in the
//! journal. One thread writes holds there, as many at once as have come during the last write. Another one writes to
//! the store: the ends of calls in batches, and at once what somebody waits for, such as the state of an account, or a
//! lease when a leased balance is empty.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::auth::SecretUses;
use crate::notify::Outbox;
use crate::store::{self, StoreError};

use super::books::Wallet;
use super::journal::{JOURNALS, Journal};
use super::recover;
use super::report::UsageReport;
use super::state::{LedgerState, StoreOperation, UnclaimedHold};
use super::types::{CallEnd, CountedCall, HeldMoney, HoldRefusal, HoldRequest};
use super::vault::Vault;
use super::vault::sqlite::SqliteVault;
use super::writer::{CommitObserver, LedgerWriter, Syncer};

/// The books of one store. Cheap to clone.
#[derive(Clone)]
pub struct Ledger(Arc<LedgerShared>);

struct LedgerShared {
    state: Arc<LedgerState>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Receives the time of each write to the journal.
    watch: Arc<OnceLock<CommitObserver>>,
    /// The uses of keys' secrets, which are written with everything else.
    uses: Arc<OnceLock<Arc<SecretUses>>>,
    /// The events for webhooks, which are written in the transactions that they tell of.
    outbox: Arc<OnceLock<Arc<Outbox>>>,
}

impl Ledger {
    /// Opens the books and takes over what processes that are gone have left undone.
    ///
    /// # Errors
    /// Fails if the store or a journal cannot be opened, read or written.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::open_with(Box::new(SqliteVault::new(store::open(folder)?)), folder)
    }

    /// Opens the books in a vault; the journal is in the data folder.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub(super) fn open_with(mut vault: Box<dyn Vault>, folder: &Path) -> Result<Self, StoreError> {
        let journals = folder.join(JOURNALS);
        recover::all(&mut *vault, &journals)?;
        let joined = Instant::now();
        let epoch = vault.join()?;
        let state = Arc::new(LedgerState::new(Journal::create(&journals, epoch)?, epoch));
        let watch: Arc<OnceLock<CommitObserver>> = Arc::default();
        let syncer = Syncer { file: state.file()?, state: Arc::clone(&state), watch: Arc::clone(&watch) };
        let recovered = Instant::now();
        let (uses, outbox): (Arc<OnceLock<_>>, Arc<OnceLock<_>>) = Default::default();
        state.note_answer(joined, vault.patience());
        let writer = LedgerWriter {
            vault,
            journals,
            recovered,
            state: Arc::clone(&state),
            uses: Arc::clone(&uses),
            outbox: Arc::clone(&outbox),
            epoch,
            posted: 0,
            owed: Vec::new(),
        };
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let syncer = thread("journal").spawn(move || syncer.run())?;
        let writer = thread("ledger").spawn(move || writer.run())?;
        let threads = Mutex::new(vec![syncer, writer]);
        Ok(Self(Arc::new(LedgerShared { state, threads, watch, uses, outbox })))
    }

    /// Sets money aside for a call. When this returns, it stands on the disk.
    ///
    /// # Errors
    /// Returns the reason if it is not possible.
    pub async fn hold(&self, request: HoldRequest) -> Result<HeldMoney, HoldRefusal> {
        let unclaimed = match self.0.state.hold(&request) {
            Some(set) => UnclaimedHold::new(&self.0.state, set),
            None => self.ask(|reply| StoreOperation::Lease(request, reply)).await?,
        };
        unclaimed.claim().await
    }

    /// Reads the wallet of an account, with everything that came before, or `None` if it has none.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub async fn wallet(&self, account: &str) -> Result<Option<Wallet>, HoldRefusal> {
        self.ask(|reply| StoreOperation::Wallet(account.to_owned(), reply)).await
    }

    /// Reads the usage of an account.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub async fn report(&self, account: &str) -> Result<UsageReport, HoldRefusal> {
        self.ask(|reply| StoreOperation::Report(account.to_owned(), reply)).await
    }

    /// Writes the counts of all calls that have ended to the store, for those who read it.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub async fn post(&self) -> Result<(), HoldRefusal> {
        // Whoever is told of an account is told of all that came before.
        self.wallet("").await.map(drop)
    }

    async fn ask<T>(
        &self,
        op: impl FnOnce(oneshot::Sender<Result<T, HoldRefusal>>) -> StoreOperation,
    ) -> Result<T, HoldRefusal> {
        let (reply, answer) = oneshot::channel();
        self.0.state.ask(op(reply));
        answer.await.unwrap_or(Err(HoldRefusal::Store))
    }

    /// Notes how far a call has come.
    pub(super) fn mark(&self, held: &HeldMoney, delivered: u64) {
        self.0.state.mark(held.call, delivered);
    }

    /// Notes how a call has ended. When this returns, the process may die.
    pub(super) fn end(&self, held: &HeldMoney, end: CallEnd) {
        self.0.state.end(held, end);
    }

    /// Counts a call that nobody pays for.
    pub(super) fn count(&self, call: CountedCall) {
        self.0.state.tell(StoreOperation::Free(call));
    }

    /// Whether the store or the journal cannot be written, so that paid calls are refused.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.0.state.is_failing()
    }

    /// Returns the number of calls of this process for which money is set aside.
    #[must_use]
    pub fn open_holds(&self) -> i64 {
        i64::try_from(self.0.state.open()).unwrap_or(i64::MAX)
    }

    /// Returns the number of operations that wait for the store.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.state.len()
    }

    /// Sets the receiver of the time of each write to the journal, which calls wait for. Only the first one that is set
    /// is told.
    pub fn watch_commits(&self, watch: impl Fn(Duration) + Send + Sync + 'static) {
        let _ = self.0.watch.set(Box::new(watch));
    }

    /// Sets the uses of keys' secrets, which are written together with the next calls. Only the first ones that are
    /// set are written.
    pub fn write_uses(&self, uses: &Arc<SecretUses>) {
        let _ = self.0.uses.set(Arc::clone(uses));
    }

    /// Sets the outbox that gets the events of budgets and balances. Only the first one that is set gets them.
    pub fn write_events(&self, outbox: &Arc<Outbox>) {
        let _ = self.0.outbox.set(Arc::clone(outbox));
    }

    /// Writes what is still to be written, at the end of the process.
    pub fn close(&self) {
        self.0.close();
    }
}

impl LedgerShared {
    fn close(&self) {
        self.state.close();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // Its panic was told when it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for LedgerShared {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
impl Ledger {
    /// Ends as a process does that is killed: what the journal says, the store may not know.
    pub(super) fn die(&self) {
        self.0.state.die();
        self.close();
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}
