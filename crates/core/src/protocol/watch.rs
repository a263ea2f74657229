//! The strings below the top level that make a closer look necessary.
//!
//! Most requests hold only texts, function calls and their schemas, and are read once. A string of [`NAMES`], or a
//! `type` that is not one of the [`USUAL`] ones, is a reason to go through the body once more. An unknown value is
//! such a reason, too.

use crate::canon::CARRIER_PREFIXES;
use crate::json::Name;
use crate::json::scan::{ID, KIND};

use super::carriers;

/// Bit for a body that has to be looked through.
pub(super) const LOOK: u8 = 1;

/// Bit for a lifetime of the prompt cache that is longer than the default.
pub(super) const LONG: u8 = 2;

/// Bit for reasoning in a carrier.
pub(super) const CARRIER: u8 = 4;

/// Bit for thinking that its provider has signed.
pub(super) const SIGNED: u8 = 8;

/// Returns the bits for the inside of a string, given the bytes that follow the string.
pub(super) fn string(inner: &[u8], rest: &[u8]) -> u8 {
    if carriers::rejection(inner).is_some() {
        return CARRIER;
    }
    let is_plain = || inner.is_ascii() && memchr::memchr(b'\\', inner).is_none();
    // A string that is not likely can only be a name by escapes or by letters beyond ASCII.
    if inner.len() > MAX_SPELLED_LEN || !is_likely(inner) && is_plain() {
        return 0;
    }
    Name::read(inner).map_or(0, |name| named(&name, rest))
}

fn named(name: &Name, rest: &[u8]) -> u8 {
    match name.as_bytes() {
        b"1h" | b"12h" => LONG,
        b"id" => value(rest).map_or(0, |_| ID),
        b"signature" => value(rest).map_or(0, |value| if is_signature(value) { SIGNED } else { 0 }),
        b"role" => value(rest).map_or(0, |value| if value.starts_with(b"\"") { KIND } else { 0 }),
        b"type" => value(rest).map_or(0, kind),
        name if NAMES.iter().any(|known| known.as_bytes() == name) => LOOK,
        _ => 0,
    }
}

/// Returns the value of the key before `rest`, if it is a key.
fn value(rest: &[u8]) -> Option<&[u8]> {
    rest.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start)
}

fn kind(value: &[u8]) -> u8 {
    let text = match value.split_first() {
        // In a schema this is a property or a choice of types.
        Some((b'{' | b'[', _)) => return 0,
        Some((b'"', text)) => text.get(..text.len().min(MAX_KIND_LEN)).unwrap_or_default(),
        _ => return LOOK,
    };
    let text = memchr::memchr(b'"', text).and_then(|end| text.get(..end));
    if text.is_some_and(|text| USUAL.iter().any(|usual| usual.as_bytes() == text)) {
        KIND
    } else {
        LOOK | KIND
    }
}

/// Whether the value of a key is a text that may be a provider's own signature.
fn is_signature(value: &[u8]) -> bool {
    let text = value.strip_prefix(b"\"").filter(|text| !text.starts_with(b"\""));
    text.is_some_and(|text| !CARRIER_PREFIXES.iter().any(|prefix| text.starts_with(prefix.as_bytes())))
}

/// Whether one of the names has this length and begins with this letter.
fn is_likely(inner: &[u8]) -> bool {
    let letters = LIKELY.get(inner.len()).copied().unwrap_or_default();
    inner.first().is_some_and(|first| letters & bit(*first) != 0)
}

/// Returns one bit for each letter, the same for lower and upper case.
const fn bit(letter: u8) -> u32 {
    1 << (letter & 0x1f)
}

const fn likely() -> [u32; MAX_WORD_LEN + 1] {
    let mut table = [0; MAX_WORD_LEN + 1];
    let mut at = 0;
    while at < NAMES.len() {
        let name = NAMES[at].as_bytes();
        table[name.len()] |= bit(name[0]);
        at += 1;
    }
    table[2] |= bit(b'i') | bit(b'1');
    table[3] |= bit(b'1');
    table[4] |= bit(b'r') | bit(b't');
    table[9] |= bit(b's');
    table
}

static LIKELY: [u32; MAX_WORD_LEN + 1] = likely();

/// Keys with values that decide about money or belong to the provider's account.
const NAMES: &[&str] = &[
    "audio",
    "audio_url",
    "cached_content",
    "cachedcontent",
    "code_execution",
    "codeexecution",
    "comparison_response_id",
    "container",
    "container_id",
    "document_url",
    "enterprise_web_search",
    "file_data",
    "file_id",
    "file_ids",
    "file_uri",
    "file_url",
    "filedata",
    "fileuri",
    "google_maps",
    "google_search",
    "google_search_retrieval",
    "googlemaps",
    "googlesearch",
    "googlesearchretrieval",
    "image_url",
    "images",
    "inline_data",
    "inlinedata",
    "input_audio",
    "item_reference",
    "skill_id",
    "skill_reference",
    "tunnel_id",
    "url_context",
    "urlcontext",
    "vector_store_ids",
    "video_url",
];

