//! The settings of the retention of usage.

use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::meter::UsageRetention;

/// The time for which usage is kept.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UsageSettings {
    /// Usage by hour, which is then added up by day. Default: `35d`.
    pub hours: Option<Days>,
    /// Usage by day, and by tag. Default: `400d`.
    pub days: Option<Days>,
    /// The charges of calls that no wallet has paid for; their sums stay. Default: `35d`.
    pub charges: Option<Days>,
}

/// A number of days, such as `35d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days(i64);

impl UsageSettings {
    /// Returns the retention.
    #[must_use]
    pub fn retention(self) -> UsageRetention {
        let default = UsageRetention::default();
        let days = |days: Option<Days>, default| days.map_or(default, |Days(days)| days);
        UsageRetention {
            hours: days(self.hours, default.hours),
            days: days(self.days, default.days),
            charges: days(self.charges, default.charges),
        }
    }
}

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
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Days".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[0-9]+d$"})
    }
}

/// The longest time, in days: a hundred years.
const MAX_DAYS: i64 = 36_500;

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
