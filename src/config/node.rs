//! A YAML document as a tree that keeps places, and typed values that are read from it.
//!
//! A deserializer stops at its first error. To report all errors, the part of the tree that an error concerns is
//! cut off, and the rest is read again.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_saphyr::Spanned;

use crate::located::{self, SourcePosition};

use super::error::Problem;
use super::units::unit;

/// One value and its place.
#[derive(Clone, Debug)]
pub(super) struct ConfigNode {
    pub(super) place: SourcePosition,
    pub(super) kind: NodeKind,
}

#[derive(Clone, Debug)]
pub(super) enum NodeKind {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    List(Vec<ConfigNode>),
    Map(Vec<(ConfigNode, ConfigNode)>),
}

/// Reads a value, and reports all errors in it. Invalid parts are left out of the value. `cut` receives their
/// paths, in which elements of lists have no names.
pub(super) fn read<T: de::DeserializeOwned + Default>(
    mut node: ConfigNode,
    problems: &mut Vec<Problem>,
    cut: &mut Vec<String>,
) -> T {
    for _ in 0..MAX_PROBLEM_COUNT {
        match T::deserialize(&node) {
            Ok(value) => return value,
            Err(error) => {
                let place = error.place.unwrap_or(node.place);
                // A member that was cut off is invalid rather than missing, and that was reported.
                let was_cut = |name| cut.iter().any(|path| path.rsplit('.').next() == Some(name));
                let is_news = !error.missing.is_some_and(was_cut);
                let path = node.cut(place);
                if is_news {
                    let unit = path.as_deref().and_then(unit).filter(|_| error.expects_count);
                    let message = unit
                        .map_or_else(|| error.message.clone(), |unit| format!("{} {unit}", error.message));
                    problems.push(Problem { place, message });
                }
                match path {
                    Some(path) => cut.push(path),
                    None => return T::default(),
                }
            }
        }
    }
    T::default()
}

impl ConfigNode {
    /// Cuts off the innermost member or element at a place, and returns its path.
    fn cut(&mut self, place: SourcePosition) -> Option<String> {
        match &mut self.kind {
            NodeKind::List(items) => {
                if let Some(path) = items.iter_mut().find_map(|item| item.cut(place)) {
                    return Some(path);
                }
                let at = items.iter().position(|item| item.place == place)?;
                items.remove(at);
                Some(String::new())
            }
            NodeKind::Map(members) => {
                let inner = members.iter_mut().find_map(|(key, value)| Some((key, value.cut(place)?)));
                if let Some((key, path)) = inner {
                    let name = key.text().unwrap_or_default();
                    return Some(if path.is_empty() { name.to_owned() } else { format!("{name}.{path}") });
                }
                let at =
                    members.iter().position(|(key, value)| key.place == place || value.place == place)?;
                let (key, _) = members.remove(at);
                Some(key.text().unwrap_or_default().to_owned())
            }
            _ => None,
        }
    }

    /// Cuts off each member whose name a member of the same map has already, and reports it.
    pub(super) fn cut_repeated(&mut self, problems: &mut Vec<Problem>) {
        match &mut self.kind {
            NodeKind::List(items) => items.iter_mut().for_each(|item| item.cut_repeated(problems)),
            NodeKind::Map(members) => {
                let mut seen: BTreeMap<String, SourcePosition> = BTreeMap::new();
                members.retain_mut(|(key, value)| {
                    value.cut_repeated(problems);
                    let Some(name) = key.text() else { return true };
                    if let Some(first) = seen.get(name) {
                        let message = format!("'{name}' already exists in line {}", first.line);
                        problems.push(Problem { place: key.place, message });
                        return false;
                    }
                    seen.insert(name.to_owned(), key.place);
                    true
                });
            }
            _ => {}
        }
    }

    /// Returns the text, if this is a string.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the member `name`, if this is a map that has it.
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        match &self.kind {
            NodeKind::Map(members) => {
                members.iter().find(|(key, _)| key.text() == Some(name)).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// Returns the members, if this is a map.
    pub(super) fn members(&self) -> &[(Self, Self)] {
        match &self.kind {
            NodeKind::Map(members) => members,
            _ => &[],
        }
    }
}

impl<'de> Deserialize<'de> for ConfigNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<NodeKind>::deserialize(deserializer)?;
        let place = SourcePosition { line: spanned.referenced.line(), column: spanned.referenced.column() };
        Ok(Self { place, kind: spanned.value })
    }
}

impl<'de> Deserialize<'de> for NodeKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeKindVisitor)
    }
}

struct NodeKindVisitor;

impl<'de> Visitor<'de> for NodeKindVisitor {
    type Value = NodeKind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<NodeKind, E> {
        Ok(NodeKind::Null)
    }

