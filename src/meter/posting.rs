//! Postings and receipts: what a process says to the store and asks of it at once, and what the store answers.
//!
//! Both are plain data. A posting is one transaction of whatever store there is: all of it is carried out, or none.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::auth::Digest;
use crate::money::Amount;
use crate::notify::Webhook;

use super::alert::Alert;
use super::books::Wallet;
use super::funds::Funds;
use super::invariant::sum;
use super::price::Prices;
use super::report::{Tally, UsageReport};
use super::types::{
    BillingKey, BudgetWindow, CallEnd, CallId, CountedCall, HoldRefusal, Lease, LimitSet, OpenHold,
    UnusedLease,
};
use super::usage::{NewUsage, ServedBy, UsageSums};

/// The facts of a process since its last posting, and its questions. A store takes the members in the order in which they
/// stand here.
#[derive(Clone, Debug, Default)]
pub(super) struct Posting {
    /// The epoch of the process.
    pub(super) epoch: i64,
    /// The number among the postings of the epoch, from 1 on: a store takes each once.
    pub(super) number: u64,
    /// Leases that are not needed.
    pub(super) returns: Vec<UnusedLease>,
    /// Calls that have begun and not ended.
    pub(super) begun: Vec<OpenHold>,
    /// Calls that go on, and how many tokens of their answers have been passed on.
    pub(super) marks: Vec<(CallId, u64)>,
    /// Calls that have ended and cost at most their holds.
    pub(super) ends: Vec<EndedCall>,
    /// The sums of calls that nobody pays for.
    pub(super) counted: PostedSums,
    /// Calls that have ended and cost more than their holds.
    pub(super) beyond: Vec<EndedCall>,
    /// Leases that somebody waits for.
    pub(super) wants: Vec<Want>,
    /// Accounts whose wallets are to be read.
    pub(super) wallets: Vec<String>,
    /// Accounts whose usage is to be read.
    pub(super) reports: Vec<String>,
    /// The last uses of secrets, in minutes since the epoch.
    pub(super) uses: Vec<(Digest, u32)>,
    /// The receivers of the alerts that are found.
    pub(super) webhooks: Arc<Vec<Arc<Webhook>>>,
}

/// A call that has ended.
#[derive(Clone, Debug)]
pub(super) struct EndedCall {
    /// The hold of the call; without estimates of tokens, if the store knows the call.
    pub(super) hold: OpenHold,
    pub(super) end: CallEnd,
    /// Whether the store knows its hold, from an earlier posting or from this one.
    pub(super) is_known: bool,
    /// Whether the call is to be ended even if there is too little for its cost. Otherwise it stays open then, and the
    /// next posting ends it.
    pub(super) is_last: bool,
}

/// A lease that a call waits for.
#[derive(Clone, Debug)]
pub(super) struct Want {
    pub(super) account: Arc<str>,
    pub(super) key: Arc<str>,
    /// The windows of budgets to which the call belongs.
    pub(super) windows: Vec<BudgetWindow>,
    /// Whether the call is refused if the account has no wallet.
    pub(super) needs_wallet: bool,
    pub(super) model: Arc<str>,
    /// The prices at each of the targets that may answer, the first target's first.
    pub(super) prices: Vec<Arc<Prices>>,
    /// The highest possible cost of the call.
    pub(super) wanted: Amount,
    /// The least that is useful. If there is less than is wanted and at least this, all that there is is lent.
    pub(super) least: Amount,
    /// Whether the want comes again with more money returned: then nothing less than what is wanted is lent.
    pub(super) comes_again: bool,
    /// The number of later calls for which more is lent, if there is plenty.
    pub(super) ahead: u32,
}

/// The answers to a posting, in the order of its questions.
#[derive(Clone, Debug, Default)]
pub(super) struct Receipt {
    pub(super) wants: Vec<Result<Lease, Denial>>,
    pub(super) wallets: Vec<Option<Wallet>>,
    pub(super) reports: Vec<UsageReport>,
    /// Leases for later calls.
    pub(super) ahead: Vec<UnusedLease>,
    /// Calls beyond their holds that stay open, because there is too little for their cost.
    pub(super) short: Vec<CallId>,
    /// Limits that have come close to their end.
    pub(super) alerts: Vec<Alert>,
    /// The events that were lost, because too many wait for a webhook.
    pub(super) lost_events: u64,
}

/// The reason for which a store lends nothing.
#[derive(Clone, Debug)]
pub(super) enum Denial {
    /// The account has no wallet.
    NoWallet,
    /// There is less than the least that is useful: what each limit has left.
    Short(Funds),
    /// The books contradict themselves, or the store cannot hold the prices.
    Broken,
}

