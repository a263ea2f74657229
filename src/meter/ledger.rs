//! The ledger: the books while a gateway runs.
//!
//! One thread writes, and commits as much at once as has come while the last commit was on its way to the disk.
//! So thousands of calls share a few commits, and one call alone waits for one.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use crate::auth::Grant;
use crate::money::Amount;
use crate::store::{self, Error};

use super::batch::{Answers, Batch};
use super::journal::{Journal, Record};
use super::price::Prices;
use super::queue::{Queue, Taken};
use super::report::Tally;
use super::{CallId, End, JOURNALS, Report, Wallet, recover};

/// The books of one store. Cheap to clone.
#[derive(Clone)]
pub struct Ledger(Arc<Shared>);

struct Shared {
    queue: Arc<Queue>,
    state: Arc<State>,
    epoch: i64,
    calls: AtomicU64,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What operators see of the ledger.
#[derive(Debug, Default)]
struct State {
    failing: AtomicBool,
    /// Holds minus ends: calls of this process that are in flight.
    open: AtomicI64,
}

/// What a call may cost, and who pays.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who pays.
    pub grant: Grant,
    /// The model that is charged for.
    pub model: Arc<str>,
    /// Its prices, at each of the targets that may answer.
    pub prices: Vec<Arc<Prices>>,
    /// The most that it can cost.
    pub wanted: Amount,
    /// What it can be made to cost at most, by a lower limit of its output.
    pub least: Amount,
    /// Tokens of the prompt, estimated.
    pub prompt: u64,
}

/// Money that is set aside for one call.
#[derive(Clone, Debug)]
pub struct Held {
    pub(super) call: CallId,
    /// How much.
    pub amount: Amount,
    /// The versions of the prices, in the order in which they were named.
    pub(super) versions: Vec<i64>,
}

/// Why nothing is set aside for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The account has no wallet.
    NoWallet,
    /// It does not have as much. This is its balance.
    Balance(Amount),
    /// It has, but other calls in flight hold it.
    InFlight(Amount),
    /// The key may not spend as much in all.
    Limit(Amount),
    /// The store can not be written.
    Store,
}

/// Something for the store.
#[derive(Debug)]
pub(super) enum Op {
    /// Set money aside.
    Hold(CallId, Request, Reply<Result<Held, Refusal>>),
    /// Something stands in the journal.
    Record(Record),
    /// A call that costs nothing has ended.
    Free(Grant, Tally),
    /// Tell what an account has.
    Wallet(String, Reply<Result<Option<Wallet>, Refusal>>),
    /// Tell what an account has used.
    Report(String, Reply<Result<Report, Refusal>>),
}

pub(super) type Reply<T> = oneshot::Sender<T>;

impl Ledger {
    /// Opens the books and takes over what processes that are gone have left undone.
    ///
    /// # Errors
    /// When the store or a journal can not be opened, read or written.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let mut connection = store::open(folder)?;
        let journals = folder.join(JOURNALS);
        recover::all(&mut connection, &journals)?;
        connection.execute("INSERT INTO epochs (time) VALUES (?1)", [store::now()])?;
        let epoch = connection.last_insert_rowid();
        let queue = Arc::new(Queue::new(Journal::create(&journals, epoch)?));
        let state = Arc::new(State::default());
        let writer = Writer { connection, queue: Arc::clone(&queue), state: Arc::clone(&state), epoch };
        let thread = std::thread::Builder::new().name("ledger".to_owned()).spawn(move || writer.run())?;
        let writer = Mutex::new(Some(thread));
        Ok(Self(Arc::new(Shared { queue, state, epoch, calls: AtomicU64::new(0), writer })))
    }

    /// Sets money aside for a call. When this returns, it stands on the disk.
    ///
    /// # Errors
    /// Why it is not possible.
    pub async fn hold(&self, request: Request) -> Result<Held, Refusal> {
        let call = CallId::new(self.0.epoch, self.0.calls.fetch_add(1, Ordering::Relaxed));
        let (reply, answer) = oneshot::channel();
        // If nobody waits for it any more, the hold must not stay.
        let mut unclaimed = Unclaimed { ledger: self, call, claimed: false };
        self.0.queue.ask(Op::Hold(call, request, reply));
        let held = answer.await.unwrap_or(Err(Refusal::Store));
        unclaimed.claimed = true;
        held
    }

    /// What an account has, with everything that came before; nothing if it has no wallet.
    ///
    /// # Errors
    /// When the store can not be read.
    pub async fn wallet(&self, account: &str) -> Result<Option<Wallet>, Refusal> {
        self.ask(|reply| Op::Wallet(account.to_owned(), reply)).await
    }

    /// What an account has used.
    ///
    /// # Errors
    /// When the store can not be read.
    pub async fn report(&self, account: &str) -> Result<Report, Refusal> {
        self.ask(|reply| Op::Report(account.to_owned(), reply)).await
    }

    async fn ask<T>(&self, op: impl FnOnce(Reply<Result<T, Refusal>>) -> Op) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.0.queue.ask(op(reply));
        answer.await.unwrap_or(Err(Refusal::Store))
    }

    /// Notes what has become of a call. When this returns, the process may die.
    pub(super) fn record(&self, record: &Record) {
        self.0.queue.record(record);
    }

    /// Counts a call that cost nothing.
    pub(super) fn count(&self, grant: &Grant, tally: Tally) {
        self.0.queue.tell(Op::Free(Arc::clone(grant), tally));
    }

    /// Is the store failing, so that paid calls are refused?
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.0.state.failing.load(Ordering::Relaxed)
    }

    /// Calls of this process for which money is set aside.
    #[must_use]
    pub fn open_holds(&self) -> i64 {
        self.0.state.open.load(Ordering::Relaxed)
    }

    /// Writes what is still to be written. For the end of the process.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Shared {
    fn close(&self) {
        self.queue.close();
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // Its panic was told when it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
impl Ledger {
    /// Ends as a process does that is killed: what the journal says, the store may not know.
    pub(super) fn die(&self) {
        self.0.queue.die();
        self.close();
    }
}

/// A hold whose caller may go before it has an answer.
struct Unclaimed<'l> {
    ledger: &'l Ledger,
    call: CallId,
    claimed: bool,
}

