//! Amounts of money in the configuration.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use crate::money::Amount;

/// An amount of dollars, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DollarSetting(pub(super) Option<Amount>);

impl<'de> Deserialize<'de> for DollarSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DollarVisitor)
    }
}

struct DollarVisitor;

impl Visitor<'_> for DollarVisitor {
    type Value = DollarSetting;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an amount of dollars, such as 10 or 2.50")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<DollarSetting, E> {
        match text {
            "none" => Ok(DollarSetting(None)),
            text => text.parse().map(|amount| DollarSetting(Some(amount))).map_err(de::Error::custom),
        }
    }

    fn visit_u64<E: de::Error>(self, dollars: u64) -> Result<DollarSetting, E> {
        self.visit_str(&dollars.to_string())
    }

    /// Reads the shortest decimal text that stands for the number, which is the one that was written.
    fn visit_f64<E: de::Error>(self, dollars: f64) -> Result<DollarSetting, E> {
        self.visit_str(&dollars.to_string())
    }
}

impl JsonSchema for DollarSetting {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Dollars".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number"], "pattern": "^([0-9]+(\\.[0-9]{1,9})?|none)$" })
    }
}
