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
