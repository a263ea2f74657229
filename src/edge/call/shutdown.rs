//! The end of a drain, as calls see it: their time is up.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use crate::failure::{Failure, Kind};

/// Tells calls that they have to end now. To look at it costs next to nothing.
#[derive(Debug, Default)]
pub(in crate::edge) struct Shutdown {
    is_announced: AtomicBool,
    told: Notify,
}

impl Shutdown {
    /// Tells everybody.
    pub(in crate::edge) fn announce(&self) {
        self.is_announced.store(true, Ordering::Release);
        self.told.notify_waiters();
    }

    /// Is it time to end?
    pub(in crate::edge) fn is_announced(&self) -> bool {
        self.is_announced.load(Ordering::Acquire)
    }

    /// Waits until it is.
    pub(in crate::edge) async fn wait(&self) {
        // In this order, none can be missed: who waits is told from here on, even before it is first polled.
        let told = self.told.notified();
        if !self.is_announced() {
            told.await;
        }
    }
}

/// What a client is told whose call can not go on.
pub(in crate::edge) fn failure() -> Failure {
    Failure::new(Kind::Stopping, "The gateway is being stopped. Try again.")
}
