//! Handling of each top-level member of a request in the other protocols.

use crate::canon::{Field, FieldPolicy};

use FieldPolicy::{Dropped, Mapped, Own, Refused, Silent};

/// The members of the protocol's requests. A member that is not in the table is left out, and the client is told.
pub(super) static FIELDS: &[Field] = &[
    mapped("model", r#""vendor/model""#),
    mapped("messages", r#"[{"role":"user","content":"Hi"}]"#),
    mapped("system", r#""Be brief.""#),
    mapped("max_tokens", "1024"),
    mapped("stream", "true"),
    mapped("temperature", "0.5"),
    mapped("top_p", "0.9"),
    Field { to: [Mapped, Dropped, Own, Mapped], neutral: &["0", "-1"], ..mapped("top_k", "40") },
    Field { to: [Mapped, Dropped, Own, Mapped], neutral: &["[]"], ..mapped("stop_sequences", r#"["END"]"#) },
    mapped("tools", r#"[{"name":"f","input_schema":{"type":"object","properties":{}}}]"#),
    mapped("tool_choice", r#"{"type":"auto"}"#),
    mapped("thinking", r#"{"type":"enabled","budget_tokens":2048}"#),
    mapped("output_config", r#"{"effort":"low"}"#),
    mapped("output_format", r#"{"type":"json_schema","schema":{"type":"object","properties":{}}}"#),
    mapped("metadata", r#"{"user_id":"u1"}"#).in_gemini(Silent),
    mapped("service_tier", r#""standard_only""#),
    // Its price differs: a tier is never replaced by a more expensive one.
    Field { neutral: &[r#""standard""#], ..dropped("speed", r#""fast""#) },
    // The other protocols cache by themselves.
    dropped("cache_control", r#"{"type":"ephemeral"}"#).in_gemini(Silent),
    // Clients send it with every request; without it, their prompts only get longer.
    dropped("context_management", r#"{"edits":[{"type":"clear_tool_uses_20250919"}]}"#),
    Field { neutral: &["[]"], ..dropped("fallbacks", r#"[{"model":"m"}]"#) },
    dropped("diagnostics", r#"{"previous_message_id":"msg_1"}"#),
    dropped("inference_geo", r#""eu""#),
    dropped("user_profile_id", r#""p""#),
    dropped("workspace_id", r#""w""#),
    dropped("anthropic_version", r#""2023-06-01""#),
    Field { neutral: &["[]"], ..dropped("anthropic_beta", r#"["b"]"#) },
    Field { neutral: &["false"], ..dropped("background", "true") },
    refused("container", r#"{"skills":[{"type":"anthropic","skill_id":"pptx"}]}"#),
    Field { neutral: &["[]"], ..refused("mcp_servers", r#"[{"type":"url","url":"https://x","name":"x"}]"#) },
    refused("compaction", r#"{"type":"auto"}"#),
    refused("thread", r#"{"id":"t"}"#),
    refused("fallback_credit_token", r#""t""#),
    refused("billing_policy", r#""p""#),
];

const fn mapped(name: &'static str, sample: &'static str) -> Field {
    Field { name, to: [Mapped, Mapped, Own, Mapped], neutral: &[], sample }
}

const fn dropped(name: &'static str, sample: &'static str) -> Field {
    Field { name, to: [Dropped, Dropped, Own, Dropped], neutral: &[], sample }
}

const fn refused(name: &'static str, sample: &'static str) -> Field {
    Field { name, to: [Refused, Refused, Own, Refused], neutral: &[], sample }
}
