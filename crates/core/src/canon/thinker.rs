//! Models that think before they answer without being asked to, by name.

use super::known_models::gpt_version;

/// Whether a model of this name thinks unless it is told not to. Claude models have a table of their own.
#[must_use]
pub fn is_thinker(model: &str) -> bool {
    // Some providers put a path or a vendor in front, and a few a variant behind a colon.
    let name = model.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let is_of = |family: &&str| name.starts_with(*family);
    let parts = || name.split(['-', '_', '.', ':']);
    if name.contains("non-reasoning") || name.contains("instruct") || parts().any(|part| part == "chat") {
        return false;
    }
    let is_gpt = gpt_version(&name).is_some_and(|major| major >= FIRST_THINKING_GPT);
    is_gpt || FAMILIES.iter().any(is_of) || parts().any(|part| MARKS.contains(&part))
}

/// The version of GPT models since which all of them think.
const FIRST_THINKING_GPT: u32 = 5;

/// The prefixes of model families that think, from the model pages of OpenAI, Google, xAI, DeepSeek, Alibaba,
/// Mistral, Zhipu and MiniMax.
const FAMILIES: &[&str] = &[
    "o1",
    "o3",
    "o4",
    "gpt-oss",
    "codex-mini",
    "gemini-2.5",
    "gemini-3",
    "grok-3-mini",
    "grok-4",
    "qwq",
    "qwen3",
    "magistral",
    "glm-4.5",
    "glm-4.6",
    "glm-4.7",
    "glm-5",
    "minimax-m",
];

/// Words in a name that mark a thinking model.
const MARKS: &[&str] = &["thinking", "reasoning", "reasoner", "r1"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinkers_are_known_by_their_names() {
        for name in [
            "o3-mini",
            "openai/gpt-5",
            "GPT-5.1-codex",
            "gpt-7",
            "gpt-12.1-sol",
            "deepseek-ai/DeepSeek-R1",
            "kimi-k2-thinking",
        ] {
            assert!(is_thinker(name), "{name}");
        }
        for name in [
            "gpt-4o",
            "gpt-4.1",
            "gpt-5-chat-latest",
            "gpt-image-2",
            "up",
            "grok-4-fast-non-reasoning",
            "qwen3-4b-instruct",
            "",
        ] {
            assert!(!is_thinker(name), "{name}");
        }
    }
}
