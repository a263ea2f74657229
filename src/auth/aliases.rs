//! Aliases: other names for models.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// Aliases and the model ids that they stand for. An alias that ends with `*` stands for all names with that
/// prefix. If its model ends with `*`, too, the rest of the name is appended to the model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Aliases(BTreeMap<String, String>);

impl Aliases {
    /// Returns the model that `name` stands for: by the exact alias, or else by the longest prefix.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<Cow<'_, str>> {
        if self.0.is_empty() {
            return None;
        }
        if let Some(model) = self.0.get(name) {
            return Some(Cow::Borrowed(model));
        }
        let prefixes = self.0.iter().filter_map(|(alias, model)| Some((alias.strip_suffix('*')?, model)));
        let (prefix, model) =
            prefixes.filter(|(prefix, _)| name.starts_with(prefix)).max_by_key(|(prefix, _)| prefix.len())?;
        Some(match model.strip_suffix('*') {
            Some(base) => Cow::Owned(format!("{base}{}", name.strip_prefix(prefix).unwrap_or_default())),
            None => Cow::Borrowed(model),
        })
    }

    /// Returns the aliases and their models, in the order of the aliases.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(alias, model)| (alias.as_str(), model.as_str()))
    }

    /// Adds an alias, or replaces one.
    pub fn insert(&mut self, alias: String, model: String) {
        self.0.insert(alias, model);
    }
}

impl From<BTreeMap<String, String>> for Aliases {
    fn from(aliases: BTreeMap<String, String>) -> Self {
        Self(aliases)
    }
}

impl JsonSchema for Aliases {
    fn schema_name() -> Cow<'static, str> {
        "Aliases".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, String>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_beats_longest_prefix_beats_nothing() {
        let mut aliases = Aliases::default();
        for (alias, model) in
            [("gpt-4", "a/exact"), ("gpt-*", "a/short"), ("gpt-4*", "a/long"), ("x-*", "v/*")]
        {
            aliases.insert(alias.into(), model.into());
        }
        let resolve = |name: &str| aliases.resolve(name).map(Cow::into_owned);
        assert_eq!(resolve("gpt-4").unwrap(), "a/exact");
        assert_eq!(resolve("gpt-4o").unwrap(), "a/long");
        assert_eq!(resolve("gpt-5").unwrap(), "a/short");
        assert_eq!(resolve("x-y/z").unwrap(), "v/y/z");
        assert_eq!(resolve("claude"), None);
    }
}
