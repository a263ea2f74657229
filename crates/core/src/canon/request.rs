//! What a client wants, whichever protocol it speaks.

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
    /// Instructions before the conversation, one for each block in which they came.
    pub system: Vec<Text<'a>>,
    /// The conversation.
    pub turns: Vec<Turn<'a>>,
    /// What the model may call.
    pub tools: Vec<Tool<'a>>,
    /// Which of it.
    pub choice: Option<Choice<'a>>,
    /// Whether it may call several things at once.
    pub parallel: Option<bool>,
    /// Tokens that the answer may have.
    pub max_output: Option<u64>,
    /// How the next token is chosen.
    pub samplers: Samplers<'a>,
    /// Texts that end the answer.
    pub stop: Vec<JsonStr<'a>>,
    /// The form of the answer.
    pub format: Format<'a>,
    /// How long the answer shall be, as OpenAI's models understand it.
    pub verbosity: Option<JsonStr<'a>>,
    /// Whether and how hard the model shall think.
    pub thinking: Thinking,
    /// Who the client says its user is.
    pub user: Option<Cow<'a, str>>,
    /// The class of service.
    pub tier: Option<Cow<'a, str>>,
    /// Probabilities of the most likely tokens: how many. Absent: none at all.
    pub logprobs: Option<u64>,
    /// A mark for the provider's own prompt cache at the end of the prompt.
    pub cache: Option<Cache>,
    /// Members that go upstream as they came.
    pub extra: Vec<Extra<'a>>,
}

/// Who speaks.
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
    /// Who speaks.
    pub role: Role,
    /// What is said, in order.
    pub parts: Vec<Part<'a>>,
    /// The name of who speaks, which only Chat has a place for.
    pub name: Option<JsonStr<'a>>,
}

/// A piece of a message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Part<'a> {
    /// Text.
    Text(Text<'a>),
    /// A picture.
    Image(Image<'a>),
    /// A file that is read.
    Document(DocumentPart<'a>),
    /// Speech.
    Audio(Audio<'a>),
    /// The model declined.
    Refusal(JsonStr<'a>),
    /// What the model thought.
    Reasoning(Reasoning<'a>),
    /// The model calls a tool.
    Call(Call<'a>),
    /// What came of a call.
    Result(ToolResult<'a>),
}

/// Text, and whether the prompt up to here shall be cached.
#[derive(Clone, Debug)]
pub struct Text<'a> {
    /// The text.
    pub text: JsonStr<'a>,
    /// A mark for the prompt cache.
    pub cache: Option<Cache>,
}

/// Where media come from.
#[derive(Clone, Debug)]
pub enum Source<'a> {
    /// An address, which the provider fetches. The gateway never does.
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

/// A picture.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    /// Where it comes from.
    pub source: Source<'a>,
    /// Where the client wrote that, for a refusal.
    pub path: String,
    /// How closely it is looked at, as OpenAI's models understand it.
    pub detail: Option<JsonStr<'a>>,
    /// A mark for the prompt cache.
    pub cache: Option<Cache>,
}

/// A file that is read.
#[derive(Clone, Debug)]
pub struct DocumentPart<'a> {
    /// Where it comes from.
    pub source: Source<'a>,
    /// Where the client wrote that, for a refusal.
    pub path: String,
    /// Its name.
    pub name: Option<JsonStr<'a>>,
    /// What is to be known of it.
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
    /// Where the client wrote that, for a refusal.
    pub path: String,
}

/// What a model thought in an earlier turn.
#[derive(Clone, Debug, Default)]
pub struct Reasoning<'a> {
    /// What a person may read of it.
    pub text: Option<JsonStr<'a>>,
    /// What only its provider can read.
    pub sealed: Option<Sealed<'a>>,
}

/// A model calls a tool.
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
    /// As a string, which holds JSON or, of a freeform tool, any text.
    Str(JsonStr<'a>),
    /// As an object.
    Raw(Raw<'a>),
}

/// What came of a call.
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

/// How the next token is chosen; numbers are kept as they are spelled.
#[derive(Clone, Debug, Default)]
pub struct Samplers<'a> {
    /// Temperature.
    pub temperature: Option<Raw<'a>>,
    /// Nucleus.
    pub top_p: Option<Raw<'a>>,
    /// The most likely tokens.
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
        /// What it is for.
        description: Option<JsonStr<'a>>,
        /// The schema.
        schema: Raw<'a>,
        /// Whether the answer must match exactly. Absent: the client did not say.
        strict: Option<bool>,
    },
}

/// Whether and how hard the model shall think.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thinking {
    /// Whether.
    pub mode: Option<ThinkingMode>,
    /// How hard.
    pub effort: Option<Effort>,
    /// With so many tokens.
    pub budget: Option<u64>,
    /// Whether the client shall see it. Absent: as its protocol does without being told.
    pub show: Option<bool>,
}

/// Whether a model shall think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThinkingMode {
    /// No.
    Off,
    /// Yes.
    On,
    /// As it likes.
    Adaptive,
}

/// A member that goes upstream as it came.
#[derive(Clone, Debug)]
pub struct Extra<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its value.
    pub value: Raw<'a>,
}

impl<'a> Turn<'a> {
    /// A message.
    #[must_use]
    pub fn new(role: Role, parts: Vec<Part<'a>>) -> Self {
        Self { role, parts, name: None }
    }
}

impl<'a> Text<'a> {
    /// Text without a mark.
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
