//! The address of a provider.

/// An `http` or `https` URL without query, user or fragment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    /// Whether it is `https`.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The path before every endpoint, for example `/v1`.
    pub path: String,
    /// The value of the `host` header.
    pub authority: String,
}

impl BaseUrl {
    /// Parses a URL. Without a path it gets `/v1`, the path of most providers' endpoints.
    ///
    /// # Errors
    /// Fails with the reason. The URL is not repeated: it may hold a secret.
    pub fn parse(url: &str) -> Result<Self, String> {
        let wrong = |why: &str| why.to_owned();
        let uri: http::Uri = url.parse().map_err(|_| wrong("is not a URL"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong("must begin with https:// or http://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("must not contain a user or a password"));
        }
        if uri.query().is_some() {
            return Err(wrong("must not have a query"));
        }
        let path = match uri.path().trim_end_matches('/') {
            "" => "/v1",
            path => path,
        };
        Ok(Self {
            tls,
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            path: path.to_owned(),
            authority: authority.as_str().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        let url = BaseUrl::parse("https://api.z.ai/api/paas/v4/").unwrap();
        assert_eq!((url.tls, url.port, url.path.as_str()), (true, 443, "/api/paas/v4"));
        let url = BaseUrl::parse("http://[::1]:9100").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("::1", 9100, "/v1"));
        assert_eq!(url.authority, "[::1]:9100");
        for bad in ["ftp://x", "x", "http://", "https://u:p@x/", "https://x?y=1", ""] {
            assert!(BaseUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
