//! A value of a document together with its path, for decoders that refuse values of the wrong type by their path.
//!
//! Null is the same as absent everywhere, so members that are null are skipped.

use std::borrow::Cow;

use crate::failure::{Failure, Kind, Result};
use crate::json::{self, Document, JsonStr, Lenient as _, MarkHint, Path, Raw};

/// One value of a request or an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a, 'p> {
    /// The value's own text.
    pub(super) text: &'a str,
    /// The place of the value.
    pub(super) path: Path<'p>,
    document: &'p Document<'p>,
    /// The mark near which the document finds the value.
    hint: MarkHint,
}

/// The types of JSON values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

impl<'a, 'p> Node<'a, 'p> {
    /// Wraps a document that is read once.
    pub(super) fn root(text: &'a str) -> Node<'a, 'static> {
        Node { text, path: Path::ROOT, document: Document::empty(), hint: MarkHint::ROOT }
    }

    /// A document.
    pub(super) fn of(document: &'p Document<'a>) -> Self {
        Node { text: document.text(), path: Path::ROOT, document, hint: MarkHint::ROOT }
    }

    /// Returns a member of this object, given its text.
    pub(super) fn at<'q>(&'q self, key: &'q str, text: &'a str) -> Node<'a, 'q> {
        Node { text, path: self.path.key(key), document: self.document, hint: self.hint }
    }

    /// Returns the node of a member that this object does not have.
    pub(super) fn missing<'q>(&'q self, key: &'q str) -> Node<'a, 'q> {
        self.at(key, "")
    }

    /// Returns the value's type, by its first byte.
    pub(super) fn kind(&self) -> Type {
        // Only a document can have bytes in front of its value.
        let text = match self.text.as_bytes() {
            [b'!'..=b'~', ..] => self.text,
            _ => self.text.trim_start_matches('\u{feff}').trim_start(),
        };
        match text.as_bytes().first() {
            Some(b'{') => Type::Object,
            Some(b'[') => Type::Array,
            Some(b'"') => Type::String,
            Some(b't' | b'f') => Type::Bool,
            Some(b'n') | None => Type::Null,
            Some(_) => Type::Number,
        }
    }

    /// Calls `take` with each member that is not null, key first. Of two equal keys the last one counts, if `take`
    /// lets later values replace earlier ones.
    ///
    /// # Errors
    /// Returns 400 if this is not an object, and the failure of `take` if it fails.
    pub(super) fn members(&self, mut take: impl FnMut(&str, Node<'a, '_>) -> Result<()>) -> Result<()> {
        if self.kind() != Type::Object {
            return Err(self.wrong("an object"));
        }
        for member in self.document.members(self.text.as_bytes(), self.hint) {
            let (member, hint) = member.map_err(|malformed| self.malformed(&malformed))?;
            let text = self.text.get(member.span.clone()).unwrap_or_default();
            if text == "null" {
                continue;
            }
            let key = key(self.text.get(member.key_span).unwrap_or_default());
            take(&key, Node { hint, ..self.at(&key, text) })?;
        }
        Ok(())
    }

    /// Calls `take` with each element.
    ///
    /// # Errors
    /// Returns 400 if this is not an array, and the failure of `take` if it fails.
    pub(super) fn items(&self, mut take: impl FnMut(Node<'a, '_>) -> Result<()>) -> Result<()> {
        if self.kind() != Type::Array {
            return Err(self.wrong("an array"));
        }
        for (index, element) in self.document.elements(self.text.as_bytes(), self.hint).enumerate() {
            let (span, hint) = element.map_err(|malformed| self.malformed(&malformed))?;
            let text = self.text.get(span).unwrap_or_default();
            take(Node { text, path: self.path.index(index), document: self.document, hint })?;
        }
        Ok(())
    }

    /// Returns the member with this name, if this is an object that has it and it is not null. It is meant for
    /// objects of which only one member is needed.
    pub(super) fn find(&self, name: &str) -> Option<Self> {
        let found = self.document.members(self.text.as_bytes(), self.hint).lenient();
        let (found, hint) = found.filter(|(member, _)| member.is(name)).last()?;
        let text = self.text.get(found.span).filter(|text| *text != "null")?;
        Some(Self { text, path: Path::ROOT, document: self.document, hint })
    }

    /// Returns a string with its escapes.
    pub(super) fn json_str(&self) -> Result<JsonStr<'a>> {
        self.document.json_str(self.text).ok_or_else(|| self.wrong("a string"))
    }

    /// Returns a string's text.
    pub(super) fn string(&self) -> Result<Cow<'a, str>> {
        self.json_str().map(JsonStr::into_text)
    }

    /// Returns true or false.
    pub(super) fn bool(&self) -> Result<bool> {
        match self.text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.wrong("true or false")),
        }
    }

    /// Returns a number with its original spelling.
    pub(super) fn number(&self) -> Result<Raw<'a>> {
        match self.kind() {
            Type::Number => self.document.raw(self.text).ok_or_else(|| self.wrong("a number")),
            _ => Err(self.wrong("a number")),
        }
    }

    /// Returns a count; fractions are rounded.
    pub(super) fn count(&self) -> Result<u64> {
        if let Ok(count) = self.text.parse() {
            return Ok(count);
        }
        let number: f64 = self.number()?.get().parse().map_err(|_| self.wrong("a number"))?;
        if number < 0.0 {
            return Err(self.wrong("a number from zero"));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` saturates, which is wanted"
        )]
        Ok(number.round() as u64)
    }

    /// Returns any value that is only carried, checked.
    pub(super) fn raw(&self) -> Result<Raw<'a>> {
        self.document.raw(self.text).ok_or_else(|| {
            Failure::new(Kind::InvalidJson, format!("'{}' is not valid JSON.", self.path))
                .with_param(self.path.to_string())
        })
    }

    /// Returns the refusal of a value that has the wrong type.
    pub(super) fn wrong(&self, expected: &str) -> Failure {
        let path = self.path.to_string();
        let top = path.split(['[', '.']).next().unwrap_or_default();
        let conversation = matches!(top, "messages" | "input" | "system" | "instructions" | "contents");
        let kind = if conversation { Kind::InvalidMessages } else { Kind::Unsupported };
        Failure::new(kind, format!("'{path}' must be {expected}.")).with_param(path)
    }

    fn malformed(&self, malformed: &json::Malformed) -> Failure {
        let message = format!("The request body is not a valid JSON object: {malformed} of '{}'.", self.path);
        Failure::new(Kind::InvalidJson, message)
    }
}

fn key(text: &str) -> Cow<'_, str> {
    if !text.as_bytes().contains(&b'\\') {
        return Cow::Borrowed(text);
    }
    let literal = format!("\"{text}\"");
    JsonStr::read(&literal).map_or(Cow::Borrowed(text), |lit| Cow::Owned(lit.into_text().into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_with_their_places_and_without_nulls() {
        let node = Node::root(r#" {"a":{"b":[1,"x"]},"n":null,"\u0063":true}"#);
        let mut seen = Vec::new();
        node.members(|key, value| {
            seen.push(format!("{key} {} {:?}", value.path, value.kind()));
            if key == "a" {
                value.members(|_, list| {
                    list.items(|item| {
                        seen.push(item.path.to_string());
                        Ok(())
                    })
                })?;
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, ["a a Object", "a.b[0]", "a.b[1]", "c c Bool"]);
    }

    #[test]
    fn wrong_types_are_named() {
        let wrong =
            Node::root(r#"{"messages":7}"#).members(|_, node| node.json_str().map(|_| ())).unwrap_err();
        assert_eq!((wrong.param(), wrong.code()), (Some("messages"), "invalid_messages"));
        let wrong =
            Node::root(r#"{"top_p":"0.7"}"#).members(|_, node| node.number().map(|_| ())).unwrap_err();
        assert_eq!(wrong.code(), "unsupported_parameter");
        assert_eq!(Node::root("2.6").count().unwrap(), 3);
        assert!(Node::root("-1").count().is_err() && Node::root("x").raw().is_err());
    }
}
