//! Zero-downtime upgrade: one process takes the listeners over from another, and no connection is refused in
//! between.
//!
//! A gateway has a *door*: a Unix socket in its data folder, named after the first address that it listens on. Its
//! successor connects there once its configuration is valid, and gets the listening sockets, one after the other.
//! When it is about to accept connections it says so, and only then does the predecessor stop accepting. If the
//! successor ends before that, nothing has changed.
//!
//! The door itself is one of the sockets that are handed over.

use std::fs::Permissions;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::sync::oneshot;

use crate::edge::server::listeners::Sockets;
use crate::private;

/// The socket at which a successor asks for the listeners.
#[derive(Debug)]
pub(in crate::edge) struct HandoverSocket(UnixListener);

/// The sockets that a process got from its predecessor.
#[derive(Debug)]
pub(in crate::edge) struct InheritedListeners {
    /// Listening sockets, by their addresses.
    pub(in crate::edge) sockets: Vec<(String, OwnedFd)>,
    door: Option<OwnedFd>,
    predecessor: UnixStream,
}

impl HandoverSocket {
    /// Returns the path of the door of the gateway that listens on `address`.
    pub(in crate::edge) fn path(data: &Path, address: &str) -> PathBuf {
        data.join(FOLDER).join(address)
    }

    /// Opens a door, or takes the inherited one. The process that listens on the address owns the path, so a file
    /// that exists there is left over.
    ///
    /// # Errors
    /// Fails if the socket cannot be made.
    pub(in crate::edge) fn open(path: &Path, inherited: Option<OwnedFd>) -> io::Result<Self> {
        if let Some(door) = inherited {
            return Ok(Self(door.into()));
        }
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        // Whoever can connect to the door can take over the clients' connections.
        private::folder(folder)?;
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let door = UnixListener::bind(path)?;
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(Self(door))
    }

    /// Waits for a successor in a thread of its own, and signals when one has taken over.
    ///
    /// # Errors
    /// Fails if no thread can be started.
    pub(in crate::edge) fn watch(self, sockets: Sockets) -> io::Result<oneshot::Receiver<()>> {
        let (done, taken) = oneshot::channel();
        std::thread::Builder::new().name("handover".to_owned()).spawn(move || {
            loop {
                match self.hand_over(&sockets) {
                    Ok(()) => break,
                    Err(error) => log::warn!("nobody has taken over: {error}; this process goes on"),
                }
                // An error of the door itself would return at once.
                std::thread::sleep(PAUSE);
            }
            // The successor has the door now.
            drop(self);
            let _ = done.send(());
        })?;
        Ok(taken)
    }

    /// Removes a door's file: nobody is behind it any more.
    pub(in crate::edge) fn remove(path: &Path) {
        // There may be no such file.
        let _ = std::fs::remove_file(path);
    }

    /// Serves one successor.
    fn hand_over(&self, sockets: &Sockets) -> io::Result<()> {
        let (mut successor, _) = self.0.accept()?;
        log::info!("another process asks for the listeners");
        let mut all = sockets.copies()?;
        all.push((DOOR.to_owned(), self.0.try_clone()?.into()));
        let mut rest = all.iter();
        let mut word = [0];
        loop {
            successor.read_exact(&mut word)?;
            match (word[0], rest.next()) {
                (NEXT, Some((address, socket))) => send(&successor, address, socket)?,
                (NEXT, None) => successor.write_all(END)?,
                (READY, None) => return Ok(()),
                _ => return Err(ErrorKind::InvalidData.into()),
            }
        }
    }
}

impl InheritedListeners {
    /// Asks the gateway behind a door for its listeners.
    ///
    /// # Errors
    /// Fails if there is no such gateway, or it does not hand them over.
    pub(in crate::edge) fn ask(door: &Path) -> io::Result<Self> {
        let mut predecessor = UnixStream::connect(door)?;
        predecessor.set_read_timeout(Some(PATIENCE))?;
        let (mut sockets, mut door) = (Vec::new(), None);
        loop {
            predecessor.write_all(&[NEXT])?;
            match receive(&predecessor)? {
                (name, Some(socket)) if name == DOOR => door = Some(socket),
                (address, Some(socket)) => sockets.push((address, socket)),
                (_, None) => return Ok(Self { sockets, door, predecessor }),
            }
        }
    }

