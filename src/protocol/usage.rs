//! Counters as providers write them: integers, and whatever else was seen in their place.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

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
        while map.next_entry::<de::IgnoredAny, de::IgnoredAny>()?.is_some() {}
        Ok(Count(Some(0)))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Count, A::Error> {
        while seq.next_element::<de::IgnoredAny>()?.is_some() {}
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
}
