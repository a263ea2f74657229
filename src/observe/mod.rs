//! What operators see: one access line per request, metrics, and our own log.

mod access;
mod log;
mod metrics;
mod reading;
mod sink;

pub use access::{AccessLog, Destination, Line};
pub use log::{dropped as log_dropped, start as start_log};
pub use metrics::Metrics;
pub use reading::{ModelUse, Reading, Times};