    /// Returns the door of the predecessor, if it has handed it over.
    pub(in crate::edge) fn take_door(&mut self) -> Option<OwnedFd> {
        self.door.take()
    }

    /// Tells the predecessor that this process accepts connections now.
    pub(in crate::edge) fn release(mut self) {
        if let Err(error) = self.predecessor.write_all(&[READY]) {
            log::warn!("the process that was taken over from is gone already: {error}");
        }
    }
}

/// Sends one name and one socket, in one message.
fn send(successor: &UnixStream, name: &str, socket: &OwnedFd) -> io::Result<()> {
    let fds = [socket.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let sent = sendmsg(successor, &[IoSlice::new(name.as_bytes())], &mut control, SendFlags::empty())?;
    if sent == name.len() { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
}

/// Receives one message: a name and its socket, or the end.
fn receive(predecessor: &UnixStream) -> io::Result<(String, Option<OwnedFd>)> {
    let mut bytes = [0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(predecessor, &mut [IoSliceMut::new(&mut bytes)], &mut control, RECEIVE)?;
    if received.bytes == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let name = String::from_utf8_lossy(bytes.get(..received.bytes).unwrap_or_default()).into_owned();
    let mut sockets = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    Ok((name, sockets.next()))
}

/// The folder of doors in the data folder.
const FOLDER: &str = "handover";

/// The name under which the door is handed over.
const DOOR: &str = "door";

/// The messages of a successor: it wants the next socket, or it accepts connections.
const NEXT: u8 = b'n';
const READY: u8 = b'r';

/// The message in place of a socket when there are no more.
const END: &[u8] = b".";

/// The longest message with a name, in bytes. A chosen value: the name of a host has at most 253 bytes (RFC 1035).
const LONGEST: usize = 512;

/// The time that the predecessor may take for one socket. A chosen value: it only has to send it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause after a successor that did not take over.
const PAUSE: Duration = Duration::from_millis(50);

/// Programs that are started from here must not inherit the sockets.
#[cfg(not(target_vendor = "apple"))]
const RECEIVE: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(target_vendor = "apple")]
const RECEIVE: RecvFlags = RecvFlags::empty();

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(count: usize) -> (Sockets, Vec<String>) {
        let addresses: Vec<_> = (1..=count).map(|n| format!("127.0.0.1:{}", "0".repeat(n))).collect();
        (Sockets::open(addresses.iter().map(String::as_str), Vec::new()).unwrap(), addresses)
    }

    #[test]
    fn more_sockets_than_fit_into_one_message_are_handed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = HandoverSocket::path(folder.path(), "127.0.0.1:1");
        let (all, addresses) = sockets(100);
        let door = HandoverSocket::open(&path, None).unwrap();
        let mut taken = door.watch(all).unwrap();

        // Who only asks changes nothing.
        let asked = InheritedListeners::ask(&path).unwrap();
        assert_eq!(asked.sockets.len(), addresses.len());
        drop(asked);
        assert!(taken.try_recv().is_err());

        let mut inherited = InheritedListeners::ask(&path).unwrap();
        let names: Vec<_> = inherited.sockets.iter().map(|(address, _)| address.clone()).collect();
        assert_eq!(names, addresses);
        let next = HandoverSocket::open(&path, inherited.take_door()).unwrap();
        let heirs = std::mem::take(&mut inherited.sockets);
        let opened = Sockets::open(addresses.iter().map(String::as_str), heirs).unwrap();
        let again = next.watch(opened).unwrap();
        inherited.release();
        taken.blocking_recv().unwrap();

        // The door is the successor's now, under the same name.
        InheritedListeners::ask(&path).unwrap().release();
        assert!(again.blocking_recv().is_ok());
    }

    #[test]
    fn what_a_dead_process_has_left_is_nobodys_door() {
        let folder = tempfile::tempdir().unwrap();
        let path = HandoverSocket::path(folder.path(), "127.0.0.1:1");
        drop(HandoverSocket::open(&path, None).unwrap());
        assert!(path.exists());
        assert!(InheritedListeners::ask(&path).is_err());
        assert!(HandoverSocket::open(&path, None).is_ok());
    }
}
