//! Listeners other than the one for clients: the admin listener, and that of the built-in provider.
//!
//! Everybody who can reach such a listener can use up files of the process, most of which clients need. So the
//! number of connections is small, and if there is one too many, the connection that has been idle for the longest
//! is closed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use parking_lot::Mutex;
use pingora::apps::{HttpServerApp, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::server::ShutdownWatch;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::config::Limits;
use crate::edge::accept::{Next, next};
use crate::edge::call::refusal::Refusal;
use crate::edge::call::shutdown::Shutdown;
use crate::edge::gateway::refused::Refused;
use crate::edge::wire::alarm::Alarm;
use crate::edge::wire::framing;
use crate::edge::wire::head::Malformed;
use crate::edge::wire::streams::{self, Asked};

/// An application behind such a listener.
pub(in crate::edge) struct Side<A> {
    app: Arc<A>,
    room: Arc<Room>,
    limits: Limits,
    /// The options of HTTP/2 with prior knowledge; absent if it is not served.
    h2: Option<H2Options>,
    /// The time limit of an answer; absent if there is none.
    answer: Option<Duration>,
}

impl<A> Side<A> {
    /// Makes an application with at most so many connections.
    pub(in crate::edge) fn new(app: A, connections: usize) -> Self {
        let limits =
            Limits { head_bytes: HEAD, head_seconds: SECONDS, idle_seconds: SECONDS, ..Limits::default() };
        let room = Arc::new(Room { most: connections, seats: Mutex::default() });
        Self { app: Arc::new(app), room, limits, h2: None, answer: Some(ANSWER) }
    }

    /// Returns the same application with answers that may take any time and also use HTTP/2.
    pub(in crate::edge) fn lasting(self) -> Self {
        Self { h2: Some(default_h2_options()), answer: None, ..self }
    }
}

impl<A: HttpServerApp + Send + Sync + 'static> Side<A> {
    /// Serves all requests of one connection.
    async fn serve(&self, mut stream: Stream, shutdown: &ShutdownWatch, seat: &Arc<Seat>) {
        let (mut settings, mut bytes, mut alarm) = (None, BytesMut::new(), Alarm::default());
        let ending = Shutdown::default();
        loop {
            let may_be_h2 = self.h2.is_some() && settings.is_none();
            let told = (shutdown, &ending);
            let next = next(&mut stream, &mut bytes, &self.limits, &mut alarm, told, may_be_h2).await;
            let (end, length) = match (next, &self.h2) {
                (Next::Request(end, length), _) => (end, length),
                (Next::Http2, Some(h2)) => {
                    return Box::pin(self.http2(stream, bytes, h2.clone(), shutdown, seat)).await;
                }
                (Next::Refused(refusal), _) => return refuse(stream, refusal).await,
                (Next::Gone | Next::Http2, _) => return,
            };
            let mut session = match framing::session(stream, &mut bytes, end, length) {
                Ok(session) => session,
                Err((stream, Malformed(why))) => return refuse(stream, Refusal::Malformed(why)).await,
            };
            if let Some(settings) = settings.take() {
                pingora::apps::HttpPersistentSettings::apply_to_session(settings, &mut session);
            }
            session.set_write_timeout(Some(WRITE));
            session.set_total_drain_timeout(Some(DRAIN));
            let answering = Answering::at(seat);
            let answered = self.app.process_new_http(session, shutdown);
            let reused = match self.answer {
                Some(time) => timeout(time, answered).await.ok().flatten(),
                None => answered.await,
            };
            // A connection that is only waiting to be closed may give up its place to another one.
            drop(answering);
            let Some(reused) = reused else { return };
            let Some(reused) = framing::reused(reused).await else { return };
            (stream, settings) = reused;
        }
    }

    /// Serves all requests of an HTTP/2 connection.
    async fn http2(
        &self,
        stream: Stream,
        first: BytesMut,
        options: H2Options,
        shutdown: &ShutdownWatch,
        seat: &Arc<Seat>,
    ) {
        let idle = Duration::from_secs(self.limits.idle_seconds);
        streams::serve(stream, first, options, shutdown.clone(), idle, |asked| {
            let Asked::Request(session, guard) = asked else { return };
            let (app, shutdown, answering) = (Arc::clone(&self.app), shutdown.clone(), Answering::at(seat));
            tokio::spawn(async move {
                let mut session = ServerSession::new_http2(*session);
                session.set_write_timeout(Some(WRITE));
                app.process_new_http(session, &shutdown).await;
                drop((guard, answering));
            });
        })
        .await;
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for Side<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        // Answers with a time limit take no time, unless their client reads slowly.
        let seat = self.room.enter(self.answer.is_some())?;
        tokio::select! {
            () = self.serve(stream, shutdown, &seat.0) => {}
            () = seat.0.given_up.notified() => {}
        }
        None
    }

    async fn cleanup(&self) {
        self.app.http_cleanup().await;
    }
}

