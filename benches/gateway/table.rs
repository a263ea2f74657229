//! The measurements, as a table for people.

use crate::scenario::Scenario;
use crate::strace::{self, SystemCalls};
use crate::subject::{Subject, Subjects};

/// The measurements of one subject under one kind of traffic.
#[derive(Clone, Default)]
pub(crate) struct Costs {
    /// Microseconds for each request or event, by round.
    pub(crate) rounds: Vec<f64>,
    pub(crate) errors: u64,
}

/// The gateway beside bare Pingora and nginx: a line for each figure.
pub(crate) struct Table;

impl Table {
    pub(crate) fn new() -> Self {
        let cells = ["nginx", "x bare", "bare Pingora", "crossmodel", "x bare", "range", "errors"];
        line("", &cells.map(str::to_owned));
        Self
    }

    /// CPU time by scenario and subject, and what a translation costs beside a relay.
    pub(crate) fn cpu(&self, scenarios: &[Scenario], costs: &[Vec<Costs>]) {
        for (scenario, costs) in scenarios.iter().zip(costs) {
            let unit = if scenario.is_stream() { "event" } else { "request" };
            let ratios = costs[GATEWAY].ratios(&costs[Subjects::BASE]);
            let name = format!("{}, us/{unit}", scenario.name);
            let errors = costs.iter().map(|costs| costs.errors).sum::<u64>().to_string();
            let medians = costs.iter().map(|costs| median(&costs.rounds)).collect();
            figure(&name, medians, &range(&ratios), &errors);
        }
        for (translated, relayed) in
            [("translated", "plain"), ("translated burst", "burst"), ("translated paced", "paced")]
        {
            let of =
                |name| Some(&costs[scenarios.iter().position(|scenario| scenario.name == name)?][GATEWAY]);
            if let (Some(translation), Some(relay)) = (of(translated), of(relayed)) {
                let ratios = translation.ratios(relay);
                let cells =
                    ["", "", "", &number(median(&ratios)), "", &range(&ratios), ""].map(str::to_owned);
                line(&format!("{translated} / {relayed}"), &cells);
            }
        }
    }

    /// System calls for one plain request, by subject.
    pub(crate) fn system_calls(&self, counted: Result<Vec<SystemCalls>, String>) {
        let counted = match counted {
            Ok(counted) => counted,
            Err(why) => return println!("  without system calls: {why}"),
        };
        figure("system calls/request", counted.iter().map(|calls| calls.values().sum()).collect(), "", "");
        figure("  of sockets", counted.iter().map(strace::of_sockets).collect(), "", "");
        for (name, calls) in [("  send", strace::SENDS), ("  receive", strace::RECEIVES)] {
            figure(name, counted.iter().map(|counted| strace::sum(counted, calls)).collect(), "", "");
        }
    }

    /// Resident memory by subject, in MiB: idle, and with so many streams.
    pub(crate) fn memory(&self, scenario: &Scenario, streams: u32, memory: Vec<[f64; 2]>) {
        let name = scenario.name;
        figure(&format!("{name}, idle, MiB"), memory.iter().map(|[idle, _]| *idle).collect(), "", "");
        figure(&format!("  {streams} streams, MiB"), memory.iter().map(|[_, busy]| *busy).collect(), "", "");
        let each = |[idle, busy]: &[f64; 2]| (busy - idle) * 1024.0 / f64::from(streams);
        figure("  for each stream, KiB", memory.iter().map(each).collect(), "", "");
    }
}

/// The gateway with a part of it, and without.
pub(crate) fn pair(scenario: &Scenario, subjects: &[Subject], costs: &[Costs]) {
    println!("\n{}: {}, {} connections\n", scenario.name, scenario.what, scenario.connections);
    row("", ["CPU us/request", "x second", "range", "errors"]);
    for (subject, own) in subjects.iter().zip(costs) {
        let ratios = own.ratios(&costs[Subjects::BASE]);
        let cells =
            [number(median(&own.rounds)), number(median(&ratios)), range(&ratios), own.errors.to_string()];
        row(subject.name, cells.each_ref().map(String::as_str));
    }
}

impl Costs {
    /// By round, to another one of the same round.
    fn ratios(&self, base: &Self) -> Vec<f64> {
        self.rounds.iter().zip(&base.rounds).map(|(own, base)| own / base).collect()
    }
}

/// A line of the table: the figures of the gateway, bare Pingora and, where it was found, nginx.
fn figure(name: &str, figures: Vec<f64>, range: &str, errors: &str) {
    let bare = figures[Subjects::BASE];
    let (nginx, nginx_ratio) = match figures.get(NGINX) {
        Some(nginx) => (number(*nginx), number(nginx / bare)),
        None => ("not found".to_owned(), String::new()),
    };
    let gateway = figures[GATEWAY];
    let [bare, gateway, ratio] = [bare, gateway, gateway / bare].map(number);
    line(name, &[nginx, nginx_ratio, bare, gateway, ratio, range.to_owned(), errors.to_owned()]);
}

fn line(name: &str, cells: &[String; 7]) {
    let [nginx, nginx_ratio, bare, gateway, ratio, range, errors] = cells;
    let text = format!(
        "  {name:<28}{nginx:>10}{nginx_ratio:>8}{bare:>14}{gateway:>12}{ratio:>8}{range:>12}{errors:>8}"
    );
    println!("{}", text.trim_end());
}

fn row(name: &str, cells: [&str; 4]) {
    let [a, b, c, d] = cells;
    println!("{}", format!("  {name:<14}{a:>15}{b:>14}{c:>13}{d:>9}").trim_end());
}

fn number(value: f64) -> String {
    if value.is_nan() { "-".to_owned() } else { format!("{value:.2}") }
}

/// Returns the median, or NaN if there is none.
fn median(values: &[f64]) -> f64 {
    sorted(values).get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn range(values: &[f64]) -> String {
    let sorted = sorted(values);
    let ends = sorted.first().zip(sorted.last());
    ends.map_or_else(String::new, |(from, to)| format!("{from:.2}-{to:.2}"))
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

/// The places of subjects, beside that of bare Pingora.
const GATEWAY: usize = 0;
const NGINX: usize = 2;
