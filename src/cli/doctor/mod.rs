//! `crossmodel doctor`: checks everything that a gateway depends on, and gives advice.
//!
//! Nothing is changed: the store is only read, and providers are asked only for what costs nothing.

mod clock;
mod finding;
mod machine;
mod providers;
mod store;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crossmodel::Config;
use crossmodel::config::{self, Warning};
use crossmodel::edge::Prober;
use crossmodel::observe::Destination;
use crossmodel::private::{Exposure, exposure};

use super::CommandError;
use super::progress::ProgressLine;
use super::table::OutputFormat;

use finding::{CheckState, DoctorFinding};
pub(super) use machine::reachable;

/// Runs all checks at once. `data` is the folder of the store, if it can be told.
///
/// # Errors
/// Fails if a finding is wrong.
pub(super) fn run(
    config: Result<Config, config::ConfigError>,
    data: Result<PathBuf, CommandError>,
    format: OutputFormat,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let mut findings = configuration(&config);
    let data = match data {
        Ok(data) => Some(data),
        // A file that cannot be read has been reported.
        Err(CommandError::Config(_)) => None,
        Err(error) => {
            let advice = "see the guide on where the store is";
            findings.push(DoctorFinding::new(CheckState::Wrong, "data", "folder", error.to_string(), advice));
            None
        }
    };
    let config = config.ok().map(Arc::new);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    findings.extend(runtime.block_on(all(config, data, ProgressLine::new())));
    // A look-up of a name that does not return is not waited for.
    runtime.shutdown_background();
    finding::show(&findings, format, out)
}

async fn all(
    config: Option<Arc<Config>>,
    data: Option<PathBuf>,
    progress: ProgressLine,
) -> Vec<DoctorFinding> {
    let mut jobs = JoinSet::new();
    if let Some(data) = data {
        jobs.spawn_blocking(move || (FindingOrigin::Store, store::look(&data), None));
    }
    if let Some(config) = config {
        let prober = Arc::new(Prober::new());
        for provider in &config.providers {
            if config.demo.is_some() && &*provider.name == config::DEMO {
                continue;
            }
            let (provider, prober) = (Arc::clone(provider), Arc::clone(&prober));
            jobs.spawn(async move {
                let (findings, skew) = providers::look(&prober, &provider).await;
                (FindingOrigin::Provider(provider.name.to_string()), findings, skew)
            });
        }
        jobs.spawn(async move { (FindingOrigin::Machine, machine::look(&prober, &config).await, None) });
    }
    let (mut found, mut skews, total) = (Vec::new(), Vec::new(), jobs.len());
    progress.show(&format!("looking at {total} things"));
    while let Some(done) = jobs.join_next().await {
        // A check that panicked has no findings, which is a finding of its own.
        let (place, findings, skew) =
            done.unwrap_or_else(|error| (FindingOrigin::Broken, broken(&error), None));
        found.push((place, findings));
        skews.extend(skew);
        progress.show(&format!("looked at {} of {total} things", found.len()));
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut findings: Vec<_> = found.into_iter().flat_map(|(_, findings)| findings).collect();
    findings.extend(clock::judge(&skews));
    findings
}

/// The order in which findings are shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum FindingOrigin {
    Broken,
    Store,
    Provider(String),
    Machine,
}

fn broken(error: &tokio::task::JoinError) -> Vec<DoctorFinding> {
    let advice = "this is a mistake in CrossModel: please report it";
    vec![DoctorFinding::new(CheckState::Wrong, "doctor", "itself", error.to_string(), advice)]
}

fn configuration(config: &Result<Config, config::ConfigError>) -> Vec<DoctorFinding> {
    let subject = "configuration";
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            let wrong = error.to_string();
            let each = wrong.lines().map(|line| {
                let advice = "correct the file: providers are looked at when it can be read";
                DoctorFinding::new(CheckState::Wrong, subject, "settings", line, advice)
            });
            return each.collect();
        }
    };
    let (providers, models) = (config.providers.len(), config.catalog.entries().len());
    let counted = format!("{providers} providers, {models} models");
    let settings = DoctorFinding::ok(subject, "settings", counted);
    let warnings = config.warnings().into_iter().map(|Warning { about, is_wrong, trap, advice }| {
        let state = if is_wrong { CheckState::Wrong } else { CheckState::Warning };
        DoctorFinding::new(state, subject, about, trap, advice)
    });
    std::iter::once(settings).chain(warnings).chain(access_log(config)).collect()
}

/// Judges the modes of the access log, in which it stands who has called which model.
fn access_log(config: &Config) -> Option<DoctorFinding> {
    let Destination::File(path) = &config.access_log.to else { return None };
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let message = format!("every user of this machine may use {}", path.display());
    let advice = "chmod 600 it, or 640 for the group that reads it";
    let is_open = exposure(&metadata) >= Exposure::Readable;
    is_open.then(|| DoctorFinding::new(CheckState::Wrong, "configuration", "access log", message, advice))
}
