//! Models that their vendors have announced to retire.

/// Returns the day on which the vendor of a model retires it, if it has announced one. The name may have a vendor in
/// front and a date behind.
pub(super) fn retirement(model: &str) -> Option<&'static str> {
    RETIREMENTS.iter().find(|(name, _)| is_named(model, name)).map(|(_, day)| *day)
}

fn is_named(model: &str, name: &str) -> bool {
    let Some((before, after)) = model.rsplit_once(name) else { return false };
    let is_begin = before.is_empty() || before.ends_with(['/', '.']);
    let is_date =
        |rest: &str| rest.starts_with(['-', '@']) && rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
    is_begin && (after.is_empty() || is_date(after))
}

/// Names of models and the days of their retirement, from the vendors' pages.
const RETIREMENTS: &[(&str, &str)] =
    &[("claude-opus-4-5", "2027-01-22"), ("claude-sonnet-4-5", "2026-11-30"), ("gpt-4o", "2027-01-14")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_known_with_its_vendor_and_its_date() {
        for model in [
            "claude-sonnet-4-5",
            "claude-sonnet-4-5-20250929",
            "claude-sonnet-4-5@20250929",
            "anthropic/claude-sonnet-4-5",
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ] {
            assert_eq!(retirement(model), Some("2026-11-30"), "{model}");
        }
        assert_eq!(retirement("gpt-4o-2024-11-20"), Some("2027-01-14"));
        for model in [
            "gpt-4o-mini",
            "gpt-4o-search-preview",
            "chatgpt-4o",
            "my-gpt-4o",
            "claude-sonnet-4-5x",
            "claude-opus-5",
        ] {
            assert_eq!(retirement(model), None, "{model}");
        }
    }
}
