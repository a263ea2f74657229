//! The time for which leased money may be given to calls without an answer of the store.

use std::time::{Duration, Instant};

/// Whether leased money may be given to calls: while the store answers, and as long after that as it has patience.
#[derive(Debug, Default)]
pub(super) struct LeaseValidity {
    /// The time from the moment at which an answered posting was sent; absent: as long as no posting fails.
    patience: Option<Duration>,
    /// The end of that time; absent: none.
    until: Option<Instant>,
    /// Whether the last posting has failed.
    fails: bool,
}

impl LeaseValidity {
    /// Notes the answer to a posting that was sent at this time; returns whether the one before has failed.
    pub(super) fn answered(&mut self, sent: Instant, patience: Option<Duration>) -> bool {
        self.patience = patience;
        self.until = patience.map(|patience| sent + patience);
        std::mem::replace(&mut self.fails, false)
    }

    /// Notes that a posting has failed; returns whether the one before has not.
    pub(super) fn failed(&mut self) -> bool {
        if self.patience.is_none() {
            self.until = Some(Instant::now());
        }
        !std::mem::replace(&mut self.fails, true)
    }

    /// Whether leased money may be given to calls now.
    pub(super) fn holds(&self) -> bool {
        // The usual case asks no clock.
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_patience_leases_hold_until_a_posting_fails() {
        let mut validity = LeaseValidity::default();
        assert!(validity.holds());
        assert!(!validity.answered(Instant::now(), None), "nothing has failed");
        assert!(validity.failed() && !validity.holds());
        assert!(!validity.failed(), "it is told once");
        assert!(validity.answered(Instant::now(), None) && validity.holds());
    }

    #[test]
    fn with_patience_leases_hold_from_when_the_answered_posting_was_sent() {
        let (hour, mut validity) = (Duration::from_secs(3600), LeaseValidity::default());
        validity.answered(Instant::now(), Some(hour));
        assert!(validity.failed() && validity.holds());
        let Some(earlier) = Instant::now().checked_sub(hour) else { return };
        validity.answered(earlier, Some(hour));
        assert!(!validity.holds(), "an answer that has come late is no new hour, and no failure is needed");
    }
}
