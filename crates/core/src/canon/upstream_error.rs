//! A provider's error, whichever shape it came in.

/// What a provider said of a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpstreamError {
    /// The text for people.
    pub message: String,
    /// `type`, for example `overloaded_error`.
    pub kind: Option<String>,
    /// `code`, if it is a string.
    pub code: Option<String>,
    /// `code`, if it is a number: some providers repeat the status there, or say it nowhere else.
    pub status: Option<u16>,
    /// The member at fault.
    pub param: Option<String>,
}
