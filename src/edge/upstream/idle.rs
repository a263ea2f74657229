//! Connections to one provider that wait for their next request.
//!
//! Pingora's pool starts a task for each connection that it is given, and asks the system for the address at its other end
//! before it gives it back. Here they only lie on a stack, by the address to which they were opened; who is gone is found out
//! when one is wanted, and once a second.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pingora::protocols::Stream;
use pingora::protocols::l4::socket::SocketAddr;
use tokio::io::{AsyncRead as _, ReadBuf};

/// The connections of one provider.
#[derive(Default)]
pub(in crate::edge) struct Idle(Mutex<VecDeque<Waiting>>);

/// A connection that waits.
struct Waiting {
    stream: Stream,
    /// The address at its other end.
    address: SocketAddr,
    since: Instant,
}

impl Idle {
    /// Takes the connection to this address that was used last, if its server has neither closed it nor said anything on it.
    pub(in crate::edge) fn take(&self, address: &SocketAddr) -> Option<Stream> {
        loop {
            let mut waiting = {
                let mut all = self.0.lock();
                let at = all.iter().rposition(|waiting| waiting.address == *address)?;
                all.remove(at)?
            };
            if waiting.since.elapsed() < MAX_IDLE && is_quiet(&mut waiting.stream) {
                return Some(waiting.stream);
            }
        }
    }

    /// Keeps a connection; the one that has waited for the longest makes room for it.
    pub(in crate::edge) fn put(&self, stream: Stream, address: SocketAddr) {
        let mut all = self.0.lock();
        let surplus = (all.len() >= MAX_CONNECTIONS).then(|| all.pop_front());
        all.push_back(Waiting { stream, address, since: Instant::now() });
        drop(all);
        // What closing it takes is not waited for by others.
        drop(surplus);
    }

    /// Closes the connections that have waited for too long, or whose server has closed them.
    pub(in crate::edge) fn sweep(&self) {
        let mut gone = Vec::new();
        let mut all = self.0.lock();
        for mut waiting in std::mem::take(&mut *all) {
            match waiting.since.elapsed() < MAX_IDLE && is_quiet(&mut waiting.stream) {
                true => all.push_back(waiting),
                false => gone.push(waiting),
            }
        }
        drop(all);
    }
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idle").field("connections", &self.0.lock().len()).finish()
    }
}

/// Whether a connection is open and nothing has come that nobody has asked for.
fn is_quiet(stream: &mut Stream) -> bool {
    let mut byte = [0];
    let read =
        Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut ReadBuf::new(&mut byte));
    matches!(read, Poll::Pending)
}

/// The longest time for which an unused connection is kept: most servers close theirs after 60 s or more.
pub(in crate::edge) const MAX_IDLE: Duration = Duration::from_secs(55);

/// Unused connections to one provider that are kept.
const MAX_CONNECTIONS: usize = 512;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    fn address(last: u8) -> SocketAddr {
        std::net::SocketAddr::from(([127, 0, 0, last], 80)).into()
    }

    fn open(idle: &Idle, last: u8) -> DuplexStream {
        let (own, other) = duplex(64);
        idle.put(Box::new(own), address(last));
        other
    }

    #[tokio::test]
    async fn the_one_of_the_address_is_given_that_was_used_last() {
        let idle = Idle::default();
        let others = [1, 2, 1].map(|last| open(&idle, last));
        let mut taken = idle.take(&address(1)).unwrap();
        taken.write_all(b"x").await.unwrap();
        let [first, second, mut third] = others;
        assert_eq!(tokio::io::AsyncReadExt::read_u8(&mut third).await.unwrap(), b'x');
        assert!(idle.take(&address(1)).is_some() && idle.take(&address(1)).is_none());
        assert!(idle.take(&address(2)).is_some());
        drop((first, second));
    }

    #[tokio::test]
    async fn who_is_gone_or_speaks_unasked_is_not_given() {
        let idle = Idle::default();
        let closed = open(&idle, 1);
        let mut speaks = open(&idle, 1);
        let stays = open(&idle, 1);
        drop(closed);
        speaks.write_all(b"?").await.unwrap();
        idle.sweep();
        assert_eq!(idle.0.lock().len(), 1);
        drop(stays);
        assert!(idle.take(&address(1)).is_none());
    }

    #[test]
    fn only_so_many_are_kept() {
        let idle = Idle::default();
        let others: Vec<_> = (0..=MAX_CONNECTIONS).map(|_| open(&idle, 1)).collect();
        assert_eq!(idle.0.lock().len(), MAX_CONNECTIONS);
        drop(others);
    }
}
