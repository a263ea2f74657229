//! The control socket: the admin API for commands on the same machine, with all rights and without a token.
//!
//! Only this process's user and root are let in. The socket works until the last call is over, also in a process that
//! another has taken over from: both work on the same store.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use http::Response;
use pingora::apps::ServerApp as _;
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::server::ShutdownWatch;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::geteuid;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::admin::api::{Answer, Peer};
use crate::admin::{Code, OperationError};
use crate::edge::accept::side::Side;
use crate::edge::gateway::connections;
use crate::edge::server::admin::answer_api;
use crate::edge::server::api::{self, AdminApi};
use crate::private;
use crate::store::{self, ControlName};

/// A gateway's control socket, which listens under the process's own name and under the address's.
#[derive(Debug)]
pub(in crate::edge) struct ControlSocket {
    listener: StdListener,
    /// The file of the process's own name.
    own: PathBuf,
    /// The file of the address's name.
    shared: PathBuf,
    /// The device and the inode of the socket's files.
    identity: (u64, u64),
}

/// The application behind the socket, for the connections of one user.
#[derive(Debug)]
struct Control {
    api: AdminApi,
    user: u32,
}

impl ControlSocket {
    /// Opens the socket of the gateway that listens on `address`. A gateway without one can still be reached by its
    /// admin listener, so that a failure is only logged.
    pub(in crate::edge) fn open(data: &Path, address: &str) -> Option<Self> {
        let opened = Self::bind(data, address, std::process::id());
        opened
            .inspect_err(|error| {
                log::warn!(
                    "{}: {error}; commands work on the store itself",
                    data.join(store::CONTROL).display()
                );
            })
            .ok()
    }

    fn bind(data: &Path, address: &str, process: u32) -> io::Result<Self> {
        let folder = data.join(store::CONTROL);
        private::folder(&folder)?;
        sweep(data)?;
        let name = ControlName { process: Some(process), address: address.to_owned() };
        let (own, shared) = (folder.join(name.to_string()), folder.join(address));
        remove(&own)?;
        let listener = StdListener::bind(name.path(data)?)?;
        fs::set_permissions(&own, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let identity = identity(&own)?;
        // The name changes hands in one step, so that nobody finds it missing.
        let next = folder.join(format!(".{name}"));
        remove(&next)?;
        fs::hard_link(&own, &next)?;
        fs::rename(&next, &shared)?;
        Ok(Self { listener, own, shared, identity })
    }

    /// Serves commands until the process ends.
    pub(in crate::edge) async fn serve(self, api: AdminApi, mut stop: ShutdownWatch) {
        let listener = match self.listener.try_clone().and_then(UnixListener::from_std) {
            Ok(listener) => listener,
            Err(error) => return log::error!("the control socket cannot be used: {error}"),
        };
        let commands = Commands::new(&api);
        let (ending, told) = watch::channel(false);
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => commands.serve(stream, &told, &mut running),
                    Err(error) => {
                        log::warn!("control socket: {error}");
                        sleep(PAUSE).await;
                    }
                },
                Some(_) = running.join_next() => {}
                _ = stop.changed() => break,
            }
        }
        self.withdraw();
        // Those that had connected before the names were gone are served, too.
        while let Some(stream) = waiting(&listener).await {
            commands.serve(stream, &told, &mut running);
        }
        if timeout(GRACE, all(&mut running)).await.is_err() {
            let _ = ending.send(true);
            let _ = timeout(LAST_WORDS, all(&mut running)).await;
        }
    }

    /// Removes the socket's names, unless another process has taken one over.
    fn withdraw(&self) {
        for file in [&self.shared, &self.own] {
            if identity(file).is_ok_and(|identity| identity == self.identity) {
                let _ = fs::remove_file(file);
            }
        }
    }
}

/// The applications for those who are let in.
struct Commands {
    own: u32,
    by_user: Vec<(u32, Arc<Side<Control>>)>,
}

impl Commands {
    fn new(api: &AdminApi) -> Self {
        let own = geteuid().as_raw();
        let mut users = vec![own, ROOT];
        users.dedup();
        let side = |user| Arc::new(Side::new(Control { api: api.clone(), user }, connections::OPERATORS));
        Self { own, by_user: users.into_iter().map(|user| (user, side(user))).collect() }
    }

