//! Handling of each top-level member of a request in the other protocols.

use crate::canon::{Field, FieldPolicy};

use FieldPolicy::{Dropped, Mapped, Own, Refused, Silent};

/// Defines one member: its name, its handling in Chat and in Messages, which is usually that in Gemini, its neutral values, and a sample.
const fn field(
    name: &'static str,
    chat: FieldPolicy,
    messages: FieldPolicy,
    neutral: &'static [&'static str],
    sample: &'static str,
) -> Field {
    Field { name, to: [chat, Own, messages, messages], neutral, sample }
}

/// The members of Responses requests.
#[rustfmt::skip]
pub(super) static FIELDS: &[Field] = &[
    field("model", Mapped, Mapped, &[], r#""vendor/model""#),
    field("input", Mapped, Mapped, &[], r#""hi""#),
    field("instructions", Mapped, Mapped, &["\"\""], r#""Be brief.""#),
    field("stream", Mapped, Mapped, &["false"], "true"),
    field("stream_options", Dropped, Dropped, &["{}"], r#"{"include_obfuscation":true}"#),
    field("max_output_tokens", Mapped, Mapped, &[], "100"),
    field("max_tool_calls", Dropped, Dropped, &[], "3"),
    field("temperature", Mapped, Mapped, &[], "0.7"),
    field("top_p", Mapped, Mapped, &[], "0.9"),
    field("top_logprobs", Mapped, Refused, &["0"], "2").in_gemini(Mapped),
    field("tools", Mapped, Mapped, &["[]"], r#"[{"type":"function","name":"f"}]"#),
    field("tool_choice", Mapped, Mapped, &[], r#""auto""#),
    field("parallel_tool_calls", Mapped, Mapped, &[], "false"),
    field("text", Mapped, Mapped, &["{}"], r#"{"format":{"type":"json_object"}}"#),
    field("reasoning", Mapped, Mapped, &["{}"], r#"{"effort":"high","summary":"auto"}"#),
    field("previous_response_id", Refused, Refused, &["\"\""], r#""resp_1""#),
    field("conversation", Refused, Refused, &["\"\""], r#""conv_1""#),
    field("background", Refused, Refused, &["false"], "true"),
    field("background_options", Silent, Silent, &[], "{}"),
    field("prompt", Refused, Refused, &[], r#"{"id":"pmpt_1"}"#),
    field("store", Silent, Silent, &[], "true"),
    field("include", Mapped, Mapped, &["[]"], r#"["reasoning.encrypted_content"]"#),
    field("truncation", Dropped, Dropped, &["\"disabled\""], r#""auto""#),
    field("metadata", Silent, Silent, &["{}"], r#"{"k":"v"}"#),
    field("user", Mapped, Mapped, &["\"\""], r#""user-1""#).in_gemini(Silent),
    field("safety_identifier", Mapped, Mapped, &["\"\""], r#""user-1""#).in_gemini(Silent),
    field("prompt_cache_key", Mapped, Silent, &["\"\""], r#""key""#),
    field("prompt_cache_retention", Mapped, Dropped, &[], r#""24h""#),
    field("prompt_cache_options", Mapped, Mapped, &["{}"], r#"{"ttl":"12h"}"#).in_gemini(Silent),
    field("service_tier", Mapped, Mapped, &[], r#""default""#),
    field("context_management", Dropped, Dropped, &["[]"], r#"[{"type":"compaction"}]"#),
    field("moderation", Refused, Refused, &[], r#"{"model":"m"}"#),
    field("access_programs", Dropped, Dropped, &["[]"], r#"["p"]"#),
    field("image", Dropped, Dropped, &["{}"], r#"{"context_compression":"auto"}"#),
    field("client_metadata", Silent, Silent, &[], r#"{"k":"v"}"#),
];
