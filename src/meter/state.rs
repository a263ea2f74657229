//! What this process has in memory: the leased balances, what waits to be written to the store, and the journal.
//!
//! Everybody puts in; one thread writes holds to the journal, another takes out for the store, each of them all at
//! once. Who waits for an answer wakes the latter; the others do so only when it has nothing to do at all, and it
//! then waits a little for more.

use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::auth::Grant;
use crate::money::Amount;

use super::books::Wallet;
use super::group_commit::GroupCommit;
use super::invariant::{Invariant, difference, violated};
use super::journal::{Encoded, Hold, Journal, Record, encode};
use super::leased_balance::LeasedBalances;
use super::report::{Report, Tally};
use super::types::{
    BalanceSelector, CallId, End, Held, Lease, OpenHold, PriceTerms, Refusal, Request, UnusedLease,
};

/// The leased balances, the operations that wait, and the journal, in which they stand in the same order.
#[derive(Debug)]
pub(super) struct LedgerState {
    state: Mutex<Inner>,
    /// Something is there for the store.
    changed: Condvar,
    /// Holds are there for the disk.
    held: Condvar,
    epoch: i64,
}

#[derive(Debug)]
struct Inner {
    ops: Vec<Op>,
    journal: Journal,
    balances: LeasedBalances,
    /// Holds that are to be written to the journal, and the write that they wait for.
    holds: Vec<Encoded>,
    commit: Arc<GroupCommit>,
    /// Are they all?
    sealed: bool,
    /// Does the thread that writes them wait for more?
    idle: bool,
    /// Calls so far, and those of them that have not ended.
    calls: u64,
    open: u64,
    /// Can the store not be written, nor the journal?
    store_fails: bool,
    journal_fails: bool,
    /// Does somebody wait for an answer?
    urgent: bool,
    closed: bool,
}

/// Money that is set aside in memory.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) held: Held,
    /// The write by which it gets to the disk.
    pub(super) commit: Arc<GroupCommit>,
    /// Is it the first in that write, and so the one to seal it?
    pub(super) leads: bool,
}

/// All that was taken out at once.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) ops: Vec<Op>,
    /// Records of the journal that were written for these and earlier operations.
    pub(super) records: u64,
    /// Money that was not needed.
    pub(super) unused: Vec<UnusedLease>,
    /// Will nothing come any more?
    pub(super) closed: bool,
}

/// Something for the store.
#[derive(Debug)]
pub(super) enum Op {
    /// Lend money for a call.
    Lease(Request, Reply<Result<Unclaimed, Refusal>>),
    /// Money is set aside for a call.
    Begin(OpenHold),
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

/// Money that is set aside for a caller who may be gone: then it must not stay so.
#[derive(Debug)]
pub(super) struct Unclaimed {
    state: Arc<LedgerState>,
    commit: Arc<GroupCommit>,
    leads: bool,
    held: Option<Held>,
}

impl LedgerState {
    pub(super) fn new(journal: Journal, epoch: i64) -> Self {
        let state = Inner {
            ops: Vec::new(),
            journal,
            balances: LeasedBalances::new(),
            holds: Vec::new(),
            commit: Arc::default(),
            sealed: false,
            idle: false,
            calls: 0,
            open: 0,
            store_fails: false,
            journal_fails: false,
            urgent: false,
            closed: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), held: Condvar::new(), epoch }
    }

    /// Sets money aside for a call if it is in the leased balance; tells when that is on the disk.
    pub(super) fn hold(&self, request: &Request) -> Option<Set> {
        let mut state = self.lock();
        if state.store_fails || state.closed || !state.has_room() {
            return None;
        }
        let terms = state.balances.take(request)?;
        self.begin(state, request.wanted, request, terms)
    }

    /// Sets money aside for a call that the store has lent for it.
    pub(super) fn lease(&self, request: &Request, lease: &Lease) -> Option<Set> {
        let mut state = self.lock();
        let Lease { terms, amount } = lease;
        state.balances.learn(request, terms);
        if state.closed || !state.has_room() {
            state.balances.put(&terms.billing.account, &terms.billing.key, *amount);
            return None;
        }
        self.begin(state, *amount, request, Arc::clone(terms))
    }

