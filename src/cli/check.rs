//! `crossmodel check`.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use crossmodel::Config;

use super::Error;
use super::table::{Format, print};

#[derive(Serialize)]
struct Shown<'a> {
    file: &'a Path,
    ok: bool,
    providers: usize,
    models: usize,
    problems: Vec<Problem<'a>>,
    warnings: Vec<String>,
}

/// What is wrong and where; both numbers are 0 for what concerns no line.
#[derive(Serialize)]
struct Problem<'a> {
    line: u64,
    column: u64,
    message: &'a str,
}

/// Checks a configuration file.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn run(file: Option<&Path>, format: Format, out: &mut dyn Write) -> Result<(), Error> {
    let file = file.ok_or_else(|| Error::Usage("name the file: crossmodel check -c FILE".into()))?;
    let config = Config::load(file);
    let (providers, models) =
        config.as_ref().map_or((0, 0), |config| (config.providers.len(), config.catalog.entries().len()));
    let exposed = config.as_ref().map(|config| config.exposed.iter().map(ToString::to_string).collect());
    let warnings: Vec<_> = exposed.unwrap_or_default();
    if format.json {
        let problems = config.as_ref().err().map(crossmodel::config::Error::problems).unwrap_or_default();
        let problems = problems.iter().map(|problem| Problem {
            line: problem.place.line,
            column: problem.place.column,
            message: &problem.message,
        });
        let ok = config.is_ok();
        print(&Shown { file, ok, providers, models, problems: problems.collect(), warnings }, out)?;
        return if ok { Ok(()) } else { Err(Error::Shown) };
    }
    config?;
    for warning in warnings {
        writeln!(out, "warning: {warning}")?;
    }
    writeln!(out, "{}: ok, {providers} providers, {models} models", file.display())?;
    Ok(())
}
