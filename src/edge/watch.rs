//! What ends a call from outside, while its provider is waited for: its client goes, or its time is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pingora_proxy::Session;
use tokio::time::{Instant, sleep_until};

use crate::failure::Failure;

use super::ending::{self, Ending};

/// Why a call ends before its answer is whole.
pub(super) enum Stop {
    /// The client is gone.
    Gone,
    /// It has failed; the client has to be told.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Watches over one call.
#[derive(Debug)]
pub(super) struct Watch {
    /// When all calls have to end.
    ending: Arc<Ending>,
    /// When the whole answer has to be there.
    deadline: Option<Instant>,
    /// For how long the rest of an answer is read whose client is gone; absent: it is not.
    drain: Option<Duration>,
    drains: Arc<Drains>,
    most_drains: usize,
    draining: Option<Draining>,
}

/// A call whose client is gone, and whose answer is read all the same.
#[derive(Debug)]
struct Draining {
    until: Instant,
    _place: Place,
}

impl Watch {
    /// Over a call that may take until `deadline`, and whose answer is read for so long when its client is gone,
    /// unless there are `most_drains` of that kind.
    pub(super) fn new(
        ending: &Arc<Ending>,
        deadline: Option<Instant>,
        drain: Option<Duration>,
        drains: &Arc<Drains>,
        most_drains: usize,
    ) -> Self {
        Self {
            ending: Arc::clone(ending),
            deadline,
            drain,
            drains: Arc::clone(drains),
            most_drains,
            draining: None,
        }
    }

    /// Resolves when the call has to end. It may be dropped and begun anew.
    pub(super) async fn ends(&mut self, session: &mut Session) -> Stop {
        let (deadline, end) = (self.deadline, Arc::clone(&self.ending));
        tokio::select! {
            () = self.gone(session) => Stop::Gone,
            () = end.wait() => Stop::Failed(ending::failure()),
            () = at(deadline) => Stop::Failed(Failure::late()),
        }
    }

    async fn gone(&mut self, session: &mut Session) {
        if self.draining.is_none() {
            // Bytes that come now are no part of the request; whoever sends them gets no answer either.
            let _ = session.downstream_session.read_body_or_idle(true).await;
            self.lose();
        }
        if let Some(Draining { until, .. }) = &self.draining {
            sleep_until(*until).await;
        }
    }

    /// The client is gone. Gives whether the answer is read all the same.
    pub(super) fn lose(&mut self) -> bool {
        if let (None, Some(time)) = (&self.draining, self.drain) {
            let place = Drains::enter(&self.drains, self.most_drains);
            self.draining = place.map(|place| Draining { until: Instant::now() + time, _place: place });
        }
        self.is_alone()
    }

    /// Is the answer read for nobody?
    pub(super) fn is_alone(&self) -> bool {
        self.draining.is_some()
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// How many answers are read whose clients are gone.
#[derive(Debug, Default)]
pub(super) struct Drains(AtomicUsize);

/// The place of one of them.
#[derive(Debug)]
struct Place(Arc<Drains>);

impl Drains {
    fn enter(all: &Arc<Self>, most: usize) -> Option<Place> {
        let one_more = |count| (count < most).then_some(count + 1);
        let entered = all.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        entered.is_ok().then(|| Place(Arc::clone(all)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_answers_are_read_for_nobody() {
        let drains = Arc::default();
        let watch = |drain| Watch::new(&Arc::default(), None, drain, &drains, 2);
        let mut all: Vec<_> = (0..3).map(|_| watch(Some(Duration::from_secs(1)))).collect();
        let kept: Vec<_> = all.iter_mut().map(Watch::lose).collect();
        assert_eq!(kept, [true, true, false]);
        all.remove(0);
        assert!(all.iter_mut().all(Watch::lose), "a place is free again");
        assert!(!watch(None).lose(), "unless that is wanted, none is");
    }
}
