//! The content of an answer, piece by piece, whichever protocol its provider speaks.
//!
//! A decoder turns a provider's events, or its complete answer, into these events, and an encoder turns them into
//! a client's. Pieces are *segments*: text, a refusal, reasoning, or a tool call. A call has a key, because
//! providers may send the arguments of several calls at once. Everything else belongs to the segment that it
//! follows.

use std::borrow::Cow;
use std::fmt;

use crate::failure::Failure;
use crate::json::{JsonStr, Malformed, Raw};

use super::{Args, Seal, UpstreamError, UsagePart};

/// One piece of an answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The answer begins.
    Start {
        /// The provider's id of the answer.
        id: Option<Cow<'a, str>>,
        /// Creation time in seconds since the epoch, as the provider reports it.
        created: Option<u64>,
    },
    /// The service tier that the answer had.
    Tier(Cow<'a, str>),
    /// Text.
    Text(JsonStr<'a>),
    /// Token probabilities of the text before, as an array in OpenAI's form.
    Logprobs(Raw<'a>),
    /// A refusal of the model.
    Refusal(JsonStr<'a>),
    /// Reasoning text that people may read.
    Thought(JsonStr<'a>),
    /// State of the reasoning that only its provider can read. It completes the reasoning before it; without any
    /// before it, it is a segment of its own.
    Seal(Seal<'a>),
    /// The source of the text before.
    Cite(Citation<'a>),
    /// An image that the model has made, as a data URL.
    Image(JsonStr<'a>),
    /// The verdict of the provider's moderation on the request and the answer.
    Moderation(Raw<'a>),
    /// A web search that the provider has made by itself.
    Search {
        /// The id of the search.
        id: Cow<'a, str>,
        /// The search query.
        query: JsonStr<'a>,
    },
    /// A tool call of the model.
    Open {
        /// The key of the call.
        key: u32,
        /// The call's id; empty if the provider gave none.
        id: Cow<'a, str>,
        /// The namespace of the tool.
        namespace: Option<Cow<'a, str>>,
        /// The name of the tool.
        name: Cow<'a, str>,
        /// Whether it is a freeform tool. Its arguments are a text then.
        custom: bool,
    },
    /// A part of a call's arguments.
    Args {
        /// The key of the call.
        key: u32,
        /// The part.
        part: Args<'a>,
    },
    /// The end of a segment: of the call with this key or, without a key, of the last text, refusal or reasoning.
    Close(Option<u32>),
    /// A paragraph break: the text that follows belongs to another message of the provider.
    Break,
    /// The beginning of a summary, whose text is not shown while it is written.
    Compacting,
    /// A whole summary of the conversation.
    Summary(JsonStr<'a>),
    /// Token counts.
    Usage(UsagePart),
    /// The reason for which the answer ends.
    Finish(Finish<'a>),
    /// Something in the provider's answer that its reference does not document. It is only counted.
    Anomaly(Anomaly),
    /// A failure that the provider reports. Nothing follows.
    Fail(UpstreamError),
    /// The end of a complete answer. Nothing follows.
    End,
}

/// A part of an answer that was not understood, not believed, or not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Anomaly {
    /// An unknown finish reason.
    Finish,
    /// A block or item of an unknown type.
    Content,
    /// Complete arguments that differ from the concatenation of their deltas.
    Arguments,
    /// A source of a text that the client's protocol has no place for.
    Citation,
}

/// The reason for which an answer ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finish<'a> {
    /// The model has finished.
    Stop,
    /// A stop sequence was reached.
    StopSequence(Option<JsonStr<'a>>),
    /// The model waits for the results of tools.
    ToolUse,
    /// The token limit was reached.
    Length,
    /// The context window is full.
    ContextWindow,
    /// The model, or a filter, refused; with the provider's explanation.
    Refusal(Option<JsonStr<'a>>),
    /// The provider paused in the middle of its work.
    Pause,
    /// A reason that nobody knows, which may be an interruption: clients are told that the answer is cut off.
    Unknown,
}

/// The source of a piece of text.
#[derive(Clone, Debug)]
pub struct Citation<'a> {
    /// The address of the page.
    pub url: JsonStr<'a>,
    /// The title of the page.
    pub title: JsonStr<'a>,
    /// The span of the text that the source supports, in characters; absent: the whole segment.
    pub span: Option<(u64, u64)>,
}

/// The kind of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentKind {
    /// Text.
    Text,
    /// A refusal.
    Refusal,
    /// Reasoning.
    Reasoning,
    /// An image. The segment's text is its data URL.
    Image,
    /// The provider's own web search, with its id. The segment's text is the query.
    Search(String),
    /// The call of a tool.
    Call {
        /// The call's id; empty if the provider gave none.
        id: String,
        /// The namespace of the tool.
        namespace: Option<String>,
        /// The name of the tool.
        name: String,
        /// Whether it is a freeform tool.
        custom: bool,
    },
}

/// Callback that receives the events of a decoder.
pub type Sink<'s> = dyn FnMut(Event<'_>) + 's;

/// Decoder of a provider's answer: a synchronous state machine with bytes in and events out.
pub trait Decode: fmt::Debug + Send {
    /// Reads one event of a stream: its name and its data, which is valid UTF-8 but may be no JSON.
    ///
    /// # Errors
    /// Fails if the data is not JSON; no event was emitted from it then.
    fn event(&mut self, name: Option<&str>, data: &str, sink: &mut Sink<'_>) -> Result<(), Malformed>;

    /// Reads a complete answer and emits the same events as its stream would.
    ///
    /// # Errors
    /// Fails if the body is not a JSON object.
    fn reply(&mut self, body: &str, sink: &mut Sink<'_>) -> Result<(), Malformed>;

    /// Takes the end of the stream. An answer without [`Event::End`] or [`Event::Fail`] by now was cut off.
    fn end(&mut self, sink: &mut Sink<'_>);

    /// Whether the stream has told why the answer ends, so that its end may be missing.
    fn has_finished(&self) -> bool {
        false
    }
}

/// Encoder of the stream for a client: a synchronous state machine with events in and bytes out.
pub trait Encode: fmt::Debug + Send {
    /// Takes one event and appends the bytes that the client is sent for it.
    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>);

    /// Ends the stream with a failure, in the protocol's own grammar.
    fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>);

    /// Appends the bytes that keep a waiting client's stream alive.
    fn keep_alive(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(COMMENT);
    }
}

/// The comment that keeps a stream alive.
pub(crate) const COMMENT: &[u8] = b": keep-alive\n\n";

impl Event<'_> {
    /// Number of bytes of the answer's own content.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Text(text) | Self::Refusal(text) | Self::Thought(text) | Self::Image(text) => {
                text.raw().len()
            }
            Self::Args { part: Args::Str(text), .. } => text.raw().len(),
            Self::Args { part: Args::Raw(value), .. } => value.get().len(),
            _ => 0,
        }
    }

    /// Whether it shows that the provider really answers, so that its failures can no longer be a status.
    #[must_use]
    pub fn commits(&self) -> bool {
        !matches!(
            self,
            Self::Start { .. }
                | Self::Tier(_)
                | Self::Usage(_)
                | Self::Moderation(_)
                | Self::Break
                | Self::Close(_)
                | Self::Anomaly(_)
                | Self::Fail(_)
        )
    }
}

impl Anomaly {
    /// Returns the oddity's name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finish => "finish",
            Self::Content => "content",
            Self::Arguments => "arguments",
            Self::Citation => "citation",
        }
    }
}

impl Finish<'_> {
    /// Returns the gateway's own name of the reason.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::StopSequence(_) => "stop_sequence",
            Self::ToolUse => "tool_calls",
            Self::Length => "length",
            Self::ContextWindow => "context_window",
            Self::Refusal(_) => "refusal",
            Self::Pause => "pause",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the answer may have been cut off.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        matches!(self, Self::Length | Self::ContextWindow | Self::Unknown)
    }

    /// Returns the value without a borrow from the event that it came in.
    #[must_use]
    pub fn into_owned(self) -> Finish<'static> {
        match self {
            Self::Stop => Finish::Stop,
            Self::StopSequence(text) => Finish::StopSequence(text.map(JsonStr::into_owned)),
            Self::ToolUse => Finish::ToolUse,
            Self::Length => Finish::Length,
            Self::ContextWindow => Finish::ContextWindow,
            Self::Refusal(text) => Finish::Refusal(text.map(JsonStr::into_owned)),
            Self::Pause => Finish::Pause,
            Self::Unknown => Finish::Unknown,
        }
    }
}

impl Citation<'_> {
    /// Returns the value without a borrow from the event that it came in.
    #[must_use]
    pub fn into_owned(self) -> Citation<'static> {
        Citation { url: self.url.into_owned(), title: self.title.into_owned(), span: self.span }
    }
}
