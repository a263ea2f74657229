//! Lists and errors.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A page of a list, newest first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ListOf{T}")]
pub struct List<T> {
    /// The objects.
    pub data: Vec<T>,
    /// Whether there are more.
    pub has_more: bool,
    /// The `cursor` of the next page.
    pub next_cursor: Option<String>,
}

/// An error.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorObject,
}

/// The parts of an error.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ErrorObject {
    /// The kind, on which programs branch.
    pub code: String,
    /// The reason in words, which may change.
    pub message: String,
    /// The member of the request that is wrong.
    pub param: Option<String>,
    /// The id of the request.
    pub request_id: String,
    /// All mistakes of the request.
    pub details: Vec<ErrorDetail>,
}

/// A mistake of a request.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ErrorDetail {
    /// The member that is wrong.
    pub param: String,
    /// The reason in words.
    pub message: String,
}
