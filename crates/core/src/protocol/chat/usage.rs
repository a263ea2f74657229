//! Chat's `usage` object, with the names that its many providers use.

use serde::Deserialize;

use crate::canon::{Profile, Rates, Usage, UsagePart};
use crate::json::write::Object;
use crate::protocol::usage::{Count, Nested, WebSearchesWire, Word};

#[derive(Deserialize, Default)]
#[serde(default)]
struct ChatUsageWire {
    prompt_tokens: Count,
    completion_tokens: Count,
    total_tokens: Count,
    cached_tokens: Count,
    prompt_cache_hit_tokens: Count,
    num_cached_tokens: Count,
    cache_creation_input_tokens: Count,
    reasoning_tokens: Count,
    prompt_tokens_details: Nested<Prompt>,
    completion_tokens_details: Nested<Completion>,
    service_tier: Word,
    num_search_queries: Count,
    num_sources_used: Count,
    server_tool_use: Nested<WebSearchesWire>,
    server_side_tool_usage_details: Nested<WebSearchesWire>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Prompt {
    cached_tokens: Count,
    cache_write_tokens: Count,
    cache_creation_tokens: Count,
    cache_write_tokens_details: Nested<ChatCacheWritesWire>,
    cache_creation_token_details: Nested<ChatCacheWritesWire>,
    audio_tokens: Count,
}

/// The part of the cache writes that is kept for longer than the default.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ChatCacheWritesWire {
    ttl_12h_tokens: Count,
    ephemeral_1h_input_tokens: Count,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Completion {
    reasoning_tokens: Count,
    audio_tokens: Count,
}

impl ChatUsageWire {
    /// Returns the number of web searches: each provider counts them in one place, if at all.
    fn searches(&self) -> u64 {
        let places = [
            self.num_search_queries.get(),
            self.num_sources_used.get(),
            self.server_tool_use.0.searches(),
            self.server_side_tool_usage_details.0.searches(),
        ];
        places.into_iter().max().unwrap_or(0)
    }
}

impl Prompt {
    fn long(&self) -> Count {
        let (Nested(one), Nested(other)) =
            (&self.cache_write_tokens_details, &self.cache_creation_token_details);
        one.ttl_12h_tokens.or(other.ephemeral_1h_input_tokens)
    }
}

/// The way in which a provider counts, where the counts themselves do not show it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Habits {
    /// Whether reasoning tokens are missing in `completion_tokens`.
    reasoning_excluded: bool,
    /// Whether cached tokens are missing in `prompt_tokens`.
    cached_excluded: bool,
}

impl Habits {
    pub(super) fn of(profile: &Profile) -> Self {
        Self {
            reasoning_excluded: profile.usage_reasoning_excluded,
            cached_excluded: profile.usage_cached_excluded,
        }
    }
}

/// Reads a `usage` object; `None` for null and for anything that is not an object.
pub(super) fn read(json: &[u8]) -> Option<UsagePart> {
    read_as(json, Habits::default())
}

/// Reads like [`read`], for a provider with these habits.
pub(super) fn read_as(json: &[u8], habits: Habits) -> Option<UsagePart> {
    let wire: ChatUsageWire = serde_json::from_slice::<Option<ChatUsageWire>>(json).ok()??;
    let searches = wire.searches();
    let (Nested(prompt), Nested(completion)) = (wire.prompt_tokens_details, wire.completion_tokens_details);
    let (long, audio_input) = (prompt.long(), prompt.audio_tokens.0);
    let cache_read = prompt
        .cached_tokens
        .or(wire.cached_tokens)
        .or(wire.prompt_cache_hit_tokens)
        .or(wire.num_cached_tokens)
        .get();
    let cache_write =
        prompt.cache_write_tokens.or(prompt.cache_creation_tokens).or(wire.cache_creation_input_tokens).get();
    let cache_write = cache_write.max(long.get());
    let sent = wire.prompt_tokens.get();
    let cached = cache_read.saturating_add(cache_write);
    // If more was read from the cache than was sent, the provider does not include cached tokens.
    let excluded = habits.cached_excluded || cache_read > sent;
    let (input, prompt) =
        if excluded { (sent, sent.saturating_add(cached)) } else { (sent.saturating_sub(cached), sent) };
    let reasoning = completion.reasoning_tokens.or(wire.reasoning_tokens);
    Some(UsagePart {
        input: Some(input),
        cache_read: Some(cache_read),
        cache_write: Some(cache_write),
        output: Some(output(
            wire.completion_tokens.get(),
            reasoning.get(),
            prompt,
            wire.total_tokens.0,
            habits,
        )),
        reasoning: reasoning.0,
        cache_write_long: long.0,
        audio_input,
        audio_output: completion.audio_tokens.0,
        searches: Some(searches),
        rates: wire.service_tier.tier().into_iter().collect::<Rates>(),
        inner: None,
    })
}

/// Returns all output tokens. Some providers leave reasoning out of the completion but not out of the total.
fn output(completion: u64, reasoning: u64, prompt: u64, total: Option<u64>, habits: Habits) -> u64 {
    let by_total = total.unwrap_or(0).saturating_sub(prompt);
    if by_total > completion {
        return by_total;
    }
    let missing = habits.reasoning_excluded && (reasoning > completion || total.is_none());
    if missing { completion.saturating_add(reasoning) } else { completion }
}

