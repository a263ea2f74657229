//! The listener for operators, and the token that they show.

use std::borrow::Cow;
use std::fmt;
use std::net::ToSocketAddrs;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::auth::Token;
use crate::located::Located;

/// The listener for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminListener {
    /// `host:port`.
    pub address: String,
    /// The token that operators show. If it is absent, the console is served on loopback only.
    pub token: Option<Token>,
    /// Host names under which the listener may be called without a token, besides addresses and the names of this
    /// machine.
    pub hosts: Vec<String>,
}

/// The settings of the admin listener: an address, or a map.
#[derive(Clone, Debug, Default)]
pub struct AdminSettings(pub(super) AdminMembers);

/// The address of the listener for operators, and the token that they have to show.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AdminSettings")]
pub(super) struct AdminMembers {
    /// The address. Default: `127.0.0.1:9090`.
    pub(super) address: Option<Located<String>>,
    /// A reference to the token that operators have to show for the console and `/metrics`: `env:NAME` or
    /// `file:PATH`. Default: none, and the console is served on loopback only.
    pub(super) token: Option<Located<String>>,
    /// Host names under which the listener may be called without a token, for example a service name in a network
    /// of containers. Under any name other than these, an address or `localhost`, it only serves the health
    /// checks. Default: none.
    #[serde(default)]
    pub(super) hosts: Vec<String>,
}

impl AdminListener {
    /// Whether the address is a loopback address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let addresses = self.address.to_socket_addrs();
        addresses.is_ok_and(|mut all| all.all(|address| address.ip().to_canonical().is_loopback()))
    }

    /// Returns the names of the listener: the host of its address without the port, and the configured names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
        std::iter::once(host).chain(self.hosts.iter().map(String::as_str))
    }
}

impl<'de> Deserialize<'de> for AdminSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AdminVisitor)
    }
}

struct AdminVisitor;

impl<'de> Visitor<'de> for AdminVisitor {
    type Value = AdminSettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address, or a map of `address`, `token` and `hosts`")
    }

    fn visit_str<E: de::Error>(self, address: &str) -> Result<AdminSettings, E> {
        Ok(AdminSettings(AdminMembers {
            address: Some(address.to_owned().into()),
            ..AdminMembers::default()
        }))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AdminSettings, A::Error> {
        AdminMembers::deserialize(de::value::MapAccessDeserializer::new(map)).map(AdminSettings)
    }
}

impl JsonSchema for AdminSettings {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AdminListener".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let map = generator.subschema_for::<AdminMembers>();
        json_schema!({ "anyOf": [{ "type": "string" }, map] })
    }
}
