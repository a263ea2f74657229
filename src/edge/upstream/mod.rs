//! The connection data of a provider: the addresses of its host, in Pingora's form, and its timeouts.

mod answer_head;
pub(in crate::edge) mod betas;
pub(in crate::edge) mod connection;
mod endpoints;
pub(in crate::edge) mod guard_service;
mod http1;
mod identity;
mod idle;
pub(in crate::edge) mod pace;
pub(in crate::edge) mod reason;
pub(in crate::edge) mod resolver;
pub(in crate::edge) mod transport;
pub(in crate::edge) mod tunnel;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pingora::protocols::l4::socket;
use pingora::protocols::{ALPN, Stream};
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy, Peer as _, PeerOptions};

use crate::config::Timeouts;
use crate::edge::upstream::endpoints::Endpoints;
use crate::edge::upstream::identity::identify;
use crate::edge::upstream::idle::{Idle, MAX_IDLE};
use crate::edge::upstream::pace::Paces;
use crate::edge::upstream::resolver::{Resolver, lookup_reason};
use crate::edge::upstream::tunnel::Tunnel;
use crate::edge::wire::quirks::{is_apart, keep_apart};
use crate::failure::{Failure, Kind, Result};
use crate::protocol::ProtocolId;
use crate::provider::{HttpVersion, OnClientGone, Provider};

/// A provider, and the data for connecting to it.
#[derive(Debug)]
pub(in crate::edge) struct Upstream {
    pub(in crate::edge) provider: Arc<Provider>,
    pub(in crate::edge) times: Times,
    /// The pace at which the provider's models write.
    pub(in crate::edge) paces: Arc<Paces>,
    /// The endpoints that it turned out to have or to lack.
    pub(in crate::edge) endpoints: Arc<Endpoints>,
    resolver: Arc<Resolver>,
    /// Unused connections over HTTP/1.
    idle: Arc<Idle>,
    /// The peer without an address.
    anywhere: HttpPeer,
}

/// The timeouts of a provider.
#[derive(Clone, Copy, Debug)]
pub(in crate::edge) struct Times {
    connect: Duration,
    /// From the request to the first byte of the answer's head.
    pub(in crate::edge) first_byte: Duration,
    /// Between two pieces of data after that.
    pub(in crate::edge) silence: Duration,
    write: Duration,
    /// For an answer that is not a stream.
    pub(in crate::edge) total: Duration,
    /// For the rest of an answer whose client has left; absent: such an answer is read only for a short time, and
    /// only if it is paid for.
    pub(in crate::edge) drain: Option<Duration>,
}

impl Times {
    fn of(provider: &Provider, general: &Timeouts) -> Self {
        let own = &provider.timeouts;
        let silence = own.silence.unwrap_or(general.silence);
        let drains = provider.on_client_gone == OnClientGone::Drain;
        Self {
            connect: Duration::from_secs(own.connect.unwrap_or(general.connect)),
            first_byte: Duration::from_secs(own.first_byte.or(general.first_byte).unwrap_or(silence)),
            silence: Duration::from_secs(silence),
            write: Duration::from_secs(general.write),
            total: Duration::from_secs(own.total.unwrap_or(general.total)),
            drain: drains.then(|| Duration::from_secs(general.client_gone)),
        }
    }
}

impl Upstream {
    /// Makes the connection data of a provider, and keeps the addresses that the `earlier` data contain.
    pub(in crate::edge) fn new(provider: Arc<Provider>, general: &Timeouts, earlier: Option<&Self>) -> Self {
        let url = &provider.base_url;
        let known = earlier.filter(|earlier| {
            (&earlier.provider.base_url.host, earlier.provider.base_url.port) == (&url.host, url.port)
        });
        let paces = known.map(|earlier| Arc::clone(&earlier.paces)).unwrap_or_default();
        let endpoints = known.map(|earlier| Arc::clone(&earlier.endpoints)).unwrap_or_default();
        let proxy = provider.connection.proxy.as_ref();
        let (host, port) = proxy.map_or((&url.host, url.port), |proxy| (&proxy.host, proxy.port));
        let resolver =
            earlier.map(|earlier| &earlier.resolver).filter(|resolver| resolver.are_of(host, port));
        let resolver = resolver.map_or_else(|| Arc::new(Resolver::new(host, port)), Arc::clone);
        let idle = known.filter(|earlier| earlier.is_reached_like(&provider));
        let idle = idle.map(|earlier| Arc::clone(&earlier.idle)).unwrap_or_default();
        let times = Times::of(&provider, general);
        let mut anywhere = HttpPeer::new((Ipv4Addr::UNSPECIFIED, url.port), url.tls, url.host.clone());
        anywhere.options = options(&provider, &times);
        if let Some(proxy) = proxy {
            anywhere.options.custom_l4 = Some(Arc::new(Tunnel::new(proxy, url, times.connect)));
        }
        identify(&mut anywhere, &provider.connection, url);
        Self { provider, times, paces, endpoints, resolver, idle, anywhere }
    }

