//! The `usage` object of the Responses protocol.

use serde::Deserialize;

use crate::canon::{Usage, UsagePart};
use crate::json::write::Object;
use crate::protocol::usage::{self, Count, Nested, WebSearchesWire};

#[derive(Deserialize, Default)]
#[serde(default)]
struct ResponsesUsageWire {
    input_tokens: Count,
    output_tokens: Count,
    input_tokens_details: Nested<ResponsesInputWire>,
    output_tokens_details: Nested<ResponsesOutputWire>,
    /// The web searches, which this provider counts here and others count beside the usage.
    server_side_tool_usage_details: Nested<WebSearchesWire>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ResponsesInputWire {
    cached_tokens: Count,
    cache_write_tokens: Count,
    cache_write_tokens_details: Nested<ResponsesCacheWritesWire>,
    audio_tokens: Count,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ResponsesCacheWritesWire {
    ttl_12h_tokens: Count,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ResponsesOutputWire {
    reasoning_tokens: Count,
    audio_tokens: Count,
}

/// The `tool_usage` object of a response.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ToolUsage {
    web_search: Nested<Searches>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Searches {
    num_requests: Count,
}

/// Reads a `usage` object; `None` for null and for anything that is not an object.
pub(super) fn read(json: &[u8]) -> Option<UsagePart> {
    let wire: ResponsesUsageWire = serde_json::from_slice::<Option<ResponsesUsageWire>>(json).ok()??;
    let (Nested(details), Nested(output)) = (wire.input_tokens_details, wire.output_tokens_details);
    let long = details.cache_write_tokens_details.0.ttl_12h_tokens;
    let (cache_read, cache_write) =
        (details.cached_tokens.get(), details.cache_write_tokens.get().max(long.get()));
    Some(UsagePart {
        input: Some(wire.input_tokens.get().saturating_sub(cache_read.saturating_add(cache_write))),
        cache_read: Some(cache_read),
        cache_write: Some(cache_write),
        output: Some(wire.output_tokens.get()),
        reasoning: output.reasoning_tokens.0,
        cache_write_long: long.0,
        audio_input: details.audio_tokens.0,
        audio_output: output.audio_tokens.0,
        searches: Some(wire.server_side_tool_usage_details.0.searches()),
        ..UsagePart::default()
    })
}

/// Reads the values beside the usage in a response: the literal of its service tier, and its `tool_usage`.
pub(super) fn read_with(usage: &[u8], tier: Option<&[u8]>, tools: Option<&[u8]>) -> Option<UsagePart> {
    let mut part = read(usage)?;
    part.rates = tier.map(usage::rates).unwrap_or_default();
    let tools = tools.and_then(|json| serde_json::from_slice::<Nested<ToolUsage>>(json).ok());
    let searches = tools.map(|Nested(tools)| tools.web_search.0.num_requests.get());
    part.searches = part.searches.max(searches);
    Some(part)
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
    use crate::canon::Rate;
    use crate::json;

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
    fn what_is_dearer_is_told_apart() {
        let json = br#"{"input_tokens":100,"input_tokens_details":{"cache_write_tokens":50,"audio_tokens":7,
            "cache_write_tokens_details":{"ttl_30m_tokens":20,"ttl_12h_tokens":30}},"output_tokens":9,
            "output_tokens_details":{"audio_tokens":4}}"#;
        let tools = br#"{"image_gen":{"input_tokens":0},"web_search":{"num_requests":3}}"#;
        let usage = Usage::from(read_with(json, Some(b"\"priority\""), Some(tools)).unwrap());
        assert_eq!((usage.input, usage.cache_write, usage.cache_write_long), (50, 50, 30));
        assert_eq!((usage.audio_input, usage.audio_output, usage.searches), (7, 4, 3));
        assert!(usage.rates.has(Rate::Priority));
        // Any other value may stand in their place.
        for odd in [&b"null"[..], b"7", b"\"\"", b"[]", br#"{"web_search":[1]}"#] {
            let usage = Usage::from(read_with(json, Some(odd), Some(odd)).unwrap());
            assert_eq!((usage.rates, usage.searches), (Default::default(), 0));
        }
        let xai = br#"{"input_tokens":1,"server_side_tool_usage_details":{"web_search_calls":2,"x_search_calls":1}}"#;
        assert_eq!(read(xai).unwrap().searches, Some(3));
    }

    #[test]
    fn totals_hold_what_was_cached() {
        // The numbers of golden case 111.
        let usage = Usage { input: 50, cache_read: 2400, cache_write: 120, output: 10, ..Usage::default() };
        let mut out = Vec::new();
        json::write::object(&mut out, |o| write(&usage, o));
        let expected = r#"{"input_tokens":2570,"input_tokens_details":{"cached_tokens":2400,"cache_write_tokens":120},"output_tokens":10,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":2580}"#;
        assert_eq!(String::from_utf8(out.clone()).unwrap(), expected);
        let back = Usage::from(read(&out).unwrap());
        assert_eq!(back, Usage { reasoning: Some(0), ..usage });
    }
}
