//! The HTTP proxy through which a provider is reached.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

/// An HTTP proxy that is asked for a tunnel (`CONNECT`).
#[derive(Clone)]
pub struct Proxy {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The value of `proxy-authorization`, if the proxy wants to know who asks.
    pub authorization: Option<SecretString>,
}

impl Proxy {
    /// Parses the URL of a proxy: `http://host:port`, with a user and a password if they may be there. Without a scheme it
    /// is taken for `http`.
    ///
    /// # Errors
    /// Fails with the reason. The URL is not repeated: it may hold a secret.
    pub fn parse(url: &str) -> Result<Self, String> {
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", _)) => {
                return Err("must be an http:// proxy: TLS to proxies is not spoken".to_owned());
            }
            Some(_) => return Err("must begin with http://".to_owned()),
            None => url,
        };
        let (rest, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !path.is_empty() || rest.contains(['?', '#']) {
            return Err("must have neither path nor query".to_owned());
        }
        let (user, place) = rest.rsplit_once('@').map_or((None, rest), |(user, place)| (Some(user), place));
        let authority: http::uri::Authority =
            place.parse().map_err(|_| "has no valid host and port".to_owned())?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err("has no host".to_owned());
        }
        let authorization = user.map(basic).transpose()?;
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str() == authority.host() => DEFAULT_PORT,
            None => return Err("has no valid port".to_owned()),
        };
        Ok(Self { host: host.to_owned(), port, authorization })
    }

    /// Returns what only the gateway and the proxy may know.
    pub fn secret(&self) -> Option<&str> {
        self.authorization.as_ref().map(|secret| secret.expose_secret().trim_start_matches("Basic "))
    }
}

impl PartialEq for Proxy {
    fn eq(&self, other: &Self) -> bool {
        (&self.host, self.port, self.secret()) == (&other.host, other.port, other.secret())
    }
}

impl Eq for Proxy {}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// Returns the header for a user and a password as they stand in a URL.
fn basic(user: &str) -> Result<SecretString, String> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut pair = decoded(name).ok_or("has a user that is not percent-encoded rightly")?;
    pair.push(b':');
    pair.extend(decoded(password).ok_or("has a password that is not percent-encoded rightly")?);
    Ok(SecretString::from(format!("Basic {}", STANDARD.encode(pair))))
}

/// Decodes the percent-encoding of a part of a URL.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        out.extend_from_slice(rest.as_bytes());
    }
    Some(out)
}

/// Whether the hosts that environment variables except from their proxy (`NO_PROXY`) include this one. An entry is a name
/// with its subdomains, `.name`, an address, a network (`10.0.0.0/8`), one of these with a port, or `*`.
#[must_use]
pub fn is_excepted(list: &str, host: &str, port: u16) -> bool {
    let host = host.to_ascii_lowercase();
    let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
    list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        if entry == "*" {
            return true;
        }
        let (entry, wanted) = split_port(&entry);
        if wanted.is_some_and(|wanted| wanted != port) {
            return false;
        }
        if let Some(address) = address {
            return is_in_network(address, entry);
        }
        let name = entry.trim_start_matches("*.").trim_start_matches('.');
        host == name || host.strip_suffix(name).is_some_and(|before| before.ends_with('.'))
    })
}

/// Splits the port off an entry. An IPv6 address has one only behind brackets.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    if let Some((address, port)) = entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, port.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match entry.split_once(':') {
        Some((name, port)) if !port.contains(':') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

/// Whether an address is the one, or in the network, that an entry names.
fn is_in_network(address: IpAddr, entry: &str) -> bool {
    let (network, bits) = match entry.split_once('/') {
        Some((network, bits)) => (network, bits.parse::<u32>().ok()),
        None => (entry, Some(u32::MAX)),
    };
    let Some((network, bits)) = network.parse::<IpAddr>().ok().zip(bits) else { return false };
    match (address, network.to_canonical()) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let shift = 32 - bits.min(32);
            let prefix = |bits: u32| bits.checked_shr(shift);
            prefix(address.to_bits()) == prefix(network.to_bits())
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let shift = 128 - bits.min(128);
            let prefix = |bits: u128| bits.checked_shr(shift);
            prefix(address.to_bits()) == prefix(network.to_bits())
        }
        _ => false,
    }
}

/// Whether a host is this machine, which is never reached through a proxy of the environment.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let address = host.parse::<IpAddr>().ok();
    host.eq_ignore_ascii_case("localhost")
        || host.to_ascii_lowercase().ends_with(".localhost")
        || address.is_some_and(|address| address.to_canonical().is_loopback())
}

/// The port of a proxy whose URL names none. That is the one of its scheme.
const DEFAULT_PORT: u16 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_proxies_are_read() {
        let proxy = Proxy::parse("http://proxy.corp:3128").unwrap();
        assert_eq!((proxy.to_string().as_str(), proxy.secret()), ("proxy.corp:3128", None));
        assert_eq!(Proxy::parse("proxy.corp").unwrap().port, 80);
        assert_eq!(Proxy::parse("http://[::1]:8080/").unwrap().to_string(), "[::1]:8080");
        let proxy = Proxy::parse("http://u%40x:p%3aw@proxy.corp:1").unwrap();
        assert_eq!(proxy.authorization.as_ref().unwrap().expose_secret(), "Basic dUB4OnA6dw==");
        assert_eq!(format!("{proxy:?}"), "Proxy(proxy.corp:1)");
        for wrong in [
            "",
            "https://p:1",
            "socks5://p:1",
            "http://",
            "http://p:1/x",
            "http://p?x",
            "http://a%zz@p",
            "http://p:x",
        ] {
            assert!(Proxy::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_are_excepted_by_name_address_network_and_port() {
        for (list, host, port, expected) in [
            ("*", "api.openai.com", 443, true),
            ("openai.com", "openai.com", 443, true),
            ("openai.com", "api.openai.com", 443, true),
            ("openai.com", "myopenai.com", 443, false),
            (".openai.com", "api.openai.com", 443, true),
            ("*.openai.com", "API.OpenAI.com", 443, true),
            ("openai.com:8443", "api.openai.com", 443, false),
            ("openai.com:8443", "api.openai.com", 8443, true),
            ("x, 10.0.0.5 ,y", "10.0.0.5", 443, true),
            ("10.0.0.0/8", "10.200.3.4", 443, true),
            ("10.0.0.0/8", "11.0.0.1", 443, false),
            ("10.0.0.0/33", "10.0.0.0", 443, true),
            ("0.0.0.0/0", "11.0.0.1", 443, true),
            ("10.0.0.0/x", "10.0.0.0", 443, false),
            ("fd00::/8", "fd12::1", 443, true),
            ("::1", "::1", 443, true),
            ("[::1]:8443", "::1", 443, false),
            ("::ffff:10.0.0.5", "10.0.0.5", 443, true),
            ("10.0.0.5", "10.0.0.50", 443, false),
            ("", "x", 443, false),
            (",, ", "x", 443, false),
        ] {
            assert_eq!(is_excepted(list, host, port), expected, "{list:?} {host} {port}");
        }
        assert!(
            is_loopback("127.9.9.9")
                && is_loopback("LocalHost")
                && is_loopback("::1")
                && !is_loopback("10.0.0.1")
        );
    }
}
