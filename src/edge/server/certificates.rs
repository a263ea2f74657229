//! The TLS certificates of listeners. With rustls, the default backend, they can be replaced while they are in
//! use; with another backend they stay as they were at the start.

use std::path::PathBuf;

use pingora::listeners::tls::TlsSettings;

use crate::config::{AdminListener, ConfigError, Listener, TlsFiles};
use crate::edge::server::probe::certificate_file_ends;

/// The certificates of all listeners that have one.
#[derive(Debug, Default)]
pub(in crate::edge) struct Certificates(Vec<Kept>);

/// The certificate of one listener.
#[derive(Debug)]
struct Kept {
    address: String,
    files: TlsFiles,
    in_force: backend::InForce,
}

/// The result of reading a certificate again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) enum Renewal {
    /// There is a new certificate.
    New,
    /// The new files are not a valid certificate; the previous one stays in use.
    Refused,
}

impl Certificates {
    /// Makes the TLS settings of a listener, and keeps its certificate from now on.
    ///
    /// # Errors
    /// Fails if the files do not contain a certificate and its key.
    pub(in crate::edge) fn settings(
        &mut self,
        address: &str,
        files: &TlsFiles,
    ) -> Result<TlsSettings, ConfigError> {
        let mut settings = self.settings_for_http1(address, files)?;
        settings.enable_h2();
        Ok(settings)
    }

    /// Makes the TLS settings of a listener without HTTP/2.
    ///
    /// # Errors
    /// As [`Self::settings`].
    pub(in crate::edge) fn settings_for_http1(
        &mut self,
        address: &str,
        files: &TlsFiles,
    ) -> Result<TlsSettings, ConfigError> {
        let failed = |why| ConfigError::plain(format!("the certificate for {address}: {why}"));
        let (settings, in_force) = backend::settings(files).map_err(failed)?;
        self.0.push(Kept { address: address.to_owned(), files: files.clone(), in_force });
        Ok(settings)
    }

    /// Returns the files of the certificates.
    pub(in crate::edge) fn files(&self) -> Vec<PathBuf> {
        self.0.iter().flat_map(|kept| [kept.files.certificate.clone(), kept.files.key.clone()]).collect()
    }

    /// Returns the addresses of the listeners and the ends of their certificates, in seconds since the epoch.
    pub(in crate::edge) fn ends(&self) -> impl Iterator<Item = (String, i64)> {
        self.0.iter().filter_map(|kept| {
            let pem = std::fs::read(&kept.files.certificate).ok()?;
            Some((kept.address.clone(), certificate_file_ends(&pem)?))
        })
    }

    /// Takes the names of files from a new configuration, for the listeners that are in both.
    pub(in crate::edge) fn rename(&mut self, listeners: &[Listener], admin: Option<&AdminListener>) {
        for kept in &mut self.0 {
            let same = listeners.iter().find(|listener| listener.address == kept.address);
            let admin = admin.filter(|admin| admin.address == kept.address);
            let files = same.and_then(|listener| listener.tls.as_ref());
            if let Some(files) = files.or_else(|| admin.and_then(|admin| admin.tls.as_ref())) {
                kept.files.clone_from(files);
            }
        }
    }

    /// Reads all files again, and returns the results for those with new contents.
    pub(in crate::edge) fn renew(&self) -> Vec<Renewal> {
        let renew = |kept: &Kept| match backend::renew(&kept.in_force, &kept.files) {
            Ok(true) => {
                log::info!("{} has a new certificate", kept.address);
                Some(Renewal::New)
            }
            Ok(false) => None,
            Err(why) => {
                log::error!("the certificate for {} stays as it was: {why}", kept.address);
                Some(Renewal::Refused)
            }
        };
        self.0.iter().filter_map(renew).collect()
    }
}

#[cfg(feature = "rustls")]
mod backend {
    use std::any::Any;
    use std::path::Path;
    use std::sync::Arc;

    use arc_swap::ArcSwap;
    use async_trait::async_trait;
    use pingora::listeners::TlsAccept;
    use pingora::listeners::tls::TlsSettings;
    use pingora::protocols::tls::TlsRef;
    use pingora::tls::sign::CertifiedKey;
    use pingora::tls::{
        CertificateDer, ClientCertVerifier, ClientHello, CryptoProvider, ResolvesServerCert, RootCertStore,
        WebPkiClientVerifier, install_default_crypto_provider, load_certs_and_key_files,
    };
    use rustls_pki_types::pem::PemObject as _;

