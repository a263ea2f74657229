//! Writing JSON: string literals, and the small objects that the gateway says itself.

use bytes::Bytes;
use serde::Serialize;

/// The literal of a text, quotes and escapes included.
#[must_use]
pub fn literal(text: &str) -> String {
    // A string always serializes: `serde_json` fails only on maps with odd keys and on broken writers.
    serde_json::to_string(text).unwrap_or_default()
}

/// The bytes of a value that always serializes (no maps with keys other than strings).
#[must_use]
pub fn bytes(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}
