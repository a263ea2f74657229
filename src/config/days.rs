//! Numbers of days in the configuration.

use std::borrow::Cow;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// A number of days, such as `35d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days(pub u32);

impl FromStr for Days {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let days = text.strip_suffix('d').and_then(|days| days.parse().ok());
        let days = days.filter(|days| (1..=MAX_DAYS).contains(days)).map(Self);
        days.ok_or_else(|| format!("'{text}' is no number of days from 1d to {MAX_DAYS}d"))
    }
}

impl<'de> Deserialize<'de> for Days {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Days {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Days".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[1-9][0-9]*d$" })
    }
}

/// The longest time, in days: a hundred years.
const MAX_DAYS: u32 = 36_500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_a_unit_and_a_range() {
        assert_eq!("35d".parse::<Days>(), Ok(Days(35)));
        for wrong in ["", "35", "0d", "-1d", "1h", "40000d"] {
            assert!(wrong.parse::<Days>().is_err(), "{wrong}");
        }
    }
}
