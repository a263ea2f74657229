//! `crossmodel usage`.

use std::io::{Write, stderr};

use clap::Args;
use serde::de::{Deserialize, Deserializer, Error as _};

use crossmodel::admin::client::{Client, encoded, object_path};
use crossmodel::admin::model::{Account, Key, Members, Moment};
use crossmodel::meter::{Tally, UsageReport};
use crossmodel::money::Amount;

use super::failure::CommandError;
use super::keys::DEFAULT_ACCOUNT;
use super::table::{OutputFormat, print, table};

#[derive(Debug, Args)]
pub(super) struct UsageArguments {
    /// The account. Default: `default`, or all accounts if one of the options below is given.
    #[arg(long)]
    account: Option<String>,
    /// The id of a key. Default: all keys.
    #[arg(long)]
    key: Option<String>,
    /// The model, or its beginning and `*`. Default: all models.
    #[arg(long)]
    model: Option<String>,
    /// The first day or hour (UTC). Default: the beginning of this month.
    #[arg(long, value_name = "TIME")]
    from: Option<Moment>,
    /// The end, which does not belong to it. Default: the end of this month.
    #[arg(long, value_name = "TIME")]
    to: Option<Moment>,
    /// The facts that have rows of their own, with commas: `account`, `key`, `model`, `provider`, and one of `hour`, `day` and `month`.
    #[arg(long, value_name = "FACTS")]
    by: Option<String>,
    /// Prints comma-separated values with a line of names.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    format: OutputFormat,
}

/// The answer about a span of time.
#[derive(Debug, serde::Deserialize)]
struct UsageView {
    as_of: Moment,
    data: Vec<RowView>,
    total: SumsView,
}

/// A row: the facts by which it is told from others, and the sums.
#[derive(Debug, serde::Deserialize)]
struct RowView {
    start: Option<Moment>,
    account: Option<String>,
    key: Option<String>,
    key_name: Option<String>,
    model: Option<String>,
    provider: Option<String>,
    #[serde(flatten)]
    sums: SumsView,
}

#[derive(Debug, serde::Deserialize)]
struct SumsView {
    requests: u64,
    successes: u64,
    input_tokens: u64,
    cache_read_tokens: u64,
    cache_write_tokens: u64,
    output_tokens: u64,
    #[serde(rename = "cost_usd", deserialize_with = "amount")]
    cost: Amount,
}

impl UsageArguments {
    /// Shows the usage. `quiet`: its time is not told.
    ///
    /// # Errors
    /// Fails if there is no such account or key.
    pub(super) fn run(&self, client: &Client, quiet: bool, out: &mut dyn Write) -> Result<(), CommandError> {
        let is_plain =
            self.from.or(self.to).is_none() && self.by.is_none() && self.model.is_none() && !self.csv;
        let account = self.account.as_deref().or_else(|| is_plain.then_some(DEFAULT_ACCOUNT));
        if let Some(account) = account {
            let _: Account = client.get(&object_path("/accounts", account))?;
        }
        if is_plain { self.windows(client, account, out) } else { self.span(client, account, quiet, out) }
    }

    /// Shows this day, this week and this month.
    fn windows(
        &self,
        client: &Client,
        account: Option<&str>,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let tally = |(from, to): (Moment, Moment)| -> Result<Tally, CommandError> {
            let view: UsageView = client.get(&self.path(account, Some(from), Some(to), ""))?;
            Ok(view.total.tally())
        };
        let [daily, weekly, monthly] = windows(Moment::now()).map(tally);
        let report = UsageReport { daily: daily?, weekly: weekly?, monthly: monthly? };
        // A key that was deleted still has its usage.
        if report.monthly.requests == 0 && report.weekly.requests == 0 {
            self.check_key(client)?;
        }
        if self.format.json {
            return print(&report, out);
        }
        let UsageReport { daily, weekly, monthly } = report;
        let rows = [("today", daily), ("this week", weekly), ("this month", monthly)];
        let rows: Vec<_> = rows.into_iter().map(|(period, tally)| window_row(period, &tally)).collect();
        table(&["UTC", "COST USD", "PROMPT", "COMPLETION", "REQUESTS", "SUCCESSES"], &rows, out)
    }

    /// Shows a span of time.
    fn span(
        &self,
        client: &Client,
        account: Option<&str>,
        quiet: bool,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        if self.csv {
            self.check_key(client)?;
            return Ok(out.write_all(&client.bytes(&self.path(
                account,
                self.from,
                self.to,
                "&format=csv",
            ))?)?);
        }
        let members: Members = client.get(&self.path(account, self.from, self.to, ""))?;
        let unreadable =
            |error| CommandError::Usage(format!("the answer of the gateway cannot be read: {error}"));
        let text = serde_json::to_vec(&members).map_err(unreadable)?;
        let view: UsageView = serde_json::from_slice(&text).map_err(unreadable)?;
        if view.total.requests == 0 {
            self.check_key(client)?;
        }
        if self.format.json {
            return print(&members, out);
        }
        view.show(out)?;
        if !quiet {
            let _ = writeln!(stderr(), "as of {}", view.as_of);
        }
        Ok(())
    }

    /// Ensures that there is the key.
    fn check_key(&self, client: &Client) -> Result<(), CommandError> {
        match &self.key {
            Some(key) => Ok(client.get::<Key>(&object_path("/keys", key)).map(drop)?),
            None => Ok(()),
        }
    }

    fn path(&self, account: Option<&str>, from: Option<Moment>, to: Option<Moment>, more: &str) -> String {
        let time = |time: Option<Moment>| time.map(|time| time.to_string());
        let parameters = [
            ("from", time(from)),
            ("to", time(to)),
            ("group_by", self.by.clone()),
            ("account", account.map(str::to_owned)),
            ("key", self.key.clone()),
            ("model", self.model.clone()),
        ];
        let given = parameters.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let given: Vec<_> = given.map(|(name, value)| format!("{name}={}", encoded(&value))).collect();
        format!("/usage?{}{more}", given.join("&"))
    }
}

