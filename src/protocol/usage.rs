//! Counters as providers write them: integers, and whatever else was seen in their place; and the words and objects
//! beside them, which never fail to parse either.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, Visitor};

use crate::canon::Rate;

/// A token count that never fails to parse: fractions are rounded, anything else that is not a number
/// from zero counts as zero, null as absent.
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

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountVisitor)
    }
}

/// An object inside of another one; anything else in its place is an empty one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Nested<T>(pub(super) T);

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Nested<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NestedVisitor(PhantomData))
    }
}

struct NestedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for NestedVisitor<T> {
    type Value = Nested<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Nested<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Nested)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Nested<T>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Nested::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Nested<T>, E> {
        Ok(Nested::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Nested<T>, E> {
        Ok(Nested::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Nested<T>, E> {
        Ok(Nested::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Nested<T>, E> {
        Ok(Nested::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Nested<T>, E> {
        Ok(Nested::default())
    }

    fn visit_unit<E>(self) -> Result<Nested<T>, E> {
        Ok(Nested::default())
    }
}

/// A text; absent where there is something else in its place.
#[derive(Clone, Debug, Default)]
pub(super) struct Word(pub(super) Option<String>);

impl Word {
    /// The rate that the word names as a tier of service.
    pub(super) fn tier(&self) -> Option<Rate> {
        Rate::of_tier(self.0.as_deref()?)
    }

    pub(super) fn is(&self, word: &str) -> bool {
        self.0.as_deref() == Some(word)
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordVisitor)
    }
}

struct WordVisitor;

impl<'de> Visitor<'de> for WordVisitor {
    type Value = Word;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E>(self, word: &str) -> Result<Word, E> {
        Ok(Word(Some(word.to_owned())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Word, E> {
        Ok(Word::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Word, E> {
        Ok(Word::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Word, E> {
        Ok(Word::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Word, E> {
        Ok(Word::default())
    }

    fn visit_unit<E>(self) -> Result<Word, E> {
        Ok(Word::default())
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Word, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Word::default())
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Word, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Word::default())
    }
}

struct CountVisitor;

impl<'de> Visitor<'de> for CountVisitor {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a count")
    }

    fn visit_u64<E>(self, n: u64) -> Result<Count, E> {
        Ok(Count(Some(n)))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Count, E> {
        Ok(Count(Some(u64::try_from(n).unwrap_or(0))))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, which is wanted"
    )]
    fn visit_f64<E>(self, n: f64) -> Result<Count, E> {
        Ok(Count(Some(n.round() as u64)))
    }

    fn visit_str<E>(self, _: &str) -> Result<Count, E> {
        Ok(Count(Some(0)))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Count, E> {
        Ok(Count(Some(0)))
    }

    fn visit_unit<E>(self) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Count, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Count(Some(0)))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Count, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Count(Some(0)))
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
