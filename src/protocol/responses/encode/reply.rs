//! A whole answer for a client.

use bytes::Bytes;

use crate::canon::{Answer, Context};

/// Writes the answer's body.
pub(in crate::protocol::responses) fn write(_answer: &Answer, _context: &Context) -> Bytes {
    Bytes::new()
}
