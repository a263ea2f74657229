//! The pause in a burst of small parts.
//!
//! A provider may send many events in less time than a reader would notice. To pass each of them on by itself costs a read,
//! a write and two wake-ups, most of which the kernel needs. After two writes in quick succession, the provider is left
//! unread for a moment; all that comes meanwhile goes out in one write. A stream whose events are further apart than
//! [`PAUSE`] never pauses.

use std::time::Duration;

use tokio::time::Instant;

/// The writes to one client, as far as they tell whether a burst is going on.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::edge) struct Burst {
    /// The time of the last write.
    written: Option<Instant>,
    /// The end of the pause that has not been kept yet.
    pause: Option<Instant>,
}

impl Burst {
    /// Notes a write. A second one within [`PAUSE`] asks for a pause.
    pub(in crate::edge) fn note_write(&mut self, now: Instant) {
        let before = self.written.replace(now);
        let is_close = before.is_some_and(|before| now.saturating_duration_since(before) < PAUSE);
        self.pause = is_close.then(|| now + PAUSE);
    }

    /// Takes the end of the pause before the next read, if one is due.
    pub(in crate::edge) fn take_pause(&mut self) -> Option<Instant> {
        self.pause.take()
    }
}

/// The time within which a second write begins a burst, and for which the provider is left unread then: one step of the
/// runtime's clock, and a tenth of the pace of fast hosted models (100 tokens per second).
const PAUSE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(micros: &[u64]) -> Vec<bool> {
        let (mut burst, start) = (Burst::default(), Instant::now());
        let pause = |at: &u64| {
            let now = start + Duration::from_micros(*at);
            burst.note_write(now);
            let pause = burst.take_pause();
            assert!(pause.is_none_or(|end| end == now + PAUSE), "{pause:?}");
            assert_eq!(burst.take_pause(), None, "it is kept once");
            pause.is_some()
        };
        micros.iter().map(pause).collect()
    }

    #[test]
    fn only_writes_in_quick_succession_ask_for_a_pause() {
        assert_eq!(pauses(&[0, 1_000, 2_000, 12_000]), [false; 4], "a steady stream");
        assert_eq!(pauses(&[0, 5, 1_005, 1_006]), [false, true, false, true], "a burst");
        assert_eq!(pauses(&[0, 999, 2_000]), [false, true, false], "the end of one");
    }
}
