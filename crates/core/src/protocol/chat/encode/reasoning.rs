//! The reasoning that the provider is asked for, in the words that it understands, and the reasoning of earlier turns, as
//! its provider wants it.

use std::collections::{BTreeSet, HashMap};

use crate::canon::{
    ChatTools, Effort, EffortFormat, Losses, Part, Profile, ReasoningIn, Request, Sealed, Target, Thinking,
    ThinkingMode,
};
use crate::failure::{Failure, Kind, Result};
use crate::json::write::{self, Object};
use crate::json::{self, JsonStr, Lenient as _, Raw};
use crate::protocol::effort;

use super::tools::ToolPlan;

/// Whether thinking is switched off, by the client or for the sake of a forced call.
pub(super) fn is_off(request: &Request<'_>, plan: &ToolPlan<'_, '_>, profile: &Profile) -> bool {
    request.thinking.is_off() || excludes(plan, profile)
}

/// Whether a forced call excludes thinking. The choice wins: these models think unless they are told not to.
fn excludes(plan: &ToolPlan<'_, '_>, profile: &Profile) -> bool {
    plan.is_forced() && !profile.forced_with_thinking
}

/// The members that make a model think or keep it from thinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EffortPlan {
    /// None.
    Silent,
    /// Those that switch thinking off, with a level where levels do that.
    Off(Option<Effort>),
    /// Those that switch it on, with the level that is nearest to the client's wish.
    On(Option<Effort>),
}

impl EffortPlan {
    /// Decides what the provider is told.
    ///
    /// # Errors
    /// Returns 400 if the model takes no tools in this protocol, and in strict mode if the wish cannot be fulfilled.
    pub(super) fn decide(
        request: &Request<'_>,
        plan: &ToolPlan<'_, '_>,
        target: &Target<'_>,
        losses: &mut Losses,
    ) -> Result<Self> {
        let thinking = &request.thinking;
        let levels = effort::levels(target);
        if is_off(request, plan, target.profile) {
            check_tools(plan, target)?;
            if thinking.is_wanted() {
                losses.drop_named(PATH)?;
            }
            return Self::off(&levels, target, losses);
        }
        if excludes_thinking(thinking, plan, target)? {
            losses.drop_named(PATH)?;
            return Self::off(&levels, target, losses);
        }
        if !thinking.is_wanted() {
            return Ok(Self::Silent);
        }
        Self::on(thinking, &levels, target.profile.effort, losses)
    }

    /// Returns the effort that the model is asked for, if it is.
    pub(super) fn effort(self) -> Option<Effort> {
        match self {
            Self::Silent => None,
            Self::Off(level) | Self::On(level) => level,
        }
    }

    fn off(levels: &BTreeSet<Effort>, target: &Target<'_>, losses: &mut Losses) -> Result<Self> {
        match target.profile.effort {
            EffortFormat::ReasoningEffort | EffortFormat::None => {
                let level = effort::off(levels, target, PATH, losses)?;
                Ok(level.map_or(Self::Silent, |level| Self::Off(Some(level))))
            }
            _ => Ok(Self::Off(Some(Effort::None))),
        }
    }

    fn on(
        thinking: &Thinking,
        levels: &BTreeSet<Effort>,
        way: EffortFormat,
        losses: &mut Losses,
    ) -> Result<Self> {
        let requested = thinking.effort.or_else(|| thinking.budget.map(Effort::of_budget));
        if matches!(way, EffortFormat::ReasoningEffort | EffortFormat::None) && !effort::can_think(levels) {
            losses.drop_named(PATH)?;
            return Ok(Self::Silent);
        }
        if requested.is_none() && thinking.mode == Some(ThinkingMode::Adaptive) {
            // The model decides, which is its default.
            return Ok(Self::Silent);
        }
        Ok(Self::On(requested.and_then(|requested| requested.nearest(levels))))
    }

