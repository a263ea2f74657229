//! The facts about the process that its own tasks find out, for operators.

use std::collections::BTreeSet;

/// The facts that are known of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::edge) struct ProcessFacts {
    /// Whether the process accepts clients' connections, or has begun to.
    pub(in crate::edge) is_serving: bool,
    /// The listeners and the ends of their certificates, in seconds since the epoch.
    pub(in crate::edge) certificates: Vec<(String, i64)>,
    /// The webhooks whose last delivery by this process has failed.
    pub(in crate::edge) failing_webhooks: BTreeSet<String>,
    /// The bytes that are free on the disk of the data folder.
    pub(in crate::edge) free_bytes: Option<u64>,
}
