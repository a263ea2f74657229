//! System calls of a process, as strace counts them.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;
use tokio::runtime::Runtime;

use crate::load;
use crate::scenario::Scenario;
use crate::subject::Subject;

/// The number of times that each system call is made for one request, by name.
pub(crate) type SystemCalls = BTreeMap<String, f64>;

/// A strace that watches all threads of a process.
struct Strace {
    tracer: Child,
    table: NamedTempFile,
}

/// Counts those of a subject while it answers requests on one connection; gives the reason if that cannot be.
pub(crate) fn per_request(
    runtime: &Runtime,
    scenario: &Scenario,
    subject: &Subject,
) -> Result<SystemCalls, String> {
    let mut connection = None;
    runtime.block_on(async {
        let load = scenario.traffic(subject).await.load;
        load::times(&load, WARM_UP, Duration::ZERO, &mut connection).await.unwrap();
        let strace = Strace::attach(subject.id())?;
        load::times(&load, REQUESTS, Duration::ZERO, &mut connection).await.unwrap();
        let calls = strace.detach().into_iter();
        Ok(calls.map(|(name, calls)| (name, calls / f64::from(REQUESTS))).collect())
    })
}

/// Returns the number of calls of these names.
pub(crate) fn sum(calls: &SystemCalls, names: &[&str]) -> f64 {
    calls.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(_, calls)| calls).sum()
}

/// Those that send, receive, or ask about a connection.
pub(crate) fn of_sockets(calls: &SystemCalls) -> f64 {
    [SENDS, RECEIVES, QUESTIONS].iter().map(|names| sum(calls, names)).sum()
}

impl Strace {
    /// Watches from here; gives the reason if it cannot.
    fn attach(process: u32) -> Result<Self, String> {
        let table = NamedTempFile::new().map_err(|error| error.to_string())?;
        let tracer = Command::new("strace")
            .args(["-f", "-c", "-U", "name,calls", "-o"])
            .arg(table.path())
            .args(["-p", &process.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("strace: {error}"))?;
        let mut strace = Self { tracer, table };
        match strace.watches(process) {
            true => Ok(strace),
            false => Err("strace may not watch another process here".to_owned()),
        }
    }

    /// The calls since.
    fn detach(mut self) -> SystemCalls {
        let pid = Pid::from_child(&self.tracer);
        kill_process(pid, Signal::INT).unwrap();
        self.tracer.wait().unwrap();
        read(&fs::read_to_string(self.table.path()).unwrap())
    }

    fn watches(&mut self, process: u32) -> bool {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) && matches!(self.tracer.try_wait(), Ok(None)) {
            if is_traced(process) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

/// Whether all threads of a process have a tracer.
fn is_traced(process: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let mut status = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("status")));
    status.all(|status| status.is_ok_and(|status| !status.contains("TracerPid:\t0\n")))
}

/// Reads the table: a name and a number in each line, between a head and a total.
fn read(table: &str) -> SystemCalls {
    let row = |line: &str| {
        let (name, calls) = line.trim().split_once(' ')?;
        Some((name.to_owned(), calls.trim().parse().ok()?))
    };
    table.lines().filter_map(row).filter(|(name, _)| name != "total").collect()
}

const WARM_UP: u32 = 20;
const REQUESTS: u32 = 200;

/// `write` is not among them: it also writes logs, and wakes threads.
pub(crate) const SENDS: &[&str] = &["sendto", "sendmsg", "sendmmsg", "writev"];
/// `read` is not among them, either.
pub(crate) const RECEIVES: &[&str] = &["recvfrom", "recvmsg", "recvmmsg", "readv"];
const QUESTIONS: &[&str] = &["getpeername", "getsockname", "getsockopt", "setsockopt"];
