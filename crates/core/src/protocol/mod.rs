//! The three protocols, each a folder with the same files, behind one trait.
//!
//! A protocol knows how its requests, answers, events and errors look. It knows nothing of HTTP
//! connections, keys or providers, and nothing of the other protocols.

pub mod chat;
pub mod messages;
pub mod responses;

mod caps;
mod carriers;
mod demand;
mod error;
mod field;
mod head;
mod inner;
mod kinds;
mod look;
mod members;
mod node;
mod phrases;
mod pick;
mod samplers;
mod schema;
mod spare;
mod state;
mod usage;
mod watch;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::canon::{
    Answer, Context, Decode, Encode, Field, Losses, Profile, Rates, Rejections, Request, ResponseMetadata,
    Target, ToolNames, UsagePart,
};
use crate::failure::{Failure, Result};
use crate::json::{Document, Edit};
use crate::sse::SseEvent;

pub use crate::canon::{ProtocolId, UpstreamError};
pub use demand::{Demand, Service};
pub use error::is_envelope;
pub use head::Head;
pub use inner::InnerModel;
pub use members::RequestMembers;
pub use spare::Spare;
pub use state::Test;

/// One protocol: its paths, members and envelopes, and its decoders and encoders.
pub trait Protocol: fmt::Debug + Send + Sync {
    /// Which protocol this is.
    fn id(&self) -> ProtocolId;

    /// The endpoint for calls, below the version prefix: `/chat/completions`.
    fn path(&self) -> &'static str;

    /// The endpoint that counts the tokens of a request, if there is one.
    fn count_path(&self) -> Option<&'static str>;

    /// The members of a request that the gateway reads.
    fn members(&self) -> &'static RequestMembers;

