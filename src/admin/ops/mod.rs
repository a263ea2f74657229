//! The operations. Each change is one transaction, with its row of the audit log.

mod accounts;
mod audit;
mod budgets;
mod config;
mod declared;
#[cfg(test)]
mod declared_tests;
mod difference;
mod keys;
mod managed;
mod operations;
mod owned_budgets;
mod page;
mod payments;
mod targets;
#[cfg(test)]
mod tests;
mod tokens;
mod usage;

pub use audit::AuditFilter;
pub use declared::DeclaredObjects;
pub use keys::KeyFilter;
pub use operations::{Actor, Intent, Operations, Repeatable, Replay, Via};
pub use page::Page;
