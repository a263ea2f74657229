//! The models of OpenAI that search the web in Responses only.

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

#[cfg(test)]
mod tests {
    use super::*;

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
