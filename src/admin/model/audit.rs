//! The audit log.

#![expect(clippy::disallowed_types, reason = "the members of a change are of any type, and changes are rare")]

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Moment;

/// Members of an object that have changed.
pub type Members = Map<String, Value>;

/// A change, or a change that was refused.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AuditRow {
    /// The number, which grows from row to row.
    pub seq: i64,
    /// The time.
    pub time: Moment,
    /// The operator: `token:NAME`, `local:UID`, `cli`, or `config:FILE` for the file.
    pub actor: String,
    /// The way: `api`, `socket`, `cli`, `config`, or `store` for the store itself.
    pub via: String,
    /// The address from which the request came.
    pub address: Option<String>,
    /// The kind of change, for example `key.create`.
    pub action: String,
    /// The id of the object.
    pub subject: String,
    /// The account of the object.
    pub account: Option<String>,
    /// `applied`, or the code of the refusal.
    pub outcome: String,
    /// The members that have changed, as they were.
    pub before: Option<Members>,
    /// The members that have changed, as they are.
    pub after: Option<Members>,
    /// The id of the request.
    pub request_id: Option<String>,
}
