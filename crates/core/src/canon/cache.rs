//! The mark for a provider's prompt cache, on tools and on the parts of messages.

/// A mark for the prompt cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    /// For longer than the few minutes that are usual.
    pub long: bool,
}
