//! What both sides of a translation have to know of each other.

use super::{Caps, Names, Profile, ProtocolId};
use crate::json::Lit;

/// Who a request is written for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'t> {
    /// The protocol spoken to it.
    pub protocol: ProtocolId,
    /// The provider's name in the configuration: the origin of what it seals.
    pub origin: &'t str,
    /// The provider's own name of the model.
    pub model: &'t str,
    /// The provider's habits.
    pub profile: &'t Profile,
    /// What the model can do.
    pub caps: &'t Caps,
}

/// What an answer has to know of its request.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The gateway's id of the request.
    pub request_id: String,
    /// Seconds since the epoch, when the request came.
    pub now: u64,
    /// The model as the client named it.
    pub model: Lit<'static>,
    /// The provider's name in the configuration.
    pub origin: String,
    /// The provider's own name of the model.
    pub upstream_model: String,
    /// Does a Chat client want the usage of its stream?
    pub include_usage: bool,
    /// Does the client want to see the reasoning? Absent: as its protocol does without being told.
    pub show_reasoning: Option<bool>,
    /// Does the provider want plain reasoning back in later turns?
    pub returns_reasoning: bool,
    /// Members of the request that a Responses answer repeats, written already.
    pub echo: String,
    /// The texts that end the answer, as the client sent them.
    pub stop: Vec<String>,
    /// Tools that client and provider know by different names.
    pub names: Names,
    /// The tool by which the provider was made to answer in a certain form, if it was.
    pub answer_tool: Option<&'static str>,
    /// The beginning of the answer that the request gave, where the provider repeats it.
    pub prefix: Option<String>,
}

/// The tool of [`Context::answer_tool`].
pub const ANSWER_TOOL: &str = "structured_output";
