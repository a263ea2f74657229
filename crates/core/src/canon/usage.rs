//! Token counts of one call, and everything else that is charged for it.

use std::sync::Arc;

use super::Rates;

/// Token counts of one call, and everything else that is charged for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// The part of `cache_write` that is kept for longer than the default.
    pub cache_write_long: u64,
    /// The part of the input tokens that was audio.
    pub audio_input: u64,
    /// The part of `output` that was audio.
    pub audio_output: u64,
    /// Number of web searches that the provider has made.
    pub searches: u64,
    /// The rates that the answer reports.
    pub rates: Rates,
    /// The provider's further work inside of the call, which is in none of the counts above.
    pub inner: Option<Arc<[InnerUsage]>>,
}

/// The usage of something that the provider has done inside of a call, such as a question to another model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InnerUsage {
    /// The provider's name of the other model; absent: the model of the call.
    pub model: Option<String>,
    /// The tokens that the work took.
    pub usage: Usage,
}

/// The usage in one event or body; absent counts are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
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
    /// See [`Usage::cache_write_long`].
    pub cache_write_long: Option<u64>,
    /// See [`Usage::audio_input`].
    pub audio_input: Option<u64>,
    /// See [`Usage::audio_output`].
    pub audio_output: Option<u64>,
    /// See [`Usage::searches`].
    pub searches: Option<u64>,
    /// See [`Usage::rates`].
    pub rates: Rates,
    /// See [`Usage::inner`].
    pub inner: Option<Arc<[InnerUsage]>>,
}

impl Usage {
    /// Takes over the counts of a later event. Counts are cumulative, so they replace the earlier ones and are
    /// never added. A zero does not erase an input count, because some providers leave input counts out at the
    /// end.
    pub fn absorb(&mut self, part: &UsagePart) {
        let keep = |old: u64, new: Option<u64>| new.filter(|&n| n > 0).unwrap_or(old);
        self.input = keep(self.input, part.input);
        self.cache_read = keep(self.cache_read, part.cache_read);
        self.cache_write = keep(self.cache_write, part.cache_write);
        self.output = part.output.unwrap_or(self.output);
        self.reasoning = part.reasoning.or(self.reasoning);
        self.cache_write_long = keep(self.cache_write_long, part.cache_write_long);
        self.audio_input = keep(self.audio_input, part.audio_input);
        self.audio_output = keep(self.audio_output, part.audio_output);
        self.searches = keep(self.searches, part.searches);
        self.rates = self.rates.and(part.rates);
        if part.inner.is_some() {
            self.inner.clone_from(&part.inner);
        }
    }

    /// Adds the usage of further work. The rates stay as they are.
    pub fn add(&mut self, other: &Self) {
        let counts = [
            (&mut self.input, other.input),
            (&mut self.cache_read, other.cache_read),
            (&mut self.cache_write, other.cache_write),
            (&mut self.output, other.output),
            (&mut self.cache_write_long, other.cache_write_long),
            (&mut self.audio_input, other.audio_input),
            (&mut self.audio_output, other.audio_output),
            (&mut self.searches, other.searches),
        ];
        counts.into_iter().for_each(|(sum, count)| *sum = sum.saturating_add(count));
    }

    /// Whether nothing was counted, for example because the provider does not count.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prompt() == 0 && self.output == 0 && self.searches == 0 && self.inner.is_none()
    }

    /// Returns the number of all input tokens.
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
    use crate::canon::Rate;

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

    #[test]
    fn rates_that_one_event_reports_hold_for_the_whole_call() {
        let start = UsagePart { rates: Rates::default().with(Rate::Fast), ..UsagePart::default() };
        let mut usage = Usage::from(start);
        let inner = InnerUsage { model: Some("m".into()), usage: Usage { input: 7, ..Usage::default() } };
        let (rates, inner) = (Rates::default().with(Rate::Us), Some(Arc::from([inner])));
        usage.absorb(&UsagePart { searches: Some(2), rates, inner: inner.clone(), ..UsagePart::default() });
        usage.absorb(&UsagePart { output: Some(1), searches: Some(0), ..UsagePart::default() });
        assert_eq!(usage.rates.iter().collect::<Vec<_>>(), [Rate::Fast, Rate::Us]);
        assert_eq!((usage.searches, usage.inner.clone()), (2, inner));
        assert!(!usage.is_empty() && Usage::default().is_empty());
        usage.add(&Usage { input: 3, output: 4, ..Usage::default() });
        assert_eq!((usage.input, usage.output), (3, 5));
    }
}
