//! Provider profiles: the habits of a provider as data. Everything that is not in a profile is the same for all
//! providers.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::Effort;
use crate::json::Raw;

/// Defines [`Profile`], with its defaults, and [`ProfileSettings`], in which every key is optional.
macro_rules! profile {
    ($($(#[$doc:meta])* $key:ident: $type:ty = $default:expr;)*) => {
        /// The habits of one provider. The defaults are those of an unknown OpenAI-compatible server.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Profile { $($(#[$doc])* pub $key: $type,)* }

        impl Default for Profile {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        /// The keys in which a provider differs from its preset.
        #[derive(Clone, Debug, Default, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(default, deny_unknown_fields)]
        pub struct ProfileSettings { $($(#[$doc])* pub $key: Option<$type>,)* }

        impl Profile {
            /// Returns the profile with the keys that `settings` sets.
            #[must_use]
            pub fn with(mut self, settings: &ProfileSettings) -> Self {
                $(if let Some(value) = &settings.$key { self.$key = value.clone(); })*
                self
            }
        }
    };
}

/// Defines enums whose variants are written in snake case.
macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($(#[$item:meta])* $choice:ident),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$item])* $choice,)* }
    )*};
}

choices! {
    /// The member for the output limit.
    MaxTokensField {
        /// `max_tokens`.
        MaxTokens,
        /// `max_completion_tokens`.
        MaxCompletionTokens,
    }
    /// The role of instructions.
    SystemRole {
        /// `system`.
        System,
        /// `developer`.
        Developer,
    }
    /// Instructions in mid-conversation.
    MidSystem {
        /// In their place, with their role.
        Native,
        /// In a user message, marked as a note.
        UserNote,
    }
    /// The schemas of tools' inputs that a provider accepts.
    SchemaDialect {
        /// Any JSON schema.
        Any,
        /// Schemas of an object, in which objects have properties, arrays have items, and no keyword is null.
        Explicit,
        /// The same, without a union at the root, and with names of properties that consist of up to 64 letters,
        /// digits, `_`, `.` and `-`.
        Named,
    }
    /// The way in which a stream comes to report its usage.
    StreamUsage {
        /// By `stream_options.include_usage`.
        Option,
        /// Without asking.
        Always,
        /// Not at all.
        None,
    }
    /// The member of messages that holds reasoning.
    ReasoningIn {
        /// Nowhere.
        None,
        /// `reasoning_content`.
        ReasoningContent,
        /// `reasoning`.
        Reasoning,
        /// `reasoning_details`.
        ReasoningDetails,
        /// Parts of type `thinking`.
        MistralParts,
    }
    /// A version of the Messages protocol. Versions differ in the members that requests may have.
    AnthropicVersion {
        /// The first one; requests may hold sampling parameters.
        #[serde(rename = "2023-06-01")]
        V2023,
        /// Requests with sampling parameters are refused.
        #[serde(rename = "2026-10-21")]
        V2026,
    }
    /// The sampling parameters that the provider accepts.
    Sampling {
        /// All.
        Full,
        /// Temperature at most 1.
        Clamp1,
        /// None.
        None,
    }
    /// The member that selects the effort of reasoning.
    EffortFormat {
        /// `reasoning_effort`.
        ReasoningEffort,
        /// `reasoning.effort`.
        ReasoningObject,
        /// `thinking.type` and `reasoning_effort`.
        ThinkingToggleEffort,
        /// `enable_thinking`.
        EnableThinking,
        /// Not at all.
        None,
    }
    /// The member that identifies the end user.
    UserField {
        /// `user`.
        User,
        /// `safety_identifier`.
        SafetyIdentifier,
        /// None.
        None,
    }
    /// Marks for the prompt cache.
    CacheParts {
        /// None.
        None,
        /// `prompt_cache_breakpoint`.
        OpenaiBreakpoint,
        /// `cache_control`.
        AnthropicCacheControl,
    }
    /// The support for structured output.
    JsonSchemaSupport {
        /// By schema.
        Native,
        /// Any object.
        JsonObject,
        /// None.
        None,
    }
    /// Values of `tool_choice`.
    ToolChoice {
        /// `none`.
        None,
        /// `auto`.
        Auto,
        /// `required`.
        Required,
        /// One function.
        Named,
        /// Some functions.
        Allowed,
    }
    /// The required form of tool call ids.
    ToolId {
        /// Any.
        Any,
        /// Nine letters and digits.
        Mistral9,
    }
    /// The treatment of an assistant message at the end of the conversation.
    Prefill {
        /// Refused.
        None,
        /// Continued.
        Plain,
        /// Continued if it is marked with `prefix`. The answer repeats it.
        PrefixFlag,
        /// Continued if it is marked with `partial`.
        PartialFlag,
        /// Continued if `continue_final_message` asks for it.
        ContinueFinal,
    }
}

profile! {
    /// The member for the output limit in Chat.
    max_tokens_field: MaxTokensField = MaxTokensField::MaxTokens;
    /// The role of instructions.
    system_role: SystemRole = SystemRole::System;
    /// Instructions besides those at the beginning; absent: `native` if the protocol has a place for them, which Chat
    /// has not: templates of open models refuse a second system message. With `user_note`, a Chat request has one
    /// system message, the first.
    mid_system: Option<MidSystem> = None;
    /// The schemas of tools that the provider accepts; absent: `named` in Messages, and `explicit` elsewhere.
    tool_schemas: Option<SchemaDialect> = None;
    /// The way in which a Chat stream comes to report its usage.
    stream_usage: StreamUsage = StreamUsage::Option;
    /// The member of messages that holds reasoning.
    reasoning_in: ReasoningIn = ReasoningIn::None;
    /// Whether every assistant message must carry reasoning.
    reasoning_required: bool = false;
    /// Whether the first call of every message must carry the state that the provider bound to it, or a word in its place.
    call_state_required: bool = false;
    /// Whether a forced tool choice works while the model thinks.
    forced_with_thinking: bool = true;
    /// Whether content of text may only be an array of parts.
    content_arrays: bool = false;
    /// Whether the attribution block of coding clients is removed from Messages requests.
    strip_attribution: bool = true;
    /// Values of `anthropic-beta` that are forwarded; absent: all.
    betas: Option<BTreeSet<String>> = None;
    /// Whether requests may say that thinking is left out where the conversation before it has changed.
    block_binding: bool = false;
    /// The version of the Messages protocol in which translated requests are written.
    anthropic_version: AnthropicVersion = AnthropicVersion::V2023;
    /// The sampling parameters that the provider accepts.
    sampling: Sampling = Sampling::Full;
    /// The member that selects the effort of reasoning.
    effort: EffortFormat = EffortFormat::ReasoningEffort;
    /// The effort levels that the provider knows.
    efforts: BTreeSet<Effort> = BTreeSet::from(Effort::ALL);
    /// The member that identifies the end user.
    user_field: UserField = UserField::User;
    /// Marks for the prompt cache.
    cache_parts: CacheParts = CacheParts::None;
    /// The support for structured output.
    json_schema: JsonSchemaSupport = JsonSchemaSupport::Native;
    /// Whether `strict` is known on tools.
    strict_tools: bool = false;
    /// Whether freeform tools are known.
    custom_tools: bool = false;
    /// The values of `tool_choice` that the provider accepts.
    tool_choice_values: BTreeSet<ToolChoice> =
        BTreeSet::from([ToolChoice::None, ToolChoice::Auto, ToolChoice::Required, ToolChoice::Named]);
    /// Whether `parallel_tool_calls` is known.
    parallel_tool_calls: bool = true;
    /// The required form of tool call ids.
    tool_id: ToolId = ToolId::Any;
    /// Whether tool results may hold images.
    tool_result_images: bool = false;
    /// Maximum number of characters in a tool's name; absent: 64, in Messages 128.
    tool_name_max: Option<u16> = None;
    /// The treatment of an assistant message at the end of the conversation.
    prefill: Prefill = Prefill::Plain;
    /// Whether reasoning tokens are missing in `completion_tokens`.
    usage_reasoning_excluded: bool = false;
    /// Whether cached tokens are missing in `prompt_tokens`.
    usage_cached_excluded: bool = false;
    /// Whether reasoning stands in `<think>` tags in the text.
    think_tags: bool = false;
    /// Whether a stream may end without a finish reason.
    finish_optional: bool = false;
    /// Whether a relayed Chat answer that calls tools ends with `tool_calls` where the provider says `stop`.
    repair_finish: bool = false;
    /// Whether the provider searches the web by itself when it is asked to.
    web_search: bool = false;
    /// Whether the provider is OpenAI itself, with its tiers, verbosity and limits on ids and stop texts.
    is_openai: bool = false;
    /// Whether unknown members of OpenAI requests are passed on in translation.
    forward_unknown: bool = true;
    /// Members that are added to translated requests, unless a request has them already.
    extra_body: BTreeMap<String, Raw<'static>> = BTreeMap::new();
    /// The smallest output limit that the provider accepts.
    min_max_tokens: u32 = 1;
}

impl AnthropicVersion {
    /// Returns the version as it stands in the `anthropic-version` header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2023 => "2023-06-01",
            Self::V2026 => "2026-10-21",
        }
    }
}
