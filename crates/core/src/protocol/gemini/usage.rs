//! The `usageMetadata` object of the Gemini protocol.

use serde::Deserialize;

use crate::canon::{Usage, UsagePart};
use crate::json::write::Object;
use crate::protocol::usage::{Count, Word};

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct GeminiUsageWire {
    prompt_token_count: Count,
    cached_content_token_count: Count,
    candidates_token_count: Count,
    thoughts_token_count: Count,
    tool_use_prompt_token_count: Count,
    service_tier: Word,
}

/// Reads a `usageMetadata` object; `None` for one without any count. Counts that are absent stay absent, because each
/// event of a stream replaces those of the one before.
pub(super) fn read(json: &[u8]) -> Option<UsagePart> {
    let wire: GeminiUsageWire = serde_json::from_slice::<Option<GeminiUsageWire>>(json).ok()??;
    let is_output = wire.candidates_token_count.0.is_some() || wire.thoughts_token_count.0.is_some();
    let sent = wire.prompt_token_count.0;
    if sent.is_none() && !is_output {
        return None;
    }
    let cached = wire.cached_content_token_count.get();
    let tools = wire.tool_use_prompt_token_count.get();
    let output = wire.candidates_token_count.get().saturating_add(wire.thoughts_token_count.get());
    Some(UsagePart {
        input: sent.map(|sent| sent.saturating_sub(cached).saturating_add(tools)),
        cache_read: sent.map(|_| cached),
        output: is_output.then_some(output),
        reasoning: wire.thoughts_token_count.0,
        rates: wire.service_tier.tier().into_iter().collect(),
        ..UsagePart::default()
    })
}

/// Returns the tier of an answer, in the words of the other protocols.
pub(super) fn tier(json: &str) -> Option<String> {
    let wire: GeminiUsageWire = serde_json::from_str(json).ok()?;
    let tier = wire.service_tier.0?.to_ascii_lowercase();
    match tier.as_str() {
        "" | "unspecified" => None,
        "standard" => Some("default".to_owned()),
        _ => Some(tier),
    }
}

/// Writes the members of a client's `usageMetadata`.
pub(super) fn write(usage: &Usage, o: &mut Object<'_>) {
    // Some providers count more reasoning than output.
    let reasoning = usage.reasoning.unwrap_or(0).min(usage.output);
    o.number("promptTokenCount", usage.prompt());
    if usage.cache_read > 0 {
        o.number("cachedContentTokenCount", usage.cache_read);
    }
    o.number("candidatesTokenCount", usage.output.saturating_sub(reasoning));
    if reasoning > 0 {
        o.number("thoughtsTokenCount", reasoning);
    }
    o.number("totalTokenCount", usage.prompt().saturating_add(usage.output));
}

#[cfg(test)]
mod tests {
    use super::write as write_usage;
    use super::*;
    use crate::json::write;

    #[test]
    fn cached_tokens_are_a_part_of_the_prompt_and_thoughts_one_of_the_output() {
        let json = br#"{"promptTokenCount":100,"cachedContentTokenCount":40,"toolUsePromptTokenCount":10,"candidatesTokenCount":20,"thoughtsTokenCount":5,"totalTokenCount":135}"#;
        let usage = Usage::from(read(json).unwrap());
        assert_eq!((usage.input, usage.cache_read, usage.output, usage.reasoning), (70, 40, 25, Some(5)));
        assert_eq!(usage.prompt() + usage.output, 135);
        assert_eq!(read(br#"{"trafficType":"ON_DEMAND"}"#), None);
        assert_eq!(tier(r#"{"serviceTier":"standard"}"#).as_deref(), Some("default"));
    }

    #[test]
    fn later_counts_replace_earlier_ones() {
        let mut usage = Usage::default();
        for count in [211, 211, 646] {
            usage.absorb(&read(format!(r#"{{"promptTokenCount":{count}}}"#).as_bytes()).unwrap());
        }
        assert_eq!((usage.input, usage.output), (646, 0));
    }

    #[test]
    fn the_total_is_the_sum_whatever_a_provider_counts() {
        let usage = Usage { input: 1, output: 2, reasoning: Some(5), ..Usage::default() };
        let mut out = Vec::new();
        write::object(&mut out, |o| write_usage(&usage, o));
        let expected =
            r#"{"promptTokenCount":1,"candidatesTokenCount":0,"thoughtsTokenCount":2,"totalTokenCount":3}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_client_reads_thoughts_apart() {
        let usage = Usage { input: 10, cache_read: 40, output: 12, reasoning: Some(5), ..Usage::default() };
        let mut out = Vec::new();
        write::object(&mut out, |o| write_usage(&usage, o));
        let expected = r#"{"promptTokenCount":50,"cachedContentTokenCount":40,"candidatesTokenCount":7,"thoughtsTokenCount":5,"totalTokenCount":62}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
