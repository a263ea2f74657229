//! The watch that ends a call from outside while its provider is being waited for, because its client leaves or
//! its time is over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pingora_proxy::Session;
use tokio::time::{Instant, sleep_until};

use crate::auth::Grant;
use crate::edge::call::shutdown::{self, Shutdown};
use crate::failure::Failure;

/// The reason for which a call ends before its answer is complete.
pub(in crate::edge) enum Abort {
    /// The client has left.
    Gone,
    /// The call has failed, and the client has to be told.
    Failed(Failure),
}

impl Abort {
    /// Returns the same reason for a provider that has not worked for the call.
    pub(in crate::edge) fn without_cost(self) -> Self {
        match self {
            Self::Failed(failure) => Self::Failed(failure.without_cost()),
            Self::Gone => self,
        }
    }
}

impl From<Failure> for Abort {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// A watch over one call.
#[derive(Debug)]
pub(in crate::edge) struct CallGuard {
    /// The signal that all calls have to end.
    shutdown: Arc<Shutdown>,
    /// The time by which the whole answer has to be complete.
    deadline: Option<Instant>,
    /// The rule for reading the answer after its client has left; absent if it is not read then.
    leave: Option<Leave>,
    /// Whether the provider has the request. Before that, there is nothing to read.
    asked: bool,
    draining: Option<Draining>,
}

/// The rule for reading an answer after its client has left.
#[derive(Debug)]
pub(in crate::edge) struct Leave {
    /// The time for which it is read.
    pub(in crate::edge) time: Duration,
    /// The key of the client.
    pub(in crate::edge) grant: Grant,
    /// All answers that are read in this way.
    pub(in crate::edge) drains: Arc<Drains>,
    /// The limits on the number of such answers.
    pub(in crate::edge) places: DrainLimits,
}

/// An answer that is read although its client has left.
#[derive(Debug)]
struct Draining {
    until: Instant,
    _place: DrainPermit,
}

impl CallGuard {
    /// Makes a watch over a call that may take until `deadline`.
    pub(in crate::edge) fn new(
        shutdown: &Arc<Shutdown>,
        deadline: Option<Instant>,
        leave: Option<Leave>,
    ) -> Self {
        Self { shutdown: Arc::clone(shutdown), deadline, leave, asked: false, draining: None }
    }

    /// Notes that the request goes to the provider now.
    pub(in crate::edge) fn ask(&mut self) {
        self.asked = true;
    }

    /// Resolves when the call has to end. It may be dropped and called again.
    pub(in crate::edge) async fn ends(&mut self, session: &mut Session) -> Abort {
        let (deadline, end) = (self.deadline, Arc::clone(&self.shutdown));
        tokio::select! {
            () = self.gone(session) => Abort::Gone,
            // Nobody waits for the answer, so a drain is not the reason for which it ends.
            () = end.wait() => if self.is_draining() { Abort::Gone } else { Abort::Failed(shutdown::failure()) },
            () = at(deadline) => Abort::Failed(Failure::late()),
        }
    }

    async fn gone(&mut self, session: &mut Session) {
        if self.draining.is_none() {
            // Bytes that arrive now do not belong to the request, and get no answer.
            let _ = session.downstream_session.read_body_or_idle(true).await;
            self.client_disconnected();
        }
        if let Some(Draining { until, .. }) = &self.draining {
            sleep_until(*until).await;
        }
    }

    /// Notes that the client has left, and returns whether the answer is still read.
    pub(in crate::edge) fn client_disconnected(&mut self) -> bool {
        if let (None, true, Some(leave)) = (&self.draining, self.asked, &self.leave) {
            let place = Drains::enter(&leave.drains, &leave.grant, leave.places);
            self.draining = place.map(|place| Draining { until: Instant::now() + leave.time, _place: place });
        }
        self.is_draining()
    }