    /// Writes the members.
    pub(super) fn write(self, o: &mut Object<'_>, thinking: &Thinking, way: EffortFormat) {
        match self {
            Self::Silent => {}
            Self::Off(level) => write_off(o, way, level),
            Self::On(level) => write_on(o, thinking, way, level),
        }
    }

    /// Whether it writes this member, which the client may have sent in this protocol's words.
    pub(super) fn writes(self, name: &str, way: EffortFormat) -> bool {
        self != Self::Silent
            && match way {
                EffortFormat::ThinkingToggleEffort => name == "thinking",
                EffortFormat::EnableThinking => matches!(name, "enable_thinking" | "thinking_budget"),
                _ => false,
            }
    }
}

/// Refuses tools that the model takes in no request of this protocol.
fn check_tools(plan: &ToolPlan<'_, '_>, target: &Target<'_>) -> Result<()> {
    if plan.has_tools() && matches!(target.caps.cc_tools, ChatTools::No | ChatTools::Never) {
        let message = "This model takes tools only through Responses, which its provider is not configured to serve. \
                       Use another model, or send the request without 'tools'.";
        return Err(Failure::new(Kind::Unsupported, message).with_param("tools"));
    }
    Ok(())
}

/// Whether the model takes the request's tools only without thinking, although it would think.
///
/// # Errors
/// Returns 400 if it does not take them at all.
fn excludes_thinking(thinking: &Thinking, plan: &ToolPlan<'_, '_>, target: &Target<'_>) -> Result<bool> {
    check_tools(plan, target)?;
    Ok(plan.has_tools()
        && match target.caps.cc_tools {
            ChatTools::Plain => thinking.is_wanted(),
            ChatTools::None => true,
            ChatTools::Yes | ChatTools::No | ChatTools::Never => false,
        })
}

