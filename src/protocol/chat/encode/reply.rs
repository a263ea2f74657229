//! A whole answer for a client.

use bytes::Bytes;

use crate::canon::{Answer, Context};

/// Writes the answer's body.
pub(in crate::protocol::chat) fn write(_answer: &Answer, _context: &Context) -> Bytes {
    Bytes::new()
}
