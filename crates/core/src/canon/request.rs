//! A client's request, whichever protocol it speaks.

use std::borrow::Cow;

use crate::json::{JsonStr, Raw};

use super::{Cache, Choice, Effort, Sealed, Tool};

/// One request.
#[derive(Clone, Debug, Default)]
pub struct Request<'a> {
    /// Whether the client wants a stream.
    pub stream: bool,
    /// Whether a Chat client wants the usage of its stream.
    pub include_usage: bool,
    /// Whether only its tokens are to be counted. Limits and the like are left out then.
    pub counting: bool,
    /// Whether the answer shall be a summary of the conversation.
    pub compacts: bool,
    /// Instructions before the conversation, one entry for each block that they came in.
    pub system: Vec<Text<'a>>,
    /// The conversation.
    pub turns: Vec<Turn<'a>>,
    /// The tools that the model may call.
    pub tools: Vec<Tool<'a>>,
    /// The choice among the tools.
    pub choice: Option<Choice<'a>>,
    /// Whether it may call several things at once.
    pub parallel: Option<bool>,
    /// Maximum number of tokens in the answer.
    pub max_output: Option<u64>,
    /// The sampling parameters.
    pub samplers: Samplers<'a>,
    /// Stop sequences.
    pub stop: Vec<JsonStr<'a>>,
    /// The form of the answer.
    pub format: Format<'a>,
    /// The length of the answer in the words of OpenAI's `verbosity`.
    pub verbosity: Option<JsonStr<'a>>,
    /// The wish for thinking and its effort.
    pub thinking: Thinking,
    /// The end user, as the client identifies them.
    pub user: Option<Cow<'a, str>>,
    /// The service tier.
    pub tier: Option<Cow<'a, str>>,
    /// The number of most likely tokens whose probabilities are wanted. Absent: no probabilities.
    pub logprobs: Option<u64>,
    /// A mark for the provider's own prompt cache at the end of the prompt.
    pub cache: Option<Cache>,
    /// Members that go upstream unchanged.
    pub extra: Vec<Extra<'a>>,
}

/// The author of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The client's user, and the results of tools.
    User,
    /// The model.
    Assistant,
    /// Instructions in mid-conversation.
    System,
}

/// One message.
#[derive(Clone, Debug)]
pub struct Turn<'a> {
    /// The author of the message.
    pub role: Role,
    /// The content of the message, in order.
    pub parts: Vec<Part<'a>>,
    /// The name of the author, which only Chat has a place for.
    pub name: Option<JsonStr<'a>>,
    /// Tools that are offered from here on, for providers with a place for them in the conversation.
    pub tools: Vec<Tool<'a>>,
}

