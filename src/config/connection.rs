//! The way to a provider's server: proxy, authorities and client certificate.

use std::path::Path;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret as _;

use crate::located::{Located, SourcePosition};
use crate::private;
use crate::provider::{
    BaseUrl, ClientCertificate, ClientCertificateSettings, ProviderConnection, ProviderSettings, Proxy,
    is_excepted, is_loopback,
};

use super::build::Build;
use super::secret;

/// The provider whose connection is built.
#[derive(Clone, Copy)]
pub(super) struct Server<'s> {
    pub(super) name: &'s Located<String>,
    pub(super) url: &'s BaseUrl,
}

impl Build<'_> {
    /// Returns the way to a provider's server, as far as it is right.
    pub(super) fn connection(
        &mut self,
        server: Server<'_>,
        settings: &ProviderSettings,
        variable: &impl Fn(&str) -> Option<String>,
    ) -> ProviderConnection {
        let member = |member: &str| format!("providers.{}.{member}", server.name.value);
        ProviderConnection {
            proxy: self.proxy(server, settings.proxy.as_ref(), variable),
            authorities: settings.ca.as_ref().and_then(|file| {
                let path = self.folder.join(&file.value);
                self.certificates(&member("ca"), &path, file.place)
            }),
            certificate: settings.client_certificate.as_ref().and_then(|files| {
                self.client_certificate(&member("client_certificate"), &files.value, files.place)
            }),
        }
    }

    /// Returns the proxy of a provider, if it is reached through one.
    fn proxy(
        &mut self,
        Server { name, url }: Server<'_>,
        setting: Option<&Located<String>>,
        variable: &impl Fn(&str) -> Option<String>,
    ) -> Option<Proxy> {
        let member = format!("providers.{}.proxy", name.value);
        let (text, place) =
            setting.map_or(("env", name.place), |setting| (setting.value.as_str(), setting.place));
        let parsed = match text {
            "off" => return None,
            "env" => of_environment(url, variable)?,
            _ if !url.tls => Err("is for providers at https:// addresses".to_owned()),
            _ if secret::is_reference(text) => {
                let reference = Located { value: text.to_owned(), place };
                Proxy::parse(self.secret(&member, &reference, variable)?.expose_secret())
            }
            _ if text.contains('@') => {
                Err("holds a user or a password: give it by reference, `env:NAME` or `file:PATH`".to_owned())
            }
            url => Proxy::parse(url),
        };
        parsed.map_err(|why| self.report(place, format!("{member}: {why}"))).ok()
    }

    /// Returns the certificates of a file, as DER.
    fn certificates(&mut self, setting: &str, path: &Path, place: SourcePosition) -> Option<Vec<Vec<u8>>> {
        if self.defer_file(setting, path, place) {
            return None;
        }
        let file = path.display();
        let read = match std::fs::read(path) {
            Ok(pem) => certificates(&pem).map_err(|why| format!("{file}: {why}")),
            Err(why) => Err(format!("{file} cannot be read: {why}")),
        };
        self.watch_file(path);
        read.map_err(|why| self.report(place, format!("{setting}: {why}"))).ok()
    }

    fn client_certificate(
        &mut self,
        setting: &str,
        files: &ClientCertificateSettings,
        place: SourcePosition,
    ) -> Option<ClientCertificate> {
        let (certificate, key) = (self.folder.join(&files.certificate), self.folder.join(&files.key));
        let chain = self.certificates(&format!("{setting}.certificate"), &certificate, place);
        let setting = format!("{setting}.key");
        if self.defer_file(&setting, &key, place) {
            return None;
        }
        self.watch_file(&key);
        let read = private::read(&key).map_err(|why| format!("{} cannot be read: {why}", key.display()));
        let judged = read.and_then(|(pem, exposure)| Ok((pem, secret::judged(&key, exposure)?)));
        let (pem, exposed) = match judged {
            Ok((pem, exposed)) => (pem, exposed),
            Err(why) => {
                self.report(place, format!("{setting}: {why}"));
                return None;
            }
        };
        self.judge(setting.clone(), place, Ok(exposed));
        match PrivateKeyDer::from_pem_slice(pem.as_bytes()) {
            Ok(key) => Some(ClientCertificate { chain: chain?, key: key.secret_der().to_vec() }),
            Err(_) => {
                self.report(place, format!("{setting}: {} holds no private key", key.display()));
                None
            }
        }
    }
}

/// Returns the proxy that the environment names for a provider: none for this machine and for excepted hosts.
fn of_environment(
    url: &BaseUrl,
    variable: &impl Fn(&str) -> Option<String>,
) -> Option<Result<Proxy, String>> {
    if !url.tls || is_loopback(&url.host) {
        return None;
    }
    let first = |names: [&'static str; 2]| {
        names
            .into_iter()
            .find_map(|name| Some((name, variable(name).filter(|text| !text.trim().is_empty())?)))
    };
    let (name, proxy) = first(["HTTPS_PROXY", "https_proxy"])?;
    let excepted =
        first(["NO_PROXY", "no_proxy"]).is_some_and(|(_, list)| is_excepted(&list, &url.host, url.port));
    let parsed =
        || Proxy::parse(proxy.trim()).map_err(|why| format!("{name} {why}; `proxy: off` ignores it"));
    (!excepted).then(parsed)
}

/// Returns the certificates of a PEM file, as DER.
fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all: Vec<_> = all.unwrap_or_default().into_iter().map(|der| der.to_vec()).collect();
    if all.is_empty() || !all.iter().all(|der| is_certificate(der)) {
        return Err("there is no certificate in it, or a damaged one".to_owned());
    }
    if cfg!(not(feature = "rustls")) {
        return Err("the gateway was built with a TLS library for which this is not supported".to_owned());
    }
    Ok(all)
}

#[cfg(feature = "rustls")]
fn is_certificate(der: &[u8]) -> bool {
    x509_parser::parse_x509_certificate(der).is_ok_and(|(rest, _)| rest.is_empty())
}

#[cfg(not(feature = "rustls"))]
fn is_certificate(_: &[u8]) -> bool {
    true
}
