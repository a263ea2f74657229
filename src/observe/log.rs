//! The gateway's own log, on standard error.
//!
//! Libraries below us log request headers and bodies at their finer levels. Credentials and prompts must not get
//! into a log, whatever `RUST_LOG` says. So only our own records pass below [`FOREIGN`], and those of Pingora's
//! proxy do not pass at all.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::time::Instant;

use env_logger::Target;
use log::{LevelFilter, Log, Metadata, Record};
use parking_lot::Mutex;

use crate::repeated::{LeftOut, RepeatedLine};

use super::sink::LineSink;

struct Filtered {
    logger: env_logger::Logger,
    foreign: ForeignLines,
}

/// The lines of other crates, by the places in their code and their topics. Clients can cause some of them, for example with
/// handshakes that fail, as often as they like.
#[derive(Default)]
struct ForeignLines(Mutex<HashMap<(String, u32, Topic), RepeatedLine>>);

/// A text that lines from one place are told apart by; absent: the line has none of them.
type Topic = Option<&'static str>;

impl ForeignLines {
    /// Returns the number of lines that were left out, if a line from a place may be written.
    fn admit(&self, target: &str, line: u32, text: &str) -> Option<LeftOut> {
        let topic = TOPICS.into_iter().find(|topic| text.contains(topic));
        let (mut places, place) = (self.0.lock(), (target.to_owned(), line, topic));
        if !places.contains_key(&place) && places.len() >= MAX_PLACES {
            places.clear();
        }
        places.entry(place).or_default().admit(Instant::now())
    }
}

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
    if log::set_boxed_logger(Box::new(Filtered { logger, foreign: ForeignLines::default() })).is_ok() {
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
        allowed(metadata) && self.logger.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let metadata = record.metadata();
        if !self.enabled(metadata) {
            return;
        }
        if is_ours(metadata) {
            return self.logger.log(record);
        }
        let text = record.args().to_string();
        let line = record.line().unwrap_or_default();
        if let Some(left_out) = self.foreign.admit(metadata.target(), line, &text) {
            let mut builder = Record::builder();
            builder.metadata(metadata.clone()).module_path(record.module_path()).line(record.line());
            self.logger.log(&builder.args(format_args!("{text}{left_out}")).build());
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
    is_ours(metadata)
        || metadata.level() <= FOREIGN && !SUPPRESSED.iter().any(|module| target.starts_with(module))
}

/// Whether a record is the gateway's own.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().split("::").next() == Some(env!("CARGO_CRATE_NAME"))
}

/// The most places in other crates whose lines are counted: more than they have.
const MAX_PLACES: usize = 256;

/// The reasons for which a handshake fails because of the client's certificate, in the words of rustls. Such a line must not
/// be left out because something else has failed at the same place.
const TOPICS: [&str; 2] = ["peer sent no certificates", "invalid peer certificate"];

/// The modules of Pingora whose records are not written at all.
const SUPPRESSED: [&str; 2] = ["pingora_proxy", "pingora_core::connectors"];

/// The finest level of other crates.
const FOREIGN: log::Level = log::Level::Error;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_other_crates_are_counted_by_their_places() {
        let lines = ForeignLines::default();
        let written = |target: &str, line: u32| lines.admit(target, line, "x").is_some();
        assert_eq!(
            [written("a", 1), written("a", 1), written("a", 2), written("b", 1)],
            [true, false, true, true]
        );
        for line in 0..10_000 {
            lines.admit("many", line, "x");
        }
        assert!(lines.0.lock().len() <= MAX_PLACES);
    }

    #[test]
    fn the_reason_of_a_refused_certificate_is_not_left_out_with_others() {
        let lines = ForeignLines::default();
        let written = |text: &str| lines.admit("a", 1, text).is_some();
        assert!(written("handshake: eof") && !written("handshake: reset"));
        for topic in TOPICS {
            assert!(written(topic) && !written(topic), "{topic}");
        }
    }
}
