//! The script that the transport plays on a connection: a head, then steps.
//!
//! Comes in: a status, headers and a body, and the directives that say how it is to be sent. Goes out: a
//! [`Script`] that sends it, waits, falls silent or hangs up. It knows nothing of sockets.

use std::time::Duration;

use bytes::Bytes;

use super::directive::{Directives, InjectedFault};
use super::event_buffer::EventBuffer;

/// An answer: what to send, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The HTTP status.
    pub status: u16,
    /// The headers, without `content-length` and `transfer-encoding`.
    pub headers: Vec<(&'static str, String)>,
    /// The steps after the head, in order; after the last step the body ends as HTTP wants it.
    pub steps: Vec<ScriptStep>,
    length: Option<usize>,
}

/// One step of the transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptStep {
    /// Sends these bytes of the body, which are never empty.
    Send(Bytes),
    /// Sends nothing for this time.
    Wait(Duration),
    /// Sends nothing until the peer leaves.
    Stall,
    /// Closes the connection without ending the body.
    Cut,
}

impl Script {
    /// Makes an answer of a known length. Faults count its bytes.
    pub(super) fn unary(status: u16, headers: Headers, body: Vec<u8>, directives: &Directives) -> Self {
        let length = Some(body.len());
        let mut buffer = EventBuffer::body(body);
        let (place, last) = ending(directives);
        if last.is_some() {
            buffer.clip(place);
        }
        Self { status, headers, steps: steps(buffer, directives, last), length }
    }

    /// Makes an answer in events. Faults count the deltas of the content.
    pub(super) fn stream(headers: Headers, mut buffer: EventBuffer, directives: &Directives) -> Self {
        let (place, last) = ending(directives);
        if last.is_some() {
            buffer.keep(place);
        }
        let buffer = if directives.crlf { buffer.crlf() } else { buffer };
        Self { status: 200, headers, steps: steps(buffer, directives, last), length: None }
    }

    /// Returns the length to declare, or `None` for a stream, which is sent in chunks. If the connection is cut,
    /// it is the length of the whole answer, so that the peer notices that something is missing.
    pub fn length(&self) -> Option<usize> {
        self.length
    }
}

#[cfg(test)]
impl Script {
    /// All that is sent.
    pub(super) fn text(&self) -> String {
        let sent = self.steps.iter().filter_map(|step| match step {
            ScriptStep::Send(bytes) => Some(&**bytes),
            _ => None,
        });
        String::from_utf8(sent.flatten().copied().collect()).unwrap()
    }

    /// The names of the events, and their data.
    pub(super) fn events(&self) -> Vec<(String, String)> {
        let text = self.text();
        let field =
            |event: &str, name| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let events = text.split_terminator("\n\n");
        events.map(|e| (field(e, "event: ").unwrap_or_default(), field(e, "data: ").unwrap())).collect()
    }
}

pub(super) type Headers = Vec<(&'static str, String)>;

/// Returns the place at which the bytes stop although HTTP does not end the body there, and the step that follows.
fn ending(directives: &Directives) -> (usize, Option<ScriptStep>) {
    match directives.fault {
        Some(InjectedFault::Cut(place)) => (place, Some(ScriptStep::Cut)),
        Some(InjectedFault::Stall(place)) => (place, Some(ScriptStep::Stall)),
        _ => (0, None),
    }
}

fn steps(buffer: EventBuffer, directives: &Directives, last: Option<ScriptStep>) -> Vec<ScriptStep> {
    let pieces = buffer.pieces(directives.chunk);
    let mut steps = Vec::with_capacity(pieces.len() + 2);
    steps.extend(directives.wait.map(ScriptStep::Wait));
    for (at, piece) in pieces.into_iter().enumerate() {
        steps.extend(directives.slow.filter(|_| at > 0).map(ScriptStep::Wait));
        steps.push(ScriptStep::Send(piece));
    }
    steps.extend(last);
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unary(directives: &str) -> Script {
        Script::unary(200, Vec::new(), b"0123456789".to_vec(), &Directives::read(directives).0)
    }

    fn send(text: &'static str) -> ScriptStep {
        ScriptStep::Send(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_cut_body_declares_its_whole_length() {
        let script = unary("[demo:cut=4]");
        assert_eq!(script.length(), Some(10));
        assert_eq!(script.steps, [send("0123"), ScriptStep::Cut]);
        assert_eq!(unary("[demo:stall=0]").steps, [ScriptStep::Stall]);
        assert_eq!(unary("[demo:cut=99]").steps, [send("0123456789"), ScriptStep::Cut]);
    }

    #[test]
    fn waits_stand_before_and_between() {
        let wait = |ms| ScriptStep::Wait(Duration::from_millis(ms));
        let script = unary("[demo:wait=5][demo:slow=1][demo:chunk=6]");
        assert_eq!(script.steps, [wait(5), send("012345"), wait(1), send("6789")]);
    }
}
