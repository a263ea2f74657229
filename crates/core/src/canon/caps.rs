//! The capabilities in which models of one protocol differ.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::Effort;

/// The capabilities of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Maximum number of tokens in an answer; absent: unknown.
    pub max_output: Option<u64>,
    /// The sampling parameters that the model accepts.
    pub sampling: SamplingCaps,
    /// The forms in which the model can be asked to think.
    pub thinking: ThinkingCaps,
    /// Whether it thinks unless it is told not to.
    pub thinks_by_default: bool,
    /// The effort levels that the model knows.
    pub efforts: BTreeSet<Effort>,
    /// The effort at which the model works if a request has none; absent: unknown.
    pub default_effort: Option<Effort>,
    /// The requests in Chat whose functions and freeform tools the model accepts.
    pub cc_tools: ChatTools,
    /// Whether it can be forced to call a tool.
    pub forced_tool: bool,
    /// Whether it can continue an assistant message.
    pub prefill: bool,
    /// Whether instructions may stand in mid-conversation.
    pub mid_system: bool,
    /// Whether it can search the web.
    pub web_search: bool,
    /// Whether thinking that comes back is only accepted behind the conversation in which it was thought.
    pub preserved_thinking: bool,
    /// The budgets for thinking that a model takes, in tokens; absent: unknown.
    pub budgets: Option<BudgetRange>,
    /// Whether functions may stand beside a web search and beside a schema for the answer.
    pub mixed_tools: bool,
    /// Whether results of tools may hold media.
    pub result_media: bool,
}

/// The budgets for thinking that a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetRange {
    /// The lowest budget of a model that thinks, in tokens.
    pub min: u64,
    /// The highest budget, in tokens.
    pub max: u64,
    /// Whether thinking can be switched off.
    pub can_be_off: bool,
}

/// The sampling parameters that a model accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SamplingCaps {
    /// All.
    Full,
    /// Temperature or nucleus (`top_p`), but not both.
    NotBoth,
    /// All while the effort is `none`, else none.
    EffortNone,
    /// None.
    None,
}

/// The requests in Chat whose functions and freeform tools a model accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ChatTools {
    /// All.
    Yes,
    /// Those without an effort, or with the effort `none`.
    Plain,
    /// Those with the effort `none`.
    None,
    /// None.
    No,
    /// None; the model is not served in Chat at all.
    Never,
}

/// The forms in which a model can be asked to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ThinkingCaps {
    /// Not at all.
    None,
    /// With a budget of tokens.
    Budget,
    /// Adaptively, or with a budget of tokens.
    AdaptiveBudget,
    /// Adaptively: the model decides.
    Adaptive,
    /// Adaptively. A model that is switched off may still think between tool calls.
    AdaptiveBetweenTools,
    /// The model thinks as it likes, and that cannot be switched off.
    AdaptiveAlways,
}

/// Capabilities that the configuration sets, in place of those that the model's name implies.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct CapsSettings {
    /// The sampling parameters that the model accepts.
    pub sampling: Option<SamplingCaps>,
    /// The forms in which the model can be asked to think.
    pub thinking: Option<ThinkingCaps>,
    /// Whether it thinks unless it is told not to.
    pub thinks_by_default: Option<bool>,
    /// The effort levels that the model knows.
    pub efforts: Option<BTreeSet<Effort>>,
    /// The effort at which the model works if a request has none.
    pub default_effort: Option<Effort>,
    /// The requests in Chat whose functions and freeform tools the model accepts.
    pub cc_tools: Option<ChatTools>,
    /// Whether it can be forced to call a tool.
    pub forced_tool: Option<bool>,
    /// Whether it can continue an assistant message.
    pub prefill: Option<bool>,
    /// Whether instructions may stand in mid-conversation.
    pub mid_system: Option<bool>,
    /// Whether it can search the web.
    pub web_search: Option<bool>,
    /// Whether thinking that comes back is only accepted behind the conversation in which it was thought.
    pub preserved_thinking: Option<bool>,
}

