//! The `usage` object of the Messages protocol.

use serde::Deserialize;

use crate::canon::UsagePart;
use crate::protocol::usage::Count;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire {
    input_tokens: Count,
    output_tokens: Count,
    cache_read_input_tokens: Count,
    cache_creation_input_tokens: Count,
    output_tokens_details: Option<Output>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Output {
    thinking_tokens: Count,
}

/// Reads a `usage` object; `None` for null and for anything that is not an object. Members that are
/// absent stay absent: the one in `message_delta` completes the one in `message_start`.
pub(super) fn read(json: &[u8]) -> Option<UsagePart> {
    let wire: Wire = serde_json::from_slice::<Option<Wire>>(json).ok()??;
    Some(UsagePart {
        input: wire.input_tokens.0,
        cache_read: wire.cache_read_input_tokens.0,
        cache_write: wire.cache_creation_input_tokens.0,
        output: wire.output_tokens.0,
        reasoning: wire.output_tokens_details.unwrap_or_default().thinking_tokens.0,
    })
}
