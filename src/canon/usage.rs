//! Token counts of one call, whatever the provider calls them.

/// Token counts of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Input tokens that were neither read from nor written to the prompt cache.
    pub input: u64,
    /// Input tokens read from the prompt cache.
    pub cache_read: u64,
    /// Input tokens written to the prompt cache.
    pub cache_write: u64,
    /// All output tokens, reasoning included.
    pub output: u64,
    /// The part of `output` that was reasoning; absent where the provider does not say.
    pub reasoning: Option<u64>,
}

/// What one event or body says of the usage; absent counts are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsagePart {
    /// See [`Usage::input`].
    pub input: Option<u64>,
    /// See [`Usage::cache_read`].
    pub cache_read: Option<u64>,
    /// See [`Usage::cache_write`].
    pub cache_write: Option<u64>,
    /// See [`Usage::output`].
    pub output: Option<u64>,
    /// See [`Usage::reasoning`].
    pub reasoning: Option<u64>,
}

impl Usage {
    /// Takes over what a later event says. Counts are cumulative, so they replace and are never added;
    /// a zero does not erase an input count, because some providers leave those out at the end.
    pub fn absorb(&mut self, part: &UsagePart) {
        let keep = |old: u64, new: Option<u64>| new.filter(|&n| n > 0).unwrap_or(old);
        self.input = keep(self.input, part.input);
        self.cache_read = keep(self.cache_read, part.cache_read);
        self.cache_write = keep(self.cache_write, part.cache_write);
        self.output = part.output.unwrap_or(self.output);
        self.reasoning = part.reasoning.or(self.reasoning);
    }

    /// All input tokens.
    #[must_use]
    pub fn prompt(&self) -> u64 {
        self.input.saturating_add(self.cache_read).saturating_add(self.cache_write)
    }
}

impl From<UsagePart> for Usage {
    fn from(part: UsagePart) -> Self {
        let mut usage = Self::default();
        usage.absorb(&part);
        usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_counts_replace_and_zeros_keep_the_input() {
        let mut usage = Usage::from(UsagePart { input: Some(9), output: Some(1), ..UsagePart::default() });
        usage.absorb(&UsagePart {
            input: Some(0),
            cache_read: Some(4),
            output: Some(20),
            ..UsagePart::default()
        });
        assert_eq!(usage, Usage { input: 9, cache_read: 4, output: 20, ..Usage::default() });
        assert_eq!(usage.prompt(), 13);
    }
}
