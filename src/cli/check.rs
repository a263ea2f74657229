//! `crossmodel check`.

use std::io::Write;
use std::path::Path;

use clap::Args;
use serde::Serialize;

use crossmodel::Config;
use crossmodel::config::{ConfigError, LoadOptions, Problem, SecretReference, SecretSource};

use super::failure::CommandError;
use super::table::{OutputFormat, print};

/// The arguments of `crossmodel check`.
#[derive(Debug, Args)]
pub(super) struct CheckCommand {
    /// Checks only the form of references to secrets and key files, and lists them: for machines that have none of
    /// them.
    #[arg(long)]
    no_secrets: bool,
    /// Fails if there are warnings, too.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    format: OutputFormat,
}

/// The result of a check, as JSON.
#[derive(Serialize)]
struct CheckOutput<'a> {
    file: &'a Path,
    ok: bool,
    providers: usize,
    models: usize,
    warnings: Vec<String>,
    problems: Vec<ProblemOutput<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    references: Option<Vec<ReferenceOutput<'a>>>,
}

/// A problem and its position; both numbers are 0 for a problem that concerns no line.
#[derive(Serialize)]
struct ProblemOutput<'a> {
    line: u64,
    column: u64,
    message: &'a str,
}

/// A reference to a secret: the variable or the file, and the setting.
#[derive(Serialize)]
struct ReferenceOutput<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a Path>,
    setting: &'a str,
    line: u64,
}

impl CheckCommand {
    /// Checks a configuration file.
    ///
    /// # Errors
    /// Fails with everything that is wrong with it.
    pub(super) fn run(&self, file: Option<&Path>, out: &mut dyn Write) -> Result<(), CommandError> {
        let file =
            file.ok_or_else(|| CommandError::CommandLine("name the file: crossmodel check -c FILE".into()))?;
        let options = LoadOptions { without_secrets: self.no_secrets, ..LoadOptions::default() };
        let config = Config::load_with(file, options);
        let warnings = config.as_ref().map(Config::warnings).unwrap_or_default();
        let warnings = warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
        let ok = config.is_ok() && (warnings.is_empty() || !self.strict);
        if self.format.json {
            print(&self.output(file, &config, warnings, ok), out)?;
            return if ok { Ok(()) } else { Err(CommandError::Shown) };
        }
        let config = config?;
        let name = file.display();
        for reference in &config.references {
            writeln!(out, "{name}: needs: {reference}")?;
        }
        for warning in &warnings {
            writeln!(out, "{name}: warning: {warning}")?;
        }
        if !ok {
            return Err(CommandError::Usage(format!("{name}: {} warnings", warnings.len())));
        }
        let (providers, models) = counts(&config);
        writeln!(out, "{name}: ok, {providers} providers, {models} models")?;
        Ok(())
    }

    fn output<'a>(
        &self,
        file: &'a Path,
        config: &'a Result<Config, ConfigError>,
        warnings: Vec<String>,
        ok: bool,
    ) -> CheckOutput<'a> {
        let (providers, models) = config.as_ref().map_or((0, 0), counts);
        let problems = config.as_ref().err().map(ConfigError::problems).unwrap_or_default();
        let references = config.as_ref().map(|config| config.references.as_slice()).unwrap_or_default();
        CheckOutput {
            file,
            ok,
            providers,
            models,
            warnings,
            problems: problems.iter().map(ProblemOutput::of).collect(),
            references: self.no_secrets.then(|| references.iter().map(ReferenceOutput::of).collect()),
        }
    }
}

impl<'a> ProblemOutput<'a> {
    fn of(problem: &'a Problem) -> Self {
        Self { line: problem.place.line, column: problem.place.column, message: &problem.message }
    }
}

impl<'a> ReferenceOutput<'a> {
    fn of(reference: &'a SecretReference) -> Self {
        let (env, file) = match &reference.source {
            SecretSource::Env(name) => (Some(name.as_str()), None),
            SecretSource::File(path) => (None, Some(path.as_path())),
        };
        Self { env, file, setting: &reference.setting, line: reference.place.line }
    }
}

/// Returns the numbers of providers and models.
fn counts(config: &Config) -> (usize, usize) {
    (config.providers.len(), config.catalog.entries().len())
}
