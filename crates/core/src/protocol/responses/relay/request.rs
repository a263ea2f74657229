//! The members of a Responses request that are read.

use crate::failure::Kind;
use crate::protocol::RequestMembers;
use crate::protocol::carriers::CarrierPlaces;
use crate::protocol::state::Test;

/// The places of carriers of other providers' reasoning.
pub(in crate::protocol::responses) static CARRIERS: CarrierPlaces =
    CarrierPlaces { conversation: "input", blocks: None, opaque: &["encrypted_content"] };

pub(in crate::protocol::responses) static MEMBERS: RequestMembers = RequestMembers {
    conversation: &["input", "instructions"],
    foreign: &[("messages", " Requests with 'messages' belong to /v1/chat/completions or /v1/messages.")],
    output_caps: &["max_output_tokens"],
    caps_within: None,
    stream_options: true,
    state: &[("conversation", Test::Present), ("prompt", Test::Present), ("background", Test::NotFalse)],
    opaque: &["parameters", "schema", "metadata", "arguments", "client_metadata", "input_schema"],
    prewarms: false,
    refusal: Kind::UnsupportedState,
};
