//! CPU time and memory of the whole gateway, beside a Pingora proxy that only passes bytes on, and nginx; and of
//! the gateway with its ledger, or its log and metrics, beside one without.
//!
//! `cargo bench --bench gateway [-- SCENARIO]`. The number to read is the ratio to bare Pingora, measured
//! in turn, round by round: the median, and its range, which shows how quiet the machine was. Client and
//! provider are not in it. The gateway checks a key, resolves an alias, renames the model on both ways, logs
//! and counts. Every byte of every answer is compared: where errors are not 0, the numbers mean nothing.
//! `BENCH_ROUNDS` (3) and `BENCH_SECONDS` (2, for one measurement) make it longer or shorter.
//!
//! `cargo test --bench gateway -- instructions` counts instead what does not depend on the machine, and compares it with
//! the bounds in `bounds.yaml`: instructions and allocations under Callgrind, and system calls. It counts what
//! `cargo build --profile dist --workspace` has built, so it may be a debug build itself.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "it is a program that measures and tells")]

mod bare;
mod bounds;
mod callgrind;
mod instructions;
mod load;
mod scenario;
mod strace;
mod subject;
mod table;
mod upstream;
mod wire;

use std::fmt::Debug;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use load::Tally;
use scenario::{Scenario, Traffic};
use subject::{Group, Programs, Subject, Subjects};
use table::{Costs, Table};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, listen, upstream] = arguments.as_slice()
        && role == bare::ROLE
    {
        bare::run(listen, upstream);
    }
    if !cfg!(target_os = "linux") {
        println!("gateway: CPU time and memory are read from /proc, which only Linux has");
        return ExitCode::SUCCESS;
    }
    let pinned = subject::pin_self();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let upstream = upstream::start();
    if arguments.iter().any(|argument| argument == instructions::ROLE) {
        return instructions::run(&runtime, upstream, pinned, &arguments);
    }
    if !pinned {
        println!("without taskset and two CPUs, client and provider get in the way of what is measured\n");
    }
    let programs = Programs::built_along(pinned);
    let bench = Bench { runtime, upstream, programs, plan: Plan::new(&arguments) };
    let wanted = Scenario::all(bench.plan.time).into_iter().filter(|scenario| bench.plan.wants(scenario));
    let (proxies, own): (Vec<_>, Vec<_>) = wanted.partition(|scenario| scenario.group == Group::Proxies);
    bench.beside_others(&proxies);
    for scenario in &own {
        bench.beside_itself(scenario);
    }
    ExitCode::SUCCESS
}

/// How much is measured.
struct Plan {
    rounds: usize,
    time: Duration,
    /// Only to see that it works, as `cargo test --benches` wants it.
    smoke: bool,
    filters: Vec<String>,
}

struct Bench {
    runtime: Runtime,
    upstream: SocketAddr,
    programs: Programs,
    plan: Plan,
}

impl Plan {
    fn new(arguments: &[String]) -> Self {
        let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
        let seconds = number("BENCH_SECONDS", 2.0);
        // Cargo says so when it runs a benchmark, and says nothing when it runs a test.
        let smoke = has("--test") || !has("--bench") || seconds <= 0.0;
        Self {
            rounds: if smoke { 0 } else { number("BENCH_ROUNDS", 3).max(1) },
            time: if smoke { Duration::ZERO } else { Duration::from_secs_f64(seconds) },
            smoke,
            filters: arguments.iter().filter(|argument| !argument.starts_with('-')).cloned().collect(),
        }
    }

    fn wants(&self, scenario: &Scenario) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| scenario.name.contains(filter.as_str()))
    }

    fn connections(&self, scenario: &Scenario) -> u32 {
        if self.smoke { 2 } else { scenario.connections }
    }
}

