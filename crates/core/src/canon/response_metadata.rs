//! The model and the finish reasons of an answer, for the log and for traces.

/// The model and the finish reasons that an answer names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponseMetadata {
    /// The model that answered, in the provider's words.
    pub model: Option<String>,
    /// The finish reasons of its choices: in the provider's words in a relay, in the gateway's otherwise.
    pub finish: Vec<String>,
}

impl ResponseMetadata {
    /// Records the model. The first one that is named stays.
    pub fn model(&mut self, name: Option<&str>) {
        if let Some(name) = name.filter(|_| self.model.is_none()) {
            self.model = Some(name.chars().take(MAX_TEXT_LEN).collect());
        }
    }

    /// Records a finish reason. Whatever is not a word of a protocol may be part of an answer, and is left out.
    pub fn finish(&mut self, reason: &str) {
        let is_word = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
        let fits = (1..=MAX_TEXT_LEN).contains(&reason.len()) && reason.bytes().all(is_word);
        if fits && self.finish.len() < MAX_FINISH_COUNT {
            self.finish.push(reason.to_owned());
        }
    }
}

/// Maximum number of characters in a name or a reason: words of the protocols are shorter, and the log stays
/// bounded.
const MAX_TEXT_LEN: usize = 64;

/// Maximum number of choices whose finish reason is noted.
const MAX_FINISH_COUNT: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_words_and_few() {
        let mut metadata = ResponseMetadata::default();
        for reason in ["", "stop", "My secret answer", "STOP", &"x".repeat(65), "max_tokens"] {
            metadata.finish(reason);
        }
        assert_eq!(metadata.finish, ["stop", "max_tokens"]);
        (0..20).for_each(|_| metadata.finish("stop"));
        assert_eq!(metadata.finish.len(), MAX_FINISH_COUNT);
        metadata.model(None);
        metadata.model(Some("a"));
        metadata.model(Some("b"));
        assert_eq!(metadata.model.as_deref(), Some("a"));
    }
}
