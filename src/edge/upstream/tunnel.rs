//! Connections to providers through an HTTP proxy: the proxy is asked for a tunnel (`CONNECT`), in which TLS is spoken to
//! the provider itself.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::{Error, ErrorType};
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::edge::upstream::answer_head;
use crate::provider::{BaseUrl, Proxy};

/// The way through a proxy to a provider.
pub(super) struct Tunnel {
    proxy: Proxy,
    /// The provider's host and port.
    authority: String,
    /// The time for connecting to the proxy, and for its answer.
    time: Duration,
}

/// The reason for which a proxy has not given a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::edge) struct TunnelFailure(String);

impl Tunnel {
    pub(super) fn new(proxy: &Proxy, url: &BaseUrl, time: Duration) -> Self {
        let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
        Self { proxy: proxy.clone(), authority: format!("{host}:{}", url.port), time }
    }

    /// Returns the request for the tunnel.
    fn request(&self) -> String {
        let authority = &self.authority;
        let mut request = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n");
        if let Some(secret) = &self.proxy.authorization {
            request += &format!("proxy-authorization: {}\r\n", secret.expose_secret());
        }
        request + "\r\n"
    }

    async fn open(&self, address: std::net::SocketAddr) -> Result<TcpStream, TunnelFailure> {
        let failed = |error: std::io::Error| {
            TunnelFailure(match error.kind() {
                std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                _ => error.to_string(),
            })
        };
        let mut stream = TcpStream::connect(address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.write_all(self.request().as_bytes()).await.map_err(failed)?;
        let (mut bytes, mut part) = (Vec::new(), [0; 1024]);
        loop {
            match stream.read(&mut part).await.map_err(failed)? {
                0 => return Err(TunnelFailure("it has closed the connection".to_owned())),
                count => bytes.extend_from_slice(part.get(..count).unwrap_or_default()),
            }
            if let Some(tunnel) = answer(&bytes) {
                return tunnel.map(|()| stream);
            }
            if bytes.len() > MAX_ANSWER_BYTES {
                return Err(TunnelFailure("its answer has no end".to_owned()));
            }
        }
    }
}

/// Judges the bytes of a proxy's answer so far. Returns `None` if more have to come.
fn answer(mut bytes: &[u8]) -> Option<Result<(), TunnelFailure>> {
    loop {
        let (head, length) = match answer_head::read(bytes) {
            Ok(head) => head?,
            Err(_) => return Some(Err(TunnelFailure("it does not speak HTTP".to_owned()))),
        };
        bytes = bytes.get(length..).unwrap_or_default();
        if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS {
            continue;
        }
        return Some(match (head.status.is_success(), bytes.is_empty()) {
            (true, true) => Ok(()),
            // The provider says nothing before it is spoken to, so this is the proxy's.
            (true, false) => Err(TunnelFailure("it has written into the tunnel".to_owned())),
            (false, _) => Err(TunnelFailure(head.status.as_u16().to_string())),
        });
    }
}

#[async_trait]
impl L4Connect for Tunnel {
    async fn connect(&self, address: &SocketAddr) -> pingora::Result<Stream> {
        let failed = |kind, why| Err(Error::because(kind, "no tunnel", why));
        let SocketAddr::Inet(address) = address else {
            return failed(ErrorType::ConnectProxyFailure, TunnelFailure("it has no address".to_owned()));
        };
        match timeout(self.time, self.open(*address)).await {
            Ok(Ok(stream)) => Ok(stream.into()),
            Ok(Err(why)) => failed(ErrorType::ConnectProxyFailure, why),
            Err(_) => failed(ErrorType::ConnectTimedout, TunnelFailure("no tunnel in time".to_owned())),
        }
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tunnel({} to {})", self.proxy, self.authority)
    }
}

impl fmt::Display for TunnelFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proxy: {}", self.0)
    }
}

impl std::error::Error for TunnelFailure {}

/// The longest answer of a proxy. A chosen value: heads of 8 KiB pass common servers.
const MAX_ANSWER_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_begins_behind_the_head_of_a_good_answer() {
        let judged = |text: &str| answer(text.as_bytes()).map(|tunnel| tunnel.map_err(|why| why.to_string()));
        assert_eq!(judged("HTTP/1.1 200 OK\r\nvia: x\r\n"), None);
        assert_eq!(judged("HTTP/1.1 200 OK\r\nvia: x\r\n\r\n"), Some(Ok(())));
        assert_eq!(judged("HTTP/1.1 100 Continue\r\n\r\n"), None);
        assert_eq!(judged("HTTP/1.0 100 Continue\r\n\r\nHTTP/1.0 204 No\r\n\r\n"), Some(Ok(())));
        let refused = |why: &str| Some(Err(format!("proxy: {why}")));
        assert_eq!(judged("HTTP/1.1 407 Auth\r\ncontent-length: 3\r\n\r\nwho"), refused("407"));
        assert_eq!(judged("HTTP/1.1 101 Other\r\n\r\n"), refused("101"));
        assert_eq!(judged("HTTP/1.1 200 OK\r\n\r\nx"), refused("it has written into the tunnel"));
        assert_eq!(judged("SSH-2.0\r\n\r\n"), refused("it does not speak HTTP"));
    }

    #[test]
    fn the_request_names_the_provider() {
        let tunnel = |proxy: &str, url: &str| {
            Tunnel::new(&Proxy::parse(proxy).unwrap(), &BaseUrl::parse(url).unwrap(), Duration::ZERO)
        };
        assert_eq!(
            tunnel("http://u:p@proxy:1", "https://[::1]").request(),
            "CONNECT [::1]:443 HTTP/1.1\r\nhost: [::1]:443\r\nproxy-authorization: Basic dTpw\r\n\r\n"
        );
        let plain = tunnel("http://proxy:1", "https://a.example:8443/x");
        assert_eq!(plain.request(), "CONNECT a.example:8443 HTTP/1.1\r\nhost: a.example:8443\r\n\r\n");
        assert_eq!(format!("{plain:?}"), "Tunnel(proxy:1 to a.example:8443)");
    }
}
