//! Foreign JSON: checked once, and then carried unchanged.

use std::borrow::Cow;
use std::fmt;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::literal;

/// The text of a valid JSON value.
#[derive(Clone, PartialEq, Eq)]
pub struct Raw<'a>(Cow<'a, str>);

impl<'a> Raw<'a> {
    /// Returns the text if it is valid JSON.
    #[must_use]
    pub fn read(json: &'a str) -> Option<Self> {
        serde_json::from_str::<IgnoredAny>(json).ok().map(|_| Self(Cow::Borrowed(json)))
    }

    /// Wraps a value that is known to be valid JSON.
    pub(super) fn valid(value: &'a str) -> Self {
        Self(Cow::Borrowed(value))
    }

    /// Checks like [`Raw::read`] and owns the text.
    #[must_use]
    pub fn read_owned(json: String) -> Option<Self> {
        serde_json::from_str::<IgnoredAny>(&json).ok()?;
        Some(Self(Cow::Owned(json)))
    }

    /// Wraps a constant that is valid JSON.
    #[must_use]
    pub const fn constant(json: &'static str) -> Raw<'static> {
        Raw(Cow::Borrowed(json))
    }

    /// The text.
    #[must_use]
    pub fn get(&self) -> &str {
        &self.0
    }

    /// Whether the value is an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.0.starts_with('{')
    }

    /// Returns the same value without a borrow from its document.
    #[must_use]
    pub fn into_owned(self) -> Raw<'static> {
        Raw(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Debug for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Raw({} bytes)", self.0.len())
    }
}

/// Reads values of the configuration, which is not JSON but can hold the same values.
#[expect(clippy::disallowed_types, reason = "no bytes to borrow, and it happens once, at the start")]
impl<'de> Deserialize<'de> for Raw<'static> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_json::Value::deserialize(deserializer).map(|value| Self(Cow::Owned(value.to_string())))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Raw<'_> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Json".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        true.into()
    }
}

/// Appends a valid JSON text without the white space between its tokens.
pub fn compact(json: &str, out: &mut Vec<u8>) {
    let bytes = json.as_bytes();
    // Everything between two pieces of white space is copied at once.
    let (mut start, mut at) = (0, 0);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => at = literal::end(bytes, at + 1, |_, _| true).unwrap_or(bytes.len()),
            b' ' | b'\t' | b'\n' | b'\r' => {
                out.extend_from_slice(bytes.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    out.extend_from_slice(bytes.get(start..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_keeps_strings_numbers_and_order() {
        let mut out = Vec::new();
        compact("{ \"b\" : 1.0,\n\t\"a\": [1e2 , \"x \\\" y\"] }", &mut out);
        assert_eq!(out, br#"{"b":1.0,"a":[1e2,"x \" y"]}"#);
    }

    #[test]
    fn only_valid_json_is_read() {
        assert!(Raw::read(r#"{"a":1}"#).is_some_and(|raw| raw.is_object()));
        assert!(Raw::read("{\"a\"").is_none() && Raw::read("[1 2]").is_none());
    }
}
