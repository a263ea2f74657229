//! A store of the books for tests: another implementation of the same rules, in memory, and one that does not answer.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::books::Wallet;
use super::funds::Funds;
use super::journal::{Hold, JournalRecord};
use super::posting::{Denial, EndedCall, Posting, Receipt, Want};
use super::types::{BillingKey, CallId, Lease, LimitSet, PriceTerms, UnusedLease};
use super::vault::{Loss, Seen, Standing, Statement, Trouble, Vault};
use crate::money::Amount;
use crate::store::StoreError;

/// The books of one account that pays a dollar for each token, as a sum of pockets: what was topped up is free, lent to
/// an epoch, or charged; a debt is paid by the first money that becomes free.
#[derive(Clone, Debug, Default)]
pub(super) struct FakeBooks {
    pub(super) topped_up: u64,
    pub(super) free: u64,
    pub(super) debt: u64,
    /// By epoch.
    pub(super) leases: HashMap<i64, u64>,
    pub(super) holds: HashMap<CallId, Hold>,
    pub(super) delivered: HashMap<CallId, u64>,
    pub(super) charges: HashMap<CallId, u64>,
    posted: HashMap<i64, u64>,
    ended: HashSet<i64>,
}

/// The books now, and as they were before each of the commits that may still get lost.
#[derive(Debug, Default)]
pub(super) struct FakeStore {
    pub(super) books: FakeBooks,
    past: VecDeque<FakeBooks>,
    /// The number of epochs so far, which nothing takes back.
    epochs: i64,
}

/// One process's way to a fake store.
#[derive(Debug)]
pub(super) struct FakeVault(pub(super) Arc<Mutex<FakeStore>>);

impl FakeBooks {
    pub(super) fn top_up(&mut self, amount: u64) {
        self.topped_up += amount;
        self.release(amount);
    }

    /// Makes money free, a debt first.
    fn release(&mut self, amount: u64) {
        let paid = amount.min(self.debt);
        self.debt -= paid;
        self.free += amount - paid;
    }

    fn return_lease(&mut self, epoch: i64, amount: u64) {
        *self.leases.get_mut(&epoch).unwrap() -= amount;
        self.release(amount);
    }

    /// Charges a call: to the lease of its epoch, then to what is free, then as a debt.
    fn charge(&mut self, epoch: i64, call: CallId, amount: u64, from_lease: u64) {
        self.holds.remove(&call);
        if self.charges.contains_key(&call) {
            return;
        }
        self.charges.insert(call, amount);
        let lease = self.leases.entry(epoch).or_default();
        let lent = from_lease.min(*lease).min(amount);
        *lease -= lent;
        let free = self.free.min(amount - lent);
        self.free -= free;
        self.debt += amount - lent - free;
    }

    pub(super) fn lent(&self) -> u64 {
        self.leases.values().sum()
    }

    /// Checks that all pockets add up.
    pub(super) fn check(&self) {
        let charged: u64 = self.charges.values().sum();
        assert_eq!(self.topped_up + self.debt, self.free + self.lent() + charged, "{self:?}");
        assert!(self.free == 0 || self.debt == 0, "{self:?}");
        assert!(self.holds.keys().all(|call| !self.charges.contains_key(call)), "{self:?}");
    }

    fn lend(&mut self, epoch: i64, want: &Want) -> Result<Lease, Denial> {
        let (wanted, least) = (want.wanted.nano(), want.threshold().nano());
        if self.debt > 0 || self.free < least {
            return Err(Denial::Short(Funds::of_wallet(self.balance(), Amount::from_nano(self.free.into()))));
        }
        let amount = wanted.min(self.free);
        self.take(epoch, amount);
        Ok(Lease { terms: Arc::new(terms(want)), amount: Amount::from_nano(amount.into()) })
    }

    fn take(&mut self, epoch: i64, amount: u64) {
        self.free -= amount;
        *self.leases.entry(epoch).or_default() += amount;
    }

    fn balance(&self) -> Amount {
        Amount::from_nano((self.free + self.lent()).saturating_sub(self.debt).into())
    }

