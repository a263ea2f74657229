//! The four protocols behind one trait, each in a folder with the same files.
//!
//! A protocol knows the form of its requests, answers, events and errors. It knows nothing of HTTP connections,
//! keys or providers, and nothing of the other protocols.

pub mod chat;
pub mod gemini;
pub mod messages;
pub mod responses;

mod caps;
mod carriers;
mod chat_asks;
mod demand;
mod effort;
mod error;
mod field;
mod head;
mod inner;
mod input;
mod kinds;
mod look;
mod members;
mod node;
mod opening;
mod phrases;
mod pick;
mod place;
mod samplers;
mod schema;
mod spare;
mod state;
mod usage;
mod watch;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::canon::{
    Answer, COMMENT, Context, Decode, Encode, Field, Form, Losses, Profile, Rates, Rejections, Request,
    ResponseMetadata, Sealer, Target, ToolNames, UsagePart,
};
use crate::failure::{Failure, Result};
use crate::json::{Document, Edit};
use crate::sse::SseEvent;

pub use crate::canon::{ProtocolId, UpstreamError};
pub use chat_asks::ChatAsks;
pub use demand::{Demand, Service};
pub use error::is_envelope;
pub use head::Head;
pub use inner::InnerModel;
pub use members::{CapsWithin, RequestMembers};
pub use opening::add_opening;
pub use spare::Spare;
pub use state::Test;

/// One protocol: its paths, members and envelopes, and its decoders and encoders.
pub trait Protocol: fmt::Debug + Send + Sync {
    /// Returns the protocol's id.
    fn id(&self) -> ProtocolId;

    /// Returns the endpoint for calls, below the version prefix, such as `/chat/completions`.
    fn path(&self) -> &'static str;

