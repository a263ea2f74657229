//! `crossmodel check`.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use crossmodel::Config;

use super::CommandError;
use super::table::{OutputFormat, print};

/// The result of a check, as JSON.
#[derive(Serialize)]
struct CheckOutput<'a> {
    file: &'a Path,
    ok: bool,
    providers: usize,
    models: usize,
    warnings: Vec<String>,
    problems: Vec<ProblemOutput<'a>>,
}

/// A problem and its position; both numbers are 0 for a problem that concerns no line.
#[derive(Serialize)]
struct ProblemOutput<'a> {
    line: u64,
    column: u64,
    message: &'a str,
}

/// Checks a configuration file.
///
/// # Errors
/// Fails with everything that is wrong with it.
pub(super) fn run(
    file: Option<&Path>,
    format: OutputFormat,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let file = file.ok_or_else(|| CommandError::Usage("name the file: crossmodel check -c FILE".into()))?;
    let config = Config::load(file);
    let (providers, models) =
        config.as_ref().map_or((0, 0), |config| (config.providers.len(), config.catalog.entries().len()));
    let warnings = config.as_ref().map(Config::warnings).unwrap_or_default();
    let warnings = warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
    if format.json {
        let problems =
            config.as_ref().err().map(crossmodel::config::ConfigError::problems).unwrap_or_default();
        let problems = problems.iter().map(|problem| ProblemOutput {
            line: problem.place.line,
            column: problem.place.column,
            message: &problem.message,
        });
        let ok = config.is_ok();
        print(&CheckOutput { file, ok, providers, models, warnings, problems: problems.collect() }, out)?;
        return if ok { Ok(()) } else { Err(CommandError::Shown) };
    }
    config?;
    for warning in warnings {
        writeln!(out, "{}: warning: {warning}", file.display())?;
    }
    writeln!(out, "{}: ok, {providers} providers, {models} models", file.display())?;
    Ok(())
}