    /// Begins a call with money that was taken for it; gives it back where the call cannot be written down.
    fn begin(
        &self,
        mut state: MutexGuard<'_, Inner>,
        amount: Amount,
        request: &Request,
        terms: Arc<PriceTerms>,
    ) -> Option<Set> {
        let Request { prompt, rates, .. } = *request;
        let hold = |call| encode(&Record::Hold(call, Hold { billing: terms.number, amount, prompt, rates }));
        let call = CallId::new(self.epoch, state.calls);
        let Some((call, record)) = call.and_then(|call| Some((call, hold(call)?))) else {
            state.balances.put(&terms.billing.account, &terms.billing.key, amount);
            return None;
        };
        state.calls += 1;
        state.open += 1;
        state.holds.push(record);
        let (leads, commit) = (state.holds.len() == 1, Arc::clone(&state.commit));
        self.add(
            state,
            Op::Begin(OpenHold { call, billing: Arc::clone(&terms.billing), amount, prompt, rates }),
        );
        Some(Set { held: Held { call, amount, terms }, commit, leads })
    }

    /// Lets the holds be written that wait for it.
    pub(super) fn seal(&self) {
        let mut state = self.lock();
        state.sealed = true;
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        if idle {
            self.held.notify_one();
        }
    }

    /// Waits for holds and writes them to the journal; gives what is to be told when that is on the disk. Nothing
    /// comes any more when there is nothing.
    pub(super) fn write_holds(&self) -> Option<(Arc<GroupCommit>, io::Result<()>)> {
        let waits = |state: &mut Inner| {
            state.idle = !state.closed && (!state.sealed || state.holds.is_empty());
            state.idle
        };
        let mut state = self.held.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner);
        state.sealed = false;
        if state.holds.is_empty() {
            return None;
        }
        let (holds, commit) = (std::mem::take(&mut state.holds), std::mem::take(&mut state.commit));
        Some((commit, state.journal.write(&holds)))
    }

    /// Could the last holds be written to the disk? Gives whether it was otherwise before.
    pub(super) fn note_journal(&self, fails: bool) -> bool {
        std::mem::replace(&mut self.lock().journal_fails, fails) != fails
    }

    /// Can the store be written? Gives whether it was otherwise before.
    pub(super) fn note_store(&self, fails: bool) -> bool {
        std::mem::replace(&mut self.lock().store_fails, fails) != fails
    }

    /// Can either of them not be written?
    pub(super) fn is_failing(&self) -> bool {
        let state = self.lock();
        state.store_fails || state.journal_fails
    }

    /// Calls in flight.
    pub(super) fn open(&self) -> u64 {
        self.lock().open
    }

    /// Adds an operation that somebody waits for.
    pub(super) fn ask(&self, op: Op) {
        let mut state = self.lock();
        state.ops.push(op);
        let first = !std::mem::replace(&mut state.urgent, true);
        drop(state);
        // A system call for each would cost more than the operation itself.
        if first {
            self.changed.notify_one();
        }
    }

    /// Adds an operation that has time.
    pub(super) fn tell(&self, op: Op) {
        self.add(self.lock(), op);
    }

    /// Notes the progress of a call, if there is room for it.
    pub(super) fn mark(&self, call: CallId, delivered: u64) {
        let record = Record::Mark(call, delivered);
        let mut state = self.lock();
        if state.journal.is_roomy() {
            state.write(encode(&record));
            self.add(state, Op::Record(record));
        }
    }

    /// Notes the end of a call: it stands in the journal, and what it has not needed is back in the leased balance.
    pub(super) fn end(&self, held: &Held, end: End) {
        // What a call has cost beyond its hold is taken from the balance, not from the leased balance.
        let rest = difference(held.amount, end.charge.min(held.amount));
        let record = Record::End(held.call, end);
        let encoded = encode(&record);
        let billing = &held.terms.billing;
        let mut state = self.lock();
        // What only memory knows of must not be spent again: who takes over from a dead process would not find it.
        if state.write(encoded) {
            state.balances.put(&billing.account, &billing.key, rest);
        }
        match state.open.checked_sub(1) {
            Some(open) => state.open = open,
            None => {
                violated(Invariant::OpenHolds, format_args!("call {} ends, and none is open", held.call.0));
            }
        }
        self.add(state, Op::Record(record));
    }

    fn add(&self, mut state: MutexGuard<'_, Inner>, op: Op) {
        state.ops.push(op);
        let wakes = state.ops.len() == 1 || state.ops.len() == MANY;
        drop(state);
        if wakes {
            self.changed.notify_one();
        }
    }

    /// How many operations wait.
    pub(super) fn len(&self) -> usize {
        self.lock().ops.len()
    }

    /// Waits for operations, or for money that is not needed, and takes all of it.
    pub(super) fn take(&self) -> Taken {
        let idle = |state: &mut Inner| state.ops.is_empty() && !state.closed;
        let waits = |state: &mut Inner| !state.urgent && !state.closed && state.ops.len() < MANY;
        let state = self.lock();
        let mut state = match state.balances.rest() {
            None => self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner),
            Some(rest) => self.wait(state, rest, idle),
        };
        if !state.ops.is_empty() {
            state = self.wait(state, PATIENCE, waits);
        }
        state.urgent = false;
        Taken {
            ops: std::mem::take(&mut state.ops),
            records: state.journal.written(),
            unused: if state.closed {
                state.balances.empty(|_, _| true)
            } else {
                state.balances.take_unused()
            },
            closed: state.closed,
        }
    }

    fn wait<'q>(
        &self,
        state: MutexGuard<'q, Inner>,
        time: Duration,
        condition: impl FnMut(&mut Inner) -> bool,
    ) -> MutexGuard<'q, Inner> {
        let waited = self.changed.wait_timeout_while(state, time, condition);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Takes out what is spare in the leased balance of a key, or in all of an account.
    pub(super) fn empty(&self, selector: BalanceSelector<'_>) -> Vec<UnusedLease> {
        let balances = &mut self.lock().balances;
        match selector {
            BalanceSelector::Key(key) => balances.empty(|other, _| other == key),
            BalanceSelector::Account(account) => balances.empty(|_, other| other == account),
        }
    }

    /// Puts money into leased balances.
    pub(super) fn fill(&self, spare: &[UnusedLease]) {
        let balances = &mut self.lock().balances;
        spare.iter().for_each(|spare| balances.put(&spare.account, &spare.key, spare.amount));
    }

    /// Puts operations back that could not be carried out, before those that have come since.
    pub(super) fn put_back(&self, mut ops: Vec<Op>) {
        let mut state = self.lock();
        ops.append(&mut state.ops);
        state.ops = ops;
    }

    /// The store has the first so many records of the journal.
    pub(super) fn done(&self, records: u64) {
        self.lock().journal.taken(records);
    }

    /// Has the store everything, and is no call in flight?
    pub(super) fn is_done(&self) -> bool {
        let state = self.lock();
        state.ops.is_empty() && state.open == 0 && state.journal.is_taken()
    }

    /// Lets the threads end when they have taken everything.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
        self.held.notify_one();
    }

    /// The journal's file, to be synced.
    ///
    /// # Errors
    /// When the process has no file to spare.
    pub(super) fn file(&self) -> io::Result<File> {
        self.lock().journal.file()
    }

    /// Removes the journal, which nobody needs any more.
    pub(super) fn remove_journal(&self) {
        self.lock().journal.remove();
    }

    /// Forgets what waits and what it has, and lets go of the journal.
    #[cfg(test)]
    pub(super) fn die(&self) {
        let mut state = self.lock();
        state.ops.clear();
        // To give it back would be the last thing that the process does, and it does nothing any more.
        state.balances = LeasedBalances::new();
        state.closed = true;
        state.journal.unlock();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Writes a record to the journal; says whether it could. If not, its operation is still carried out, unless
    /// the process dies before.
    fn write(&mut self, record: Option<Encoded>) -> bool {
        let Some(record) = record else { return false };
        let written = self.journal.write(&[record]);
        written.inspect_err(|error| log::error!("journal: {error}")).is_ok()
    }

    /// Is there room in the journal for one more call, and for the ends of all?
    fn has_room(&self) -> bool {
        self.journal.room() > self.open + 2 * (self.holds.len() as u64 + 1)
    }
}

impl Op {
    /// Tells who waits that it can not be done; returns what has to be done all the same.
    pub(super) fn refuse(self) -> Option<Self> {
        match self {
            Self::Lease(_, reply) => drop(reply.send(Err(Refusal::Store))),
            Self::Wallet(_, reply) => drop(reply.send(Err(Refusal::Store))),
            Self::Report(_, reply) => drop(reply.send(Err(Refusal::Store))),
            kept => return Some(kept),
        }
        None
    }
}

impl Unclaimed {
    pub(super) fn new(state: &Arc<LedgerState>, Set { held, commit, leads }: Set) -> Self {
        Self { state: Arc::clone(state), commit, leads, held: Some(held) }
    }

    /// Gives the money when it is on the disk that it is set aside.
    pub(super) async fn claim(mut self) -> Result<Held, Refusal> {
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
            self.state.seal();
        }
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        self.seal();
        if let Some(held) = self.held.take() {
            self.state.end(&held, End::released());
        }
    }
}

/// How often the first of those who share a write lets others that are ready go before.
const TURNS: u32 = 1;

/// How long operations that have time wait for others, so that they share a commit.
const PATIENCE: Duration = Duration::from_millis(100);

/// So many do not wait.
const MANY: usize = 8192;
