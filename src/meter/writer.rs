//! The two threads of the ledger: one writes holds to the journal, the other everything to the store.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::auth::SecretUses;
use crate::notify::Outbox;
use crate::store::StoreError;

use super::batch::Batch;
use super::invariant::{Invariant, violated};
use super::posting::{Posting, Receipt};
use super::recover;
use super::state::{LedgerState, StoreOperation, StoreWork, UnclaimedHold};
use super::types::{HoldRefusal, LimitSet, UnusedLease};
use super::vault::{Standing, Trouble, Vault};

/// Receives the time of each write to the journal.
pub(super) type CommitObserver = Box<dyn Fn(Duration) + Send + Sync>;

/// The thread that writes holds to the journal.
pub(super) struct Syncer {
    pub(super) state: Arc<LedgerState>,
    pub(super) file: File,
    pub(super) watch: Arc<OnceLock<CommitObserver>>,
}

impl Syncer {
    pub(super) fn run(self) {
        while let Some((commit, written)) = self.state.write_holds() {
            let begun = Instant::now();
            let synced = written.and_then(|()| self.file.sync_data());
            if self.state.note_journal(synced.is_err())
                && let Err(error) = &synced
            {
                log::error!("journal: {error}; paid calls are refused until it can be written again");
            }
            commit.finish(synced.is_ok());
            if let Some(watch) = self.watch.get() {
                watch(begun.elapsed());
            }
            // Under load, a write costs more than this wait: it is shared by those who come meanwhile.
            std::thread::sleep(MIN_WRITE_INTERVAL.saturating_sub(begun.elapsed()));
        }
    }
}

/// The thread that writes to the store.
pub(super) struct LedgerWriter {
    pub(super) vault: Box<dyn Vault>,
    pub(super) journals: PathBuf,
    /// The time of the last recovery of dead processes' calls.
    pub(super) recovered: Instant,
    pub(super) state: Arc<LedgerState>,
    pub(super) uses: Arc<OnceLock<Arc<SecretUses>>>,
    pub(super) outbox: Arc<OnceLock<Arc<Outbox>>>,
    pub(super) epoch: i64,
    /// The number of the last posting.
    pub(super) posted: u64,
    /// Leases that were returned by a posting whose answer was lost, and that was not carried out. The store may have had
    /// them for a moment and lent them to others, so they are returned again and never spent.
    pub(super) owed: Vec<UnusedLease>,
}

/// A posting that was not carried out.
struct PostingFailure {
    error: StoreError,
    /// Whether what it returns may be spent again.
    is_spendable: bool,
}

impl LedgerWriter {
    pub(super) fn run(mut self) {
        while !self.step() {}
        self.end();
    }

    /// Waits for work and does it. Returns whether the ledger is closed.
    pub(super) fn step(&mut self) -> bool {
        let StoreWork { ops, records, unused, closed } = self.state.take();
        if !ops.is_empty() || !unused.is_empty() || !self.owed.is_empty() {
            self.carry_out(ops, records, unused, closed);
        }
        closed
    }

    /// Carries out operations and answers those who wait for them. What finds too little money is carried out once more,
    /// with what this process has lent to others of the account and does not need.
    fn carry_out(&mut self, ops: Vec<StoreOperation>, records: u64, unused: Vec<UnusedLease>, closed: bool) {
        let mut batch = Batch::new(self.epoch, self.posted + 1, false);
        batch.give_back(unused);
        let again = self.carry_out_once(batch, ops, records, closed);
        if !again.is_empty() {
            let batch = Batch::new(self.epoch, self.posted + 1, true);
            self.carry_out_once(batch, again, records, closed);
        }
    }

    /// Carries out operations in one posting. Returns those that are to be carried out once more.
    fn carry_out_once(
        &mut self,
        batch: Batch,
        ops: Vec<StoreOperation>,
        records: u64,
        closed: bool,
    ) -> Vec<StoreOperation> {
        let posting = self.posting(batch, &ops);
        match self.post(&posting, closed) {
            Ok(receipt) => {
                if !posting.comes_again(&receipt) {
                    self.state.done(records);
                }
                let (again, short) = self.answer(ops, &posting, receipt);
                if short {
                    self.recover();
                }
                again
            }
            Err(PostingFailure { error, is_spendable }) => {
                if is_spendable {
                    self.state.fill(&posting.returns);
                } else {
                    self.owed.extend(posting.returns);
                }
                self.put_back(ops, &error, closed);
                Vec::new()
            }
        }
    }

