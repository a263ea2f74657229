//! The conditions under which models of OpenAI call tools in Chat.

/// The conditions under which a model takes functions and freeform tools in Chat, at a provider that serves it in
/// Responses, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatTools {
    /// Always.
    Yes,
    /// Only if no effort is given, or the effort `none`.
    Plain,
    /// Only with the effort `none`.
    None,
    /// Not at all.
    No,
    /// Not at all, and nothing else either: the model is not served in Chat.
    Never,
}

impl ChatTools {
    /// Returns the conditions of the model with this name at OpenAI.
    #[must_use]
    pub fn of(model: &str) -> Self {
        let name = model.rsplit('/').next().unwrap_or_default();
        if name.split('-').skip(1).any(|word| matches!(word, "pro" | "codex")) {
            return Self::Never;
        }
        let covers = |prefix: &str| {
            let rest = name.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        let known = MODELS.iter().filter(|(prefix, _)| covers(prefix));
        match known.max_by_key(|(prefix, _)| prefix.len()) {
            Some((_, tools)) => *tools,
            None if generation(name).is_some_and(|generation| generation >= 6) => Self::No,
            None => Self::Yes,
        }
    }

    /// Whether the model takes no tools in Chat, whatever effort is asked for.
    #[must_use]
    pub fn is_refused(self) -> bool {
        matches!(self, Self::No | Self::Never)
    }
}

/// Whether the model with this name searches the web in Responses only, where its tool is.
#[must_use]
pub fn searches_in_responses_only(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or_default();
    let is_for_search = name.contains("search-preview") || name.contains("search-api");
    !is_for_search && generation(name).is_some_and(|generation| generation >= 5)
}

/// Returns the whole number of a GPT model's version.
fn generation(name: &str) -> Option<u32> {
    let version = name.strip_prefix("gpt-")?;
    let end = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    // `gpt-4o` is no version of its own.
    version.get(..end)?.parse().ok()
}

/// Models by the beginning of their names, of which the longest counts. Sources: the pages of the models, and what
/// they answer.
const MODELS: [(&str, ChatTools); 9] = [
    ("gpt-5.4", ChatTools::Plain),
    ("gpt-5.5", ChatTools::Plain),
    ("gpt-5.6", ChatTools::None),
    ("gpt-6-sol", ChatTools::None),
    ("gpt-6-luna", ChatTools::None),
    ("gpt-6.1-terra", ChatTools::None),
    ("gpt-6-astra", ChatTools::No),
    ("gpt-6.1-sol", ChatTools::No),
    ("gpt-6.2", ChatTools::No),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_under_which_conditions_tools_are_taken() {
        for (model, tools) in [
            ("gpt-4o", ChatTools::Yes),
            ("gpt-5", ChatTools::Yes),
            ("gpt-5-chat-latest", ChatTools::Yes),
            ("gpt-5.2", ChatTools::Yes),
            ("gpt-5.2-2025-12-11", ChatTools::Yes),
            ("gpt-5.4", ChatTools::Plain),
            ("openai/gpt-5.5-mini", ChatTools::Plain),
            ("gpt-5.6-luna", ChatTools::None),
            ("gpt-6-sol", ChatTools::None),
            ("gpt-6.1-terra-2026-10-01", ChatTools::None),
            ("gpt-6-astra", ChatTools::No),
            ("gpt-6.1-sol", ChatTools::No),
            ("gpt-7", ChatTools::No),
            ("gpt-5.3-codex", ChatTools::Never),
            ("gpt-5.1-codex-mini", ChatTools::Never),
            ("o1-pro", ChatTools::Never),
            ("gpt-5.4-pro-2026-03-05", ChatTools::Never),
            ("o3", ChatTools::Yes),
            ("my-deployment", ChatTools::Yes),
            ("gpt-oss-120b", ChatTools::Yes),
        ] {
            assert_eq!(ChatTools::of(model), tools, "{model}");
        }
    }

    #[test]
    fn models_since_gpt_5_search_in_responses() {
        for (model, only) in [
            ("gpt-5.2", true),
            ("gpt-6-sol", true),
            ("gpt-4o-search-preview", false),
            ("gpt-5-search-api", false),
        ] {
            assert_eq!(searches_in_responses_only(model), only, "{model}");
        }
        assert!(!searches_in_responses_only("gpt-4o") && !searches_in_responses_only("x"));
    }
}
