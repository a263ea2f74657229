//! The files of a listener's certificate.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

/// A certificate and its key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The path of the certificate chain, as PEM.
    pub certificate: PathBuf,
    /// The path of the private key, as PEM.
    pub key: PathBuf,
    /// The path of the certificates of the authorities that may vouch for clients, as PEM. Clients then show a
    /// certificate in the TLS handshake, and need a key all the same. Default: clients are not asked for certificates.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
    /// Whether each client has to show a certificate, if `client_ca` is set. Default: `required`.
    #[serde(default)]
    pub client_auth: ClientAuth,
}

impl TlsFiles {
    /// Takes relative paths as relative to a folder.
    pub(super) fn join(&mut self, folder: &Path) {
        for file in [&mut self.certificate, &mut self.key].into_iter().chain(&mut self.client_ca) {
            *file = folder.join(&file);
        }
    }
}

/// Whether clients have to show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// A handshake without a valid certificate fails.
    #[default]
    Required,
    /// A client may show none; an invalid one fails.
    Optional,
}
