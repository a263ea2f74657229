//! The lines about the states of a target: one for each change that its operator has to know of, with the reason.
//!
//! A circuit that opens again and again is told once a minute. A failed attempt alone is in the access line, and has
//! no line here; only a credential that is refused is told at once, because somebody has to act.

use std::time::{Duration, Instant};

use log::Level;
use parking_lot::Mutex;

use crate::observe::AttemptFailure;
use crate::repeated::RepeatedLine;

use super::health::StateChange;

/// The last failure of a target, for people.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct TargetFailure {
    /// The kind of the failure.
    pub kind: AttemptFailure,
    /// The reason, without secrets and headers.
    pub text: Box<str>,
    /// The time of the failure.
    #[schemars(with = "String")]
    pub at: jiff::Timestamp,
}

/// The lines about the states of one model at one target.
#[derive(Debug)]
pub(super) struct StateLog {
    /// The state of the circuit that the lines so far have told.
    told: Mutex<ToldCircuit>,
    opened: RepeatedLine,
    backed_off: RepeatedLine,
    refused: RepeatedLine,
}

/// The state of a circuit, as the last line about it has told it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ToldCircuit {
    #[default]
    Closed,
    OpenToOneAccount,
    Open,
}

impl TargetFailure {
    /// Makes the record of a failure that happens now. A long text is cut.
    #[must_use]
    pub fn new(kind: AttemptFailure, text: &str) -> Self {
        let end = text.char_indices().nth(MAX_TEXT_CHARS).map_or(text.len(), |(end, _)| end);
        let text = text.get(..end).unwrap_or_default();
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self { kind, text: text.into(), at: jiff::Timestamp::now() }
    }
}

impl std::fmt::Display for TargetFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &*self.text {
            "" => f.write_str(self.kind.as_str()),
            text => write!(f, "{}: {text}", self.kind.as_str()),
        }
    }
}

impl Default for StateLog {
    fn default() -> Self {
        Self {
            told: Mutex::default(),
            opened: RepeatedLine::new(),
            backed_off: RepeatedLine::new(),
            refused: RepeatedLine::every(CREDENTIAL_INTERVAL),
        }
    }
}

impl StateLog {
    /// Notes that an operator was told that the circuit is closed.
    pub(super) fn reset(&self) {
        *self.told.lock() = ToldCircuit::Closed;
    }

    /// Returns the line that an attempt leads to, if it leads to one: it may have changed the state, and it may have
    /// failed. `setting` is the one that holds the provider's credential.
    pub(super) fn line(
        &self,
        change: Option<StateChange>,
        failure: Option<&TargetFailure>,
        setting: &str,
        now: Instant,
    ) -> Option<(Level, String)> {
        let refused = failure.filter(|failure| failure.kind == AttemptFailure::Credential);
        if let Some(failure) = refused
            && let Some(left_out) = self.refused.admit(now)
        {
            let text = &failure.text;
            return Some((Level::Error, format!("credential refused: {text}; check {setting}{left_out}")));
        }
        let mut told = self.told.lock();
        match change? {
            StateChange::Opened { pause, failures, of_one_account } => {
                let state = if of_one_account { ToldCircuit::OpenToOneAccount } else { ToldCircuit::Open };
                if *told == state {
                    return None;
                }
                self.opened.admit(now)?;
                *told = state;
                let whose = if of_one_account { " of one account, which alone is refused" } else { "" };
                let last = failure.map_or_else(String::new, |failure| format!("; last: {failure}"));
                let seconds = pause.as_secs();
                let text =
                    format!("circuit open for {seconds} s after {failures} failures in a row{whose}{last}");
                Some((Level::Warn, text))
            }
            StateChange::Closed { after, trials } => (std::mem::take(&mut *told) != ToldCircuit::Closed)
                .then(|| {
                    let text = format!("circuit closed after {} s and {trials} trials", after.as_secs());
                    (Level::Info, text)
                }),
            StateChange::BackingOff { pause, is_told } => {
                let left_out = self.backed_off.admit(now);
                if std::mem::take(&mut *told) == ToldCircuit::Closed && left_out.is_none() {
                    return None;
                }
                let why = if is_told { "429, retry-after" } else { "429" };
                let left_out = left_out.map(|left_out| left_out.to_string()).unwrap_or_default();
                Some((Level::Warn, format!("backing off for {} s ({why}){left_out}", pause.as_secs())))
            }
        }
    }
}

