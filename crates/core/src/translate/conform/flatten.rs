//! Schemas with a union at the root, as one object that has the properties of all branches.

use std::collections::{BTreeSet, HashMap};

use crate::json::{self, Lenient as _, Raw, write};

/// A schema without a union at its root.
pub(super) struct FlatSchema {
    /// The schema.
    pub(super) schema: Raw<'static>,
    /// The keywords that it has lost.
    pub(super) unions: Vec<&'static str>,
    /// The lost keywords with their values, as JSON.
    pub(super) explanation: String,
}

/// Returns the schema as one object; `None` if it has no union at its root.
pub(super) fn flatten(schema: &str) -> Option<FlatSchema> {
    let schema = schema.trim();
    let unions: Vec<&'static str> =
        UNIONS.into_iter().filter(|union| value(schema, union).is_some_and(|list| list != "null")).collect();
    if unions.is_empty() {
        return None;
    }
    let mut merged = MergedObject::default();
    let required = merged.take(schema, schema, 0);
    let mut out = Vec::with_capacity(schema.len());
    write::object(&mut out, |o| {
        o.text("type", "object").value("properties", |out| merged.write(out));
        if !required.is_empty() {
            o.value("required", |out| out.extend_from_slice(list(required.into_iter()).as_bytes()));
        }
        for (key, value) in members(schema) {
            if !MERGED.contains(&key) {
                o.value(key, |out| json::compact(value, out));
            }
        }
    });
    let mut explanation = Vec::new();
    write::object(&mut explanation, |o| {
        for union in &unions {
            o.value(union, |out| json::compact(value(schema, union).unwrap_or("[]"), out));
        }
    });
    let schema = Raw::read_owned(String::from_utf8(out).ok()?)?;
    Some(FlatSchema { schema, unions, explanation: String::from_utf8(explanation).ok()? })
}

/// The properties of a schema and of the branches of its unions, in their order.
#[derive(Default)]
struct MergedObject<'s> {
    /// Key, spelled as in the schema, and the different schemas of the property.
    properties: Vec<(&'s str, Vec<&'s str>)>,
    places: HashMap<&'s str, usize>,
    /// Number of schemas that were read.
    count: usize,
}

/// Literals of the names of properties.
type RequiredNames<'s> = BTreeSet<&'s str>;

impl<'s> MergedObject<'s> {
    /// Takes the properties of a schema, and returns those that it requires.
    fn take(&mut self, schema: &'s str, root: &'s str, depth: usize) -> RequiredNames<'s> {
        self.count += 1;
        if depth > MAX_DEPTH || self.count > MAX_BRANCHES || !schema.starts_with('{') {
            return RequiredNames::new();
        }
        if let Some(target) = value(schema, "$ref").and_then(|name| resolve(root, name)) {
            return self.take(target, root, depth + 1);
        }
        for (key, property) in value(schema, "properties").map(members).into_iter().flatten() {
            self.add(key, property);
        }
        let mut required: RequiredNames<'s> = elements(value(schema, "required").unwrap_or("[]")).collect();
        for union in UNIONS {
            let mut common: Option<RequiredNames<'s>> = None;
            for branch in elements(value(schema, union).unwrap_or("[]")) {
                let wanted = self.take(branch, root, depth + 1);
                common = Some(match common {
                    None => wanted,
                    Some(before) if union == ALL_OF => before.union(&wanted).copied().collect(),
                    Some(before) => before.intersection(&wanted).copied().collect(),
                });
            }
            required.extend(common.unwrap_or_default());
        }
        required
    }

    fn add(&mut self, key: &'s str, schema: &'s str) {
        let place = *self.places.entry(key).or_insert_with(|| {
            self.properties.push((key, Vec::new()));
            self.properties.len() - 1
        });
        if let Some((_, schemas)) = self.properties.get_mut(place)
            && !schemas.contains(&schema)
        {
            schemas.push(schema);
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        write::object(out, |o| {
            for (key, schemas) in &self.properties {
                o.value(key, |out| match schemas.as_slice() {
                    [only] => json::compact(only, out),
                    several => write::object(out, |o| {
                        o.value("anyOf", |out| {
                            out.extend_from_slice(list(several.iter().copied()).as_bytes());
                        });
                    }),
                });
            }
        });
    }
}

