//! Arguments of a call that come in pieces, each with the place that it belongs to.
//!
//! The gateway never asks for them, but a provider that sends them all the same is understood.

use crate::json::write::{self, Array, Object};
use crate::json::{JsonStr, Raw};
use crate::protocol::pick::{elements, fields_named};

/// The arguments of one call so far.
#[derive(Debug)]
pub(super) struct PartialArgs {
    root: Value,
    /// The place of a text that goes on, as it was spelled.
    open: Option<String>,
    /// Number of bytes so far.
    size: usize,
}

#[derive(Debug)]
enum Value {
    /// A place that was named and has no value yet.
    Nothing,
    Object(Vec<(String, Self)>),
    Array(Vec<Self>),
    /// The inside of a literal.
    Text(String),
    /// Any other value.
    Other(String),
}

/// One step of the way to a value.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Member(String),
    Element(usize),
}

impl PartialArgs {
    pub(super) fn new() -> Self {
        Self { root: Value::Object(Vec::new()), open: None, size: 0 }
    }

    /// Takes a list of pieces. What is no piece, or too much, is left out.
    pub(super) fn take(&mut self, pieces: &str) {
        elements(pieces).for_each(|piece| {
            self.piece(piece);
        });
    }

    fn piece(&mut self, piece: &str) -> Option<()> {
        let [path, text, number, bool, null, goes_on] = fields_named(
            piece,
            ["jsonPath", "stringValue", "numberValue", "boolValue", "nullValue", "willContinue"],
        );
        let path = JsonStr::read(path?)?.into_text();
        self.size += piece.len();
        if self.size > MAX_BYTES {
            return None;
        }
        let is_same = self.open.as_deref() == Some(&*path);
        self.open = (goes_on == Some("true")).then(|| path.clone().into_owned());
        let steps = steps(&path)?;
        let place = self.place(&steps)?;
        match (text.and_then(JsonStr::read), place) {
            (Some(more), Value::Text(known)) if is_same => known.push_str(more.raw()),
            (Some(text), place) => *place = Value::Text(text.raw().to_owned()),
            (None, place) => {
                let other = number.or(bool).filter(|_| null.is_none());
                *place = Value::Other(other.unwrap_or("null").to_owned());
            }
        }
        Some(())
    }

    /// Returns the place of a value, with all that it stands in.
    fn place(&mut self, steps: &[Step]) -> Option<&mut Value> {
        let mut place = &mut self.root;
        for step in steps {
            place = place.step(step)?;
        }
        Some(place)
    }

    /// Returns the arguments as an object.
    pub(super) fn json(&self) -> Raw<'static> {
        let mut out = Vec::with_capacity(self.size);
        self.root.write(&mut out);
        String::from_utf8(out).ok().and_then(Raw::read_owned).unwrap_or(Raw::constant("{}"))
    }
}

impl Value {
    /// Goes one step further, to a value that is made if there is none.
    fn step(&mut self, step: &Step) -> Option<&mut Self> {
        match step {
            Step::Member(name) => {
                if matches!(self, Self::Nothing) {
                    *self = Self::Object(Vec::new());
                }
                let Self::Object(members) = self else { return None };
                let at = members.iter().position(|(known, _)| known == name);
                let at = match at {
                    Some(at) => at,
                    None if members.len() >= MAX_MEMBERS => return None,
                    None => {
                        members.push((name.clone(), Self::Nothing));
                        members.len() - 1
                    }
                };
                members.get_mut(at).map(|(_, value)| value)
            }
            Step::Element(index) => {
                if matches!(self, Self::Nothing) {
                    *self = Self::Array(Vec::new());
                }
                let Self::Array(list) = self else { return None };
                if *index >= MAX_MEMBERS {
                    return None;
                }
                while list.len() <= *index {
                    list.push(Self::Nothing);
                }
                list.get_mut(*index)
            }
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Nothing => out.extend_from_slice(b"null"),
            Self::Object(members) => {
                write::object(out, |o| members.iter().for_each(|member| member_to(member, o)));
            }
            Self::Array(list) => {
                write::array(out, |array| list.iter().for_each(|value| element_to(value, array)));
            }
            Self::Text(text) => write::string(out, |string| string.json_str(&JsonStr::part(text))),
            Self::Other(json) => out.extend_from_slice(json.as_bytes()),
        }
    }
}

fn member_to((name, value): &(String, Value), o: &mut Object<'_>) {
    o.value(JsonStr::of(name).raw(), |out| value.write(out));
}

fn element_to(value: &Value, array: &mut Array<'_>) {
    let mut out = Vec::new();
    value.write(&mut out);
    array.json(&String::from_utf8(out).unwrap_or_default());
}

/// Reads a path such as `$.a[0]['b c']`.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if steps.len() >= MAX_DEPTH {
            return None;
        }
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (name, next) = after.split_at(end);
            steps.push(Step::Member(name.to_owned()));
            rest = next;
            continue;
        }
        let after = rest.strip_prefix('[')?;
        let quoted = ['\'', '"'].into_iter().find_map(|quote| Some((quote, after.strip_prefix(quote)?)));
        rest = match quoted {
            Some((quote, inside)) => {
                let (name, next) = inside.split_once(&*format!("{quote}]"))?;
                steps.push(Step::Member(name.to_owned()));
                next
            }
            None => {
                let (index, next) = after.split_once(']')?;
                steps.push(Step::Element(index.parse().ok()?));
                next
            }
        };
    }
    Some(steps)
}

/// Maximum number of bytes of pieces: 8 MiB, as for a whole event.
const MAX_BYTES: usize = 8 << 20;

/// Maximum number of members of an object and of elements of a list: more than any schema of a tool asks for.
const MAX_MEMBERS: usize = 1000;

/// Maximum depth of a value: more than any schema of a tool has.
const MAX_DEPTH: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_put_where_they_belong() {
        let mut args = PartialArgs::new();
        for piece in [
            r#"[{"jsonPath":"$.a[0].b","stringValue":"x\n","willContinue":true}]"#,
            r#"[{"jsonPath":"$.a[0].b","stringValue":"y"}]"#,
            r#"[{"jsonPath":"$.a[0].n","numberValue":0.50},{"jsonPath":"$['x y']","boolValue":true}]"#,
            r#"[{"jsonPath":"$.a[1].b","nullValue":"NULL_VALUE"},{"jsonPath":"a","numberValue":1},{"jsonPath":"$.a[0].b.c","numberValue":1}]"#,
        ] {
            args.take(piece);
        }
        assert_eq!(args.json().get(), r#"{"a":[{"b":"x\ny","n":0.50},{"b":null}],"x y":true}"#);
        assert_eq!(PartialArgs::new().json().get(), "{}");
    }

    #[test]
    fn what_is_far_too_much_is_left_out() {
        let mut args = PartialArgs::new();
        let deep = format!(r#"[{{"jsonPath":"$.a{}","numberValue":1}}]"#, ".b".repeat(MAX_DEPTH));
        args.take(&deep);
        args.take(r#"[{"jsonPath":"$.a[4000000000]","numberValue":1}]"#);
        assert_eq!(args.json().get(), r#"{"a":[]}"#);
    }
}