    fn write(&mut self, posting: &Posting) -> Result<Receipt, Trouble> {
        let epoch = posting.epoch;
        if self.ended.contains(&epoch) {
            return Err(Trouble::Fenced);
        }
        if posting.number != self.posted.get(&epoch).unwrap_or(&0) + 1 {
            return Err(Trouble::Strayed);
        }
        for UnusedLease { amount, .. } in &posting.returns {
            self.return_lease(epoch, amount.nano());
        }
        for hold in &posting.begun {
            let (amount, prompt, rates) = (hold.amount, hold.prompt, hold.rates);
            self.holds.insert(hold.call, Hold { billing: 0, balance: 0, amount, prompt, rates });
        }
        self.delivered.extend(posting.marks.iter().copied());
        for EndedCall { hold, end, is_known, .. } in &posting.ends {
            assert_eq!(*is_known, self.holds.contains_key(&hold.call));
            self.charge(epoch, hold.call, end.charge.nano(), hold.amount.nano());
        }
        let mut receipt = Receipt::default();
        for EndedCall { hold, end, is_last, .. } in &posting.beyond {
            let over = end.charge.nano() - hold.amount.nano();
            match over <= self.free || *is_last {
                true => {
                    let charge = hold.amount.nano() + over.min(self.free);
                    self.charge(epoch, hold.call, charge, hold.amount.nano());
                }
                false => receipt.short.push(hold.call),
            }
        }
        receipt.wants = posting.wants.iter().map(|want| self.lend(epoch, want)).collect();
        if let Some(Ok(lease)) = receipt.wants.iter().rfind(|want| want.is_ok()) {
            let amount = self.free / 4;
            self.take(epoch, amount);
            let (limits, amount) = (Arc::clone(&lease.terms.limits), Amount::from_nano(amount.into()));
            receipt.ahead.push(UnusedLease { limits, amount });
        }
        let held = self.holds.values().map(|hold| hold.amount.nano()).sum::<u64>();
        let wallet = Wallet { balance: self.balance(), held: Amount::from_nano(held.into()) };
        receipt.wallets = posting.wallets.iter().map(|_| Some(wallet)).collect();
        receipt.reports = posting.reports.iter().map(|_| super::UsageReport::default()).collect();
        self.posted.insert(epoch, posting.number);
        Ok(receipt)
    }

    /// Ends an epoch by its journal, of which the store may have forgotten anything.
    fn restate(&mut self, Statement { epoch, records }: &Statement<'_>) -> Loss {
        for record in *records {
            match record {
                JournalRecord::Hold(call, hold) if !self.charges.contains_key(call) => {
                    self.holds.insert(*call, *hold);
                }
                JournalRecord::Mark(call, delivered) => drop(self.delivered.insert(*call, *delivered)),
                JournalRecord::Hold(..) | JournalRecord::End(..) => {}
            }
        }
        for record in *records {
            let JournalRecord::End(call, end) = record else { continue };
            let Some(hold) = self.holds.get(call).copied() else { continue };
            let (charge, held) = (end.charge.nano(), hold.amount.nano());
            // Beyond its hold, a call takes what nobody holds: not the money of its process's other calls, and none that is
            // free, because other processes may not yet have said again what they hold of it.
            let open: u64 = self.open_calls(*epoch).iter().map(|(_, hold)| hold.amount.nano()).sum();
            let room = held + self.leases.get(epoch).unwrap_or(&0).saturating_sub(open);
            self.charge(*epoch, *call, charge.min(held.max(room)), u64::MAX);
        }
        let mut loss = Loss::default();
        for (call, hold) in self.open_calls(*epoch) {
            let tokens = hold.prompt + self.delivered.get(&call).unwrap_or(&0);
            let charge = (tokens * USD).min(hold.amount.nano());
            loss = Loss { calls: loss.calls + 1, ..loss };
            self.charge(*epoch, call, charge, u64::MAX);
        }
        self.end(*epoch);
        loss
    }

    fn open_calls(&self, epoch: i64) -> Vec<(CallId, Hold)> {
        let [first, last] = CallId::range(epoch);
        let of_epoch = self.holds.iter().filter(|(call, _)| (first..=last).contains(&call.0));
        of_epoch.map(|(call, hold)| (*call, *hold)).collect()
    }

    fn end(&mut self, epoch: i64) {
        let lent = self.leases.remove(&epoch).unwrap_or_default();
        self.release(lent);
        self.ended.insert(epoch);
    }
}

impl FakeStore {
    /// Loses the last commits, at most those since the last one that is certain.
    pub(super) fn lose(&mut self, commits: usize) {
        for _ in 0..commits {
            let Some(past) = self.past.pop_back() else { return };
            self.books = past;
        }
    }

    /// Changes the books for certain.
    pub(super) fn change<T>(&mut self, change: impl FnOnce(&mut FakeBooks) -> T) -> T {
        self.past.clear();
        change(&mut self.books)
    }
}

impl Vault for FakeVault {
    fn join(&mut self) -> Result<i64, Trouble> {
        let mut store = self.0.lock();
        store.epochs += 1;
        store.past.clear();
        Ok(store.epochs)
    }

