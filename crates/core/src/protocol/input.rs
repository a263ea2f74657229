//! The input of a call, which is an object in this protocol and may be any text in others.

use serde::de::IgnoredAny;

use crate::canon::Args;
use crate::json::{self, JsonStr, Raw, write};

/// Appends the `input` of a call.
pub(super) fn write(args: &Args<'_>, custom: bool, out: &mut Vec<u8>) {
    match args {
        Args::Str(text) if custom => wrapped(text, out),
        Args::Str(text) => object(text, out),
        Args::Raw(json) => value(json.get().trim(), out),
    }
}

/// Writes a freeform tool's text as the only member of an object.
fn wrapped(text: &JsonStr<'_>, out: &mut Vec<u8>) {
    write::object(out, |o| {
        o.json_str("input", text);
    });
}

/// Writes the object in a text. Any other text is kept inside of an object, because repairing JSON is guessing.
fn object(text: &JsonStr<'_>, out: &mut Vec<u8>) {
    // It is nearly always an object, which is unescaped directly into the output.
    let start = out.len();
    unescape(text.raw(), out);
    let decoded = out.get(start..).unwrap_or_default().trim_ascii_start();
    if decoded.first() == Some(&b'{') && serde_json::from_slice::<IgnoredAny>(decoded).is_ok() {
        return;
    }
    out.truncate(start);
    odd(text, out);
}

/// Writes the meaning of a text that is not simply an object.
fn odd(text: &JsonStr<'_>, out: &mut Vec<u8>) {
    let decoded = text.decode();
    let trimmed = decoded.trim();
    // Some servers send an empty object first, and the real one after it.
    let meant = match trimmed.strip_prefix(EMPTY).map(str::trim_start) {
        Some(rest) if Raw::read(rest).is_some_and(|rest| rest.is_object()) => rest,
        _ => trimmed,
    };
    match Raw::read(meant) {
        Some(json) => value(json.get(), out),
        None if meant.is_empty() => out.extend_from_slice(EMPTY.as_bytes()),
        None => write::object(out, |o| {
            o.json_str("_raw_arguments", text);
        }),
    }
}

/// Appends the unescaped text of a literal's inside. Lone surrogates become U+FFFD.
fn unescape(inner: &str, out: &mut Vec<u8>) {
    let mut rest = inner;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        let mut chars = escape.chars();
        // The backslash stands before what it escapes.
        match chars.nth(1) {
            Some(quote @ ('"' | '\\' | '/')) => out.push(quote as u8),
            Some('n') => out.push(b'\n'),
            Some('t') => out.push(b'\t'),
            Some('r') => out.push(b'\r'),
            Some('b') => out.push(8),
            Some('f') => out.push(12),
            Some('u') => {
                rest = unicode(chars.as_str(), out);
                continue;
            }
            Some(other) => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            None => {}
        }
        rest = chars.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

/// Appends the character of an escape whose digits begin here, and returns the rest.
fn unicode<'t>(digits: &'t str, out: &mut Vec<u8>) -> &'t str {
    let unit = |text: &str| text.get(..4).and_then(|digits| u16::from_str_radix(digits, 16).ok());
    let first = unit(digits);
    let rest = digits.get(4..).unwrap_or_default();
    let second = rest.strip_prefix("\\u").and_then(unit);
    let mut decoded = char::decode_utf16(first.into_iter().chain(second));
    let (c, length) = match decoded.next() {
        Some(Ok(c)) => (c, c.len_utf16()),
        Some(Err(_)) | None => (char::REPLACEMENT_CHARACTER, 1),
    };
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    // The second unit was an escape of its own, with a backslash and a `u`.
    if length == 2 { rest.get(6..).unwrap_or_default() } else { rest }
}

/// Writes the object that a JSON value is, or holds as a text. Any other value becomes a member of an object.
fn value(json: &str, out: &mut Vec<u8>) {
    if json.starts_with('{') {
        return json::compact(json, out);
    }
    let inner = JsonStr::read(json).map(|text| text.into_text());
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
            ("{ \"a\" : [1, 2] }\n", "{ \"a\" : [1, 2] }\n"),
            (r#"{"a":"\u00e9\ud83d\ude00\\"}"#, r#"{"a":"\u00e9\ud83d\ude00\\"}"#),
            ("[1]", r#"{"value":[1]}"#),
            ("7", r#"{"value":7}"#),
            (r#""text""#, r#"{"value":"text"}"#),
            (r#""{\"a\":1}""#, r#"{"a":1}"#),
            (r#"{}{"a":1}"#, r#"{"a":1}"#),
            (r#"{"a":"#, r#"{"_raw_arguments":"{\"a\":"}"#),
            (r#"{"a":1} and so on"#, r#"{"_raw_arguments":"{\"a\":1} and so on"}"#),
        ] {
            let mut out = Vec::new();
            write(&Args::Str(JsonStr::of(arguments)), false, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), input, "{arguments}");
        }
    }

    #[test]
    fn escapes_are_decoded_once() {
        for inner in [r#"a\n\t\r\b\f\"\\\/b"#, r"\u00e9\ud83d\ude00x", "é😀", r"\\u0041", ""] {
            let mut out = Vec::new();
            unescape(inner, &mut out);
            let literal = format!("\"{inner}\"");
            assert_eq!(String::from_utf8(out).unwrap(), JsonStr::read(&literal).unwrap().decode(), "{inner}");
        }
        let mut out = Vec::new();
        unescape(r"\ud83dx\ude00\ud83d\u0041", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "\u{fffd}x\u{fffd}\u{fffd}A");
    }

    #[test]
    fn objects_are_taken_as_they_are_and_texts_wrapped() {
        let mut out = Vec::new();
        write(&Args::Raw(Raw::constant(r#"{"a": 1}"#)), false, &mut out);
        write(&Args::Raw(Raw::constant("null")), false, &mut out);
        write(&Args::Str(JsonStr::of("*** Begin\n\"x\"")), true, &mut out);
        let expected = r#"{"a":1}{"value":null}{"input":"*** Begin\n\"x\""}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
