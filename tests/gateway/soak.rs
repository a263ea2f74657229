//! Everything at once, for as long as one likes: all protocols, paid calls, faults of providers and of clients, each
//! a few in a hundred. Whatever fails has to be explained by a fault that was ordered; at the end the books add up,
//! and memory and files are what they were.
//!
//! `SOAK_SECONDS=600 cargo test --test gateway soak -- --ignored --nocapture`

#![expect(clippy::print_stdout, reason = "figures are what this is for")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::money::{asked, audited, body, config, stream, streams};
use crate::support::{
    Act, Client, Gateway, Mock, PROTOCOLS, Response, Seen, chunk, eventually, h2_post, json, open, request,
    sse,
};

/// What a provider does on demand; the demand stands in the prompt. None of it is a whole answer.
const OF_PROVIDERS: [&str; 9] =
    ["closes", "fails", "limits", "html", "cuts", "reports", "stalls", "garbage", "resets"];

/// What a client does.
const OF_CLIENTS: [&str; 6] = ["leaves early", "leaves late", "reads slowly", "no json", "no key", "no http"];

/// In so many calls out of a hundred there is a fault of a provider, or of a client.
const FAULTS: u64 = 3 * 9;
const ODD_CLIENTS: u64 = 3 * 6;

const CALLERS: u64 = 12;

#[derive(Default)]
struct Counts {
    /// Calls, by what was ordered.
    calls: BTreeMap<&'static str, u64>,
    /// Answers that were seen to a good end.
    whole: u64,
    /// Failures that nobody ordered, and good ends where there can be none.
    unexplained: Vec<String>,
}

