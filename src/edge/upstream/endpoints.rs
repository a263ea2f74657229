//! The endpoints that a provider turned out to have or to lack.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::protocol::ProtocolId;

/// Knowledge of a provider's endpoints, one for each protocol, from its answers.
#[derive(Debug, Default)]
pub(in crate::edge) struct Endpoints {
    /// Whether the endpoint has answered with success, by [`ProtocolId`].
    served: [AtomicBool; ProtocolId::ALL.len()],
    /// The protocols that are not spoken until a time.
    lacking: Mutex<Vec<(ProtocolId, Instant)>>,
}

impl Endpoints {
    /// Whether the endpoint of a protocol has answered a request.
    pub(in crate::edge) fn has_served(&self, protocol: ProtocolId) -> bool {
        self.served.get(protocol as usize).is_some_and(|served| served.load(Ordering::Relaxed))
    }

    /// Notes that the endpoint of a protocol has answered a request.
    pub(in crate::edge) fn note_served(&self, protocol: ProtocolId) {
        if let Some(served) = self.served.get(protocol as usize).filter(|_| !self.has_served(protocol)) {
            served.store(true, Ordering::Relaxed);
        }
    }

    /// Whether there is no endpoint for a protocol, as far as is known at this time.
    pub(in crate::edge) fn lacks(&self, protocol: ProtocolId, now: Instant) -> bool {
        self.lacking.lock().iter().any(|(lacking, until)| *lacking == protocol && now < *until)
    }

    /// Notes that there is no endpoint for a protocol.
    pub(in crate::edge) fn note_lacking(&self, protocol: ProtocolId, now: Instant) {
        let mut lacking = self.lacking.lock();
        lacking.retain(|(known, _)| *known != protocol);
        lacking.push((protocol, now + LACKING_TIMEOUT));
    }
}

/// The time for which a protocol without an endpoint is not tried again. A chosen value: a server that is updated
/// meanwhile is soon found out, and few calls ask in vain.
const LACKING_TIMEOUT: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_that_lacks_is_tried_again_after_an_hour() {
        let (endpoints, now) = (Endpoints::default(), Instant::now());
        assert!(!endpoints.lacks(ProtocolId::Messages, now));
        endpoints.note_lacking(ProtocolId::Messages, now);
        assert!(endpoints.lacks(ProtocolId::Messages, now + Duration::from_secs(3599)));
        assert!(!endpoints.lacks(ProtocolId::Messages, now + LACKING_TIMEOUT));
        assert!(!endpoints.lacks(ProtocolId::Chat, now));
    }

    #[test]
    fn an_endpoint_that_has_served_is_remembered() {
        let endpoints = Endpoints::default();
        endpoints.note_served(ProtocolId::Responses);
        assert!(endpoints.has_served(ProtocolId::Responses) && !endpoints.has_served(ProtocolId::Chat));
    }
}
