//! Observability: one access line per request, metrics, traces, and the gateway's own log.

mod access;
mod access_log;
mod labels;
mod ledger;
mod log;
mod maker;
mod members;
mod metrics;
mod money;
mod process;
mod requests;
mod sink;
mod snapshot;
mod target;
#[cfg_attr(not(feature = "otel"), path = "untraced.rs")]
mod trace;
mod webhooks;

pub use access::{AccessLine, TryLine, millis};
pub use access_log::{AccessLog, AccessLogSettings, ClientDetail, Destination, EndUserDetail};
pub use labels::{AttemptFailure, ConnectionCap, HeadRefusal, LimitRefusal};
pub use ledger::LedgerMetrics;
pub use log::{dropped as log_dropped, start as start_log};
pub use metrics::Metrics;
pub use money::MoneyMetrics;
pub use process::ProcessMetrics;
pub use snapshot::{HistogramSnapshot, MetricsSnapshot, ModelUsage};
pub use target::{Attempt, TargetMetrics, TargetState, Tried};
pub use trace::{Trace, Tracer};
pub use webhooks::WebhookMetrics;