/// Tells the client why its request is refused.
async fn refuse(stream: Stream, refusal: Refusal) {
    framing::answer_last(stream, &Refused::new("", "", None, refusal.failure()).http1()).await;
}

/// The connections of a listener, in the order in which they were opened.
#[derive(Debug)]
struct Room {
    most: usize,
    seats: Mutex<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    next: u64,
    taken: BTreeMap<u64, Arc<Seat>>,
}

/// The state of a connection.
#[derive(Debug, Default)]
struct Seat {
    /// The number of requests that are being answered.
    requests: AtomicUsize,
    /// Signals that another connection has taken the place.
    given_up: Notify,
}

/// A request that is being answered. It ends when this is dropped.
struct Answering(Arc<Seat>);

impl Answering {
    fn at(seat: &Arc<Seat>) -> Self {
        seat.requests.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(seat))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The place of a connection. It is free again when this is dropped.
struct Taken(Arc<Seat>, u64, Arc<Room>);

impl Room {
    /// Takes a place for a connection. If there is none, closes the oldest idle connection or, if `gives_up_busy`,
    /// the oldest one that is being answered.
    fn enter(self: &Arc<Self>, gives_up_busy: bool) -> Option<Taken> {
        let mut seats = self.seats.lock();
        if seats.taken.len() >= self.most {
            let waits = |(_, seat): &(&u64, &Arc<Seat>)| seat.requests.load(Ordering::Relaxed) == 0;
            let busy = || seats.taken.iter().next().filter(|_| gives_up_busy);
            let oldest = seats.taken.iter().find(waits).or_else(busy).map(|(number, _)| *number)?;
            if let Some(seat) = seats.taken.remove(&oldest) {
                seat.given_up.notify_one();
            }
        }
        let (seat, number) = (Arc::new(Seat::default()), seats.next);
        seats.next += 1;
        seats.taken.insert(number, Arc::clone(&seat));
        Some(Taken(seat, number, Arc::clone(self)))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.2.seats.lock().taken.remove(&self.1);
    }
}

/// The largest head of a request, in bytes.
const HEAD: usize = 16 << 10;

/// The time for a head, and between two requests, in seconds.
const SECONDS: u64 = 10;

/// The time limit of an answer to an operator, of each of its parts, and of reading the rest of an unwanted
/// request.
const ANSWER: Duration = Duration::from_secs(30);
const WRITE: Duration = Duration::from_secs(10);
const DRAIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::edge::server::demo::Demo;

    fn given_up(seat: &Arc<Seat>) -> bool {
        let notified = std::pin::pin!(seat.given_up.notified());
        notified.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[test]
    fn the_oldest_that_waits_makes_room_for_the_newest() {
        let room = Arc::new(Room { most: 3, seats: Mutex::default() });
        let [first, second, third] = [(); 3].map(|()| room.enter(false).unwrap());
        first.0.requests.store(1, Ordering::Relaxed);
        let fourth = room.enter(false).unwrap();
        assert_eq!([&first, &second, &third].map(|taken| given_up(&taken.0)), [false, true, false]);
        drop(second);
        assert_eq!(room.seats.lock().taken.len(), 3);
        for taken in [&third, &fourth] {
            taken.0.requests.store(1, Ordering::Relaxed);
        }
        assert!(room.enter(false).is_none());
        drop(first);
        assert!(room.enter(false).is_some());
    }

    #[test]
    fn where_answers_are_short_the_oldest_makes_room_if_none_waits() {
        let room = Arc::new(Room { most: 2, seats: Mutex::default() });
        let taken = [(); 2].map(|()| room.enter(true).unwrap());
        taken.iter().for_each(|taken| taken.0.requests.store(1, Ordering::Relaxed));
        assert!(room.enter(true).is_some());
        assert_eq!([0, 1].map(|n| given_up(&taken[n].0)), [true, false]);
    }

    #[test]
    fn an_http2_connection_without_a_request_waits() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let side = Arc::new(Side::new(Demo::new("key"), 1).lasting());
            let (mut client, server) = tokio::io::duplex(1 << 16);
            let (_stop, shutdown) = tokio::sync::watch::channel(false);
            let app = Arc::clone(&side);
            let served = tokio::spawn(async move { app.process_new(Box::new(server), &shutdown).await });
            let empty_settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
            client.write_all(&[streams::PREFACE, &empty_settings].concat()).await.unwrap();
            // It is served when it has been told something.
            client.read_u8().await.unwrap();
            assert!(side.room.enter(false).is_some(), "it makes room");
            assert!(served.await.unwrap().is_none());
        });
    }
}
