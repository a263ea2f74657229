//! The listening sockets, which are opened here or taken over before anything else begins.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::os::fd::{IntoRawFd as _, OwnedFd};
use std::sync::Arc;

use parking_lot::Mutex;
use pingora::server::{Fds, ListenFds};

use crate::edge::server::port_owner::PortOwner;

/// Sockets by their configured addresses. They are cheap to clone; all clones are the same sockets.
#[derive(Clone, Debug, Default)]
pub(in crate::edge) struct Sockets(Arc<Mutex<Vec<(String, TcpListener)>>>);

/// An address that the process cannot listen on.
#[derive(Debug)]
pub(in crate::edge) struct ListenError {
    /// The configured address.
    pub(in crate::edge) address: String,
    why: std::io::Error,
}

impl ListenError {
    /// Describes the error. `option` is the option of the command line that names another address for this listener.
    pub(in crate::edge) fn describe(&self, option: &str) -> String {
        let Self { address, why } = self;
        let resolved = address.to_socket_addrs().ok().and_then(|mut all| all.next());
        let Some(resolved) = resolved.filter(|_| why.kind() == ErrorKind::AddrInUse) else {
            return format!("{address} cannot be listened on: {why}");
        };
        let owner = PortOwner::find(resolved)
            .map_or_else(String::new, |PortOwner { process, name }| format!(" (process {process}, {name})"));
        let other = resolved.port().checked_add(1).unwrap_or(FREE_PORT);
        let advice = if option == LISTEN_OPTION && resolved.ip() == Ipv4Addr::LOCALHOST {
            format!("--port {other}")
        } else {
            format!("{option} {}", SocketAddr::new(resolved.ip(), other))
        };
        format!("{address} is in use{owner}. Choose another: crossmodel {advice}")
    }
}

impl Sockets {
    /// Listens on addresses, and takes the sockets of those that are `inherited` from another process.
    ///
    /// # Errors
    /// Fails if the process cannot listen on an address.
    pub(in crate::edge) fn open<'a>(
        addresses: impl Iterator<Item = &'a str>,
        mut inherited: Vec<(String, OwnedFd)>,
    ) -> Result<Self, ListenError> {
        let mut all = Vec::new();
        for address in addresses {
            let known = inherited.iter().position(|(theirs, _)| theirs == address);
            let socket = match known.map(|at| inherited.swap_remove(at)) {
                Some((_, socket)) => Ok(TcpListener::from(socket)),
                None => TcpListener::bind(address),
            };
            // Pingora requires sockets that do not block.
            let socket = socket.and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
            let socket = socket.map_err(|why| ListenError { address: address.to_owned(), why })?;
            all.push((address.to_owned(), socket));
        }
        for (address, _) in inherited {
            log::info!("{address} is not listened on any more");
        }
        Ok(Self(Arc::new(Mutex::new(all))))
    }

    /// Returns the same sockets for Pingora, which closes them when it stops accepting.
    ///
    /// # Errors
    /// Fails if the process can open no more files.
    pub(in crate::edge) fn table(&self) -> std::io::Result<ListenFds> {
        let mut table = Fds::new();
        for (address, socket) in self.0.lock().iter() {
            table.add(address.clone(), socket.try_clone()?.into_raw_fd());
        }
        Ok(Arc::new(table.into()))
    }

    /// Returns the same sockets for another process.
    ///
    /// # Errors
    /// Fails if the process can open no more files.
    pub(in crate::edge) fn copies(&self) -> std::io::Result<Vec<(String, OwnedFd)>> {
        let copy =
            |(address, socket): &(String, TcpListener)| Ok((address.clone(), socket.try_clone()?.into()));
        self.0.lock().iter().map(copy).collect()
    }

    /// Stops listening. Connections that were not accepted yet are refused, unless another process has the
    /// sockets, too.
    pub(in crate::edge) fn close(&self) {
        self.0.lock().clear();
    }
}

/// The options that name other addresses: for clients, and for operators.
pub(in crate::edge) const LISTEN_OPTION: &str = "--listen";
pub(in crate::edge) const ADMIN_OPTION: &str = "--admin";

/// The port that is proposed instead of the last one.
const FREE_PORT: u16 = 8081;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_use_is_described_with_its_process_and_a_way_out() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap().to_string();
        let error = Sockets::open(std::iter::once(address.as_str()), Vec::new()).unwrap_err();
        let start = format!("{address} is in use (process {}, ", std::process::id());
        let next = held.local_addr().unwrap().port().checked_add(1).unwrap_or(FREE_PORT);
        let (clients, operators) = (error.describe(LISTEN_OPTION), error.describe(ADMIN_OPTION));
        assert!(clients.starts_with(&start), "{clients}");
        assert!(clients.ends_with(&format!("). Choose another: crossmodel --port {next}")), "{clients}");
        assert!(operators.ends_with(&format!(": crossmodel --admin 127.0.0.1:{next}")), "{operators}");
    }

    #[test]
    fn an_address_of_another_machine_is_described_as_the_system_does() {
        let error = Sockets::open(std::iter::once("192.0.2.1:80"), Vec::new()).unwrap_err();
        assert!(error.describe(LISTEN_OPTION).starts_with("192.0.2.1:80 cannot be listened on: "));
    }
}
