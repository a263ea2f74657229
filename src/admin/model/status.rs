//! The state of a gateway.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Moment;

/// A running gateway.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Instance {
    /// The process.
    pub pid: u32,
    /// The version.
    pub version: String,
    /// The data folder.
    pub data: String,
    /// The configuration file.
    pub config: Option<String>,
    /// The time of its start.
    pub started_at: Moment,
}

/// The state of a gateway as conditions.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "GatewayStatus")]
pub struct Status {
    /// The version.
    pub version: String,
    /// The time since its start.
    pub uptime_seconds: u64,
    /// The conditions.
    pub conditions: Vec<Condition>,
}

/// One condition.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Condition {
    /// The name.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// The reason, for programs.
    pub reason: String,
    /// The reason in words.
    pub message: String,
    /// The time since which it has its status.
    pub last_transition_time: Moment,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody knows.
    Unknown,
}