    /// Whether the answer is read although its client has left.
    pub(in crate::edge) fn is_draining(&self) -> bool {
        self.draining.is_some()
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The answers that are read although their clients have left.
#[derive(Debug, Default)]
pub(in crate::edge) struct Drains(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// The numbers of such answers by account, without accounts that have none.
    accounts: HashMap<Box<str>, usize>,
}

/// The limits on the number of such answers.
#[derive(Clone, Copy, Debug)]
pub(in crate::edge) struct DrainLimits {
    /// The limit for all accounts.
    pub(in crate::edge) all: usize,
    /// The limit for one account, while the others have none.
    pub(in crate::edge) account: usize,
}

/// The place of one such answer.
#[derive(Debug)]
struct DrainPermit {
    drains: Arc<Drains>,
    grant: Grant,
}

impl Drains {
    fn enter(drains: &Arc<Self>, grant: &Grant, places: DrainLimits) -> Option<DrainPermit> {
        let mut taken = drains.0.lock();
        let own = taken.accounts.get(&*grant.account).copied().unwrap_or_default();
        if !places.admit(own, taken.all - own) {
            return None;
        }
        taken.all += 1;
        *taken.accounts.entry(grant.account.as_str().into()).or_default() += 1;
        Some(DrainPermit { drains: Arc::clone(drains), grant: Arc::clone(grant) })
    }
}

impl DrainLimits {
    /// Whether an account that has `own` places gets another one. Of the places that other accounts leave, it may
    /// have the same share that one account may have of all places. So its share shrinks with each account that
    /// takes some, and is never zero.
    fn admit(self, own: usize, others: usize) -> bool {
        let left = self.all.saturating_sub(others);
        let most = self.account.min(self.all);
        own < left && own.saturating_mul(self.all) < most.saturating_mul(left)
    }
}

impl Drop for DrainPermit {
    fn drop(&mut self) {
        let mut taken = self.drains.0.lock();
        taken.all -= 1;
        if let Some(own) = taken.accounts.get_mut(&*self.grant.account) {
            *own -= 1;
            if *own == 0 {
                taken.accounts.remove(&*self.grant.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Key;

    fn grant(account: &str) -> Grant {
        Arc::new(Key::sample("", account))
    }

    #[test]
    fn only_so_many_answers_are_read_for_nobody() {
        let drains = Arc::default();
        let guard = |seconds: Option<u64>| {
            let leave = seconds.map(|seconds| Leave {
                time: Duration::from_secs(seconds),
                grant: grant("a"),
                drains: Arc::clone(&drains),
                places: DrainLimits { all: 9, account: 2 },
            });
            let mut guard = CallGuard::new(&Arc::default(), None, leave);
            guard.ask();
            guard
        };
        let mut all: Vec<_> = (0..3).map(|_| guard(Some(1))).collect();
        let kept: Vec<_> = all.iter_mut().map(CallGuard::client_disconnected).collect();
        assert_eq!(kept, [true, true, false]);
        all.remove(0);
        assert!(all.iter_mut().all(CallGuard::client_disconnected), "a place is free again");
        assert!(!guard(None).client_disconnected(), "unless that is wanted, none is");
        drop(all);
        assert!(drains.0.lock().accounts.is_empty() && drains.0.lock().all == 0);
        let mut early = guard(Some(1));
        early.asked = false;
        assert!(!early.client_disconnected(), "who has not been asked is not waited for");
    }

    /// Lets these accounts take places in turn until none gets another one; gives the places of each.
    fn settled(places: DrainLimits, accounts: usize) -> Vec<usize> {
        let drains: Arc<Drains> = Arc::default();
        let mut taken: Vec<Vec<DrainPermit>> = (0..accounts).map(|_| Vec::new()).collect();
        loop {
            let mut more = false;
            for (n, own) in taken.iter_mut().enumerate() {
                let place = Drains::enter(&drains, &grant(&n.to_string()), places);
                more |= place.is_some();
                own.extend(place);
            }
            if !more {
                return taken.iter().map(Vec::len).collect();
            }
        }
    }

    #[test]
    fn accounts_can_not_take_each_others_places() {
        let places = DrainLimits { all: 1000, account: 100 };
        assert_eq!(settled(places, 1), [100]);
        for accounts in [2, 10, 91, 500] {
            let taken = settled(places, accounts);
            let all: usize = taken.iter().sum();
            assert!(taken.iter().all(|own| *own > 0) && all < 1000, "{accounts}: {all}");
            assert!(places.admit(0, all), "{accounts}: one more account gets a place");
        }
        let few = DrainLimits { all: 3, account: 1 };
        assert_eq!(settled(few, 2), [1, 1]);
        assert_eq!(settled(DrainLimits { all: 0, account: 5 }, 2), [0, 0]);
        assert_eq!(settled(DrainLimits { all: 5, account: 0 }, 1), [0]);
        assert_eq!(settled(DrainLimits { all: 5, account: 9 }, 1), [5]);
    }
}
