//! The names of listeners in access lines: their addresses as they are configured.

use std::net::{IpAddr, SocketAddr};

use crate::config::Listener;

/// The configured addresses of the clients' listeners.
#[derive(Debug, Default)]
pub(super) struct ListenerNames {
    named: Vec<(SocketAddr, Box<str>)>,
    /// The number of listeners, with those that are left out.
    count: usize,
}

impl ListenerNames {
    /// Takes the addresses from a configuration. One that is a host name is left out.
    pub(super) fn of(listeners: &[Listener]) -> Self {
        let named =
            |listener: &Listener| Some((listener.address.parse().ok()?, listener.address.as_str().into()));
        Self { named: listeners.iter().filter_map(named).collect(), count: listeners.len() }
    }

    /// Returns the number of listeners.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Returns the name of the listener to which a client has connected at this address of the machine.
    pub(super) fn name(&self, address: SocketAddr) -> Option<&str> {
        let canonical = |ip: IpAddr| ip.to_canonical();
        let is_at = |listener: &SocketAddr| {
            let ip = listener.ip();
            listener.port() == address.port()
                && (ip.is_unspecified() || canonical(ip) == canonical(address.ip()))
        };
        // An address of its own goes before all addresses.
        let found = self.named.iter().filter(|(listener, _)| is_at(listener));
        found.min_by_key(|(listener, _)| listener.ip().is_unspecified()).map(|(_, name)| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_by_its_address() {
        let named = ["0.0.0.0:80", "10.0.0.1:80", "[::]:81"];
        let named = named.map(|address| (address.parse().unwrap(), address.into())).into();
        let names = ListenerNames { named, count: 3 };
        for (address, name) in [
            ("10.0.0.1:80", Some("10.0.0.1:80")),
            ("10.0.0.2:80", Some("0.0.0.0:80")),
            ("10.0.0.2:81", Some("[::]:81")),
            ("10.0.0.2:82", None),
        ] {
            assert_eq!(names.name(address.parse().unwrap()), name, "{address}");
        }
    }
}
