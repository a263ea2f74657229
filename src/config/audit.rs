//! The settings of the audit log.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de;
use serde::{Deserialize, Deserializer};

/// The settings of the audit log, which tells who has changed what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuditSettings {
    /// The time for which changes are remembered, in days: `400d`. Default: `400d`.
    pub keep: Days,
}

/// A number of days; outside, with the unit `d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days(pub u32);

impl Default for Days {
    fn default() -> Self {
        Self(DEFAULT_DAYS)
    }
}

impl<'de> Deserialize<'de> for Days {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let days = text.strip_suffix('d').and_then(|number| number.parse().ok()).filter(|days| *days > 0);
        days.map(Self)
            .ok_or_else(|| de::Error::custom(format!("'{text}' is no number of days, such as 400d")))
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

/// The days for which changes are remembered if the file names none.
const DEFAULT_DAYS: u32 = 400;

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn days_have_a_unit() {
        let keep = |text: &str| {
            let text = format!("providers: {{demo: {{}}}}\n{text}");
            Config::parse(&text, |_| None)
                .map(|config| config.audit.keep.0)
                .map_err(|error| error.to_string())
        };
        assert_eq!([keep("").unwrap(), keep("audit: {keep: 30d}").unwrap()], [400, 30]);
        for wrong in ["30", "0d", "4w", "-1d"] {
            let error = keep(&format!("audit: {{keep: \"{wrong}\"}}")).unwrap_err();
            assert!(error.contains("is no number of days"), "{error}");
        }
    }
}