    /// Whether a provider at the same host is connected to in the same way.
    fn is_reached_like(&self, provider: &Provider) -> bool {
        let own = &self.provider;
        own.base_url.tls == provider.base_url.tls
            && own.http == provider.http
            && own.connection == provider.connection
    }

    /// Takes an unused connection over HTTP/1 to a peer, unless it is asked apart from others.
    pub(in crate::edge) fn idle(&self, peer: &HttpPeer) -> Option<Stream> {
        if is_apart(peer) { None } else { self.idle.take(peer.address()) }
    }

    /// Keeps a connection over HTTP/1 to a peer for its next request, unless that is asked apart from others.
    pub(in crate::edge) fn keep(&self, stream: Stream, peer: &HttpPeer) {
        if !is_apart(peer) {
            self.idle.put(stream, peer.address().clone());
        }
    }

    /// Whether a protocol may turn out to have no endpoint: one that the configuration does not name, that is not the
    /// first of the preset, and that has not answered yet. Older servers lack it.
    pub(in crate::edge) fn may_lack(&self, protocol: ProtocolId) -> bool {
        let provider = &self.provider;
        provider.is_assumed_to_speak(protocol) && !self.endpoints.has_served(protocol)
    }

    /// Waits until an address of the provider's host is known, which is usually the case at once.
    ///
    /// # Errors
    /// Returns 502 if the name cannot be resolved.
    pub(in crate::edge) async fn resolved(&self) -> Result<()> {
        if self.resolver.is_unknown() {
            let resolved = self.resolver.resolve(&self.provider.name).await;
            return resolved.map_err(|error| unresolved(&lookup_reason(&error)));
        }
        self.keep_resolved();
        Ok(())
    }

    /// Resolves the name of the provider's host for a probe, without a line in the log.
    ///
    /// # Errors
    /// Returns 502 if the name cannot be resolved.
    pub(in crate::edge) async fn probe_name(&self) -> Result<()> {
        if !self.resolver.is_unknown() {
            return Ok(());
        }
        self.resolver.resolve_unlogged().await.map_err(|error| unresolved(&lookup_reason(&error)))
    }

    /// Returns the peer to connect to. With `fresh`, it is not reached over a pooled connection.
    ///
    /// # Errors
    /// Returns 502 if no address is known.
    pub(in crate::edge) fn peer(&self, fresh: bool) -> Result<Box<HttpPeer>> {
        let address = self.resolver.next(Instant::now()).ok_or_else(|| unresolved("no address"))?;
        let mut peer = Box::new(HttpPeer { _address: address.into(), ..self.anywhere.clone() });
        if fresh {
            keep_apart(&mut peer);
        }
        Ok(peer)
    }

    /// Notes that a peer could not be reached. Returns whether the provider has another address to try at once.
    pub(in crate::edge) fn mark_unreachable(&self, peer: &HttpPeer) -> bool {
        match peer.address() {
            socket::SocketAddr::Inet(address) => self.resolver.mark_unreachable(*address, Instant::now()),
            socket::SocketAddr::Unix(_) => false,
        }
    }

    /// Looks after what is known and kept between calls: resolves the name if that is due, which nobody waits for, and closes
    /// connections that are of no use any more.
    pub(in crate::edge) fn look_after(&self) {
        self.idle.sweep();
        self.keep_resolved();
    }

    /// Resolves the name again if that is due. Nobody waits for it.
    fn keep_resolved(&self) {
        if self.resolver.claim(Instant::now()) {
            let (resolver, provider) = (Arc::clone(&self.resolver), Arc::clone(&self.provider));
            // A failure is told by the resolver.
            tokio::spawn(async move { drop(resolver.resolve(&provider.name).await) });
        }
    }
}

fn options(provider: &Provider, times: &Times) -> PeerOptions {
    let mut options = PeerOptions::new();
    options.alpn = match (provider.http, provider.base_url.tls) {
        (HttpVersion::Auto, true) => ALPN::H2H1,
        (HttpVersion::H2, _) => ALPN::H2,
        (HttpVersion::Auto | HttpVersion::H1, _) => ALPN::H1,
    };
    // Pingora gives the TLS handshake the same time again.
    options.connection_timeout = Some(times.connect);
    options.total_connection_timeout = Some(times.connect.saturating_mul(2));
    options.read_timeout = Some(times.silence);
    options.write_timeout = Some(times.write);
    options.idle_timeout = Some(MAX_IDLE);
    options.max_h2_streams = H2_STREAMS;
    options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
    options
}

fn unresolved(why: &str) -> Failure {
    Failure::provider(format!("the host name does not resolve: {why}"))
}

/// The failure for a call whose provider left the configuration between two hooks.
pub(in crate::edge) fn unknown() -> Failure {
    Failure::new(Kind::Internal, "The provider is not configured.")
}

/// The streams on one HTTP/2 connection: as many as most servers allow.
const H2_STREAMS: usize = 100;