    /// Edits that make the provider report the usage of a stream; empty if it does anyway.
    fn usage_edits(&self, body: &[u8], head: &Head<'_>) -> Vec<Edit>;

    /// The edit that removes a client's attribution block from the prompt.
    fn attribution_edit(&self, body: &[u8], head: &Head<'_>) -> Option<Edit> {
        let _ = (body, head);
        None
    }

    /// The member by which a provider of this protocol is told the most tokens that an answer may have.
    fn output_cap(&self, profile: &Profile) -> &'static str;

    /// The edits that remove carriers of other providers' reasoning from a relayed request, which `rejections`
    /// counts.
    fn carrier_edits(&self, body: &[u8], rejections: &mut Rejections) -> Vec<Edit> {
        let _ = (body, rejections);
        Vec::new()
    }

    /// What matters in one event of a stream.
    fn read_event(&self, event: &SseEvent<'_>) -> EventSummary;

    /// What matters in a whole answer.
    ///
    /// # Errors
    /// A failure of the provider when the body is not a JSON object.
    fn read_reply(&self, body: &[u8]) -> Result<EventSummary>;

    /// The edits by which the choices of an answer, or of one event of it, end because tools are called, where
    /// the provider only says that they stop. `called`: the choices that have called tools so far.
    fn finish_edits(&self, data: &[u8], called: &mut BTreeSet<u64>) -> Vec<Edit> {
        let _ = (data, called);
        Vec::new()
    }

    /// Notes why the choices of an answer have ended, if this event of it, or all of it, says so.
    fn read_finish(&self, data: &[u8], metadata: &mut ResponseMetadata);

    /// Tells `found` of the containers that a whole answer, or one event of it, says the provider has run code in.
    fn read_containers(&self, data: &[u8], found: &mut dyn FnMut(&str)) {
        let _ = (data, found);
    }

    /// The body of an error response.
    fn envelope(&self, failure: &Failure, request_id: &str) -> Bytes;

    /// The object that says why an answer has failed, in protocols whose answers have one.
    fn error_object(&self, failure: &Failure) -> Option<Bytes> {
        let _ = failure;
        None
    }

    /// The events that end a stream after its headers were sent.
    fn stream_failure(&self, failure: &Failure, stream: &StreamFacts<'_>) -> Bytes;

    /// What becomes of the top-level members of a client's request in the other protocols.
    fn fields(&self) -> &'static [Field];

    /// Reads a client's request, which goes to `target`. The body is valid UTF-8 without lone surrogates.
    ///
    /// # Errors
    /// 400 for what is wrong with it, and for what the target's protocol has no place for.
    fn decode_request<'a>(
        &self,
        document: &Document<'a>,
        target: &Target<'_>,
        losses: &mut Losses,
    ) -> Result<Request<'a>>;

    /// Refuses a client's request that lacks what a call must say, but a mere count of its tokens need not.
    ///
    /// # Errors
    /// 400 naming what is missing.
    fn check_request(&self, request: &Request<'_>) -> Result<()> {
        let _ = request;
        Ok(())
    }

    /// Members of a client's request that answers of this protocol repeat, written already.
    fn echo(&self, document: &Document<'_>) -> Bytes {
        let _ = document;
        Bytes::new()
    }

    /// Writes the request for a provider of this protocol.
    ///
    /// # Errors
    /// 400 for what the provider, or the model, has no place for.
    fn encode_request(
        &self,
        request: &Request<'_>,
        target: &Target<'_>,
        names: &ToolNames,
        losses: &mut Losses,
        out: &mut Vec<u8>,
    ) -> Result<Written>;

    /// The longest name of a tool, in characters, where the profile does not say.
    fn max_tool_name_len(&self) -> usize {
        64
    }

    /// Whether a provider of this protocol knows freeform tools.
    fn takes_custom_tools(&self, profile: &Profile) -> bool {
        let _ = profile;
        false
    }

    /// What reads the answer of a provider of this protocol.
    fn decoder(&self, profile: &Profile) -> Box<dyn Decode>;

    /// What a client that waits for a stream is sent when there is nothing to say.
    fn keep_alive(&self) -> &'static [u8] {
        b": keep-alive\n\n"
    }

    /// What writes the stream for a client of this protocol.
    fn encoder(&self, context: Arc<Context>) -> Box<dyn Encode>;

    /// Writes a whole answer for a client of this protocol.
    fn encode_reply(&self, answer: &Answer, context: &Context) -> Bytes;
}

/// The facts of a written request that the decoder of its answer needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// The tool by which the provider is made to answer in the form that the client wants.
    pub answer_tool: Option<&'static str>,
    /// The beginning of the answer that the request gave, where the provider repeats it.
    pub prefix: Option<String>,
}

/// The facts of one event, or of one body, that a relay needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventSummary {
    /// The literal that names the model, as a span of the event's data or of the body.
    pub model: Option<Range<usize>>,
    /// The object that says why an answer has failed in the end, as such a span.
    pub error: Option<Range<usize>>,
    /// Token counts.
    pub usage: Option<UsagePart>,
    /// The rates that the answer reports, where they stand beside the counts.
    pub rates: Rates,
    /// The event carries nothing but usage that only the gateway asked for.
    pub usage_only: bool,
    /// Whether the event is a piece of the answer itself.
    pub is_delta: bool,
    /// Whether it carries words of the model, be they pieces or the whole: any may stand in them.
    pub has_words: bool,
    /// How far the answer is.
    pub progress: Progress,
    /// The answer's own id.
    pub id: Option<String>,
}

impl EventSummary {
    /// Whether the event is a piece of the answer and says nothing else.
    #[must_use]
    pub fn is_piece(&self) -> bool {
        let says_more = self.error.is_some() || self.usage.is_some() || self.id.is_some();
        self.is_delta && !says_more && self.progress == Progress::Running
    }
}

/// How far an answer is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// More must follow.
    #[default]
    Running,
    /// Whole in substance: the stream may end here.
    Finished,
    /// Whole, and this is the last event of it.
    Over,
    /// The provider reported a failure in the protocol's final form.
    Failed,
    /// The provider reported a failure, of which the client has to be told in the gateway's words.
    Warned(UpstreamError),
}

/// The facts of a stream that has to be ended.
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
}
