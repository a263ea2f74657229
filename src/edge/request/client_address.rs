//! The address of a client, which may be behind proxies.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

use crate::auth::AddressList;

/// Returns the address of the client behind a connection's peer. A proxy that is trusted names the address from which it
/// was called, after those that it was told of. The last address that belongs to no trusted proxy is the client's. If the
/// proxy names none, or something else, the peer is the client.
pub(in crate::edge) fn behind(
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    trusted: &AddressList,
) -> Option<IpAddr> {
    let peer = peer?;
    if trusted.is_empty() || !trusted.contains(peer) {
        return Some(peer);
    }
    Some(forwarded_for(headers, trusted).unwrap_or(peer))
}

/// Returns the last address of the header that is not trusted, or else the first one; `None` if there is none, or a part
/// of the header up to there is no address.
fn forwarded_for(headers: &HeaderMap, trusted: &AddressList) -> Option<IpAddr> {
    let mut client = None;
    for value in headers.get_all(FORWARDED_FOR).iter().rev() {
        for part in value.to_str().ok()?.rsplit(',') {
            let address = address(part.trim())?;
            client = Some(address);
            if !trusted.contains(address) {
                return client;
            }
        }
    }
    client
}

/// Parses an address, which some proxies write with its port.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

/// The header in which proxies name the clients that have called them.
const FORWARDED_FOR: &str = "x-forwarded-for";

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, values: &[&str]) -> String {
        let trusted = ["10.0.0.0/8", "fd00::/8"]
            .iter()
            .map(|block| block.parse::<crate::auth::AddressBlock>().unwrap());
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        behind(Some(peer.parse().unwrap()), &headers, &trusted.collect()).unwrap().to_string()
    }

    #[test]
    fn only_a_trusted_proxy_names_a_client() {
        assert_eq!(client("192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("::ffff:10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn a_client_cannot_put_an_address_before_the_proxys() {
        for values in
            [&["1.1.1.1, 203.0.113.9"][..], &["1.1.1.1", "203.0.113.9"], &["garbage, 203.0.113.9, 10.0.0.2"]]
        {
            assert_eq!(client("10.0.0.1", values), "203.0.113.9", "{values:?}");
        }
        assert_eq!(client("10.0.0.1", &["10.0.0.3, fd00::7"]), "10.0.0.3", "a client of the own network");
    }

    #[test]
    fn what_is_no_address_names_nobody() {
        for value in ["", "unknown", "203.0.113.9,", "203.0.113.9, _hidden", "203.0.113.9, 1.2.3.4.5"] {
            assert_eq!(client("10.0.0.1", &[value]), "10.0.0.1", "{value}");
        }
        assert_eq!(client("10.0.0.1", &["203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &["::ffff:203.0.113.9"]), "203.0.113.9");
    }
}