/// Types that neither cost anything besides tokens nor refer to state at a provider.
const USUAL: &[&str] = &[
    "string",
    "object",
    "text",
    "function",
    "array",
    "number",
    "integer",
    "boolean",
    "tool_use",
    "tool_result",
    "function_call",
    "function_call_output",
    "input_text",
    "output_text",
    "message",
    "ephemeral",
    "thinking",
    "redacted_thinking",
    "custom",
    "custom_tool_call",
    "custom_tool_call_output",
    "summary_text",
    "reasoning_text",
    "reasoning.text",
    "reasoning.summary",
    "reasoning.encrypted",
    "refusal",
    "json_schema",
    "json_object",
    "grammar",
    "namespace",
    "auto",
    "any",
    "tool",
    "none",
    "allowed_tools",
    "enabled",
    "disabled",
    "adaptive",
    "null",
    "local_shell",
    "local_shell_call",
    "local_shell_call_output",
    "clear_tool_uses_20250919",
    "clear_thinking_20251015",
    "url_citation",
    "approximate",
];

/// Length of the longest name, in bytes.
const MAX_WORD_LEN: usize = 25;

/// Length of a name of which every letter is an escape, in bytes.
const MAX_SPELLED_LEN: usize = MAX_WORD_LEN * 6;

/// Maximum length of a usual type with its closing quote, in bytes.
const MAX_KIND_LEN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::members;

    fn seen(json: &str) -> u8 {
        let mut all = members(json.as_bytes()).watched_by(string);
        all.finish().unwrap();
        all.seen() & !(ID | KIND)
    }

    #[test]
    fn ordinary_requests_are_read_once() {
        for body in [
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"file_id and \"file_id\""}]}]}"#,
            r#"{"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":
                {"type":{"type":["string","null"]},"model":{"type":"string"},"id":{"type":"integer"}}}}}]}"#,
            r#"{"input":[{"id":"a","type":"message","role":"user"},{"id":"b","role":"user"},{"type" : "function_call","id":"c"}]}"#,
        ] {
            assert_eq!(seen(body), 0, "{body}");
        }
    }

    #[test]
    fn what_is_not_known_is_looked_at() {
        for body in [
            r#"{"a":[{"type":"image"}]}"#,
            r#"{"a":[{"type" : null}]}"#,
            r#"{"a":[{"type":"text","type":"a_new_tool"}]}"#,
            r#"{"a":[{"t\u0079pe":"image"}]}"#,
            r#"{"a":[{"Type":"image"}]}"#,
            r#"{"a":[{"type":"tex\u0074"}]}"#,
            r#"{"a":{"b":{"file\u005fid":1}}}"#,
            r#"{"a":{"b":{"IMAGE_URL":1}}}"#,
            "{\"a\":{\"b\":{\"\u{17f}kill_id\":1}}}",
            r#"{"a":{"\u0063\u006f\u006d\u0070\u0061\u0072\u0069\u0073\u006f\u006e\u005f\u0072\u0065\u0073\u0070\u006f\u006e\u0073\u0065\u005f\u0069\u0064":1}}"#,
        ] {
            assert_eq!(seen(body) & LOOK, LOOK, "{body}");
        }
        assert_eq!(seen(r#"{"a":[{"ttl":"1\u0068"}]}"#), LONG);
        let long = "x".repeat(2 * MAX_SPELLED_LEN);
        for (body, is_carrier) in [
            (format!(r#"{{"a":[{{"signature":"cm2.{long}"}}]}}"#), true),
            (r#"{"a":"cm1."}"#.to_owned(), true),
            (format!(r#"{{"a":"cm3.{long}","b":"\"cm2.","c":"of cm2."}}"#), false),
        ] {
            assert_eq!(seen(&body), if is_carrier { CARRIER } else { 0 }, "{body}");
        }
        for body in [r#"{"a":[{"id":"x"}]}"#, r#"{"a":[{"role":null,"id":"x"}]}"#] {
            assert_eq!(seen(body), crate::json::scan::NAMELESS, "{body}");
        }
    }

    #[test]
    fn signatures_of_providers_are_seen() {
        for (body, is_signed) in [
            (r#"{"a":[{"type":"thinking","signature" : "Eq"}]}"#, true),
            (r#"{"a":[{"\u0073ignature":"Eq"}]}"#, true),
            (r#"{"a":[{"signature":""}]}"#, false),
            (r#"{"a":["signature"]}"#, false),
            (r#"{"a":{"signature":{"type":"string"}}}"#, false),
            (r#"{"a":[{"signature":"cm2.x"}]}"#, false),
        ] {
            assert_eq!(seen(body) & SIGNED != 0, is_signed, "{body}");
        }
    }

    #[test]
    fn the_longest_name_is_as_long_as_it_is_said_to_be() {
        let longest = NAMES.iter().map(|name| name.len()).max().unwrap();
        assert!(longest <= MAX_WORD_LEN && USUAL.iter().all(|usual| usual.len() < MAX_KIND_LEN));
    }
}