fn provide(seen: &Seen) -> Vec<Act> {
    let protocol = asked(seen);
    let text = seen.text();
    let fault = text.split("fault: ").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    let whole = stream(protocol);
    let (first, rest) = whole.split_at(whole.find("\n\n").unwrap() + 2);
    match fault {
        "closes" => vec![Act::Close],
        "fails" => json(500, "", r#"{"error":{"message":"x"}}"#),
        "limits" => json(429, "retry-after: 1\r\n", r#"{"error":{"message":"x"}}"#),
        "html" => json(200, "", "<html>"),
        "garbage" => vec![Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: zz\r\n\r\n".to_vec()), Act::Close],
        "resets" => {
            vec![Act::Send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n".to_vec()), Act::Close]
        }
        "stalls" if streams(seen) => [open([first.as_bytes()]), vec![Act::Hold]].concat(),
        "stalls" => vec![Act::Hold],
        "cuts" if streams(seen) => [open([first.as_bytes()]), vec![Act::Close]].concat(),
        "cuts" => {
            vec![
                Act::Send(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
                        .to_vec(),
                ),
                Act::Close,
            ]
        }
        "reports" if streams(seen) => {
            let error = ["", "event: error\n", "event: error\n"][protocol];
            let data = r#"data: {"type":"error","error":{"type":"server_error","message":"x"}}"#;
            [open([first.as_bytes(), format!("{error}{data}\n\n").as_bytes()]), vec![Act::Close]].concat()
        }
        "reports" => json(200, "", r#"{"error":{"message":"x","type":"server_error"}}"#),
        "pauses" if streams(seen) => {
            let pause = Act::Pause(Duration::from_millis(300));
            [open([first.as_bytes()]), vec![pause, chunk(rest.as_bytes()), Act::Send(b"0\r\n\r\n".to_vec())]]
                .concat()
        }
        _ if streams(seen) => sse(whole.split_inclusive("\n\n").map(str::as_bytes)),
        _ => json(200, "", PROTOCOLS[protocol].2),
    }
}

/// Is this the whole of a good answer?
fn is_whole(response: &Response, client: usize, streams: bool) -> bool {
    let end = ["data: [DONE]", "\"response.completed\"", "\"message_stop\""][client];
    let good_end = !streams || response.body.contains(end);
    response.status == 200 && response.complete && good_end && !response.body.contains("\"error\":{")
}

/// Is this a failure, told as one?
fn is_failure(response: &Response, client: usize, streams: bool) -> bool {
    let told = response.body.contains("\"error\"") || response.body.contains("response.failed");
    !is_whole(response, client, streams) && told && [200, 429, 502, 503].contains(&response.status)
}

struct Soak {
    port: u16,
    key: String,
    next: AtomicU64,
    ends: Instant,
    counts: Mutex<Counts>,
}

impl Soak {
    fn call(&self) {
        // A multiplication spreads the kinds over all paths.
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let dice = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        let (client, model, streams) =
            (dice as usize % 3, dice as usize / 3 % 3, !(dice / 9).is_multiple_of(3));
        let kind = dice / 27 % 100;
        let pick = |list: &[&'static str]| list[(dice / 2700) as usize % list.len()];
        let model = ["v/chat", "v/responses", "v/messages"][model];
        let text = body(client, model, if streams { "\"stream\":true," } else { "" });
        let (ordered, outcome) = if kind < FAULTS {
            let fault = pick(&OF_PROVIDERS);
            let response = self.ask(client, &text.replace("hi", &format!("fault: {fault}")));
            (fault, is_failure(&response, client, streams).then_some(false).ok_or(response))
        } else if kind < FAULTS + ODD_CLIENTS {
            let how = pick(&OF_CLIENTS);
            (how, self.odd(how, client, &text))
        } else {
            let over_h2 = kind > 92;
            let path = PROTOCOLS[client].0;
            let response = match over_h2 {
                true => h2_post(self.port, path, &self.key, text.into_bytes(), true),
                false => self.ask(client, &text),
            };
            let what = if over_h2 { "good, over HTTP/2" } else { "good" };
            (what, is_whole(&response, client, streams).then_some(true).ok_or(response))
        };
        let mut counts = self.counts.lock().unwrap();
        *counts.calls.entry(ordered).or_default() += 1;
        match outcome {
            Ok(whole) => counts.whole += u64::from(whole),
            Err(response) => {
                counts.unexplained.push(format!("{n}: {ordered}, {client} to {model}: {response:?}"));
            }
        }
    }

    fn send(&self, client: usize, text: &str) -> Client {
        let mut caller = Client::connect(self.port);
        caller.send(request(PROTOCOLS[client].0, &self.key, text).as_bytes());
        caller
    }

    fn ask(&self, client: usize, text: &str) -> Response {
        self.send(client, text).receive()
    }

    /// What an odd client gets: `Ok` if that is what it deserves, and whether it is a good answer.
    fn odd(&self, how: &str, client: usize, text: &str) -> Result<bool, Response> {
        let refused = |response: Response, status| match response.status == status {
            true => Ok(false),
            false => Err(response),
        };
        match how {
            "leaves early" => drop(self.send(client, &text.replace("hi", "fault: pauses"))),
            "leaves late" => {
                let mut caller = self.send(client, &text.replace("hi", "fault: pauses"));
                caller.head();
            }
            "reads slowly" => {
                let mut caller = self.send(client, text);
                thread::sleep(Duration::from_millis(300));
                let response = caller.receive();
                return is_whole(&response, client, text.contains("\"stream\":true"))
                    .then_some(true)
                    .ok_or(response);
            }
            "no json" => return refused(self.ask(client, &text[..text.len() - 1]), 400),
            "no key" => {
                let mut caller = Client::connect(self.port);
                caller.send(request(PROTOCOLS[client].0, "cm-unknown", text).as_bytes());
                return refused(caller.receive(), 401);
            }
            _ => {
                let mut caller = Client::connect(self.port);
                caller.try_send(b"POST / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n");
                return refused(caller.receive(), 400);
            }
        }
        Ok(false)
    }

    fn run(&self) {
        while Instant::now() < self.ends {
            let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.call())) else { continue };
            let why = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            self.counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).unexplained.push(why);
        }
    }
}

/// By how much something grows in an hour, by least squares.
fn slope(samples: &[(f64, f64)]) -> f64 {
    let n = samples.len().max(1) as f64;
    let mean = |part: fn(&(f64, f64)) -> f64| samples.iter().map(part).sum::<f64>() / n;
    let (x, y) = (mean(|sample| sample.0), mean(|sample| sample.1));
    let along: f64 = samples.iter().map(|sample| (sample.0 - x).powi(2)).sum();
    let both: f64 = samples.iter().map(|sample| (sample.0 - x) * (sample.1 - y)).sum();
    if along > 0.0 { both / along * 3600.0 } else { 0.0 }
}

#[test]
#[ignore = "it takes ten minutes, or as many SECONDS as SOAK_SECONDS says"]
fn soak() {
    let seconds: u64 = std::env::var("SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(600);
    let mock = Arc::new(Mock::scripted(|seen, _| provide(seen)));
    let gateway = Gateway::start(&format!("timeouts: {{silence: 2}}\n{}", config(mock.port)));
    gateway.command(&["account", "top-up", "default", "1000"]);
    let begun = Instant::now();
    let soak = Soak {
        port: gateway.port,
        key: gateway.key.clone(),
        next: AtomicU64::new(0),
        ends: begun + Duration::from_secs(seconds),
        counts: Mutex::default(),
    };
    let done = AtomicBool::new(false);
    let samples = thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let (mut memory, mut files) = (Vec::new(), Vec::new());
            while !done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(500));
                mock.take();
                let at = begun.elapsed().as_secs_f64();
                // The first third warms up.
                if at > seconds as f64 / 3.0 {
                    memory.push((at, gateway.memory() as f64));
                    files.push((at, gateway.files() as f64));
                }
            }
            (memory, files)
        });
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(|| soak.run())).collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        done.store(true, Ordering::Relaxed);
        sampler.join().unwrap()
    });
    report(&gateway, &soak.counts.lock().unwrap(), &samples.0, &samples.1);
}

