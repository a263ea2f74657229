//! Errors in Chat's forms.

use bytes::Bytes;

use crate::failure::Failure;
use crate::protocol::error::openai_envelope;

pub(super) fn envelope(failure: &Failure) -> Bytes {
    openai_envelope(failure)
}

/// Returns a chunk with an `error`, which makes the SDKs raise; no `[DONE]` follows.
pub(super) fn in_stream(failure: &Failure) -> Bytes {
    [b"data: ", openai_envelope(failure).as_ref(), b"\n\n"].concat().into()
}
