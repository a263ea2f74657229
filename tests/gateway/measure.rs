//! Figures for a bad day. They depend on the machine, so they are printed, and judged only roughly:
//! `cargo test --release --test gateway measure -- --ignored --nocapture`.

#![expect(clippy::print_stdout, reason = "figures are what this is for")]

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::{Gateway, PROTOCOLS, config, member, request};

/// Latencies of answers with status 200 and of all others, in milliseconds.
#[derive(Default)]
struct Seen {
    good: Vec<f64>,
    shed: Vec<f64>,
}

impl Seen {
    fn line(&mut self, what: &str) -> f64 {
        let p99 = |all: &mut Vec<f64>| {
            all.sort_by(f64::total_cmp);
            all.get(all.len() * 99 / 100).copied().unwrap_or_default()
        };
        let (good, shed) = (p99(&mut self.good), p99(&mut self.shed));
        let counts = (self.good.len(), self.shed.len());
        println!("{what}: {} answered, p99 {good:.1} ms; {} refused, p99 {shed:.1} ms", counts.0, counts.1);
        good
    }
}

/// One message with its length, its head in lower case.
pub(crate) async fn read_message(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).map_or("0", |rest| rest.split('\r').next().unwrap());
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    Some(head + &String::from_utf8_lossy(&body))
}

/// A provider that takes `time` for an answer, and sends events without an end to who asks for a stream.
async fn provide(listener: TcpListener, time: Duration) {
    let event = format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n",
        "x".repeat(4000)
    );
    let chunk: Arc<str> = format!("{:x}\r\n{event}\r\n", event.len()).into();
    let answer: Arc<str> = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{}",
        PROTOCOLS[0].2.len(),
        PROTOCOLS[0].2
    )
    .into();
    while let Ok((stream, _)) = listener.accept().await {
        let (chunk, answer) = (Arc::clone(&chunk), Arc::clone(&answer));
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            while let Some(message) = read_message(&mut stream).await {
                if message.contains("\"stream\":true") {
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                    let mut alive = stream.write_all(head.as_bytes()).await.is_ok();
                    while alive {
                        alive = stream.write_all(chunk.as_bytes()).await.is_ok();
                        sleep(Duration::from_millis(20)).await;
                    }
                    return;
                }
                sleep(time).await;
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Calls one after the other, from so many clients, for some time. Who is refused waits a little.
async fn call(port: u16, key: &str, clients: usize, time: Duration) -> Seen {
    let text: Arc<str> = request(PROTOCOLS[0].0, key, PROTOCOLS[0].1).into();
    let mut all = JoinSet::new();
    for _ in 0..clients {
        let text = Arc::clone(&text);
        all.spawn(async move {
            let (mut seen, begun) = (Seen::default(), Instant::now());
            let mut connection = None;
            while begun.elapsed() < time {
                let mut stream = match connection.take() {
                    Some(stream) => stream,
                    None => BufReader::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap()),
                };
                let one = Instant::now();
                let _ = stream.write_all(text.as_bytes()).await;
                let Some(answer) = read_message(&mut stream).await else { continue };
                let took = one.elapsed().as_secs_f64() * 1e3;
                if !answer.contains("connection: close") {
                    connection = Some(stream);
                }
                if answer.starts_with("http/1.1 200") {
                    seen.good.push(took);
                } else {
                    seen.shed.push(took);
                    sleep(Duration::from_millis(50)).await;
                }
            }
            seen
        });
    }
    let mut sum = Seen::default();
    while let Some(seen) = all.join_next().await {
        let seen = seen.unwrap();
        sum.good.extend(seen.good);
        sum.shed.extend(seen.shed);
    }
    sum
}

async fn connect(port: u16, first: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(first.as_bytes()).await.unwrap();
    stream
}

/// Opens streams and leaves them as soon as they have begun; gives how many had.
async fn abort(port: u16, text: Arc<str>, count: usize) -> usize {
    let (left, begun) = (Arc::new(AtomicUsize::new(count)), Arc::new(AtomicUsize::new(0)));
    let mut all = JoinSet::new();
    for _ in 0..50 {
        let (left, begun, text) = (Arc::clone(&left), Arc::clone(&begun), Arc::clone(&text));
        all.spawn(async move {
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                let mut stream = connect(port, &text).await;
                let mut bytes = [0; 2048];
                if stream.read(&mut bytes).await.unwrap_or(0) > 0 && bytes.starts_with(b"HTTP/1.1 200") {
                    begun.fetch_add(1, Ordering::Relaxed);
                }
                drop(stream);
                // A thousand in a second: more is a load, and not a habit.
                sleep(Duration::from_millis(50)).await;
            }
        });
    }
    all.join_all().await;
    begun.load(Ordering::Relaxed)
}

