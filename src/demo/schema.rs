//! A plausible value for a JSON Schema: the arguments of a tool call, or a structured answer.
//!
//! Comes in: the schema from the request. Goes out: JSON text with every required member, or with the first one if
//! none is required. Types, constants, enumerations, references and alternatives are honoured; bounds and patterns
//! are not.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::json;

/// Returns a value for the schema of an object.
pub(super) fn sample(schema: Option<&RawValue>) -> String {
    let root = schema.map(Schema::read).unwrap_or_default();
    let mut out = Vec::new();
    let first = root.properties.0.first().filter(|_| root.required.is_empty()).map(|(name, _)| name);
    SchemaSampler { root: &root, left: Cell::new(MAX_SCHEMA_BYTES) }.object(
        &mut out,
        &root,
        first,
        MAX_SCHEMA_DEPTH,
    );
    String::from_utf8(out).unwrap_or_default()
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Schema<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, rename = "const")]
    constant: Option<&'a RawValue>,
    #[serde(borrow, rename = "enum")]
    values: Vec<&'a RawValue>,
    #[serde(borrow, rename = "$ref")]
    reference: Option<Cow<'a, str>>,
    #[serde(borrow)]
    properties: SchemaMembers<'a>,
    #[serde(borrow, deserialize_with = "json::loose")] // older drafts have a boolean here
    required: Vec<Cow<'a, str>>,
    #[serde(borrow, rename = "anyOf")]
    any: Vec<&'a RawValue>,
    #[serde(borrow, rename = "oneOf")]
    one: Vec<&'a RawValue>,
    #[serde(borrow, rename = "allOf")]
    all: Vec<&'a RawValue>,
    #[serde(borrow, rename = "$defs", alias = "definitions")]
    definitions: SchemaMembers<'a>,
}

impl<'a> Schema<'a> {
    /// Reads a schema. One that cannot be read asks for nothing: `true` is a schema too.
    fn read(raw: &'a RawValue) -> Self {
        serde_json::from_str(raw.get()).unwrap_or_default()
    }

    /// Returns the type; of several, the first one that is not `null`.
    fn kind(&self) -> Option<Cow<'a, str>> {
        let raw = self.kind?.get();
        if raw.starts_with('[') {
            let kinds: Vec<Cow<'_, str>> = serde_json::from_str(raw).unwrap_or_default();
            return kinds.into_iter().find(|kind| kind != "null");
        }
        serde_json::from_str(raw).ok()
    }
}

struct SchemaSampler<'s> {
    root: &'s Schema<'s>,
    /// Bytes of schemas that may still be read. A schema that refers to itself in several places would have no
    /// end.
    left: Cell<usize>,
}

impl SchemaSampler<'_> {
    fn value(&self, out: &mut Vec<u8>, raw: &RawValue, levels: usize) {
        let Some(left) = self.left.get().checked_sub(raw.get().len()) else {
            return json::literal(out, WORD);
        };
        self.left.set(left);
        let schema = Schema::read(raw);
        if let Some(fixed) = schema.constant.or_else(|| schema.values.first().copied()) {
            return out.extend_from_slice(fixed.get().as_bytes());
        }
        match (schema.kind().as_deref(), self.target(&schema).filter(|_| levels > 0)) {
            (Some("object"), _) => self.object(out, &schema, None, levels),
            (Some(kind), _) => out.extend_from_slice(plain(kind).as_bytes()),
            (None, Some(target)) => self.value(out, target, levels.saturating_sub(1)),
            (None, None) => json::literal(out, WORD),
        }
    }

    /// Returns the schema that another one stands for: the target of its reference, or the first of its
    /// alternatives.
    fn target<'a>(&'a self, schema: &Schema<'a>) -> Option<&'a RawValue> {
        let named = schema.reference.as_deref().and_then(|path| path.rsplit('/').next());
        match named {
            Some(name) => self.root.definitions.find(name),
            None => [&schema.any, &schema.one, &schema.all].into_iter().flatten().next().copied(),
        }
    }

    fn object(&self, out: &mut Vec<u8>, schema: &Schema<'_>, extra: Option<&Cow<'_, str>>, levels: usize) {
        let wanted = if levels == 0 { &[] } else { schema.required.as_slice() };
        out.push(b'{');
        for (at, name) in wanted.iter().take(MAX_MEMBER_COUNT).chain(extra).enumerate() {
            if out.len() > MAX_SAMPLE_BYTES {
                break;
            }
            out.extend_from_slice(if at > 0 { b"," } else { b"" });
            json::literal(out, name);
            out.push(b':');
            match schema.properties.find(name) {
                Some(property) => self.value(out, property, levels.saturating_sub(1)),
                None => json::literal(out, WORD),
            }
        }
        out.push(b'}');
    }
}