/// Sums of calls, to be written at once however many calls they contain.
#[derive(Clone, Debug, Default)]
pub(super) struct PostedSums {
    /// By key.
    pub(super) keys: HashMap<Arc<str>, KeySums, RandomState>,
    /// By balance.
    pub(super) costs: HashMap<i64, BalanceCost>,
    /// The cost of calls that nobody pays for, by the windows that they belong to.
    pub(super) tracked: HashMap<BudgetWindow, Amount>,
    pub(super) usage: NewUsage,
}

/// The sums of one key's calls.
#[derive(Clone, Debug)]
pub(super) struct KeySums {
    pub(super) account: Arc<str>,
    pub(super) tally: Tally,
    /// The part of the cost that nobody pays.
    pub(super) tracked: Amount,
}

/// The cost of the calls that one balance pays for.
#[derive(Clone, Debug)]
pub(super) struct BalanceCost {
    pub(super) limits: Arc<LimitSet>,
    pub(super) cost: Amount,
    /// The part of the cost beyond the holds.
    pub(super) excess: Amount,
}

impl Want {
    /// Returns the least amount that is lent.
    pub(super) fn threshold(&self) -> Amount {
        if self.comes_again { self.wanted } else { self.least }
    }

    /// Returns the refusal that follows from a denial; `None` if the want is to come again with more money returned.
    pub(super) fn refusal(&self, denial: &Denial) -> Option<HoldRefusal> {
        match denial {
            Denial::NoWallet => Some(HoldRefusal::NoWallet),
            Denial::Broken => Some(HoldRefusal::Store),
            Denial::Short(funds) => match funds.refusal(self.least) {
                // What is spent does not come back.
                Some(exceeded @ HoldRefusal::Exceeded(_)) => Some(exceeded),
                _ if self.comes_again => None,
                refusal => Some(refusal.unwrap_or(HoldRefusal::Store)),
            },
        }
    }
}

impl Posting {
    /// Whether some of it has to be carried out once more, with more money returned.
    pub(super) fn comes_again(&self, receipt: &Receipt) -> bool {
        let unmet = |(want, answer): (&Want, &Result<Lease, Denial>)| {
            answer.as_ref().err().is_some_and(|denial| want.refusal(denial).is_none())
        };
        !receipt.short.is_empty() || self.wants.iter().zip(&receipt.wants).any(unmet)
    }
}

impl PostedSums {
    /// Adds a call that is over, with its charge and the part of that beyond its hold.
    pub(super) fn charge(&mut self, hold: &OpenHold, end: &CallEnd, (charge, excess): (Amount, Amount)) {
        let OpenHold { billing, limits, .. } = hold;
        let BillingKey { account, key, model, .. } = &**billing;
        let sums = self.keys.entry(Arc::clone(key)).or_insert_with(|| KeySums::of(Arc::clone(account)));
        sums.tally.add(&Tally::of(&end.usage, charge, end.whole));
        // The journal does not say who has answered.
        let unknown = || ServedBy { model: Arc::clone(model), provider: "".into(), tags: None };
        let served = end.served.clone().unwrap_or_else(unknown);
        let owner = (Arc::clone(&limits.account), Arc::clone(&limits.key));
        self.usage.add(owner, served, &UsageSums::of(&end.usage, charge, end.whole));
        let none = || BalanceCost { limits: Arc::clone(limits), cost: Amount::ZERO, excess: Amount::ZERO };
        let costs = self.costs.entry(limits.number).or_insert_with(none);
        (costs.cost, costs.excess) = (sum(costs.cost, charge), sum(costs.excess, excess));
    }

    /// Adds a call that nobody pays for.
    pub(super) fn count(&mut self, call: &CountedCall) {
        let CountedCall { key, tally, sums, served, windows } = call;
        let (account, id): (Arc<str>, Arc<str>) = (key.account.as_str().into(), key.id.as_str().into());
        self.usage.add((Arc::clone(&account), Arc::clone(&id)), served.clone().unwrap_or_default(), sums);
        let sums = self.keys.entry(id).or_insert_with(|| KeySums::of(account));
        sums.tally.add(tally);
        sums.tracked = sum(sums.tracked, tally.cost);
        for window in windows.iter().filter(|_| tally.cost > Amount::ZERO) {
            let tracked = self.tracked.entry(*window).or_default();
            *tracked = sum(*tracked, tally.cost);
        }
    }
}

impl KeySums {
    fn of(account: Arc<str>) -> Self {
        Self { account, tally: Tally::default(), tracked: Amount::ZERO }
    }
}
