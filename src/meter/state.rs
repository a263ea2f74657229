//! The ledger's state in memory: the leased balances, the operations that wait for the store, and the journal.
//!
//! Every thread adds to it. One thread writes holds to the journal, another takes the operations for the store, each
//! of them all at once. A caller that waits for an answer wakes the second one at once; other operations wake it only
//! when it is idle, and it then waits a little for more.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::oneshot;

use crate::money::Amount;
use crate::repeated::RepeatedLine;

use super::books::Wallet;
use super::group_commit::GroupCommit;
use super::invariant::{Invariant, difference, violated};
use super::journal::{EncodedRecord, Hold, Journal, JournalRecord, encode, encode_end};
use super::lease_validity::LeaseValidity;
use super::leased_balance::LeasedBalances;
use super::report::UsageReport;
use super::types::{
    CallEnd, CallId, CountedCall, HeldMoney, HoldRefusal, HoldRequest, Lease, LimitSet, OpenHold, PriceTerms,
    UnusedLease,
};

/// The leased balances, the operations that wait, and the journal, in which they stand in the same order.
#[derive(Debug)]
pub(super) struct LedgerState {
    state: Mutex<InnerState>,
    /// Signals operations for the store.
    changed: Condvar,
    /// Signals holds for the journal.
    held: Condvar,
    epoch: i64,
}

/// The state behind the lock.
#[derive(Debug)]
struct InnerState {
    ops: Vec<StoreOperation>,
    journal: Journal,
    balances: LeasedBalances,
    /// Holds for the journal, and the write in which they will be.
    holds: Vec<EncodedRecord>,
    commit: Arc<GroupCommit>,
    /// Whether the holds may be written now.
    sealed: bool,
    /// Whether the thread that writes holds is waiting.
    idle: bool,
    /// Calls so far, and those that are open.
    calls: u64,
    open: u64,
    /// The time for which the store's leases are valid.
    validity: LeaseValidity,
    /// Whether the last write to the journal has failed.
    journal_fails: bool,
    /// Whether somebody waits for an answer.
    urgent: bool,
    closed: bool,
}

/// Money that is set aside in memory.
#[derive(Debug)]
pub(super) struct NewHold {
    pub(super) held: HeldMoney,
    /// The write that takes it to the disk; absent if the call does not wait for it.
    pub(super) commit: Option<Arc<GroupCommit>>,
    /// Whether this is the first hold of that write, which seals it.
    pub(super) leads: bool,
}

/// The work for one transaction of the store.
#[derive(Debug)]
pub(super) struct StoreWork {
    pub(super) ops: Vec<StoreOperation>,
    /// The number of journal records that these and earlier operations have written.
    pub(super) records: u64,
    /// Unused leases to return.
    pub(super) unused: Vec<UnusedLease>,
    /// Whether the ledger is closed.
    pub(super) closed: bool,
}

/// An operation for the store.
#[derive(Debug)]
pub(super) enum StoreOperation {
    /// Leases money for a call.
    Lease(HoldRequest, oneshot::Sender<Result<UnclaimedHold, HoldRefusal>>),
    /// Writes the hold of a call.
    Begin(OpenHold),
    /// Notes how far a call has come.
    Mark(CallId, u64),
    /// Ends a call.
    End(HeldMoney, CallEnd),
    /// Counts a call that nobody pays for.
    Free(CountedCall),
    /// Reads the wallet of an account.
    Wallet(String, oneshot::Sender<Result<Option<Wallet>, HoldRefusal>>),
    /// Reads the usage of an account.
    Report(String, oneshot::Sender<Result<UsageReport, HoldRefusal>>),
}

/// A hold whose caller may be gone: unless it is claimed, it is released.
#[derive(Debug)]
pub(super) struct UnclaimedHold {
    state: Arc<LedgerState>,
    commit: Option<Arc<GroupCommit>>,
    leads: bool,
    held: Option<HeldMoney>,
}

