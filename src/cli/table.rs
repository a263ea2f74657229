//! The output of commands: tables for people, JSON for programs.

use std::io::Write;

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::failure::CommandError;

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct OutputFormat {
    /// Prints JSON instead of a table.
    #[arg(long)]
    pub(super) json: bool,
}

impl OutputFormat {
    pub(super) fn list<T: Serialize>(
        self,
        items: &[T],
        headings: &[&str],
        row: impl Fn(&T) -> Vec<String>,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        match self.json {
            true => print(&items, out),
            false => table(headings, &items.iter().map(row).collect::<Vec<_>>(), out),
        }
    }
}

/// Prints a value as one line of JSON.
pub(super) fn print(value: &impl Serialize, out: &mut dyn Write) -> Result<(), CommandError> {
    serde_json::to_writer(&mut *out, value).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// Reads the part of an answer that a table shows.
pub(super) fn read_view<T: DeserializeOwned>(answer: &impl Serialize) -> Result<T, CommandError> {
    let wrong = |error| CommandError::Usage(format!("the answer of the gateway cannot be read: {error}"));
    let text = serde_json::to_vec(answer).map_err(wrong)?;
    serde_json::from_slice(&text).map_err(wrong)
}

/// Prints rows as columns under their headings.
pub(super) fn table(
    headings: &[&str],
    rows: &[Vec<String>],
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let headings: Vec<String> = headings.iter().map(ToString::to_string).collect();
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| visible(cell)).collect()).collect();
    let all = || std::iter::once(&headings).chain(&rows);
    let width =
        |column: usize| all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    for row in all() {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            line.push_str(&format!("{cell:<width$}  ", width = width(column).unwrap_or(0)));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Replaces the characters by which a text would command a terminal, or seem to be another line.
fn visible(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_stays_in_its_line_and_commands_no_terminal() {
        let mut out = Vec::new();
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        table(&["A", "B"], &[row(["é\u{1b}[2J\u{9b}31m", "x\ny"]), row(["a", "b"])], &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "A          B\né\u{fffd}[2J\u{fffd}31m  x\u{fffd}y\na          b\n");
    }
}
