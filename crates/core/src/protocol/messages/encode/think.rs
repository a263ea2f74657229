//! How a model is made to think, and how long its answer may be.

use crate::canon::{Caps, Level, Losses, Request, Target, Thinking, ThinkingCaps};
use crate::failure::{Failure, Kind, Result};
use crate::json::write::Object;

use super::message::Plan;

/// What is said of thinking and limits.
#[derive(Debug)]
pub(super) struct Thought {
    mode: Mode,
    /// `output_config.effort`.
    pub(super) effort: Option<Level>,
    /// `max_tokens`.
    pub(super) limit: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Nothing is said.
    Silent,
    Budget(u64),
    Adaptive,
    Disabled,
}

/// What the client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Nothing,
    Off,
    Effort(Level),
    Budget(u64),
    On,
}

impl Wish {
    fn of(thinking: &Thinking) -> Self {
        match (thinking.budget, thinking.effort) {
            _ if thinking.is_off() => Self::Off,
            (Some(budget), None) => Self::Budget(budget),
            (_, Some(effort)) if effort != Level::None => Self::Effort(effort),
            _ if thinking.is_wanted() => Self::On,
            _ => Self::Nothing,
        }
    }

    /// The member that the client is told of when it has no effect.
    fn name(self) -> &'static str {
        match self {
            Self::Budget(_) => "thinking_budget",
            _ => "reasoning_effort",
        }
    }
}

impl Thought {
    /// What is said to a model. `forced`: it has to call a tool, which excludes thinking.
    ///
    /// # Errors
    /// 400 for a conversation that the model is to continue while it thinks, and in strict mode.
    pub(super) fn decide(
        request: &Request<'_>,
        target: &Target<'_>,
        plan: &Plan<'_, '_>,
        forced: bool,
        losses: &mut Losses,
    ) -> Result<Self> {
        let caps = target.caps;
        let limit = request.max_output.or(caps.max_output).unwrap_or(DEFAULT_LIMIT);
        let limit = limit.min(caps.max_output.unwrap_or(u64::MAX));
        let mut thought = Self {
            mode: Mode::Silent,
            effort: None,
            limit: limit.max(u64::from(target.profile.min_max_tokens)),
        };
        let wish = Wish::of(&request.thinking);
        thought.choose(wish, &request.thinking, caps, losses)?;
        thought.agree(wish, plan, forced, losses)?;
        if let Mode::Budget(budget) = thought.mode {
            thought.fit(budget, wish, request.max_output.is_some(), caps, losses)?;
        }
        Ok(thought)
    }

    /// Does the gateway make the model think?
    pub(super) fn is_on(&self) -> bool {
        matches!(self.mode, Mode::Budget(_) | Mode::Adaptive)
    }

    /// Writes `thinking`, if anything is said.
    pub(super) fn write(&self, o: &mut Object<'_>) {
        match self.mode {
            Mode::Silent => {}
            Mode::Budget(budget) => {
                o.object("thinking", |o| {
                    o.text("type", "enabled").number("budget_tokens", budget);
                });
            }
            // Without `display`, recent models leave the text out.
            Mode::Adaptive => {
                o.json("thinking", r#"{"type":"adaptive","display":"summarized"}"#);
            }
            Mode::Disabled => {
                o.json("thinking", r#"{"type":"disabled"}"#);
            }
        }
    }

    /// What the model understands of the wish.
    fn choose(&mut self, wish: Wish, thinking: &Thinking, caps: &Caps, losses: &mut Losses) -> Result<()> {
        let nearest = |level: Level| level.nearest(&caps.efforts);
        match (caps.thinking, wish) {
            (_, Wish::Nothing) | (ThinkingCaps::None | ThinkingCaps::Budget, Wish::Off) => {}
            (ThinkingCaps::None, _) => losses.drop_named(wish.name())?,
            (ThinkingCaps::Budget, Wish::Effort(level)) => self.mode = Mode::Budget(level.budget()),
            (ThinkingCaps::Budget, Wish::On) => self.mode = Mode::Budget(Level::Medium.budget()),
            (ThinkingCaps::Budget | ThinkingCaps::AdaptiveBudget, Wish::Budget(budget)) => {
                self.mode = Mode::Budget(budget.max(SMALLEST_BUDGET));
            }
            (ThinkingCaps::AdaptiveAlways, Wish::Off) => {
                self.effort = nearest(Level::Low);
                losses.drop_named(wish.name())?;
            }
            (_, Wish::Off) => {
                if caps.thinks_by_default {
                    self.mode = Mode::Disabled;
                    let effort = thinking.effort.filter(|effort| *effort != Level::None);
                    self.effort = effort.and_then(|effort| nearest(effort.min(Level::High)));
                }
            }
            (_, Wish::Effort(level)) => (self.mode, self.effort) = (Mode::Adaptive, nearest(level)),
            (_, Wish::Budget(budget)) => {
                (self.mode, self.effort) = (Mode::Adaptive, nearest(Level::of_budget(budget)));
            }
            (_, Wish::On) => self.mode = Mode::Adaptive,
        }
        Ok(())
    }

    /// Leaves thinking out where the rest of the request excludes it.
    fn agree(&mut self, wish: Wish, plan: &Plan<'_, '_>, forced: bool, losses: &mut Losses) -> Result<()> {
        let unthought = matches!(self.mode, Mode::Budget(_)) && plan.called_without_thinking();
        if self.is_on() && (forced || unthought) {
            self.mode = Mode::Silent;
            if self.effort.is_none() {
                losses.drop_named(wish.name())?;
            }
        }
        if self.is_on() && plan.is_prefilled() {
            let message = "This model can not continue an assistant message while it thinks.";
            return Err(Failure::new(Kind::Unsupported, message).with_param("messages"));
        }
        Ok(())
    }

    /// Makes budget and limit fit: the answer itself needs room, too.
    fn fit(&mut self, budget: u64, wish: Wish, given: bool, caps: &Caps, losses: &mut Losses) -> Result<()> {
        if !given {
            let roomy = self.limit.max(budget.saturating_add(ANSWER));
            self.limit = roomy.min(caps.max_output.unwrap_or(u64::MAX));
        }
        // Four fifths, without an overflow.
        let most = self.limit / 5 * 4 + self.limit % 5 * 4 / 5;
        let budget = budget.min(most);
        self.mode = if budget < SMALLEST_BUDGET { Mode::Silent } else { Mode::Budget(budget) };
        if self.mode == Mode::Silent {
            losses.drop_named(wish.name())?;
        }
        Ok(())
    }
}

/// Tokens of an answer where neither client nor catalog say.
const DEFAULT_LIMIT: u64 = 8192;

/// The smallest budget for thinking that the protocol allows.
const SMALLEST_BUDGET: u64 = 1024;

/// Tokens for the answer beside the thinking.
const ANSWER: u64 = 4096;