    use crate::config::{ClientAuth, TlsFiles};
    use crate::edge::wire::client_subject::ClientSubject;

    /// A certificate that can be replaced. Pingora holds it, too.
    #[derive(Clone, Debug)]
    pub(in crate::edge) struct InForce(Arc<ArcSwap<CertifiedKey>>);

    impl ResolvesServerCert for InForce {
        fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(self.0.load_full())
        }
    }

    /// A reader of the names in clients' certificates.
    struct NamedClients;

    #[async_trait]
    impl TlsAccept for NamedClients {
        async fn handshake_complete_callback(&self, tls: &TlsRef) -> Option<Arc<dyn Any + Send + Sync>> {
            Some(Arc::new(ClientSubject::read(tls.peer_certificate_der()?)?))
        }
    }

    pub(in crate::edge) fn settings(files: &TlsFiles) -> Result<(TlsSettings, InForce), String> {
        let in_force = InForce(Arc::new(ArcSwap::from_pointee(read(files)?)));
        let (certificate, key) = (files.certificate.to_string_lossy(), files.key.to_string_lossy());
        let mut settings = match files.client_ca {
            None => TlsSettings::intermediate(&certificate, &key),
            Some(_) => TlsSettings::with_callbacks(Box::new(NamedClients)),
        }
        .map_err(|e| e.to_string())?;
        settings.set_cert_resolver(Arc::new(in_force.clone()));
        if let Some(file) = &files.client_ca {
            settings.set_client_cert_verifier(verifier(file, files.client_auth)?);
        }
        Ok((settings, in_force))
    }

    /// Puts the contents of the files into effect, and returns whether the certificate is another one.
    pub(in crate::edge) fn renew(in_force: &InForce, files: &TlsFiles) -> Result<bool, String> {
        let read = read(files)?;
        let is_new = read.cert != in_force.0.load().cert;
        in_force.0.store(Arc::new(read));
        Ok(is_new)
    }

    /// Makes the verifier of clients' certificates.
    fn verifier(file: &Path, auth: ClientAuth) -> Result<Arc<dyn ClientCertVerifier>, String> {
        let failed = |why: &dyn std::fmt::Display| format!("client_ca: {}: {why}", file.display());
        let pem = std::fs::read(file).map_err(|e| failed(&e))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|_| failed(&"a damaged certificate"))?;
            roots.add(certificate).map_err(|e| failed(&e))?;
        }
        install_default_crypto_provider();
        let builder = WebPkiClientVerifier::builder(Arc::new(roots));
        let builder = match auth {
            ClientAuth::Required => builder,
            ClientAuth::Optional => builder.allow_unauthenticated(),
        };
        builder.build().map_err(|e| failed(&e))
    }

    fn read(files: &TlsFiles) -> Result<CertifiedKey, String> {
        let (certificate, key) = (files.certificate.to_string_lossy(), files.key.to_string_lossy());
        // Pingora's errors name the file and the problem in two parts.
        let loaded = load_certs_and_key_files(&certificate, &key).map_err(|e| e.to_string())?;
        let Some((chain, key)) = loaded else {
            return Err(format!(
                "there is no certificate in {certificate}, or no key in {}",
                files.key.display()
            ));
        };
        install_default_crypto_provider();
        let provider = CryptoProvider::get_default().ok_or("there is no cryptography")?;
        let pair = CertifiedKey::from_der(chain, key, provider).map_err(|e| e.to_string())?;
        // No client could use such a certificate, for example because the file was cut off.
        pair.end_entity_cert().map_err(|e| e.to_string())?;
        Ok(pair)
    }
}

#[cfg(not(feature = "rustls"))]
mod backend {
    use pingora::listeners::tls::TlsSettings;

    use crate::config::TlsFiles;

    #[derive(Debug)]
    pub(in crate::edge) struct InForce;

    pub(in crate::edge) fn settings(files: &TlsFiles) -> Result<(TlsSettings, InForce), String> {
        if files.client_ca.is_some() {
            return Err(
                "client_ca is not supported with the TLS library that the gateway was built with".to_owned()
            );
        }
        let (certificate, key) = (files.certificate.to_string_lossy(), files.key.to_string_lossy());
        let settings = TlsSettings::intermediate(&certificate, &key).map_err(|e| e.to_string())?;
        Ok((settings, InForce))
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is what the other backend can do")]
    pub(in crate::edge) fn renew(_: &InForce, _: &TlsFiles) -> Result<bool, String> {
        Ok(false)
    }
}