    /// Returns the path of a call of a provider's `model`, whose answer is to come in this form.
    fn call_path(&self, model: &str, form: Form) -> Cow<'static, str> {
        let _ = (model, form);
        self.path().into()
    }

    /// Returns the path of a count for a provider's `model`, if there is one.
    fn count_call_path(&self, model: &str) -> Option<Cow<'static, str>> {
        let _ = model;
        self.count_path().map(Cow::Borrowed)
    }

    /// Returns the edit that puts the model and the form of the answer, which the path of a request names, at the end of
    /// its body; `None` in protocols whose bodies name both, and for a body that is no object.
    fn addressed(&self, body: &[u8], model: &str, form: Form) -> Option<Edit> {
        let _ = (body, model, form);
        None
    }

    /// Returns the edits of a relayed request that remove the members that the path stands for, and that name the
    /// provider's `model` wherever else the request does; `None` in protocols whose paths name no model.
    fn address_edits(&self, body: &[u8], model: &str) -> Option<Vec<Edit>> {
        let _ = (body, model);
        None
    }

    /// Returns the endpoint that counts the tokens of a request, if there is one.
    fn count_path(&self) -> Option<&'static str>;

    /// Returns the endpoint that summarizes a conversation so that it goes on with the summary, if there is one.
    fn compact_path(&self) -> Option<&'static str> {
        None
    }

    /// Returns the members of a request that the gateway reads.
    fn members(&self) -> &'static RequestMembers;

    /// Returns the edits that make the provider report the usage of a stream; empty if it does so anyway.
    fn usage_edits(&self, body: &[u8], head: &Head<'_>) -> Vec<Edit>;

    /// Returns the edit that removes a client's attribution block from the prompt.
    fn attribution_edit(&self, body: &[u8], head: &Head<'_>) -> Option<Edit> {
        let _ = (body, head);
        None
    }

    /// Returns the member that limits the tokens of an answer for a provider of this protocol.
    fn output_cap(&self, profile: &Profile) -> &'static str;

    /// Returns the edits that remove carriers of other providers' reasoning from a relayed request. `rejections`
    /// counts them.
    fn carrier_edits(&self, body: &[u8], rejections: &mut Rejections) -> Vec<Edit> {
        let _ = (body, rejections);
        Vec::new()
    }

    /// Returns the edits that put the texts of summaries, which `sealer` opens, in the places of their carriers in a
    /// relayed request.
    fn summary_edits(&self, body: &[u8], sealer: &Sealer) -> Vec<Edit> {
        let _ = (body, sealer);
        Vec::new()
    }

    /// Returns the facts that matter to a relay in one event of a stream.
    fn read_event(&self, event: &SseEvent<'_>) -> EventSummary;

    /// Whether an event of a stream only announces an answer, of which nothing has come with it. Another target can
    /// still give the answer then.
    fn is_preamble(&self, event: &SseEvent<'_>) -> bool;

    /// Returns the facts that matter to a relay in a complete answer.
    ///
    /// # Errors
    /// Returns a failure of the provider if the body is not a JSON object.
    fn read_reply(&self, body: &[u8]) -> Result<EventSummary>;

    /// Returns the edits that set the finish reason of choices that call tools, for a provider that only reports
    /// `stop`.
    ///
    /// `called` holds the choices that have called tools so far.
    fn finish_edits(&self, data: &[u8], called: &mut BTreeSet<u64>) -> Vec<Edit> {
        let _ = (data, called);
        Vec::new()
    }

    /// Notes the finish reasons of an answer's choices, if this event or body has any.
    fn read_finish(&self, data: &[u8], metadata: &mut ResponseMetadata);

    /// Calls `found` with each container in which the provider has run code, according to this event or body.
    fn read_containers(&self, data: &[u8], found: &mut dyn FnMut(&str)) {
        let _ = (data, found);
    }

    /// Returns the body of an error response.
    fn envelope(&self, failure: &Failure, request_id: &str) -> Bytes;

    /// Returns the object that tells why an answer has failed, in protocols whose answers have one.
    fn error_object(&self, failure: &Failure) -> Option<Bytes> {
        let _ = failure;
        None
    }

    /// Returns the events that end a stream whose headers have been sent.
    fn stream_failure(&self, failure: &Failure, stream: &StreamFacts<'_>) -> Bytes;

    /// Returns the handling of the top-level members of a client's request in translations.
    fn fields(&self) -> &'static [Field];

    /// Decodes a client's request, which goes to `target`. The body is valid UTF-8 without lone surrogates.
    ///
    /// # Errors
    /// Returns 400 if the request is invalid, or has a member that the target's protocol has no place for.
    fn decode_request<'a>(
        &self,
        document: &Document<'a>,
        target: &Target<'_>,
        losses: &mut Losses,
    ) -> Result<Request<'a>>;

    /// Refuses a client's request without a member that a call needs, although counting its tokens does not.
    ///
    /// # Errors
    /// Returns 400 with the name of the missing member.
    fn check_request(&self, request: &Request<'_>) -> Result<()> {
        let _ = request;
        Ok(())
    }

    /// Returns the members of a client's request that answers of this protocol repeat, already written as JSON.
    fn echo(&self, document: &Document<'_>) -> Bytes {
        let _ = document;
        Bytes::new()
    }

    /// Returns the user's messages in a request, which its compaction keeps, as elements of a JSON array.
    fn kept_messages(&self, document: &Document<'_>, request_id: &str) -> Bytes {
        let _ = (document, request_id);
        Bytes::new()
    }

    /// Writes the request for a provider of this protocol.
    ///
    /// # Errors
    /// Returns 400 if the request has a member that the provider or the model has no place for.
    fn encode_request(
        &self,
        request: &Request<'_>,
        target: &Target<'_>,
        names: &ToolNames,
        losses: &mut Losses,
        out: &mut Vec<u8>,
    ) -> Result<Written>;

    /// Returns the maximum number of characters in a tool's name, for profiles that set none.
    fn max_tool_name_len(&self) -> usize {
        64
    }

    /// Whether an answer can name the web pages that a text is taken from.
    fn names_sources(&self) -> bool {
        true
    }

    /// Whether the names of tools have to begin with a letter or an underscore.
    fn names_tools_by_identifiers(&self) -> bool {
        false
    }

    /// Whether a provider of this protocol knows freeform tools.
    fn takes_custom_tools(&self, profile: &Profile) -> bool {
        let _ = profile;
        false
    }

    /// Creates the decoder for answers of a provider of this protocol.
    fn decoder(&self, profile: &Profile) -> Box<dyn Decode>;

    /// Returns the bytes that keep a waiting client's stream alive. They hold the events that open the stream if it
    /// has none yet, and if clients are only kept waiting by events.
    fn keep_alive(&self, stream: &StreamFacts<'_>) -> Bytes {
        let _ = stream;
        Bytes::from_static(COMMENT)
    }

    /// Returns the id of the answer in events that open a stream, and their number, if [`Protocol::keep_alive`] writes
    /// any.
    fn opening(&self, request_id: &str) -> Option<(String, u64)> {
        let _ = request_id;
        None
    }

    /// Creates the encoder of a stream for a client of this protocol.
    fn encoder(&self, context: Arc<Context>) -> Box<dyn Encode>;

    /// Writes a complete answer for a client of this protocol.
    fn encode_reply(&self, answer: &Answer, context: &Context) -> Bytes;
}

/// The facts of a written request that the decoder of its answer needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// The tool by which the provider is made to answer in the requested format.
    pub answer_tool: Option<&'static str>,
    /// The beginning of the answer that the request gave, if the provider repeats it.
    pub prefix: Option<String>,
    /// The beta feature of the provider that the request makes use of.
    pub beta: Option<&'static str>,
}

/// The facts of one event, or of one body, that a relay needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventSummary {
    /// The literal that names the model, as a span of the event's data or of the body.
    pub model: Option<Range<usize>>,
    /// The object that tells why the answer has failed, as such a span.
    pub error: Option<Range<usize>>,
    /// Token counts.
    pub usage: Option<UsagePart>,
    /// The rates that the answer reports beside the token counts.
    pub rates: Rates,
    /// Whether the event only carries usage that only the gateway asked for.
    pub usage_only: bool,
    /// Whether the event only opens the stream.
    pub opens: bool,
    /// Whether the event is a piece of the answer itself.
    pub is_delta: bool,
    /// Whether the event carries words of the model, in pieces or complete. Any text may occur in them.
    pub has_words: bool,
    /// The progress of the answer.
    pub progress: Progress,
    /// The answer's own id.
    pub id: Option<String>,
    /// The literal of that id, as such a span, in protocols whose streams the gateway may open.
    pub id_span: Option<Range<usize>>,
}