/// A number from the environment.
fn number<T: FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

pub(crate) fn raise_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

#[test]
#[ignore = "it takes minutes, and figures depend on the machine"]
fn others_do_not_notice_hostile_clients() {
    raise_files();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let limits = "limits: {connections: 20000, connections_per_address: 20000}";
        let gateway = Gateway::start(&format!("{limits}\n{}", config(listener.local_addr().unwrap().port())));
        tokio::spawn(provide(listener, Duration::from_millis(5)));
        let (port, key, time) = (gateway.port, gateway.key.clone(), Duration::from_secs(5));
        let stream = PROTOCOLS[0].1.replace("{\"model\"", "{\"stream\":true,\"model\"");
        let stream: Arc<str> = request(PROTOCOLS[0].0, &key, &stream).into();
        let state = |what: &str| {
            let (memory, files) = (gateway.memory(), gateway.files());
            println!("{what}: {memory} KiB, {files} files");
            (memory, files)
        };
        abort(port, Arc::clone(&stream), 500).await;
        let quiet = call(port, &key, 8, time).await.line("quiet");
        let (memory, files) = state("quiet");

        let mut ends = Vec::new();
        let rounds = number("ROUNDS", 2);
        let patience = Duration::from_secs(number("PATIENCE", 30));
        for round in 1..=rounds {
            println!("--- round {round}");
            let mut slow = Vec::new();
            for _ in 0..2000 {
                slow.push(connect(port, "POST /v1/messages HTTP/1.1\r\nhost: g\r\nx: ").await);
            }
            state("2000 slow heads");
            let slowed = call(port, &key, 8, time).await.line("beside 2000 slow heads");
            drop(slow);

            let mut stalled = Vec::new();
            for _ in 0..1000 {
                stalled.push(connect(port, &stream).await);
            }
            // Until all buffers on the way are full.
            sleep(patience).await;
            let beside = call(port, &key, 8, time).await.line("beside 1000 stalled readers");
            state("1000 stalled readers");
            drop(stalled);

            let aborting = tokio::spawn(abort(port, Arc::clone(&stream), 10_000));
            let aborted = call(port, &key, 8, time).await.line("beside streams that are aborted");
            println!("{} of 10000 had begun", aborting.await.unwrap());
            sleep(Duration::from_secs(10)).await;
            ends.push(state("at the end"));
            println!("p99 / quiet p99: {:.1} {:.1} {:.1}", slowed / quiet, beside / quiet, aborted / quiet);
        }
        call(port, &key, 8, time).await.line("quiet again");
        let ((first, _), (last, last_files)) = (ends[0], *ends.last().unwrap());
        assert!(last_files <= files, "{files} files at first, {last_files} at the end");
        assert!(last < memory + (64 << 10), "{memory} KiB at first, {last} KiB at the end");
        // Less than a quarter more with each round. Pingora's clock keeps 122 bytes for each 10 ms in which a time-out was set, until that is over: for the
        // 600 s of `silence`, 7 MiB for each of two threads.
        let growth = (first / 4 * (rounds - 1)).min(16 << 10);
        assert!(
            last < first + growth.max(first / 4),
            "{first} KiB after one round, {last} KiB after {rounds}"
        );
    });
}