impl LedgerState {
    pub(super) fn new(journal: Journal, epoch: i64) -> Self {
        let state = InnerState {
            ops: Vec::new(),
            journal,
            balances: LeasedBalances::new(),
            holds: Vec::new(),
            commit: Arc::default(),
            sealed: false,
            idle: false,
            calls: 0,
            open: 0,
            validity: LeaseValidity::default(),
            journal_fails: false,
            urgent: false,
            closed: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), held: Condvar::new(), epoch }
    }

    /// Sets money aside for a call if the leased balance has as much.
    pub(super) fn hold(&self, request: &HoldRequest) -> Option<NewHold> {
        let mut state = self.lock();
        if !state.validity.holds() || state.closed || !state.has_room() {
            return None;
        }
        let terms = state.balances.take(request)?;
        self.begin(state, request.wanted, request, terms)
    }

    /// Sets money aside that the store has leased for a call.
    pub(super) fn lease(&self, request: &HoldRequest, lease: &Lease) -> Option<NewHold> {
        let mut state = self.lock();
        let Lease { terms, amount } = lease;
        state.balances.learn(request, terms);
        if state.closed || !state.has_room() {
            state.balances.deposit(&terms.limits, *amount);
            return None;
        }
        self.begin(state, *amount, request, Arc::clone(terms))
    }

    /// Begins a call with money that was taken for it, or returns the money if the call cannot be recorded.
    fn begin(
        &self,
        mut state: MutexGuard<'_, InnerState>,
        amount: Amount,
        request: &HoldRequest,
        terms: Arc<PriceTerms>,
    ) -> Option<NewHold> {
        let HoldRequest { prompt, rates, .. } = *request;
        let (billing, balance) = (terms.number, terms.limits.number);
        let hold = Hold { billing, balance, amount, prompt, rates };
        let call = CallId::new(self.epoch, state.calls);
        let record = call.and_then(|call| Some((call, encode(&JournalRecord::Hold(call, hold))?)));
        let begun = record.and_then(|(call, record)| Some((call, state.note(&terms.limits, record)?)));
        let Some((call, (commit, leads))) = begun else {
            state.balances.deposit(&terms.limits, amount);
            return None;
        };
        state.calls += 1;
        state.open += 1;
        self.add(
            state,
            StoreOperation::Begin(OpenHold {
                call,
                billing: Arc::clone(&terms.billing),
                limits: Arc::clone(&terms.limits),
                amount,
                prompt,
                rates,
            }),
        );
        Some(NewHold { held: HeldMoney { call, amount, terms }, commit, leads })
    }

    /// Lets the waiting holds be written.
    pub(super) fn seal(&self) {
        let mut state = self.lock();
        state.sealed = true;
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        if idle {
            self.held.notify_one();
        }
    }

    /// Waits for holds and writes them to the journal; returns the write, to be finished when it is synced to the disk,
    /// or `None` once the ledger is closed.
    pub(super) fn write_holds(&self) -> Option<(Arc<GroupCommit>, io::Result<()>)> {
        let waits = |state: &mut InnerState| {
            state.idle = !state.closed && (!state.sealed || state.holds.is_empty());
            state.idle
        };
        let mut state = self.lock();
        self.held.wait_while(&mut state, waits);
        state.sealed = false;
        if state.holds.is_empty() {
            return None;
        }
        let (holds, commit) = (std::mem::take(&mut state.holds), std::mem::take(&mut state.commit));
        Some((commit, state.journal.write(&holds)))
    }

    /// Notes whether the last write to the journal has failed; returns whether that is a change.
    pub(super) fn note_journal(&self, fails: bool) -> bool {
        std::mem::replace(&mut self.lock().journal_fails, fails) != fails
    }

    /// Notes the answer to a posting that was sent at this time; returns whether the one before has failed.
    pub(super) fn note_answer(&self, sent: Instant, patience: Option<Duration>) -> bool {
        self.lock().validity.answered(sent, patience)
    }

    /// Notes that a posting has failed; returns whether the one before has not.
    pub(super) fn note_failure(&self) -> bool {
        self.lock().validity.failed()
    }

    /// Whether the store or the journal cannot be written, so that calls are refused.
    pub(super) fn is_failing(&self) -> bool {
        let state = self.lock();
        !state.validity.holds() || state.journal_fails
    }

    /// Returns the number of calls in flight.
    pub(super) fn open(&self) -> u64 {
        self.lock().open
    }

    /// Adds an operation that somebody waits for.
    pub(super) fn ask(&self, op: StoreOperation) {
        let mut state = self.lock();
        state.ops.push(op);
        let first = !std::mem::replace(&mut state.urgent, true);
        drop(state);
        // A system call for each would cost more than the operation itself.
        if first {
            self.changed.notify_one();
        }
    }

    /// Adds an operation that nobody waits for.
    pub(super) fn tell(&self, op: StoreOperation) {
        self.add(self.lock(), op);
    }

    /// Notes the progress of a call, if the journal has plenty of room.
    pub(super) fn mark(&self, call: CallId, delivered: u64) {
        let record = JournalRecord::Mark(call, delivered);
        let mut state = self.lock();
        if state.journal.is_roomy() {
            state.write(encode(&record));
            self.add(state, StoreOperation::Mark(call, delivered));
        }
    }

    /// Notes the end of a call in the journal, and returns what it has not needed to the leased balance.
    pub(super) fn end(&self, held: &HeldMoney, end: CallEnd) {
        // What a call has cost beyond its hold is taken from the balance, not from the leased balance.
        let rest = difference(held.amount, end.charge.min(held.amount));
        let encoded = encode_end(held.call, &end);
        let mut state = self.lock();
        // What only memory knows of must not be spent again: who takes over from a dead process would not find it.
        if state.write(encoded) {
            state.balances.deposit(&held.terms.limits, rest);
        }
        match state.open.checked_sub(1) {
            Some(open) => state.open = open,
            None => {
                violated(Invariant::OpenHolds, format_args!("call {} ends, and none is open", held.call.0));
            }
        }
        self.add(state, StoreOperation::End(held.clone(), end));
    }

    fn add(&self, mut state: MutexGuard<'_, InnerState>, op: StoreOperation) {
        state.ops.push(op);
        let wakes = state.ops.len() == 1 || state.ops.len() == MAX_DELAYED_COUNT;
        drop(state);
        if wakes {
            self.changed.notify_one();
        }
    }

    /// Returns the number of operations that wait.
    pub(super) fn len(&self) -> usize {
        self.lock().ops.len()
    }

    /// Waits for operations or unused leases, and takes all of them.
    pub(super) fn take(&self) -> StoreWork {
        let idle = |state: &mut InnerState| state.ops.is_empty() && !state.closed;
        let waits =
            |state: &mut InnerState| !state.urgent && !state.closed && state.ops.len() < MAX_DELAYED_COUNT;
        let mut state = self.lock();
        match state.balances.rest() {
            None => self.changed.wait_while(&mut state, idle),
            Some(rest) => drop(self.changed.wait_while_for(&mut state, idle, rest)),
        }
        if !state.ops.is_empty() {
            self.changed.wait_while_for(&mut state, waits, STORE_BATCH_DELAY);
        }
        state.urgent = false;
        StoreWork {
            ops: std::mem::take(&mut state.ops),
            records: state.journal.written(),
            unused: if state.closed { state.balances.empty(|_| true) } else { state.balances.take_unused() },
            closed: state.closed,
        }
    }

    /// Takes out all spare money of a key's balances. Returns it, and whether others that share a limit with it have some.
    pub(super) fn empty_key(&self, account: &str, key: &str) -> (Vec<UnusedLease>, bool) {
        self.lock().balances.empty_key(account, key)
    }

    /// Takes out all spare money of the balances that share a limit with those of a key of an account.
    pub(super) fn empty_sharing(&self, account: &str, key: &str) -> Vec<UnusedLease> {
        self.lock().balances.empty(|limits| limits.shares(account, key))
    }

    /// Adds money to leased balances.
    pub(super) fn fill(&self, spare: &[UnusedLease]) {
        let balances = &mut self.lock().balances;
        spare.iter().for_each(|spare| balances.deposit(&spare.limits, spare.amount));
    }

    /// Puts operations back that could not be carried out, before those that have come since.
    pub(super) fn put_back(&self, mut ops: Vec<StoreOperation>) {
        let mut state = self.lock();
        ops.append(&mut state.ops);
        state.ops = ops;
    }

    /// Notes that the store has the first `records` records of the journal.
    pub(super) fn done(&self, records: u64) {
        self.lock().journal.taken(records);
    }

    /// Whether the store has everything, and no call is in flight.
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
    /// Fails if the process cannot open another file.
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

    fn lock(&self) -> MutexGuard<'_, InnerState> {
        self.state.lock()
    }
}

