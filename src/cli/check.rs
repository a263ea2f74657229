//! `crossmodel check`.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use crossmodel::Config;

use super::CommandError;
use super::table::{Format, print};

#[derive(Serialize)]
struct Shown<'a> {
    file: &'a Path,
    ok: bool,
    providers: usize,
    models: usize,
    warnings: Vec<String>,
    problems: Vec<Problem<'a>>,
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
pub(super) fn run(file: Option<&Path>, format: Format, out: &mut dyn Write) -> Result<(), CommandError> {
    let file = file.ok_or_else(|| CommandError::Usage("name the file: crossmodel check -c FILE".into()))?;
    let config = Config::load(file);
    let (providers, models) =
        config.as_ref().map_or((0, 0), |config| (config.providers.len(), config.catalog.entries().len()));
    let warnings = config.as_ref().map(Config::warnings).unwrap_or_default();
    let warnings = warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
    if format.json {
        let problems =
            config.as_ref().err().map(crossmodel::config::ConfigError::problems).unwrap_or_default();
        let problems = problems.iter().map(|problem| Problem {
            line: problem.place.line,
            column: problem.place.column,
            message: &problem.message,
        });
        let ok = config.is_ok();
        print(&Shown { file, ok, providers, models, warnings, problems: problems.collect() }, out)?;
        return if ok { Ok(()) } else { Err(CommandError::Shown) };
    }
    config?;
    for warning in warnings {
        writeln!(out, "{}: warning: {warning}", file.display())?;
    }
    writeln!(out, "{}: ok, {providers} providers, {models} models", file.display())?;
    Ok(())
}
