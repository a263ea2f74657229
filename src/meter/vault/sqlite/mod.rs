//! The books in the SQLite file of the data folder.
//!
//! Every process writes for itself, and learns at once whether it could. Whether another one lives is told by the lock of
//! its journal, in the same folder: so nobody is fenced, and an epoch without a living process is ended at once.

mod lend;
mod restate;
mod write;

use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::auth::SecretUses;
use crate::store;

use super::{Loss, Seen, Standing, Statement, Trouble, Vault};
use crate::meter::books::Wallet;
use crate::meter::posting::{Posting, Receipt};
use crate::meter::report;
use crate::notify;
use lend::Lender;
use write::PostingWriter;

/// The books in one SQLite file.
#[derive(Debug)]
pub(in crate::meter) struct SqliteVault {
    connection: Connection,
    /// The number of the last posting.
    posted: u64,
}

impl SqliteVault {
    pub(in crate::meter) fn new(connection: Connection) -> Self {
        Self { connection, posted: 0 }
    }

    fn transaction(&mut self) -> rusqlite::Result<Transaction<'_>> {
        self.connection.transaction_with_behavior(TransactionBehavior::Immediate)
    }
}

impl Vault for SqliteVault {
    fn join(&mut self) -> Result<i64, Trouble> {
        self.connection.execute("INSERT INTO epochs (time) VALUES (?1)", [store::now()])?;
        Ok(self.connection.last_insert_rowid())
    }

    fn post(&mut self, posting: &Posting) -> Result<Receipt, Trouble> {
        if posting.number != self.posted + 1 {
            return Err(Trouble::Strayed);
        }
        let transaction = self.transaction()?;
        let receipt = post(&transaction, posting, store::now())?;
        transaction.commit()?;
        self.posted = posting.number;
        Ok(receipt)
    }

    fn posted(&mut self, _: i64) -> Result<Standing, Trouble> {
        Ok(Standing { number: self.posted, receipt: None })
    }

    fn restate(&mut self, statement: &Statement<'_>) -> Result<Loss, Trouble> {
        let transaction = self.transaction()?;
        let loss = restate::end_epoch(&transaction, statement)?;
        transaction.commit()?;
        Ok(loss)
    }

    fn epochs(&mut self) -> Result<Vec<Seen>, Trouble> {
        Ok(restate::epochs(&self.connection)?)
    }

    fn fence(&mut self, _: &Seen) -> Result<bool, Trouble> {
        Ok(true)
    }

    fn forget(&mut self, epoch: i64) -> Result<Loss, Trouble> {
        self.restate(&Statement { epoch, records: &[] })
    }

    fn leave(&mut self, epoch: i64) -> Result<(), Trouble> {
        let transaction = self.transaction()?;
        restate::end_leases(&transaction, epoch)?;
        Ok(transaction.commit()?)
    }

    fn patience(&self) -> Option<Duration> {
        None
    }
}

/// Carries out a posting.
fn post(transaction: &Transaction<'_>, posting: &Posting, now: i64) -> rusqlite::Result<Receipt> {
    let mut writer = PostingWriter::new(transaction, posting.epoch, now);
    let short = writer.write(posting)?;
    let mut touched = writer.finish()?;
    let mut lender = Lender::new(transaction, posting.epoch, now);
    let wants = posting.wants.iter().map(|want| lender.lend(want, &mut touched)).collect::<Result<_, _>>()?;
    let ahead = lender.lend_ahead()?;
    let wallets = posting.wallets.iter().map(|account| Wallet::read(transaction, account));
    let reports = posting.reports.iter().map(|account| report::read(transaction, account, None, now));
    let (wallets, reports) = (wallets.collect::<Result<_, _>>()?, reports.collect::<Result<_, _>>()?);
    let alerts = touched.alerts(transaction, now)?;
    let events = alerts.iter().map(|alert| notify::add(transaction, &posting.webhooks, &alert.event(), now));
    let lost_events = events.sum::<Result<_, _>>()?;
    SecretUses::write(transaction, &posting.uses)?;
    Ok(Receipt { wants, wallets, reports, ahead, short, alerts, lost_events })
}
