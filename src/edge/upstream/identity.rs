//! The certificates with which the gateway and a provider's server show each other who they are.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use pingora::upstreams::peer::HttpPeer;

use crate::edge::wire::quirks::group;
use crate::provider::{BaseUrl, ProviderConnection};

/// Gives a peer the authorities and the certificate of its provider. Connections of different ways are kept apart.
pub(super) fn identify(peer: &mut HttpPeer, connection: &ProviderConnection, url: &BaseUrl) {
    if *connection == ProviderConnection::default() {
        return;
    }
    let mut hasher = DefaultHasher::new();
    (connection, url).hash(&mut hasher);
    peer.group_key = group(hasher.finish());
    #[cfg(feature = "rustls")]
    backend::identify(peer, connection);
}

#[cfg(feature = "rustls")]
mod backend {
    use std::sync::Arc;

    use pingora::upstreams::peer::HttpPeer;
    use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};

    use crate::provider::ProviderConnection;

    /// The configuration has checked that these are certificates and a private key.
    pub(super) fn identify(peer: &mut HttpPeer, connection: &ProviderConnection) {
        if let Some(authorities) = &connection.authorities {
            let wrapped = authorities.iter().map(|der| WrappedX509::new(der.clone(), parse_x509));
            peer.options.ca = Some(wrapped.collect());
        }
        if let Some(certificate) = connection.certificate.as_ref().filter(|one| !one.chain.is_empty()) {
            let pair = CertKey::new(certificate.chain.clone(), certificate.key.clone());
            peer.client_cert_key = Some(Arc::new(pair));
        }
    }
}
