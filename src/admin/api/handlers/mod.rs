//! The handlers of the routes. They call operations, and contain neither SQL nor rules.

pub(super) mod accounts;
pub(super) mod audit;
pub(super) mod budgets;
pub(super) mod gateway;
pub(super) mod keys;
pub(super) mod targets;
pub(super) mod tokens;
pub(super) mod usage;
