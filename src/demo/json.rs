//! A small writer of JSON text: objects and arrays are written member by member into one buffer. And two
//! helpers that read JSON of any shape.
//!
//! Comes in: names (plain ASCII, written by this module's own code) and values. Goes out: compact JSON, in
//! the order of the calls, so that one request always gives the same bytes. It does not check that a name is
//! given only once.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// An object that is being written.
pub(super) struct ObjectWriter<'b> {
    out: &'b mut Vec<u8>,
    empty: bool,
}

impl ObjectWriter<'_> {
    /// A member whose value is a string.
    pub(super) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(name);
        literal(self.out, value);
        self
    }

    /// A member whose value is a string, or `null`.
    pub(super) fn maybe(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(name, value),
            None => self.raw(name, "null"),
        }
    }

    /// Writes a member whose value is a number.
    pub(super) fn number(&mut self, name: &str, value: usize) -> &mut Self {
        self.name(name);
        number(self.out, value);
        self
    }

    /// A member whose value is JSON text already.
    pub(super) fn raw(&mut self, name: &str, json: &str) -> &mut Self {
        self.name(name);
        self.out.extend_from_slice(json.as_bytes());
        self
    }

    /// Writes a member of the request unchanged, or its default.
    pub(super) fn echo(&mut self, name: &str, value: Option<&RawValue>, default: &str) -> &mut Self {
        self.name(name);
        one_line(self.out, value.map_or(default, RawValue::get));
        self
    }

    /// Members that were written before, without the braces.
    pub(super) fn members(&mut self, members: &[u8]) -> &mut Self {
        self.comma();
        self.out.extend_from_slice(members);
        self
    }

    /// Writes a member whose value is an object.
    pub(super) fn object(&mut self, name: &str, fill: impl FnOnce(&mut ObjectWriter<'_>)) -> &mut Self {
        self.name(name);
        object(self.out, fill);
        self
    }

    /// Writes a member whose value is an array.
    pub(super) fn array(&mut self, name: &str, fill: impl FnOnce(&mut ArrayWriter<'_>)) -> &mut Self {
        self.name(name);
        self.out.push(b'[');
        fill(&mut ArrayWriter { out: self.out, empty: true });
        self.out.push(b']');
        self
    }

    /// Nothing more: ends a chain of calls where no value is wanted.
    pub(super) fn done(&self) {}

    fn name(&mut self, name: &str) {
        self.comma();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn comma(&mut self) {
        if !std::mem::replace(&mut self.empty, false) {
            self.out.push(b',');
        }
    }
}

/// An array of objects that is being written.
pub(super) struct ArrayWriter<'b> {
    out: &'b mut Vec<u8>,
    empty: bool,
}

impl ArrayWriter<'_> {
    /// The next element.
    pub(super) fn object(&mut self, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
        self.comma();
        object(self.out, fill);
    }

    /// The next element, given back as it came.
    pub(super) fn echo(&mut self, value: &RawValue) {
        self.comma();
        one_line(self.out, value.get());
    }

    fn comma(&mut self) {
        if !std::mem::replace(&mut self.empty, false) {
            self.out.push(b',');
        }
    }
}

/// Writes JSON of the request. A line break may stand between its tokens, but would end a line of an event stream.
fn one_line(out: &mut Vec<u8>, json: &str) {
    out.extend(json.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
}

/// Writes one object.
pub(super) fn object(out: &mut Vec<u8>, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
    out.push(b'{');
    fill(&mut ObjectWriter { out, empty: true });
    out.push(b'}');
}

/// One object as a body of its own.
pub(super) fn body(fill: impl FnOnce(&mut ObjectWriter<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    object(&mut out, fill);
    out
}

/// Members without the braces, for [`ObjectWriter::members`].
pub(super) fn members(fill: impl FnOnce(&mut ObjectWriter<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    fill(&mut ObjectWriter { out: &mut out, empty: true });
    out
}

/// Writes a string with its quotes and escapes.
pub(super) fn literal(out: &mut Vec<u8>, text: &str) {
    // Writing a string to a Vec cannot fail, so there is no error to hand on.
    let _ = serde_json::to_writer(out, text);
}

/// Reads JSON of any shape. If it does not have the wanted one, the result is the default.
pub(super) fn read_or_default<'a, T: Deserialize<'a> + Default>(raw: Option<&'a RawValue>) -> T {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// Does the same as [`read`] for a member of a larger shape, so that an odd member does not make the whole
/// unreadable.
pub(super) fn loose<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    <&RawValue>::deserialize(deserializer).map(|raw| read_or_default(Some(raw)))
}

fn number(out: &mut Vec<u8>, value: usize) {
    // As above.
    let _ = serde_json::to_writer(out, &value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_nested_members_in_order() {
        let text = body(|o| {
            o.text("a", "q\"\n").number("b", 7).maybe("c", None).object("d", |_| {});
            o.array("e", |list| {
                list.object(|o| o.raw("f", "1.0").done());
                list.object(|_| {});
            });
        });
        assert_eq!(text, br#"{"a":"q\"\n","b":7,"c":null,"d":{},"e":[{"f":1.0},{}]}"#);
    }

    #[test]
    fn an_echo_never_breaks_the_line() {
        let raw: &RawValue = serde_json::from_str("{\n \"a\":\r\n1}").unwrap();
        assert_eq!(body(|o| o.echo("x", Some(raw), "null").done()), br#"{"x":{  "a":  1}}"#);
    }
}
