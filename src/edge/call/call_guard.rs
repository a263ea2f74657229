//! The watch that ends a call from outside, while its provider is waited for: its client goes, or its time is over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pingora_proxy::Session;
use tokio::time::{Instant, sleep_until};

use crate::auth::Grant;
use crate::edge::call::shutdown::{self, Shutdown};
use crate::failure::Failure;

/// The reason for which a call ends before its answer is whole.
pub(in crate::edge) enum Abort {
    /// The client is gone.
    Gone,
    /// It has failed; the client has to be told.
    Failed(Failure),
}

impl Abort {
    /// The same, where the provider has not worked for it.
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

/// Watches over one call.
#[derive(Debug)]
pub(in crate::edge) struct CallGuard {
    /// The end of all calls.
    shutdown: Arc<Shutdown>,
    /// The time at which the whole answer has to be there.
    deadline: Option<Instant>,
    /// The way to read the rest of an answer whose client is gone; absent: it is not read.
    leave: Option<Leave>,
    /// Whether the provider has the request: before that, nothing has to be read.
    asked: bool,
    draining: Option<Draining>,
}

/// The way to read the rest of an answer whose client is gone.
#[derive(Debug)]
pub(in crate::edge) struct Leave {
    /// For how long.
    pub(in crate::edge) time: Duration,
    /// Whose client it is.
    pub(in crate::edge) grant: Grant,
    /// All that are read so.
    pub(in crate::edge) drains: Arc<Drains>,
    /// The bounds of the number of such answers.
    pub(in crate::edge) places: DrainLimits,
}

/// A call whose client is gone, and whose answer is read all the same.
#[derive(Debug)]
struct Draining {
    until: Instant,
    _place: DrainPermit,
}

impl CallGuard {
    /// Over a call that may take until `deadline`.
    pub(in crate::edge) fn new(
        shutdown: &Arc<Shutdown>,
        deadline: Option<Instant>,
        leave: Option<Leave>,
    ) -> Self {
        Self { shutdown: Arc::clone(shutdown), deadline, leave, asked: false, draining: None }
    }

    /// The request goes to the provider now.
    pub(in crate::edge) fn ask(&mut self) {
        self.asked = true;
    }

    /// Resolves when the call has to end. It may be dropped and begun anew.
    pub(in crate::edge) async fn ends(&mut self, session: &mut Session) -> Abort {
        let (deadline, end) = (self.deadline, Arc::clone(&self.shutdown));
        tokio::select! {
            () = self.gone(session) => Abort::Gone,
            // Nobody waits for it: that its time is over is not why it ends.
            () = end.wait() => if self.is_draining() { Abort::Gone } else { Abort::Failed(shutdown::failure()) },
            () = at(deadline) => Abort::Failed(Failure::late()),
        }
    }

    async fn gone(&mut self, session: &mut Session) {
        if self.draining.is_none() {
            // Bytes that come now are no part of the request; whoever sends them gets no answer either.
            let _ = session.downstream_session.read_body_or_idle(true).await;
            self.client_disconnected();
        }
        if let Some(Draining { until, .. }) = &self.draining {
            sleep_until(*until).await;
        }
    }

    /// The client is gone. Gives whether the answer is read all the same.
    pub(in crate::edge) fn client_disconnected(&mut self) -> bool {
        if let (None, true, Some(leave)) = (&self.draining, self.asked, &self.leave) {
            let place = Drains::enter(&leave.drains, &leave.grant, leave.places);
            self.draining = place.map(|place| Draining { until: Instant::now() + leave.time, _place: place });
        }
        self.is_draining()
    }

    /// Whether the answer is read for nobody.
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

/// The answers that are read whose clients are gone.
#[derive(Debug, Default)]
pub(in crate::edge) struct Drains(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Only accounts that have some.
    accounts: HashMap<Box<str>, usize>,
}

/// The bounds of the number of such answers.
#[derive(Clone, Copy, Debug)]
pub(in crate::edge) struct DrainLimits {
    /// Of all accounts.
    pub(in crate::edge) all: usize,
    /// Of one account, while the others have none.
    pub(in crate::edge) account: usize,
}

/// The place of one of them.
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
    /// Whether an account that has `own` places gets another one. Of what the others leave, it may have the share that
    /// it may have of all: so the places that are left shrink with each account that takes some, and are never gone.
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
