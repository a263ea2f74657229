//! The names that a model may have.

/// Whether a text can be the name of a model: 1 to [`MAX_NAME_BYTES`] visible ASCII characters. Clients choose
/// names, which are written into rows of the store, log lines, headers and every event of a response.
#[must_use]
pub fn is_model_name(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The longest name of a model, in bytes. A chosen value: several times the longest name of any provider.
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
