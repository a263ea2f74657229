//! The form of an answer.

/// The form in which an answer is asked for, comes or is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// Events, as they come.
    Stream,
    /// One body, known when its last byte is there.
    #[default]
    Whole,
}

impl Form {
    /// Returns the form that a `stream` member asks for.
    #[must_use]
    pub const fn of_stream(stream: bool) -> Self {
        if stream { Self::Stream } else { Self::Whole }
    }

    /// Whether this is a stream.
    #[must_use]
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Stream)
    }

    /// Returns the other form.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Stream => Self::Whole,
            Self::Whole => Self::Stream,
        }
    }
}
