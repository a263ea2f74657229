//! The canonical form of requests, answers and failures, in which all protocols meet.
//!
//! A [`Request`] holds what a client asks for, and an [`Event`] a piece of a model's answer. Both borrow from the
//! bytes that they were read from; this layer owns only the text that had to be composed.

mod answer;
mod cache;
mod call_id_set;
mod caps;
mod carrier;
mod compaction;
mod context;
mod effort;
mod event;
mod field;
mod form;
mod gemini_models;
mod ids;
mod known_models;
mod loss;
mod media;
mod profile;
mod property_names;
mod protocol;
mod queue;
mod rate;
mod request;
mod response_metadata;
mod responses_search;
mod sealer;
mod thinker;
mod tool;
mod tool_names;
mod upstream_error;
mod usage;

pub use answer::{Answer, Segment};
pub use cache::Cache;
pub use call_id_set::CallIdSet;
pub use caps::{BudgetRange, Caps, CapsSettings, ChatTools, SamplingCaps, ThinkingCaps};
pub use carrier::{Carrier, Seal, Sealed};
pub use compaction::Compaction;
pub(crate) use context::made_up_id;
pub use context::{ANSWER_TOOL, Context, ECHO_MARK, Target};
pub use effort::Effort;
pub(crate) use event::COMMENT;
pub use event::{Anomaly, Citation, Decode, Encode, Event, Finish, SegmentKind, Sink};
pub use field::{Field, FieldPolicy};
pub use form::Form;
pub(crate) use ids::{base62, hashed_call_id, sha256_hex, short_hash};
pub use loss::{Loss, Losses, not_carried};
pub use media::{DataUrl, sniff};
pub use profile::{
    AnthropicVersion, CacheParts, EffortFormat, JsonSchemaSupport, MaxTokensField, MidSystem, Prefill,
    Profile, ProfileSettings, ReasoningIn, Sampling, SchemaDialect, StreamUsage, SystemRole, ToolChoice,
    ToolId, UserField,
};
pub use property_names::{PropertyNames, RenamedProperties};
pub use protocol::ProtocolId;
pub use queue::{Overflow, Queue, SegmentStep};
pub use rate::{Rate, Rates};
pub use request::{
    Args, Audio, Call, DocumentPart, Extra, Format, Image, Part, Reasoning, Request, Role, Samplers, Source,
    Text, Thinking, ThinkingMode, ToolResult, Turn,
};
pub use response_metadata::ResponseMetadata;
pub use responses_search::searches_in_responses_only;
pub use sealer::{PREFIXES as CARRIER_PREFIXES, Rejection, Rejections, SealKey, Sealer};
pub use thinker::is_thinker;
pub use tool::{Choice, Chosen, Grammar, Offer, Tool, ToolKind, ToolSupport, WebSearch};
pub use tool_names::{ToolName, ToolNames};
pub use upstream_error::UpstreamError;
pub use usage::{InnerUsage, Usage, UsagePart};
