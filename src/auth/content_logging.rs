//! The treatment of a key's calls by the content log.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether the content of a key's calls may be written to the content log, if there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ContentLogging {
    /// Yes.
    #[default]
    On,
    /// No, whatever the content log is for.
    Off,
}

impl ContentLogging {
    /// Returns the treatment that the store has.
    pub(crate) fn of_stored(is_on: bool) -> Self {
        if is_on { Self::On } else { Self::Off }
    }
}

impl fmt::Display for ContentLogging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::On { "on" } else { "off" })
    }
}

impl FromStr for ContentLogging {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::On, Self::Off];
        all.into_iter().find(|one| one.to_string() == text).ok_or_else(|| "write `on` or `off`".to_owned())
    }
}