impl Caps {
    /// Returns the capabilities with the configured ones in their place.
    #[must_use]
    pub fn with(mut self, settings: &CapsSettings, max_output: Option<u64>) -> Self {
        self.max_output = max_output.or(self.max_output);
        self.sampling = settings.sampling.unwrap_or(self.sampling);
        self.thinking = settings.thinking.unwrap_or(self.thinking);
        self.thinks_by_default = settings.thinks_by_default.unwrap_or(self.thinks_by_default);
        self.efforts = settings.efforts.clone().unwrap_or(self.efforts);
        self.default_effort = settings.default_effort.or(self.default_effort);
        self.cc_tools = settings.cc_tools.unwrap_or(self.cc_tools);
        self.forced_tool = settings.forced_tool.unwrap_or(self.forced_tool);
        self.prefill = settings.prefill.unwrap_or(self.prefill);
        self.mid_system = settings.mid_system.unwrap_or(self.mid_system);
        self.web_search = settings.web_search.unwrap_or(self.web_search);
        self.preserved_thinking = settings.preserved_thinking.unwrap_or(self.preserved_thinking);
        self
    }

    /// Returns the capabilities of a model behind the Messages protocol that is not a Claude model.
    pub(super) fn foreign() -> Self {
        Self {
            max_output: None,
            sampling: SamplingCaps::Full,
            thinking: ThinkingCaps::None,
            thinks_by_default: false,
            efforts: BTreeSet::new(),
            default_effort: None,
            cc_tools: ChatTools::Yes,
            forced_tool: true,
            prefill: true,
            mid_system: false,
            web_search: false,
            preserved_thinking: false,
            budgets: None,
            mixed_tools: true,
            result_media: true,
        }
    }

    /// Returns the capabilities of a model behind OpenAI's protocols whose name says nothing.
    pub(super) fn openai_compatible() -> Self {
        Self { efforts: BTreeSet::from(Effort::ALL), mid_system: true, ..Self::foreign() }
    }
}

/// One line of the table of Claude models.
struct Line {
    /// The beginning of the names that the line covers.
    prefix: &'static str,
    max_output: u64,
    sampling: SamplingCaps,
    thinking: ThinkingCaps,
    by_default: bool,
    /// The effort levels that the model knows, of `low`, `medium`, `high`, `xhigh` and `max`.
    efforts: &'static [Effort],
    default_effort: Option<Effort>,
    forced_tool: bool,
    prefill: bool,
    mid_system: bool,
    preserved_thinking: bool,
}

/// Returns the capabilities of a Claude model; `None` for all others.
pub(super) fn claude(model: &str) -> Option<Caps> {
    // Some providers put a path or a vendor in front, and write dots for dashes.
    let name = model.rsplit('/').next()?.replace('.', "-");
    let family = name.get(name.find("claude-")? + "claude-".len()..)?;
    let line = CLAUDE.iter().find(|line| begins(family, line.prefix));
    Some(line.unwrap_or_else(|| unknown(family)).caps())
}

/// Whether a name begins with this version, and not with a longer one.
fn begins(name: &str, prefix: &str) -> bool {
    let Some(rest) = name.strip_prefix(prefix) else { return false };
    // A date may follow, `-20250929`; another digit of the version may not.
    let mut digits = rest.strip_prefix('-').unwrap_or(rest).chars();
    match (rest.is_empty(), digits.next()) {
        (true, _) => true,
        (false, Some(first)) if first.is_ascii_digit() => digits.next().is_some_and(|c| c.is_ascii_digit()),
        (false, _) => true,
    }
}

/// Returns the line for a Claude model that is not in the table: [`OLD`] for models before 4.5, [`FIVE`] for those up
/// to 5.0, else [`NEW`].
fn unknown(family: &str) -> &'static Line {
    let dated = ["opus-4", "sonnet-4"].iter().any(|prefix| begins(family, prefix));
    if dated || BEFORE_4_5.iter().any(|prefix| family.starts_with(prefix)) {
        return &OLD;
    }
    match version(family) {
        Some(version) if version <= (5, 0) => &FIVE,
        _ => &NEW,
    }
}

