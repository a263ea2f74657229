//! What a model says, piece by piece, whichever protocol its provider speaks.
//!
//! A decoder turns a provider's events, or its whole answer, into these; an encoder turns them into a
//! client's. Pieces are *segments*: text, a refusal, reasoning, or the call of a tool. Calls have a key, because
//! providers may send the arguments of several at once; everything else belongs to the segment it follows.

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
        /// Seconds since the epoch, as the provider says.
        created: Option<u64>,
    },
    /// The class of service that the answer had.
    Tier(Cow<'a, str>),
    /// Text.
    Text(JsonStr<'a>),
    /// The probabilities of the text before, an array as OpenAI has it.
    Logprobs(Raw<'a>),
    /// The model declines.
    Refusal(JsonStr<'a>),
    /// What a person may read of the reasoning.
    Thought(JsonStr<'a>),
    /// State of the reasoning that only its provider can read. It completes the reasoning before it, or is
    /// reasoning of its own where there is none.
    Seal(Seal<'a>),
    /// Where the text before comes from.
    Cite(Citation<'a>),
    /// The provider has searched the web by itself.
    Search {
        /// The id of the search.
        id: Cow<'a, str>,
        /// What was searched for.
        query: JsonStr<'a>,
    },
    /// The model calls a tool.
    Open {
        /// Which of the calls this is.
        key: u32,
        /// The call's id; empty if the provider gave none.
        id: Cow<'a, str>,
        /// The namespace of the tool.
        namespace: Option<Cow<'a, str>>,
        /// The tool.
        name: Cow<'a, str>,
        /// Whether it is a freeform tool. Its arguments are a text then.
        custom: bool,
    },
    /// A part of the arguments of a call.
    Args {
        /// Which of the calls.
        key: u32,
        /// The part.
        part: Args<'a>,
    },
    /// A segment is complete: the call with this key or, without one, the last text, refusal or reasoning.
    Close(Option<u32>),
    /// What follows is a paragraph of its own: another message of a provider that sends several.
    Break,
    /// Token counts.
    Usage(UsagePart),
    /// Why the answer ends.
    Finish(Finish<'a>),
    /// The provider has said something that the reference does not know. It is only counted.
    Anomaly(Anomaly),
    /// The provider reports a failure. Nothing follows.
    Fail(UpstreamError),
    /// The answer is whole. Nothing follows.
    End,
}

/// A part of an answer that was not understood, or not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Anomaly {
    /// A reason to end that is unknown.
    Finish,
    /// A block or an item of an unknown type.
    Content,
    /// Whole arguments that are not what their pieces were.
    Arguments,
}

/// Why an answer ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finish<'a> {
    /// The model has said all.
    Stop,
    /// One of the texts that end an answer was reached.
    StopSequence(Option<JsonStr<'a>>),
    /// Tools have to be called.
    ToolUse,
    /// The limit of tokens was reached.
    Length,
    /// The context window is full.
    ContextWindow,
    /// The model, or a filter, refuses; with the provider's words for it.
    Refusal(Option<JsonStr<'a>>),
    /// The provider paused in the middle of its work.
    Pause,
}

/// Where a piece of text comes from.
#[derive(Clone, Debug)]
pub struct Citation<'a> {
    /// The page.
    pub url: JsonStr<'a>,
    /// Its title.
    pub title: JsonStr<'a>,
    /// The span of the text that it supports, in characters; absent: all of the segment.
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
    /// The provider's own search of the web: its id. Its text is what was searched for.
    Search(String),
    /// The call of a tool.
    Call {
        /// The call's id; empty if the provider gave none.
        id: String,
        /// The namespace of the tool.
        namespace: Option<String>,
        /// The tool.
        name: String,
        /// Whether it is a freeform tool.
        custom: bool,
    },
}

/// Who takes the events of a decoder.
pub type Sink<'s> = dyn FnMut(Event<'_>) + 's;

/// Reads a provider's answer. A synchronous machine: bytes in, events out.
pub trait Decode: fmt::Debug + Send {
    /// Reads one event of a stream: its name and its data, which is valid UTF-8 but may be no JSON.
    ///
    /// # Errors
    /// When the data is not JSON: nothing was taken from it.
    fn event(&mut self, name: Option<&str>, data: &str, sink: &mut Sink<'_>) -> Result<(), Malformed>;

    /// Reads a whole answer and gives the same events as its stream would.
    ///
    /// # Errors
    /// When the body is not a JSON object.
    fn reply(&mut self, body: &str, sink: &mut Sink<'_>) -> Result<(), Malformed>;

    /// Takes the end of the stream. Without [`Event::End`] or [`Event::Fail`] before or now, it was cut.
    fn end(&mut self, sink: &mut Sink<'_>);
}

/// Writes the stream for a client. A synchronous machine: events in, bytes out.
pub trait Encode: fmt::Debug + Send {
    /// Takes one event and appends what the client is sent for it.
    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>);

    /// Ends the stream with a failure, in the protocol's own grammar.
    fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>);
}

impl Event<'_> {
    /// Bytes of the answer itself.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Text(text) | Self::Refusal(text) | Self::Thought(text) => text.raw().len(),
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
                | Self::Break
                | Self::Close(_)
                | Self::Anomaly(_)
                | Self::Fail(_)
        )
    }
}

impl Anomaly {
    /// Its name, for metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finish => "finish",
            Self::Content => "content",
            Self::Arguments => "arguments",
        }
    }
}

impl Finish<'_> {
    /// The reason in the gateway's words.
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
        }
    }

    /// The same without a tie to the event that said it.
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
        }
    }
}

impl Citation<'_> {
    /// The same without a tie to the event that said it.
    #[must_use]
    pub fn into_owned(self) -> Citation<'static> {
        Citation { url: self.url.into_owned(), title: self.title.into_owned(), span: self.span }
    }
}
