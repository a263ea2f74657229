//! Schemas that the provider enforces on its answers, and those that the input of a tool may have.
//!
//! It compiles them and refuses what it cannot enforce, so such keywords move into descriptions, and every
//! object is closed. Where closing would change what is allowed there is no such schema.

use std::fmt::Write as _;

use crate::json::write::{self, Object};
use crate::json::{self, JsonStr, Lenient as _, Member, Raw};

/// Returns the schema that the provider can enforce; `None` if that would mean something else.
pub(super) fn enforceable(schema: &Raw<'_>) -> Option<Vec<u8>> {
    let text = schema.get().trim();
    let mut survey = SchemaSurvey::default();
    survey.schema(text, 0);
    if survey.is_open() {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() + text.len() / 4);
    edit(text, &mut out);
    Some(out)
}

/// Whether the schema is enforceable as it is.
pub(super) fn is_exact(schema: &Raw<'_>) -> bool {
    let mut compact = Vec::with_capacity(schema.get().len());
    json::compact(schema.get(), &mut compact);
    enforceable(schema).is_some_and(|edited| edited == compact)
}

/// Whether a schema is allowed for a tool's input.
pub(super) fn may_be_input(schema: &Raw<'_>) -> bool {
    let schema = schema.get().trim();
    let mut members = json::members(schema.as_bytes()).lenient();
    schema.starts_with('{')
        && members.find(|member| member.is("type")).is_none_or(|kind| kind.value == br#""object""#)
}

/// The properties that decide whether a schema can be enforced.
#[derive(Debug, Default)]
struct SchemaSurvey<'s> {
    open: bool,
    optional: usize,
    unions: usize,
    /// Pairs of a definition and one that it refers to.
    references: Vec<(Option<&'s str>, &'s str)>,
    within: Option<&'s str>,
}

impl<'s> SchemaSurvey<'s> {
    fn is_open(&self) -> bool {
        self.open
            || self.optional > MAX_OPTIONAL_COUNT
            || self.unions > MAX_UNION_COUNT
            || self.references.len() > MAX_REFERENCE_COUNT
            || self.is_recursive()
    }

    /// Reads one schema and those inside of it, never deeper than a document may be.
    fn schema(&mut self, schema: &'s str, depth: usize) {
        if depth > MAX_DEPTH {
            self.open = true;
        }
        if self.open || !schema.starts_with('{') {
            return;
        }
        let (mut properties, mut required) = (None, 0);
        let (mut is_object, mut closed) = (false, false);
        for (member, value) in members(schema) {
            match member.key {
                b"type" => {
                    is_object |= value.contains("\"object\"");
                    self.unions += usize::from(value.starts_with('['));
                }
                b"properties" => {
                    is_object = true;
                    properties = Some(self.named(value, depth, false));
                }
                b"$defs" | b"definitions" => {
                    self.named(value, depth, depth == 0);
                }
                b"items" if value.starts_with('{') => self.schema(value, depth + 1),
                b"anyOf" | b"oneOf" => {
                    self.unions += 1;
                    self.list(value, depth);
                }
                b"allOf" => self.list(value, depth),
                b"additionalProperties" => {
                    closed = value == "false";
                    self.open |= !closed;
                }
                b"required" => required = json::elements(value.as_bytes()).lenient().count(),
                b"$ref" => self.reference(value),
                _ => {}
            }
        }
        let count = properties.unwrap_or(0);
        self.open |= is_object && count == 0 && !closed;
        self.optional += count.saturating_sub(required);
    }

    fn named(&mut self, object: &'s str, depth: usize, definitions: bool) -> usize {
        let mut count = 0;
        for (member, value) in members(object) {
            count += 1;
            if definitions {
                self.within = std::str::from_utf8(member.key).ok();
            }
            self.schema(value, depth + 1);
        }
        if definitions {
            self.within = None;
        }
        count
    }

    fn list(&mut self, array: &'s str, depth: usize) {
        for (_, span) in json::elements(array.as_bytes()).lenient() {
            self.schema(array.get(span).unwrap_or_default(), depth + 1);
        }
    }

    fn reference(&mut self, literal: &'s str) {
        let name = LOCAL.iter().find_map(|prefix| literal.strip_prefix(prefix)?.strip_suffix('"'));
        match name.filter(|name| !name.contains(['/', '\\', '~'])) {
            Some(name) => self.references.push((self.within, name)),
            // The reference points to another document, to the schema itself, or to a part of it that may contain
            // this one.
            None => self.open = true,
        }
    }

    /// Whether a definition refers to itself, over others or not. What refers to nothing is taken out, step by
    /// step, and a circle is left.
    fn is_recursive(&self) -> bool {
        let mut edges: Vec<_> =
            self.references.iter().filter_map(|(from, to)| Some(((*from)?, *to))).collect();
        loop {
            let before = edges.len();
            let kept: Vec<_> =
                edges.iter().filter(|(_, to)| edges.iter().any(|(from, _)| from == to)).copied().collect();
            edges = kept;
            if edges.is_empty() || edges.len() == before {
                return !edges.is_empty();
            }
        }
    }
}

