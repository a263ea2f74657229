//! The three protocols, each a folder with the same files, behind one trait.
//!
//! A protocol knows how its requests, answers, events and errors look. It knows nothing of HTTP
//! connections, keys or providers, and nothing of the other protocols.

pub mod chat;
pub mod messages;
pub mod responses;

mod error;
mod head;
mod state;
mod usage;

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::canon::UsagePart;
use crate::failure::{Failure, Result};
use crate::json::Edit;
use crate::sse::Event;

pub use error::{UpstreamError, is_envelope};
pub use head::{Head, Members};
pub use state::Test;

/// One of the protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProtocolId {
    /// OpenAI Chat Completions.
    Chat,
    /// OpenAI Responses.
    Responses,
    /// Anthropic Messages.
    Messages,
}

/// What one protocol says, and how.
pub trait Protocol: fmt::Debug + Send + Sync {
    /// Which protocol this is.
    fn id(&self) -> ProtocolId;

    /// The endpoint for calls, below the version prefix: `/chat/completions`.
    fn path(&self) -> &'static str;

    /// The endpoint that counts the tokens of a request, if there is one.
    fn count_path(&self) -> Option<&'static str>;

    /// The members of a request that the gateway reads.
    fn members(&self) -> &'static Members;

    /// Edits that make the provider report the usage of a stream; empty if it does anyway.
    fn usage_edits(&self, body: &[u8], head: &Head<'_>) -> Vec<Edit>;

    /// The edit that removes a client's attribution block from the prompt.
    fn attribution_edit(&self, body: &[u8], head: &Head<'_>) -> Option<Edit> {
        let _ = (body, head);
        None
    }

    /// What matters in one event of a stream.
    fn read_event(&self, event: &Event<'_>) -> Sight;

    /// What matters in a whole answer.
    ///
    /// # Errors
    /// A failure of the provider when the body is not a JSON object.
    fn read_reply(&self, body: &[u8]) -> Result<Sight>;

    /// The body of an error response.
    fn envelope(&self, failure: &Failure, request_id: &str) -> Bytes;

    /// The events that end a stream after its headers were sent.
    fn stream_failure(&self, failure: &Failure, stream: &StreamFacts<'_>) -> Bytes;
}

/// What a relay has to know of one event or body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// The literal that names the model, as a span of the event's data or of the body.
    pub model: Option<Range<usize>>,
    /// Token counts.
    pub usage: Option<UsagePart>,
    /// The event carries nothing but usage that only the gateway asked for.
    pub usage_only: bool,
    /// How far the answer is.
    pub progress: Progress,
    /// The answer's own id.
    pub id: Option<String>,
}

/// How far an answer is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// More must follow.
    #[default]
    Running,
    /// Whole in substance: the stream may end here.
    Finished,
    /// The provider reported a failure in the protocol's final form.
    Failed,
    /// The provider reported a failure, of which the client has to be told in the gateway's words.
    Warned(UpstreamError),
}

/// What is known of a stream that has to be ended.
#[derive(Clone, Copy, Debug)]
pub struct StreamFacts<'a> {
    /// The gateway's id of the request.
    pub request_id: &'a str,
    /// The model as the client named it.
    pub model: &'a str,
    /// The answer's own id, if it said one.
    pub id: Option<&'a str>,
    /// Events so far.
    pub events: u64,
    /// Seconds since the epoch.
    pub now: u64,
}

/// All protocols, in the order of [`ProtocolId`].
pub static REGISTRY: &[&dyn Protocol] = &[&chat::Chat, &responses::Responses, &messages::Messages];

impl ProtocolId {
    /// The protocol itself.
    #[must_use]
    pub fn protocol(self) -> &'static dyn Protocol {
        match self {
            Self::Chat => &chat::Chat,
            Self::Responses => &responses::Responses,
            Self::Messages => &messages::Messages,
        }
    }

    /// The name in configuration, logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Messages => "messages",
        }
    }

    /// Do the clients of this protocol expect Anthropic's headers and error shape?
    #[must_use]
    pub fn is_anthropic(self) -> bool {
        self == Self::Messages
    }
}

impl fmt::Display for ProtocolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
