//! Lines of the log that may repeat.

use std::fmt;
use std::time::{Duration, Instant};

use log::Level;
use parking_lot::Mutex;

/// A line of one kind about one subject. It is written at once, and then at most once in an interval, with the number
/// of lines that were left out.
#[derive(Debug)]
pub struct RepeatedLine {
    interval: Duration,
    state: Mutex<Repeats>,
}

/// The repeats of a line.
#[derive(Debug)]
struct Repeats {
    /// The time of the last line that was written.
    last: Option<Instant>,
    /// The lines that were left out since.
    left_out: u64,
}

/// The number of lines that were left out, to be written behind a line; empty if there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut {
    lines: u64,
    time: Duration,
}

impl RepeatedLine {
    /// Makes a line that is written at most once a minute.
    #[must_use]
    pub const fn new() -> Self {
        Self::every(INTERVAL)
    }

    /// Makes a line that is written at most once in an interval.
    #[must_use]
    pub const fn every(interval: Duration) -> Self {
        Self { interval, state: Mutex::new(Repeats { last: None, left_out: 0 }) }
    }

    /// Returns the number of lines that were left out if the line may be written now, and counts it otherwise.
    pub fn admit(&self, now: Instant) -> Option<LeftOut> {
        let mut state = self.state.lock();
        let time = state.last.map(|last| now.saturating_duration_since(last));
        if time.is_some_and(|time| time < self.interval) {
            state.left_out = state.left_out.saturating_add(1);
            return None;
        }
        state.last = Some(now);
        let lines = std::mem::take(&mut state.left_out);
        Some(LeftOut { lines, time: time.unwrap_or_default() })
    }

    /// Writes the line, unless one was written a short time ago.
    pub fn write(&self, level: Level, text: fmt::Arguments<'_>) {
        if let Some(left_out) = self.admit(Instant::now()) {
            log::log!(level, "{text}{left_out}");
        }
    }
}

impl Default for RepeatedLine {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.lines, self.time.as_secs() / 60) {
            (0, _) => Ok(()),
            (lines, 0 | 1) => write!(f, " ({lines} more in the last minute)"),
            (lines, minutes) => write!(f, " ({lines} more in the last {minutes} minutes)"),
        }
    }
}

/// The shortest time between two lines of one kind about one subject.
const INTERVAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_at_once_and_then_counted() {
        let (line, start) = (RepeatedLine::new(), Instant::now());
        let written: Vec<_> = (0..3600)
            .filter_map(|second| line.admit(start + Duration::from_secs(second)))
            .map(|left_out| left_out.to_string())
            .collect();
        assert_eq!(written.len(), 60);
        assert_eq!(written[0], "");
        assert!(written[1..].iter().all(|text| text == " (59 more in the last minute)"), "{written:?}");
        assert!(line.admit(start + Duration::from_secs(3599)).is_none());
        let later = line.admit(start + Duration::from_secs(7200)).unwrap();
        assert_eq!(later.to_string(), " (60 more in the last 61 minutes)");
    }
}
