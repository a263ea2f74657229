//! The operations on keys, accounts and operators' tokens: one function each, whoever asks.
//!
//! The HTTP API ([`api`]), which the command line speaks, too, calls [`Operations`]. Nothing else writes these tables. Every change
//! writes its row of the audit log in its own transaction, so that there is neither a change without a row nor a row
//! without a change. [`model`] has the forms in which operators read and write objects.

pub mod api;
pub mod client;
mod error;
pub mod model;
mod ops;
mod records;

pub use error::{Code, Mistake, OperationError, OperationResult};
pub use ops::{
    Actor, AuditFilter, DeclaredObjects, Intent, KeyFilter, Operations, Page, Repeatable, Replay, Via,
};
