//! The members of a request that its answers repeat.
//!
//! They are those that the client sent, not those that went to the provider, with OpenAI's defaults for absent
//! ones. They are written once for all response objects of the answer, and without line breaks, which would end
//! the line of an event.

use bytes::Bytes;

use crate::json::write::{self, Array, Object};
use crate::json::{Document, Lenient as _, MarkHint, Raw};

/// Members of the request, by their index in [`NAMES`].
type EchoMembers<'a> = [Option<&'a str>; NAMES.len()];

/// Writes the members, without the braces around them.
pub(super) fn write(document: &Document<'_>) -> Bytes {
    let body = document.text();
    let mut found: EchoMembers<'_> = [None; NAMES.len()];
    for (member, _) in document.members(body.as_bytes(), MarkHint::ROOT).lenient() {
        if let Some(place) = NAMES.iter().position(|name| member.is(name)) {
            found[place] = body.get(member.span).filter(|text| *text != "null");
        }
    }
    let length: usize = found.iter().flatten().map(|text| text.len()).sum();
    let mut out = Vec::with_capacity(length + ROOM);
    write::members(&mut out, |o| members(document, &found, o));
    // The buffer lives as long as the answer, so it gives back its spare room.
    out.shrink_to_fit();
    Bytes::from(out)
}

fn members(document: &Document<'_>, found: &EchoMembers<'_>, o: &mut Object<'_>) {
    for ((name, default), text) in NAMES.iter().zip(DEFAULTS).zip(found) {
        let text = text.filter(|text| has_the_type_of(default, text));
        match (*name, text) {
            ("tools", Some(text)) => o.array("tools", |list| tools(document, text, list)),
            ("text", text) => o.object("text", |o| text_config(document, text, o)),
            ("reasoning", text) => o.object("reasoning", |o| reasoning(document, text, o)),
            (name, text) => copied(document, o, name, text, default),
        };
    }
    o.members(CONSTANTS);
}

/// Writes a member with a foreign value or with a default.
fn copied<'o, 'b>(
    document: &Document<'_>,
    o: &'o mut Object<'b>,
    name: &str,
    text: Option<&str>,
    default: &str,
) -> &'o mut Object<'b> {
    match text.and_then(|text| document.raw(text)) {
        Some(raw) => o.value(name, |out| document.compact(raw.get(), out)),
        None => o.json(name, default),
    }
}

/// Writes the tools as the client sent them. Functions get the members that clients look for.
fn tools(document: &Document<'_>, text: &str, list: &mut Array<'_>) {
    for (span, hint) in document.elements(text.as_bytes(), MarkHint::ROOT).lenient() {
        let Some(tool) = text.get(span).and_then(|tool| document.raw(tool)).filter(Raw::is_object) else {
            continue;
        };
        let (mut is_function, mut seen) = (false, [false; FUNCTION.len()]);
        list.object(|o| {
            for (name, value) in members_of(document, tool.get(), hint) {
                is_function |= name == "type" && value == "\"function\"";
                // A tool in Chat's form keeps its shape.
                seen.iter_mut().for_each(|seen| *seen |= name == "function");
                seen.iter_mut().zip(FUNCTION).for_each(|(seen, known)| *seen |= name == known);
                o.value(name, |out| document.compact(value, out));
            }
            for (name, _) in FUNCTION.iter().zip(seen).filter(|(_, seen)| is_function && !seen) {
                o.null(name);
            }
        });
    }
}

