//! Our own log, on standard error.
//!
//! Libraries below us log request headers and bodies at their finer levels. Credentials and prompts must
//! not get into a log whatever `RUST_LOG` says, so only our own records go below `warn`.

use log::{LevelFilter, Log, Metadata, Record};

struct Filtered(env_logger::Logger);

/// Starts the log. `RUST_LOG` sets our level; the default is `info`.
pub fn start() {
    let environment = env_logger::Env::default().default_filter_or("info");
    let logger = env_logger::Builder::from_env(environment).build();
    let level = logger.filter().max(LevelFilter::Warn);
    if log::set_boxed_logger(Box::new(Filtered(logger))).is_ok() {
        log::set_max_level(level);
    }
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
        self.0.flush();
    }
}

/// Pingora's errors name requests by path, and its warnings hold header values, so neither is let through.
fn allowed(metadata: &Metadata<'_>) -> bool {
    let ours = metadata.target().split("::").next() == Some(env!("CARGO_CRATE_NAME"));
    ours || metadata.level() <= FOREIGN && !metadata.target().starts_with("pingora_proxy")
}

/// The finest level of other crates.
const FOREIGN: log::Level = log::Level::Error;