fn plain(kind: &str) -> &'static str {
    match kind {
        "number" | "integer" => "1",
        "boolean" => "true",
        "array" => "[]",
        "null" => "null",
        _ => "\"demo\"",
    }
}

/// The members of an object in the order they were written.
#[derive(Default)]
struct SchemaMembers<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> SchemaMembers<'a> {
    fn find(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| *value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for SchemaMembers<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder).map(SchemaMembers)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        std::iter::from_fn(|| map.next_entry().transpose()).collect()
    }
}

/// The value of a member that takes any text.
const WORD: &str = "demo";
/// The greatest depth to which objects are filled: a schema may refer to itself.
const MAX_SCHEMA_DEPTH: usize = 8;
/// The greatest number of members of an object that are filled.
const MAX_MEMBER_COUNT: usize = 100;
/// The size in bytes after which no more members are filled.
const MAX_SAMPLE_BYTES: usize = 64 << 10;
/// The most bytes of schemas that are read for one value; bytes that are read again count again.
const MAX_SCHEMA_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(schema: &str) -> String {
        sample(Some(serde_json::from_str(schema).unwrap()))
    }

    #[test]
    fn gives_every_required_member_a_value_of_its_type() {
        let schema = r#"{"type":"object","required":["s","n","i","b","a","o","e","u"],"properties":{
            "s":{"type":"string"},"n":{"type":"number"},"i":{"type":["null","integer"]},"b":{"type":"boolean"},
            "a":{"type":"array"},"o":{"type":"object"},"e":{"type":"string","enum":["c","f"]}}}"#;
        assert_eq!(of(schema), r#"{"s":"demo","n":1,"i":1,"b":true,"a":[],"o":{},"e":"c","u":"demo"}"#);
    }

    #[test]
    fn without_required_members_takes_the_first() {
        assert_eq!(of(r#"{"properties":{"z":{"type":"integer"},"a":{"type":"string"}}}"#), r#"{"z":1}"#);
        assert_eq!(of(r#"{"type":"object","properties":{}}"#), "{}");
        assert_eq!(sample(None), "{}");
    }

    #[test]
    fn follows_references_and_ends_where_they_turn_in_circles() {
        let schema = r##"{"required":["x"],"properties":{"x":{"$ref":"#/$defs/P"}},"$defs":{"P":{"type":"object",
            "required":["n"],"properties":{"n":{"anyOf":[{"type":"integer"},{"type":"null"}]}}}}}"##;
        assert_eq!(of(schema), r#"{"x":{"n":1}}"#);
        let circle = r##"{"required":["x"],"properties":{"x":{"$ref":"#/$defs/P"}},
            "$defs":{"P":{"$ref":"#/$defs/P"}}}"##;
        assert_eq!(of(circle), r#"{"x":"demo"}"#);
    }

    #[test]
    fn a_schema_that_multiplies_gives_a_value_of_a_bounded_size() {
        let names: Vec<_> = (0..50).map(|n| format!("\"n{n}\"")).collect();
        let properties: Vec<_> =
            names.iter().map(|name| format!("{name}:{{\"$ref\":\"#/$defs/P\"}}")).collect();
        let object = format!(
            r#""type":"object","required":[{}],"properties":{{{}}}"#,
            names.join(","),
            properties.join(",")
        );
        let value = of(&format!(r#"{{{object},"$defs":{{"P":{{{object}}}}}}}"#));
        assert!(value.len() < 4 * MAX_SAMPLE_BYTES, "{}", value.len());
        assert!(serde_json::from_str::<serde::de::IgnoredAny>(&value).is_ok());
    }
}
