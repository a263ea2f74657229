//! The events of a stream, or their absence.

use crate::json::write::{self, Object};

/// The destination of events. An answer that is no stream is made by the same steps, without them.
#[derive(Debug)]
pub(super) struct EventWriter<'w> {
    out: Option<&'w mut Vec<u8>>,
    sequence: &'w mut u64,
}

impl<'w> EventWriter<'w> {
    /// Creates a wire that appends events to `out` and numbers them with `sequence`.
    pub(super) fn new(out: &'w mut Vec<u8>, sequence: &'w mut u64) -> Self {
        Self { out: Some(out), sequence }
    }

    /// Creates a wire that discards events.
    pub(super) fn silent(sequence: &'w mut u64) -> Self {
        Self { out: None, sequence }
    }

    /// Writes one event: its name and number, and the members that `fill` writes.
    pub(super) fn event(&mut self, name: &'static str, fill: impl FnOnce(&mut Object<'_>)) {
        let Some(out) = self.out.as_deref_mut() else { return };
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\ndata: ");
        write::object(out, |o| {
            o.value("type", |out| quoted(name.as_bytes(), out)).number("sequence_number", *self.sequence);
            fill(o);
        });
        out.extend_from_slice(b"\n\n");
        *self.sequence += 1;
    }
}

/// Appends the inside of a literal in quotes.
pub(super) fn quoted(inner: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(inner);
    out.push(b'"');
}
