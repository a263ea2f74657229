//! The way to a provider's server, where it is not the usual one.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;

use schemars::JsonSchema;
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use super::proxy::Proxy;

/// The certificate that the gateway shows to a provider.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificateSettings {
    /// The path of the certificate chain, as PEM.
    pub certificate: PathBuf,
    /// The path of the private key, as PEM.
    pub key: PathBuf,
}

/// The way to a provider's server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProviderConnection {
    /// The proxy; absent: the server is connected to directly.
    pub proxy: Option<Proxy>,
    /// The certificates of the authorities that may vouch for the server, as DER; absent: those of the system.
    pub authorities: Option<Vec<Vec<u8>>>,
    /// The certificate that is shown to the server.
    pub certificate: Option<ClientCertificate>,
}

/// A certificate chain and its private key, as DER.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    /// The certificates, the gateway's own one first.
    pub chain: Vec<Vec<u8>>,
    /// The private key.
    pub key: Vec<u8>,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

impl Hash for Proxy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.host, self.port).hash(state);
        self.authorization.as_ref().map(|secret| secret.expose_secret()).hash(state);
    }
}