    /// Makes the posting of some operations. Spare money of the accounts that want some goes back with it.
    fn posting(&mut self, mut batch: Batch, ops: &[StoreOperation]) -> Posting {
        batch.give_back(std::mem::take(&mut self.owed));
        for op in ops {
            match op {
                StoreOperation::Lease(request, _) => {
                    let (account, key) = (&request.grant.account, &request.grant.id);
                    if batch.is_last() {
                        batch.give_back(self.state.empty_sharing(account, key));
                    }
                    let (spare, have_spare) = self.state.empty_key(account, key);
                    batch.give_back(spare);
                    batch.want(request, have_spare);
                }
                StoreOperation::Begin(hold) => batch.begin(hold.clone()),
                StoreOperation::Mark(call, delivered) => batch.mark(*call, *delivered),
                StoreOperation::End(held, end) => {
                    if batch.is_last() {
                        let LimitSet { account, key, .. } = &*held.terms.limits;
                        batch.give_back(self.state.empty_sharing(account, key));
                    }
                    batch.end(held.open_hold(), end.clone());
                }
                StoreOperation::Free(call) => batch.count(call),
                StoreOperation::Wallet(account, _) => batch.wallet(account),
                StoreOperation::Report(account, _) => batch.report(account),
            }
        }
        let uses = self.uses.get().map(|uses| uses.waiting()).unwrap_or_default();
        let webhooks = self.outbox.get().map(|outbox| outbox.webhooks()).unwrap_or_default();
        Posting { uses, webhooks, ..batch.finish() }
    }

    /// Sends a posting to the store.
    fn post(&mut self, posting: &Posting, closed: bool) -> Result<Receipt, PostingFailure> {
        let sent = Instant::now();
        let receipt = match self.vault.post(posting) {
            Ok(receipt) => receipt,
            Err(Trouble::Unknown(error)) => self.resolve(posting, error, closed)?,
            Err(trouble) => return Err(PostingFailure { error: trouble.into(), is_spendable: true }),
        };
        self.posted = posting.number;
        self.state.note_answer(sent, self.vault.patience());
        if let Some(uses) = self.uses.get() {
            uses.written(&posting.uses);
        }
        if let Some(outbox) = self.outbox.get() {
            outbox.note_lost(receipt.lost_events);
        }
        Ok(receipt)
    }

    /// Finds out what has become of a posting of which no answer came, before anything else is posted.
    fn resolve(
        &mut self,
        posting: &Posting,
        mut error: StoreError,
        closed: bool,
    ) -> Result<Receipt, PostingFailure> {
        loop {
            match self.vault.posted(self.epoch) {
                Ok(Standing { number, receipt: Some(receipt) }) if number == posting.number => {
                    return Ok(receipt);
                }
                Ok(Standing { number, .. }) => {
                    let strayed = number != self.posted;
                    let error = if strayed { Trouble::Strayed.into() } else { error };
                    return Err(PostingFailure { error, is_spendable: false });
                }
                // Whoever takes over the journal finds out.
                Err(_) if closed => return Err(PostingFailure { error, is_spendable: false }),
                Err(trouble) => error = trouble.into(),
            }
            self.tell_failure(&error);
            std::thread::sleep(STORE_RETRY_INTERVAL);
        }
    }

    /// Recovers the leases of dead processes when money is short.
    fn recover(&mut self) {
        if self.recovered.elapsed() < MIN_RECOVERY_INTERVAL {
            return;
        }
        self.recovered = Instant::now();
        if let Err(error) = recover::all(&mut *self.vault, &self.journals) {
            log::error!("ledger: {error}");
        }
    }

