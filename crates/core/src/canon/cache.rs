//! The mark for a provider's prompt cache, on tools and on the parts of messages.

/// A mark for the prompt cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Whether the mark asks for a longer lifetime than the default of a few minutes.
    pub long: bool,
}
