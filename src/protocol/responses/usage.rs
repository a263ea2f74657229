//! The `usage` object of the Responses protocol.

use serde::Deserialize;

use crate::canon::{Usage, UsagePart};
use crate::json::write::Object;
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

/// Writes the members of a `usage` object.
pub(super) fn write(usage: &Usage, o: &mut Object<'_>) {
    let (input, output) = (usage.prompt(), usage.output);
    o.number("input_tokens", input);
    o.object("input_tokens_details", |o| {
        o.number("cached_tokens", usage.cache_read).number("cache_write_tokens", usage.cache_write);
    });
    o.number("output_tokens", output);
    o.object("output_tokens_details", |o| {
        o.number("reasoning_tokens", usage.reasoning.unwrap_or(0));
    });
    o.number("total_tokens", input.saturating_add(output));
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

    #[test]
    fn totals_hold_what_was_cached() {
        // The numbers of golden case 111.
        let usage = Usage { input: 50, cache_read: 2400, cache_write: 120, output: 10, reasoning: None };
        let mut out = Vec::new();
        crate::json::write::object(&mut out, |o| write(&usage, o));
        let expected = r#"{"input_tokens":2570,"input_tokens_details":{"cached_tokens":2400,"cache_write_tokens":120},"output_tokens":10,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":2580}"#;
        assert_eq!(String::from_utf8(out.clone()).unwrap(), expected);
        let back = Usage::from(read(&out).unwrap());
        assert_eq!(back, Usage { reasoning: Some(0), ..usage });
    }
}
