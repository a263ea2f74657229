//! Observability: one access line per request, metrics, traces, and the gateway's own log.

mod access;
mod access_log;
mod content_log;
mod credentials;
mod guards;
mod labels;
mod ledger;
mod log;
mod maker;
mod members;
mod metrics;
mod money;
mod operators;
mod process;
mod recent;
mod requests;
mod sink;
mod snapshot;
mod target;
mod tenants;
#[cfg_attr(not(feature = "otel"), path = "untraced.rs")]
mod trace;
mod webhooks;

pub use access::{AccessLine, TryLine, millis};
pub use access_log::{AccessLog, AccessLogSettings, ClientDetail, Destination, EndUserDetail};
pub use content_log::{CallContent, ContentFacts, ContentLog, ContentLogSettings, ContentPart, ContentRules};
pub use guards::{GuardAction, GuardLine};
pub use labels::{AdminAuthFailure, AttemptFailure, ConnectionCap, HeadRefusal, LimitRefusal};
pub use ledger::LedgerMetrics;
pub use log::{dropped as log_dropped, start as start_log};
pub use metrics::Metrics;
pub use money::MoneyMetrics;
pub use operators::OperatorMetrics;
pub use process::ProcessMetrics;
pub use recent::{FailedRequest, FailedTry, FailureList, RecentFailures};
pub use snapshot::{HistogramSnapshot, MetricsSnapshot, ModelUsage, TargetTotals};
pub use target::{Attempt, TargetMetrics, TargetState, Tried};
pub use tenants::{KeySeries, MAX_ACCOUNT_SERIES, MetricsSettings};
pub use trace::{Trace, Tracer};
pub use webhooks::WebhookMetrics;
