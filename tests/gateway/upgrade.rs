//! What operators do while everybody is busy: reloads, other credentials, new processes, a stop. Nobody notices.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::measure::{raise_files, read_message};
use crate::money::credits;
use crate::support::{Gateway, Mock, PROTOCOLS, config, eventually, get, json, member, post, request};

const PATH: &str = PROTOCOLS[0].0;
const BODY: &str = PROTOCOLS[0].1;
const USAGE: &str = r#""usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}"#;
/// What a client says whose stream shall last until everything is over.
const STAY: &str = "\"stay\"";
/// How a failure begins that came before a word of an answer.
const UNHEARD: &str = "unheard: ";
const SOON: Duration = Duration::from_secs(30);

/// What goes on while processes come and go.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    /// Nobody need be connected to any more.
    stopping: AtomicBool,
    answers: AtomicUsize,
    streams: AtomicUsize,
    /// Those who listen, from when their first streams have begun.
    listening: AtomicUsize,
    failures: Mutex<Vec<String>>,
    /// The credential that the provider saw last.
    credential: Mutex<String>,
}

impl Load {
    fn note(&self, what: &AtomicUsize, result: Result<(), String>) {
        match result {
            Ok(()) => drop(what.fetch_add(1, Relaxed)),
            Err(why) => self.failures.lock().unwrap().push(why),
        }
    }

    /// Was a new connection not taken any more? The kernel resets what waits in a listener's queue when that is closed;
    /// of what the gateway has taken there is an access line.
    fn is_untaken(&self, fresh: bool, result: &Result<(), String>) -> bool {
        let unheard = result.as_ref().is_err_and(|why| why.starts_with(UNHEARD));
        fresh && unheard && self.stopping.load(Relaxed)
    }

    /// A new connection, or the end of it all.
    async fn connect(&self, port: u16) -> Option<Result<BufReader<TcpStream>, String>> {
        match TcpStream::connect(("127.0.0.1", port)).await {
            Err(_) if self.stopping.load(Relaxed) => None,
            connected => Some(connected.map(BufReader::new).map_err(|e| format!("connect: {e}"))),
        }
    }
}

/// A provider whose streams say something every 50 ms: one in two until everything is over, the others for
/// a second or so.
async fn provide(listener: TcpListener, load: Arc<Load>) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: ";
    let mut count = 0;
    while let Ok((stream, _)) = listener.accept().await {
        count += 1;
        let (load, events) = (Arc::clone(&load), 10 + count % 20);
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            while let Some(message) = read_message(&mut stream).await {
                let credential = message.lines().find_map(|line| line.strip_prefix("authorization: "));
                credential.unwrap_or_default().clone_into(&mut load.credential.lock().unwrap());
                if !message.contains("\"stream\":true") {
                    let body = PROTOCOLS[0].2;
                    let answer =
                        format!("{head}application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    continue;
                }
                let start = format!("{head}text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
                stream.write_all(start.as_bytes()).await.unwrap();
                let mut said = 0;
                while said < events || message.contains(STAY) && !load.over.load(Relaxed) {
                    said += 1;
                    let event = format!(
                        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{said}\"}}}}]}}\n\n"
                    );
                    let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                    if stream.write_all(chunk.as_bytes()).await.is_err() {
                        return;
                    }
                    sleep(Duration::from_millis(50)).await;
                }
                let last = format!("data: {{\"choices\":[],{USAGE}}}\n\ndata: [DONE]\n\n");
                let end = format!("{:x}\r\n{last}\r\n0\r\n\r\n", last.len());
                let _ = stream.write_all(end.as_bytes()).await;
            }
        });
    }
}

/// Calls one after the other, on one connection for as long as the gateway keeps it.
async fn call(port: u16, text: Arc<str>, load: Arc<Load>) {
    let mut kept = None;
    while !load.over.load(Relaxed) {
        let fresh = kept.is_none();
        let connection = match kept.take() {
            Some(stream) => Some(Ok(stream)),
            None => load.connect(port).await,
        };
        let Some(connection) = connection else { return };
        let one = async {
            let mut stream = connection?;
            stream.write_all(text.as_bytes()).await.map_err(|e| format!("{UNHEARD}write: {e}"))?;
            let answer = read_message(&mut stream).await.ok_or(UNHEARD)?;
            if !answer.contains("connection: close") {
                kept = Some(stream);
            }
            if answer.starts_with("http/1.1 200") { Ok(()) } else { Err(answer) }
        };
        let result = one.await;
        if load.is_untaken(fresh, &result) {
            return;
        }
        load.note(&load.answers, result);
        sleep(Duration::from_millis(10)).await;
    }
}