    fn visit_none<E>(self) -> Result<NodeKind, E> {
        Ok(NodeKind::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<NodeKind, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<NodeKind, E> {
        Ok(NodeKind::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<NodeKind, E> {
        Ok(u64::try_from(value).map_or(NodeKind::Signed(value), NodeKind::Unsigned))
    }

    fn visit_u64<E>(self, value: u64) -> Result<NodeKind, E> {
        Ok(NodeKind::Unsigned(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<NodeKind, E> {
        Ok(NodeKind::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<NodeKind, E> {
        Ok(NodeKind::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<NodeKind, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(NodeKind::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NodeKind, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(NodeKind::Map(members))
    }
}

/// An error in a document, and its position once that is known.
#[derive(Debug)]
pub(super) struct NodeError {
    message: String,
    /// Whether a whole number was expected.
    expects_count: bool,
    /// The name of the member that is missing, if that is the error.
    missing: Option<&'static str>,
    place: Option<SourcePosition>,
}

impl NodeError {
    /// Sets the place, unless there is one: the innermost place is the first to be set, and it counts.
    fn at(mut self, place: SourcePosition) -> Self {
        self.place.get_or_insert(place);
        self
    }
}

impl NodeError {
    /// Makes the error of a value, with the words of operators for numbers and booleans.
    fn unexpected(found: &str, expected: &dyn de::Expected) -> Self {
        let expected = expected.to_string();
        let (words, expects_count) = match expected.as_str() {
            "u8" | "u16" | "u32" | "u64" | "usize" => ("a whole number", true),
            "f32" | "f64" => ("a number", false),
            "a boolean" => ("`true` or `false`", false),
            other => (other, false),
        };
        Self { expects_count, ..de::Error::custom(format_args!("{found}, expected {words}")) }
    }
}

impl de::Error for NodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), expects_count: false, missing: None, place: None }
    }

    fn missing_field(name: &'static str) -> Self {
        Self { missing: Some(name), ..Self::custom(format_args!("missing field `{name}`")) }
    }

    /// Makes the error of a wrong type. It does not repeat texts: in the wrong place, one may be a secret.
    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        match found {
            Unexpected::Str(_) => Self::unexpected("invalid type: string", expected),
            _ => Self::unexpected(&format!("invalid type: {found}"), expected),
        }
    }

    /// Makes the error of a value that does not fit its type.
    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        match found {
            Unexpected::Str(_) => Self::unexpected("invalid value", expected),
            _ => Self::unexpected(&format!("invalid value: {found}"), expected),
        }
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        let known: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
        Self::custom(format_args!("unknown name, expected one of {}", known.join(", ")))
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for NodeError {}

impl<'de> Deserializer<'de> for &'de ConfigNode {
    type Error = NodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NodeError> {
        match &self.kind {
            NodeKind::Null => visitor.visit_unit(),
            NodeKind::Bool(value) => visitor.visit_bool(*value),
            NodeKind::Signed(value) => visitor.visit_i64(*value),
            NodeKind::Unsigned(value) => visitor.visit_u64(*value),
            NodeKind::Float(value) => visitor.visit_f64(*value),
            NodeKind::Text(value) => visitor.visit_borrowed_str(value),
            NodeKind::List(items) => visitor.visit_seq(SequenceNodes(items.iter())),
            NodeKind::Map(members) => {
                visitor.visit_map(MapNodes { members: members.iter(), value: Cell::new(None) })
            }
        }
        .map_err(|error| error.at(self.place))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NodeError> {
        match self.kind {
            NodeKind::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    /// Reads an empty value, as in `limits:`, as a struct in which nothing is set.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NodeError> {
        if let NodeKind::List(_) = self.kind {
            // Nobody means members by position.
            let error: NodeError = de::Error::invalid_type(Unexpected::Seq, &visitor);
            return Err(error.at(self.place));
        }
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NodeError> {
        match self.kind {
            NodeKind::Null => visitor.visit_map(MapNodes { members: [].iter(), value: Cell::new(None) }),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, NodeError> {
        match name {
            located::NAME => visitor.visit_seq(LocatedParts { node: self, next: 0 }),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NodeError> {
        let name = self.text().ok_or_else(|| de::Error::custom("expected a name"));
        let choice = name.and_then(|name| visitor.visit_enum(VariantName(name)));
        choice.map_err(|error: NodeError| error.at(self.place))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct identifier ignored_any
    }
}

struct SequenceNodes<'de>(std::slice::Iter<'de, ConfigNode>);

impl<'de> SeqAccess<'de> for SequenceNodes<'de> {
    type Error = NodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, NodeError> {
        let item = self.0.next().map(|item| seed.deserialize(item).map_err(|error| error.at(item.place)));
        item.transpose()
    }
}

struct MapNodes<'de> {
    members: std::slice::Iter<'de, (ConfigNode, ConfigNode)>,
    value: Cell<Option<&'de ConfigNode>>,
}

impl<'de> MapAccess<'de> for MapNodes<'de> {
    type Error = NodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, NodeError> {
        let Some((key, value)) = self.members.next() else { return Ok(None) };
        self.value.set(Some(value));
        seed.deserialize(key).map(Some).map_err(|error| error.at(key.place))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, NodeError> {
        let value =
            self.value.take().ok_or_else(|| <NodeError as de::Error>::custom("a value without a key"))?;
        seed.deserialize(value).map_err(|error| error.at(value.place))
    }
}

/// The line, the column and the value, for [`located::Located`].
struct LocatedParts<'de> {
    node: &'de ConfigNode,
    next: u8,
}

impl<'de> SeqAccess<'de> for LocatedParts<'de> {
    type Error = NodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, NodeError> {
        self.next += 1;
        match self.next {
            1 => seed.deserialize(self.node.place.line.into_deserializer()).map(Some),
            2 => seed.deserialize(self.node.place.column.into_deserializer()).map(Some),
            3 => seed.deserialize(self.node).map(Some),
            _ => Ok(None),
        }
    }
}

struct VariantName<'de>(&'de str);

impl<'de> EnumAccess<'de> for VariantName<'de> {
    type Error = NodeError;
    type Variant = UnitVariant;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, UnitVariant), NodeError> {
        Ok((seed.deserialize(de::value::BorrowedStrDeserializer::new(self.0))?, UnitVariant))
    }
}

struct UnitVariant;

impl<'de> de::VariantAccess<'de> for UnitVariant {
    type Error = NodeError;

    fn unit_variant(self) -> Result<(), NodeError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, NodeError> {
        Err(de::Error::custom("expected a name"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, NodeError> {
        Err(de::Error::custom("expected a name"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, NodeError> {
        Err(de::Error::custom("expected a name"))
    }
}

/// The most problems that are reported of one file.
const MAX_PROBLEM_COUNT: usize = 100;
