//! The files of a listener's certificate.

use std::path::PathBuf;

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
}