/// Returns the definition that a reference inside of the schema points to.
fn resolve<'s>(root: &'s str, reference: &str) -> Option<&'s str> {
    let path = reference.strip_prefix("\"#/")?.strip_suffix('"')?;
    let (group, name) = path.split_once('/')?;
    value(value(root, group).filter(|_| DEFINITIONS.contains(&group))?, name)
}

fn list<'j>(values: impl Iterator<Item = &'j str>) -> String {
    let mut out = String::from("[");
    for (index, value) in values.enumerate() {
        out.push_str(if index > 0 { "," } else { "" });
        out.push_str(value);
    }
    out.push(']');
    out
}

fn members(object: &str) -> impl Iterator<Item = (&str, &str)> {
    json::members(object.as_bytes()).lenient().map(|member| {
        let key = std::str::from_utf8(member.key).unwrap_or_default();
        (key, object.get(member.span).unwrap_or_default())
    })
}

fn elements(array: &str) -> impl Iterator<Item = &str> {
    json::elements(array.as_bytes()).lenient().map(|(_, span)| array.get(span).unwrap_or_default())
}

fn value<'s>(object: &'s str, name: &str) -> Option<&'s str> {
    members(object).find(|(key, _)| *key == name).map(|(_, value)| value)
}

const ALL_OF: &str = "allOf";

/// Keywords that combine schemas.
const UNIONS: [&str; 3] = ["anyOf", "oneOf", ALL_OF];

/// Members of the root that are written anew.
const MERGED: [&str; 6] = ["type", "properties", "required", "anyOf", "oneOf", ALL_OF];

/// Members of the root in which references are looked up.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// Maximum depth of unions in unions that are merged.
const MAX_DEPTH: usize = 8;

/// Maximum number of branches that are merged: a definition is looked up in the whole schema for each of them.
const MAX_BRANCHES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(schema: &str) -> String {
        flatten(schema).unwrap().schema.get().to_owned()
    }

    #[test]
    fn branches_become_one_object() {
        assert_eq!(
            flat(
                r#"{"type":"object","properties":{"a":{}},"required":["a"],"anyOf":[{"properties":{"b":{"type":"string"}},"required":["b","c"]},{"required":["c"]}],"title":"T"}"#
            ),
            r#"{"type":"object","properties":{"a":{},"b":{"type":"string"}},"required":["a","c"],"title":"T"}"#
        );
        assert!(flatten(r#"{"type":"object","properties":{"a":{"anyOf":[{}]}},"anyOf":null}"#).is_none());
    }

    #[test]
    fn what_all_demand_is_required_of_all_and_references_are_followed() {
        let schema = r##"{"$defs":{"x":{"properties":{"p":{}},"required":["p"]}},"allOf":[{"$ref":"#/$defs/x"},{"required":["q"]}]}"##;
        let flat = flat(schema);
        assert!(flat.contains(r#""properties":{"p":{}}"#), "{flat}");
        assert!(flat.contains(r#""required":["p","q"]"#), "{flat}");
        let explained = flatten(schema).unwrap();
        assert_eq!(explained.unions, ["allOf"]);
        assert!(explained.explanation.starts_with(r#"{"allOf":["#));
    }

    #[test]
    fn a_property_of_two_kinds_may_be_either() {
        let flat = flat(r#"{"oneOf":[{"properties":{"k":{"const":1}}},{"properties":{"k":{"const":2}}}]}"#);
        assert_eq!(flat, r#"{"type":"object","properties":{"k":{"anyOf":[{"const":1},{"const":2}]}}}"#);
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = r##"{"$defs":{"x":{"anyOf":[{"$ref":"#/$defs/x"},{"$ref":"#/$defs/x"}]}},"anyOf":[{"$ref":"#/$defs/x"}]}"##;
        assert_eq!(flatten(schema).unwrap().unions, ["anyOf"]);
    }
}
