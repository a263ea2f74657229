//! Handling of each top-level member of a request in the other protocols.

use crate::canon::{Field, FieldPolicy};

use FieldPolicy::{Dropped, Mapped, Own, Refused, Silent};

/// Defines one member: its name, its handling in all other protocols, its neutral values, and a sample.
const fn field(
    name: &'static str,
    policy: FieldPolicy,
    neutral: &'static [&'static str],
    sample: &'static str,
) -> Field {
    Field { name, to: [policy, policy, policy, Own], neutral, sample }
}

/// The members of Gemini requests, in the spelling of the reference. The path of a request stands for `model` and
/// `stream`.
#[rustfmt::skip]
pub(super) static FIELDS: &[Field] = &[
    field("model", Mapped, &[], r#""vendor/model""#),
    field("stream", Mapped, &["false"], "true"),
    field("contents", Mapped, &[], r#"[{"role":"user","parts":[{"text":"Hello"}]}]"#),
    field("systemInstruction", Mapped, &[], r#"{"parts":[{"text":"Be brief."}]}"#),
    field("tools", Mapped, &["[]"], r#"[{"functionDeclarations":[{"name":"f"}]}]"#),
    field("toolConfig", Mapped, &["{}"], r#"{"functionCallingConfig":{"mode":"ANY"}}"#),
    field("generationConfig", Mapped, &["{}"], r#"{"maxOutputTokens":100}"#),
    field("serviceTier", Mapped, &[], r#""standard""#),
    field("safetySettings", Dropped, &["[]"], r#"[{"category":"HARM_CATEGORY_HARASSMENT","threshold":"BLOCK_LOW_AND_ABOVE"}]"#),
    field("labels", Dropped, &["{}"], r#"{"team":"a"}"#),
    field("store", Silent, &[], "true"),
    field("cachedContent", Refused, &["\"\""], r#""cachedContents/c""#),
    field("continuationToken", Refused, &["\"\""], r#""t""#),
    field("modelArmorConfig", Refused, &["{}"], r#"{"promptTemplateName":"t"}"#),
];