impl EventSummary {
    /// Returns the same facts, or a failure if an error stands in the event although it is of another kind.
    fn with_misplaced_error(self, data: &[u8]) -> Self {
        if matches!(self.progress, Progress::Failed | Progress::Warned(_)) {
            return self;
        }
        match error::misplaced(data) {
            Some(error) => Self { progress: Progress::Warned(error), ..self },
            None => self,
        }
    }

    /// Whether the event is a piece of the answer and says nothing else.
    #[must_use]
    pub fn is_piece(&self) -> bool {
        let says_more = self.error.is_some() || self.usage.is_some() || self.id.is_some();
        self.is_delta && !says_more && self.progress == Progress::Running
    }
}

/// The progress of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// More must follow.
    #[default]
    Running,
    /// Complete in substance: the stream may end here.
    Finished,
    /// Complete, and this is its last event.
    Over,
    /// The provider reported a failure in the protocol's final form.
    Failed,
    /// The provider reported a failure that the client has to be told of in the gateway's words.
    Warned(UpstreamError),
}

/// The facts of a stream into which the gateway writes an event of its own.
#[derive(Clone, Copy, Debug)]
pub struct StreamFacts<'a> {
    /// The gateway's id of the request.
    pub request_id: &'a str,
    /// The model as the client named it.
    pub model: &'a str,
    /// The answer's own id, if it has come.
    pub id: Option<&'a str>,
    /// Number of events so far.
    pub events: u64,
    /// Seconds since the epoch.
    pub now: u64,
}

/// All protocols, in the order of [`ProtocolId`].
pub static REGISTRY: &[&dyn Protocol] =
    &[&chat::Chat, &responses::Responses, &messages::Messages, &gemini::Gemini];

impl ProtocolId {
    /// Returns the protocol itself.
    #[must_use]
    pub fn protocol(self) -> &'static dyn Protocol {
        match self {
            Self::Chat => &chat::Chat,
            Self::Responses => &responses::Responses,
            Self::Messages => &messages::Messages,
            Self::Gemini => &gemini::Gemini,
        }
    }
}
