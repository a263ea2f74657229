//! The parts of the gateway that operators see and set.

use std::collections::HashMap;

use crate::meter::HoldRefusal;
use crate::observe::FailureList;
use crate::route::TargetRest;

use super::Gateway;

impl Gateway {
    /// Puts the orders of operators about targets into effect, by the names of the targets.
    pub(in crate::edge) fn obey(&self, orders: HashMap<String, TargetRest>) {
        self.0.rests.replace(orders, &self.0.snapshot.load().catalog);
    }

    /// Writes the counts of all calls that have ended to the store.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub(in crate::edge) async fn post_usage(&self) -> Result<(), HoldRefusal> {
        self.0.quotas.ledger.post().await
    }

    /// Returns the requests that have failed or were refused lately.
    pub(in crate::edge) fn recent_failures(&self) -> FailureList {
        self.0.recent.list()
    }
}