/// Streams one after the other.
async fn listen(port: u16, text: Arc<str>, load: Arc<Load>) {
    let mut listens = false;
    while !load.over.load(Relaxed) {
        let Some(connection) = load.connect(port).await else { return };
        let one = async {
            let mut stream = connection?;
            stream.write_all(text.as_bytes()).await.map_err(|e| format!("{UNHEARD}write: {e}"))?;
            let mut all = Vec::new();
            let mut buffer = [0; 4096];
            while !all.ends_with(b"0\r\n\r\n") {
                if !all.is_empty() && !std::mem::replace(&mut listens, true) {
                    load.listening.fetch_add(1, Relaxed);
                }
                match stream.read(&mut buffer).await {
                    Ok(n @ 1..) => all.extend_from_slice(&buffer[..n]),
                    other if all.is_empty() => return Err(format!("{UNHEARD}{other:?}")),
                    other => return Err(format!("{other:?} after {}", String::from_utf8_lossy(&all))),
                }
            }
            let all = String::from_utf8_lossy(&all);
            let whole =
                all.starts_with("HTTP/1.1 200") && all.contains("data: [DONE]") && !all.contains("\"error\"");
            if whole { Ok(()) } else { Err(all.into_owned()) }
        };
        let result = one.await;
        if load.is_untaken(true, &result) {
            return;
        }
        load.note(&load.streams, result);
    }
}

/// A gateway in the middle of everything.
struct Busy {
    runtime: Runtime,
    load: Arc<Load>,
    gateway: Gateway,
    settings: String,
    tasks: Vec<JoinHandle<()>>,
}

impl Busy {
    /// With so many streams, of which one in two stays open, and calls beside them; of settings, `change` may
    /// change some.
    fn start(streams: usize, change: impl FnOnce(String) -> String) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let load = Arc::new(Load::default());
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let prices = "{id: v/model, prices: [{input: 1000000, output: 2000000}], ";
        let settings = config(listener.local_addr().unwrap().port()).replace("{id: v/model, ", prices);
        let settings = change(settings);
        runtime.spawn(provide(listener, Arc::clone(&load)));
        let gateway = Gateway::start(&settings);
        gateway.command(&["account", "top-up", "default", "1000"]);
        // A call that looks at the store after the gateway's interval, so that none of the crowd goes without the wallet.
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(
            get(gateway.port, "/v1/models", &format!("authorization: Bearer {}\r\n", gateway.key)).status,
            200
        );
        let unary: Arc<str> = request(PATH, &gateway.key, BODY).into();
        let usage = "{\"stream\":true,\"stream_options\":{\"include_usage\":true},\"model\"";
        let stream = BODY.replace("{\"model\"", usage);
        let staying = stream.replace("\"hi\"", STAY);
        let [stream, staying]: [Arc<str>; 2] =
            [stream, staying].map(|body| request(PATH, &gateway.key, &body).into());
        let mut tasks = Vec::new();
        for _ in 0..8 {
            tasks.push(runtime.spawn(call(gateway.port, Arc::clone(&unary), Arc::clone(&load))));
        }
        for n in 0..streams {
            let stream = if n % 2 == 0 { &stream } else { &staying };
            tasks.push(runtime.spawn(listen(gateway.port, Arc::clone(stream), Arc::clone(&load))));
        }
        assert!(eventually(SOON, || load.listening.load(Relaxed) == streams));
        Self { runtime, load, gateway, settings, tasks }
    }

    /// Has the configuration read again, as a file that differs in a comment.
    fn reload(&self, comment: usize) {
        const OK: &str = "crossmodel_config_reloads_total{result=\"ok\"}";
        let before = self.gateway.metric(OK);
        self.gateway.configure(&format!("# {comment}\n{}", self.settings));
        self.gateway.signal("HUP");
        assert!(eventually(SOON, || self.gateway.metric(OK) > before), "{comment}");
    }

    /// Lets everybody come to an end; gives how many calls there were, and how many streams. None has failed.
    fn end(&mut self) -> (usize, usize) {
        self.load.over.store(true, Relaxed);
        self.runtime.block_on(async {
            for task in self.tasks.drain(..) {
                task.await.unwrap();
            }
        });
        let failures = std::mem::take(&mut *self.load.failures.lock().unwrap());
        assert!(failures.is_empty(), "{} failures, the first: {}", failures.len(), failures[0]);
        (self.load.answers.load(Relaxed), self.load.streams.load(Relaxed))
    }

    /// All of them are in the books, once.
    fn audit(&self, counts: (usize, usize)) {
        let audit = self.gateway.command(&["ledger", "audit", "--json"]);
        let found = ["charges", "holds", "estimated"].map(|name| member(&audit, name));
        assert_eq!(found, [(counts.0 + counts.1).to_string(), "0".to_owned(), "0".to_owned()], "{counts:?}");
    }
}

/// So many changes of the configuration, and in even steps so many of the process, while so many streams are
/// open; gives how many calls there were, and how many streams.
fn change_under_load(reloads: usize, upgrades: usize, streams: usize) -> (usize, usize) {
    let mut busy = Busy::start(streams, |settings| settings);
    for n in 1..=reloads {
        busy.reload(n);
        if n * upgrades / reloads > (n - 1) * upgrades / reloads {
            busy.gateway.upgrade();
        }
    }
    let counts = busy.end();
    let codes = busy.gateway.await_earlier(SOON);
    assert!(codes.len() == upgrades && codes.iter().all(|code| *code == Some(0)), "{codes:?}");
    // The books learn of the last calls by then.
    credits(&busy.gateway);
    busy.audit(counts);
    counts
}

