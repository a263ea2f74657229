//! The `usage` object of the Messages protocol.

use serde::Deserialize;

use crate::canon::{Usage, UsagePart};
use crate::json::write::Object;
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

/// Writes the members of a `usage` object that every event has.
pub(super) fn write(usage: &Usage, o: &mut Object<'_>) {
    o.number("input_tokens", usage.input)
        .number("cache_creation_input_tokens", usage.cache_write)
        .number("cache_read_input_tokens", usage.cache_read)
        .number("output_tokens", usage.output);
    if let Some(reasoning) = usage.reasoning {
        o.object("output_tokens_details", |o| {
            o.number("thinking_tokens", reasoning);
        });
    }
}

/// Writes those that a whole answer has besides: for how long the cache was written, and the class of service.
pub(super) fn write_rest(usage: &Usage, tier: &str, o: &mut Object<'_>) {
    if usage.cache_write > 0 {
        o.object("cache_creation", |o| {
            o.number("ephemeral_5m_input_tokens", usage.cache_write).number("ephemeral_1h_input_tokens", 0);
        });
    }
    o.text("service_tier", tier);
}