    /// Sends the answers, in the order of the requests. Returns the operations that are to be carried out once more, and
    /// whether calls in flight hold money for which others were refused.
    fn answer(
        &self,
        ops: Vec<StoreOperation>,
        posting: &Posting,
        receipt: Receipt,
    ) -> (Vec<StoreOperation>, bool) {
        let Receipt { wants, wallets, reports, ahead, short, alerts, .. } = receipt;
        alerts.iter().for_each(|alert| log::warn!("ledger: {alert}"));
        let asked = ops.iter().filter(|op| op.is_asked()).count();
        let given = wants.len() + wallets.len() + reports.len();
        if asked != given {
            violated(Invariant::Answers, format_args!("{given} answers to {asked} requests"));
        }
        let mut wants = posting.wants.iter().zip(wants);
        let (mut wallets, mut reports) = (wallets.into_iter(), reports.into_iter());
        let (mut again, mut in_flight) = (Vec::new(), false);
        for op in ops {
            // Who waited may be gone.
            match op {
                StoreOperation::Lease(request, reply) => match wants.next() {
                    Some((_, Ok(lease))) => {
                        let set = self.state.lease(&request, &lease).ok_or(HoldRefusal::Store);
                        _ = reply.send(set.map(|set| UnclaimedHold::new(&self.state, set)));
                    }
                    Some((want, Err(denial))) => match want.refusal(&denial) {
                        Some(refusal) => {
                            in_flight |= matches!(refusal, HoldRefusal::InFlight(_));
                            _ = reply.send(Err(refusal));
                        }
                        None => again.push(StoreOperation::Lease(request, reply)),
                    },
                    None => {}
                },
                StoreOperation::End(held, end) if short.contains(&held.call) => {
                    again.push(StoreOperation::End(held, end));
                }
                // Whoever asks is told of all calls that have ended before.
                asked @ (StoreOperation::Wallet(..) | StoreOperation::Report(..)) if !short.is_empty() => {
                    again.push(asked);
                }
                StoreOperation::Wallet(_, reply) => {
                    if let Some(wallet) = wallets.next() {
                        _ = reply.send(Ok(wallet));
                    }
                }
                StoreOperation::Report(_, reply) => {
                    if let Some(report) = reports.next() {
                        _ = reply.send(Ok(report));
                    }
                }
                StoreOperation::Begin(_)
                | StoreOperation::Mark(..)
                | StoreOperation::End(..)
                | StoreOperation::Free(_) => {}
            }
        }
        self.state.fill(&ahead);
        (again, in_flight)
    }

    /// Refuses what somebody waits for, and keeps the rest for the next attempt: the store cannot be written.
    fn put_back(&self, ops: Vec<StoreOperation>, error: &StoreError, closed: bool) {
        self.tell_failure(error);
        self.state.put_back(ops.into_iter().filter_map(StoreOperation::refuse).collect());
        if !closed {
            std::thread::sleep(STORE_RETRY_INTERVAL);
        }
    }

    /// Notes that the store cannot be written, and logs it the first time.
    fn tell_failure(&self, error: &StoreError) {
        if self.state.note_failure() {
            log::error!("ledger: {error}; paid calls are refused until it can be written again");
        }
    }

    /// Releases the leases and removes the journal, unless the store lacks something.
    pub(super) fn end(mut self) {
        if !self.state.is_done() || !self.owed.is_empty() {
            return;
        }
        match self.vault.leave(self.epoch) {
            Ok(()) => self.state.remove_journal(),
            Err(trouble) => log::error!("ledger: {}", StoreError::from(trouble)),
        }
    }
}

/// The shortest time between two writes of holds.
const MIN_WRITE_INTERVAL: Duration = Duration::from_micros(600);

/// The pause before a store that could not be written is tried again.
const STORE_RETRY_INTERVAL: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 100 });

/// The shortest time between two recoveries of dead processes' calls.
const MIN_RECOVERY_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::super::books::Wallet;
    use super::super::invariant::expected::violations;
    use super::super::journal::Journal;
    use super::super::vault::sqlite::SqliteVault;
    use super::*;

    #[test]
    fn too_few_answers_and_too_many_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let journals = folder.path().join("journal");
        let vault = SqliteVault::new(crate::store::open(folder.path()).unwrap());
        let state = Arc::new(LedgerState::new(Journal::create(&journals, 1).unwrap(), 1));
        let writer = LedgerWriter {
            vault: Box::new(vault),
            journals,
            recovered: Instant::now(),
            state,
            uses: Arc::default(),
            outbox: Arc::default(),
            epoch: 1,
            posted: 0,
            owed: Vec::new(),
        };
        let answered = |ops: Vec<StoreOperation>, wallets| {
            let receipt = Receipt { wallets, ..Receipt::default() };
            violations(|| drop(writer.answer(ops, &Posting::default(), receipt))).1
        };
        let ask = |reply| vec![StoreOperation::Wallet("a".to_owned(), reply)];
        let (reply, mut answer) = oneshot::channel();
        assert_eq!(answered(ask(reply), vec![]), [Invariant::Answers]);
        assert!(answer.try_recv().is_err(), "whoever waits does not wait forever");
        let (reply, mut answer) = oneshot::channel();
        assert_eq!(answered(ask(reply), vec![None::<Wallet>]), []);
        assert_eq!(answer.try_recv().unwrap(), Ok(None));
        assert_eq!(answered(Vec::new(), vec![None]), [Invariant::Answers]);
    }
}
