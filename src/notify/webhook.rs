//! A receiver of events.

use super::event::EventKind;
use super::format::WebhookFormat;
use super::signature::WebhookSecret;

/// A receiver of events, as it is configured.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// The name.
    pub name: String,
    /// The address.
    pub url: WebhookUrl,
    /// The secrets that sign: two while a secret is replaced.
    pub secrets: Vec<WebhookSecret>,
    /// The patterns of the kinds of events.
    pub events: Vec<String>,
    /// The form of bodies.
    pub format: WebhookFormat,
}

/// The address of a receiver. It may contain a secret, so it is never written anywhere.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl {
    /// Whether it is `https`.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The value of the `host` header.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

impl Webhook {
    /// Returns the parts that may come from a reference, for a digest that tells whether they have changed.
    pub fn secret_parts(&self) -> impl Iterator<Item = &[u8]> {
        self.secrets
            .iter()
            .map(WebhookSecret::bytes)
            .chain([self.url.authority.as_bytes(), self.url.path.as_bytes()])
    }

    /// Whether the receiver wants events of a kind.
    #[must_use]
    pub fn wants(&self, kind: EventKind) -> bool {
        kind == EventKind::WebhookTest || self.events.iter().any(|pattern| kind.matches(pattern))
    }
}

impl WebhookUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// Fails with the reason. The URL is not repeated.
    pub fn parse(url: &str) -> Result<Self, String> {
        let uri: http::Uri = url.parse().map_err(|_| "is not a URL".to_owned())?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("must begin with https:// or http://".to_owned()),
        };
        let authority = uri.authority().ok_or("has no host")?;
        if authority.as_str().contains('@') {
            return Err("must not contain a user or a password".to_owned());
        }
        Ok(Self {
            tls,
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }
}

impl std::fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookUrl").field("host", &self.host).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_a_host_and_no_user() {
        let url = WebhookUrl::parse("https://hooks.example/a/b?c=d").unwrap();
        assert_eq!((url.tls, &*url.host, url.port, &*url.path), (true, "hooks.example", 443, "/a/b?c=d"));
        let url = WebhookUrl::parse("http://[::1]:8080").unwrap();
        assert_eq!((url.tls, &*url.host, url.port, &*url.path), (false, "::1", 8080, "/"));
        for wrong in ["hooks.example", "ftp://x", "https://u:p@x/", "https://", "not a url"] {
            assert!(WebhookUrl::parse(wrong).is_err(), "{wrong}");
        }
        assert!(!format!("{:?}", WebhookUrl::parse("https://x/secret").unwrap()).contains("secret"));
    }
}
