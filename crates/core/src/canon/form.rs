//! The form of an answer.

/// The form in which an answer is asked for, comes or is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// A stream of events.
    Stream,
    /// One body.
    Whole,
}

impl Form {
    /// The form that a `stream` member asks for.
    #[must_use]
    pub const fn of_stream(stream: bool) -> Self {
        if stream { Self::Stream } else { Self::Whole }
    }

    /// Whether this is a stream.
    #[must_use]
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Stream)
    }
}