/// The facts of a schema that are needed before it is written.
#[derive(Default)]
struct SchemaFacts<'s> {
    is_object: bool,
    closes: bool,
    has_union: bool,
    described: bool,
    kind: Option<&'s str>,
    values: Option<&'s str>,
    /// Keywords that are left out, as a note for the description.
    note: String,
}

impl<'s> SchemaFacts<'s> {
    fn read(schema: &'s str) -> Self {
        let mut facts = Self::default();
        for (member, value) in members(schema) {
            match member.key {
                b"type" => {
                    facts.kind = Some(value);
                    facts.is_object |= value.contains("\"object\"");
                }
                b"properties" => facts.is_object = true,
                b"additionalProperties" => facts.closes = true,
                b"anyOf" => facts.has_union = true,
                b"description" => facts.described = true,
                b"enum" => facts.values = Some(value),
                _ => {}
            }
        }
        for (member, value) in members(schema) {
            if facts.is_noted(member.key, value) {
                facts.add(member.key, value);
            }
        }
        facts
    }

    /// Whether it is a keyword that can only be described.
    fn is_noted(&self, key: &[u8], value: &str) -> bool {
        match key {
            b"minItems" => value.parse::<u64>().is_ok_and(|least| least > 1),
            b"format" => !FORMATS.contains(&value.trim_matches('"')),
            b"pattern" => ["(?=", "(?!", "(?<=", "(?<!"].iter().any(|look| value.contains(look)),
            b"items" => !value.starts_with('{'),
            b"oneOf" => self.has_union,
            key => NOTED.iter().any(|noted| noted.as_bytes() == key),
        }
    }

    fn add(&mut self, key: &[u8], value: &str) {
        let mut compact = Vec::with_capacity(value.len());
        json::compact(value, &mut compact);
        let start = if self.note.is_empty() { "Note: " } else { ", " };
        let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(&compact));
        let _ = write!(self.note, "{start}{key}: {value}");
    }

    /// Whether there are values that the type forbids.
    fn contradicts(&self) -> bool {
        let (Some(kind), Some(values)) = (self.kind, self.values) else { return false };
        let allows = |value: &str| match value.as_bytes().first() {
            Some(b'"') => kind.contains("\"string\""),
            Some(b't' | b'f') => kind.contains("\"boolean\""),
            Some(b'n') => kind.contains("\"null\""),
            Some(b'{') => kind.contains("\"object\""),
            Some(b'[') => kind.contains("\"array\""),
            _ => {
                kind.contains("\"number\"")
                    || kind.contains("\"integer\"") && !value.contains(['.', 'e', 'E'])
            }
        };
        let mut all = json::elements(values.as_bytes()).lenient();
        !all.all(|(_, span)| allows(values.get(span).unwrap_or_default()))
    }
}

/// Writes a schema with all necessary changes. Its depth was checked by the survey.
fn edit(schema: &str, out: &mut Vec<u8>) {
    if !schema.starts_with('{') {
        return json::compact(schema, out);
    }
    let facts = SchemaFacts::read(schema);
    write::object(out, |o| {
        for (member, value) in members(schema) {
            keyword(&member, value, &facts, o);
        }
        if !facts.described && !facts.note.is_empty() {
            o.text("description", &facts.note);
        }
        if facts.is_object && !facts.closes {
            o.bool("additionalProperties", false);
        }
    });
}

fn keyword(member: &Member<'_>, value: &str, facts: &SchemaFacts<'_>, o: &mut Object<'_>) {
    let name = std::str::from_utf8(member.key).unwrap_or_default();
    match name {
        "$schema" | "$id" => {}
        "type" if facts.contradicts() => {}
        _ if facts.is_noted(member.key, value) => {}
        "description" => describe(value, &facts.note, o),
        "properties" | "$defs" | "definitions" => {
            o.object(name, |o| {
                for (member, value) in members(value) {
                    let name = std::str::from_utf8(member.key).unwrap_or_default();
                    o.value(name, |out| edit(value, out));
                }
            });
        }
        "items" => {
            o.value(name, |out| edit(value, out));
        }
        "anyOf" | "oneOf" | "allOf" => {
            let name = if name == "oneOf" { "anyOf" } else { name };
            o.value(name, |out| list(value, out));
        }
        _ => {
            o.value(name, |out| json::compact(value, out));
        }
    }
}

fn describe(literal: &str, note: &str, o: &mut Object<'_>) {
    o.string("description", |out| {
        let text = JsonStr::read(literal).unwrap_or_default();
        out.json_str(&text);
        if !note.is_empty() {
            out.plain(if text.is_empty() { "" } else { "\n" });
            out.plain(note);
        }
    });
}

fn list(array: &str, out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, (_, span)) in json::elements(array.as_bytes()).lenient().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        edit(array.get(span).unwrap_or_default(), out);
    }
    out.push(b']');
}

