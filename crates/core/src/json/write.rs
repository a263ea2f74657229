//! Writing JSON: string literals, and objects member by member.
//!
//! Everything is appended to one buffer, compact and in the order of the calls, so that the same input
//! always gives the same bytes. Names are the crate's own, plain ASCII.

use bytes::Bytes;
use serde::Serialize;

use super::{JsonStr, Raw};

pub use super::escape::escape;

/// Returns the literal of a text, quotes and escapes included.
#[must_use]
pub fn literal(text: &str) -> String {
    // A string always serializes: `serde_json` fails only on maps with odd keys and on broken writers.
    serde_json::to_string(text).unwrap_or_default()
}

/// Serializes a value that always serializes (no maps with keys other than strings).
#[must_use]
pub fn bytes(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// Writes one object.
pub fn object(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
    out.push(b'{');
    fill(&mut Object { out, empty: true });
    out.push(b'}');
}

/// Writes the members of an object, without the braces around them.
pub fn members(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
    fill(&mut Object { out, empty: true });
}

/// Writes one array.
pub fn array(out: &mut Vec<u8>, fill: impl FnOnce(&mut Array<'_>)) {
    out.push(b'[');
    fill(&mut Array { out, empty: true });
    out.push(b']');
}

/// Writes one string, piece by piece.
pub fn string(out: &mut Vec<u8>, fill: impl FnOnce(&mut TextWriter<'_>)) {
    out.push(b'"');
    fill(&mut TextWriter { out });
    out.push(b'"');
}

/// An object that is being written.
#[derive(Debug)]
pub struct Object<'b> {
    out: &'b mut Vec<u8>,
    empty: bool,
}

/// An array that is being written.
#[derive(Debug)]
pub struct Array<'b> {
    out: &'b mut Vec<u8>,
    empty: bool,
}

/// A string that is being written.
#[derive(Debug)]
pub struct TextWriter<'b> {
    out: &'b mut Vec<u8>,
}

impl Object<'_> {
    /// Writes a member whose value is a text.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.string(name, |text| text.plain(value))
    }

    /// Writes a member whose value is a text or null.
    pub fn maybe(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(name, value),
            None => self.null(name),
        }
    }

    /// Writes a member whose value is a text with its original escapes.
    pub fn json_str(&mut self, name: &str, value: &JsonStr<'_>) -> &mut Self {
        self.string(name, |text| text.json_str(value))
    }

    /// Writes a member whose value is a text, piece by piece.
    pub fn string(&mut self, name: &str, fill: impl FnOnce(&mut TextWriter<'_>)) -> &mut Self {
        string(self.name(name), fill);
        self
    }

    /// Writes a member whose value is foreign JSON.
    pub fn raw(&mut self, name: &str, value: &Raw<'_>) -> &mut Self {
        self.name(name).extend_from_slice(value.get().as_bytes());
        self
    }

    /// Writes a member whose value is JSON that the caller vouches for: a number's spelling, a constant, or JSON
    /// that was written before.
    pub fn json(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(name).extend_from_slice(value.as_bytes());
        self
    }

    /// Writes a member whose value is a number.
    pub fn number(&mut self, name: &str, value: u64) -> &mut Self {
        // Writing a number to a buffer cannot fail.
        let _ = serde_json::to_writer(self.name(name), &value);
        self
    }

    /// Writes a member whose value is true or false.
    pub fn bool(&mut self, name: &str, value: bool) -> &mut Self {
        self.json(name, if value { "true" } else { "false" })
    }

    /// Writes a member whose value is null.
    pub fn null(&mut self, name: &str) -> &mut Self {
        self.json(name, "null")
    }

    /// Writes a member whose value is an object.
    pub fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        object(self.name(name), fill);
        self
    }

    /// Writes a member whose value is an array.
    pub fn array(&mut self, name: &str, fill: impl FnOnce(&mut Array<'_>)) -> &mut Self {
        array(self.name(name), fill);
        self
    }

    /// Writes a member whose value the caller writes.
    pub fn value(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        write(self.name(name));
        self
    }

    /// Writes members that were written before, without the braces around them.
    pub fn members(&mut self, members: impl AsRef<[u8]>) -> &mut Self {
        let members = members.as_ref();
        if !members.is_empty() {
            self.comma();
            self.out.extend_from_slice(members);
        }
        self
    }

    fn name(&mut self, name: &str) -> &mut Vec<u8> {
        self.comma();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    fn comma(&mut self) {
        if !std::mem::replace(&mut self.empty, false) {
            self.out.push(b',');
        }
    }
}

impl Array<'_> {
    /// Writes the next element, an object.
    pub fn object(&mut self, fill: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        object(self.next(), fill);
        self
    }

    /// Writes the next element, a text.
    pub fn text(&mut self, value: &str) -> &mut Self {
        string(self.next(), |text| {
            text.plain(value);
        });
        self
    }

    /// Writes the next element, a text with its original escapes.
    pub fn json_str(&mut self, value: &JsonStr<'_>) -> &mut Self {
        string(self.next(), |text| {
            text.json_str(value);
        });
        self
    }

    /// Writes the next element, foreign JSON.
    pub fn raw(&mut self, value: &Raw<'_>) -> &mut Self {
        self.next().extend_from_slice(value.get().as_bytes());
        self
    }

    /// Writes the next element, JSON that the caller vouches for.
    pub fn json(&mut self, value: &str) -> &mut Self {
        self.next().extend_from_slice(value.as_bytes());
        self
    }

    /// Whether nothing was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.empty
    }

    fn next(&mut self) -> &mut Vec<u8> {
        if !std::mem::replace(&mut self.empty, false) {
            self.out.push(b',');
        }
        self.out
    }
}

impl TextWriter<'_> {
    /// Appends a text and escapes it.
    pub fn plain(&mut self, text: &str) {
        escape(text, self.out);
    }

    /// Appends a text with its original escapes.
    pub fn json_str(&mut self, lit: &JsonStr<'_>) {
        self.out.extend_from_slice(lit.raw().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_nested_members_in_order() {
        let mut out = Vec::new();
        object(&mut out, |o| {
            o.text("a", "q\"\n\u{1}é").number("b", 7).null("c").object("d", |_| {}).bool("t", true);
            o.array("e", |list| {
                list.object(|o| {
                    o.json("f", "1.0");
                });
                list.text("x").object(|_| {});
            });
            o.members("\"y\":1").string("s", |text| {
                text.plain("a\t");
                text.json_str(&JsonStr::plain("b\\n"));
            });
        });
        let expected = "{\"a\":\"q\\\"\\n\\u0001é\",\"b\":7,\"c\":null,\"d\":{},\"t\":true,\"e\":[{\"f\":1.0},\"x\",{}],\"y\":1,\"s\":\"a\\tb\\n\"}";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