    fn post(&mut self, posting: &Posting) -> Result<Receipt, Trouble> {
        let mut store = self.0.lock();
        let mut books = store.books.clone();
        let receipt = books.write(posting)?;
        let before = std::mem::replace(&mut store.books, books);
        store.past.push_back(before);
        Ok(receipt)
    }

    fn posted(&mut self, epoch: i64) -> Result<Standing, Trouble> {
        let number = self.0.lock().books.posted.get(&epoch).copied().unwrap_or_default();
        Ok(Standing { number, receipt: None })
    }

    fn restate(&mut self, statement: &Statement<'_>) -> Result<Loss, Trouble> {
        Ok(self.0.lock().change(|books| books.restate(statement)))
    }

    fn epochs(&mut self) -> Result<Vec<Seen>, Trouble> {
        let books = &self.0.lock().books;
        let lent = books.leases.iter().filter(|(_, lent)| **lent > 0).map(|(epoch, _)| *epoch);
        let all: HashSet<_> = lent.collect();
        Ok(all.into_iter().map(|epoch| Seen { epoch }).collect())
    }

    fn fence(&mut self, _: &Seen) -> Result<bool, Trouble> {
        Ok(true)
    }

    fn forget(&mut self, epoch: i64) -> Result<Loss, Trouble> {
        self.restate(&Statement { epoch, records: &[] })
    }

    fn leave(&mut self, epoch: i64) -> Result<(), Trouble> {
        self.0.lock().change(|books| books.end(epoch));
        Ok(())
    }

    fn patience(&self) -> Option<Duration> {
        None
    }
}

/// The fate of the next posting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fate {
    #[default]
    Answered,
    /// The store cannot be reached.
    Unreached,
    /// It does not arrive, and nobody knows.
    Lost,
    /// It is carried out, and the answer does not arrive.
    Unanswered,
}

/// A vault on a bad line.
pub(super) struct FarVault {
    pub(super) vault: Box<dyn Vault>,
    /// The fate of the next posting of any process.
    pub(super) fate: Arc<Mutex<Fate>>,
    /// The last posting that was carried out.
    pub(super) last: Option<(u64, Receipt)>,
}

impl Vault for FarVault {
    fn join(&mut self) -> Result<i64, Trouble> {
        self.vault.join()
    }

    fn post(&mut self, posting: &Posting) -> Result<Receipt, Trouble> {
        let lost = || StoreError::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        let fate = std::mem::take(&mut *self.fate.lock());
        match fate {
            Fate::Unreached => return Err(Trouble::Down(lost())),
            Fate::Lost => return Err(Trouble::Unknown(lost())),
            Fate::Answered | Fate::Unanswered => {}
        }
        let receipt = self.vault.post(posting)?;
        self.last = Some((posting.number, receipt.clone()));
        if fate == Fate::Unanswered { Err(Trouble::Unknown(lost())) } else { Ok(receipt) }
    }

    fn posted(&mut self, _: i64) -> Result<Standing, Trouble> {
        let (number, receipt) = self.last.clone().unzip();
        Ok(Standing { number: number.unwrap_or_default(), receipt })
    }

    fn restate(&mut self, statement: &Statement<'_>) -> Result<Loss, Trouble> {
        self.vault.restate(statement)
    }

    fn epochs(&mut self) -> Result<Vec<Seen>, Trouble> {
        self.vault.epochs()
    }

    fn fence(&mut self, seen: &Seen) -> Result<bool, Trouble> {
        self.vault.fence(seen)
    }

    fn forget(&mut self, epoch: i64) -> Result<Loss, Trouble> {
        self.vault.forget(epoch)
    }

    fn leave(&mut self, epoch: i64) -> Result<(), Trouble> {
        self.vault.leave(epoch)
    }

    fn patience(&self) -> Option<Duration> {
        self.vault.patience()
    }
}

/// The numbers of a fake store follow from what they stand for, so that no lost commit gives one a second time.
fn terms(want: &Want) -> PriceTerms {
    let (account, key) = (Arc::clone(&want.account), Arc::clone(&want.key));
    let number = i64::from(crc32fast::hash(key.as_bytes()));
    let billing = BillingKey {
        account: Arc::clone(&account),
        key: Arc::clone(&key),
        model: Arc::clone(&want.model),
        price: 1,
    };
    let limits = Arc::new(LimitSet { number, account, key, has_wallet: true, windows: Vec::new() });
    let (prices, versions) = (want.prices.clone(), vec![1; want.prices.len()]);
    PriceTerms { number, billing: Arc::new(billing), limits, prices, versions }
}

/// A dollar, in nano-USD.
pub(super) const USD: u64 = 1_000_000_000;
