//! The name in the certificate that a client has shown in the TLS handshake.

use std::sync::Arc;

use pingora::protocols::tls::SslDigest;
use pingora::protocols::{Digest, Stream};

/// The name in a client's certificate, which its connection carries along.
#[derive(Debug)]
pub(in crate::edge) struct ClientSubject(Box<str>);

impl ClientSubject {
    /// Reads the name from a certificate in DER: its subject or, if that is empty, its first alternative name.
    #[cfg(feature = "rustls")]
    pub(in crate::edge) fn read(der: &[u8]) -> Option<Self> {
        use x509_parser::extensions::GeneralName;
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        let subject = certificate.subject().to_string();
        if !subject.is_empty() {
            return Some(Self(subject.into()));
        }
        let names = certificate.subject_alternative_name().ok()??.value;
        let name = |name: &GeneralName<'_>| match name {
            GeneralName::URI(name) | GeneralName::DNSName(name) | GeneralName::RFC822Name(name) => {
                Some(Self((*name).into()))
            }
            _ => None,
        };
        names.general_names.iter().find_map(name)
    }

    /// Returns what is known of a TLS connection whose client has shown a certificate.
    pub(in crate::edge) fn digest(stream: &Stream) -> Option<Box<Digest>> {
        let ssl_digest = stream.get_ssl_digest().filter(|connection| Self::of(Some(connection)).is_some());
        let known = |ssl_digest| Digest {
            ssl_digest: Some(ssl_digest),
            timing_digest: Vec::new(),
            proxy_digest: None,
            socket_digest: None,
        };
        ssl_digest.map(known).map(Box::new)
    }

    /// Returns the name that a connection carries along, if its client has shown a certificate.
    pub(in crate::edge) fn of(connection: Option<&Arc<SslDigest>>) -> Option<&str> {
        connection?.extension.get::<Self>().map(|subject| &*subject.0)
    }
}
