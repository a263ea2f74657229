//! The capabilities in which models of one protocol differ.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{Effort, ProtocolId};

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
    /// Whether it can be forced to call a tool.
    pub forced_tool: bool,
    /// Whether it can continue an assistant message.
    pub prefill: bool,
    /// Whether instructions may stand in mid-conversation.
    pub mid_system: bool,
    /// Whether it can search the web.
    pub web_search: bool,
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
    /// None.
    None,
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
    /// Whether it can be forced to call a tool.
    pub forced_tool: Option<bool>,
    /// Whether it can continue an assistant message.
    pub prefill: Option<bool>,
    /// Whether instructions may stand in mid-conversation.
    pub mid_system: Option<bool>,
    /// Whether it can search the web.
    pub web_search: Option<bool>,
}

impl Caps {
    /// Returns the capabilities that a model's name implies when it is served in this protocol.
    #[must_use]
    pub fn of(protocol: ProtocolId, model: &str) -> Self {
        match (protocol, claude(model)) {
            (ProtocolId::Messages, Some(caps)) => caps,
            (ProtocolId::Messages, None) => Self::foreign(),
            (ProtocolId::Chat | ProtocolId::Responses, _) => Self::openai(),
        }
    }

    /// Returns the capabilities with the configured ones in their place.
    #[must_use]
    pub fn with(mut self, settings: &CapsSettings, max_output: Option<u64>) -> Self {
        self.max_output = max_output.or(self.max_output);
        self.sampling = settings.sampling.unwrap_or(self.sampling);
        self.thinking = settings.thinking.unwrap_or(self.thinking);
        self.thinks_by_default = settings.thinks_by_default.unwrap_or(self.thinks_by_default);
        self.efforts = settings.efforts.clone().unwrap_or(self.efforts);
        self.forced_tool = settings.forced_tool.unwrap_or(self.forced_tool);
        self.prefill = settings.prefill.unwrap_or(self.prefill);
        self.mid_system = settings.mid_system.unwrap_or(self.mid_system);
        self.web_search = settings.web_search.unwrap_or(self.web_search);
        self
    }

    /// Returns the capabilities of a model behind the Messages protocol that is not a Claude model.
    fn foreign() -> Self {
        Self {
            max_output: None,
            sampling: SamplingCaps::Full,
            thinking: ThinkingCaps::None,
            thinks_by_default: false,
            efforts: BTreeSet::new(),
            forced_tool: true,
            prefill: true,
            mid_system: false,
            web_search: false,
        }
    }

    fn openai() -> Self {
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
    forced_tool: bool,
    prefill: bool,
    mid_system: bool,
}

fn claude(model: &str) -> Option<Caps> {
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

/// Returns the line for a Claude model that is not in the table: [`OLD`] for models before 4.5, else [`NEW`].
fn unknown(family: &str) -> &'static Line {
    let dated = ["opus-4", "sonnet-4"].iter().any(|prefix| begins(family, prefix));
    if dated || BEFORE_4_5.iter().any(|prefix| family.starts_with(prefix)) { &OLD } else { &NEW }
}

impl Line {
    fn caps(&self) -> Caps {
        Caps {
            max_output: (self.max_output > 0).then_some(self.max_output),
            sampling: self.sampling,
            thinking: self.thinking,
            thinks_by_default: self.by_default,
            efforts: self.efforts.iter().copied().collect(),
            forced_tool: self.forced_tool,
            prefill: self.prefill,
            mid_system: self.mid_system,
            web_search: true,
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

/// A Claude model that is not in the table: treated like opus-5.
static NEW: Line = ADAPTIVE_ON;

const BUDGET: Line = Line {
    prefix: "",
    max_output: 64_000,
    sampling: SamplingCaps::NotBoth,
    thinking: ThinkingCaps::Budget,
    by_default: false,
    efforts: &[],
    forced_tool: true,
    prefill: true,
    mid_system: false,
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

/// Claude models by the beginnings of their names, the more specific one first. From Anthropic's public model map.
static CLAUDE: &[Line] = &[
    Line { prefix: "haiku-4-5", ..BUDGET },
    Line { prefix: "sonnet-4-5", ..BUDGET },
    Line { prefix: "opus-4-5", efforts: UP_TO_HIGH, ..BUDGET },
    Line { prefix: "opus-4-6", ..FOUR_SIX },
    Line { prefix: "sonnet-4-6", ..FOUR_SIX },
    Line { prefix: "opus-4-7", by_default: false, mid_system: false, ..ADAPTIVE_ON },
    Line { prefix: "opus-4-8", by_default: false, ..ADAPTIVE_ON },
    Line { prefix: "haiku-5-5", ..ADAPTIVE_ON },
    Line { prefix: "sonnet-5-5", forced_tool: false, ..ALWAYS },
    Line { prefix: "opus-5-5", forced_tool: false, ..ALWAYS },
    Line { prefix: "fable-5-1", forced_tool: false, ..ALWAYS },
    Line { prefix: "mythos-5-1", forced_tool: false, ..ALWAYS },
    Line { prefix: "fable-5", ..ALWAYS },
    Line { prefix: "mythos-5", ..ALWAYS },
    Line { prefix: "sonnet-5", ..ADAPTIVE_ON },
    Line { prefix: "opus-5", ..ADAPTIVE_ON },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(model: &str) -> Caps {
        Caps::of(ProtocolId::Messages, model)
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