fn write_off(o: &mut Object<'_>, way: EffortFormat, level: Option<Effort>) {
    match (way, level) {
        (EffortFormat::ReasoningEffort, Some(level)) => o.text("reasoning_effort", level.as_str()),
        (EffortFormat::ReasoningEffort, None) | (EffortFormat::None, _) => return,
        (EffortFormat::ReasoningObject, _) => o.json("reasoning", r#"{"enabled":false}"#),
        (EffortFormat::ThinkingToggleEffort, _) => o.json("thinking", r#"{"type":"disabled"}"#),
        (EffortFormat::EnableThinking, _) => o.bool("enable_thinking", false),
    };
}

fn write_on(o: &mut Object<'_>, thinking: &Thinking, way: EffortFormat, level: Option<Effort>) {
    match way {
        EffortFormat::None => {}
        EffortFormat::ReasoningEffort => {
            if let Some(level) = level {
                o.text("reasoning_effort", level.as_str());
            }
        }
        EffortFormat::ThinkingToggleEffort => {
            o.json("thinking", r#"{"type":"enabled"}"#);
            if let Some(level) = level {
                o.text("reasoning_effort", level.as_str());
            }
        }
        EffortFormat::ReasoningObject => {
            o.object("reasoning", |o| {
                match (thinking.effort.and(level), thinking.budget) {
                    (Some(level), _) => o.text("effort", level.as_str()),
                    (None, Some(budget)) => o.number("max_tokens", budget),
                    (None, None) => o.bool("enabled", true),
                };
            });
        }
        EffortFormat::EnableThinking => {
            o.bool("enable_thinking", true);
            if let (None, Some(budget)) = (thinking.effort, thinking.budget) {
                o.number("thinking_budget", budget);
            }
        }
    }
}

/// The reasoning of one message, in its provider's form.
#[derive(Default)]
pub(super) struct PastReasoning {
    /// The member that it goes into.
    place: Option<ReasoningIn>,
    /// The text: the inside of a literal.
    pub(super) text: String,
    /// Elements of `reasoning_details`.
    details: String,
    /// State that belongs to calls, by the calls' ids.
    of_calls: HashMap<String, String>,
}

impl PastReasoning {
    /// Collects reasoning from the parts of a message. Blocks of this very provider and model stay as they are;
    /// all others give their text, if the provider has a place for it.
    pub(super) fn read<'p, 'a: 'p>(
        &mut self,
        parts: impl Iterator<Item = &'p Part<'a>>,
        target: &Target<'_>,
    ) {
        self.text.clear();
        self.details.clear();
        self.of_calls.clear();
        self.place = Some(target.profile.reasoning_in);
        for part in parts {
            let Part::Reasoning(reasoning) = part else { continue };
            let text = reasoning.text.as_ref();
            match &reasoning.sealed {
                Some(Sealed::Carried(carrier)) if !carrier.blocks.is_empty() => {
                    carrier.blocks.iter().for_each(|block| self.block(block));
                }
                _ => self.think(text.map(JsonStr::raw).unwrap_or_default()),
            }
        }
    }

    fn block(&mut self, block: &Raw<'_>) {
        for member in json::members(block.get().as_bytes()).lenient() {
            let value = block.get().get(member.span).unwrap_or_default();
            match member.key {
                b"reasoning_content" => {
                    let text = JsonStr::read(value).unwrap_or_default();
                    self.think(text.raw());
                }
                b"reasoning_details" => {
                    for (_, span) in json::elements(value.as_bytes()).lenient() {
                        self.detail(value.get(span).unwrap_or("{}"));
                    }
                }
                b"tc" => {
                    for call in json::members(value.as_bytes()).lenient() {
                        let id = JsonStr::part(std::str::from_utf8(call.key).unwrap_or_default())
                            .decode()
                            .into_owned();
                        self.of_calls.insert(id, value.get(call.span).unwrap_or("{}").to_owned());
                    }
                }
                _ => {}
            }
        }
    }

    fn think(&mut self, text: &str) {
        match self.place {
            None | Some(ReasoningIn::None) => {}
            Some(_) if text.is_empty() => {}
            Some(ReasoningIn::ReasoningDetails) => self.detail_of(text),
            Some(_) => {
                if !self.text.is_empty() {
                    self.text.push_str(JsonStr::PARAGRAPH.raw());
                }
                self.text.push_str(text);
            }
        }
    }

    fn detail_of(&mut self, text: &str) {
        let mut out = Vec::new();
        write::object(&mut out, |o| {
            o.text("type", "reasoning.text").json_str("text", &JsonStr::part(text));
        });
        self.detail(&String::from_utf8_lossy(&out));
    }

    fn detail(&mut self, json: &str) {
        if !self.details.is_empty() {
            self.details.push(',');
        }
        self.details.push_str(json);
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.details.is_empty()
    }

    /// Whether the text is a part of the content.
    pub(super) fn in_content(&self) -> bool {
        self.place == Some(ReasoningIn::MistralParts) && !self.text.is_empty()
    }

    /// Puts a space in the place of missing reasoning: the provider requires the member and refuses an empty one.
    pub(super) fn require(&mut self) {
        if self.is_empty() {
            if matches!(self.place, None | Some(ReasoningIn::None)) {
                self.place = Some(ReasoningIn::ReasoningContent);
            }
            self.think(" ");
        }
    }

    /// Writes the members.
    pub(super) fn write(&self, o: &mut Object<'_>) {
        let text = JsonStr::part(&self.text);
        match self.place {
            _ if text.is_empty() => {}
            Some(ReasoningIn::ReasoningContent) => {
                o.json_str("reasoning_content", &text);
            }
            Some(ReasoningIn::Reasoning) => {
                o.json_str("reasoning", &text);
            }
            _ => {}
        }
        if !self.details.is_empty() {
            o.array("reasoning_details", |list| {
                list.json(&self.details);
            });
        }
    }

    /// Returns the state that the provider has bound to a call of this message.
    pub(super) fn call_state(&self, id: &str) -> Option<&str> {
        self.of_calls.get(id).map(String::as_str)
    }
}

/// The message for a request that cannot be fulfilled.
const PATH: &str = "reasoning_effort";
