//! The outcome of a request: what its client has got.

use std::time::{Duration, Instant};

use crate::canon::Form;
use crate::failure::Failure;

/// The answer to a client, as far as it has got it.
#[derive(Debug, Default)]
pub(in crate::edge) struct Outcome {
    pub(in crate::edge) status: u16,
    pub(in crate::edge) failure: Option<Failure>,
    /// The form of the answer: that of a stream, once the client was sent the head of one.
    pub(in crate::edge) form: Form,
    pub(in crate::edge) bytes_out: usize,
    /// The time from the start of the request to the first byte of its answer.
    pub(in crate::edge) first_byte: Option<Duration>,
    pub(in crate::edge) client_gone: bool,
}

impl Outcome {
    /// Notes that the first byte of the answer goes out now, to a request that has come at `started`.
    pub(in crate::edge) fn note_first_byte(&mut self, started: Instant) {
        self.first_byte.get_or_insert_with(|| started.elapsed());
    }
}
