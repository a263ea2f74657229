//! The operations. Each change is one transaction, with its row of the audit log.

mod accounts;
mod audit;
mod budgets;
mod declared;
#[cfg(test)]
mod declared_tests;
mod difference;
mod keys;
mod managed;
mod operations;
mod page;
mod payments;
#[cfg(test)]
mod tests;
mod tokens;

pub use audit::AuditFilter;
pub use declared::DeclaredObjects;
pub use keys::KeyFilter;
pub use operations::{Actor, Intent, Operations, Repeatable, Replay, Via};
pub use page::Page;