/// A piece of a message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Part<'a> {
    /// Text.
    Text(Text<'a>),
    /// An image.
    Image(Image<'a>),
    /// A file for the model to read.
    Document(DocumentPart<'a>),
    /// Speech.
    Audio(Audio<'a>),
    /// A refusal of the model.
    Refusal(JsonStr<'a>),
    /// Reasoning of the model.
    Reasoning(Reasoning<'a>),
    /// A tool call of the model.
    Call(Call<'a>),
    /// The result of a tool call.
    Result(ToolResult<'a>),
}

/// Text, and whether the prompt up to here is to be cached.
#[derive(Clone, Debug)]
pub struct Text<'a> {
    /// The text.
    pub text: JsonStr<'a>,
    /// A mark for the prompt cache.
    pub cache: Option<Cache>,
}

/// The source of an image or file.
#[derive(Clone, Debug)]
pub enum Source<'a> {
    /// An address, which the provider fetches. The gateway never fetches it.
    Url(JsonStr<'a>),
    /// The bytes themselves, in base 64.
    Base64 {
        /// The media type, in lower case and without parameters; empty if unknown.
        mime: Cow<'a, str>,
        /// The bytes.
        data: Cow<'a, str>,
    },
    /// Plain text.
    Text(JsonStr<'a>),
}

/// An image.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    /// The source of the content.
    pub source: Source<'a>,
    /// The path of the source in the client's request, for a refusal.
    pub path: String,
    /// The resolution at which the image is seen, in the words of OpenAI's `detail`.
    pub detail: Option<JsonStr<'a>>,
    /// A mark for the prompt cache.
    pub cache: Option<Cache>,
}

/// A file for the model to read.
#[derive(Clone, Debug)]
pub struct DocumentPart<'a> {
    /// The source of the content.
    pub source: Source<'a>,
    /// The path of the source in the client's request, for a refusal.
    pub path: String,
    /// Its name.
    pub name: Option<JsonStr<'a>>,
    /// Context of the document, in the words of Messages' `context`.
    pub context: Option<JsonStr<'a>>,
    /// A mark for the prompt cache.
    pub cache: Option<Cache>,
}

/// Speech.
#[derive(Clone, Debug)]
pub struct Audio<'a> {
    /// The bytes, in base 64.
    pub data: JsonStr<'a>,
    /// `wav`, `mp3`, …
    pub format: JsonStr<'a>,
    /// The path of the source in the client's request, for a refusal.
    pub path: String,
    /// A mark for the prompt cache.
    pub cache: Option<Cache>,
}

/// Reasoning of a model in an earlier turn.
#[derive(Clone, Debug, Default)]
pub struct Reasoning<'a> {
    /// Reasoning text that people may read.
    pub text: Option<JsonStr<'a>>,
    /// State that only its provider can read.
    pub sealed: Option<Sealed<'a>>,
}

/// A tool call of a model.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The call's id.
    pub id: Cow<'a, str>,
    /// The namespace of the tool.
    pub namespace: Option<Cow<'a, str>>,
    /// The name of the tool.
    pub name: Cow<'a, str>,
    /// Whether it is a freeform tool. Its arguments are a text then, and no JSON.
    pub custom: bool,
    /// The arguments.
    pub args: Args<'a>,
    /// State of the provider that is bound to the call: Gemini's `extra_content`.
    pub extra: Option<Raw<'a>>,
}

/// The arguments of a call.
#[derive(Clone, Debug)]
pub enum Args<'a> {
    /// A string literal, which holds JSON or, for a freeform tool, any text.
    Str(JsonStr<'a>),
    /// A JSON object.
    Raw(Raw<'a>),
}

/// The result of a tool call.
#[derive(Clone, Debug)]
pub struct ToolResult<'a> {
    /// The call's id.
    pub id: Cow<'a, str>,
    /// Whether it is the result of a freeform tool.
    pub custom: bool,
    /// Texts, pictures and documents.
    pub content: Vec<Part<'a>>,
    /// Whether the tool failed.
    pub is_error: bool,
    /// A mark for the prompt cache.
    pub cache: Option<Cache>,
}

/// The sampling parameters. Numbers keep their spelling.
#[derive(Clone, Debug, Default)]
pub struct Samplers<'a> {
    /// Temperature.
    pub temperature: Option<Raw<'a>>,
    /// Nucleus probability.
    pub top_p: Option<Raw<'a>>,
    /// Number of most likely tokens to choose from.
    pub top_k: Option<Raw<'a>>,
}

/// The form of an answer.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Format<'a> {
    /// Text.
    #[default]
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON that matches a schema.
    Schema {
        /// The schema's name.
        name: Option<JsonStr<'a>>,
        /// The purpose of the schema.
        description: Option<JsonStr<'a>>,
        /// The schema.
        schema: Raw<'a>,
        /// Whether the answer must match exactly. Absent: the client did not say.
        strict: Option<bool>,
    },
}

/// The wish for thinking and its effort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thinking {
    /// Whether the model shall think.
    pub mode: Option<ThinkingMode>,
    /// The effort level.
    pub effort: Option<Effort>,
    /// The budget in tokens.
    pub budget: Option<u64>,
    /// Whether the client shall see it. Absent: as its protocol does without being told.
    pub show: Option<bool>,
    /// Whether the client gives reasoning back on the next turn without having been asked to show it. Clients of Responses
    /// that have not asked for its encrypted form refer to it by an id instead, which nobody has stored.
    pub is_carried: bool,
}

/// Whether a model shall think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThinkingMode {
    /// No.
    Off,
    /// Yes.
    On,
    /// Adaptively: the model decides.
    Adaptive,
}

/// A member that goes upstream unchanged.
#[derive(Clone, Debug)]
pub struct Extra<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its value.
    pub value: Raw<'a>,
}

impl<'a> Turn<'a> {
    /// Creates a message.
    #[must_use]
    pub fn new(role: Role, parts: Vec<Part<'a>>) -> Self {
        Self { role, parts, name: None, tools: Vec::new() }
    }
}

impl<'a> Text<'a> {
    /// Creates text without a cache mark.
    #[must_use]
    pub fn new(text: JsonStr<'a>) -> Self {
        Self { text, cache: None }
    }
}

impl Part<'_> {
    /// Whether this is text, with something in it that can be seen.
    #[must_use]
    pub fn is_visible_text(&self) -> bool {
        matches!(self, Self::Text(text) if !text.text.is_blank())
    }
}

impl Thinking {
    /// Whether the client wants the model to think.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        match self.mode {
            Some(mode) => mode != ThinkingMode::Off,
            None => self.budget.is_some() || self.effort.is_some_and(|effort| effort != Effort::None),
        }
    }

    /// Whether the client wants the model not to think.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.mode == Some(ThinkingMode::Off) || self.mode.is_none() && self.effort == Some(Effort::None)
    }
}