/// Returns the version in a name, such as 5.1 in `opus-5-1-20270101`.
fn version(family: &str) -> Option<(u32, u32)> {
    // Longer numbers are dates.
    let number = |part: &str| Some(part).filter(|part| part.len() <= 2).and_then(|part| part.parse().ok());
    let mut parts = family.split('-').skip_while(|part| number(part).is_none());
    let major = parts.next().and_then(number)?;
    Some((major, parts.next().and_then(number).unwrap_or(0)))
}

impl Line {
    fn caps(&self) -> Caps {
        Caps {
            max_output: (self.max_output > 0).then_some(self.max_output),
            sampling: self.sampling,
            thinking: self.thinking,
            thinks_by_default: self.by_default,
            efforts: self.efforts.iter().copied().collect(),
            default_effort: self.default_effort,
            cc_tools: ChatTools::Yes,
            forced_tool: self.forced_tool,
            prefill: self.prefill,
            mid_system: self.mid_system,
            web_search: true,
            preserved_thinking: self.preserved_thinking,
            ..Caps::foreign()
        }
    }
}

const UP_TO_HIGH: &[Effort] = &[Effort::Low, Effort::Medium, Effort::High];
const WITH_MAX: &[Effort] = &[Effort::Low, Effort::Medium, Effort::High, Effort::Max];
const ALL: &[Effort] = &[Effort::Low, Effort::Medium, Effort::High, Effort::Xhigh, Effort::Max];

/// The beginnings of the names of models before 4.5.
const BEFORE_4_5: &[&str] =
    &["2", "3", "instant", "haiku-3", "opus-3", "sonnet-3", "opus-4-0", "opus-4-1", "sonnet-4-0"];

/// A Claude model before 4.5, which knows no effort levels.
static OLD: Line = Line { max_output: 0, ..BUDGET };

/// A Claude model of 4.5 to 5.0 that is not in the table: treated like opus-5.
static FIVE: Line = ADAPTIVE_ON;

/// A newer Claude model that is not in the table: it is sent nothing that any of the newer models refuses.
static NEW: Line = UNFORCED;

const BUDGET: Line = Line {
    prefix: "",
    max_output: 64_000,
    sampling: SamplingCaps::NotBoth,
    thinking: ThinkingCaps::Budget,
    by_default: false,
    efforts: &[],
    default_effort: None,
    forced_tool: true,
    prefill: true,
    mid_system: false,
    preserved_thinking: false,
};

const FOUR_SIX: Line = Line {
    max_output: 128_000,
    thinking: ThinkingCaps::AdaptiveBudget,
    efforts: WITH_MAX,
    prefill: false,
    ..BUDGET
};

const ADAPTIVE_ON: Line = Line {
    max_output: 128_000,
    sampling: SamplingCaps::None,
    thinking: ThinkingCaps::Adaptive,
    by_default: true,
    efforts: ALL,
    prefill: false,
    mid_system: true,
    ..BUDGET
};

const ALWAYS: Line = Line { thinking: ThinkingCaps::AdaptiveAlways, ..ADAPTIVE_ON };

const UNFORCED: Line =
    Line { forced_tool: false, default_effort: Some(Effort::High), preserved_thinking: true, ..ALWAYS };