impl Drop for Unclaimed<'_> {
    fn drop(&mut self) {
        if !self.claimed {
            self.ledger.record(&Record::End(self.call, End::released()));
        }
    }
}

/// The thread that writes.
struct Writer {
    connection: Connection,
    queue: Arc<Queue>,
    state: Arc<State>,
    epoch: i64,
}

impl Writer {
    fn run(mut self) {
        loop {
            let Taken { ops, records, closed } = self.queue.take();
            match self.commit(&ops) {
                Ok(answers) => {
                    self.state.failing.store(false, Ordering::Relaxed);
                    self.queue.done(records);
                    answers.give(ops);
                }
                Err(error) => self.put_back(ops, &error, closed),
            }
            if closed {
                return self.end();
            }
        }
    }

    /// Carries out operations, all of them or none.
    fn commit(&mut self, ops: &[Op]) -> Result<Answers, rusqlite::Error> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut batch = Batch::new(&transaction, store::now());
        for op in ops {
            batch.carry_out(op)?;
        }
        let answers = batch.finish()?;
        transaction.commit()?;
        self.state.open.fetch_add(answers.opened, Ordering::Relaxed);
        Ok(answers)
    }

    /// The store can not be written: who waits is told so, and what has happened is tried again.
    fn put_back(&self, ops: Vec<Op>, error: &rusqlite::Error, closed: bool) {
        if !self.state.failing.swap(true, Ordering::Relaxed) {
            log::error!("ledger: {error}; paid calls are refused until it can be written again");
        }
        self.queue.put_back(ops.into_iter().filter_map(Op::refuse).collect());
        if !closed {
            std::thread::sleep(PAUSE);
        }
    }

    /// The end: the journal goes, unless it says something that the store does not know.
    fn end(self) {
        let all_taken = self.queue.take().ops.is_empty();
        let mine = "SELECT COUNT(*) FROM holds WHERE call BETWEEN ?1 AND ?2";
        let range = [CallId::new(self.epoch, 0).0, CallId::new(self.epoch, u64::MAX).0];
        if all_taken && self.connection.query_row(mine, range, |row| row.get(0)) == Ok(0_i64) {
            self.queue.remove_journal();
        }
    }
}

impl Op {
    /// Tells who waits that it can not be done; returns what has to be done all the same.
    fn refuse(self) -> Option<Self> {
        match self {
            Self::Hold(call, _, reply) => {
                let _ = reply.send(Err(Refusal::Store));
                // A commit that has failed may have reached the disk.
                Some(Self::Record(Record::End(call, End::released())))
            }
            Self::Wallet(_, reply) => {
                let _ = reply.send(Err(Refusal::Store));
                None
            }
            Self::Report(_, reply) => {
                let _ = reply.send(Err(Refusal::Store));
                None
            }
            kept => Some(kept),
        }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("epoch", &self.0.epoch).finish_non_exhaustive()
    }
}

/// How long a store that could not be written is left alone.
const PAUSE: Duration = Duration::from_millis(100);
