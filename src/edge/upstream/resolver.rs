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
    failing: Option<Failing>,
}

/// A name that does not resolve.
#[derive(Clone, Copy, Debug)]
struct Failing {
    /// The time until the next look-up.
    wait: Duration,
    /// The time of the next look-up.
    until: Instant,
}

/// A change that a look-up has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LookupChange {
    /// The name does not resolve any more. It is looked up again after this time.
    Fails(Duration),
    /// The name resolves again.
    Resolves,
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
        let known = Known { addresses: fixed.into_iter().collect(), due: None, failing: None };
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

    /// Asks the system's resolver. If it finds nothing, the known addresses stay. Writes a line if the name of the
    /// provider's host has ceased to resolve, or resolves again.
    ///
    /// # Errors
    /// Fails if the resolver fails or takes too long.
    pub(in crate::edge) async fn resolve(&self, provider: &str) -> io::Result<()> {
        let (change, learned) = self.look_up().await;
        let host = &self.host;
        match (change, &learned) {
            (Some(LookupChange::Fails(wait)), Err(error)) => {
                let (why, seconds) = (lookup_reason(error), wait.as_secs());
                log::warn!("provider {provider}: {host} does not resolve: {why}; next lookup in {seconds} s");
            }
            (Some(LookupChange::Resolves), _) => log::info!("provider {provider}: {host} resolves again"),
            _ => {}
        }
        learned
    }

    /// Does the same without a line, for one that tells the failure by itself.
    ///
    /// # Errors
    /// Fails if the resolver fails or takes too long.
    pub(in crate::edge) async fn resolve_unlogged(&self) -> io::Result<()> {
        self.look_up().await.1
    }

    async fn look_up(&self) -> (Option<LookupChange>, io::Result<()>) {
        let found = timeout(PATIENCE, tokio::net::lookup_host((self.host.as_str(), self.port))).await;
        let found = found.map_err(io::Error::from).flatten().map(Iterator::collect);
        self.learn(found, Instant::now())
    }

    /// Takes the resolver's result. The look-ups of a name that does not resolve become rarer.
    fn learn(
        &self,
        found: io::Result<Vec<SocketAddr>>,
        now: Instant,
    ) -> (Option<LookupChange>, io::Result<()>) {
        let mut known = self.known.lock();
        let found = match found {
            Ok(found) if !found.is_empty() => found,
            // An old address is better than none.
            failed => {
                let failed = failed.and_then(|_| Err(io::Error::new(io::ErrorKind::NotFound, "no address")));
                let wait = known.failing.map_or(MIN_LOOKUP_WAIT, |failing| match failing.until <= now {
                    true => (failing.wait * 2).min(MAX_LOOKUP_WAIT),
                    false => failing.wait,
                });
                let until = known.failing.map(|failing| failing.until).filter(|until| now < *until);
                let until = until.unwrap_or(now + wait);
                known.due = Some(until);
                let was_failing = known.failing.replace(Failing { wait, until }).is_some();
                return ((!was_failing).then_some(LookupChange::Fails(wait)), failed);
            }
        };
        let mut addresses: Vec<Address> = Vec::with_capacity(found.len());
        for at in found {
            if addresses.iter().all(|address| address.at != at) {
                let before = known.addresses.iter().find(|address| address.at == at);
                addresses.push(before.copied().unwrap_or(Address { at, unreachable_until: None }));
            }
        }
        let change = known.failing.map(|_| LookupChange::Resolves);
        *known = Known { addresses, due: Some(now + REFRESH), failing: None };
        (change, Ok(()))
    }
}

/// Returns the reason of the system's resolver in its own words.
pub(in crate::edge) fn lookup_reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned()
}

impl Address {
    fn is_shunned(&self, now: Instant) -> bool {
        self.unreachable_until.is_some_and(|until| now < until)
    }
}

/// The interval between two look-ups of a name. A chosen value: providers move their names within a minute.
const REFRESH: Duration = Duration::from_secs(30);

/// The times between two look-ups of a name that does not resolve, at first and at most. Each failure doubles the time.
const MIN_LOOKUP_WAIT: Duration = Duration::from_secs(1);
const MAX_LOOKUP_WAIT: Duration = Duration::from_secs(60);

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
        resolver.learn(Ok(lasts.iter().map(|last| at(*last)).collect()), now).1.unwrap();
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
        assert!(resolver.learn(Err(io::ErrorKind::NotFound.into()), later).1.is_err());
        assert!(resolver.learn(Ok(Vec::new()), later).1.is_err());
        assert_eq!(used(&resolver, later), [1, 1, 1, 2, 2, 2]);
        resolver.mark_unreachable(at(2), later);
        resolver.learn(Ok(vec![at(2), at(3)]), later).1.unwrap();
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
        assert!(resolver.learn(Err(io::ErrorKind::NotFound.into()), now).1.is_err());
        assert!(!resolver.claim(now) && resolver.claim(now + MIN_LOOKUP_WAIT));
        let fixed = Resolver::new("::1", 80);
        assert!(!fixed.is_unknown() && !fixed.claim(now) && !fixed.claim(now + REFRESH));
    }

    #[test]
    fn a_name_that_does_not_resolve_is_looked_up_less_often_and_told_once() {
        let start = Instant::now();
        let resolver = Resolver::new("provider.example", 80);
        let (mut lookups, mut changes) = (Vec::new(), Vec::new());
        for second in 0..3600 {
            let now = start + Duration::from_secs(second);
            if resolver.claim(now) {
                lookups.push(second);
                let failed = Err(io::ErrorKind::NotFound.into());
                changes.extend(resolver.learn(failed, now).0);
            }
            // Calls ask, too, and change nothing.
            changes.extend(resolver.learn(Err(io::ErrorKind::NotFound.into()), now).0);
        }
        assert_eq!(lookups.get(..8), Some(&[0, 1, 3, 7, 15, 31, 63, 123][..]));
        assert!(lookups.len() < 70, "{}", lookups.len());
        assert_eq!(changes, [LookupChange::Fails(MIN_LOOKUP_WAIT)]);
        let now = start + Duration::from_secs(3600);
        assert_eq!(resolver.learn(Ok(vec![at(1)]), now).0, Some(LookupChange::Resolves));
        assert_eq!(resolver.learn(Ok(vec![at(1)]), now).0, None);
    }
}
