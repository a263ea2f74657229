//! Handling of each top-level member of a request in the other protocols.

use crate::canon::{Field, FieldPolicy};

use FieldPolicy::{Dropped, Forwarded, Mapped, Own, Refused, Silent};

/// Defines one member: its name, its handling in Responses and in Messages, which is usually that in Gemini, its neutral values, and a sample.
const fn field(
    name: &'static str,
    responses: FieldPolicy,
    messages: FieldPolicy,
    neutral: &'static [&'static str],
    sample: &'static str,
) -> Field {
    Field { name, to: [Own, responses, messages, messages], neutral, sample }
}

/// The members of Chat requests, including extensions of well-known servers.
#[rustfmt::skip]
pub(super) static FIELDS: &[Field] = &[
    field("model", Mapped, Mapped, &[], r#""vendor/model""#),
    field("messages", Mapped, Mapped, &[], r#"[{"role":"user","content":"hi"}]"#),
    field("stream", Mapped, Mapped, &["false"], "true"),
    field("stream_options", Mapped, Mapped, &["{}"], r#"{"include_usage":true}"#),
    field("max_completion_tokens", Mapped, Mapped, &[], "100"),
    field("max_tokens", Mapped, Mapped, &[], "100"),
    field("temperature", Forwarded, Mapped, &[], "0.7"),
    field("top_p", Forwarded, Mapped, &[], "0.9"),
    field("top_k", Dropped, Mapped, &["0", "-1"], "40"),
    field("min_p", Dropped, Dropped, ZERO, "0.1"),
    field("top_a", Dropped, Dropped, ZERO, "0.1"),
    field("repetition_penalty", Dropped, Dropped, &["1", "1.0"], "1.1"),
    field("typical_p", Dropped, Dropped, &["1", "1.0"], "0.9"),
    field("frequency_penalty", Dropped, Dropped, ZERO, "0.5").in_gemini(Forwarded),
    field("presence_penalty", Dropped, Dropped, ZERO, "0.5").in_gemini(Forwarded),
    field("logit_bias", Dropped, Dropped, &["{}"], r#"{"50256":-100}"#),
    field("seed", Dropped, Dropped, &[], "7").in_gemini(Forwarded),
    field("n", Refused, Refused, &["1"], "2"),
    field("logprobs", Mapped, Refused, &["false"], "true").in_gemini(Mapped),
    field("top_logprobs", Mapped, Refused, &["0"], "2").in_gemini(Mapped),
    field("stop", Dropped, Mapped, &["[]", "\"\""], r#"["END"]"#),
    field("tools", Mapped, Mapped, &["[]"], r#"[{"type":"function","function":{"name":"f"}}]"#),
    field("functions", Mapped, Mapped, &["[]"], r#"[{"name":"f"}]"#),
    field("tool_choice", Mapped, Mapped, &[], r#""auto""#),
    field("function_call", Mapped, Mapped, &[], r#""auto""#),
    field("parallel_tool_calls", Forwarded, Mapped, &[], "false"),
    field("response_format", Mapped, Mapped, &[], r#"{"type":"json_object"}"#),
    field("reasoning_effort", Mapped, Mapped, &[], r#""high""#),
    field("reasoning", Mapped, Mapped, &["{}"], r#"{"effort":"high"}"#),
    field("thinking", Mapped, Mapped, &["{}"], r#"{"type":"disabled"}"#),
    field("enable_thinking", Mapped, Mapped, &[], "false"),
    field("thinking_budget", Mapped, Mapped, &[], "2048"),
    field("chat_template_kwargs", Mapped, Mapped, &["{}"], r#"{"enable_thinking":false}"#),
    field("verbosity", Mapped, Dropped, &[], r#""low""#),
    field("modalities", Mapped, Mapped, &[r#"["text"]"#, "[]"], r#"["text"]"#),
    field("audio", Refused, Refused, &[], r#"{"voice":"alloy","format":"wav"}"#),
    field("prediction", Dropped, Dropped, &[], r#"{"type":"content","content":"x"}"#),
    field("web_search_options", Mapped, Mapped, &[], "{}"),
    field("user", Mapped, Mapped, &["\"\""], r#""user-1""#).in_gemini(Silent),
    field("safety_identifier", Mapped, Mapped, &["\"\""], r#""user-1""#).in_gemini(Silent),
    field("metadata", Forwarded, Dropped, &["{}"], r#"{"k":"v"}"#),
    field("store", Silent, Silent, &[], "true"),
    field("service_tier", Forwarded, Mapped, &[], r#""default""#),
    field("prompt_cache_key", Forwarded, Dropped, &["\"\""], r#""key""#),
    field("prompt_cache_retention", Forwarded, Dropped, &[], r#""24h""#),
    field("prompt_cache_options", Forwarded, Mapped, &["{}"], r#"{"ttl":"12h"}"#).in_gemini(Silent),
    field("moderation", Forwarded, Refused, &[], r#"{"model":"m"}"#),
    field("cache_control", Dropped, Forwarded, &[], r#"{"type":"ephemeral"}"#).in_gemini(Silent),
    field("context_management", Dropped, Dropped, &[], "{}"),
    field("betas", Dropped, Dropped, &["[]"], r#"["b"]"#),
    field("container", Dropped, Dropped, &[], "{}"),
    field("mcp_servers", Dropped, Dropped, &["[]"], "[{}]"),
    field("plugins", Dropped, Dropped, &["[]"], r#"[{"id":"web"}]"#),
    field("transforms", Dropped, Dropped, &["[]"], r#"["middle-out"]"#),
    field("models", Dropped, Dropped, &["[]"], r#"["a/b"]"#),
    field("route", Dropped, Dropped, &[], r#""fallback""#),
    field("provider", Dropped, Dropped, &["{}"], r#"{"sort":"price"}"#),
    field("usage", Dropped, Dropped, &["{}"], r#"{"include":true}"#),
    field("background", Dropped, Dropped, &["false"], "true"),
    field("structured_outputs", Mapped, Mapped, &["{}"], r#"{"json":{"type":"object"}}"#),
    field("regex", Refused, Refused, &[], r#""a+""#),
    field("ebnf", Refused, Refused, &[], r#""root ::= \"a\"""#),
    field("guided_json", Refused, Refused, &[], "{}"),
    field("guided_regex", Refused, Refused, &[], r#""a+""#),
    field("guided_choice", Refused, Refused, &[], r#"["a"]"#),
    field("guided_grammar", Refused, Refused, &[], r#""root ::= \"a\"""#),
];

const ZERO: &[&str] = &["0", "0.0"];
