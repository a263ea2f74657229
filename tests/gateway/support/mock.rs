//! A provider that does what it is told, byte for byte, and remembers what it saw.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// One step of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Send(Vec<u8>),
    /// Waits until the test says to go on.
    Await(Arc<Gate>),
    /// Waits for so long.
    Pause(Duration),
    /// Closes the connection.
    Close,
    /// Says nothing until the other side has closed the connection, and counts that.
    Hold,
}

/// What a test opens to let a provider go on.
#[derive(Debug)]
pub(crate) struct Gate {
    open: Mutex<Sender<()>>,
    wait: Mutex<Receiver<()>>,
}

/// One request as it arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The head as it was sent, without the empty line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Requests before it on its connection.
    pub(crate) before: usize,
}

type Script = dyn Fn(&Seen, usize) -> Vec<Act> + Send + Sync;

/// A provider that speaks HTTP/1.1.
pub(crate) struct Mock {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    script: Box<Script>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    left: AtomicUsize,
}

impl Mock {
    /// A provider that answers all requests alike.
    pub(crate) fn new(acts: Vec<Act>) -> Self {
        Self::scripted(move |_, _| acts.clone())
    }

    /// A provider that answers by request and by its number, which counts from 0.
    pub(crate) fn scripted(script: impl Fn(&Seen, usize) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
        });
        let ours = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve(stream));
            }
        });
        Self { port, shared: ours }
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The requests since the last look.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.shared.seen.lock().unwrap())
    }

    /// The only request so far.
    pub(crate) fn one(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.into_iter().next().unwrap()
    }

    /// The last request so far.
    pub(crate) fn last(&self) -> Seen {
        self.shared.seen.lock().unwrap().last().cloned().expect("a request")
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many were closed by the other side while this one held them.
    pub(crate) fn left(&self) -> usize {
        self.shared.left.load(Ordering::SeqCst)
    }
}

impl Gate {
    pub(crate) fn new() -> Arc<Self> {
        let (open, wait) = channel();
        Arc::new(Self { open: Mutex::new(open), wait: Mutex::new(wait) })
    }

    /// Lets one step go on.
    pub(crate) fn open(&self) {
        self.open.lock().unwrap().send(()).unwrap();
    }

    fn wait(&self) {
        let _ = self.wait.lock().unwrap().recv_timeout(MOCK_TIMEOUT);
    }
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    pub(crate) fn request_line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let mut before = 0;
        while let Some(mut request) = read(&mut stream) {
            request.before = before;
            before += 1;
            let number = {
                let mut seen = self.seen.lock().unwrap();
                seen.push(request.clone());
                seen.len() - 1
            };
            for act in (self.script)(&request, number) {
                if !self.play(act, &mut stream) {
                    return;
                }
            }
        }
    }

    /// Gives whether the connection lives on.
    fn play(&self, act: Act, stream: &mut TcpStream) -> bool {
        match act {
            Act::Send(bytes) => stream.write_all(&bytes).is_ok(),
            Act::Await(gate) => {
                gate.wait();
                true
            }
            Act::Pause(time) => {
                thread::sleep(time);
                true
            }
            Act::Close => false,
            Act::Hold => {
                let _ = stream.set_read_timeout(Some(MOCK_TIMEOUT));
                if !matches!(stream.read(&mut [0]), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock) {
                    self.left.fetch_add(1, Ordering::SeqCst);
                }
                false
            }
        }
    }
}

fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&bytes[..bytes.len() - 4]).into_owned();
    let mut seen = Seen { head, ..Seen::default() };
    let length = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
    seen.body.resize(length, 0);
    stream.read_exact(&mut seen.body).ok()?;
    Some(seen)
}

/// A whole JSON answer.
pub(crate) fn json(status: u16, headers: &str, body: &str) -> Vec<Act> {
    whole(status, &format!("content-type: application/json\r\n{headers}"), body.as_bytes())
}

/// A whole answer.
pub(crate) fn whole(status: u16, headers: &str, body: &[u8]) -> Vec<Act> {
    let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len());
    vec![Act::Send([head.as_bytes(), body].concat())]
}

/// A stream of events in these pieces, each a chunk of its own.
pub(crate) fn sse<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Act> {
    let mut acts = open(pieces);
    acts.push(Act::Send(b"0\r\n\r\n".to_vec()));
    acts
}

/// The same without its end.
pub(crate) fn open<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Act> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let head = Act::Send(head.as_bytes().to_vec());
    std::iter::once(head).chain(pieces.into_iter().map(chunk)).collect()
}

/// One chunk of a chunked body.
pub(crate) fn chunk(piece: &[u8]) -> Act {
    Act::Send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())
}

/// The longest that a provider waits for anything.
const MOCK_TIMEOUT: Duration = Duration::from_secs(20);
