//! The listening sockets, which are opened here or taken over before anything else begins.

use std::net::TcpListener;
use std::os::fd::{IntoRawFd as _, OwnedFd};
use std::sync::Arc;

use parking_lot::Mutex;
use pingora::server::{Fds, ListenFds};

use crate::config::ConfigError;

/// Sockets by their configured addresses. They are cheap to clone; all clones are the same sockets.
#[derive(Clone, Debug, Default)]
pub(in crate::edge) struct Sockets(Arc<Mutex<Vec<(String, TcpListener)>>>);

impl Sockets {
    /// Listens on addresses, and takes the sockets of those that are `inherited` from another process.
    ///
    /// # Errors
    /// Fails if the process cannot listen on an address.
    pub(in crate::edge) fn open<'a>(
        addresses: impl Iterator<Item = &'a str>,
        mut inherited: Vec<(String, OwnedFd)>,
    ) -> Result<Self, ConfigError> {
        let mut all = Vec::new();
        for address in addresses {
            let known = inherited.iter().position(|(theirs, _)| theirs == address);
            let socket = match known.map(|at| inherited.swap_remove(at)) {
                Some((_, socket)) => Ok(TcpListener::from(socket)),
                None => TcpListener::bind(address),
            };
            // Pingora requires sockets that do not block.
            let socket = socket.and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
            let socket = socket
                .map_err(|why| ConfigError::plain(format!("{address} cannot be listened on: {why}")))?;
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
