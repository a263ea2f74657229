//! `crossmodel target`: the targets of a running gateway.

use std::io::Write;

use clap::{Args, Subcommand};
use serde::Deserialize;

use crossmodel::admin::client::{Client, object_path};
use crossmodel::admin::model::{List, Members, NewRest, Period};

use super::failure::CommandError;
use super::keys::One;
use super::table::{OutputFormat, print, read_view, table};

/// The path of targets.
const TARGETS: &str = "/targets";

#[derive(Debug, Subcommand)]
pub(super) enum TargetCommand {
    /// Lists the targets of all models and their states.
    #[command(after_help = "Examples:\n  crossmodel target list\n  crossmodel target list --json")]
    List(OutputFormat),
    /// Takes a target out of service for a while. Calls that run go on.
    #[command(
        after_help = "Examples:\n  crossmodel target rest openai/gpt-5@azure-eu --for 30m --reason 'quota is moved'"
    )]
    Rest(RestArguments),
    /// Puts a target into service again, closes its circuit and ends its pause.
    #[command(after_help = "Examples:\n  crossmodel target enable openai/gpt-5@azure-eu")]
    Enable(One),
}

#[derive(Debug, Args)]
pub(super) struct RestArguments {
    #[command(flatten)]
    one: One,
    /// The length of the rest, at most 30 days, for example `30m`.
    #[arg(long = "for", value_name = "TIME")]
    period: Period,
    /// The reason, for people.
    #[arg(long, default_value = "")]
    reason: String,
}

/// A target, as far as the table shows it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TargetView {
    id: String,
    state: String,
    since: Option<String>,
    in_flight: u64,
    next_trial_at: Option<String>,
    reason: Option<String>,
    rested: Option<RestView>,
    last_10m: AttemptsView,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RestView {
    until: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AttemptsView {
    requests: u64,
    error_share: f64,
}

impl TargetCommand {
    pub(super) fn run(&self, client: &Client, out: &mut dyn Write) -> Result<(), CommandError> {
        match self {
            Self::List(format) => {
                let targets: List<Members> = client.get(TARGETS)?;
                show(&targets.data, *format, out)
            }
            Self::Rest(RestArguments { one, period, reason }) => {
                let rest = NewRest { period: Some(*period), reason: reason.clone() };
                order(one, client, ("rest", &rest), out)
            }
            Self::Enable(one) => order(one, client, ("enable", &Members::new()), out),
        }
    }
}

/// Sends an order about a target, and shows the target as it is then.
fn order(
    one: &One,
    client: &Client,
    (action, body): (&str, &impl serde::Serialize),
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let path = format!("{}/{action}", object_path(TARGETS, &one.id));
    let target: Members = client.send("POST", &path, body)?;
    match one.format.json {
        true => print(&target, out),
        false => show(&[target], one.format, out),
    }
}

fn show(targets: &[Members], format: OutputFormat, out: &mut dyn Write) -> Result<(), CommandError> {
    if format.json {
        return print(&targets, out);
    }
    let views: Vec<TargetView> = read_view(&targets)?;
    table(HEADINGS, &views.into_iter().map(TargetView::row).collect::<Vec<_>>(), out)
}

impl TargetView {
    fn row(self) -> Vec<String> {
        let AttemptsView { requests, error_share } = self.last_10m;
        let until = self.rested.and_then(|rest| rest.until).or(self.next_trial_at);
        vec![
            self.id,
            self.state,
            self.since.unwrap_or_default(),
            until.unwrap_or_default(),
            self.in_flight.to_string(),
            requests.to_string(),
            format!("{:.1} %", error_share * 100.0),
            self.reason.unwrap_or_default(),
        ]
    }
}

const HEADINGS: &[&str] =
    &["TARGET", "STATE", "SINCE", "UNTIL", "IN FLIGHT", "LAST 10 MIN", "FAILED", "REASON"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_shown_with_its_state_and_the_end_of_it() {
        let row = |text: &str| serde_json::from_str::<TargetView>(text).unwrap().row().join("|");
        let rested = r#"{"id":"v/m@up","state":"rested","since":"T1","in_flight":2,"next_trial_at":"T2","reason":"why",
            "rested":{"until":"T3","actor":"x"},"last_10m":{"requests":8,"error_share":0.125},"later":1}"#;
        assert_eq!(row(rested), "v/m@up|rested|T1|T3|2|8|12.5 %|why");
        let open = r#"{"id":"v/m@up","state":"open","since":"T1","next_trial_at":"T2","rested":null}"#;
        assert_eq!(row(open), "v/m@up|open|T1|T2|0|0|0.0 %|");
    }
}
