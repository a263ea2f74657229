//! A gate that does not depend on the machine: what a call costs in instructions, allocations and system calls.
//!
//! The released binary runs under Callgrind, client and provider do not. Each kind of traffic is sent some times to
//! warm up, then as often as it is counted, on one connection, so that nothing is shared between two calls.
//!
//! What counts is the thread that serves. The other threads write to the log and to the store, look at files and sample
//! metrics: they do so at intervals, and a slow machine needs more of those for the same calls. So all threads together
//! are counted for one kind of traffic only, the one that takes the shortest time.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::bounds::{self, Comparison, Figures};
use crate::callgrind::{Callgrind, Counts};
use crate::load;
use crate::scenario::Scenario;
use crate::strace::{self, SystemCalls};
use crate::subject::{Group, Programs, Subject, Subjects};

/// For one request or event.
struct Cost {
    instructions: f64,
    allocations: f64,
    /// Instructions of all threads.
    all_threads: f64,
}

/// The argument that asks for this.
pub(crate) const ROLE: &str = "instructions";

/// The argument that writes what was counted down as the new bounds.
const RECORD: &str = "--record";

struct Counter<'a> {
    runtime: &'a Runtime,
    upstream: SocketAddr,
    programs: Programs,
}

/// Counts and compares; or counts and writes the bounds.
pub(crate) fn run(runtime: &Runtime, upstream: SocketAddr, pinned: bool, arguments: &[String]) -> ExitCode {
    let Some(programs) = Programs::released(pinned) else {
        println!("there is nothing to count: run `cargo build --release --workspace`");
        return ExitCode::FAILURE;
    };
    let counter = Counter { runtime, upstream, programs };
    let mut counted = counter.under_callgrind();
    let calls = counter.under_strace();
    counted.extend(calls.iter().flatten().map(|(name, figure)| (name.clone(), *figure)));
    if arguments.iter().any(|argument| argument == RECORD) {
        record(&bounds::leave_slack(&counted));
        return ExitCode::SUCCESS;
    }
    let mut known: Figures = serde_saphyr::from_str(&fs::read_to_string(BOUNDS).unwrap()).unwrap();
    if calls.is_err() {
        known.retain(|name, _| !name.starts_with(SYSTEM_CALLS));
    }
    tell(&bounds::compare(&known, &counted), usize::from(calls.is_err()))
}

impl Counter<'_> {
    /// Instructions and allocations of the gateway, beside the instructions of bare Pingora.
    fn under_callgrind(&self) -> Figures {
        let folder = tempfile::tempdir().unwrap();
        let callgrind = Callgrind { folder: folder.path() };
        let programs = self.programs.clone().under(&callgrind.command());
        let started = Subjects::start(Group::Counted, self.upstream, &programs);
        println!("\n  instructions         crossmodel  all threads  bare Pingora  x bare  allocations\n");
        let mut figures = Figures::new();
        for scenario in Scenario::counted() {
            let each = |subject| self.count(&callgrind, &scenario, subject);
            let [gateway, bare] = [0, Subjects::BASE].map(|which| each(&started.all[which]));
            let (name, Cost { instructions, allocations, all_threads }) = (scenario.name, gateway);
            let (bare, ratio) = (bare.instructions, instructions / bare.instructions);
            println!(
                "  {name:<17}{instructions:>14.0}{all_threads:>13.0}{bare:>14.0}{ratio:>8.2}{allocations:>13.1}"
            );
            figures.insert(format!("instructions, {name}"), instructions);
            figures.insert(format!("allocations, {name}"), allocations);
            if name == Scenario::plain().name {
                figures.insert(format!("instructions of all threads, {name}"), all_threads);
            }
        }
        figures
    }

    fn count(&self, callgrind: &Callgrind<'_>, scenario: &Scenario, subject: &Subject) -> Cost {
        let (mut connection, process) = (None, subject.id());
        self.runtime.block_on(async {
            let traffic = scenario.traffic(subject).await;
            load::times(&traffic.load, scenario.times / 4 + 1, &mut connection).await.unwrap();
            tokio::time::sleep(SETTLE).await;
            callgrind.zero(process);
            load::times(&traffic.load, scenario.times, &mut connection).await.unwrap();
            tokio::time::sleep(SETTLE).await;
            let units = f64::from(scenario.times) * traffic.events as f64;
            Cost::new(&callgrind.counts(process), units)
        })
    }

    /// System calls for one plain request; the reason if they cannot be counted.
    fn under_strace(&self) -> Result<Figures, String> {
        let started = Subjects::start(Group::Counted, self.upstream, &self.programs);
        let calls = |subject| strace::per_request(self.runtime, &Scenario::plain(), subject);
        let counted =
            calls(&started.all[0]).and_then(|gateway| Ok((gateway, calls(&started.all[Subjects::BASE])?)));
        let (gateway, bare) = counted.inspect_err(|why| println!("\n  system calls are SKIPPED: {why}"))?;
        println!("\n  {:<20}{:>14}{:>14}\n", "system calls", "crossmodel", "bare Pingora");
        let names: BTreeSet<_> = gateway.keys().chain(bare.keys()).collect();
        for name in names {
            let of = |calls: &SystemCalls| calls.get(name).copied().unwrap_or_default();
            println!("  {name:<20}{:>14.2}{:>14.2}", of(&gateway), of(&bare));
        }
        let figures =
            [("sockets", strace::of_sockets(&gateway)), ("waiting", strace::sum(&gateway, strace::WAITS))];
        Ok(figures.map(|(name, figure)| (format!("{SYSTEM_CALLS}, {name}"), figure)).into_iter().collect())
    }
}

impl Cost {
    /// The cost of one of so many. The thread that serves is the one that has done most.
    fn new(threads: &[Counts], units: f64) -> Self {
        let serving = threads.first().copied().unwrap_or_default();
        Self {
            instructions: serving.instructions / units,
            allocations: serving.allocations / units,
            all_threads: threads.iter().map(|thread| thread.instructions).sum::<f64>() / units,
        }
    }
}

/// Writes the bounds, below the comment that is there.
fn record(bounds: &Figures) {
    let text = fs::read_to_string(BOUNDS).unwrap();
    let comment = text.lines().filter(|line| line.starts_with('#')).map(|line| format!("{line}\n"));
    let lines = bounds.iter().map(|(name, bound)| format!("{name}: {bound}\n"));
    fs::write(BOUNDS, comment.chain(lines).collect::<String>()).unwrap();
    println!("\n{BOUNDS} is written");
}

fn tell(comparison: &Comparison, skipped: usize) -> ExitCode {
    println!("\n{}", comparison.lines.join("\n"));
    println!("{} passed, {} failed, {skipped} skipped", comparison.passed, comparison.failed);
    if comparison.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

const BOUNDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/gateway/bounds.yaml");
const SYSTEM_CALLS: &str = "system calls";

/// What threads of the gateway still do after the answer, such as the writer of the log, is done after this.
const SETTLE: Duration = Duration::from_millis(200);
