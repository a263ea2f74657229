//! Marks for the prompt cache.

use crate::canon::Cache;
use crate::protocol::node::Node;

/// The mark that a part bears as `prompt_cache_breakpoint`; `long` if the request asks for a long life of all.
pub(super) fn mark(text: &str, long: bool) -> Cache {
    Cache { long: is_long(text).unwrap_or(long) }
}

/// Does an object with a `ttl` ask for more than the few minutes that are usual? `None` if it does not say.
pub(super) fn is_long(text: &str) -> Option<bool> {
    let ttl = Node::root(text).find("ttl")?.lit().ok()?;
    Some(matches!(ttl.raw(), "12h" | "24h" | "1h"))
}
