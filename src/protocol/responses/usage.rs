//! The `usage` object of the Responses protocol.

use serde::Deserialize;

use crate::canon::UsagePart;
use crate::protocol::usage::Count;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire {
    input_tokens: Count,
    output_tokens: Count,
    input_tokens_details: Option<Input>,
    output_tokens_details: Option<Output>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Input {
    cached_tokens: Count,
    cache_write_tokens: Count,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Output {
    reasoning_tokens: Count,
}

/// Reads a `usage` object; `None` for null and for anything that is not an object.
pub(super) fn read(json: &[u8]) -> Option<UsagePart> {
    let wire: Wire = serde_json::from_slice::<Option<Wire>>(json).ok()??;
    let details = wire.input_tokens_details.unwrap_or_default();
    let (cache_read, cache_write) = (details.cached_tokens.get(), details.cache_write_tokens.get());
    Some(UsagePart {
        input: Some(wire.input_tokens.get().saturating_sub(cache_read.saturating_add(cache_write))),
        cache_read: Some(cache_read),
        cache_write: Some(cache_write),
        output: Some(wire.output_tokens.get()),
        reasoning: wire.output_tokens_details.unwrap_or_default().reasoning_tokens.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_what_was_not_cached() {
        let json = br#"{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":5,
            "output_tokens_details":{"reasoning_tokens":2},"total_tokens":15}"#;
        let part = read(json).unwrap();
        let counts = [part.input, part.cache_read, part.cache_write, part.output, part.reasoning];
        assert_eq!(counts, [6, 4, 0, 5, 2].map(Some));
        assert_eq!(read(b"null"), None);
    }
}
