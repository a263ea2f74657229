//! Members that several objects have.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::admin::error::Mistake;
use crate::auth::{MAX_NAME_CHARS, MAX_TAG_COUNT, is_tag_name, is_tag_value};

/// Tags of an object: names and values.
pub type Tags = BTreeMap<String, String>;

/// Changes of tags; `null` removes one.
pub(super) type TagChanges = BTreeMap<String, Option<String>>;

/// The kind of source that rules an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The admin API.
    Api,
    /// The command line.
    Cli,
    /// The configuration file.
    Config,
}

impl Origin {
    /// Returns the name by which it is stored.
    pub(in crate::admin) fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Cli => "cli",
            Self::Config => "config",
        }
    }

    /// Returns the origin of a stored name.
    pub(in crate::admin) fn named(name: &str) -> Self {
        [Self::Api, Self::Config].into_iter().find(|origin| origin.name() == name).unwrap_or(Self::Cli)
    }
}

/// Distinguishes a member that is `null` from one that is absent.
pub(super) fn nullable<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// Checks a name.
pub(super) fn check_name(param: &str, name: &str, mistakes: &mut Vec<Mistake>) {
    check_text(param, name, MAX_NAME_CHARS, mistakes);
}

/// Checks the length of a text.
pub(super) fn check_text(param: &str, text: &str, most: usize, mistakes: &mut Vec<Mistake>) {
    if text.chars().count() > most {
        mistakes.push(Mistake::new(param, format!("has more than {most} characters")));
    }
}

/// Checks a limit of an object of some kind.
pub(super) fn check_limit((param, kind): (&str, &str), limit: Option<u32>, mistakes: &mut Vec<Mistake>) {
    if limit == Some(0) {
        mistakes.push(Mistake::new(param, format!("is 0; to stop the {kind}, disable it")));
    }
}

/// Checks tags.
pub(super) fn check_tags(tags: &Tags, mistakes: &mut Vec<Mistake>) {
    if tags.len() > MAX_TAG_COUNT {
        mistakes.push(Mistake::new("tags", format!("there are more than {MAX_TAG_COUNT}")));
    }
    let changes = tags.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
    check_tag_changes(Some(&changes), mistakes);
}

/// Checks changes of tags. A value that is absent removes its tag.
pub(super) fn check_tag_changes(changes: Option<&TagChanges>, mistakes: &mut Vec<Mistake>) {
    for (name, value) in changes.into_iter().flatten() {
        let mut wrong = |why: &str| mistakes.push(Mistake::new(format!("tags.{name}"), why));
        if !is_tag_name(name) {
            wrong("the name is not of 1 to 32 characters a-z, 0-9, '_', '.' and '-'");
        }
        if value.as_ref().is_some_and(|value| !is_tag_value(value)) {
            wrong("the value is not of 1 to 64 letters, digits and characters of _.:@/-");
        }
    }
}