impl UsageView {
    /// Prints the rows with the facts that they have, and their sum.
    fn show(&self, out: &mut dyn Write) -> Result<(), CommandError> {
        type Fact = (&'static str, fn(&RowView) -> Option<String>);
        let facts: [Fact; 5] = [
            ("START", |row| row.start.map(|start| start.to_string())),
            ("ACCOUNT", |row| row.account.clone()),
            ("KEY", RowView::key),
            ("MODEL", |row| row.model.clone()),
            ("PROVIDER", |row| row.provider.clone()),
        ];
        let used: Vec<Fact> =
            facts.into_iter().filter(|(_, fact)| self.data.iter().any(|row| fact(row).is_some())).collect();
        let cells = |row: &RowView| -> Vec<String> {
            let facts = used.iter().map(|(_, fact)| fact(row).unwrap_or_default());
            facts.chain(row.sums.cells()).collect()
        };
        let mut rows: Vec<_> = self.data.iter().map(cells).collect();
        if !used.is_empty() {
            let blanks = std::iter::repeat_n(String::new(), used.len() - 1);
            rows.push(std::iter::once("total".to_owned()).chain(blanks).chain(self.total.cells()).collect());
        } else if rows.is_empty() {
            rows.push(self.total.cells().to_vec());
        }
        let headings: Vec<_> = used.iter().map(|(name, _)| *name).chain(SUMS).collect();
        table(&headings, &rows, out)
    }
}

impl RowView {
    /// Returns the id of the key, and its name if it has one.
    fn key(&self) -> Option<String> {
        let id = self.key.as_ref()?;
        Some(match self.key_name.as_deref() {
            None | Some("") => id.clone(),
            Some(name) => format!("{id} ({name})"),
        })
    }
}

impl SumsView {
    fn tally(&self) -> Tally {
        Tally {
            cost: self.cost,
            prompt: self.input_tokens + self.cache_read_tokens + self.cache_write_tokens,
            completion: self.output_tokens,
            requests: self.requests,
            successes: self.successes,
        }
    }

    fn cells(&self) -> [String; 7] {
        [
            self.requests.to_string(),
            self.successes.to_string(),
            self.input_tokens.to_string(),
            self.cache_read_tokens.to_string(),
            self.cache_write_tokens.to_string(),
            self.output_tokens.to_string(),
            self.cost.to_string(),
        ]
    }
}

/// Reads an amount that is a text.
fn amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

fn window_row(period: &str, tally: &Tally) -> Vec<String> {
    let Tally { cost, prompt, completion, requests, successes } = tally;
    let counts = [prompt, completion, requests, successes].map(ToString::to_string);
    [period.to_owned(), cost.to_string()].into_iter().chain(counts).collect()
}

/// Returns this day, this week, which begins on Monday, and this month, in UTC and as far as the end of this day.
fn windows(now: Moment) -> [(Moment, Moment); 3] {
    let days = now.0.div_euclid(DAY);
    let date = now.date();
    let first = date.get(..8).and_then(|month| format!("{month}01").parse().ok());
    // The epoch began on a Thursday.
    let monday = days - (days + 3).rem_euclid(7);
    let end = Moment((days + 1) * DAY);
    let month: Moment = first.unwrap_or(Moment(days * DAY));
    [(Moment(days * DAY), end), (Moment(monday * DAY), end), (month, end)]
}

const SUMS: [&str; 7] = ["REQUESTS", "SUCCESSES", "INPUT", "CACHE READ", "CACHE WRITE", "OUTPUT", "COST USD"];

/// The seconds of a day.
const DAY: i64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_windows_of_a_moment_begin_with_its_day_week_and_month() {
        let texts = |time: &str| {
            windows(time.parse().unwrap()).map(|(from, to)| format!("{} {}", from.date(), to.date()))
        };
        let expected = ["2026-11-29 2026-11-30", "2026-11-23 2026-11-30", "2026-11-01 2026-11-30"];
        assert_eq!(texts("2026-11-29T23:59:59Z"), expected);
        let expected = ["2024-02-29 2024-03-01", "2024-02-26 2024-03-01", "2024-02-01 2024-03-01"];
        assert_eq!(texts("2024-02-29T00:00:00Z"), expected);
        assert_eq!(texts("2026-11-30T12:00:00Z")[1], "2026-11-30 2026-12-01");
    }

    #[test]
    fn rows_are_shown_with_the_facts_that_they_have_and_their_sum() {
        let sums = r#""requests":1,"successes":1,"input_tokens":7,"cache_read_tokens":2,"cache_write_tokens":0,"output_tokens":5,"cost_usd":"0.25""#;
        let text = format!(
            r#"{{"object":"list","as_of":"2026-11-29T10:00:03Z","data":[{{"account":"team","key":"key_1","key_name":"ci",{sums}}}],"total":{{{sums}}}}}"#
        );
        let view: UsageView = serde_json::from_str(&text).unwrap();
        let mut out = Vec::new();
        view.show(&mut out).unwrap();
        let lines: Vec<Vec<_>> = std::str::from_utf8(&out)
            .unwrap()
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(lines[0][..3], ["ACCOUNT", "KEY", "REQUESTS"]);
        assert_eq!(lines[1], ["team", "key_1 (ci)", "1", "1", "7", "2", "0", "5", "0.25"]);
        assert_eq!(lines[2], ["total", "1", "1", "7", "2", "0", "5", "0.25"]);
        assert_eq!(view.total.tally().prompt, 9);
    }
}
