//! A provider's error, in a form independent of its protocol.

/// The error that a provider reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpstreamError {
    /// The text for people.
    pub message: String,
    /// `type`, for example `overloaded_error`.
    pub kind: Option<String>,
    /// `code`, if it is a string.
    pub code: Option<String>,
    /// `code`, if it is a number: some providers repeat the status there, or state it only there.
    pub status: Option<u16>,
    /// The seconds after which the provider wants to be asked again, if its body says so.
    pub retry_after: Option<u64>,
    /// The request member at fault.
    pub param: Option<String>,
}