/// Claude models by the beginnings of their names, the more specific one first. From Anthropic's public model map.
static CLAUDE: &[Line] = &[
    Line { prefix: "haiku-4-5", ..BUDGET },
    Line { prefix: "sonnet-4-5", ..BUDGET },
    Line { prefix: "opus-4-5", efforts: UP_TO_HIGH, ..BUDGET },
    Line { prefix: "opus-4-6", ..FOUR_SIX },
    Line { prefix: "sonnet-4-6", ..FOUR_SIX },
    Line { prefix: "opus-4-7", by_default: false, mid_system: false, ..ADAPTIVE_ON },
    Line { prefix: "opus-4-8", by_default: false, ..ADAPTIVE_ON },
    Line {
        prefix: "haiku-5-5",
        default_effort: Some(Effort::Medium),
        preserved_thinking: true,
        ..ADAPTIVE_ON
    },
    Line { prefix: "sonnet-5-5", thinking: ThinkingCaps::AdaptiveBetweenTools, ..UNFORCED },
    Line { prefix: "opus-5-5", default_effort: Some(Effort::Medium), ..UNFORCED },
    Line { prefix: "fable-5-1", ..UNFORCED },
    Line { prefix: "fable-5-2", ..UNFORCED },
    Line { prefix: "mythos-5-1", ..UNFORCED },
    Line { prefix: "mythos-5-2", ..UNFORCED },
    Line { prefix: "mythos-preview", ..UNFORCED },
    Line { prefix: "fable-5", ..ALWAYS },
    Line { prefix: "mythos-5", ..ALWAYS },
    Line { prefix: "sonnet-5", ..ADAPTIVE_ON },
    Line { prefix: "opus-5", ..ADAPTIVE_ON },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::{Profile, ProtocolId};

    fn caps(model: &str) -> Caps {
        Caps::of(ProtocolId::Messages, model, &Profile::default())
    }

    #[test]
    fn models_are_known_by_name_with_and_without_a_date() {
        assert_eq!(caps("claude-sonnet-4-5-20250929").thinking, ThinkingCaps::Budget);
        assert_eq!(caps("claude-opus-4-6").efforts.len(), 4);
        assert_eq!(caps("claude-opus-5").thinking, ThinkingCaps::Adaptive);
        assert_eq!(caps("claude-opus-5-20261001").thinking, ThinkingCaps::Adaptive);
        assert!(!caps("claude-opus-5-5").forced_tool && caps("claude-opus-5").forced_tool);
        assert!(!caps("anthropic/claude-fable-5.1").forced_tool && caps("claude-fable-5").forced_tool);
        assert!(caps("claude-3-5-haiku-20241022").prefill);
        assert_eq!(caps("claude-opus-9").sampling, SamplingCaps::None);
        assert_eq!(caps("claude-opus-4-1-20250805").thinking, ThinkingCaps::Budget);
    }

    #[test]
    fn unknown_models_are_treated_by_their_version() {
        let always = |model| caps(model).thinking == ThinkingCaps::AdaptiveAlways;
        for model in
            ["claude-opus-7", "claude-opus-5-1", "claude-haiku-6-20280101", "claude-next", "claude-5.1-x"]
        {
            assert!(always(model) && !caps(model).forced_tool, "{model}");
        }
        for model in ["claude-haiku-5", "claude-haiku-5-20261001", "claude-haiku-4-8", "claude-opus-4.9"] {
            assert!(!always(model) && caps(model).forced_tool, "{model}");
        }
    }

    #[test]
    fn models_since_5_1_preserve_their_thinking() {
        for model in ["claude-haiku-5-5", "claude-sonnet-5-5", "claude-mythos-preview", "claude-opus-7"] {
            assert!(caps(model).preserved_thinking, "{model}");
        }
        for model in ["claude-opus-5", "claude-fable-5", "claude-sonnet-4-5", "kimi-k3"] {
            assert!(!caps(model).preserved_thinking, "{model}");
        }
    }

    #[test]
    fn other_models_take_what_the_protocol_has() {
        let caps = caps("kimi-k3");
        assert!(caps.prefill && caps.forced_tool && !caps.mid_system);
        assert_eq!((caps.sampling, caps.thinking), (SamplingCaps::Full, ThinkingCaps::None));
    }

    #[test]
    fn the_configuration_knows_better() {
        let settings = CapsSettings { prefill: Some(false), ..CapsSettings::default() };
        let caps = caps("kimi-k3").with(&settings, Some(9));
        assert_eq!((caps.prefill, caps.max_output), (false, Some(9)));
    }
}
