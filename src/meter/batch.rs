//! Operations that share a posting.

use std::collections::HashMap;

use super::posting::{EndedCall, Posting, Want};
use super::types::{BudgetWindow, CallEnd, CallId, CountedCall, HoldRequest, OpenHold, UnusedLease};

/// A posting in the making. A call that has begun and ended in it is one fact of it, and any other call two.
#[derive(Debug)]
pub(super) struct Batch {
    posting: Posting,
    /// Holds that no earlier posting has.
    open: HashMap<CallId, OpenHold>,
    /// Whether what finds too little money does not come again.
    is_last: bool,
}

impl Batch {
    pub(super) fn new(epoch: i64, number: u64, is_last: bool) -> Self {
        let posting = Posting { epoch, number, ..Posting::default() };
        Self { posting, open: HashMap::new(), is_last }
    }

    /// Whether what finds too little money does not come again.
    pub(super) fn is_last(&self) -> bool {
        self.is_last
    }

    /// Returns leases that are not needed.
    pub(super) fn give_back(&mut self, mut spare: Vec<UnusedLease>) {
        self.posting.returns.append(&mut spare);
    }

    /// Asks for a lease. It comes again if it is refused and others of the account `have_spare` money in this process.
    pub(super) fn want(&mut self, request: &HoldRequest, have_spare: bool) {
        let HoldRequest { grant, model, prices, wanted, least, time, needs_wallet, .. } = request;
        self.posting.wants.push(Want {
            account: grant.account.as_str().into(),
            key: grant.id.as_str().into(),
            windows: BudgetWindow::at(*time, &grant.budgets),
            needs_wallet: *needs_wallet,
            model: model.clone(),
            prices: prices.clone(),
            wanted: *wanted,
            least: *least,
            comes_again: have_spare && !self.is_last,
            ahead: CALLS_AHEAD,
        });
    }

    /// Adds the hold of a call.
    pub(super) fn begin(&mut self, hold: OpenHold) {
        self.open.insert(hold.call, hold);
    }

    /// Notes how far a call has come.
    pub(super) fn mark(&mut self, call: CallId, delivered: u64) {
        self.posting.marks.push((call, delivered));
    }

    /// Ends a call.
    pub(super) fn end(&mut self, hold: OpenHold, end: CallEnd) {
        let is_last = self.is_last;
        if end.charge > hold.amount {
            // It may have to stay open, so the store is told of its hold first.
            self.posting.beyond.push(EndedCall { hold, end, is_known: true, is_last });
        } else {
            let is_known = self.open.remove(&hold.call).is_none();
            self.posting.ends.push(EndedCall { hold, end, is_known, is_last });
        }
    }

    /// Counts a call that nobody pays for.
    pub(super) fn count(&mut self, call: &CountedCall) {
        self.posting.counted.count(call);
    }

    /// Asks for the wallet of an account.
    pub(super) fn wallet(&mut self, account: &str) {
        self.posting.wallets.push(account.to_owned());
    }

    /// Asks for the usage of an account.
    pub(super) fn report(&mut self, account: &str) {
        self.posting.reports.push(account.to_owned());
    }

    /// Returns the posting.
    pub(super) fn finish(mut self) -> Posting {
        self.posting.begun.extend(self.open.into_values());
        self.posting
    }
}

/// The number of later calls for which a lease provides.
const CALLS_AHEAD: u32 = 64;
