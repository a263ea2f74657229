//! Google's own kind of schema, a subset of OpenAPI's, written as a JSON schema.

use crate::failure::Result;
use crate::json::write::{self, Object};
use crate::json::{JsonStr, Raw};
use crate::protocol::node::{Node, Type};

use super::lenient;

/// Returns the JSON schema that says the same. The order of its members stays.
///
/// # Errors
/// Returns 400 if it is no object, or has a member in two spellings.
pub(super) fn to_json_schema<'a>(node: &Node<'a, '_>) -> Result<Raw<'a>> {
    let mut out = Vec::with_capacity(node.text.len());
    schema(node, 0, &mut out)?;
    match String::from_utf8(out).ok().and_then(Raw::read_owned) {
        Some(raw) => Ok(raw),
        None => node.raw(),
    }
}

fn schema(node: &Node<'_, '_>, depth: usize, out: &mut Vec<u8>) -> Result<()> {
    if node.kind() != Type::Object || depth > MAX_DEPTH {
        out.extend_from_slice(node.raw()?.get().as_bytes());
        return Ok(());
    }
    let (mut is_nullable, mut kind) = (false, None);
    lenient::members(node, |name, value| {
        match name {
            "nullable" => is_nullable = value.bool()?,
            "type" => kind = type_name(&value)?,
            _ => {}
        }
        Ok(())
    })?;
    let mut result = Ok(());
    if is_nullable && kind.is_none() {
        write::object(out, |o| {
            o.array("anyOf", |list| {
                list.object(|o| result = members(node, None, depth, o));
                list.json(r#"{"type":"null"}"#);
            });
        });
    } else {
        let kind = kind.map(|kind| match is_nullable {
            true => format!("[{kind},\"null\"]"),
            false => kind,
        });
        write::object(out, |o| result = members(node, kind.as_deref(), depth, o));
    }
    result
}

/// Writes the members of a schema; `kind` is the value of its `type`.
fn members(node: &Node<'_, '_>, kind: Option<&str>, depth: usize, o: &mut Object<'_>) -> Result<()> {
    lenient::members(node, |name, value| {
        match name {
            "type" => {
                if let Some(kind) = kind {
                    o.json("type", kind);
                }
            }
            "nullable" | "propertyOrdering" => {}
            "format" if value.text == "\"enum\"" => {}
            "items" | "additionalProperties" => return member(name, &value, depth, o),
            "anyOf" => return list(name, &value, depth, o),
            "properties" => return map(name, &value, depth, o),
            "defs" => return map("$defs", &value, depth, o),
            "ref" => {
                let text = value.string()?;
                o.text("$ref", &text.replacen("#/defs/", "#/$defs/", 1));
            }
            "example" => {
                let example = value.raw()?;
                o.array("examples", |list| {
                    list.raw(&example);
                });
            }
            "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties" => {
                o.raw(name, &lenient::number(&value)?);
            }
            name => {
                o.raw(JsonStr::of(name).raw(), &value.raw()?);
            }
        }
        Ok(())
    })
}

fn member(name: &str, node: &Node<'_, '_>, depth: usize, o: &mut Object<'_>) -> Result<()> {
    let mut result = Ok(());
    o.value(name, |out| result = schema(node, depth + 1, out));
    result
}

fn list(name: &str, node: &Node<'_, '_>, depth: usize, o: &mut Object<'_>) -> Result<()> {
    let mut result = Ok(());
    o.array(name, |list| {
        result = node.items(|element| {
            let mut out = Vec::new();
            schema(&element, depth + 1, &mut out)?;
            list.json(&String::from_utf8(out).unwrap_or_default());
            Ok(())
        });
    });
    result
}

fn map(name: &str, node: &Node<'_, '_>, depth: usize, o: &mut Object<'_>) -> Result<()> {
    let mut result = Ok(());
    o.object(name, |o| {
        // The names of properties are the client's own.
        result = node.members(|key, value| member(JsonStr::of(key).raw(), &value, depth, o));
    });
    result
}

/// Returns the value of `type` in lower case, if it says anything.
fn type_name(node: &Node<'_, '_>) -> Result<Option<String>> {
    if node.kind() == Type::Number {
        return Err(node.wrong("the name of a type, such as 'STRING'"));
    }
    if node.kind() != Type::String {
        return Ok(Some(node.raw()?.get().to_owned()));
    }
    let name = lenient::word(node)?.to_ascii_lowercase();
    Ok(Some(write::literal(&name)).filter(|_| name != "type_unspecified"))
}

/// Maximum depth of a schema that is rewritten; what lies deeper is copied. Google refuses schemas of half this depth.
const MAX_DEPTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_in_the_words_of_json_schema() {
        for (given, expected) in [
            (
                r#"{"type":"OBJECT","properties":{"u":{"type":"STRING","nullable":true}},"propertyOrdering":["u"]}"#,
                r#"{"type":"object","properties":{"u":{"type":["string","null"]}}}"#,
            ),
            (
                r#"{"type":"ARRAY","max_items":"3","items":{"type":"NUMBER","example":1}}"#,
                r#"{"type":"array","maxItems":3,"items":{"type":"number","examples":[1]}}"#,
            ),
            (
                r#"{"nullable":true,"any_of":[{"type":"STRING","format":"enum","enum":["A"]}]}"#,
                r#"{"anyOf":[{"anyOf":[{"type":"string","enum":["A"]}]},{"type":"null"}]}"#,
            ),
            (
                r##"{"defs":{"X":{"type":"INTEGER"}},"ref":"#/defs/X"}"##,
                r##"{"$defs":{"X":{"type":"integer"}},"$ref":"#/$defs/X"}"##,
            ),
        ] {
            assert_eq!(to_json_schema(&Node::root(given)).unwrap().get(), expected);
        }
    }

    #[test]
    fn a_deep_schema_is_copied() {
        let deep = format!("{}{}", r#"{"items":"#.repeat(100), "{}".to_owned() + &"}".repeat(100));
        assert_eq!(to_json_schema(&Node::root(&deep)).unwrap().get(), deep);
    }
}
