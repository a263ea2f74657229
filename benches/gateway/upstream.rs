//! The provider: the gateway's own built-in one, on a server that does nothing else.
//!
//! It runs in a thread of the benchmark, beside the client. An answer is made once for each request and
//! then played again, so that a request of 1 MiB does not wait for its parser.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossmodel::demo::{self, Script, ScriptStep};
use tokio::net::{TcpListener, TcpStream};

use crate::wire::Wire;

/// The answers to the requests seen so far.
#[derive(Default)]
struct Answers(Mutex<Vec<(Vec<u8>, Arc<Script>)>>);

/// Starts it, for as long as the process lives.
pub(crate) fn start() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(accept(listener)).unwrap();
    });
    address
}

/// The pieces of the body of an answer.
pub(crate) fn pieces(script: &Script) -> Vec<String> {
    let piece = |step: &ScriptStep| match step {
        ScriptStep::Send(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        ScriptStep::Wait(_) | ScriptStep::Stall | ScriptStep::Cut => None,
    };
    script.steps.iter().filter_map(piece).collect()
}

async fn accept(listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let answers = Arc::new(Answers::default());
    loop {
        let (stream, _) = listener.accept().await?;
        // It ends when the peer goes, which is no error here.
        tokio::spawn(serve(stream, Arc::clone(&answers)));
    }
}

async fn serve(stream: TcpStream, answers: Arc<Answers>) -> io::Result<()> {
    let mut wire = Wire::new(stream)?;
    let mut body = Vec::new();
    loop {
        let head = wire.head().await?;
        body.clear();
        wire.body(&head, |piece| {
            body.extend_from_slice(piece);
            Ok(())
        })
        .await?;
        let path = head.first.split(' ').nth(1).unwrap_or_default();
        let script = answers.to(path, &body);
        play(&mut wire, &script).await?;
    }
}

/// Sends an answer with one write for each of its pieces.
async fn play(wire: &mut Wire, script: &Script) -> io::Result<()> {
    let mut out = format!("HTTP/1.1 {} OK\r\n", script.status).into_bytes();
    for (name, value) in &script.headers {
        out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    let chunked = script.length().is_none();
    match script.length() {
        Some(length) => out.extend_from_slice(format!("content-length: {length}\r\n\r\n").as_bytes()),
        None => out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n"),
    }
    let mut sent = 0;
    for step in &script.steps {
        match step {
            ScriptStep::Send(bytes) if chunked => {
                out.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            }
            ScriptStep::Send(bytes) => out.extend_from_slice(bytes),
            ScriptStep::Wait(UNTIL_RECEIVED) => {
                until_received(sent).await;
                continue;
            }
            ScriptStep::Wait(time) => {
                tokio::time::sleep(*time).await;
                continue;
            }
            ScriptStep::Stall | ScriptStep::Cut => return Err(io::ErrorKind::Unsupported.into()),
        }
        sent = RECEIVED.load(Ordering::Acquire);
        wire.send(&out).await?;
        out.clear();
    }
    if chunked {
        out.extend_from_slice(b"0\r\n\r\n");
    }
    wire.send(&out).await
}

/// Waits until the client has more than it had when the last event was sent, or for as long as an event takes of which
/// the client gets nothing.
async fn until_received(before: u64) {
    let start = Instant::now();
    while RECEIVED.load(Ordering::Acquire) == before && start.elapsed() < NOTHING_COMES {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Bytes of answers that the client has received.
pub(crate) static RECEIVED: AtomicU64 = AtomicU64::new(0);

/// A pause that lasts until the client has the event before it, so that each comes alone on a machine of any speed.
pub(crate) const UNTIL_RECEIVED: Duration = Duration::from_millis(1);
const NOTHING_COMES: Duration = Duration::from_millis(100);

impl Answers {
    fn to(&self, path: &str, body: &[u8]) -> Arc<Script> {
        let mut known = self.0.lock().unwrap();
        if let Some((_, script)) = known.iter().find(|(asked, _)| asked == body) {
            return Arc::clone(script);
        }
        let script = Arc::new(demo::answer("POST", path, body));
        known.push((body.to_vec(), Arc::clone(&script)));
        script
    }
}
