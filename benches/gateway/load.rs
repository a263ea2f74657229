//! The client: connections that each send a request, compare the answer, and send the next.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::upstream::RECEIVED;
use crate::wire::Wire;

/// One request, and its whole answer.
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) request: Vec<u8>,
    pub(crate) expected: Vec<u8>,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) answers: u64,
    pub(crate) errors: u64,
    /// The first error.
    pub(crate) why: Option<String>,
}

/// Keeps so many connections busy for so long; each of them sends one request at least.
pub(crate) async fn run(load: &Arc<Load>, connections: u32, stagger: Duration, time: Duration) -> Tally {
    let mut running = JoinSet::new();
    let mut delay = Duration::ZERO;
    for _ in 0..connections {
        running.spawn(repeat(Arc::clone(load), delay, time));
        delay += stagger;
    }
    let mut all = Tally::default();
    for one in running.join_all().await {
        all.answers += one.answers;
        all.errors += one.errors;
        all.why = all.why.or(one.why);
    }
    all
}

/// Sends so many requests, one after the other and each after a pause, on one connection that is kept for the next
/// time.
pub(crate) async fn times(
    load: &Load,
    times: u32,
    pause: Duration,
    connection: &mut Option<Wire>,
) -> io::Result<()> {
    for _ in 0..times {
        if !pause.is_zero() {
            sleep(pause).await;
        }
        *connection = timeout(ANSWER_TIMEOUT, once(load, connection.take())).await??;
    }
    Ok(())
}

/// The answer to one request, whatever it is.
pub(crate) async fn answer(load: &Load) -> io::Result<Vec<u8>> {
    let mut wire = connect(load).await?;
    wire.send(&load.request).await?;
    let head = wire.head().await?;
    let mut answer = Vec::new();
    wire.body(&head, |piece| {
        RECEIVED.fetch_add(piece.len() as u64, Ordering::Release);
        answer.extend_from_slice(piece);
        Ok(())
    })
    .await?;
    Ok(answer)
}

/// Opens so many streams, and gives them when all of them have run for a while.
pub(crate) async fn open(load: &Load, streams: u32) -> Vec<Wire> {
    let mut open = Vec::new();
    for _ in 0..streams {
        let mut wire = connect(load).await.unwrap();
        wire.send(&load.request).await.unwrap();
        let head = timeout(ANSWER_TIMEOUT, wire.head()).await.unwrap().unwrap();
        assert!(is_ok(&head.first), "{}", head.first);
        open.push(wire);
    }
    sleep(Duration::from_millis(500)).await;
    open
}

async fn repeat(load: Arc<Load>, delay: Duration, time: Duration) -> Tally {
    sleep(delay).await;
    let start = Instant::now();
    let mut tally = Tally::default();
    let mut connection = None;
    loop {
        match timeout(time + ANSWER_TIMEOUT, once(&load, connection.take())).await {
            Ok(Ok(kept)) => {
                tally.answers += 1;
                connection = kept;
            }
            Ok(Err(error)) => tally.fail(error.to_string()),
            Err(_) => tally.fail("no answer in time".to_owned()),
        }
        if start.elapsed() >= time {
            return tally;
        }
        if tally.errors > 0 {
            // Nothing is measured any more; what is broken is not hammered on.
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// One request and its answer. Gives the connection back if it may be used again.
async fn once(load: &Load, connection: Option<Wire>) -> io::Result<Option<Wire>> {
    let mut wire = match connection {
        Some(wire) => wire,
        None => connect(load).await?,
    };
    wire.send(&load.request).await?;
    let head = wire.head().await?;
    if !is_ok(&head.first) {
        return Err(io::Error::other(head.first));
    }
    let mut left = load.expected.as_slice();
    wire.body(&head, |piece| {
        RECEIVED.fetch_add(piece.len() as u64, Ordering::Release);
        let wrong = || {
            let same = left.iter().zip(piece).take_while(|(wanted, got)| wanted == got).count();
            io::Error::other(format!("another answer from byte {}", load.expected.len() - left.len() + same))
        };
        left = left.strip_prefix(piece).ok_or_else(wrong)?;
        Ok(())
    })
    .await?;
    if !left.is_empty() {
        return Err(io::Error::other(format!("an answer without its last {} bytes", left.len())));
    }
    Ok((!head.close).then_some(wire))
}

async fn connect(load: &Load) -> io::Result<Wire> {
    Wire::new(TcpStream::connect(load.address).await?)
}

fn is_ok(first: &str) -> bool {
    first.starts_with("HTTP/1.1 200")
}

impl Tally {
    fn fail(&mut self, why: String) {
        self.errors += 1;
        self.why.get_or_insert(why);
    }
}

const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
