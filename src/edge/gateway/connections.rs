//! The number of clients' connections, and its limits.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use pingora::protocols::GetSocketDigest;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::observe::ConnectionCap;

/// All open connections.
#[derive(Debug, Default)]
pub(in crate::edge) struct Connections(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_peer: HashMap<IpAddr, usize>,
}

/// The limits on connections: in total, and from one network.
#[derive(Clone, Copy, Debug)]
pub(in crate::edge) struct ConnectionLimits {
    pub(in crate::edge) total: usize,
    pub(in crate::edge) by_peer: usize,
}

/// A connection's place. It is free again when this is dropped.
#[derive(Debug)]
pub(in crate::edge) struct ConnectionPermit {
    connections: Arc<Connections>,
    peer: Option<IpAddr>,
}

impl Connections {
    /// Lets a connection in, or says which limit is reached.
    pub(in crate::edge) fn enter(
        self: &Arc<Self>,
        peer: Option<IpAddr>,
        caps: ConnectionLimits,
    ) -> Result<ConnectionPermit, ConnectionCap> {
        let peer = peer.map(network);
        let mut open = self.0.lock();
        if open.total >= caps.total {
            return Err(ConnectionCap::Total);
        }
        if let Some(peer) = peer {
            let own = open.by_peer.get(&peer).copied().unwrap_or_default();
            if own >= caps.by_peer {
                return Err(ConnectionCap::Address);
            }
            open.by_peer.insert(peer, own + 1);
        }
        open.total += 1;
        Ok(ConnectionPermit { connections: Arc::clone(self), peer })
    }

    /// Returns the number of connections.
    pub(in crate::edge) fn total(&self) -> usize {
        self.0.lock().total
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = self.connections.0.lock();
        open.total -= 1;
        if let Some(peer) = self.peer
            && let Some(own) = open.by_peer.get_mut(&peer)
        {
            *own -= 1;
            if *own == 0 {
                open.by_peer.remove(&peer);
            }
        }
    }
}

/// Returns the network that a connection comes from. An IPv6 customer has a network of 64 bits (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::from((v6.to_bits() & !u128::from(u64::MAX)).to_be_bytes()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Returns the address of the peer.
pub(in crate::edge) fn peer(stream: &(impl GetSocketDigest + ?Sized)) -> Option<IpAddr> {
    Some(stream.get_socket_digest()?.peer_addr()?.as_inet()?.ip())
}

/// Returns the default limit of clients' connections: half of the files, because each connection may need another
/// one to a provider.
pub(in crate::edge) fn default_total(files: u64) -> usize {
    let pairs = files.saturating_sub(RESERVED) / 2;
    usize::try_from(pairs).unwrap_or(MOST).clamp(1, MOST)
}

/// Returns the most connections of the built-in provider. Each call of it takes two files more than other calls,
/// and everybody on this machine can open such connections.
pub(in crate::edge) fn demo_total(files: u64) -> usize {
    (default_total(files) / 4).max(1)
}

/// Raises the limit of open files as far as possible, and returns it. The initial limit of a process is low for
/// the sake of programs that use `select`, which this one does not.
pub(in crate::edge) fn raise_files() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let given = limit.current;
    limit.current = limit.maximum;
    let now = if setrlimit(Resource::Nofile, limit).is_ok() { limit.maximum } else { given };
    now.unwrap_or(u64::MAX)
}

/// The most connections to the admin listener. A chosen value: some dashboards, a few scrapers, and an
/// orchestrator's probes.
pub(in crate::edge) const OPERATORS: usize = 64;

/// The open files that are not clients' connections: the store, logs, listeners, idle connections to providers,
/// and 64 connections of operators.
const RESERVED: u64 = 192;

/// The default limit at most: two connections for each of the calls that are allowed by default, one in use and
/// one idle.
const MOST: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_network() {
        let connections = Arc::new(Connections::default());
        let caps = ConnectionLimits { total: 3, by_peer: 2 };
        let enter = |peer: &str| connections.enter(Some(peer.parse().unwrap()), caps);
        let first = enter("10.0.0.1").unwrap();
        let _second = enter("::ffff:10.0.0.1").unwrap();
        assert_eq!(enter("10.0.0.1").unwrap_err(), ConnectionCap::Address);
        drop(first);
        let third = enter("2001:db8::1").unwrap();
        let fourth = enter("2001:db8::2").unwrap();
        assert_eq!(enter("10.0.0.2").unwrap_err(), ConnectionCap::Total);
        drop((third, fourth));
        assert_eq!((connections.total(), connections.0.lock().by_peer.len()), (1, 1));
    }

    #[test]
    fn the_default_leaves_files_for_the_rest() {
        for (files, total) in [(0, 1), (1024, 416), (1 << 20, MOST), (u64::MAX, MOST)] {
            assert_eq!(default_total(files), total, "{files}");
        }
    }
}
