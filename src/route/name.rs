//! The names that a model may have.

/// Whether a text can be the name of a model: visible ASCII characters, and not more than have ever been needed.
/// Names go into rows of the store, log lines, headers and every event of an answer, and clients choose them.
#[must_use]
pub fn is_model_name(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Bytes of a model's name: several times the longest of any provider.
pub const MAX_NAME_BYTES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_visible() {
        for good in ["gpt-5", "v/m:free", "a/b/c@2026", &"x".repeat(MAX_NAME_BYTES)] {
            assert!(is_model_name(good), "{good}");
        }
        for bad in ["", "a b", "a\r\nb", "a\0", "a\u{7f}", "é", "a\u{2028}", &"x".repeat(MAX_NAME_BYTES + 1)]
        {
            assert!(!is_model_name(bad), "{bad:?}");
        }
    }
}
