//! The addresses behind a provider's host name. All of them are used, changes are noticed, and a call waits for
//! the resolver only if no address was ever known.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::timeout;

/// A host and its known addresses.
#[derive(Debug)]
pub(in crate::edge) struct Resolver {
    host: String,
    port: u16,
    /// The counter that selects the next address.
    turn: AtomicUsize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    addresses: Vec<Address>,
    /// The time at which the name is resolved again; absent: never, or not yet.
    due: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Address {
    at: SocketAddr,
    /// The time until which other addresses are preferred.
    unreachable_until: Option<Instant>,
}

impl Resolver {
    /// Makes the names of a host. If it is an address, it never changes.
    pub(in crate::edge) fn new(host: &str, port: u16) -> Self {
        let fixed =
            host.parse::<IpAddr>().map(|ip| Address { at: (ip, port).into(), unreachable_until: None });
        let known = Known { addresses: fixed.into_iter().collect(), due: None };
        Self { host: host.to_owned(), port, turn: AtomicUsize::new(0), known: Mutex::new(known) }
    }

    /// Whether these are the addresses of this host and port.
    pub(in crate::edge) fn are_of(&self, host: &str, port: u16) -> bool {
        self.host == host && self.port == port
    }

    /// Returns the next address in turn. Addresses that could not be reached recently are used only if there is no
    /// other.
    pub(in crate::edge) fn next(&self, now: Instant) -> Option<SocketAddr> {
        let known = self.known.lock();
        let good = || known.addresses.iter().filter(|address| !address.is_shunned(now));
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = good().count();
        let chosen = match count {
            0 => known.addresses.get(turn % known.addresses.len().max(1)),
            _ => good().nth(turn % count),
        };
        chosen.map(|address| address.at)
    }

    /// Notes that an address could not be reached. Returns whether there is another one to try at once.
    pub(in crate::edge) fn mark_unreachable(&self, at: SocketAddr, now: Instant) -> bool {
        let mut known = self.known.lock();
        for address in known.addresses.iter_mut().filter(|address| address.at == at) {
            address.unreachable_until = Some(now + UNREACHABLE_FOR);
        }
        known.addresses.iter().any(|address| !address.is_shunned(now))
    }

    /// Whether the caller has to resolve the name now. Until the next refresh is due, other callers get `false`.
    pub(in crate::edge) fn claim(&self, now: Instant) -> bool {
        let mut known = self.known.lock();
        let is_due = match known.due {
            Some(due) => due <= now,
            None => known.addresses.is_empty(),
        };
        if is_due {
            known.due = Some(now + REFRESH);
        }
        is_due
    }

    /// Whether no address is known yet.
    pub(in crate::edge) fn is_unknown(&self) -> bool {
        self.known.lock().addresses.is_empty()
    }

    /// Asks the system's resolver. If it finds nothing, the known addresses stay.
    ///
    /// # Errors
    /// Fails if the resolver fails or takes too long.
    pub(in crate::edge) async fn resolve(&self) -> io::Result<()> {
        let found = timeout(PATIENCE, tokio::net::lookup_host((self.host.as_str(), self.port))).await;
        let found = found.map_err(io::Error::from).flatten().map(Iterator::collect);
        self.learn(found, Instant::now())
    }

    /// Does the same when nobody waits for it, and logs a failure.
    pub(in crate::edge) async fn refresh(&self) {
        if let Err(error) = self.resolve().await {
            log::warn!("{} cannot be resolved: {error}", self.host);
        }
    }

