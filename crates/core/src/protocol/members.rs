//! The members of a request that the gateway reads, as a table for each protocol.

use crate::failure::Kind;

use super::state;

/// The members by which a protocol's requests are read.
#[derive(Debug)]
pub struct RequestMembers {
    /// Any of these must be present.
    pub conversation: &'static [&'static str],
    /// Members of other protocols' requests, each with the advice for a client that sends it.
    pub foreign: &'static [(&'static str, &'static str)],
    /// Members that limit the tokens of the answer.
    pub output_caps: &'static [&'static str],
    /// The object in which such members stand, where they do not stand at the top level.
    pub caps_within: Option<CapsWithin>,
    /// Whether there is a `stream_options` member.
    pub stream_options: bool,
    /// Members that refer to state held at the provider.
    pub state: &'static [(&'static str, state::Test)],
    /// Members whose content belongs to the caller: nothing in them refers to provider state.
    pub opaque: &'static [&'static str],
    /// Whether a limit of zero tokens is a valid request, which only fills the prompt cache.
    pub prewarms: bool,
    /// The kind of failure for references to provider state.
    pub refusal: Kind,
}

/// An object of a request that holds the limit of the answer's tokens. Names to read by are in lower case.
#[derive(Debug)]
pub struct CapsWithin {
    /// The member that is written if a request has none.
    pub object: &'static str,
    /// The spellings of the member.
    pub objects: &'static [&'static str],
    /// The spellings of the limit.
    pub caps: &'static [&'static str],
    /// The spellings of the number of answers.
    pub choices: &'static [&'static str],
}
