//! The way to a provider: its address, resolved in good time, as Pingora wants it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use pingora::protocols::ALPN;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy, PeerOptions};

use crate::config::Timeouts;
use crate::failure::{Failure, Kind, Result};
use crate::provider::{HttpVersion, Provider};

/// A provider and the last address that its name had.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) provider: Arc<Provider>,
    timeouts: Timeouts,
    resolved: ArcSwapOption<Resolved>,
}

#[derive(Debug)]
struct Resolved {
    peer: HttpPeer,
    until: Option<Instant>,
}

impl Upstream {
    pub(super) fn new(provider: Arc<Provider>, timeouts: Timeouts) -> Self {
        let upstream = Self { provider, timeouts, resolved: ArcSwapOption::empty() };
        if let Ok(ip) = upstream.provider.base_url.host.parse::<IpAddr>() {
            let peer = upstream.peer_at(SocketAddr::new(ip, upstream.provider.base_url.port));
            upstream.resolved.store(Some(Arc::new(Resolved { peer, until: None })));
        }
        upstream
    }

    /// The peer to connect to.
    ///
    /// # Errors
    /// 502 when the name can not be resolved.
    pub(super) async fn peer(&self) -> Result<Box<HttpPeer>> {
        if let Some(resolved) = &*self.resolved.load()
            && resolved.until.is_none_or(|until| Instant::now() < until)
        {
            return Ok(Box::new(resolved.peer.clone()));
        }
        let url = &self.provider.base_url;
        let found = tokio::net::lookup_host((url.host.as_str(), url.port)).await;
        let address = found.ok().and_then(|mut all| all.next());
        let Some(address) = address else {
            // An old address is better than none.
            return match &*self.resolved.load() {
                Some(resolved) => Ok(Box::new(resolved.peer.clone())),
                None => Err(Failure::provider("the provider's host name can not be resolved")),
            };
        };
        let peer = self.peer_at(address);
        let until = Some(Instant::now() + RESOLVED_FOR);
        self.resolved.store(Some(Arc::new(Resolved { peer: peer.clone(), until })));
        Ok(Box::new(peer))
    }

    fn peer_at(&self, address: SocketAddr) -> HttpPeer {
        let url = &self.provider.base_url;
        let mut peer = HttpPeer::new(address, url.tls, url.host.clone());
        peer.options = self.options();
        peer
    }

    fn options(&self) -> PeerOptions {
        let mut options = PeerOptions::new();
        options.alpn = match (self.provider.http, self.provider.base_url.tls) {
            (HttpVersion::Auto, true) => ALPN::H2H1,
            (HttpVersion::H2, _) => ALPN::H2,
            (HttpVersion::Auto | HttpVersion::H1, _) => ALPN::H1,
        };
        options.connection_timeout = Some(Duration::from_secs(self.timeouts.connect));
        options.total_connection_timeout = Some(Duration::from_secs(self.timeouts.connect.saturating_mul(2)));
        options.read_timeout = Some(Duration::from_secs(self.timeouts.silence));
        options.write_timeout = Some(Duration::from_secs(self.timeouts.write));
        options.idle_timeout = Some(IDLE);
        options.max_h2_streams = H2_STREAMS;
        options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
        options
    }
}

/// The failure for an exchange whose provider left the configuration between two hooks.
pub(super) fn unknown() -> Failure {
    Failure::new(Kind::Internal, "The provider is not configured.")
}

/// How long an address is believed.
const RESOLVED_FOR: Duration = Duration::from_secs(30);

/// How long an unused connection is kept: most servers close theirs after 60 s or more.
const IDLE: Duration = Duration::from_secs(55);

/// Streams on one HTTP/2 connection: what most servers allow.
const H2_STREAMS: usize = 100;
