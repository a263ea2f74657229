//! The ledger: the books while a gateway runs.
//!
//! A call is let in by what its key's purse has, and goes upstream when its hold is on the disk, in the journal. One
//! thread writes holds there, as many at once as have come while the last ones were on their way. Another one writes
//! to the store, which learns in its own time what has become of calls, and at once what somebody waits for: how an
//! account stands, or a lease when a purse is empty.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use crate::auth::Grant;
use crate::canon::Rates;
use crate::money::Amount;
use crate::store::{self, Error};

use super::batch::{Answers, Batch, Begun};
use super::commit::Commit;
use super::journal::{Journal, Record};
use super::price::Prices;
use super::purse::{Spare, Terms};
use super::queue::{Queue, Set, Taken};
use super::report::Tally;
use super::{CallId, End, JOURNALS, Report, Wallet, recover};

/// The books of one store. Cheap to clone.
#[derive(Clone)]
pub struct Ledger(Arc<Shared>);

struct Shared {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Who wants to know how long writes to the journal take.
    watch: Arc<OnceLock<Watch>>,
}

type Watch = Box<dyn Fn(Duration) + Send + Sync>;

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
    /// The rates that it asks for.
    pub rates: Rates,
}

/// Money that is set aside for one call.
#[derive(Clone, Debug)]
pub struct Held {
    pub(super) call: CallId,
    /// How much.
    pub amount: Amount,
    /// Who pays, and by which prices.
    pub(super) terms: Arc<Terms>,
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
    /// Lend money for a call.
    Lease(Request, Reply<Result<Unclaimed, Refusal>>),
    /// Money is set aside for a call.
    Begin(Begun),
    /// Something more stands in the journal.
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
        let queue = Arc::new(Queue::new(Journal::create(&journals, epoch)?, epoch));
        let watch: Arc<OnceLock<Watch>> = Arc::default();
        let syncer = Syncer { file: queue.file()?, queue: Arc::clone(&queue), watch: Arc::clone(&watch) };
        let recovered = Instant::now();
        let writer = Writer { connection, journals, recovered, queue: Arc::clone(&queue), epoch };
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let syncer = thread("journal").spawn(move || syncer.run())?;
        let writer = thread("ledger").spawn(move || writer.run())?;
        Ok(Self(Arc::new(Shared { queue, threads: Mutex::new(vec![syncer, writer]), watch })))
    }

    /// Sets money aside for a call. When this returns, it stands on the disk.
    ///
    /// # Errors
    /// Why it is not possible.
    pub async fn hold(&self, request: Request) -> Result<Held, Refusal> {
        let unclaimed = match self.0.queue.hold(&request) {
            Some(set) => Unclaimed::new(&self.0.queue, set),
            None => self.ask(|reply| Op::Lease(request, reply)).await?,
        };
        unclaimed.claim().await
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

    /// Notes how far a call has come.
    pub(super) fn mark(&self, held: &Held, delivered: u64) {
        self.0.queue.mark(held.call, delivered);
    }

    /// Notes how a call has ended. When this returns, the process may die.
    pub(super) fn end(&self, held: &Held, end: End) {
        self.0.queue.end(held, end);
    }

    /// Counts a call that cost nothing.
    pub(super) fn count(&self, grant: &Grant, tally: Tally) {
        self.0.queue.tell(Op::Free(Arc::clone(grant), tally));
    }

    /// Can the store or the journal not be written, so that paid calls are refused?
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.0.queue.is_failing()
    }

    /// Calls of this process for which money is set aside.
    #[must_use]
    pub fn open_holds(&self) -> i64 {
        i64::try_from(self.0.queue.open()).unwrap_or(i64::MAX)
    }

    /// Operations that wait for the store.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.queue.len()
    }

    /// Tells how long each write to the journal takes, which calls wait for. Only the first who asks is told.
    pub fn watch_commits(&self, watch: impl Fn(Duration) + Send + Sync + 'static) {
        let _ = self.0.watch.set(Box::new(watch));
    }

    /// Writes what is still to be written. For the end of the process.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Shared {
    fn close(&self) {
        self.queue.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
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

/// Money that is set aside for a caller who may be gone: then it must not stay so.
#[derive(Debug)]
pub(super) struct Unclaimed {
    queue: Arc<Queue>,
    commit: Arc<Commit>,
    leads: bool,
    held: Option<Held>,
}

impl Unclaimed {
    fn new(queue: &Arc<Queue>, Set { held, commit, leads }: Set) -> Self {
        Self { queue: Arc::clone(queue), commit, leads, held: Some(held) }
    }

    /// Gives the money when it is on the disk that it is set aside.
    async fn claim(mut self) -> Result<Held, Refusal> {
        if self.leads {
            // Calls that have come at the same time share the write.
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            self.seal();
        }
        let on_disk = Arc::clone(&self.commit).wait().await;
        // What could not be written may have reached the disk all the same: that it is released goes there, too.
        let held = if on_disk { self.held.take() } else { None };
        held.ok_or(Refusal::Store)
    }

    fn seal(&mut self) {
        if std::mem::take(&mut self.leads) {
            self.queue.seal();
        }
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        self.seal();
        if let Some(held) = self.held.take() {
            self.queue.end(&held, End::released());
        }
    }
}

/// The thread that writes holds to the journal.
struct Syncer {
    queue: Arc<Queue>,
    file: File,
    watch: Arc<OnceLock<Watch>>,
}

impl Syncer {
    fn run(self) {
        while let Some((commit, written)) = self.queue.write_holds() {
            let begun = Instant::now();
            let synced = written.and_then(|()| self.file.sync_data());
            if self.queue.note_journal(synced.is_err())
                && let Err(error) = &synced
            {
                log::error!("journal: {error}; paid calls are refused until it can be written again");
            }
            commit.finish(synced.is_ok());
            if let Some(watch) = self.watch.get() {
                watch(begun.elapsed());
            }
            // Under load, a write costs more than this wait: it is shared by those who come meanwhile.
            std::thread::sleep(PACE.saturating_sub(begun.elapsed()));
        }
    }
}

/// The thread that writes to the store.
struct Writer {
    connection: Connection,
    journals: PathBuf,
    /// When processes that are gone were looked for.
    recovered: Instant,
    queue: Arc<Queue>,
    epoch: i64,
}

impl Writer {
    fn run(mut self) {
        loop {
            let Taken { ops, records, unused, closed } = self.queue.take();
            if !ops.is_empty() || !unused.is_empty() {
                self.carry_out(ops, records, unused, closed);
            }
            if closed {
                return self.end();
            }
        }
    }

    /// Carries out operations and tells those who wait for them.
    fn carry_out(&mut self, ops: Vec<Op>, records: u64, unused: Vec<Spare>, closed: bool) {
        // Money that is in no purse until the store has it.
        let mut emptied = unused;
        match self.commit(&ops, &mut emptied) {
            Ok(answers) => {
                self.queue.note_store(false);
                self.queue.done(records);
                let short = answers.leases.iter().any(|lease| matches!(lease, Err(Refusal::InFlight(_))));
                self.answer(ops, answers);
                if short {
                    self.recover();
                }
            }
            Err(error) => {
                self.queue.fill(&emptied);
                self.put_back(ops, &error, closed);
            }
        }
    }

    /// Money is short: a process that is gone may have some.
    fn recover(&mut self) {
        if self.recovered.elapsed() < RECOVER_EVERY {
            return;
        }
        self.recovered = Instant::now();
        if let Err(error) = recover::all(&mut self.connection, &self.journals) {
            log::error!("ledger: {error}");
        }
    }

    /// The same, all of them or none.
    fn commit(&mut self, ops: &[Op], emptied: &mut Vec<Spare>) -> rusqlite::Result<Answers> {
        let mut answers = Answers::default();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut batch = Batch::new(&transaction, self.epoch, store::now());
        batch.give_back(emptied)?;
        for op in ops {
            match op {
                Op::Lease(request, _) => answers.leases.push(batch.lease(request, |whose| {
                    let spare = self.queue.empty(whose);
                    emptied.extend_from_slice(&spare);
                    spare
                })?),
                Op::Begin(begun) => batch.begin(begun.clone()),
                Op::Record(record) => batch.record(record, |whose| {
                    let spare = self.queue.empty(whose);
                    emptied.extend_from_slice(&spare);
                    spare
                })?,
                Op::Free(grant, tally) => batch.count(grant, tally),
                Op::Wallet(account, _) => answers.wallets.push(batch.wallet(account)?),
                Op::Report(account, _) => answers.reports.push(batch.report(account)?),
            }
        }
        answers.more = batch.finish()?;
        transaction.commit()?;
        Ok(answers)
    }

    /// Tells those who wait, in the order in which they have asked.
    fn answer(&self, ops: Vec<Op>, answers: Answers) {
        let Answers { leases, wallets, reports, more } = answers;
        let (mut leases, mut wallets, mut reports) =
            (leases.into_iter(), wallets.into_iter(), reports.into_iter());
        for op in ops {
            // Who waited may be gone.
            match op {
                Op::Lease(request, reply) => drop(leases.next().map(|lease| {
                    let begun = lease.map(|lease| self.queue.lease(&request, &lease));
                    let held = begun.and_then(|begun| begun.ok_or(Refusal::Store));
                    reply.send(held.map(|begun| Unclaimed::new(&self.queue, begun)))
                })),
                Op::Wallet(_, reply) => drop(wallets.next().map(|wallet| reply.send(Ok(wallet)).is_ok())),
                Op::Report(_, reply) => drop(reports.next().map(|report| reply.send(Ok(report)).is_ok())),
                Op::Begin(_) | Op::Record(_) | Op::Free(..) => {}
            }
        }
        self.queue.fill(&more);
    }

    /// The store can not be written: who waits is told so, and what has happened is tried again.
    fn put_back(&self, ops: Vec<Op>, error: &rusqlite::Error, closed: bool) {
        if self.queue.note_store(true) {
            log::error!("ledger: {error}; paid calls are refused until it can be written again");
        }
        self.queue.put_back(ops.into_iter().filter_map(Op::refuse).collect());
        if !closed {
            std::thread::sleep(PAUSE);
        }
    }

    /// The end: leases and journal go, unless there is something that the store does not know.
    fn end(mut self) {
        if !self.queue.is_done() {
            return;
        }
        match recover::leave(&mut self.connection, self.epoch) {
            Ok(()) => self.queue.remove_journal(),
            Err(error) => log::error!("ledger: {error}"),
        }
    }
}

impl Op {
    /// Tells who waits that it can not be done; returns what has to be done all the same.
    fn refuse(self) -> Option<Self> {
        match self {
            Self::Lease(_, reply) => drop(reply.send(Err(Refusal::Store))),
            Self::Wallet(_, reply) => drop(reply.send(Err(Refusal::Store))),
            Self::Report(_, reply) => drop(reply.send(Err(Refusal::Store))),
            kept => return Some(kept),
        }
        None
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

/// How often the first of those who share a write lets others that are ready go before.
const TURNS: u32 = 1;

/// From one write of holds to the next, at least.
const PACE: Duration = Duration::from_micros(600);

/// How long a store that could not be written is left alone.
const PAUSE: Duration = Duration::from_millis(100);

/// How often processes that are gone are looked for, at most.
const RECOVER_EVERY: Duration = Duration::from_secs(1);
