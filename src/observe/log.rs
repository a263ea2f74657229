//! The gateway's own log, on standard error.
//!
//! Libraries below us log request headers and bodies at their finer levels. Credentials and prompts must not get
//! into a log, whatever `RUST_LOG` says. So only our own records pass below [`FOREIGN`], and those of Pingora's
//! proxy do not pass at all.

use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::OnceLock;

use env_logger::Target;
use log::{LevelFilter, Log, Metadata, Record};

use super::sink::LineSink;

struct Filtered(env_logger::Logger);

/// The sink for records, once there is a log.
static STDERR: OnceLock<LineSink> = OnceLock::new();

/// Starts the log. `RUST_LOG` sets our level; the default is `info`.
pub fn start() {
    let environment = env_logger::Env::default().default_filter_or("info");
    let mut builder = env_logger::Builder::from_env(environment);
    // A thread writes the records, so that a slow reader does not hold up the gateway. If there can be no thread,
    // records are written directly, which is better than no log.
    if let Ok(sink) = LineSink::of("log", &io::stderr()) {
        builder.target(Target::Pipe(Box::new(Lines(STDERR.get_or_init(|| sink).clone()))));
    }
    let logger = builder.build();
    let level = logger.filter().max(LevelFilter::Warn);
    if log::set_boxed_logger(Box::new(Filtered(logger))).is_ok() {
        log::set_max_level(level);
    }
}

/// Returns the number of records that were lost because standard error did not take them in time.
#[must_use]
pub fn dropped() -> u64 {
    STDERR.get().map_or(0, LineSink::dropped)
}

impl Log for Filtered {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        allowed(metadata) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if allowed(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        if let Some(sink) = STDERR.get() {
            sink.flush();
        }
    }
}

/// Receives records, one with each write.
struct Lines(LineSink);

impl Write for Lines {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        self.0.add(|lines| {
            lines.extend_from_slice(record.strip_suffix(b"\n").unwrap_or(record));
            Ok::<_, Infallible>(())
        });
        self.0.hurry();
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a record may be written. Pingora's errors of requests name them by path, and its warnings hold header values.
/// Its errors of connections name neither the provider nor the reason, which our own lines do.
fn allowed(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let ours = target.split("::").next() == Some(env!("CARGO_CRATE_NAME"));
    ours || metadata.level() <= FOREIGN && !SUPPRESSED.iter().any(|module| target.starts_with(module))
}

/// The modules of Pingora whose records are not written at all.
const SUPPRESSED: [&str; 2] = ["pingora_proxy", "pingora_core::connectors"];

/// The finest level of other crates.
const FOREIGN: log::Level = log::Level::Error;