/// The shortest time between two lines about a refused credential.
const CREDENTIAL_INTERVAL: Duration = Duration::from_secs(600);

/// The most characters of a failure's text.
const MAX_TEXT_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    const OPENED: StateChange =
        StateChange::Opened { pause: Duration::from_secs(1), failures: 5, of_one_account: false };
    const CLOSED: StateChange = StateChange::Closed { after: Duration::from_secs(42), trials: 6 };

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn each_change_has_a_line_with_its_reason() {
        let (log, now) = (StateLog::default(), Instant::now());
        let failure = TargetFailure::new(AttemptFailure::Connect, "connection refused (10.0.0.5:443)");
        let line = |change, failure| log.line(change, failure, "providers.p.key", now);
        assert_eq!(line(None, Some(&failure)), None, "a failed attempt alone is no change");
        let text = "circuit open for 1 s after 5 failures in a row; last: connect: connection refused (10.0.0.5:443)";
        assert_eq!(line(Some(OPENED), Some(&failure)), Some((Level::Warn, text.to_owned())));
        assert_eq!(line(Some(OPENED), Some(&failure)), None, "it is known");
        let text = "circuit closed after 42 s and 6 trials";
        assert_eq!(line(Some(CLOSED), None), Some((Level::Info, text.to_owned())));
        assert_eq!(line(Some(CLOSED), None), None);
        let pause = StateChange::BackingOff { pause: Duration::from_secs(30), is_told: true };
        let text = "backing off for 30 s (429, retry-after)";
        assert_eq!(line(Some(pause), None), Some((Level::Warn, text.to_owned())));
    }

    #[test]
    fn a_refused_credential_is_an_error_at_once_and_every_ten_minutes() {
        let (log, start) = (StateLog::default(), Instant::now());
        let failure = TargetFailure::new(AttemptFailure::Credential, "401 invalid_api_key");
        let lines: Vec<_> = (0..1200)
            .filter_map(|second| log.line(None, Some(&failure), "providers.p.key", at(start, second)))
            .collect();
        assert_eq!(lines.len(), 2);
        let text = "credential refused: 401 invalid_api_key; check providers.p.key";
        assert_eq!(lines[0], (Level::Error, text.to_owned()));
        assert!(lines[1].1.ends_with("(599 more in the last 10 minutes)"), "{lines:?}");
    }

    #[test]
    fn a_circuit_that_flaps_is_told_once_a_minute_and_its_last_state_is_told() {
        let (log, start) = (StateLog::default(), Instant::now());
        let lines: Vec<_> = (0..900)
            .filter_map(|second| {
                let change = if second % 2 == 0 { OPENED } else { CLOSED };
                log.line(Some(change), None, "", at(start, second))
            })
            .collect();
        assert!((28..=32).contains(&lines.len()), "{}", lines.len());
        // It stays open now. Its trials fail, and tell that.
        let later: Vec<_> =
            (900..1000).filter_map(|second| log.line(Some(OPENED), None, "", at(start, second))).collect();
        assert_eq!(later.len(), 1, "{later:?}");
    }

    #[test]
    fn a_text_is_short_and_has_one_line() {
        let failure = TargetFailure::new(AttemptFailure::Server, &"a\nb\u{1b}".repeat(100));
        assert_eq!(failure.text.chars().count(), MAX_TEXT_CHARS);
        assert!(!failure.text.chars().any(char::is_control));
    }
}