impl Bench {
    /// The gateway, bare Pingora and nginx, in one table.
    fn beside_others(&self, scenarios: &[Scenario]) {
        let (open, timed): (Vec<_>, Vec<_>) =
            scenarios.iter().cloned().partition(|scenario| scenario.stays_open);
        let table = Table::new();
        if !timed.is_empty() {
            let started = Subjects::start(Group::Proxies, self.upstream, &self.programs);
            let costs = self.costs(&timed, &started.all);
            table.cpu(&timed, &costs);
            if timed.iter().any(|scenario| scenario.name == PLAIN) && !self.plan.smoke {
                let calls = |subject| strace::per_request(&self.runtime, &Scenario::plain(), subject);
                table.system_calls(started.all.iter().map(calls).collect());
            }
        }
        for scenario in &open {
            // What an allocator keeps after other load is another question.
            let started = Subjects::start(Group::Proxies, self.upstream, &self.programs);
            let memory = started.all.iter().map(|subject| self.memory(scenario, subject)).collect();
            table.memory(scenario, self.plan.connections(scenario), memory);
        }
    }

    /// The gateway with a part of it, and without.
    fn beside_itself(&self, scenario: &Scenario) {
        let started = Subjects::start(scenario.group, self.upstream, &self.programs);
        let costs = self.costs(std::slice::from_ref(scenario), &started.all);
        table::pair(scenario, &started.all, &costs[0]);
    }

    /// Resident memory in MiB: of a subject that is idle, and of one with streams that are open.
    fn memory(&self, scenario: &Scenario, subject: &Subject) -> [f64; 2] {
        let idle = subject.resident();
        self.runtime.block_on(async {
            let traffic = scenario.traffic(subject).await;
            let _open = load::open(&traffic.load, self.plan.connections(scenario)).await;
            [idle, subject.resident()]
        })
    }

    /// By scenario and subject. Everything is measured in each round, so that a minute in which the machine is busy is
    /// in all of it.
    fn costs(&self, scenarios: &[Scenario], subjects: &[Subject]) -> Vec<Vec<Costs>> {
        let traffic = |scenario: &Scenario| -> Vec<Traffic> {
            subjects.iter().map(|subject| self.runtime.block_on(scenario.traffic(subject))).collect()
        };
        let traffic: Vec<_> = scenarios.iter().map(traffic).collect();
        let mut costs = vec![vec![Costs::default(); subjects.len()]; scenarios.len()];
        // The first round, number 0, warms up.
        for round in 0..=self.plan.rounds {
            for (place, scenario) in scenarios.iter().enumerate() {
                for turn in 0..subjects.len() {
                    // Nobody always comes after the same other one.
                    let which = (turn + round) % subjects.len();
                    let (traffic, costs) = (&traffic[place][which], &mut costs[place][which]);
                    self.measure(round, scenario, traffic, &subjects[which], costs);
                }
            }
        }
        costs
    }

    fn measure(
        &self,
        round: usize,
        scenario: &Scenario,
        traffic: &Traffic,
        subject: &Subject,
        costs: &mut Costs,
    ) {
        let time = if round == 0 { WARM_UP.min(self.plan.time) } else { self.plan.time };
        let before = subject.cpu();
        let tally = self.run(scenario, traffic, time);
        let spent = subject.cpu().saturating_sub(before);
        costs.errors += tally.errors;
        if let Some(why) = tally.why {
            println!("  {}, {}: {why}", scenario.name, subject.name);
            assert!(!self.plan.smoke, "{}: {why}", scenario.name);
        }
        if round > 0 {
            let units = tally.answers as f64 * traffic.events as f64;
            costs.rounds.push(spent.as_secs_f64() * 1e6 / units);
        }
    }

    fn run(&self, scenario: &Scenario, traffic: &Traffic, time: Duration) -> Tally {
        let connections = self.plan.connections(scenario);
        self.runtime.block_on(load::run(&traffic.load, connections, scenario.stagger, time))
    }
}

/// A number from the environment.
fn number<T: FromStr<Err: Debug>>(name: &str, default: T) -> T {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

const PLAIN: &str = "plain";
const WARM_UP: Duration = Duration::from_millis(200);