#[test]
fn a_stop_cuts_nothing_that_has_begun() {
    let mut busy = Busy::start(100, |settings| settings);
    busy.load.stopping.store(true, Relaxed);
    busy.gateway.signal("TERM");
    let port = busy.gateway.port;
    assert!(eventually(SOON, || std::net::TcpStream::connect(("127.0.0.1", port)).is_err()));
    let counts = busy.end();
    assert!(counts.0 > 0 && counts.1 >= 100, "{counts:?}");
    assert_eq!(busy.gateway.await_end(SOON), Some(0), "{}", busy.gateway.stderr());
    // Whatever the gateway has taken was answered. The first look at the store is no call of the load.
    let lines = 1 + counts.0 + counts.1;
    assert_eq!(busy.gateway.access_log(lines).len(), lines);
    busy.audit(counts);
}

#[test]
fn another_credential_fails_no_call() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "sk-0").unwrap();
    let named = format!("file:{}", file.display());
    let mut busy = Busy::start(20, |settings| settings.replace("env:UPSTREAM_KEY", &named));
    for n in 1..=5 {
        std::fs::write(&file, format!("sk-{n}")).unwrap();
        busy.reload(n);
        let credential = || busy.load.credential.lock().unwrap().clone();
        assert!(eventually(SOON, || credential() == format!("bearer sk-{n}")), "{}", credential());
    }
    let counts = busy.end();
    assert!(counts.0 > 0 && counts.1 >= 20, "{counts:?}");
}

#[test]
fn neither_reloads_nor_upgrades_fail_a_call_or_cut_a_stream() {
    let (answers, streams) = change_under_load(6, 3, 20);
    assert!(answers > 0 && streams >= 20, "{answers} {streams}");
}

#[test]
#[ignore = "it takes minutes"]
#[expect(clippy::print_stdout, reason = "figures are what this is for")]
fn two_hundred_reloads_and_twenty_upgrades() {
    raise_files();
    let (answers, streams) = change_under_load(200, 20, 200);
    println!(
        "200 reloads, 20 upgrades, 200 open streams: {answers} calls and {streams} streams, none failed"
    );
}

#[test]
fn a_process_that_fails_takes_nothing_over() {
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let gateway = Gateway::start(&config(mock.port));
    let good = std::fs::read_to_string(gateway.file("conf.yaml")).unwrap();
    // One that does not get as far as to ask, and one that has asked.
    for wrong in [good.replace("targets", "tarrgets"), good.replace("/access.log", "/data")] {
        std::fs::write(gateway.file("conf.yaml"), wrong).unwrap();
        let mut successor = gateway.successor();
        assert!(eventually(SOON, || successor.try_wait().unwrap().is_some()), "{}", gateway.stderr());
        assert_eq!(successor.wait().unwrap().code(), Some(1));
        assert_eq!(post(&gateway, PATH, BODY).status, 200);
    }
    assert!(eventually(SOON, || gateway.stderr().contains("nobody has taken over")), "{}", gateway.stderr());
    // Whoever comes next still can.
    std::fs::write(gateway.file("conf.yaml"), good).unwrap();
    let mut gateway = gateway;
    gateway.upgrade();
    assert_eq!(gateway.await_earlier(SOON), [Some(0)]);
    assert_eq!(post(&gateway, PATH, BODY).status, 200);
}

#[test]
fn without_a_gateway_there_is_nothing_to_take_over() {
    let mut gateway = Gateway::start("providers: {demo: {}}\n");
    gateway.signal("TERM");
    assert_eq!(gateway.await_end(SOON), Some(0));
    let mut successor = gateway.successor();
    assert!(eventually(SOON, || successor.try_wait().unwrap().is_some()));
    assert_eq!(successor.wait().unwrap().code(), Some(1));
    assert!(gateway.stderr().contains("there is no gateway to take over from"), "{}", gateway.stderr());
}

/// Ends a process that is not this one's child.
struct Process(String);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-s", "KILL", &self.0]).status();
    }
}

#[test]
fn a_signal_starts_the_successor_and_the_service_manager_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("notify");
    let manager = UnixDatagram::bind(&place).unwrap();
    manager.set_read_timeout(Some(SOON)).unwrap();
    let told = || {
        let mut bytes = [0; 256];
        let count = manager.recv(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
        assert!(text.contains("READY=1"), "{text}");
        text.lines().find_map(|line| line.strip_prefix("MAINPID=")).unwrap().to_owned()
    };
    let mock = Mock::new(json(200, "", PROTOCOLS[0].2));
    let environment = [("NOTIFY_SOCKET", place.to_str().unwrap())];
    let mut gateway = Gateway::start_with(&config(mock.port), &[], &environment);
    let first = told();
    gateway.signal("USR2");
    let second = Process(told());
    assert_ne!(first, second.0);
    assert_eq!(gateway.await_end(SOON), Some(0), "{}", gateway.stderr());
    assert_eq!(post(&gateway, PATH, BODY).status, 200);
    let line = gateway.access_log(1).remove(0);
    assert_eq!(member(&line, "status"), "200");
}
