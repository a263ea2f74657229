//! JSON that belongs to somebody else: checked once, and then carried as it is.

use std::borrow::Cow;
use std::fmt;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::literal;

/// The text of a valid JSON value.
#[derive(Clone, PartialEq, Eq)]
pub struct Raw<'a>(Cow<'a, str>);

impl<'a> Raw<'a> {
    /// Checks a text.
    #[must_use]
    pub fn read(json: &'a str) -> Option<Self> {
        serde_json::from_str::<IgnoredAny>(json).ok().map(|_| Self(Cow::Borrowed(json)))
    }

    /// As [`Raw::read`], for a value that is known to be valid.
    pub(super) fn valid(value: &'a str) -> Self {
        Self(Cow::Borrowed(value))
    }

    /// As [`Raw::read`], for a text that was made on the way.
    #[must_use]
    pub fn read_owned(json: String) -> Option<Self> {
        serde_json::from_str::<IgnoredAny>(&json).ok()?;
        Some(Self(Cow::Owned(json)))
    }

    /// A text that is valid as everyone can see.
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

    /// The same value without a tie to its document.
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

/// Values of the configuration, which is no JSON but can hold whatever JSON can.
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
    // What is copied at once: everything between two spaces.
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