#[test]
#[ignore = "figures depend on the machine"]
fn twice_the_load_takes_little_from_what_is_served() {
    raise_files();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let limits = "limits: {calls: 50, connections: 20000, connections_per_address: 20000}";
        let gateway = Gateway::start(&format!("{limits}\n{}", config(listener.local_addr().unwrap().port())));
        tokio::spawn(provide(listener, Duration::from_millis(100)));
        let time = Duration::from_secs(8);
        // One key alone has nine tenths.
        let mut peak = call(gateway.port, &gateway.key, 45, time).await;
        let mut twice = call(gateway.port, &gateway.key, 90, time).await;
        peak.line("as much as is let in");
        twice.line("twice as much");
        let goodput = twice.good.len() as f64 / peak.good.len() as f64;
        println!("goodput: {:.0} %", goodput * 100.0);
        assert!(goodput > 0.8, "{goodput}");
    });
}

/// A provider that closes connections at the worst moment: when a request has begun to arrive, when all of it
/// has, or about when the next one is sent. It counts what it has answered.
async fn close(listener: TcpListener, answered: Arc<AtomicUsize>) {
    let moment = Arc::new(AtomicUsize::new(0));
    while let Ok((stream, _)) = listener.accept().await {
        let (answered, moment) = (Arc::clone(&answered), Arc::clone(&moment));
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            for before in 0.. {
                let moment = if before == 0 { 9 } else { moment.fetch_add(1, Ordering::Relaxed) % 10 };
                if moment == 0 {
                    // What is not read makes a reset of the end.
                    let _ = stream.get_mut().readable().await;
                    return;
                }
                let Some(message) = read_message(&mut stream).await else { return };
                if moment == 1 {
                    return;
                }
                let answer = PROTOCOLS[if message.contains("/messages") { 2 } else { 0 }].2;
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
                let answer = format!("{head}: {}\r\n\r\n{answer}", answer.len());
                // Before the client knows, who may look at the count as soon as it has its answer.
                answered.fetch_add(1, Ordering::Relaxed);
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
                if moment == 2 {
                    sleep(Duration::from_micros(300)).await;
                    return;
                }
            }
        });
    }
}

/// So many calls, relayed and translated, to a provider that closes its connections at the worst moment.
fn outlive_closings(calls: usize) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (gateway, answered) = runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let up = |protocol: &str| {
            format!(
                "{protocol}: {{base_url: \"http://127.0.0.1:{}/v1\", auth: none, protocols: [{protocol}]}}",
                listener.local_addr().unwrap().port()
            )
        };
        let gateway = Gateway::start(&format!(
            "providers:\n  {}\n  {}\nmodels:\n  - {{id: v/chat, targets: [{{provider: chat}}]}}\n  \
             - {{id: v/messages, targets: [{{provider: messages}}]}}\n",
            up("chat"),
            up("messages")
        ));
        let answered = Arc::new(AtomicUsize::new(0));
        tokio::spawn(close(listener, Arc::clone(&answered)));
        let (mut all, left) = (JoinSet::new(), Arc::new(AtomicUsize::new(calls)));
        for client in 0..8 {
            let model = ["v/chat", "v/messages"][client % 2];
            let text = request(PROTOCOLS[0].0, &gateway.key, &PROTOCOLS[0].1.replace("v/model", model));
            let (left, port) = (Arc::clone(&left), gateway.port);
            all.spawn(async move {
                let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                    stream.write_all(text.as_bytes()).await.unwrap();
                    let answer = read_message(&mut stream).await.unwrap();
                    assert!(answer.starts_with("http/1.1 200"), "{answer}");
                }
            });
        }
        while let Some(done) = all.join_next().await {
            done.unwrap();
        }
        (gateway, answered)
    });
    let lines = gateway.access_log(calls);
    let attempts: usize = lines.iter().map(|line| member(line, "attempts").parse::<usize>().unwrap()).sum();
    let again = lines.iter().filter(|line| member(line, "attempts") != "1").count();
    println!("{} calls, {attempts} attempts, {again} calls were sent once more", lines.len());
    assert_eq!((lines.len(), answered.load(Ordering::Relaxed)), (calls, calls), "each is answered once");
    assert_eq!(attempts, calls + again, "no call is sent more than once more");
    assert!(again > calls / 50, "the provider did close its connections");
}

