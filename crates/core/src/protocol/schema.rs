//! Whether a JSON schema is one that OpenAI's strict mode takes as it is.

use super::pick::{elements, members};

/// Whether every object in a schema requires all its properties and allow no others.
pub(super) fn is_closed(schema: &str) -> bool {
    let mut waiting = vec![schema];
    while let Some(json) = waiting.pop() {
        if json.starts_with('[') {
            waiting.extend(elements(json));
        } else if json.starts_with('{') && !take(json, &mut waiting) {
            return false;
        }
    }
    true
}

/// Checks one schema, and adds the schemas inside of it to `waiting`; false if it is open.
fn take<'a>(schema: &'a str, waiting: &mut Vec<&'a str>) -> bool {
    let (mut object, mut closed, mut properties, mut required) = (false, false, None, None);
    for (key, value) in members(schema) {
        match key {
            b"type" => object |= value == "\"object\"",
            b"additionalProperties" => closed = value == "false",
            b"properties" => properties = Some(value),
            b"required" => required = Some(value),
            b"$defs" | b"definitions" => waiting.extend(members(value).map(|(_, value)| value)),
            // These are values and not schemas.
            b"enum" | b"const" | b"default" | b"examples" => {}
            _ => waiting.push(value),
        }
    }
    let Some(properties) = properties else { return !object || closed };
    waiting.extend(members(properties).map(|(_, value)| value));
    let mut names: Vec<&str> = required.map(|list| elements(list).collect()).unwrap_or_default();
    names.sort_unstable();
    let is_required =
        |key: &[u8]| names.binary_search_by(|name| name.trim_matches('"').as_bytes().cmp(key)).is_ok();
    closed && members(properties).all(|(key, _)| is_required(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_is_what_names_everything() {
        for closed in [
            r#"{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"object","properties":{},"additionalProperties":false}},"required":["b","a"],"additionalProperties":false}"#,
            r#"{"type":"string","enum":["x"],"default":{"type":"object"}}"#,
            r#"{"type":"object","additionalProperties":false}"#,
        ] {
            assert!(is_closed(closed), "{closed}");
        }
        for open in [
            r#"{"type":"object","properties":{"a":{}},"additionalProperties":false}"#,
            r#"{"type":"object","properties":{"a":{}},"required":["a"]}"#,
            r#"{"type":"object"}"#,
            r#"{"type":"array","items":{"type":"object"}}"#,
            r##"{"$defs":{"properties":{"type":"object"}},"$ref":"#/$defs/properties"}"##,
            r#"{"anyOf":[{"type":"string"},{"type":"object","properties":{}}]}"#,
        ] {
            assert!(!is_closed(open), "{open}");
        }
    }
}