/// Tells what there was, and judges it.
fn report(gateway: &Gateway, counts: &Counts, memory: &[(f64, f64)], files: &[(f64, f64)]) {
    let quiet = || {
        gateway.metric("crossmodel_requests_in_flight") + gateway.metric("crossmodel_ledger_open_holds")
            == 0.0
            && gateway.metric("crossmodel_connections") == 0.0
    };
    let ended = eventually(Duration::from_secs(30), quiet);
    let charges = audited(gateway);
    let exact = charges.iter().filter(|(outcome, cost)| outcome == "exact" && *cost == 7).count() as u64;
    let calls: u64 = counts.calls.values().sum();
    for (what, count) in &counts.calls {
        println!("{count:>8} {what}");
    }
    println!(
        "{calls:>8} calls, {} whole answers, {exact} charged exactly, {} charges",
        counts.whole,
        charges.len()
    );
    let last = |samples: &[(f64, f64)]| samples.last().map_or(0.0, |sample| sample.1);
    println!(
        "memory: {:.1} MiB at the end, {:+.1} MiB an hour",
        last(memory) / 1024.0,
        slope(memory) / 1024.0
    );
    println!(
        "files: {} at the end, {:+.0} an hour; {} when all is quiet",
        last(files),
        slope(files),
        gateway.files()
    );
    println!("unexplained: {}", counts.unexplained.len());
    assert!(ended, "calls, holds or connections are left");
    assert!(counts.unexplained.is_empty(), "{:#?}", &counts.unexplained[..counts.unexplained.len().min(5)]);
    assert!(exact >= counts.whole && charges.len() as u64 <= calls, "{exact} of {} charged", counts.whole);
    assert!(gateway.files() < 60, "{} files", gateway.files());
    let half = memory.len() / 2;
    let mean =
        |part: &[(f64, f64)]| part.iter().map(|sample| sample.1).sum::<f64>() / part.len().max(1) as f64;
    let (earlier, later) = (mean(&memory[..half]), mean(&memory[half..]));
    assert!(later < earlier * 1.2 + 4096.0, "{earlier} KiB, then {later} KiB");
}
