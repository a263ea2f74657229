//! The outcome of a request: what its client has got.

use std::time::{Duration, Instant};

use crate::canon::Form;
use crate::edge::call::request_info::GuardVerdict;
use crate::failure::Failure;

/// The answer to a client, as far as it has got it.
#[derive(Debug, Default)]
pub(in crate::edge) struct Outcome {
    pub(in crate::edge) status: u16,
    pub(in crate::edge) failure: Option<Failure>,
    /// The form of the answer: that of a stream, once the client was sent the head of one.
    pub(in crate::edge) form: Form,
    pub(in crate::edge) bytes_out: usize,
    /// The time of the last write to a client that has got the head of its stream before its provider has answered.
    pub(in crate::edge) opened: Option<Instant>,
    /// The time from the start of the request to the first byte of its answer.
    pub(in crate::edge) first_byte: Option<Duration>,
    pub(in crate::edge) client_gone: bool,
    /// The verdicts of guards about the answer.
    pub(in crate::edge) guards: Vec<GuardVerdict>,
    /// The beginning of the answer's stream, which guards see after its end; absent: none does.
    pub(in crate::edge) watched: Option<Vec<u8>>,
}

impl Outcome {
    /// Notes that so many bytes of a stream go out now, perhaps after its head.
    pub(in crate::edge) fn open(&mut self, bytes: usize) {
        (self.status, self.form) = (200, Form::Stream);
        self.bytes_out += bytes;
        self.opened = Some(Instant::now());
    }

    /// Keeps a part of the answer's stream for the guards that see it.
    pub(in crate::edge) fn watch(&mut self, part: &[u8]) {
        if let Some(watched) = &mut self.watched {
            let room = MAX_WATCHED_BYTES.saturating_sub(watched.len());
            watched.extend_from_slice(part.get(..room).unwrap_or(part));
        }
    }

    /// Notes that the first byte of the answer goes out now, to a request that has come at `started`.
    pub(in crate::edge) fn note_first_byte(&mut self, started: Instant) {
        self.first_byte.get_or_insert_with(|| started.elapsed());
    }
}

/// Bytes of a stream that guards see: its beginning. A chosen value: nearly all answers are shorter, and as much may wait
/// uncounted of a large event.
const MAX_WATCHED_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_beginning_of_a_stream_is_kept_for_guards() {
        let mut outcome = Outcome::default();
        outcome.watch(b"nobody asks");
        assert_eq!(outcome.watched, None);
        outcome.watched = Some(Vec::new());
        (0..3).for_each(|_| outcome.watch(&vec![b'x'; MAX_WATCHED_BYTES / 2 + 1]));
        assert_eq!(outcome.watched.map(|watched| watched.len()), Some(MAX_WATCHED_BYTES));
    }
}
