//! The form of an answer: a stream of events, or one whole.

/// The form in which an answer is wanted, comes or is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::edge) enum Form {
    /// One body, known when its last byte is there.
    #[default]
    Whole,
    /// Events, as they come.
    Stream,
}

impl Form {
    /// The form of what is a stream, or not.
    pub(in crate::edge) fn of(is_stream: bool) -> Self {
        if is_stream { Self::Stream } else { Self::Whole }
    }

    /// Whether it is a stream.
    pub(in crate::edge) fn is_stream(self) -> bool {
        self == Self::Stream
    }

    /// The other form.
    pub(in crate::edge) fn other(self) -> Self {
        match self {
            Self::Whole => Self::Stream,
            Self::Stream => Self::Whole,
        }
    }
}
