//! The input of a call, which is an object here and may be any text elsewhere.

use crate::canon::Args;
use crate::json::{self, Lit, Raw, write};

/// Appends the `input` of a call.
pub(super) fn write(args: &Args<'_>, custom: bool, out: &mut Vec<u8>) {
    match args {
        Args::Lit(text) if custom => wrapped(text, out),
        Args::Lit(text) => object(text, out),
        Args::Raw(json) => value(json.get().trim(), out),
    }
}

/// A freeform tool's text, as the only member of an object.
fn wrapped(text: &Lit<'_>, out: &mut Vec<u8>) {
    write::object(out, |o| {
        o.lit("input", text);
    });
}

/// The object that a text holds. A text that holds none is kept, in an object: repairing JSON is guessing.
pub(super) fn object(text: &Lit<'_>, out: &mut Vec<u8>) {
    let decoded = text.decode();
    let trimmed = decoded.trim();
    // Some servers send an empty object first, and what they mean after it.
    let meant = match trimmed.strip_prefix(EMPTY).map(str::trim_start) {
        Some(rest) if Raw::read(rest).is_some_and(|rest| rest.is_object()) => rest,
        _ => trimmed,
    };
    match Raw::read(meant) {
        Some(json) => value(json.get(), out),
        None if meant.is_empty() => out.extend_from_slice(EMPTY.as_bytes()),
        None => write::object(out, |o| {
            o.lit("_raw_arguments", text);
        }),
    }
}

/// The object that a JSON value is, or holds as a text; any other value becomes a member of one.
fn value(json: &str, out: &mut Vec<u8>) {
    if json.starts_with('{') {
        return json::compact(json, out);
    }
    let inner = Lit::read(json).map(|text| text.into_text());
    match inner.as_deref().and_then(Raw::read).filter(Raw::is_object) {
        Some(object) => json::compact(object.get(), out),
        None => write::object(out, |o| {
            o.value("value", |out| json::compact(json, out));
        }),
    }
}

const EMPTY: &str = "{}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_become_an_object_whatever_they_are() {
        for (arguments, input) in [
            ("", "{}"),
            (" \n", "{}"),
            (r#"{"b":1.0,"a":1e2}"#, r#"{"b":1.0,"a":1e2}"#),
            ("{ \"a\" : [1, 2] }", r#"{"a":[1,2]}"#),
            ("[1]", r#"{"value":[1]}"#),
            ("7", r#"{"value":7}"#),
            (r#""text""#, r#"{"value":"text"}"#),
            (r#""{\"a\":1}""#, r#"{"a":1}"#),
            (r#"{}{"a":1}"#, r#"{"a":1}"#),
            (r#"{"a":"#, r#"{"_raw_arguments":"{\"a\":"}"#),
            (r#"{"a":1} and so on"#, r#"{"_raw_arguments":"{\"a\":1} and so on"}"#),
        ] {
            let mut out = Vec::new();
            write(&Args::Lit(Lit::of(arguments)), false, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), input, "{arguments}");
        }
    }

    #[test]
    fn objects_are_taken_as_they_are_and_texts_wrapped() {
        let mut out = Vec::new();
        write(&Args::Raw(Raw::constant(r#"{"a": 1}"#)), false, &mut out);
        write(&Args::Raw(Raw::constant("null")), false, &mut out);
        write(&Args::Lit(Lit::of("*** Begin\n\"x\"")), true, &mut out);
        let expected = r#"{"a":1}{"value":null}{"input":"*** Begin\n\"x\""}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