    /// Takes the resolver's result.
    fn learn(&self, found: io::Result<Vec<SocketAddr>>, now: Instant) -> io::Result<()> {
        let mut known = self.known.lock();
        let found = match found {
            Ok(found) if !found.is_empty() => found,
            // An old address is better than none. If there is none, the next call asks again.
            failed => {
                let wait = if known.addresses.is_empty() { Duration::ZERO } else { REFRESH };
                known.due = Some(now + wait);
                return failed.map(drop);
            }
        };
        let mut addresses: Vec<Address> = Vec::with_capacity(found.len());
        for at in found {
            if addresses.iter().all(|address| address.at != at) {
                let before = known.addresses.iter().find(|address| address.at == at);
                addresses.push(before.copied().unwrap_or(Address { at, unreachable_until: None }));
            }
        }
        *known = Known { addresses, due: Some(now + REFRESH) };
        Ok(())
    }
}

impl Address {
    fn is_shunned(&self, now: Instant) -> bool {
        self.unreachable_until.is_some_and(|until| now < until)
    }
}

/// The interval between two look-ups of a name. A chosen value: providers move their names within a minute.
const REFRESH: Duration = Duration::from_secs(30);

/// The time for which an address that could not be reached comes last.
const UNREACHABLE_FOR: Duration = Duration::from_secs(10);

/// The time that a resolver may take: two attempts of the usual resolvers.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 80))
    }

    fn known(lasts: &[u8], now: Instant) -> Resolver {
        let resolver = Resolver::new("provider.example", 80);
        resolver.learn(Ok(lasts.iter().map(|last| at(*last)).collect()), now).unwrap();
        resolver
    }

    fn used(resolver: &Resolver, now: Instant) -> Vec<u8> {
        let one = |_| match resolver.next(now) {
            Some(SocketAddr::V4(address)) => address.ip().octets()[3],
            other => panic!("{other:?}"),
        };
        let mut used: Vec<u8> = (0..6).map(one).collect();
        used.sort_unstable();
        used
    }

    #[test]
    fn all_addresses_are_used_and_what_can_not_be_reached_comes_last() {
        let now = Instant::now();
        let resolver = known(&[1, 2, 3, 2], now);
        assert_eq!(used(&resolver, now), [1, 1, 2, 2, 3, 3]);
        assert!(resolver.mark_unreachable(at(2), now));
        assert_eq!(used(&resolver, now), [1, 1, 1, 3, 3, 3]);
        assert!(resolver.mark_unreachable(at(1), now));
        assert!(!resolver.mark_unreachable(at(3), now), "there is no other to try at once");
        assert_eq!(used(&resolver, now), [1, 1, 2, 2, 3, 3]);
        assert_eq!(used(&resolver, now + UNREACHABLE_FOR), [1, 1, 2, 2, 3, 3]);
    }

    #[test]
    fn changes_are_followed_and_a_failing_resolver_changes_nothing() {
        let now = Instant::now();
        let resolver = known(&[1, 2], now);
        assert!(!resolver.claim(now));
        let later = now + REFRESH;
        assert!(resolver.claim(later) && !resolver.claim(later), "one asks");
        assert!(resolver.learn(Err(io::ErrorKind::NotFound.into()), later).is_err());
        resolver.learn(Ok(Vec::new()), later).unwrap();
        assert_eq!(used(&resolver, later), [1, 1, 1, 2, 2, 2]);
        resolver.mark_unreachable(at(2), later);
        resolver.learn(Ok(vec![at(2), at(3)]), later).unwrap();
        assert_eq!(used(&resolver, later), [3; 6], "what is known of an address stays known");
    }

    #[test]
    fn a_name_of_which_nothing_is_known_is_asked_for_by_whoever_comes() {
        let now = Instant::now();
        let resolver = Resolver::new("provider.example", 80);
        assert!(
            resolver.is_unknown()
                && resolver.next(now).is_none()
                && resolver.claim(now)
                && !resolver.claim(now)
        );
        assert!(resolver.learn(Err(io::ErrorKind::NotFound.into()), now).is_err());
        assert!(resolver.claim(now), "the next one may have more luck");
        let fixed = Resolver::new("::1", 80);
        assert!(!fixed.is_unknown() && !fixed.claim(now) && !fixed.claim(now + REFRESH));
    }
}
