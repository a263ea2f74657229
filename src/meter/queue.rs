//! What waits to be written to the store.
//!
//! Everybody puts in, one thread takes out, all of it at once. Who waits for an answer wakes that thread; the
//! others do so only when it has nothing to do at all, and it then waits a little for more.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::journal::{Journal, Record};
use super::ledger::Op;

/// The operations that wait, and the journal, in which they stand in the same order.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    ops: Vec<Op>,
    journal: Journal,
    /// Does somebody wait for an answer?
    urgent: bool,
    closed: bool,
}

/// All that was taken out at once.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) ops: Vec<Op>,
    /// Records of the journal that were written for these and earlier operations.
    pub(super) records: u64,
    /// Will nothing come any more?
    pub(super) closed: bool,
}

impl Queue {
    pub(super) fn new(journal: Journal) -> Self {
        let state = State { ops: Vec::new(), journal, urgent: false, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
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

    /// Writes a record to the journal and adds the operation that it stands for.
    pub(super) fn record(&self, record: &Record) {
        let mut state = self.lock();
        if matches!(record, Record::Mark(..)) && !state.journal.is_roomy() {
            return;
        }
        if let Err(error) = state.journal.write(record) {
            // The operation is still carried out, unless the process dies before.
            log::error!("journal: {error}");
        }
        self.add(state, Op::Record(*record));
    }

    fn add(&self, mut state: MutexGuard<'_, State>, op: Op) {
        state.ops.push(op);
        let first = state.ops.len() == 1;
        drop(state);
        if first {
            self.changed.notify_one();
        }
    }

    /// Waits for operations and takes them all.
    pub(super) fn take(&self) -> Taken {
        let idle = |state: &mut State| state.ops.is_empty() && !state.closed;
        let waits = |state: &mut State| !state.urgent && !state.closed;
        let state = self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, PATIENCE, waits);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.urgent = false;
        Taken { ops: std::mem::take(&mut state.ops), records: state.journal.written(), closed: state.closed }
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

    /// Lets the thread end when it has taken everything.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Removes the journal, which nobody needs any more.
    pub(super) fn remove_journal(&self) {
        self.lock().journal.remove();
    }

    /// Forgets what waits, and lets go of the journal.
    #[cfg(test)]
    pub(super) fn die(&self) {
        let mut state = self.lock();
        state.ops.clear();
        state.closed = true;
        state.journal.unlock();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long operations that have time wait for others, so that they share a commit.
const PATIENCE: Duration = Duration::from_millis(25);
