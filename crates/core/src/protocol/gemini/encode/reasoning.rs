//! The reasoning that the provider is asked for, and the signatures of earlier turns.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::canon::{Call, Effort, Losses, Part, Request, Target, Thinking, ThinkingCaps, ThinkingMode, Turn};
use crate::failure::Result;
use crate::json::write::Object;
use crate::json::{JsonStr, Raw};
use crate::protocol::gemini::signature::{self, NO_STATE, PastState};

/// The members of `thinkingConfig`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ThinkingConfig {
    level: Option<Effort>,
    budget: Option<Budget>,
    shows: bool,
}

/// A budget for thinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Budget {
    /// The model decides.
    Dynamic,
    Tokens(u64),
}

impl ThinkingConfig {
    /// Decides what a model is told.
    ///
    /// # Errors
    /// Returns 400 in strict mode if the wish cannot be fulfilled.
    pub(super) fn decide(request: &Request<'_>, target: &Target<'_>, losses: &mut Losses) -> Result<Self> {
        let (thinking, caps) = (&request.thinking, target.caps);
        let mut config = Self::default();
        match caps.thinking {
            ThinkingCaps::None if thinking.is_wanted() => losses.drop_named(name(thinking))?,
            ThinkingCaps::None => {}
            ThinkingCaps::Budget => config.by_budget(thinking, target, losses)?,
            _ => config.by_level(thinking, target, losses)?,
        }
        let is_seen = thinking
            .show
            .unwrap_or_else(|| thinking.is_wanted() || thinking.is_carried && has_tools(request));
        config.shows = is_seen && caps.thinking != ThinkingCaps::None && !thinking.is_off();
        Ok(config)
    }

    fn by_budget(&mut self, thinking: &Thinking, target: &Target<'_>, losses: &mut Losses) -> Result<()> {
        let range = target.caps.budgets;
        let fit = |tokens: u64| range.map_or(tokens, |range| tokens.clamp(range.min, range.max));
        let effort = thinking.effort.filter(|effort| *effort != Effort::None);
        self.budget = match (thinking.budget, effort) {
            _ if thinking.is_off() => {
                let can_be_off = range.is_none_or(|range| range.can_be_off);
                if !can_be_off {
                    losses.drop_named(name(thinking))?;
                }
                Some(Budget::Tokens(if can_be_off { 0 } else { fit(0) }))
            }
            (Some(budget), _) => Some(Budget::Tokens(fit(budget))),
            (None, Some(effort)) => Some(Budget::Tokens(fit(effort.budget()))),
            (None, None) if thinking.mode.is_some() => Some(Budget::Dynamic),
            (None, None) => None,
        };
        Ok(())
    }

    fn by_level(&mut self, thinking: &Thinking, target: &Target<'_>, losses: &mut Losses) -> Result<()> {
        let nearest = |effort: Effort| effort.nearest(&target.caps.efforts);
        let effort = thinking.effort.filter(|effort| *effort != Effort::None);
        self.level = match (thinking.budget, effort) {
            _ if thinking.is_off() => {
                losses.drop_named(name(thinking))?;
                nearest(Effort::Minimal)
            }
            (_, Some(effort)) => nearest(effort),
            (Some(budget), None) => nearest(Effort::of_budget(budget)),
            (None, None) => None,
        };
        Ok(())
    }

    /// Writes `thinkingConfig`, if there is anything to write.
    pub(super) fn write(&self, o: &mut Object<'_>) {
        if *self == Self::default() {
            return;
        }
        o.object("thinkingConfig", |o| {
            if let Some(level) = self.level {
                o.text("thinkingLevel", &level.as_str().to_ascii_uppercase());
            }
            match self.budget {
                Some(Budget::Dynamic) => {
                    o.json("thinkingBudget", "-1");
                }
                Some(Budget::Tokens(tokens)) => {
                    o.number("thinkingBudget", tokens);
                }
                None => {}
            }
            if self.shows {
                o.bool("includeThoughts", true);
            }
        });
    }
}

/// Returns the member that the client is told of if a wish has no effect.
fn name(thinking: &Thinking) -> &'static str {
    let is_budget = thinking.budget.is_some() && thinking.mode != Some(ThinkingMode::Off);
    if is_budget { "thinking_budget" } else { "reasoning_effort" }
}

fn has_tools(request: &Request<'_>) -> bool {
    !request.tools.is_empty()
}

/// The signatures of one content of the model.
#[derive(Debug, Default)]
pub(super) struct Signatures<'r> {
    of_calls: HashMap<Cow<'r, str>, Cow<'r, str>>,
}

impl<'r> Signatures<'r> {
    /// Collects the signatures of the calls in a run of the model's turns.
    pub(super) fn of(run: &'r [Turn<'_>]) -> Self {
        let mut state = PastState::default();
        for part in run.iter().flat_map(|turn| &turn.parts) {
            if let Part::Reasoning(reasoning) = part
                && let Some(sealed) = &reasoning.sealed
            {
                state.read(sealed);
            }
        }
        Self { of_calls: state.of_calls.into_iter().collect() }
    }

    /// Returns the signature of a call, as the inside of a literal. The first call of a content needs one.
    pub(super) fn of_call<'s>(&'s self, call: &'s Call<'_>, needs_one: bool) -> Option<JsonStr<'s>> {
        let native = call.extra.as_ref().map(Raw::get).and_then(signature::of_extra);
        let carried = || self.of_calls.get(&*call.id).map(|signature| &**signature);
        native.or_else(carried).map(JsonStr::part).or_else(|| needs_one.then_some(JsonStr::plain(NO_STATE)))
    }
}
