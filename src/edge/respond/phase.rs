//! The phase of an answer on its way to the client.

use std::time::Duration;

use tokio::time::Instant;

/// The progress of an answer. It goes through these in this order; the second may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) enum Phase {
    /// The provider has sent its head: a failure still is a status.
    Waiting {
        /// The time of the provider's head.
        head: Instant,
    },
    /// The provider's first event has come, which may not mean anything yet.
    Begun {
        /// The time of the provider's head.
        head: Instant,
        /// The time of the first event.
        event: Instant,
    },
    /// The client has its head: a failure is told in its stream.
    Committed {
        /// The time of the last write to the client.
        written: Instant,
    },
    /// Nothing more is written.
    Ended,
}

impl Phase {
    /// Returns the phase of an answer whose head has come now.
    pub(in crate::edge) fn new(now: Instant) -> Self {
        Self::Waiting { head: now }
    }

    /// Returns the phase of an answer whose client has got its head already.
    pub(in crate::edge) fn open(written: Instant) -> Self {
        Self::Committed { written }
    }

    /// Whether nothing has come yet but a head.
    pub(in crate::edge) fn is_waiting(self) -> bool {
        matches!(self, Self::Waiting { .. })
    }

    /// Whether the client has its head.
    pub(in crate::edge) fn is_committed(self) -> bool {
        matches!(self, Self::Committed { .. })
    }

    /// Notes the first event.
    pub(in crate::edge) fn begin(&mut self, now: Instant) {
        debug_assert!(self.is_waiting(), "the first event in {self:?}");
        if let Self::Waiting { head } = *self {
            *self = Self::Begun { head, event: now };
        }
    }

    /// Notes a write to the client. Gives whether it is the first one, before which its head has to go.
    pub(in crate::edge) fn write(&mut self, now: Instant) -> bool {
        debug_assert!(*self != Self::Ended, "a write after the end");
        let is_first = !self.is_committed();
        *self = Self::Committed { written: now };
        is_first
    }

    /// Notes that nothing more is written.
    pub(in crate::edge) fn end(&mut self) {
        debug_assert!(*self != Self::Ended, "a second end");
        *self = Self::Ended;
    }

    /// The time until which a client that wants a stream may be left without a word; absent: for as long as it takes.
    /// `keep_alive` is the time between two signs of life.
    pub(in crate::edge) fn deadline(self, keep_alive: Option<Duration>) -> Option<Instant> {
        match self {
            Self::Waiting { head } => Some(head + COMMIT_AFTER_HEAD),
            Self::Begun { head, event } => Some((event + COMMIT_AFTER_FIRST).min(head + COMMIT_AFTER_HEAD)),
            Self::Committed { written } => keep_alive.map(|time| written + time),
            Self::Ended => None,
        }
    }
}

/// The longest time from the provider's first event, and from the provider's head, to the client's head. Failures
/// before that still get an HTTP status.
const COMMIT_AFTER_FIRST: Duration = Duration::from_millis(50);
const COMMIT_AFTER_HEAD: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP_ALIVE: Duration = Duration::from_secs(12);

    #[test]
    fn an_answer_goes_through_its_phases_in_order() {
        let start = Instant::now();
        let after = |time: Duration| Some(start + time);
        let mut phase = Phase::new(start);
        assert!(phase.is_waiting() && phase.deadline(Some(KEEP_ALIVE)) == after(COMMIT_AFTER_HEAD));
        phase.begin(start);
        assert_eq!(phase.deadline(Some(KEEP_ALIVE)), after(COMMIT_AFTER_FIRST));
        assert!(!phase.is_committed() && phase.write(start), "the first write");
        assert!(phase.is_committed() && !phase.write(start), "and another one");
        assert_eq!(phase.deadline(Some(KEEP_ALIVE)), after(KEEP_ALIVE));
        assert_eq!(phase.deadline(None), None, "without signs of life");
        phase.end();
        assert_eq!((phase.is_committed(), phase.deadline(Some(KEEP_ALIVE))), (false, None));
    }

    #[test]
    fn the_head_waits_no_longer_for_an_event_that_comes_late() {
        let start = Instant::now();
        let mut phase = Phase::new(start);
        phase.begin(start + COMMIT_AFTER_HEAD - Duration::from_millis(1));
        assert_eq!(phase.deadline(Some(KEEP_ALIVE)), Some(start + COMMIT_AFTER_HEAD));
    }

    #[test]
    #[should_panic(expected = "after the end")]
    #[cfg(debug_assertions)]
    fn nothing_is_written_after_the_end() {
        let mut phase = Phase::new(Instant::now());
        phase.end();
        phase.write(Instant::now());
    }
}