    /// Serves one connection, unless its user is a stranger.
    fn serve(&self, stream: UnixStream, told: &ShutdownWatch, running: &mut JoinSet<()>) {
        let user = stream.peer_cred().map(|credentials| credentials.uid());
        let side = self.by_user.iter().find(|(known, _)| user.as_ref().is_ok_and(|user| user == known));
        let Some((_, side)) = side else {
            return log::warn!("control socket: {user:?} was not let in, only uid {} and root are", self.own);
        };
        let (side, told) = (Arc::clone(side), told.clone());
        running.spawn(async move {
            side.process_new(Box::new(L4Stream::from(stream)), &told).await;
        });
    }
}

#[async_trait]
impl ServeHttp for Control {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let path = api::path(session.req_header().uri.path()).map(str::to_owned);
        answer_api(match path {
            Some(path) => self.api.serve(session, path, Ok(Peer::Local(self.user))).await,
            None => Answer::refusal(&OperationError::new(Code::NotFound, "there is only the admin API")),
        })
    }
}

/// Removes the sockets that dead processes have left.
fn sweep(data: &Path) -> io::Result<()> {
    for name in store::control_sockets(data)? {
        let is_dead = name.process.is_some() && name.path(data).is_ok_and(|path| is_abandoned(path.as_ref()));
        if is_dead {
            remove(&data.join(store::CONTROL).join(name.to_string()))?;
        }
    }
    Ok(())
}

/// Whether nobody listens at a socket any more. A process that is too busy to answer still listens.
fn is_abandoned(path: &Path) -> bool {
    let kind = (AddressFamily::UNIX, SocketType::STREAM);
    let socket = socket_with(kind.0, kind.1, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None);
    let connected = SocketAddrUnix::new(path).and_then(|address| connect(&socket?, &address));
    connected == Err(rustix::io::Errno::CONNREFUSED)
}

/// Returns the next connection that waits already, if there is one.
async fn waiting(listener: &UnixListener) -> Option<UnixStream> {
    // The runtime may not have noticed yet what has come.
    tokio::task::yield_now().await;
    std::future::poll_fn(|context| {
        Poll::Ready(match listener.poll_accept(context) {
            Poll::Ready(Ok((stream, _))) => Some(stream),
            Poll::Ready(Err(_)) | Poll::Pending => None,
        })
    })
    .await
}

async fn all(running: &mut JoinSet<()>) {
    while running.join_next().await.is_some() {}
}

fn identity(file: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(file).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Removes a file, if it exists.
fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The user who may do everything.
const ROOT: u32 = 0;

/// The pause after a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(50);

/// The time for commands that run when the process ends, before they are told.
const GRACE: Duration = Duration::from_millis(100);

/// The time for them afterwards.
const LAST_WORDS: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream as StdStream;

    use super::*;

    const ADDRESS: &str = "127.0.0.1:8080";

    fn names(data: &Path) -> Vec<String> {
        store::control_sockets(data).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_name_of_an_address_is_that_of_its_newest_process_and_nobody_removes_anothers() {
        let data = tempfile::tempdir().unwrap();
        let first = ControlSocket::bind(data.path(), ADDRESS, 1).unwrap();
        assert_eq!(fs::metadata(&first.own).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(data.path().join(store::CONTROL)).unwrap().mode() & 0o777, 0o700);
        let second = ControlSocket::bind(data.path(), ADDRESS, 2).unwrap();
        assert_eq!(names(data.path()), [ADDRESS.to_owned(), format!("{ADDRESS}.1"), format!("{ADDRESS}.2")]);
        assert_eq!(identity(&second.shared).unwrap(), second.identity);
        first.withdraw();
        assert_eq!(names(data.path()), [ADDRESS.to_owned(), format!("{ADDRESS}.2")]);
        assert!(StdStream::connect(&second.shared).is_ok());
        second.withdraw();
        assert!(names(data.path()).is_empty());
    }

    #[test]
    fn what_a_dead_process_has_left_is_swept_and_a_busy_one_is_left_alone() {
        let data = tempfile::tempdir().unwrap();
        let busy = ControlSocket::bind(data.path(), ADDRESS, 1).unwrap();
        drop(ControlSocket::bind(data.path(), "127.0.0.1:9", 2).unwrap());
        assert_eq!(names(data.path()).len(), 4);
        let next = ControlSocket::bind(data.path(), "127.0.0.1:9", 3).unwrap();
        assert!(StdStream::connect(&next.shared).is_ok() && StdStream::connect(&busy.own).is_ok());
        let expected = ["127.0.0.1:8080", "127.0.0.1:9", "127.0.0.1:8080.1", "127.0.0.1:9.3"];
        assert_eq!(names(data.path()), expected);
    }
}
