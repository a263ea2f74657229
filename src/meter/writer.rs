//! The two threads of the ledger: one writes holds to the journal, the other everything to the store.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};

use crate::auth::SecretUses;
use crate::notify::Outbox;
use crate::store;

use super::batch::{Batch, BatchAnswers};
use super::invariant::{Invariant, violated};
use super::recover;
use super::state::{LedgerState, StoreOperation, StoreWork, UnclaimedHold};
use super::types::{HoldRefusal, UnusedLease};

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
    pub(super) connection: Connection,
    pub(super) journals: PathBuf,
    /// The time of the last recovery of dead processes' calls.
    pub(super) recovered: Instant,
    pub(super) state: Arc<LedgerState>,
    pub(super) uses: Arc<OnceLock<Arc<SecretUses>>>,
    pub(super) outbox: Arc<OnceLock<Arc<Outbox>>>,
    pub(super) epoch: i64,
}

impl LedgerWriter {
    pub(super) fn run(mut self) {
        loop {
            let StoreWork { ops, records, unused, closed } = self.state.take();
            if !ops.is_empty() || !unused.is_empty() {
                self.carry_out(ops, records, unused, closed);
            }
            if closed {
                return self.end();
            }
        }
    }

    /// Carries out operations and answers those who wait for them.
    fn carry_out(&mut self, ops: Vec<StoreOperation>, records: u64, unused: Vec<UnusedLease>, closed: bool) {
        // Money that is in no leased balance until the store has it.
        let mut emptied = unused;
        match self.commit(&ops, &mut emptied) {
            Ok(answers) => {
                self.state.note_store(false);
                self.state.done(records);
                let short = answers.leases.iter().any(|lease| matches!(lease, Err(HoldRefusal::InFlight(_))));
                self.answer(ops, answers);
                if short {
                    self.recover();
                }
            }
            Err(error) => {
                self.state.fill(&emptied);
                self.put_back(ops, &error, closed);
            }
        }
    }

    /// Recovers the leases of dead processes when money is short.
    fn recover(&mut self) {
        if self.recovered.elapsed() < MIN_RECOVERY_INTERVAL {
            return;
        }
        self.recovered = Instant::now();
        if let Err(error) = recover::all(&mut self.connection, &self.journals) {
            log::error!("ledger: {error}");
        }
    }

    /// Carries out all operations in one transaction, or none of them.
    fn commit(
        &mut self,
        ops: &[StoreOperation],
        emptied: &mut Vec<UnusedLease>,
    ) -> rusqlite::Result<BatchAnswers> {
        let mut answers = BatchAnswers::default();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut batch = Batch::new(&transaction, self.epoch, store::now());
        batch.give_back(emptied)?;
        for op in ops {
            match op {
                StoreOperation::Lease(request, _) => {
                    answers.leases.push(batch.lease(request, |selector| {
                        let spare = self.state.empty(selector);
                        emptied.extend_from_slice(&spare);
                        spare
                    })?);
                }
                StoreOperation::Begin(hold) => batch.begin(hold.clone()),
                StoreOperation::Record(record) => batch.record(record, |selector| {
                    let spare = self.state.empty(selector);
                    emptied.extend_from_slice(&spare);
                    spare
                })?,
                StoreOperation::Free(call) => batch.count(call),
                StoreOperation::Wallet(account, _) => answers.wallets.push(batch.wallet(account)?),
                StoreOperation::Report(account, _) => answers.reports.push(batch.report(account)?),
            }
        }
        (answers.more, answers.alerts) = batch.finish()?;
        if let Some(outbox) = self.outbox.get() {
            let mut alerts = answers.alerts.iter();
            alerts.try_for_each(|alert| outbox.add(&transaction, &alert.event(), store::now()))?;
        }
        let used = self.uses.get().map(|uses| uses.write(&transaction)).transpose()?.unwrap_or_default();
        transaction.commit()?;
        if let Some(uses) = self.uses.get() {
            uses.written(&used);
        }
        Ok(answers)
    }

    /// Sends the answers, in the order of the requests.
    fn answer(&self, ops: Vec<StoreOperation>, answers: BatchAnswers) {
        let BatchAnswers { leases, wallets, reports, more, alerts } = answers;
        alerts.iter().for_each(|alert| log::warn!("ledger: {alert}"));
        let asked = ops.iter().filter(|op| op.is_asked()).count();
        let given = leases.len() + wallets.len() + reports.len();
        if asked != given {
            violated(Invariant::Answers, format_args!("{given} answers to {asked} requests"));
        }
        let (mut leases, mut wallets, mut reports) =
            (leases.into_iter(), wallets.into_iter(), reports.into_iter());
        for op in ops {
            // Who waited may be gone.
            match op {
                StoreOperation::Lease(request, reply) => {
                    if let Some(lease) = leases.next() {
                        let set = lease.map(|lease| self.state.lease(&request, &lease));
                        let set = set.and_then(|set| set.ok_or(HoldRefusal::Store));
                        _ = reply.send(set.map(|set| UnclaimedHold::new(&self.state, set)));
                    }
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
                StoreOperation::Begin(_) | StoreOperation::Record(_) | StoreOperation::Free(_) => {}
            }
        }
        self.state.fill(&more);
    }

    /// Refuses what somebody waits for, and keeps the rest for the next attempt: the store cannot be written.
    fn put_back(&self, ops: Vec<StoreOperation>, error: &rusqlite::Error, closed: bool) {
        if self.state.note_store(true) {
            log::error!("ledger: {error}; paid calls are refused until it can be written again");
        }
        self.state.put_back(ops.into_iter().filter_map(StoreOperation::refuse).collect());
        if !closed {
            std::thread::sleep(STORE_RETRY_INTERVAL);
        }
    }

    /// Releases the leases and removes the journal, unless the store lacks something.
    fn end(mut self) {
        if !self.state.is_done() {
            return;
        }
        match recover::release_leases(&mut self.connection, self.epoch) {
            Ok(()) => self.state.remove_journal(),
            Err(error) => log::error!("ledger: {error}"),
        }
    }
}

/// The shortest time between two writes of holds.
const MIN_WRITE_INTERVAL: Duration = Duration::from_micros(600);

/// The pause before a store that could not be written is tried again.
const STORE_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// The shortest time between two recoveries of dead processes' calls.
const MIN_RECOVERY_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::super::books::Wallet;
    use super::super::invariant::expected::violations;
    use super::super::journal::Journal;
    use super::*;

    #[test]
    fn too_few_answers_and_too_many_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let journals = folder.path().join("journal");
        let connection = store::open(folder.path()).unwrap();
        let state = Arc::new(LedgerState::new(Journal::create(&journals, 1).unwrap(), 1));
        let writer = LedgerWriter {
            connection,
            journals,
            recovered: Instant::now(),
            state,
            uses: Arc::default(),
            outbox: Arc::default(),
            epoch: 1,
        };
        let answered = |ops: Vec<StoreOperation>, wallets| {
            violations(|| writer.answer(ops, BatchAnswers { wallets, ..BatchAnswers::default() })).1
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