/// Writes the members of a client's `usage` object.
pub(super) fn write(o: &mut Object<'_>, usage: &Usage) {
    o.number("prompt_tokens", usage.prompt()).number("completion_tokens", usage.output);
    o.number("total_tokens", usage.prompt().saturating_add(usage.output));
    o.object("prompt_tokens_details", |o| {
        o.number("cached_tokens", usage.cache_read).number("audio_tokens", 0);
        if usage.cache_write > 0 {
            o.number("cache_write_tokens", usage.cache_write);
        }
    });
    o.object("completion_tokens_details", |o| {
        o.number("reasoning_tokens", usage.reasoning.unwrap_or(0));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(json: &str) -> (u64, u64, u64, u64, u64) {
        let u = Usage::from(read(json.as_bytes()).unwrap());
        (u.input, u.cache_read, u.cache_write, u.output, u.reasoning.unwrap_or(0))
    }

    #[test]
    fn reads_the_names_and_habits_of_providers() {
        let openai = r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,
            "prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":2}}"#;
        assert_eq!(read_all(openai), (6, 4, 0, 5, 2));
        let deepseek = r#"{"prompt_tokens":10,"completion_tokens":5,"prompt_cache_hit_tokens":3}"#;
        assert_eq!(read_all(deepseek), (7, 3, 0, 5, 0));
        let xai = r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":35,"completion_tokens_details":{"reasoning_tokens":20}}"#;
        assert_eq!(read_all(xai), (10, 0, 0, 25, 20));
        let excluded =
            r#"{"prompt_tokens":3,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":9}}"#;
        assert_eq!(read_all(excluded), (3, 9, 0, 1, 0));
        assert_eq!(read(b"null"), None);
        assert_eq!(read_all(r#"{"prompt_tokens":null,"prompt_tokens_details":null}"#), (0, 0, 0, 0, 0));
    }

    #[test]
    fn habits_decide_where_the_counts_do_not() {
        let profile = |reasoning, cached| Profile {
            usage_reasoning_excluded: reasoning,
            usage_cached_excluded: cached,
            ..Profile::default()
        };
        let read = |json: &str, profile: &Profile| {
            Usage::from(read_as(json.as_bytes(), Habits::of(profile)).unwrap())
        };
        let apart = r#"{"prompt_tokens":5,"completion_tokens":10,"completion_tokens_details":{"reasoning_tokens":7}}"#;
        assert_eq!(read(apart, &profile(true, false)).output, 17);
        assert_eq!(read(apart, &profile(false, false)).output, 10);
        let repaired = r#"{"prompt_tokens":5,"completion_tokens":40,"total_tokens":45,"completion_tokens_details":{"reasoning_tokens":30}}"#;
        assert_eq!(read(repaired, &profile(true, false)).output, 40);
        // Golden case 113.
        let xai = r#"{"prompt_tokens":5,"completion_tokens":10,"total_tokens":45,"completion_tokens_details":{"reasoning_tokens":30}}"#;
        let usage = read(xai, &profile(true, false));
        assert_eq!((usage.output, usage.reasoning), (40, Some(30)));
        let cached = r#"{"prompt_tokens":50,"completion_tokens":1,"total_tokens":81,"prompt_tokens_details":{"cached_tokens":30}}"#;
        let usage = read(cached, &profile(false, true));
        assert_eq!((usage.input, usage.cache_read, usage.output), (50, 30, 1));
    }

    #[test]
    fn what_is_dearer_is_told_apart() {
        let json = r#"{"prompt_tokens":100,"completion_tokens":9,"service_tier":"priority","completion_tokens_details":{"audio_tokens":4},
            "prompt_tokens_details":{"audio_tokens":7,"cache_write_tokens":50,"cache_write_tokens_details":{"ttl_12h_tokens":30}}}"#;
        let usage = Usage::from(read(json.as_bytes()).unwrap());
        assert_eq!((usage.input, usage.cache_write, usage.cache_write_long), (50, 50, 30));
        assert_eq!((usage.audio_input, usage.audio_output), (7, 4));
        assert!(usage.rates.has(crate::canon::Rate::Priority));
        for searched in [
            r#""num_search_queries":3"#,
            r#""num_sources_used":3"#,
            r#""server_tool_use":{"web_search_requests":3}"#,
            r#""server_side_tool_usage_details":{"web_search_calls":1,"x_search_calls":2}"#,
        ] {
            assert_eq!(read(format!("{{{searched}}}").as_bytes()).unwrap().searches, Some(3), "{searched}");
        }
    }

    #[test]
    fn golden_case_112_counts_cached_tokens_once() {
        let json = r#"{"prompt_tokens":2570,"completion_tokens":10,"prompt_tokens_details":{"cached_tokens":2400,"cache_write_tokens":120}}"#;
        assert_eq!(read_all(json), (50, 2400, 120, 10, 0));
    }

    #[test]
    fn golden_case_111_adds_the_cached_tokens_up() {
        let usage = Usage { input: 50, cache_read: 2400, cache_write: 120, output: 10, ..Usage::default() };
        let mut out = Vec::new();
        crate::json::write::object(&mut out, |o| write(o, &usage));
        let expected = r#"{"prompt_tokens":2570,"completion_tokens":10,"total_tokens":2580,"prompt_tokens_details":{"cached_tokens":2400,"audio_tokens":0,"cache_write_tokens":120},"completion_tokens_details":{"reasoning_tokens":0}}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
