//! A gate that does not depend on the machine: what a call costs in instructions, allocations and system calls.
//!
//! The released binary runs under Callgrind, client and provider do not. Each kind of traffic is sent some times to
//! warm up, then as often as it is counted, on one connection, so that nothing is shared between two calls.
//!
//! Some of the work comes with the time and not with the calls: the ledger writes to the store ten times a second, files
//! are looked at, metrics are sampled. A slow machine would have more of it for the same calls. So they are
//! sent once more with pauses between them, and what has become more with the time is subtracted, down to no time at all.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::bounds::{self, Comparison, Figures};
use crate::callgrind::{Callgrind, Counts};
use crate::load;
use crate::scenario::Scenario;
use crate::strace::{self, SystemCalls};
use crate::subject::{Group, Programs, Subject, Subjects};

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
        println!("there is nothing to count: run `cargo build --profile dist --workspace`");
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
        println!("\n  instructions          crossmodel  bare Pingora  x bare  allocations\n");
        let mut figures = Figures::new();
        for scenario in Scenario::counted() {
            let each = |subject| self.count(&callgrind, &scenario, subject);
            let [gateway, bare] = [0, Subjects::BASE].map(|which| each(&started.all[which]));
            let (name, Counts { instructions, allocations }) = (scenario.name, gateway);
            let (bare, ratio) = (bare.instructions, instructions / bare.instructions);
            println!("  {name:<18}{instructions:>14.0}{bare:>14.0}{ratio:>8.2}{allocations:>13.1}");
            figures.insert(format!("instructions, {name}"), instructions);
            // Of streams and large bodies there are too few for what the time brings to be lost among them.
            if name == Scenario::plain().name {
                figures.insert(format!("allocations, {name}"), allocations);
            }
        }
        figures
    }

    /// Counts for one request or event.
    fn count(&self, callgrind: &Callgrind<'_>, scenario: &Scenario, subject: &Subject) -> Counts {
        self.runtime.block_on(async {
            let traffic = scenario.traffic(subject).await;
            let (times, mut connection) = (scenario.times, None);
            load::times(&traffic.load, times / 4 + 1, Duration::ZERO, &mut connection).await.unwrap();
            let (mut pause, mut windows) = (Duration::ZERO, Vec::new());
            for _ in 0..2 {
                let start = Instant::now();
                callgrind.zero(subject.id());
                load::times(&traffic.load, times, pause, &mut connection).await.unwrap();
                tokio::time::sleep(SETTLE).await;
                windows.push((callgrind.counts(subject.id()), start.elapsed().as_secs_f64()));
                pause = start.elapsed() / times * 2;
            }
            without_time(windows[0], windows[1]).per(f64::from(times) * traffic.events as f64)
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
        Ok(Figures::from([(format!("{SYSTEM_CALLS}, plain"), strace::of_sockets(&gateway))]))
    }
}

/// The counts of the same calls, made in a short and a long time, as they would be in no time.
fn without_time((short, brief): (Counts, f64), (long, extended): (Counts, f64)) -> Counts {
    let share = brief / (extended - brief);
    let reduce = |short: f64, long: f64| short - (long - short) * share;
    Counts {
        instructions: reduce(short.instructions, long.instructions),
        allocations: reduce(short.allocations, long.allocations),
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

/// The time in which other threads, such as the writer of the log, have done what the answer left for them.
const SETTLE: Duration = Duration::from_millis(200);
