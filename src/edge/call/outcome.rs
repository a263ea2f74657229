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
    /// The time of the last write to a client that has got the head of its stream before its provider has answered.
    pub(in crate::edge) opened: Option<Instant>,
    /// The time from the start of the request to the first byte of its answer.
    pub(in crate::edge) first_byte: Option<Duration>,
    pub(in crate::edge) client_gone: bool,
}

impl Outcome {
    /// Notes that so many bytes of a stream go out now, perhaps after its head.
    pub(in crate::edge) fn open(&mut self, bytes: usize) {
        (self.status, self.form) = (200, Form::Stream);
        self.bytes_out += bytes;
        self.opened = Some(Instant::now());
    }

    /// Notes that the first byte of the answer goes out now, to a request that has come at `started`.
    pub(in crate::edge) fn note_first_byte(&mut self, started: Instant) {
        self.first_byte.get_or_insert_with(|| started.elapsed());
    }
}
