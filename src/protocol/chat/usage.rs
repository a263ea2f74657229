//! Chat's `usage` object, with the names that its many providers use.

use serde::Deserialize;

use crate::canon::UsagePart;
use crate::protocol::usage::Count;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire {
    prompt_tokens: Count,
    completion_tokens: Count,
    total_tokens: Count,
    cached_tokens: Count,
    prompt_cache_hit_tokens: Count,
    num_cached_tokens: Count,
    cache_creation_input_tokens: Count,
    reasoning_tokens: Count,
    prompt_tokens_details: Option<Prompt>,
    completion_tokens_details: Option<Completion>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Prompt {
    cached_tokens: Count,
    cache_write_tokens: Count,
    cache_creation_tokens: Count,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Completion {
    reasoning_tokens: Count,
}

/// Reads a `usage` object; `None` for null and for anything that is not an object.
pub(super) fn read(json: &[u8]) -> Option<UsagePart> {
    let wire: Wire = serde_json::from_slice::<Option<Wire>>(json).ok()??;
    let prompt = wire.prompt_tokens_details.unwrap_or_default();
    let cache_read = prompt
        .cached_tokens
        .or(wire.cached_tokens)
        .or(wire.prompt_cache_hit_tokens)
        .or(wire.num_cached_tokens)
        .get();
    let cache_write =
        prompt.cache_write_tokens.or(prompt.cache_creation_tokens).or(wire.cache_creation_input_tokens).get();
    let all = wire.prompt_tokens.get();
    // More read from the cache than sent: this provider does not count cached tokens in.
    let input = if cache_read > all { all } else { all.saturating_sub(cache_read + cache_write) };
    // Some providers leave reasoning out of the completion but not out of the total.
    let by_total = wire.total_tokens.get().saturating_sub(all);
    let reasoning = wire.completion_tokens_details.unwrap_or_default().reasoning_tokens;
    Some(UsagePart {
        input: Some(input),
        cache_read: Some(cache_read),
        cache_write: Some(cache_write),
        output: Some(wire.completion_tokens.get().max(by_total)),
        reasoning: reasoning.or(wire.reasoning_tokens).0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(json: &str) -> (u64, u64, u64, u64, u64) {
        let u = crate::canon::Usage::from(read(json.as_bytes()).unwrap());
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
}
