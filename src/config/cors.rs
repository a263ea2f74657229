//! Cross-origin requests, which scripts in browsers make.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::located::Located;

/// The origins whose scripts may read answers (CORS), after all checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// The origins.
    pub origins: Origins,
    /// The time for which a browser may remember the answer to a preflight, in seconds.
    pub max_age: u64,
}

/// A set of origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// No origin.
    None,
    /// Every origin.
    Any,
    /// The origins of a list.
    Listed(BTreeSet<String>),
}

/// The settings of cross-origin requests: `off`, or a map.
#[derive(Clone, Debug)]
pub enum CorsSettings {
    /// They are answered as all others are, so that browsers keep the answers from scripts.
    Off,
    /// Scripts of some origins may read answers.
    On(CorsMembers),
}

/// Cross-origin requests (CORS): the origins whose scripts may call the gateway from a browser.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "CorsSettings")]
pub struct CorsMembers {
    /// The origins, for example `https://chat.example`, or `"*"` for every origin. Default: `"*"`.
    pub origins: OriginSettings,
    /// The time for which a browser may remember the answer to a preflight, in seconds. Default: 600.
    pub max_age: u64,
}

/// The settings of origins: `*`, or a list.
#[derive(Clone, Debug)]
pub enum OriginSettings {
    /// Every origin.
    Any,
    /// The origins of a list, with their places in the file.
    Listed(Vec<Located<String>>),
}

impl Cors {
    /// Whether scripts of an origin may read answers.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        match &self.origins {
            Origins::None => false,
            Origins::Any => true,
            Origins::Listed(origins) => origins.contains(origin),
        }
    }
}

/// Whether a text has the form of an origin, as browsers write it.
pub(super) fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return text == "null" };
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-._:[]".contains(&byte);
    !scheme.is_empty() && !host.is_empty() && scheme.bytes().chain(host.bytes()).all(plain)
}

impl Default for CorsSettings {
    fn default() -> Self {
        Self::On(CorsMembers::default())
    }
}

impl Default for CorsMembers {
    fn default() -> Self {
        Self { origins: OriginSettings::Any, max_age: 600 }
    }
}

impl<'de> Deserialize<'de> for CorsSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CorsVisitor)
    }
}

struct CorsVisitor;

impl<'de> Visitor<'de> for CorsVisitor {
    type Value = CorsSettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`off`, or a map of `origins` and `max_age`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<CorsSettings, E> {
        match text {
            "off" => Ok(CorsSettings::Off),
            _ => Err(E::invalid_value(de::Unexpected::Other("a text"), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CorsSettings, A::Error> {
        CorsMembers::deserialize(de::value::MapAccessDeserializer::new(map)).map(CorsSettings::On)
    }
}

impl<'de> Deserialize<'de> for OriginSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OriginsVisitor)
    }
}

struct OriginsVisitor;

impl<'de> Visitor<'de> for OriginsVisitor {
    type Value = OriginSettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`\"*\"`, or a list of origins")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<OriginSettings, E> {
        match text {
            "*" => Ok(OriginSettings::Any),
            _ => Err(E::invalid_value(de::Unexpected::Other("a text"), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OriginSettings, A::Error> {
        let mut origins = Vec::new();
        while let Some(origin) = seq.next_element()? {
            origins.push(origin);
        }
        Ok(OriginSettings::Listed(origins))
    }
}

impl JsonSchema for CorsSettings {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Cors".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let map = generator.subschema_for::<CorsMembers>();
        json_schema!({ "anyOf": [{ "const": "off" }, map] })
    }
}

impl JsonSchema for OriginSettings {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Origins".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "const": "*" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_have_the_form_that_browsers_give_them() {
        for origin in
            ["https://chat.example", "http://localhost:5173", "app://obsidian.md", "http://[::1]:80", "null"]
        {
            assert!(is_origin(origin), "{origin}");
        }
        for text in [
            "",
            "*",
            "chat.example",
            "https://chat.example/",
            "https://*.example",
            "HTTPS://x",
            "://x",
            "https://",
        ] {
            assert!(!is_origin(text), "{text}");
        }
    }
}