fn text_config(document: &Document<'_>, text: Option<&str>, o: &mut Object<'_>) {
    with_defaults(document, text, &[("format", r#"{"type":"text"}"#)], o);
}

fn reasoning(document: &Document<'_>, text: Option<&str>, o: &mut Object<'_>) {
    with_defaults(document, text, &[("effort", "null"), ("summary", "null")], o);
}

/// Writes the members of an object, and the defaults of those that it lacks.
fn with_defaults(document: &Document<'_>, text: Option<&str>, defaults: &[(&str, &str)], o: &mut Object<'_>) {
    let raw = text.and_then(|text| document.raw(text));
    let object = raw.as_ref().map_or("{}", Raw::get);
    for (name, default) in defaults {
        let own = members_of(document, object, MarkHint::ROOT)
            .filter(|(key, value)| key == name && *value != "null")
            .last();
        copied(document, o, name, own.map(|(_, value)| value), default);
    }
    for (name, value) in members_of(document, object, MarkHint::ROOT) {
        if !defaults.iter().any(|(known, _)| *known == name) {
            o.value(name, |out| document.compact(value, out));
        }
    }
}

/// Returns the members of a valid object: keys with their escapes, and values.
fn members_of<'a>(
    document: &Document<'_>,
    object: &'a str,
    hint: MarkHint,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let members = document.members(object.as_bytes(), hint).lenient();
    members.filter_map(|(member, _)| Some((object.get(member.key_span)?, object.get(member.span)?)))
}

/// Whether the value is of the type that the member has by default, where it has one.
fn has_the_type_of(default: &str, text: &str) -> bool {
    let class = |text: &str| {
        text.bytes().next().map(|byte| if byte.is_ascii_digit() || byte == b'-' { b'0' } else { byte })
    };
    match default {
        "null" | "\"auto\"" => true,
        "true" => matches!(text, "true" | "false"),
        default => class(default) == class(text),
    }
}

/// The members that are repeated.
const NAMES: [&str; 16] = [
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];

/// The defaults for members that the client did not send.
const DEFAULTS: [&str; NAMES.len()] = [
    "null",
    "null",
    "null",
    "{}",
    "true",
    "null",
    "{}",
    "null",
    "1.0",
    "{}",
    "\"auto\"",
    "[]",
    "0",
    "1.0",
    "\"disabled\"",
    "null",
];

/// Members with the same value in every answer.
const CONSTANTS: &str = r#""background":false,"previous_response_id":null,"store":false,"presence_penalty":0.0,"frequency_penalty":0.0"#;

/// Members that clients look for on every function.
const FUNCTION: [&str; 3] = ["description", "parameters", "strict"];

/// Bytes for the names, the defaults and the constants.
const ROOM: usize = 640;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(body: &str) -> String {
        String::from_utf8(write(&Document::read(body)).to_vec()).unwrap()
    }

    #[test]
    fn says_the_defaults_where_the_client_says_nothing() {
        let expected = concat!(
            r#""instructions":null,"max_output_tokens":null,"max_tool_calls":null,"metadata":{},"parallel_tool_calls":true,"#,
            r#""prompt_cache_key":null,"reasoning":{"effort":null,"summary":null},"safety_identifier":null,"temperature":1.0,"#,
            r#""text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_logprobs":0,"top_p":1.0,"#,
            r#""truncation":"disabled","user":null,"background":false,"previous_response_id":null,"store":false,"#,
            r#""presence_penalty":0.0,"frequency_penalty":0.0"#,
        );
        assert_eq!(text(r#"{"input":"x"}"#), expected);
        assert_eq!(
            text(r#"{"tools":null,"store":true,"temperature":"0.7","top_p":1.2.3,"metadata":7}"#),
            expected
        );
    }

    #[test]
    fn repeats_what_the_client_said_on_one_line() {
        let body = "{\"instructions\":\"a\\nb\",\n\"metadata\" : {\"k\" :\n\"v\"},\"temperature\":0.70,\n\"top_logprobs\":2,
            \"reasoning\":{\"summary\":\"auto\",\n\"x\":1},\"text\":{\"verbosity\":\"low\",\"format\":null},\"tool_choice\":{\"type\":\"function\",
            \"name\":\"f\"},\"parallel_tool_calls\":false,\"user\":\"u\",\"max_output_tokens\":9,\"truncation\":\"auto\"}";
        let echo = text(body);
        assert!(!echo.contains('\n'));
        for part in [
            r#""instructions":"a\nb""#,
            r#""metadata":{"k":"v"}"#,
            r#""temperature":0.70"#,
            r#""top_logprobs":2"#,
            r#""reasoning":{"effort":null,"summary":"auto","x":1}"#,
            r#""text":{"format":{"type":"text"},"verbosity":"low"}"#,
            r#""tool_choice":{"type":"function","name":"f"}"#,
            r#""parallel_tool_calls":false"#,
            r#""user":"u""#,
            r#""max_output_tokens":9"#,
            r#""truncation":"auto""#,
            r#""store":false"#,
        ] {
            assert!(echo.contains(part), "{part} in {echo}");
        }
    }

    #[test]
    fn tools_keep_their_shape_and_functions_get_what_clients_look_for() {
        let body = r#"{"tools":[{"type":"function","name":"f","parameters":{"b":1.0, "a":2}},{"type":"function","function":{"name":"g"}},
            {"type":"function","name":"h","strict":true,"description":null,"parameters":null},{"type":"web_search"},7]}"#;
        let expected = concat!(
            r#""tools":[{"type":"function","name":"f","parameters":{"b":1.0,"a":2},"description":null,"strict":null},"#,
            r#"{"type":"function","function":{"name":"g"}},"#,
            r#"{"type":"function","name":"h","strict":true,"description":null,"parameters":null},{"type":"web_search"}]"#,
        );
        let echo = text(body);
        assert!(echo.contains(expected), "{echo}");
        assert!(Raw::read(&format!("{{{echo}}}")).is_some());
    }
}