#[test]
fn connections_that_are_closed_at_the_worst_moment_cost_no_call() {
    outlive_closings(400);
}

#[test]
#[ignore = "it is the same, ten thousand times"]
fn nor_do_they_cost_one_in_ten_thousand() {
    outlive_closings(10_000);
}

/// A provider whose streams take their time: so many events, with a second between two of them.
async fn provide_slowly(listener: TcpListener, events: usize) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let event =
        "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a word or two\"}}]}\n\n";
    let last = "data: [DONE]\n\n";
    let chunk: Arc<str> = format!("{:x}\r\n{event}\r\n", event.len()).into();
    let end: Arc<str> = format!("{:x}\r\n{last}\r\n0\r\n\r\n", last.len()).into();
    while let Ok((mut stream, _)) = listener.accept().await {
        let (chunk, end) = (Arc::clone(&chunk), Arc::clone(&end));
        tokio::spawn(async move {
            read_message(&mut BufReader::new(&mut stream)).await?;
            stream.write_all(head.as_bytes()).await.ok()?;
            for _ in 0..events {
                stream.write_all(chunk.as_bytes()).await.ok()?;
                sleep(Duration::from_secs(1)).await;
            }
            stream.write_all(end.as_bytes()).await.ok()
        });
    }
}

/// So many streams, each with an event a second: all end well, and each takes its memory.
fn hold_streams(count: usize, seconds: usize) {
    raise_files();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let limits = "limits: {connections: 20000, connections_per_address: 20000, calls: 20000}";
        let gateway = Gateway::start(&format!("{limits}\n{}", config(listener.local_addr().unwrap().port())));
        tokio::spawn(provide_slowly(listener, seconds));
        let text = PROTOCOLS[0].1.replace("{\"model\"", "{\"stream\":true,\"model\"");
        let text: Arc<str> = request(PROTOCOLS[0].0, &gateway.key, &text).into();
        println!("{count} streams of {seconds} s");
        let idle = gateway.memory();
        let mut all = JoinSet::new();
        for n in 0..count {
            let mut stream = connect(gateway.port, &text).await;
            all.spawn(async move {
                let mut end = Vec::new();
                let mut bytes = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                    end.extend_from_slice(&bytes[..read]);
                    let tail = b"data: [DONE]\n\n\r\n0\r\n\r\n";
                    if end.ends_with(tail) {
                        return true;
                    }
                    end.drain(..end.len().saturating_sub(tail.len()));
                }
                false
            });
            if n % 200 == 0 {
                sleep(Duration::from_millis(100)).await;
            }
        }
        sleep(Duration::from_secs(10)).await;
        let busy = gateway.memory();
        let open = gateway.metric("crossmodel_requests_in_flight");
        let each = (busy - idle) as f64 / open;
        println!("idle {idle} KiB, with {open} streams {busy} KiB, {each:.1} KiB each");
        let whole = all.join_all().await.into_iter().filter(|whole| *whole).count();
        println!("{whole} of {count} ended well; then {} KiB, {} files", gateway.memory(), gateway.files());
        assert_eq!(whole, count);
        assert!(each < MAX_STREAM_KIB, "{each} KiB");
    });
}

/// The most memory that a stream may take, in KiB.
const MAX_STREAM_KIB: f64 = 60.0;

#[test]
fn streams_end_well_and_take_little_memory() {
    hold_streams(400, 20);
}

/// `STREAMS` (10,000, or as many as the limit of open files allows).
#[test]
#[ignore = "it takes minutes, and needs many open files"]
fn many_streams_end_well_and_take_little_memory() {
    raise_files();
    let files = usize::try_from(getrlimit(Resource::Nofile).current.unwrap_or(1 << 20)).unwrap();
    let count = number("STREAMS", 10_000.min(files.saturating_sub(500) / 2));
    hold_streams(count, number("SECONDS", 60 + count / 100));
}
