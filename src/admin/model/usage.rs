//! Usage, as an operator asks for it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::meter::{UsageRow, UsageSums};

use super::Moment;

/// The answer to a question about usage.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct UsageList {
    /// `list`.
    pub object: String,
    /// The first hour.
    pub from: Moment,
    /// The end, which does not belong to it.
    pub to: Moment,
    /// The time of the answer, which has every call that had ended.
    pub as_of: Moment,
    /// The rows, the earliest period first.
    pub data: Vec<UsageRow>,
    /// The sums of all rows.
    pub total: UsageSums,
    /// `false`: the rows are all there.
    pub has_more: bool,
    /// `null`, because there are no more rows.
    pub next_cursor: Option<String>,
}

impl UsageList {
    /// Makes the answer of rows for a span of time.
    pub(in crate::admin) fn new((from, to): (Moment, Moment), as_of: Moment, data: Vec<UsageRow>) -> Self {
        let mut total = UsageSums::default();
        data.iter().for_each(|row| total.add(&row.sums));
        Self { object: "list".to_owned(), from, to, as_of, data, total, has_more: false, next_cursor: None }
    }

    /// Writes the rows as comma-separated values (RFC 4180) with a line of names.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut text = COLUMNS.join(",");
        text.push_str(LINE_END);
        for row in &self.data {
            let cells = cells(row).map(|cell| quoted(&cell));
            text.push_str(&cells.join(","));
            text.push_str(LINE_END);
        }
        text
    }
}

/// Returns the cells of a row, in the order of [`COLUMNS`].
fn cells(row: &UsageRow) -> [String; COLUMNS.len()] {
    let UsageRow { start, account, key, key_name, model, provider, sums } = row;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    [
        start.map(|start| start.to_string()).unwrap_or_default(),
        text(account),
        text(key),
        text(key_name),
        text(model),
        text(provider),
        sums.requests.to_string(),
        sums.successes.to_string(),
        sums.input_tokens.to_string(),
        sums.cache_read_tokens.to_string(),
        sums.cache_write_tokens.to_string(),
        sums.output_tokens.to_string(),
        sums.cost.to_string(),
    ]
}

/// Quotes a cell if it has to be. Spreadsheets take a text for a formula that begins with one of four characters, so such
/// a text gets an apostrophe before it.
fn quoted(cell: &str) -> String {
    let cell = if cell.starts_with(['=', '+', '-', '@']) { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

/// The names of the columns.
const COLUMNS: [&str; 13] = [
    "start",
    "account",
    "key",
    "key_name",
    "model",
    "provider",
    "requests",
    "successes",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "cost_usd",
];

/// The end of a line (RFC 4180, section 2).
const LINE_END: &str = "\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_are_no_formulas() {
        for (cell, expected) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "'=1+1"),
            ("@x,y", "\"'@x,y\""),
            ("-5", "'-5"),
        ] {
            assert_eq!(quoted(cell), expected);
        }
    }

    #[test]
    fn rows_are_lines_and_are_added_up() {
        let sums = UsageSums { requests: 2, cost: "1.5".parse().unwrap(), ..UsageSums::default() };
        let row = UsageRow {
            start: Some("2026-11-01T00:00:00Z".parse().unwrap()),
            account: Some("a".to_owned()),
            key: None,
            key_name: None,
            model: None,
            provider: None,
            sums,
        };
        let list = UsageList::new((Moment(0), Moment(1)), Moment(1), vec![row.clone(), row]);
        assert_eq!((list.total.requests, list.total.cost.to_string()), (4, "3.00".to_owned()));
        let line = "2026-11-01T00:00:00Z,a,,,,,2,0,0,0,0,0,1.50\r\n";
        assert_eq!(list.csv(), format!("{}\r\n{line}{line}", COLUMNS.join(",")));
    }
}
