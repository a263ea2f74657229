//! CPU time and memory of the whole gateway, beside a Pingora proxy that only passes bytes on, and nginx; and of
//! the gateway with its ledger, or its log and metrics, beside one without.
//!
//! `cargo bench --bench gateway [-- SCENARIO]`. The number to read is the ratio to the second in the table, measured
//! in turn, round by round: the median, and its range, which shows how quiet the machine was. Client and
//! provider are not in it. The gateway checks a key, resolves an alias, renames the model on both ways, logs
//! and counts. Every byte of every answer is compared: where errors are not 0, the numbers mean nothing.
//! `BENCH_ROUNDS` (3) and `BENCH_SECONDS` (2, for one measurement) make it longer or shorter.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "it is a program that measures and tells")]

mod bare;
mod load;
mod scenario;
mod subject;
mod upstream;
mod wire;

use std::fmt::Debug;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use load::Tally;
use scenario::{Scenario, Traffic};
use subject::Subjects;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, listen, upstream] = arguments.as_slice()
        && role == bare::ROLE
    {
        return bare::run(listen, upstream);
    }
    if !cfg!(target_os = "linux") {
        return println!("gateway: CPU time and memory are read from /proc, which only Linux has");
    }
    let plan = Plan::new(&arguments);
    let scenarios: Vec<_> = Scenario::all(plan.time).into_iter().filter(|s| plan.wants(s)).collect();
    if scenarios.is_empty() {
        return;
    }
    let pinned = subject::pin_self();
    if !pinned {
        println!("without taskset and two CPUs, client and provider get in the way of what is measured\n");
    }
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let upstream = upstream::start();
    let bench = Bench { runtime, upstream, pinned, plan };
    for scenario in &scenarios {
        match scenario.stays_open {
            true => bench.memory(scenario),
            false => bench.cpu(scenario),
        }
    }
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
    pinned: bool,
    plan: Plan,
}

/// What was measured of one subject.
#[derive(Default)]
struct Row {
    /// Microseconds for each request or event, by round.
    cost: Vec<f64>,
    errors: u64,
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
    fn memory(&self, scenario: &Scenario) {
        let streams = self.plan.connections(scenario);
        self.title(scenario);
        row("", ["idle", &format!("{streams} streams"), "KiB each", ""]);
        // What an allocator keeps after other load is another question.
        let subjects = Subjects::start(scenario.group, self.upstream, self.pinned);
        for subject in &subjects.all {
            let idle = subject.resident();
            let Traffic { load, .. } = scenario.traffic(subject);
            let open = self.runtime.block_on(load::open(&load, streams));
            let busy = subject.resident();
            drop(open);
            let each = (busy - idle) * 1024.0 / f64::from(streams);
            row(subject.name, [&format!("{idle:.1}"), &format!("{busy:.1}"), &format!("{each:.0}"), ""]);
        }
    }

    fn cpu(&self, scenario: &Scenario) {
        let started = Subjects::start(scenario.group, self.upstream, self.pinned);
        let subjects = &started.all;
        let traffic: Vec<_> = subjects.iter().map(|subject| scenario.traffic(subject)).collect();
        let mut rows: Vec<_> = subjects.iter().map(|_| Row::default()).collect();
        let mut why = None;
        // The first round, number 0, warms up.
        for round in 0..=self.plan.rounds {
            for turn in 0..subjects.len() {
                // Nobody always comes after the same other one.
                let which = (turn + round) % subjects.len();
                let time = if round == 0 { WARM_UP.min(self.plan.time) } else { self.plan.time };
                let before = subjects[which].cpu();
                let tally = self.run(scenario, &traffic[which], time);
                let spent = subjects[which].cpu().saturating_sub(before);
                rows[which].errors += tally.errors;
                why = why.or(tally.why);
                if round > 0 {
                    let units = tally.answers as f64 * traffic[which].events as f64;
                    rows[which].cost.push(spent.as_secs_f64() * 1e6 / units);
                }
            }
        }
        self.title(scenario);
        let unit = if traffic[Subjects::BASE].events > 1 { "event" } else { "request" };
        row("", [&format!("CPU us/{unit}"), "x second", "range", "errors"]);
        for (subject, this) in subjects.iter().zip(&rows) {
            let cells = this.cells(&rows[Subjects::BASE].cost);
            row(subject.name, cells.each_ref().map(String::as_str));
        }
        if let Some(why) = why {
            println!("  the first error: {why}");
            assert!(!self.plan.smoke, "{}: {why}", scenario.name);
        }
    }

    fn run(&self, scenario: &Scenario, traffic: &Traffic, time: Duration) -> Tally {
        let connections = self.plan.connections(scenario);
        self.runtime.block_on(load::run(&traffic.load, connections, scenario.stagger, time))
    }

    fn title(&self, scenario: &Scenario) {
        println!("\n{}: {}, {} connections\n", scenario.name, scenario.what, self.plan.connections(scenario));
    }
}

impl Row {
    fn cells(&self, base: &[f64]) -> [String; 4] {
        let sorted = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values
        };
        let ratios = sorted(self.cost.iter().zip(base).map(|(own, base)| own / base).collect());
        let cost = sorted(self.cost.clone());
        let (Some(from), Some(to)) = (ratios.first(), ratios.last()) else {
            return ["-".to_owned(), "-".to_owned(), "-".to_owned(), self.errors.to_string()];
        };
        let median = |values: &[f64]| format!("{:.2}", values[values.len() / 2]);
        [median(&cost), median(&ratios), format!("{from:.2}-{to:.2}"), self.errors.to_string()]
    }
}

fn row(name: &str, cells: [&str; 4]) {
    let [a, b, c, d] = cells;
    println!("{}", format!("  {name:<14}{a:>15}{b:>14}{c:>13}{d:>9}").trim_end());
}

/// A number from the environment.
fn number<T: FromStr<Err: Debug>>(name: &str, default: T) -> T {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

const WARM_UP: Duration = Duration::from_millis(200);
