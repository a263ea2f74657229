//! The stream for a client.

use std::sync::Arc;

use crate::canon::{Context, Encode, Event};
use crate::failure::Failure;

/// Writes the stream for a client.
#[derive(Debug)]
pub(in crate::protocol::messages) struct Encoder;

impl Encoder {
    pub(in crate::protocol::messages) fn new(_context: Arc<Context>) -> Self {
        Self
    }
}

impl Encode for Encoder {
    fn event(&mut self, _event: Event<'_>, _out: &mut Vec<u8>) {}

    fn fail(&mut self, _failure: &Failure, _out: &mut Vec<u8>) {}
}