fn members(object: &str) -> impl Iterator<Item = (Member<'_>, &str)> {
    json::members(object.as_bytes()).lenient().map(move |member| {
        let value = object.get(member.span.clone()).unwrap_or_default();
        (member, value)
    })
}

/// Keywords that cannot be enforced.
const NOTED: &[&str] = &[
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "contains",
    "minContains",
    "maxContains",
    "prefixItems",
    "minProperties",
    "maxProperties",
    "patternProperties",
    "propertyNames",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedProperties",
    "if",
    "then",
    "else",
    "not",
];

/// Formats that the provider can enforce.
const FORMATS: &[&str] =
    &["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];

/// Prefixes of references to definitions.
const LOCAL: [&str; 2] = ["\"#/$defs/", "\"#/definitions/"];

/// Maximum number of optional members that the provider's compiler accepts; `MOST_UNIONS` is the same for unions.
const MAX_OPTIONAL_COUNT: usize = 24;
const MAX_UNION_COUNT: usize = 16;

/// Maximum number of references: a schema with more of them is not read any further.
const MAX_REFERENCE_COUNT: usize = 256;

/// Maximum nesting depth of a schema: deeper than any that people or libraries write.
const MAX_DEPTH: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(schema: &'static str) -> Option<String> {
        enforceable(&Raw::constant(schema)).map(|out| String::from_utf8(out).unwrap())
    }

    #[test]
    fn keywords_move_into_the_description_and_objects_are_closed() {
        let schema = r#"{"$schema":"x","$id":"y","type":"object","properties":{
            "n":{"type":"integer","minimum":0,"maximum":1.0},
            "u":{"oneOf":[{"type":"string","description":"D","maxLength":3},{"type":"null"}]},
            "l":{"type":"array","minItems":2,"items":{"type":"object","properties":{"a":{"type":"string","format":"uuid"}}}},
            "f":{"type":"string","format":"phone","pattern":"^(?=x)"},
            "o":{"type":"array","minItems":1,"items":{"type":"string","pattern":"^x$"}}}}"#;
        let expected = concat!(
            r#"{"type":"object","properties":{"#,
            r#""n":{"type":"integer","description":"Note: minimum: 0, maximum: 1.0"},"#,
            r#""u":{"anyOf":[{"type":"string","description":"D\nNote: maxLength: 3"},{"type":"null"}]},"#,
            r#""l":{"type":"array","items":{"type":"object","properties":{"a":{"type":"string","format":"uuid"}},"#,
            r#""additionalProperties":false},"description":"Note: minItems: 2"},"#,
            r#""f":{"type":"string","description":"Note: format: \"phone\", pattern: \"^(?=x)\""},"#,
            r#""o":{"type":"array","minItems":1,"items":{"type":"string","pattern":"^x$"}}},"#,
            r#""additionalProperties":false}"#
        );
        assert_eq!(edited(schema).unwrap(), expected);
    }

    #[test]
    fn a_type_that_forbids_the_values_goes() {
        assert_eq!(edited(r#"{"type":"string","enum":["a",null]}"#).unwrap(), r#"{"enum":["a",null]}"#);
        let same = r#"{"type":["string","null"],"enum":["a",null]}"#;
        assert_eq!(edited(same).unwrap(), same);
    }

    #[test]
    fn what_is_open_can_not_be_closed() {
        for schema in [
            r#"{"type":"object"}"#,
            r#"{"type":"object","properties":{}}"#,
            r#"{"type":"object","properties":{"a":{}},"additionalProperties":true}"#,
            r#"{"type":"object","properties":{"a":{"type":"object","additionalProperties":{"type":"string"}}}}"#,
            r#"{"$ref":"https://example.com/x.json"}"#,
            r##"{"type":"object","properties":{"a":{"$ref":"#"}}}"##,
            r##"{"$defs":{"A":{"properties":{"b":{"$ref":"#/$defs/B"}}},"B":{"items":{"$ref":"#/$defs/A"}}},"$ref":"#/$defs/A"}"##,
        ] {
            assert_eq!(edited(schema), None, "{schema}");
        }
        let local =
            r##"{"$defs":{"A":{"type":"string"}},"type":"object","properties":{"a":{"$ref":"#/$defs/A"}}}"##;
        assert!(edited(local).is_some());
        let many = |n: usize| {
            let each: Vec<_> = (0..n).map(|n| format!(r#""p{n}":{{"type":"string"}}"#)).collect();
            Raw::read_owned(format!(r#"{{"type":"object","properties":{{{}}}}}"#, each.join(","))).unwrap()
        };
        assert!(enforceable(&many(24)).is_some() && enforceable(&many(25)).is_none());
        let deep = format!("{}{}{}", r#"{"items":"#.repeat(60), "{}", "}".repeat(60));
        assert!(enforceable(&Raw::read(&deep).unwrap()).is_none());
    }

    #[test]
    fn exact_schemas_need_no_change() {
        let exact = r#"{"type": "object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}"#;
        assert!(is_exact(&Raw::constant(exact)));
        assert!(!is_exact(&Raw::constant(r#"{"type":"object","properties":{"a":{"type":"string"}}}"#)));
    }
}
