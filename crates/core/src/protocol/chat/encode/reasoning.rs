//! The reasoning that the provider is asked for, in the words that it understands, and the reasoning of earlier turns, as
//! its provider wants it.

use std::collections::{BTreeSet, HashMap};

use crate::canon::{
    Effort, EffortFormat, Losses, Part, Profile, ReasoningIn, Request, Sealed, Target, Thinking, ThinkingMode,
};
use crate::failure::Result;
use crate::json::write::{self, Object};
use crate::json::{self, JsonStr, Lenient as _, Raw};

use super::tools::ToolPlan;

/// Whether thinking is switched off, by the client or for the sake of a forced call.
pub(super) fn is_off(request: &Request<'_>, plan: &ToolPlan<'_, '_>, profile: &Profile) -> bool {
    request.thinking.is_off() || excludes(plan, profile)
}

/// Whether a forced call excludes thinking. The choice wins: these models think unless they are told not to.
fn excludes(plan: &ToolPlan<'_, '_>, profile: &Profile) -> bool {
    plan.is_forced() && !profile.forced_with_thinking
}

/// Writes the members.
pub(super) fn write(
    o: &mut Object<'_>,
    request: &Request<'_>,
    plan: &ToolPlan<'_, '_>,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<()> {
    let (thinking, profile) = (&request.thinking, target.profile);
    let levels: BTreeSet<Effort> = profile.efforts.intersection(&target.caps.efforts).copied().collect();
    if is_off(request, plan, profile) {
        if thinking.is_wanted() {
            losses.drop_named(PATH)?;
        }
        return off(o, profile.effort, &levels, losses);
    }
    if !thinking.is_wanted() {
        return Ok(());
    }
    // OpenAI's models refuse functions together with reasoning in this protocol.
    if profile.is_openai && plan.has_tools() {
        losses.drop_named(PATH)?;
        return if levels.contains(&Effort::None) { off(o, profile.effort, &levels, losses) } else { Ok(()) };
    }
    on(o, thinking, profile.effort, &levels, losses)
}

fn off(o: &mut Object<'_>, way: EffortFormat, levels: &BTreeSet<Effort>, losses: &mut Losses) -> Result<()> {
    match way {
        EffortFormat::ReasoningEffort if levels.contains(&Effort::None) => o.text("reasoning_effort", "none"),
        EffortFormat::ReasoningEffort | EffortFormat::None => return losses.drop_named(PATH),
        EffortFormat::ReasoningObject => o.json("reasoning", r#"{"enabled":false}"#),
        EffortFormat::ThinkingToggleEffort => o.json("thinking", r#"{"type":"disabled"}"#),
        EffortFormat::EnableThinking => o.bool("enable_thinking", false),
    };
    Ok(())
}

fn on(
    o: &mut Object<'_>,
    thinking: &Thinking,
    way: EffortFormat,
    levels: &BTreeSet<Effort>,
    losses: &mut Losses,
) -> Result<()> {
    let requested = thinking.effort.or_else(|| thinking.budget.map(Effort::of_budget));
    let level = requested.and_then(|requested| requested.nearest(levels));
    if requested.is_none() && thinking.mode == Some(ThinkingMode::Adaptive) && way != EffortFormat::None {
        // The model decides, which is its default.
        return Ok(());
    }
    match way {
        EffortFormat::None => return losses.drop_named(PATH),
        EffortFormat::ReasoningEffort => match (level, requested) {
            (Some(level), _) => {
                o.text("reasoning_effort", level.as_str());
            }
            (None, Some(_)) => return losses.drop_named(PATH),
            (None, None) => {}
        },
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
    Ok(())
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
