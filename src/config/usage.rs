//! The settings of the retention of usage.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::meter::UsageRetention;

use super::days::Days;

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

impl UsageSettings {
    /// Returns the retention.
    #[must_use]
    pub fn retention(self) -> UsageRetention {
        let default = UsageRetention::default();
        let days = |days: Option<Days>, default| days.map_or(default, |Days(days)| i64::from(days));
        UsageRetention {
            hours: days(self.hours, default.hours),
            days: days(self.days, default.days),
            charges: days(self.charges, default.charges),
        }
    }
}