impl InnerState {
    /// Writes a record to the journal; returns whether it could. If not, its operation is still carried out, unless
    /// the process dies before.
    fn write(&mut self, record: Option<EncodedRecord>) -> bool {
        let Some(record) = record else { return false };
        let written = self.journal.write(&[record]);
        written
            .inspect_err(|error| UNWRITTEN.write(log::Level::Error, format_args!("journal: {error}")))
            .is_ok()
    }

    /// Notes the hold of a call: for its group's write to the disk, if it is for a wallet. A power failure may lose what
    /// only budgets limit, but no killed process does, so the journal's file gets that at once. Returns the group's write,
    /// and whether this is its first hold, or `None` if the journal cannot be written.
    fn note(&mut self, limits: &LimitSet, record: EncodedRecord) -> Option<(Option<Arc<GroupCommit>>, bool)> {
        if !limits.has_wallet {
            return self.write(Some(record)).then_some((None, false));
        }
        self.holds.push(record);
        Some((Some(Arc::clone(&self.commit)), self.holds.len() == 1))
    }

    /// Whether the journal has room for one more call, and for the ends of all calls.
    fn has_room(&self) -> bool {
        self.journal.room() > self.open + 2 * (self.holds.len() as u64 + 1)
    }
}

impl StoreOperation {
    /// Whether somebody waits for an answer.
    pub(super) fn is_asked(&self) -> bool {
        matches!(self, Self::Lease(..) | Self::Wallet(..) | Self::Report(..))
    }

