//! The listener for operators, and the token that they show.

use std::borrow::Cow;
use std::fmt;
use std::net::ToSocketAddrs;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::auth::{OperatorToken, Role, Token};
use crate::located::Located;

use super::tls::TlsFiles;

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
    /// The operators' credentials for the admin API. The token above is one of them, with the role `read`.
    pub tokens: Vec<OperatorToken>,
    /// Whether the admin API is served where others than this machine can reach the address.
    pub plaintext: bool,
    /// The certificate and the key for TLS; absent: no TLS.
    pub tls: Option<TlsFiles>,
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
    /// Credentials of operators for the admin API. Default: none; `crossmodel token create` makes others.
    #[serde(default)]
    pub(super) tokens: Vec<Located<OperatorSettings>>,
    /// Whether the admin API is served without TLS at an address that others than this machine can reach: `allow`
    /// for a network that only operators can use. Default: it is not.
    pub(super) plaintext: Option<Plaintext>,
    /// The certificate and the key for TLS. Default: no TLS.
    pub(super) tls: Option<Located<TlsFiles>>,
}

/// The permission to serve the admin API without TLS.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Plaintext {
    /// It is served.
    Allow,
}

/// A credential of an operator.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OperatorSettings {
    /// The name, which the audit log shows.
    pub(super) name: String,
    /// Its rights: `read`, `keys` or `admin`. Each role includes those before it.
    pub(super) role: Role,
    /// A reference to the credential, which has at least 32 characters: `env:NAME` or `file:PATH`.
    pub(super) token: Option<Located<String>>,
    /// The SHA-256 of the credential, hexadecimal, instead of a reference.
    pub(super) sha256: Option<String>,
    /// The ids of the accounts that it sees and changes, with their keys. Default: all.
    pub(super) accounts: Option<Vec<String>>,
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
        f.write_str("an address, or a map of `address`, `token`, `hosts`, `tokens`, `plaintext` and `tls`")
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
