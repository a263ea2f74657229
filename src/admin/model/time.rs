//! Times and periods.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::store;

/// A time in seconds since the epoch; outside, RFC 3339 in UTC. A date stands for its first second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

/// A period in seconds; outside, a number with a unit: `90s`, `10m`, `24h`, `30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(pub i64);

impl Moment {
    /// Returns the present time.
    #[must_use]
    pub fn now() -> Self {
        Self(store::now())
    }

    /// Returns the date in UTC.
    #[must_use]
    pub fn date(self) -> String {
        self.to_string().split('T').next().unwrap_or_default().to_owned()
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        jiff::Timestamp::from_second(self.0).unwrap_or_default().fmt(f)
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(time) = text.parse::<jiff::Timestamp>() {
            return Ok(Self(time.as_second()));
        }
        let time = text.parse::<Date>().and_then(|date| TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)));
        let wrong = |_| format!("'{text}' is no time: write 2027-01-31 or 2027-01-31T12:00:00Z");
        time.map(|time| Self(time.as_second())).map_err(wrong)
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no period: write for example 90s, 10m, 24h or 30d");
        let unit = text.chars().next_back().ok_or_else(wrong)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(wrong()),
        };
        let number: u32 = text.strip_suffix(unit).unwrap_or_default().parse().map_err(|_| wrong())?;
        Ok(Self(i64::from(number) * seconds))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}s", self.0))
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Moment {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

impl JsonSchema for Period {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+[smhd]$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_periods_are_read_and_written() {
        let time: Moment = "2027-01-31".parse().unwrap();
        assert_eq!((time.to_string(), time.date()), ("2027-01-31T00:00:00Z".into(), "2027-01-31".into()));
        assert_eq!("2027-01-31T01:00:00+01:00".parse::<Moment>().unwrap(), time);
        assert!("tomorrow".parse::<Moment>().is_err());
        assert_eq!("90d".parse::<Period>().unwrap(), Period(7_776_000));
        // A command sends what it was told, and not the default.
        assert_eq!(serde_json::to_string(&Period(0)).unwrap(), r#""0s""#);
        assert_eq!(serde_json::from_str::<Period>(r#""7776000s""#).unwrap(), Period(7_776_000));
        for bad in ["", "d", "5", "-1d", "1.5h", "1w", "99999999999d", "1é"] {
            assert!(bad.parse::<Period>().is_err(), "{bad}");
        }
    }
}
