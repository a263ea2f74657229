//! Tags: names and values by which operators tell calls apart.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A tag of a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    /// The name.
    pub name: Arc<str>,
    /// The value.
    pub value: Arc<str>,
}

/// The tags of a key or a call; `None`: there are none.
pub type Tags = Option<Arc<[Tag]>>;

impl Tag {
    /// Makes a tag, or returns `None` if its name or its value is not allowed.
    #[must_use]
    pub fn new(name: &str, value: &str) -> Option<Self> {
        (is_tag_name(name) && is_tag_value(value)).then(|| Self { name: name.into(), value: value.into() })
    }
}

/// Whether a text can be the name of a tag.
#[must_use]
pub fn is_tag_name(text: &str) -> bool {
    let is_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// Whether a text can be the value of a tag.
#[must_use]
pub fn is_tag_value(text: &str) -> bool {
    let is_allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'@' | b'/' | b'-');
    (1..=MAX_VALUE_BYTES).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// Returns the tags of a key's calls: those of its account and its own ones, which replace those of the same name. Both
/// are objects as the store has them.
pub(super) fn of_key(account: &str, key: &str) -> Tags {
    if (account, key) == (NONE, NONE) {
        return None;
    }
    let parsed = |text: &str| serde_json::from_str::<BTreeMap<String, String>>(text).unwrap_or_default();
    let mut all = parsed(account);
    all.extend(parsed(key));
    // Those from before the rules for names and values were made may break them.
    let tags: Arc<[Tag]> =
        all.iter().filter_map(|(name, value)| Tag::new(name, value)).take(MAX_TAG_COUNT).collect();
    Some(tags).filter(|tags| !tags.is_empty())
}

/// The most tags of a call, and of a key or an account.
pub const MAX_TAG_COUNT: usize = 8;

/// The longest name of a tag.
const MAX_NAME_BYTES: usize = 32;

/// The longest value of a tag.
const MAX_VALUE_BYTES: usize = 64;

/// No tags, as the store has them.
const NONE: &str = "{}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_have_their_characters_and_lengths() {
        for (name, value, is_tag) in [
            ("team", "search", true),
            ("a_b.c-9", "Az_.:@/-9", true),
            (&*"n".repeat(32), &*"v".repeat(64), true),
            (&*"n".repeat(33), "v", false),
            ("n", &*"v".repeat(65), false),
            ("Team", "v", false),
            ("te am", "v", false),
            ("", "v", false),
            ("n", "", false),
            ("n", "a b", false),
            ("n", "\u{e9}", false),
            ("n", "a,b", false),
        ] {
            assert_eq!(Tag::new(name, value).is_some(), is_tag, "{name}={value}");
        }
    }

    #[test]
    fn the_tags_of_a_key_replace_those_of_its_account() {
        let shown = |account, key| {
            let tags = of_key(account, key);
            let shown =
                tags.iter().flat_map(|tags| tags.iter()).map(|tag| format!("{}={}", tag.name, tag.value));
            (tags.is_some(), shown.collect::<Vec<_>>().join(" "))
        };
        assert_eq!(shown("{}", "{}"), (false, String::new()));
        let both = shown(r#"{"team":"a","env":"prod"}"#, r#"{"team":"b"}"#);
        assert_eq!(both, (true, "env=prod team=b".to_owned()));
        assert_eq!(shown(r#"{"Not A Tag":"x"}"#, "{}"), (false, String::new()));
    }
}
