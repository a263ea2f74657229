//! Lenient parsers for providers' counters, and for the words and objects beside them: none of them ever fails.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::canon::{Rate, Rates};
use crate::json;

/// A token count that never fails to parse. Fractions are rounded, null counts as absent, and anything else that
/// is not a non-negative number counts as zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count(pub(super) Option<u64>);

impl Count {
    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0.or(other.0))
    }

    pub(super) fn get(self) -> u64 {
        self.0.unwrap_or(0)
    }
}

/// A nested object. Anything else in its place counts as an empty object.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Nested<T>(pub(super) T);

/// A text. Anything else in its place counts as absent.
#[derive(Clone, Debug, Default)]
pub(super) struct Word(pub(super) Option<String>);

impl Word {
    /// Returns the rate that the word names as a service tier.
    pub(super) fn tier(&self) -> Option<Rate> {
        Rate::of_tier(self.0.as_deref()?)
    }

    pub(super) fn is(&self, word: &str) -> bool {
        self.0.as_deref() == Some(word)
    }
}

/// Returns the rates of an answer whose service tier is this literal.
pub(super) fn rates(tier: &[u8]) -> Rates {
    json::text(tier).and_then(|tier| Rate::of_tier(&tier)).into_iter().collect()
}

/// A value that never fails to parse, whatever stands in its place.
pub(super) trait AnyValue<'de>: Default {
    /// Returns the value for input without a reading of its own.
    fn odd() -> Self {
        Self::default()
    }

    fn integer(_: u64) -> Self {
        Self::odd()
    }

    fn fraction(_: f64) -> Self {
        Self::odd()
    }

    fn text(_: &str) -> Self {
        Self::odd()
    }

    fn object<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::odd())
    }

    fn list<A: SeqAccess<'de>>(mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::odd())
    }
}

impl AnyValue<'_> for Count {
    fn odd() -> Self {
        Self(Some(0))
    }

    fn integer(n: u64) -> Self {
        Self(Some(n))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, which is wanted"
    )]
    fn fraction(n: f64) -> Self {
        Self(Some(n.round() as u64))
    }
}

impl<'de, T: Deserialize<'de> + Default> AnyValue<'de> for Nested<T> {
    fn object<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Self)
    }
}

impl AnyValue<'_> for Word {
    fn text(word: &str) -> Self {
        Self(Some(word.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any_value(deserializer)
    }
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Nested<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any_value(deserializer)
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any_value(deserializer)
    }
}

/// Reads any value.
pub(super) fn any_value<'de, T: AnyValue<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(AnyVisitor(PhantomData))
}

struct AnyVisitor<T>(PhantomData<T>);

impl<'de, T: AnyValue<'de>> Visitor<'de> for AnyVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::odd())
    }

    fn visit_u64<E>(self, n: u64) -> Result<T, E> {
        Ok(T::integer(n))
    }

    fn visit_i64<E>(self, n: i64) -> Result<T, E> {
        Ok(T::integer(u64::try_from(n).unwrap_or(0)))
    }

    fn visit_f64<E>(self, n: f64) -> Result<T, E> {
        Ok(T::fraction(n))
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::text(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::object(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<T, A::Error> {
        T::list(seq)
    }
}

/// Web searches, by the names of the providers that count them.
#[derive(serde::Deserialize, Default)]
#[serde(default)]
pub(super) struct WebSearchesWire {
    web_search_requests: Count,
    web_search_calls: Count,
    x_search_calls: Count,
}

impl WebSearchesWire {
    pub(super) fn searches(&self) -> u64 {
        let calls = self.web_search_calls.get().saturating_add(self.x_search_calls.get());
        self.web_search_requests.get().max(calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_counts_never_fail() {
        let read = |json: &str| serde_json::from_str::<Count>(json).unwrap().0;
        assert_eq!(read("7"), Some(7));
        assert_eq!(read("null"), None);
        assert_eq!(read("2.6"), Some(3));
        for zero in ["-3", "\"9\"", "{\"a\":1}", "[1]", "true", "-0.5"] {
            assert_eq!(read(zero), Some(0), "{zero}");
        }
    }

    #[test]
    fn odd_words_and_objects_never_fail() {
        #[derive(serde::Deserialize, Default)]
        #[serde(default)]
        struct Object {
            count: Count,
            word: Word,
        }
        let read = |json: &str| {
            let Nested(object) = serde_json::from_str::<Nested<Object>>(json).unwrap();
            (object.count.get(), object.word.tier())
        };
        assert_eq!(read(r#"{"count":3,"word":"priority"}"#), (3, Some(Rate::Priority)));
        for odd in ["null", "7", "-7", "0.5", "true", "\"a\"", "[{\"count\":1}]", "{}"] {
            assert_eq!(read(odd), (0, None), "{odd}");
            assert_eq!(read(&format!("{{\"count\":1,\"word\":{odd}}}")), (1, None), "{odd}");
        }
    }
}
