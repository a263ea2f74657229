//! The end of a drain: the remaining calls have to end.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use crate::failure::{Failure, Kind};

/// A signal that all calls have to end now. A look at it costs next to nothing.
#[derive(Debug, Default)]
pub(in crate::edge) struct Shutdown {
    is_announced: AtomicBool,
    told: Notify,
}

impl Shutdown {
    /// Gives the signal.
    pub(in crate::edge) fn announce(&self) {
        self.is_announced.store(true, Ordering::Release);
        self.told.notify_waiters();
    }

    /// Whether the signal was given.
    pub(in crate::edge) fn is_announced(&self) -> bool {
        self.is_announced.load(Ordering::Acquire)
    }

    /// Waits for the signal.
    pub(in crate::edge) async fn wait(&self) {
        // In this order, the signal cannot be missed: the waiter is registered from here on, even before it is
        // first polled.
        let told = self.told.notified();
        if !self.is_announced() {
            told.await;
        }
    }
}

/// Returns the failure for a client whose call cannot continue.
pub(in crate::edge) fn failure() -> Failure {
    Failure::new(Kind::Stopping, "The gateway is being stopped. Try again.")
}