    /// Refuses an operation that somebody waits for; returns any other one.
    pub(super) fn refuse(self) -> Option<Self> {
        match self {
            Self::Lease(_, reply) => drop(reply.send(Err(HoldRefusal::Store))),
            Self::Wallet(_, reply) => drop(reply.send(Err(HoldRefusal::Store))),
            Self::Report(_, reply) => drop(reply.send(Err(HoldRefusal::Store))),
            kept => return Some(kept),
        }
        None
    }
}

impl UnclaimedHold {
    pub(super) fn new(state: &Arc<LedgerState>, NewHold { held, commit, leads }: NewHold) -> Self {
        Self { state: Arc::clone(state), commit, leads, held: Some(held) }
    }

    /// Returns the hold once it is on the disk.
    pub(super) async fn claim(mut self) -> Result<HeldMoney, HoldRefusal> {
        if self.leads {
            // Calls that have come at the same time share the write.
            for _ in 0..YIELDS_BEFORE_COMMIT {
                tokio::task::yield_now().await;
            }
            self.seal();
        }
        let on_disk = match &self.commit {
            Some(commit) => Arc::clone(commit).wait().await,
            None => true,
        };
        // What could not be written may have reached the disk all the same: that it is released goes there, too.
        let held = if on_disk { self.held.take() } else { None };
        held.ok_or(HoldRefusal::Store)
    }

    fn seal(&mut self) {
        if std::mem::take(&mut self.leads) {
            self.state.seal();
        }
    }
}

impl Drop for UnclaimedHold {
    fn drop(&mut self) {
        self.seal();
        if let Some(held) = self.held.take() {
            self.state.end(&held, CallEnd::released());
        }
    }
}

/// The number of times that the first hold of a write yields, so that calls that are ready share the write.
const YIELDS_BEFORE_COMMIT: u32 = 1;

/// The time for which operations are kept that nobody waits for, so that they share a transaction.
const STORE_BATCH_DELAY: Duration = Duration::from_millis(100);

/// The number of operations that are not kept waiting.
const MAX_DELAYED_COUNT: usize = 8192;

/// The line about a journal that cannot be written.
static UNWRITTEN: RepeatedLine = RepeatedLine::new();
